"""Delivery, max in flight, acks, redelivery (description 3.7, 3.8; checklist 10.4 and 10.5)."""

import time

import pytest

import streaming_pb2 as pb
from broker_process import BrokerProcess, wait_until
from streaming_client import StreamingClient

KINDS = {"plain": {}, "durable": {"durable": "d"}, "queue": {"queue": "q"}, "durable queue": {"queue": "q", "durable": "d"}}
all_kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def pending(broker, channel="a"):
    return sum(s["pending_count"] for s in broker.monitor(f"/streaming/channelsz?channel={channel}&subs=1")["subscriptions"])


@all_kinds
def test_one_in_flight_waits_for_each_ack(client, kind):
    subscription = client.subscribe("a", manual=True, max_in_flight=1, **kind)
    client.store("a", 5)
    for sequence in range(1, 6):
        subscription.wait(sequence)
        client.settle()
        assert subscription.sequences == list(range(1, sequence + 1))
        subscription.ack(sequence)
    client.settle()
    assert len(subscription.messages) == 5


@all_kinds
def test_max_in_flight_is_never_exceeded_by_new_messages(client, kind):
    subscription = client.subscribe("a", manual=True, max_in_flight=7, **kind)
    client.store("a", 50)
    client.settle()
    assert len(subscription.messages) == 7
    subscription.ack(3)
    subscription.wait(8)
    subscription.ack(1, 2)
    subscription.wait(10)
    client.settle()
    assert len(subscription.messages) == 10


@all_kinds
def test_a_backlog_larger_than_max_in_flight_is_delivered_whole_in_order(client, kind):
    client.store("a", 3000)
    subscription = client.subscribe("a", start=pb.First, max_in_flight=10, **kind)
    assert [m.sequence for m in subscription.wait(3000)] == list(range(1, 3001))


@all_kinds
def test_first_deliveries_are_not_marked_as_redelivered(client, kind):
    client.store("a", 20)
    for message in client.subscribe("a", start=pb.First, **kind).wait(20):
        assert not message.redelivered and message.redeliveryCount == 0


def test_every_subscriber_gets_its_own_first_delivery(broker, client):
    with StreamingClient(broker) as other:
        mine, theirs = client.subscribe("a", manual=True, ack_wait=1), other.subscribe("a")
        client.store("a", b"1")
        mine.wait(2)
        assert mine.messages[1].redelivered
        late = other.subscribe("a", start=pb.First)
        assert not late.wait(1)[0].redelivered and not theirs.wait(1)[0].redelivered


def test_pending_returns_to_zero_when_all_is_acked(broker, client):
    subscription = client.subscribe("a")
    client.store("a", 200)
    subscription.wait(200)
    client.settle()
    assert pending(broker) == 0


def test_acks_for_what_was_never_delivered_change_nothing(broker, client):
    subscription = client.subscribe("a", manual=True)
    client.store("a", 3)
    subscription.wait(3)
    subscription.ack(77, 0, 2**64 - 1)
    subscription.ack(2, 2, 2)
    for payload in (pb.Ack(subject="unknown", sequence=1).SerializeToString(), b"", b"\xff" * 20, b"\x0a\x05a"):
        client.nats.publish(subscription.ack_inbox, payload)
    client.settle()
    assert pending(broker) == 2
    subscription.ack(1, 3)
    client.settle()
    assert pending(broker) == 0


def test_a_message_acked_by_an_answer_with_headers_counts(broker, client):
    subscription = client.subscribe("a", manual=True)
    client.store("a", b"1")
    subscription.wait(1)
    payload = pb.Ack(subject="a", sequence=1).SerializeToString()
    block = b"NATS/1.0\r\nA: b\r\n\r\n"
    client.nats.send(b"HPUB %s %d %d\r\n" % (subscription.ack_inbox.encode(), len(block), len(block) + len(payload))
                     + block + payload + b"\r\n")
    client.settle()
    assert pending(broker) == 0


def test_a_subscription_whose_messages_were_dropped_goes_on_at_the_first_one_kept():
    with BrokerProcess("-mm", "10") as broker, StreamingClient(broker) as client:
        subscription = client.subscribe("a", manual=True, max_in_flight=1)
        client.store("a", 50)
        # Which one came first depends on how many were stored, and dropped again, in the same batch.
        subscription.ack(subscription.wait(1)[0].sequence)
        assert subscription.wait(2)[1].sequence == 41


@all_kinds
def test_an_unacked_message_comes_again_marked_and_counted(client, kind):
    subscription = client.subscribe("a", manual=True, ack_wait=1, **kind)
    started = time.monotonic()
    client.store("a", b"1")
    messages = subscription.wait(3)
    assert time.monotonic() - started > 1.8
    assert [(m.sequence, m.redelivered, m.redeliveryCount) for m in messages] == [
        (1, False, 0), (1, True, 1), (1, True, 2)]
    assert messages[0].timestamp == messages[2].timestamp and messages[0].data == messages[2].data
    subscription.ack(1)
    client.settle()


