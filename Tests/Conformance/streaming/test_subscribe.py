"""Subscribe requests, start positions, unsubscribe and close (description 3.4, 3.9; checklist 10.3)."""

import time

import pytest

import streaming_pb2 as pb
from broker_process import BrokerProcess, wait_until
from streaming_client import (DUPLICATE_DURABLE, DURABLE_QUEUE_COLON, GARBAGE, INVALID_ACK_WAIT,
                              INVALID_MAX_IN_FLIGHT, INVALID_START, INVALID_SUBJECT, INVALID_SUBSCRIBE,
                              INVALID_SUBSCRIPTION, INVALID_UNSUBSCRIBE, MISSING_CLIENT, UNKNOWN_CHANNEL,
                              UNKNOWN_CLIENT, StreamingClient, Subscription)

SECOND = 10**9


def subscription_bytes(client, **changes):
    fields = {"clientID": client.client_id, "subject": "a", "inbox": "_INBOX.x", "maxInFlight": 1, "ackWaitInSecs": 1}
    fields.update(changes)
    return pb.SubscriptionRequest(**fields).SerializeToString()


# Validation, in its order

def test_an_undecodable_request_is_refused(client):
    answer = client.request(client.response.subRequests, GARBAGE)
    assert answer == pb.SubscriptionResponse(error=INVALID_SUBSCRIBE).SerializeToString()


def test_the_bytes_of_an_error(client):
    answer = client.request(client.response.subRequests, subscription_bytes(client, clientID="nobody"))
    assert answer == b"\x1a\x16" + UNKNOWN_CLIENT.encode()


def test_the_bytes_of_a_success(client):
    answer = client.request(client.response.subRequests, subscription_bytes(client))
    assert answer.startswith(b"\x12\x1d_INBOX.") and len(answer) == 31


@pytest.mark.parametrize("changes, error", [
    ({"clientID": ""}, MISSING_CLIENT),
    ({"ackWaitInSecs": 0}, INVALID_ACK_WAIT), ({"ackWaitInSecs": -1}, INVALID_ACK_WAIT),
    ({"maxInFlight": 0}, INVALID_MAX_IN_FLIGHT), ({"maxInFlight": -5}, INVALID_MAX_IN_FLIGHT),
    ({"startPosition": 5}, INVALID_START), ({"startPosition": -1}, INVALID_START),
    ({"clientID": "nobody"}, UNKNOWN_CLIENT), ({"clientID": "nobody", "durableName": "d"}, UNKNOWN_CLIENT),
])
def test_an_invalid_request_is_refused_and_creates_no_channel(broker, client, changes, error):
    assert client.request_subscription("fresh", **changes).error == error
    assert broker.monitor("/streaming/serverz")["channels"] == 0


@pytest.mark.parametrize("channel", ["", "*", ">", "a.*", "a.>", "a*b", "a/b", ".a", "a.", "a..b", "/"])
def test_an_invalid_channel_is_refused(client, channel):
    assert client.request_subscription(channel).error == INVALID_SUBJECT


@pytest.mark.parametrize("changes, error", [
    ({"clientID": "", "ackWaitInSecs": 0, "maxInFlight": 0, "startPosition": 9, "subject": "*"}, MISSING_CLIENT),
    ({"clientID": "nobody", "ackWaitInSecs": 0, "maxInFlight": 0, "startPosition": 9, "subject": "*"}, INVALID_ACK_WAIT),
    ({"clientID": "nobody", "maxInFlight": 0, "startPosition": 9, "subject": "*"}, INVALID_MAX_IN_FLIGHT),
    ({"clientID": "nobody", "startPosition": 9, "subject": "*"}, INVALID_START),
    ({"clientID": "nobody", "subject": "*"}, INVALID_SUBJECT),
    ({"clientID": "nobody", "subject": "ok"}, UNKNOWN_CLIENT),
])
def test_checks_come_in_their_order(client, changes, error):
    fields = {"clientID": client.client_id, "subject": "a", "inbox": "_INBOX.x", "maxInFlight": 1, "ackWaitInSecs": 1}
    fields.update(changes)
    answer = client.request(client.response.subRequests, pb.SubscriptionRequest(**fields).SerializeToString())
    assert pb.SubscriptionResponse.FromString(answer).error == error


