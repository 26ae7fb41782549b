"""Limits (description 4; checklist 10.8)."""

import time

import pytest

import streaming_pb2 as pb
from broker_process import BrokerProcess, wait_until
from streaming_client import TOO_MANY_CHANNELS, TOO_MANY_SUBSCRIPTIONS, StreamingClient


def test_one_channel_when_the_limit_is_one():
    with BrokerProcess("-mc", "1") as broker, StreamingClient(broker) as client:
        client.store("first", b"1")
        assert client.publish("second").error == TOO_MANY_CHANNELS
        client.subscribe("second", expect=TOO_MANY_CHANNELS)
        client.store("first", b"2")
        client.subscribe("first", start=pb.First).wait(2)


def test_the_default_limit_is_a_hundred_channels_and_zero_is_unlimited():
    with BrokerProcess() as broker, StreamingClient(broker) as client:
        for number in range(100):
            client.store(f"c{number}", b"")
        assert client.publish("c100").error == TOO_MANY_CHANNELS
    with BrokerProcess("-mc", "0") as broker, StreamingClient(broker) as client:
        for number in range(150):
            client.publish_async(f"c{number}")
        client.pump(lambda: len(client.acks) == 150, "150 acks")
        assert [a.error for a in client.acks if a.error] == []


@pytest.mark.parametrize("kind", [{}, {"durable": "x"}, {"queue": "x"}, {"queue": "x", "durable": "x"}],
                         ids=["plain", "durable", "queue", "durable queue"])
def test_the_subscription_limit_counts_every_kind(kind):
    with BrokerProcess("-msu", "1") as broker, StreamingClient(broker) as client:
        client.subscribe("a", durable="first")
        client.subscribe("a", expect=TOO_MANY_SUBSCRIPTIONS, **kind)
        assert broker.monitor("/streaming/channelsz?channel=a&subs=1")["subs_count"] == 1
        client.subscribe("b", **kind)


def test_the_subscription_limit_counts_offline_durables_and_not_a_resume():
    with BrokerProcess("-msu", "1") as broker, StreamingClient(broker) as client:
        assert client.subscribe("a", durable="d").close() == ""
        client.subscribe("a", expect=TOO_MANY_SUBSCRIPTIONS)
        assert client.subscribe("a", durable="d").unsubscribe() == ""
        client.subscribe("a")


@pytest.mark.parametrize("store", ["memory", "file"])
def test_the_newest_messages_are_kept_and_publishers_succeed(store):
    with BrokerProcess("-mm", "10", store=store) as broker, StreamingClient(broker) as client:
        client.store("a", 100)
        page = broker.monitor("/streaming/channelsz?channel=a")
        assert (page["msgs"], page["first_seq"], page["last_seq"]) == (10, 91, 100)
        assert [m.sequence for m in client.subscribe("a", start=pb.First).wait(10)] == list(range(91, 101))


@pytest.mark.parametrize("store, overhead", [("memory", 0), ("file", 40)])
def test_bytes_are_counted_as_the_original_counts_them(store, overhead):
    with BrokerProcess("-mb", "1000", store=store) as broker, StreamingClient(broker) as client:
        client.store("a", *[b"x" * 100] * 30)
        messages = client.subscribe("a", start=pb.First).wait(1)
        size = messages[0].ByteSize() + overhead
        kept = 1000 // size
        page = broker.monitor("/streaming/channelsz?channel=a")
        assert page["msgs"] == kept
        assert page["bytes"] == kept * size


def test_one_oversized_message_is_kept():
    with BrokerProcess("-mb", "100") as broker, StreamingClient(broker) as client:
        client.store("a", b"x" * 5000)
        page = broker.monitor("/streaming/channelsz?channel=a")
        assert page["msgs"] == 1
        client.store("a", b"y" * 5000)
        page = broker.monitor("/streaming/channelsz?channel=a")
        assert (page["msgs"], page["first_seq"]) == (1, 2)


