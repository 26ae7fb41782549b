"""What the store does beside publishing: retention under load, many channels and durables, a large store."""

import concurrent.futures
import json
import os
import random
import socket
import statistics
import threading
import time

from servers import Broker

GIB = 1 << 30
INBOX = b"_STAN.acks.store000000000000000000"


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """A field of a protobuf message: bytes, or a number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


class Client:
    """A client of the streaming protocol that counts acknowledgements and says when one is an error."""

    def __init__(self, port, name=b"store"):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.name = name
        self.buffer = b""
        self.acks = 0
        self.answers = 0
        self.last = b""
        self.socket.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB %s 1\r\nSUB _INBOX.%s.> 2\r\n' % (INBOX, name))
        self.request(b"_STAN.discover.bench", field(1, name) + field(2, b"_INBOX.%s.heartbeat" % name))
        assert b"_STAN.subclose" in self.last, self.last

    def request(self, subject, payload):
        """Sends a request and waits for its answer."""
        self.socket.sendall(self.frame(subject, payload, b"_INBOX.%s.answer" % self.name))
        self.wait(lambda: self.answers == 0, -1)
        self.answers = 0
        return self.last

    @staticmethod
    def frame(subject, payload, reply):
        return b"PUB %s %s %d\r\n%s\r\n" % (subject, reply, len(payload), payload)

    def publication(self, channel, data):
        """A publish as bytes to send."""
        message = field(1, self.name) + field(2, b"guid") + field(3, channel) + field(5, data)
        return self.frame(b"_STAN.pub.bench.%s" % channel, message, INBOX)

    def subscription(self, channel, durable):
        message = field(1, self.name) + field(2, channel) + field(4, b"_INBOX.%s.messages" % self.name) + field(5, 16) \
            + field(6, 30) + field(7, durable) + field(10, 0)
        return self.frame(b"_STAN.sub.bench", message, b"_INBOX.%s.answer" % self.name)

    def send_all(self, frames, window=512):
        """Sends publishes with at most `window` of them in flight."""
        sent = 0
        frames = iter(frames)
        done = False
        start = self.acks
        while not done or self.acks - start < sent:
            batch = []
            while not done and sent - (self.acks - start) < window:
                frame = next(frames, None)
                if frame is None:
                    done = True
                else:
                    batch.append(frame)
                    sent += 1
            if batch:
                self.socket.sendall(b"".join(batch))
            if self.acks - start < sent:
                self.read()
        return sent

    def wait(self, waits, _):
        while waits():
            self.read()

    def read(self):
        data = self.socket.recv(1 << 20)
        if not data:
            raise SystemExit("the server closed the connection")
        self.buffer += data
        at = 0
        while True:
            end = self.buffer.find(b"\r\n", at)
            if end < 0:
                break
            line = self.buffer[at:end]
            if line.startswith(b"MSG "):
                size = int(line[line.rfind(b" ") + 1:])
                if len(self.buffer) < end + 4 + size:
                    break
                payload = self.buffer[end + 2:end + 2 + size]
                at = end + 4 + size
                if b" 1 " in line:
                    self.acks += 1
                    # Field 2 of an acknowledgement is its error.
                    if size > 6:
                        raise SystemExit(f"a publish was refused: {payload!r}")
                elif b".answer" in line:
                    self.answers += 1
                    self.last = payload
                continue
            if line.startswith(b"PING"):
                self.socket.sendall(b"PONG\r\n")
            elif line.startswith(b"-ERR"):
                raise SystemExit(line.decode())
            at = end + 2
        self.buffer = self.buffer[at:]

    def ask(self, verb, channel, payload=b""):
        answer = self.request(b"$BROKER.API.CHANNEL.%s.bench.%s" % (verb, channel), payload)
        if b'"error"' in answer:
            raise SystemExit(answer.decode())
        return json.loads(answer)

    def close(self):
        self.socket.close()


class Expiring(Broker):
    """Keeps messages for two seconds in each channel."""
    flags = ["-ma", "2s"]


def retention(bench):
    """p99 of a publisher while other channels are purged, deleted and expire, against the same one undisturbed."""
    def disturb(port, stop, done):
        client = Client(port, b"disturber")
        data = random.randbytes(4096)
        number = 0
        while not stop.is_set():
            number += 1
            channel = b"bulk.%d" % number
            frame = client.publication(channel, data)
            client.send_all((frame for _ in range(2048)), 128)
            client.ask(b"PURGE", channel, b'{"up_to_sequence":1500}')
            client.ask(b"PURGE", channel)
            client.ask(b"DELETE", channel)
            done.append(number)
        client.close()

    def only_fill(port, stop, done):
        """The same publishing without the retention: what the disturber's own load costs is not retention's."""
        client = Client(port, b"disturber")
        data = random.randbytes(4096)
        number = 0
        while not stop.is_set():
            number += 1
            frame = client.publication(b"bulk.%d" % number, data)
            client.send_all((frame for _ in range(2048)), 128)
            done.append(number)
        client.close()

    def p99(kind, body):
        values = []
        for _ in range(bench.options.rounds):
            with bench.server(kind) as server:
                stop, done = threading.Event(), []
                with concurrent.futures.ThreadPoolExecutor(1) as pool:
                    other = pool.submit(body, server.port, stop, done)
                    try:
                        # Four in flight, well below the maximum: the time of an acknowledgement is what is looked at.
                        numbers = bench.load("streaming", server.port, 128, 4, "warmup=0.5",
                                             f"seconds={max(5, bench.options.seconds)}")
                    finally:
                        stop.set()
                    other.result()
                if not done:
                    raise SystemExit("retention: the other client came to nothing, so nothing was disturbed")
                values.append(numbers["p99_us"])
                bench.note(f"retention: {kind.__name__}, {body.__name__}: p99 {numbers['p99_us']:,.0f} µs, "
                           f"p99.9 {numbers['p999_us']:,.0f} µs, {len(done)} channels of 8 MiB")
        return statistics.median(values)

    calm = p99(Broker, only_fill)
    for work, kind, body in (("p99 µs beside purges and deletions", Broker, disturb),
                             ("p99 µs beside expiry by age", Expiring, only_fill)):
        value = p99(kind, body)
        bench.row(work=work, unit="µs", broker=value, peer_name="the same load, no retention", peer=calm,
                  ratio=value / calm, must="<= 2 x", holds=value <= 2 * calm)


    calm, beside = (statistics.median(values) for values in zip(*[deletion(bench) for _ in range(bench.options.rounds)]))
    bench.row(work="p99 µs while 4 GiB are deleted, 10,000 a second", unit="µs", broker=beside,
              peer_name="the same load before", peer=calm, ratio=beside / calm, must="<= 2 x", holds=beside <= 2 * calm)


def deletion(bench):
    """p99 of a publisher before and while two channels of 2 GiB are deleted. It sends by the clock, so that a stall counts for
    every message that came due in it."""
    words = [128, 1024, "warmup=0.5", "seconds=5", "rate=10000"]
    with bench.server(Broker) as server:
        bench.load("streaming", server.port, 1024, 1024, "channels=2", f"bytes={4 * GIB}")
        client = Client(server.port, b"deleter")
        # What was written before is on the disk, and the checkpoint behind it made.
        os.sync()
        time.sleep(2)
        before = bench.load("streaming", server.port, *words)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            publishing = pool.submit(bench.load, "streaming", server.port, *words)
            time.sleep(1)
            for channel in (b"bench0000", b"bench0001"):
                client.ask(b"DELETE", channel)
            beside = publishing.result()
        client.close()
        for name, numbers in (("before", before), ("beside", beside)):
            bench.note(f"deletion of 4 GiB, {name}: p99 {numbers['p99_us']:,.0f} µs, p99.9 {numbers['p999_us']:,.0f} µs")
        return before["p99_us"], beside["p99_us"]


def scale(bench):
    """10,000 channels and 10,000 durables: memory, and a restart after kill -9."""
    count = 10_000
    with bench.server(Broker) as server:
        client = Client(server.port)
        data = random.randbytes(512)
        for _ in range(20):
            client.send_all(client.publication(b"channel.%d" % number, data) for number in range(count))
        for start in range(0, count, 256):
            numbers = range(start, min(start + 256, count))
            client.answers = 0
            client.socket.sendall(b"".join(client.subscription(b"channel.%d" % n, b"durable") for n in numbers))
            client.wait(lambda: client.answers < len(numbers), 0)
        client.answers = 0
        bench.limit("10,000 channels of 20 messages and 10,000 durables", "MB", server.resident_mb(peak=True), 256, "limit", 256)
        server.stop(hard=True)
    with bench.server(Broker, keep=True) as server:
        bench.limit("restart with 10,000 channels and durables after kill -9", "ms", server.start_seconds * 1000, 2000, "limit", 2000)
        bench.limit("and its memory", "MB", server.resident_mb(peak=True), 256, "limit", 256)
        server.stop()
    with bench.server(Broker, keep=True) as server:
        bench.limit("restart with 10,000 channels and durables, clean", "ms", server.start_seconds * 1000, 2000, "limit", 2000)


def large(bench):
    """10 GiB stored: opening it."""
    with bench.server(Broker) as server:
        bench.load("streaming", server.port, 4096, 1024, f"bytes={10 * GIB}")
        bench.limit("while 10 GiB are stored", "MB", server.resident_mb(peak=True), 256, "limit", 256)
        server.stop(hard=True)
    with bench.server(Broker, keep=True) as server:
        bench.limit("opening 10 GiB after kill -9", "ms", server.start_seconds * 1000, 2000, "limit", 2000)
        bench.limit("and its memory", "MB", server.resident_mb(peak=True), 256, "limit", 256)
        server.stop()
    with bench.server(Broker, keep=True) as server:
        bench.limit("opening 10 GiB after a clean stop", "ms", server.start_seconds * 1000, 2000, "limit", 2000)
    bench.remove_data()