@pytest.mark.parametrize("inbox", ["", "a..b", "a b", "foo.*", ">"])
def test_an_inbox_that_no_message_can_be_sent_to_is_refused(client, inbox):
    # The original does not look (9.2 #8); ours says so.
    assert client.request_subscription("a", inbox=inbox).error == INVALID_SUBSCRIBE


def test_a_colon_is_refused_in_a_durable_queue_and_fine_elsewhere(broker, client):
    client.subscribe("a", queue="q", durable="d:1", expect=DURABLE_QUEUE_COLON)
    assert broker.monitor("/streaming/channelsz?channel=a")["name"] == "a", "the channel is left behind"
    client.subscribe("a", durable="d:1")
    client.subscribe("a", queue="q:1")


def test_every_truncation_of_a_request_is_answered(client):
    whole = subscription_bytes(client, durableName="dur", qGroup="queue", startSequence=300, startTimeDelta=5)
    for length in range(len(whole)):
        answer = client.request(client.response.subRequests, whole[:length])
        assert pb.SubscriptionResponse.FromString(answer).error or length > 0
    assert client.ping() == ""


# The response comes first

def test_the_response_precedes_the_first_message_under_heavy_publishing(broker, client):
    client.store("busy", 100)
    with StreamingClient(broker) as publisher:
        for round_number in range(30):
            for _ in range(50):
                publisher.publish_async("busy", b"x")
            client.subscribe("busy", start=pb.First)  # checks it
    assert len(client.subscriptions) == 30


def test_each_subscription_gets_an_ack_inbox_of_its_own(client):
    inboxes = {client.subscribe("a").ack_inbox for _ in range(10)}
    assert len(inboxes) == 10
    durable = client.subscribe("a", durable="d")
    old = durable.ack_inbox
    assert durable.close() == ""
    assert client.subscribe("a", durable="d").ack_inbox not in inboxes | {old}


def test_a_backlog_being_sent_does_not_delay_another_subscribe(broker, client):
    client.store("backlog", 5000)
    client.nats.publish(client.response.subRequests, pb.SubscriptionRequest(
        clientID=client.client_id, subject="backlog", inbox="_INBOX.nobody", maxInFlight=5000, ackWaitInSecs=30,
        startPosition=pb.First).SerializeToString(), client.answer_prefix + ".1")
    client.subscribe("other")


# Start positions

def test_new_only_gets_nothing_old(client):
    client.store("a", 3)
    subscription = client.subscribe("a", start=pb.NewOnly)
    client.store("a", b"new")
    assert [m.sequence for m in subscription.wait(1)] == [4]


def test_last_received_gets_exactly_the_last_one(client):
    client.store("a", 3)
    subscription = client.subscribe("a", start=pb.LastReceived)
    subscription.wait(1)
    client.store("a", b"new")
    assert [m.sequence for m in subscription.wait(2)] == [3, 4]


def test_all_from_the_first_in_order(client):
    client.store("a", 500)
    subscription = client.subscribe("a", start=pb.First)
    assert [m.sequence for m in subscription.wait(500)] == list(range(1, 501))


@pytest.mark.parametrize("start, changes", [
    (pb.NewOnly, {}), (pb.LastReceived, {}), (pb.First, {}), (pb.SequenceStart, {"sequence": 1}),
    (pb.SequenceStart, {"sequence": 99}), (pb.TimeDeltaStart, {"delta": 3600 * SECOND}),
])
def test_on_an_empty_channel_every_position_waits_for_the_next_message(client, start, changes):
    subscription = client.subscribe("empty", start=start, **changes)
    client.store("empty", b"1", b"2")
    assert [m.sequence for m in subscription.wait(2)] == [1, 2]


