"""Power cuts under load, again and again on one store, with clients that stay, come and go; what was acknowledged is
held against what is there. CUTS and MESSAGES make it longer."""

import os
import random
import shutil

import streaming_pb2 as pb
from broker_process import PATIENCE, BrokerProcess, wait_until
from disk import Disk
from load import Program, stored_messages
from streaming_client import StreamingClient

CUTS = int(os.environ.get("CUTS", "4"))
MESSAGES = int(os.environ.get("MESSAGES", "60000"))


def test_nothing_acknowledged_is_lost_when_the_power_is_cut(tmp_path):
    seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
    print(f"seed {seed}: SEED={seed} Tests/Faults/run -k power")
    chance = random.Random(seed)
    channels, visits = 4, 0
    with Disk(tmp_path, 600) as disk, BrokerProcess("-mm", "0", "-mb", "0", "--journal-size", "32MB", store="file",
                                                    directory=os.path.join(disk.place, "data")) as broker:
        sender = Program("publish", broker.url, broker.cluster, "publisher", channels, MESSAGES, 0, 1024,
                         tmp_path / "fates")
        try:
            for number in range(CUTS):
                goal = int(MESSAGES * (number + chance.random()) / CUTS)
                sender.wait(lambda program: program.acked() >= goal or program.is_done(),
                            f"{goal} acks before cut {number + 1}")
                # Clients that come and go meanwhile.
                with StreamingClient(broker, f"visitor-{number}") as client:
                    client.subscribe("load.0", start=pb.First, max_in_flight=64).wait(1)
                    for _ in range(10):
                        assert client.publish("visits", b"%d" % visits).error == ""
                        visits += 1
                disk.cut_power()
                broker.kill()
                disk.power_up()
                broker.start()
                assert "damage" not in broker.log, broker.log
            sender.wait(lambda program: program.last.startswith("finished"), "the publisher to finish", PATIENCE * 2)
            assert sender.end() == 0, sender.errors
            fates = (tmp_path / "fates").read_bytes()
            acknowledged = {index for index, fate in enumerate(fates) if fate == ord("a")}
            stored = {channel: stored_messages(broker, f"load.{channel}") for channel in range(channels)}
            present = [index for messages in stored.values() for index in messages.values()]
            assert len(present) == len(set(present)), "doubled"
            missing = sorted(acknowledged - set(present))
            assert not missing, f"{len(missing)} acknowledged messages are gone: {missing[:10]}"
            with StreamingClient(broker) as client:
                got = client.subscribe("visits", start=pb.First).wait(visits)
                assert [message.data for message in got] == [b"%d" % number for number in range(visits)]
            print(f"{CUTS} cuts, {len(acknowledged)} of {len(fates)} acknowledged, {len(present)} stored, 0 lost")
        finally:
            sender.end()
            broker.close()


def test_a_store_that_is_cut_off_in_its_first_moments_starts(tmp_path):
    """A new store, a first message, and the power goes: again and again, each time a moment later."""
    with Disk(tmp_path, 100) as disk:
        for number in range(CUTS):
            broker = BrokerProcess(store="file", directory=os.path.join(disk.place, f"data-{number}"))
            try:
                acknowledged = 0
                with StreamingClient(broker) as client:
                    for index in range(number):
                        client.store("a", b"%d" % index)
                        acknowledged += 1
                disk.cut_power()
                broker.kill()
                disk.power_up()
                broker.start()
                with StreamingClient(broker) as client:
                    if acknowledged:
                        got = client.subscribe("a", start=pb.First).wait(acknowledged)
                        assert [message.data for message in got] == [b"%d" % index for index in range(acknowledged)]
                    client.store("a", b"after")
            finally:
                broker.close()


def test_a_full_disk_that_loses_its_power_starts_full_and_goes_on_when_there_is_space(tmp_path):
    with Disk(tmp_path, 160) as disk, BrokerProcess("--journal-size", "16MB", "-mm", "0", "-mb", "0", store="file",
                                                    directory=os.path.join(disk.place, "data")) as broker:
        filler = os.path.join(disk.place, "filler")
        payload = random.Random(1).randbytes(100_000)
        try:
            with StreamingClient(broker) as client:
                client.store("a", payload)
                with open(filler, "wb") as file:
                    for _ in range(max(0, (shutil.disk_usage(disk.place).free >> 20) - 24)):
                        file.write(bytes(1 << 20))
                    os.fsync(file.fileno())
                acknowledged, refusal = 1, ""
                while not refusal and acknowledged < 3000:
                    refusal = client.publish("a", payload).error
                    acknowledged += 0 if refusal else 1
                assert refusal, "300 MB fit on a disk with 24 MB left"
                # Consumers go on, and what they acknowledge is not refused.
                subscription = client.subscribe("a", start=pb.First, durable="reader", manual=True, max_in_flight=4096)
                subscription.wait(acknowledged)
                subscription.ack(*range(1, acknowledged + 1))
                assert client.ping() == ""
            disk.cut_power()
            broker.kill()
            disk.power_up()
            broker.start()
            with StreamingClient(broker) as client:
                got = client.subscribe("a", start=pb.First, max_in_flight=4096).wait(acknowledged)
                assert [message.sequence for message in got[:acknowledged]] == list(range(1, acknowledged + 1))
                assert all(message.data == payload for message in got)
                os.remove(filler)
                wait_until(lambda: client.publish("a", payload).error == "", "publishing to resume")
        finally:
            broker.close()
