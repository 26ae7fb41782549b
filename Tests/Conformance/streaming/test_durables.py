"""Durable subscriptions (description 3.5; checklist 10.6)."""

import pytest

import streaming_pb2 as pb
from broker_process import BrokerProcess
from streaming_client import DUPLICATE_DURABLE, StreamingClient


def test_a_durable_resumes_after_its_last_acknowledged_message(broker):
    with StreamingClient(broker, "me") as client:
        client.store("a", 10)
        subscription = client.subscribe("a", durable="d", start=pb.First, manual=True)
        subscription.wait(10)
        subscription.ack(*range(1, 8))
        assert client.close_session() == ""
    with StreamingClient(broker, "me") as client:
        client.store("a", b"11", b"12")
        again = client.subscribe("a", durable="d", manual=True)
        messages = again.wait(5)
        assert [(m.sequence, m.redelivered) for m in messages] == [
            (8, True), (9, True), (10, True), (11, False), (12, False)]
        assert [m.redeliveryCount for m in messages] == [1, 1, 1, 0, 0]


@pytest.mark.parametrize("start", [{"start": pb.First}, {"start": pb.NewOnly}, {"start": pb.LastReceived},
                                   {"start": pb.SequenceStart, "sequence": 2},
                                   {"start": pb.SequenceStart, "sequence": 10**9},
                                   {"start": pb.TimeDeltaStart, "delta": -10**18}])
def test_the_start_position_is_ignored_on_resume(client, start):
    subscription = client.subscribe("a", durable="d", start=pb.First)
    client.store("a", 5)
    subscription.wait(5)
    client.settle()
    assert subscription.close() == ""
    client.store("a", b"6", b"7")
    assert [m.sequence for m in client.subscribe("a", durable="d", **start).wait(2)] == [6, 7]


def test_a_bogus_start_position_is_refused_even_on_resume(client):
    from streaming_client import INVALID_START
    assert client.subscribe("a", durable="d").close() == ""
    assert client.request_subscription("a", durableName="d", startPosition=9).error == INVALID_START


def test_a_live_durable_is_not_given_twice(client):
    first = client.subscribe("a", durable="d")
    client.subscribe("a", durable="d", expect=DUPLICATE_DURABLE)
    client.store("a", b"1")
    first.wait(1)
    assert first.close() == ""
    client.subscribe("a", durable="d")


def test_with_replace_durable_the_second_request_wins():
    with BrokerProcess("--replace_durable") as broker, StreamingClient(broker) as client:
        first = client.subscribe("a", durable="d", manual=True)
        client.store("a", 3)
        first.wait(3)
        first.ack(1)
        client.settle()
        second = client.subscribe("a", durable="d", manual=True)
        assert [(m.sequence, m.redelivered) for m in second.wait(2)] == [(2, True), (3, True)]
        client.store("a", b"4")
        assert second.wait(3)[2].sequence == 4
        assert len(first.messages) == 3


def test_unsubscribe_forgets_and_the_name_starts_anew(client):
    subscription = client.subscribe("a", durable="d")
    client.store("a", 3)
    subscription.wait(3)
    assert subscription.unsubscribe() == ""
    again = client.subscribe("a", durable="d", start=pb.First)
    assert [(m.sequence, m.redelivered) for m in again.wait(3)] == [(1, False), (2, False), (3, False)]


def test_an_offline_durable_receives_nothing_until_it_resumes(client):
    subscription = client.subscribe("a", durable="d")
    assert subscription.close() == ""
    client.store("a", 3)
    client.settle()
    assert subscription.messages == []
    assert [m.sequence for m in client.subscribe("a", durable="d").wait(3)] == [1, 2, 3]
    assert subscription.messages == []


def test_acks_on_the_old_inbox_of_a_suspended_durable_are_lost(client):
    subscription = client.subscribe("a", durable="d", manual=True)
    client.store("a", 2)
    subscription.wait(2)
    assert subscription.close() == ""
    subscription.ack(1, 2)
    client.settle()
    assert [m.sequence for m in client.subscribe("a", durable="d", manual=True).wait(2)] == [1, 2]


def test_pending_comes_before_new_messages_under_concurrent_publishing(broker, client):
    subscription = client.subscribe("a", durable="d", manual=True)
    client.store("a", 50)
    subscription.wait(50)
    assert subscription.close() == ""
    with StreamingClient(broker) as publisher:
        for _ in range(200):
            publisher.publish_async("a", b"x")
        again = client.subscribe("a", durable="d", manual=True)
        for _ in range(200):
            publisher.publish_async("a", b"x")
        messages = again.wait(450)
    assert [m.sequence for m in messages] == list(range(1, 451))
    assert [m.redelivered for m in messages] == [True] * 50 + [False] * 400