@pytest.mark.parametrize("asked, first", [(0, 1), (1, 1), (3, 3), (5, 5), (6, 6), (100, 6)])
def test_a_start_sequence(client, asked, first):
    client.store("a", 5)
    subscription = client.subscribe("a", start=pb.SequenceStart, sequence=asked)
    client.store("a", b"six")
    assert subscription.wait(6 - first + 1 if first <= 6 else 1)[0].sequence == first


def test_a_start_sequence_below_the_first_one_kept_gets_the_first_one_kept():
    with BrokerProcess("-mm", "3") as broker, StreamingClient(broker) as client:
        client.store("a", 10)
        for asked in (0, 1, 7):
            subscription = client.subscribe("a", start=pb.SequenceStart, sequence=asked)
            assert [m.sequence for m in subscription.wait(3)] == [8, 9, 10]
        assert [m.sequence for m in client.subscribe("a", start=pb.First).wait(3)] == [8, 9, 10]


def test_a_start_time(client):
    def found(channel, gap):
        """Asks for what came later than just after the first of two messages, `gap` ns apart; false when the request
        took this machine longer than the gap, so that it says nothing."""
        watch = client.subscribe(channel)
        client.store(channel, b"1")
        first = watch.wait(1)[0].timestamp
        wait_until(lambda: time.time_ns() > first + gap, "the gap to pass")
        client.store(channel, b"2")
        second = watch.wait(2)[1].timestamp
        asked = time.time_ns()
        subscription = client.subscribe(channel, start=pb.TimeDeltaStart, delta=asked - first - 1)
        if time.time_ns() - asked >= second - first:
            return False
        assert subscription.wait(1)[0].sequence == 2
        return True
    assert any(found(f"gap.{gap}", gap) for gap in (SECOND // 20, SECOND // 2, 5 * SECOND, 20 * SECOND))


def test_a_start_time_before_everything_or_not_yet(client):
    client.store("a", 2)
    assert client.subscribe("a", start=pb.TimeDeltaStart, delta=3600 * SECOND).wait(2)[0].sequence == 1
    late = [client.subscribe("a", start=pb.TimeDeltaStart, delta=delta) for delta in (0, -3600 * SECOND)]
    client.store("a", b"3")
    for subscription in late:
        assert subscription.wait(1)[0].sequence == 3


def test_a_huge_or_negative_time_delta_is_no_error(client):
    client.store("a", 2)
    assert client.subscribe("a", start=pb.TimeDeltaStart, delta=2**63 - 1).wait(2)[0].sequence == 1
    future = client.subscribe("a", start=pb.TimeDeltaStart, delta=-(2**63))
    client.store("a", b"3")
    assert future.wait(1)[0].sequence == 3


def test_a_start_sequence_at_the_end_of_the_range_is_no_error(client):
    client.store("a", 2)
    subscription = client.subscribe("a", start=pb.SequenceStart, sequence=2**64 - 1)
    client.store("a", b"3")
    assert subscription.wait(1)[0].sequence == 3


# Unsubscribe and close

def test_the_errors_of_unsubscribe_and_of_close(broker, client):
    with StreamingClient(broker) as other:
        other.settle()
        for end in (client.unsubscribe, client.close_subscription):
            subject = client.response.unsubRequests if end == client.unsubscribe else client.response.subCloseRequests
            answer = client.request(subject, GARBAGE)
            assert answer == pb.SubscriptionResponse(error=INVALID_UNSUBSCRIBE).SerializeToString()
            subscription = client.subscribe("a")
            assert end(subscription, subject="nochannel") == UNKNOWN_CHANNEL
            assert end(subscription, inbox="_INBOX.unknown") == INVALID_SUBSCRIPTION
            assert end(subscription, inbox="") == INVALID_SUBSCRIPTION
            assert end(subscription, clientID=other.client_id) == UNKNOWN_CLIENT
            assert end(subscription, clientID="nobody") == UNKNOWN_CLIENT
            assert end(subscription) == ""
            assert end(subscription) == INVALID_SUBSCRIPTION


def test_an_empty_unsubscribe_is_an_error(client):
    # The description leaves open which: it decodes, and names no channel.
    answer = client.request(client.response.unsubRequests, b"")
    assert pb.SubscriptionResponse.FromString(answer).error in (UNKNOWN_CHANNEL, INVALID_UNSUBSCRIBE)


def test_both_find_a_subscription_by_its_message_inbox(client):
    for end in (client.unsubscribe, client.close_subscription):
        subscription = client.subscribe("a")
        assert end(subscription, inbox=subscription.inbox) == ""


def test_of_several_with_one_message_inbox_the_newest_is_found(broker, client):
    inbox = "_INBOX.shared"
    first = client.subscribe("a", inbox=inbox)
    second = client.subscribe("a", inbox=inbox)
    assert client.unsubscribe(second, inbox=inbox) == ""
    left = broker.monitor("/streaming/channelsz?channel=a&subs=1")["subscriptions"]
    assert [entry["ack_inbox"] for entry in left] == [first.ack_inbox]


def test_an_ended_subscription_gets_nothing_more(client):
    ended = [client.subscribe("a"), client.subscribe("a")]
    assert ended[0].unsubscribe() == "" and ended[1].close() == ""
    other = client.subscribe("a")
    client.store("a", b"1")
    other.wait(1)
    assert [s.messages for s in ended] == [[], []]


@pytest.mark.parametrize("end", ["unsubscribe", "close", "session"])
def test_an_ack_sent_just_before_the_end_is_honoured(broker, end):
    with StreamingClient(broker, "barrier") as client:
        subscription = client.subscribe("a", durable="d", manual=True, ack_wait=1)
        client.store("a", 100)
        subscription.wait(100)
        subscription.ack(*range(1, 101))
        if end == "unsubscribe":
            assert subscription.unsubscribe() == ""
            assert broker.monitor("/streaming/channelsz?channel=a&subs=1")["subs_count"] == 0
            return
        assert (subscription.close() if end == "close" else client.close_session()) == ""
    with StreamingClient(broker, "barrier") as client:
        again = client.subscribe("a", durable="d", manual=True)
        client.store("a", b"new")
        assert [m.sequence for m in again.wait(1)] == [101]


def test_a_subscribe_racing_with_the_close_of_its_client_leaves_no_orphan(broker, client):
    with StreamingClient(broker, "racer") as racer:
        racer.nats.publish(racer.response.closeRequests, pb.CloseRequest(clientID="racer").SerializeToString(),
                           racer.answer_prefix + ".close")
        for number in range(50):
            racer.nats.publish(racer.response.subRequests, pb.SubscriptionRequest(
                clientID="racer", subject="a", inbox=f"_INBOX.{number}", maxInFlight=1,
                ackWaitInSecs=1).SerializeToString(), f"{racer.answer_prefix}.{number}")
        racer.pump(lambda: len(racer._answers) == 51, "51 answers")
        assert broker.monitor("/streaming/serverz")["subscriptions"] == 0


def test_a_duplicate_subscribe_leaves_its_channel_behind(broker, client):
    client.subscribe("a", durable="d")
    client.subscribe("a", durable="d", expect=DUPLICATE_DURABLE)
    assert broker.monitor("/streaming/channelsz?channel=a&subs=1")["subs_count"] == 1


def test_a_failed_subscribe_leaves_its_inbox_silent(client):
    probe = Subscription(client, "a", "_INBOX.failed", None, False)
    client._listen(probe.inbox, client._deliver_to(probe))
    assert client.request_subscription("a", inbox=probe.inbox, maxInFlight=0).error == INVALID_MAX_IN_FLIGHT
    client.store("a", 5)
    client.settle()
    assert probe.messages == []
