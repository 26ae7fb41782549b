"""A NATS connection at the level of bytes: what is sent is what the test says, what came is what the test sees."""

import json
import random
import socket
import string
import time
from dataclasses import dataclass

from broker_process import PATIENCE


def nuid():
    return "".join(random.choices(string.ascii_letters + string.digits, k=22))


@dataclass
class Message:
    subject: str
    sid: str
    reply: str
    headers: bytes
    data: bytes


class Closed(Exception):
    """The server closed the connection."""


class Silence(AssertionError):
    """Nothing came in time."""


class NATSSocket:
    def __init__(self, port, connect=True, **options):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        line = self._line(time.monotonic() + PATIENCE)
        assert line.startswith(b"INFO "), line
        self.info = json.loads(line[5:])
        self._next_sid = 0
        if connect:
            self.connect(**options)

    def connect(self, **options):
        settings = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "protocol": 1,
                    "lang": "conformance", "version": "1", "name": "conformance", "echo": True}
        settings.update(options)
        self.send(b"CONNECT " + json.dumps(settings).encode() + b"\r\n")
        self.fence()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Out

    def send(self, data):
        self.socket.sendall(data)

    def publish(self, subject, data=b"", reply=""):
        self.send(f"PUB {subject} {reply + ' ' if reply else ''}{len(data)}\r\n".encode() + data + b"\r\n")

    def subscribe(self, subject, queue=""):
        self._next_sid += 1
        sid = str(self._next_sid)
        self.send(f"SUB {subject} {queue + ' ' if queue else ''}{sid}\r\n".encode())
        return sid

    # In

    def _fill(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise Silence("nothing came in time")
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(1 << 18)
        except socket.timeout:
            raise Silence("nothing came in time") from None
        except ConnectionResetError:
            raise Closed() from None
        if not data:
            raise Closed()
        self._buffer += data

    def _line(self, deadline):
        while True:
            end = self._buffer.find(b"\r\n")
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 2]
                return line
            self._fill(deadline)

    def _take(self, count, deadline):
        while len(self._buffer) < count:
            self._fill(deadline)
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def next(self, timeout=None):
        """The next operation: a Message, or its line as text ("PONG", "+OK", "-ERR '…'").
        A PING is answered and not shown, a further INFO replaces `info`."""
        deadline = time.monotonic() + (PATIENCE if timeout is None else timeout)
        while True:
            line = self._line(deadline).decode("utf-8", "surrogateescape")
            word, _, rest = line.partition(" ")
            if word == "PING":
                self.send(b"PONG\r\n")
                continue
            if word == "INFO":
                self.info = json.loads(rest)
                continue
            if word == "MSG":
                fields = rest.split()
                size = int(fields[-1])
                data = self._take(size + 2, deadline)
                assert data.endswith(b"\r\n")
                return Message(fields[0], fields[1], fields[2] if len(fields) == 4 else "", b"", data[:-2])
            if word == "HMSG":
                fields = rest.split()
                head, size = int(fields[-2]), int(fields[-1])
                data = self._take(size + 2, deadline)
                return Message(fields[0], fields[1], fields[2] if len(fields) == 5 else "", data[:head], data[head:-2])
            return line

    def fence(self, timeout=None):
        """PING, and all that comes before its PONG: when it returns, the server has
        handled everything sent before."""
        self.send(b"PING\r\n")
        seen = []
        while True:
            operation = self.next(timeout)
            if operation == "PONG":
                return seen
            seen.append(operation)

    def until_closed(self):
        """All that comes until the server closes the connection."""
        seen = []
        try:
            while True:
                seen.append(self.next())
        except Closed:
            return seen
