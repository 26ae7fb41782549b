"""kill -9 in the middle of publishing, again and again on one store, with real clients that only reconnect. What was
acknowledged is held against what is there.

ROUNDS, MESSAGES and PUBLISHERS make it longer: ROUNDS=50 MESSAGES=2000000 Tests/EndToEnd/run -k kill
"""

import collections
import os
import random
import subprocess
import threading
import time

import pytest

import streaming_pb2 as pb
from broker_process import PATIENCE, BrokerProcess
from message import index_of, make_message
from streaming_client import StreamingClient

here = os.path.dirname(os.path.abspath(__file__))
LOAD = os.path.join(os.environ.get("GENERATED", os.path.join(here, "../../.build/conformance")), "end-to-end-load")
ROUNDS = int(os.environ.get("ROUNDS", "5"))
MESSAGES = int(os.environ.get("MESSAGES", "100000"))


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


@pytest.mark.parametrize("channels, publishers, sync", [(1, 1, "always"), (16, 2, "always")],
                         ids=["one channel", "many channels"])
def test_nothing_acknowledged_is_lost_when_the_broker_is_killed(tmp_path, channels, publishers, sync):
    seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
    print(f"seed {seed}: SEED={seed} Tests/EndToEnd/run -k kill")
    chance = random.Random(seed)
    each = MESSAGES // publishers
    programs = []
    with BrokerProcess("-mm", "0", "-mb", "0", "--sync", sync, store="file") as broker:
        try:
            subscribers = [Program("subscribe", broker.url, broker.cluster, f"subscriber-{n}", channels, "workers",
                                   "audit", tmp_path / f"delivered-{n}") for n in range(2)]
            programs += subscribers
            for subscriber in subscribers:
                subscriber.wait(lambda program: "subscribed" in program.lines, "the subscription")
            senders = [Program("publish", broker.url, broker.cluster, f"publisher-{n}", channels, each, n * each, 1024,
                               tmp_path / f"fates-{n}") for n in range(publishers)]
            programs += senders
            for number in range(ROUNDS):
                # Kill at a random point of this round's share of the acks, while publishes are on their way.
                goal = int(each * (number + chance.random()) / ROUNDS)
                senders[0].wait(lambda program: program.acked() >= goal or program.process.poll() is not None,
                                f"{goal} acks before kill {number + 1}")
                broker.restart(hard=True)
            for sender in senders:
                sender.wait(lambda program: program.last.startswith("finished"), "the publisher to finish", PATIENCE * 5)
                assert sender.end() == 0, sender.errors

            fates = b"".join((tmp_path / f"fates-{n}").read_bytes() for n in range(publishers))
            assert len(fates) == each * publishers
            acknowledged = {index for index, fate in enumerate(fates) if fate == ord("a")}
            assert len(acknowledged) > len(fates) // 2, "most publishes should have been acknowledged"

            stored = {channel: stored_messages(broker, f"load.{channel}") for channel in range(channels)}
            present = {index for messages in stored.values() for index in messages.values()}
            missing = sorted(acknowledged - present)
            assert not missing, f"{len(missing)} acknowledged messages are gone: {missing[:10]}"
            for channel, messages in stored.items():
                assert all(index % channels == channel for index in messages.values())
                for publisher in range(publishers):
                    own = [i for i in messages.values() if i // each == publisher]
                    assert own == sorted(set(own)), f"load.{channel}: out of order or doubled"

            # Every stored message reaches the group at least once, unaltered, under its own sequence.
            deadline = time.monotonic() + PATIENCE * 3
            while True:
                deliveries = [entry for n, subscriber in enumerate(subscribers)
                              for entry in subscriber.report(tmp_path / f"delivered-{n}")]
                for channel, sequence, index, _ in deliveries:
                    assert stored[channel].get(sequence) == index, f"load.{channel}: {sequence} was delivered as {index}"
                seen = {(channel, sequence) for channel, sequence, _, _ in deliveries}
                left = [(c, s) for c, messages in stored.items() for s in messages if (c, s) not in seen]
                if not left:
                    break
                assert time.monotonic() < deadline, f"{len(left)} messages were never delivered: {left[:10]}"
                time.sleep(0.05)  # the next report: the subscribers are separate processes
            again = len(deliveries) - len(seen)
            print(f"{len(acknowledged)} of {len(fates)} acknowledged, {sum(map(len, stored.values()))} stored, "
                  f"{len(deliveries)} deliveries ({again} more than once), {ROUNDS} kills")
            for subscriber in subscribers:
                assert subscriber.end() == 0, subscriber.errors

            # Once more from the disk alone.
            broker.restart()
            for channel in range(channels):
                assert stored_messages(broker, f"load.{channel}") == stored[channel]
        finally:
            for program in programs:
                program.end()
