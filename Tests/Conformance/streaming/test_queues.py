"""Queue groups and durable queue groups (description 3.6; checklist 10.7)."""

import streaming_pb2 as pb
from broker_process import BrokerProcess, wait_until
from streaming_client import StreamingClient


def pump_all(clients, until, what):
    """Pumps several clients in turn until the condition holds."""
    def turn():
        for client in clients:
            for operation in client.nats.fence():
                client._handle(operation)
        return until()
    wait_until(turn, what)


def test_each_message_goes_to_exactly_one_member_and_all_get_some(broker):
    clients = [StreamingClient(broker) for _ in range(3)]
    members = [client.subscribe("a", queue="q") for client in clients]
    clients[0].store("a", 600)
    pump_all(clients, lambda: sum(len(m.messages) for m in members) >= 600, "all messages")
    sequences = sorted(s for m in members for s in m.sequences)
    assert sequences == list(range(1, 601))
    assert all(len(m.messages) > 20 for m in members), [len(m.messages) for m in members]
    for client in clients:
        client.close()


def test_a_non_durable_group_ends_with_its_last_member(client):
    for end in ("unsubscribe", "close"):
        first, second = client.subscribe(end, queue="q"), client.subscribe(end, queue="q")
        client.store(end, 4)
        client.pump(lambda: len(first.messages) + len(second.messages) == 4, "four messages")
        assert getattr(first, end)() == "" and getattr(second, end)() == ""
        anew = client.subscribe(end, queue="q", start=pb.First)
        assert [m.sequence for m in anew.wait(4)] == [1, 2, 3, 4]


def test_a_non_durable_group_ends_with_its_clients(broker, client):
    with StreamingClient(broker) as member:
        member.subscribe("a", queue="q")
        member.store("a", 2)
        assert member.close_session() == ""
    assert [m.sequence for m in client.subscribe("a", queue="q", start=pb.First).wait(2)] == [1, 2]


def test_a_durable_group_survives_the_close_of_its_last_member_for_any_client(broker):
    with StreamingClient(broker, "one") as one:
        member = one.subscribe("a", queue="q", durable="d", manual=True)
        one.store("a", 5)
        member.wait(5)
        member.ack(1, 3)
        one.settle()
        assert one.close_session() == ""
    shadow = broker.monitor("/streaming/channelsz?channel=a&subs=1")["subscriptions"]
    assert [(s["queue_name"], s["is_offline"], s["pending_count"]) for s in shadow] == [("d:q", True, 3)]
    with StreamingClient(broker, "two") as two:
        two.store("a", b"6")
        again = two.subscribe("a", queue="q", durable="d", manual=True, start=pb.First)
        assert [(m.sequence, m.redelivered) for m in again.wait(4)] == [
            (2, True), (4, True), (5, True), (6, False)]


def test_a_durable_group_ends_when_its_last_member_unsubscribes(client):
    first, second = (client.subscribe("a", queue="q", durable="d") for _ in range(2))
    client.store("a", 4)
    client.pump(lambda: len(first.messages) + len(second.messages) == 4, "four messages")
    assert first.unsubscribe() == "" and second.unsubscribe() == ""
    assert [m.sequence for m in client.subscribe("a", queue="q", durable="d", start=pb.First).wait(4)] == [1, 2, 3, 4]


def test_groups_with_the_same_queue_name_durable_and_not_are_two(client):
    plain, durable = client.subscribe("a", queue="q"), client.subscribe("a", queue="q", durable="d")
    other = client.subscribe("a", queue="q", durable="e")
    client.store("a", 10)
    for subscription in (plain, durable, other):
        assert [m.sequence for m in subscription.wait(10)] == list(range(1, 11))


def test_a_new_member_s_start_position_is_ignored(client):
    first = client.subscribe("a", queue="q", manual=True)
    client.store("a", 3)
    first.wait(3)
    second = client.subscribe("a", queue="q", start=pb.First, manual=True)
    client.store("a", b"4")
    client.pump(lambda: len(first.messages) + len(second.messages) == 4, "the fourth")
    assert set(second.sequences) <= {4}


def test_a_stalled_member_does_not_stall_the_group(client):
    stalled = client.subscribe("a", queue="q", manual=True, max_in_flight=1)
    working = client.subscribe("a", queue="q")
    client.store("a", 100)
    client.pump(lambda: len(stalled.messages) + len(working.messages) == 100, "all messages")
    assert len(stalled.messages) == 1


def test_a_group_whose_members_are_all_stalled_goes_on_with_an_ack(client):
    members = [client.subscribe("a", queue="q", manual=True, max_in_flight=2) for _ in range(2)]
    client.store("a", 10)
    client.settle()
    assert sum(len(m.messages) for m in members) == 4
    members[1].ack(members[1].sequences[0])
    client.pump(lambda: sum(len(m.messages) for m in members) == 5, "one more")
    client.settle()
    assert sum(len(m.messages) for m in members) == 5


