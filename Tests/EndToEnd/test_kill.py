"""kill -9 in the middle of publishing, again and again on one store, with real clients that only reconnect. What was
acknowledged is held against what is there.

ROUNDS, MESSAGES and PUBLISHERS make it longer: ROUNDS=50 MESSAGES=2000000 Tests/EndToEnd/run -k kill
"""

import os
import random
import time

import pytest

from broker_process import PATIENCE, BrokerProcess
from load import Program, stored_messages

ROUNDS = int(os.environ.get("ROUNDS", "5"))
MESSAGES = int(os.environ.get("MESSAGES", "100000"))


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
                senders[0].wait(lambda program: program.acked() >= goal or program.is_done(),
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
