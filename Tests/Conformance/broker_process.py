"""A broker (or its peer nats-server) as a real process on a random port, with its log at hand."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
import json

#: The broker under test; `PEER=nats-server` runs the core tests against the real peer instead.
BROKER = os.environ.get("BROKER", os.path.join(os.path.dirname(__file__), "../../.build/debug/broker"))
PEER = os.environ.get("PEER")
#: Seconds that a condition may take before the test fails: far more than any takes, on a machine that builds three
#: other things meanwhile too. It is the only upper bound on time in these tests; what comes soon is told from what
#: comes late by the order of events.
PATIENCE = float(os.environ.get("PATIENCE", "120"))
CLUSTER = "conformance"


def free_port():
    """A port that nobody uses now, below the range of outgoing connections: a client that reconnects to a
    port inside that range can by chance connect to itself."""
    for _ in range(200):
        port = random.randint(10000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port found")


def wait_until(condition, what, timeout=None):
    """Waits until `condition()` is true and returns its value; polls, and fails with `what` (text, or a function that makes it)."""
    deadline = time.monotonic() + (timeout or PATIENCE)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            said = what() if callable(what) else what
            raise AssertionError(f"waited {timeout or PATIENCE} s for: {said}")
        time.sleep(0.005)


class LoggedProcess:
    """A process whose log lines (standard error) are at hand. A subclass says what `command()` is and when it is
    ready (`wait_ready()`)."""

    environment = None
    process = None

    def __init__(self):
        self.lines = []
        self._changed = threading.Condition()

    def start(self, wait=True):
        with self._changed:
            self.lines = []
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=self.environment)
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        if wait:
            self.wait_ready()

    def _read(self, stream):
        for raw in stream:
            with self._changed:
                self.keep(raw.decode("utf-8", "replace").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def keep(self, line):
        self.lines.append(line)

    def wait_for_line(self, pattern, timeout=None):
        """The first log line of this start that matches the regular expression."""
        deadline = time.monotonic() + (timeout or PATIENCE)
        with self._changed:
            while True:
                for line in self.lines:
                    if re.search(pattern, line):
                        return line
                ended = not self._reader.is_alive()
                left = deadline - time.monotonic()
                if ended or left <= 0:
                    text = "\n".join(self.lines[-40:])
                    why = "the process ended" if ended else "time is up"
                    raise AssertionError(f"no log line matches {pattern!r} ({why}):\n{text}")
                self._changed.wait(min(left, 0.2))

    def wait_exit(self, timeout=None):
        """Waits for the end of the process by itself; returns its exit code."""
        code = self.process.wait(timeout or PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)

    def terminate(self, with_signal=signal.SIGTERM):
        self.process.send_signal(with_signal)
        return self.wait_exit()

    def restart(self, hard=False, wait=True):
        if self.process.poll() is None:
            self.kill() if hard else self.terminate()
        self.start(wait=wait)

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(PATIENCE)
        # What a crash leaves behind may still hold the other end: then closing would wait for it.
        if not self._reader.is_alive():
            self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def log(self):
        with self._changed:
            return "\n".join(self.lines)


class BrokerProcess(LoggedProcess):
    """Starts at once, waits until it is ready. Use it as a context manager; `restart` keeps port and directory.

    store: "file" (a temporary directory unless `directory` is given) or "memory".
    """

    def __init__(self, *flags, store="memory", directory=None, cluster=CLUSTER, monitoring=True, wait=True,
                 port=None, monitoring_port=None, prefix=(), environment=None):
        super().__init__()
        self.flags = list(flags)
        self.prefix = list(prefix)
        self.environment = environment
        self.store = store
        self.cluster = cluster
        self.port = port if port is not None else free_port()
        self.monitoring_port = (monitoring_port or free_port()) if monitoring else None
        self._own_directory = None
        if store == "file" and directory is None:
            directory = self._own_directory = tempfile.mkdtemp(prefix="broker-conformance-")
        self.directory = directory
        self.start(wait=wait)

    # Life

    def command(self):
        if PEER:
            line = [PEER, "-p", str(self.port), "-a", "127.0.0.1"]
        else:
            line = [BROKER, "-p", str(self.port), "-a", "127.0.0.1", "-cid", self.cluster, "-st", self.store]
            if self.directory:
                line += ["-dir", self.directory]
        if self.monitoring_port:
            line += ["-m", str(self.monitoring_port)]
        return self.prefix + line + self.flags

    def wait_ready(self):
        self.wait_for_line("Server is ready" if PEER else "Streaming Server is ready")

    def close(self):
        super().close()
        if self._own_directory:
            shutil.rmtree(self._own_directory, ignore_errors=True)

    # Views

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def http(self, path):
        """(status, body as text) of one monitoring request."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.monitoring_port}{path}", timeout=PATIENCE) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def monitor(self, path):
        """The JSON of one monitoring page."""
        status, body = self.http(path)
        assert status == 200, f"{path}: {status} {body}"
        return json.loads(body)
