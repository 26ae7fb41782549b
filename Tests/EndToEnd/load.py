"""The load.c programs of the kill and fault tests, and the audit of what they published."""

import collections
import os
import subprocess
import threading
import time

import streaming_pb2 as pb
from broker_process import PATIENCE
from message import index_of, make_message
from streaming_client import StreamingClient

here = os.path.dirname(os.path.abspath(__file__))
LOAD = os.path.join(os.environ.get("GENERATED", os.path.join(here, "../../.build/conformance")), "end-to-end-load")


class Program:
    """One load.c process; its standard output line by line."""

    def __init__(self, *words):
        self.process = subprocess.Popen([LOAD, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.lines = collections.deque()
        self.last = ""
        self.changed = threading.Condition()
        self.errors = []
        self.readers = [threading.Thread(target=self._read, daemon=True),
                        threading.Thread(target=self._read_errors, daemon=True)]
        for reader in self.readers:
            reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.strip())
                self.last = line.strip()
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def _read_errors(self):
        for line in self.process.stderr:
            self.errors.append(line.rstrip())

    def wait(self, condition, what, timeout=PATIENCE * 3):
        deadline = time.monotonic() + timeout
        with self.changed:
            while not condition(self):
                left = deadline - time.monotonic()
                if self.process.poll() is not None and not self.readers[0].is_alive() or left <= 0:
                    raise AssertionError(f"{what}: {self.last!r} {self.errors[-5:]} (exit {self.process.poll()})")
                self.changed.wait(min(left, 0.1))

    def acked(self):
        words = self.last.split()
        return int(words[1]) if len(words) == 2 and words[0] in ("acked", "finished") else 0

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def report(self, path):
        with self.changed:
            self.lines.clear()
        self.say("report")
        self.wait(lambda program: "reported" in program.lines, "the subscriber's report")
        with open(path) as file:
            return [tuple(map(int, line.split())) for line in file]

    def is_done(self):
        """Whether a publisher knows the fate of everything that it published."""
        return self.last.startswith("finished") or self.process.poll() is not None

    def end(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for reader in self.readers:
            reader.join(PATIENCE)
        self.process.stdout.close()
        self.process.stderr.close()
        return self.process.returncode


def stored_messages(broker, channel):
    """{sequence: index} of everything in the channel, each message checked byte by byte."""
    page = broker.monitor(f"/streaming/channelsz?channel={channel}")
    with StreamingClient(broker) as client:
        subscription = client.subscribe(channel, start=pb.First, max_in_flight=16384)
        try:
            subscription.wait(page["msgs"], PATIENCE * 3)
        except AssertionError as error:
            state = broker.monitor(f"/streaming/channelsz?channel={channel}&subs=1")
            raise AssertionError(f"{error}\n{state}\n{broker.http('/healthz')}\n{broker.log}") from None
        client.settle()
        sequences = subscription.sequences
        assert sequences == list(range(1, len(sequences) + 1)), f"{channel}: sequences are not 1…n"
        found = {}
        for message in subscription.messages:
            index = index_of(message.data)
            assert message.data == make_message(index), f"{channel}: message {message.sequence} was altered"
            found[message.sequence] = index
        return found
