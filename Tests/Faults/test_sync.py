"""Syncs that fail or hang, and calls that move less than they were asked to, by a library preloaded into the broker."""

import os
import subprocess

import pytest

import streaming_pb2 as pb
from broker_process import BrokerProcess
from streaming_client import StreamingClient

LIBRARY = os.path.join(os.environ.get("GENERATED", ".build/conformance"), "faults.so")


def file_system(path):
    return subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True).stdout.strip()


class FaultyBroker(BrokerProcess):
    def __init__(self, tmp_path, *flags):
        self.fault = tmp_path / "fault"
        super().__init__(*flags, store="file", directory=str(tmp_path / "data"),
                         environment={**os.environ, "LD_PRELOAD": LIBRARY, "FAULT_FILE": str(self.fault)})

    def says(self, word):
        """The calls of the broker do this from now on; nothing special with an empty word."""
        if word:
            (self.fault.parent / "next").write_text(word)
            os.replace(self.fault.parent / "next", self.fault)
        elif self.fault.exists():
            self.fault.unlink()


@pytest.fixture(params=["asynchronous writes", "threads"])
def broker(tmp_path, request):
    # The second as a kernel without asynchronous writes: it stays so until the broker is started again.
    if request.param == "threads":
        (tmp_path / "fault").write_text("threads")
    with FaultyBroker(tmp_path) as broker:
        # What makes the journal's first file ready is the thread's.
        with StreamingClient(broker, "first") as client:
            client.store("first", b"")
        broker.says("")
        yield broker
        broker.says("")


def test_a_failed_sync_answers_every_publisher_and_a_restart_has_what_was_acknowledged(broker, request, tmp_path):
    with StreamingClient(broker) as client:
        for number in range(20):
            client.store("a", b"%d" % number)
        broker.says("sync")
        ack = client.publish("a", b"not on disk")
        assert ack.error, "a message was acknowledged whose sync failed"
        # Nothing is retried: the next one is refused too, though syncs work again.
        broker.says("")
        assert client.publish("a", b"not taken").error
        status, text = broker.http("/healthz")
        way = request.node.callspec.params["broker"]
        if way == "asynchronous writes" and file_system(tmp_path) != "ext2/ext3":
            pytest.skip(f"whether {file_system(tmp_path)} has asynchronous writes is not known")
        assert status == 503 and ("fdatasync" if way == "threads" else "RWF_DSYNC") in text, (status, text)
    broker.restart(hard=True)
    with StreamingClient(broker) as client:
        got = client.subscribe("a", start=pb.First).wait(20)
        assert [message.data for message in got][:20] == [b"%d" % number for number in range(20)]
        client.store("a", b"again")


def test_while_a_sync_hangs_nothing_is_acknowledged_and_everything_else_goes_on(broker):
    with StreamingClient(broker, "publisher") as client, StreamingClient(broker, "reader") as reader:
        for number in range(20):
            client.store("a", b"%d" % number)
        subscription = reader.subscribe("a", start=pb.First, max_in_flight=10, manual=True)
        subscription.wait(10)
        broker.says("stuck")
        before = len(client.acks)
        client.publish_async("b", b"waits")
        # The loop answers, readers read on, acknowledgements are taken.
        assert reader.ping() == ""
        subscription.ack(*range(1, 11))
        subscription.wait(20)
        assert client.ping() == "" and len(client.acks) == before
        broker.says("")
        client.pump(lambda: len(client.acks) > before, "the acknowledgement when the disk goes on")
        assert client.acks[-1].error == ""
        assert len(reader.subscribe("b", start=pb.First).wait(1)) == 1


def test_calls_that_move_less_than_asked_and_are_interrupted_change_nothing(tmp_path):
    with FaultyBroker(tmp_path, "--journal-size", "16MB") as broker:
        broker.says("short")
        payloads = [b"%d:" % number + bytes([number % 251]) * 4000 for number in range(400)]
        with StreamingClient(broker) as client:
            for payload in payloads:
                assert client.publish("a", payload).error == ""
        for hard in [True, False]:
            broker.restart(hard=hard)
            assert "damage" not in broker.log, broker.log
            with StreamingClient(broker) as client:
                got = client.subscribe("a", start=pb.First, max_in_flight=1000).wait(len(payloads))
                assert [message.data for message in got] == payloads
        assert broker.terminate() == 0
        broker.says("")
        checked = subprocess.run([broker.command()[0], "check", broker.directory], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_start_that_cannot_list_the_journal_is_refused_and_changes_nothing(tmp_path):
    with FaultyBroker(tmp_path, "--journal-size", "16MB") as broker:
        with StreamingClient(broker) as client:
            for number in range(400):
                client.store("a", b"%d:" % number + bytes(2000))
        broker.kill()
        journal = tmp_path / "data" / "journal"
        before = {path.name: path.read_bytes() for path in journal.iterdir()}
        assert len(before) > 1
        broker.says("list")
        broker.start(wait=False)
        assert broker.wait_exit(20) != 0
        assert "readdir" in broker.log, broker.log
        assert {path.name: path.read_bytes() for path in journal.iterdir()} == before
        broker.says("")
        broker.start()
        with StreamingClient(broker) as client:
            assert len(client.subscribe("a", start=pb.First).wait(400)) == 400