@pytest.mark.parametrize("store", ["memory", "file"])
def test_messages_go_by_age_and_sequences_go_on(store):
    with BrokerProcess("-ma", "1s", store=store) as broker, StreamingClient(broker) as client:
        client.store("a", 5)
        wait_until(lambda: broker.monitor("/streaming/channelsz?channel=a")["msgs"] == 0, "the messages to expire")
        page = broker.monitor("/streaming/channelsz?channel=a")
        assert (page["first_seq"], page["last_seq"]) == (6, 5)
        for start in ({"start": pb.First}, {"start": pb.LastReceived}, {"start": pb.SequenceStart, "sequence": 2},
                      {"start": pb.TimeDeltaStart, "delta": 3600 * 10**9}, {"start": pb.NewOnly}):
            assert client.subscribe("a", **start).messages == []
        client.store("a", b"new")
        for subscription in client.subscriptions:
            assert [m.sequence for m in subscription.wait(1)] == [6]


def test_age_and_count_work_together():
    with BrokerProcess("-ma", "2s", "-mm", "3") as broker, StreamingClient(broker) as client:
        client.store("a", 10)
        pages = []

        def expired():
            pages.append(broker.monitor("/streaming/channelsz?channel=a"))
            return pages[-1]["msgs"] == 0
        wait_until(expired, "the messages to expire")
        assert all(page["msgs"] <= 3 and page["first_seq"] >= 8 for page in pages)
        assert (pages[-1]["first_seq"], pages[-1]["last_seq"]) == (11, 10)


def test_an_inactive_channel_is_deleted_and_starts_again_at_one():
    with BrokerProcess("-mi", "300ms") as broker, StreamingClient(broker) as client:
        client.store("a", 3)
        wait_until(lambda: broker.monitor("/streaming/serverz")["channels"] == 0, "the channel to be deleted")
        broker.wait_for_line('Channel "a" has been deleted')
        # The subscription keeps the new channel until its message came.
        subscription = client.subscribe("a")
        client.store("a", b"anew")
        assert [m.sequence for m in subscription.wait(1)] == [1]


def test_a_live_subscription_keeps_a_channel_and_an_offline_durable_does_not():
    with BrokerProcess("-mi", "300ms") as broker, StreamingClient(broker) as client:
        client.subscribe("kept")
        durable = client.subscribe("left", durable="d")
        assert durable.close() == ""
        client.store("reference", b"1")
        wait_until(lambda: broker.monitor("/streaming/serverz")["channels"] == 1, "the other channels to be deleted")
        assert broker.monitor("/streaming/channelsz")["names"] == ["kept"]
        again = client.subscribe("left", durable="d", start=pb.First)
        client.store("left", b"1")
        assert again.wait(1)[0].sequence == 1


def test_publishing_extends_the_life_of_an_inactive_channel():
    def kept(seconds):
        """Publishes for three times the limit; false when this machine paused for too long between two publishes."""
        with BrokerProcess("-mi", f"{seconds}s") as broker, StreamingClient(broker) as client:
            started = last = time.monotonic()
            while last - started < 3 * seconds:
                client.store("busy", b"x")
                before, last = last, time.monotonic()
                if last - before > seconds / 2:
                    return False
            page = broker.monitor("/streaming/channelsz?channel=busy")
            if time.monotonic() - last > seconds / 2:
                return False
            assert page["first_seq"] == 1 and page["last_seq"] > 10
            return True
    assert any(kept(seconds) for seconds in (0.5, 1, 2, 4, 8)), "this machine paused for seconds"


def test_a_payload_over_the_limit_of_the_core_protocol_ends_the_connection(broker):
    with StreamingClient(broker) as client:
        client.nats.send(b"PUB %s.a %d\r\n" % (client.response.pubPrefix.encode(), 1048577))
        assert client.nats.until_closed() == ["-ERR 'Maximum Payload Violation'"]