def test_four_members_drain_ten_thousand_messages(broker):
    clients = [StreamingClient(broker) for _ in range(4)]
    clients[0].store("a", 10000)
    members = [client.subscribe("a", queue="q", start=pb.First, max_in_flight=100) for client in clients]
    pump_all(clients, lambda: sum(len(m.messages) for m in members) >= 10000, "all messages")
    assert sorted(s for m in members for s in m.sequences) == list(range(1, 10001))
    for client in clients:
        client.close()


def test_the_messages_of_a_leaving_member_go_to_the_others_at_once(broker):
    with StreamingClient(broker) as staying, StreamingClient(broker) as leaving:
        leaver = leaving.subscribe("a", queue="q", manual=True, ack_wait=3600)
        leaving.store("a", 10)
        leaver.wait(10)
        leaver.ack(1, 2)
        leaving.settle()
        member = staying.subscribe("a", queue="q", manual=True, max_in_flight=1, ack_wait=3600)
        assert leaver.close() == ""
        messages = member.wait(8)
        assert sorted(m.sequence for m in messages) == list(range(3, 11))
        assert all(m.redelivered for m in messages)


def test_redelivery_goes_to_another_member_when_the_client_of_the_first_fails_heartbeats():
    with BrokerProcess("-hbi", "100ms", "-hbt", "100ms", "-hbf", "1000") as broker:
        with StreamingClient(broker, answer_heartbeats=False) as sick, StreamingClient(broker) as healthy:
            first = sick.subscribe("a", queue="q", manual=True, ack_wait=1)
            sick.store("a", 3)
            first.wait(3)
            sick.pump(lambda: sick.heartbeats >= 3, "two failed heartbeats")
            second = healthy.subscribe("a", queue="q", manual=True, ack_wait=1)
            messages = second.wait(3)
            assert [(m.sequence, m.redeliveryCount) for m in messages] == [(1, 1), (2, 1), (3, 1)]


def test_the_redelivery_count_is_the_group_s_and_goes_on_with_another_member(client):
    members = [client.subscribe("a", queue="q", manual=True, ack_wait=1) for _ in range(2)]
    client.store("a", b"1")
    client.pump(lambda: sum(len(m.messages) for m in members) == 4, "three redeliveries")
    counts = sorted(message.redeliveryCount for member in members for message in member.messages)
    assert counts == [0, 1, 2, 3]


def test_a_late_ack_of_the_first_member_clears_the_message_held_by_another(broker, client):
    members = [client.subscribe("a", queue="q", manual=True, ack_wait=1) for _ in range(2)]
    client.store("a", b"1")
    client.pump(lambda: sum(len(m.messages) for m in members) == 2, "one redelivery")
    first = next(m for m in members if m.messages and not m.messages[0].redelivered)
    first.ack(1)
    client.settle()
    subs = broker.monitor("/streaming/channelsz?channel=a&subs=1")["subscriptions"]
    assert sum(s["pending_count"] for s in subs) == 0


def test_unsubscribing_one_member_of_a_durable_group_keeps_the_group(client):
    first, second = (client.subscribe("a", queue="q", durable="d") for _ in range(2))
    client.store("a", 4)
    client.pump(lambda: len(first.messages) + len(second.messages) == 4, "four messages")
    client.settle()
    assert first.unsubscribe() == ""
    assert second.close() == ""
    client.store("a", b"5")
    assert [m.sequence for m in client.subscribe("a", queue="q", durable="d").wait(1)] == [5]


def test_a_client_may_be_in_a_group_more_than_once(client):
    members = [client.subscribe("a", queue="q") for _ in range(5)]
    client.store("a", 100)
    client.pump(lambda: sum(len(m.messages) for m in members) == 100, "all messages")
    assert all(m.messages for m in members)


def test_groups_on_two_channels_are_independent(client):
    one, two = client.subscribe("a", queue="q", durable="d"), client.subscribe("b", queue="q", durable="d")
    client.store("a", 2)
    client.store("b", 3)
    one.wait(2)
    two.wait(3)


def test_the_shadow_s_place_is_free_when_last_close_and_new_subscribe_race(broker):
    with StreamingClient(broker, "one") as one, StreamingClient(broker, "two") as two:
        for round_number in range(20):
            member = one.subscribe("a", queue="q", durable="d")
            two.nats.publish(two.response.subRequests, pb.SubscriptionRequest(
                clientID="two", subject="a", qGroup="q", durableName="d", inbox=f"_INBOX.race{round_number}",
                maxInFlight=10, ackWaitInSecs=30).SerializeToString(), f"{two.answer_prefix}.{round_number}")
            assert member.close() == ""
            two.pump(lambda: f"{two.answer_prefix}.{round_number}" in two._answers, "the answer")
            answer = pb.SubscriptionResponse.FromString(two._answers.pop(f"{two.answer_prefix}.{round_number}").data)
            assert answer.error == ""
            payload = pb.UnsubscribeRequest(clientID="two", subject="a", inbox=answer.ackInbox).SerializeToString()
            assert two.request(two.response.subCloseRequests, payload) == b""
            subs = broker.monitor("/streaming/channelsz?channel=a&subs=1")
            assert subs["subs_count"] == 1 and subs["subscriptions"][0]["is_offline"]