def test_a_resume_with_pending_ignores_max_in_flight_for_it_and_keeps_it_for_new(client):
    subscription = client.subscribe("a", durable="d", manual=True)
    client.store("a", 20)
    subscription.wait(20)
    assert subscription.close() == ""
    client.store("a", 10)
    again = client.subscribe("a", durable="d", manual=True, max_in_flight=5)
    again.wait(20)
    client.settle()
    assert again.sequences == list(range(1, 21))
    again.ack(*range(1, 21))
    again.wait(25)
    client.settle()
    assert again.sequences[20:] == [21, 22, 23, 24, 25]


def test_the_ack_timer_is_armed_after_a_resume(client):
    subscription = client.subscribe("a", durable="d", manual=True, max_in_flight=1, ack_wait=3600)
    client.store("a", 2)
    subscription.wait(1)
    assert subscription.close() == ""
    again = client.subscribe("a", durable="d", manual=True, max_in_flight=1, ack_wait=1)
    messages = again.wait(2)
    assert [(m.sequence, m.redeliveryCount) for m in messages] == [(1, 1), (1, 2)]


def test_the_new_request_s_ack_wait_counts_after_a_resume(client):
    subscription = client.subscribe("a", durable="d", manual=True, ack_wait=3600)
    client.store("a", b"1")
    subscription.wait(1)
    assert subscription.close() == ""
    assert client.subscribe("a", durable="d", manual=True, ack_wait=1).wait(2)[1].redelivered


def test_one_name_on_two_channels_and_on_two_clients_is_four_durables(broker):
    with StreamingClient(broker, "one") as one, StreamingClient(broker, "two") as two:
        subscriptions = [session.subscribe(channel, durable="d") for session in (one, two) for channel in ("a", "b")]
        one.store("a", b"1")
        one.store("b", b"2", b"3")
        for subscription, count in zip(subscriptions, (1, 2, 1, 2)):
            subscription.wait(count)


def test_the_key_of_a_durable_is_not_ambiguous(broker):
    # In the original, client "a" with durable "c-x" collides with client "a-c" and durable "x" on channel "c" (9.2 #5).
    with StreamingClient(broker, "a") as one, StreamingClient(broker, "a-c") as two:
        first, second = one.subscribe("c", durable="c-x"), two.subscribe("c", durable="x")
        one.store("c", b"1")
        first.wait(1)
        second.wait(1)


def test_a_client_that_crashed_resumes_its_durable_with_the_same_id(broker):
    first = StreamingClient(broker, "crash")
    subscription = first.subscribe("a", durable="d", manual=True)
    first.store("a", 3)
    subscription.wait(3)
    subscription.ack(1)
    first.settle()
    first.disconnect()
    with StreamingClient(broker, "crash") as again:
        messages = again.subscribe("a", durable="d", manual=True).wait(2)
        assert [(m.sequence, m.redelivered) for m in messages] == [(2, True), (3, True)]


def test_several_cycles_of_close_and_resume_lose_nothing(broker):
    got = []
    for cycle in range(5):
        with StreamingClient(broker, "cycle") as client:
            subscription = client.subscribe("a", durable="d", start=pb.First)
            client.store("a", 20)
            got += [m.sequence for m in subscription.wait(20)]
            client.settle()
            assert client.close_session() == ""
    assert got == list(range(1, 101))


def test_an_offline_durable_whose_messages_were_dropped_goes_on_at_the_first_kept():
    with BrokerProcess("-mm", "3") as broker, StreamingClient(broker) as client:
        subscription = client.subscribe("a", durable="d")
        client.store("a", b"1")
        subscription.wait(1)
        client.settle()
        assert subscription.close() == ""
        client.store("a", b"2", b"3", b"4", b"5")
        assert [m.sequence for m in client.subscribe("a", durable="d").wait(3)] == [3, 4, 5]


def test_a_failed_heartbeat_flag_goes_when_the_durable_resumes_on_a_new_connection():
    with BrokerProcess("-hbi", "100ms", "-hbt", "100ms", "-hbf", "1000") as broker:
        with StreamingClient(broker, "flag", answer_heartbeats=False) as first:
            subscription = first.subscribe("a", durable="d", manual=True, ack_wait=3600)
            first.pump(lambda: first.heartbeats >= 3, "two failed heartbeats")
            first.store("a", b"1")
            subscription.wait(1)
        with StreamingClient(broker, "flag") as second:
            again = second.subscribe("a", durable="d", manual=True, ack_wait=1)
            assert [m.redeliveryCount for m in again.wait(2)] == [1, 2]