@all_kinds
def test_only_what_was_not_acked_comes_again_in_order(client, kind):
    subscription = client.subscribe("a", manual=True, ack_wait=1, **kind)
    client.store("a", 6)
    subscription.wait(6)
    subscription.ack(2, 4, 6)
    client.settle()  # the acks have counted; what came again before that does not
    before = len(subscription.messages)
    again = subscription.wait(before + 6)[before:]
    assert all(m.redelivered for m in again)
    # Two rounds, whichever of the three a slow machine begins with.
    assert "135135135".find("".join(str(m.sequence) for m in again)) in (0, 1, 2)
    subscription.ack(1, 3, 5)
    client.settle()


@all_kinds
def test_a_stalled_subscription_still_gets_its_redelivery(client, kind):
    subscription = client.subscribe("a", manual=True, max_in_flight=1, ack_wait=1, **kind)
    client.store("a", 2)
    messages = subscription.wait(2)
    assert [(m.sequence, m.redelivered) for m in messages] == [(1, False), (1, True)]
    subscription.ack(1)
    client.pump(lambda: 2 in subscription.sequences, "the second message")
    subscription.ack(2)


def test_an_evicted_pending_message_is_not_redelivered_and_leaves_pending():
    with BrokerProcess("-mm", "2") as broker, StreamingClient(broker) as client:
        subscription = client.subscribe("a", manual=True, ack_wait=1)
        for number in range(1, 5):
            client.store("a", b"%d" % number)
            client.pump(lambda: number in subscription.sequences, f"message {number}")
        client.settle()  # 1 and 2 are gone by now
        before = len(subscription.messages)
        again = lambda: {m.sequence for m in subscription.messages[before:]}
        client.pump(lambda: again() >= {3, 4}, lambda: f"3 and 4 to come again, got {again()}")
        assert again() == {3, 4}
        wait_until(lambda: pending(broker) == 2, "the evicted ones to leave pending")


def test_unsubscribing_with_redeliveries_due_is_quiet(client):
    subscription = client.subscribe("a", manual=True, ack_wait=1)
    other = client.subscribe("a", manual=True, ack_wait=1)
    client.store("a", 50)
    subscription.wait(50)
    assert subscription.unsubscribe() == ""
    before, others = len(subscription.messages), len(other.messages)
    other.wait(others + 100)
    assert len(subscription.messages) == before


def test_failed_heartbeats_pause_the_redelivery_of_a_plain_subscription_and_not_new_messages():
    with BrokerProcess("-hbi", "100ms", "-hbt", "100ms", "-hbf", "1000") as broker:
        with StreamingClient(broker, answer_heartbeats=False) as client, StreamingClient(broker) as healthy:
            subscription = client.subscribe("a", manual=True, ack_wait=1)
            reference = healthy.subscribe("a", manual=True, ack_wait=1)
            client.pump(lambda: client.heartbeats >= 3, "two failed heartbeats")
            healthy.store("a", b"1")
            subscription.wait(1)
            reference.wait(3)
            client.settle()
            assert len(subscription.messages) == 1, "redelivered in spite of failed heartbeats"
            client.answer_heartbeats = True
            assert subscription.wait(2)[1].redelivered


def test_delivery_goes_on_for_others_when_one_subscriber_is_stalled(broker, client):
    with StreamingClient(broker) as other:
        client.subscribe("a", manual=True, max_in_flight=1)
        fast = other.subscribe("a")
        other.store("a", 500)
        fast.wait(500)


def test_a_deleted_message_s_gap_is_no_hindrance_to_a_slow_reader():
    with BrokerProcess("-mm", "5") as broker, StreamingClient(broker) as client:
        client.store("a", 20)
        subscription = client.subscribe("a", start=pb.First, max_in_flight=2)
        client.store("a", b"last")
        messages = subscription.wait(5)
        wait_until(lambda: (client.settle(), 21 in subscription.sequences)[1], "the newest message")
        assert subscription.sequences == sorted(set(subscription.sequences))
        assert messages[0].sequence >= 16


def test_one_ack_wait_is_kept_per_message(client):
    subscription = client.subscribe("a", manual=True, ack_wait=1)
    # The second is published in the middle of the first one's wait: each comes again a whole wait after itself.
    client.store("a", b"1")
    first = subscription.wait(1)[0].timestamp
    wait_until(lambda: time.time_ns() - first > 500_000_000, "half an ack wait")
    client.store("a", b"2")
    again = lambda number: next((m for m in subscription.messages if m.sequence == number and m.redelivered), None)
    for number in (1, 2):
        client.pump(lambda: again(number), f"message {number} again")
        assert time.time_ns() - again(number).timestamp > 900_000_000
    subscription.ack(1, 2)
    client.settle()
