"""What clients see when the broker comes back on its data directory (description 3.11), after a clean stop and
after kill -9."""

import pytest

import streaming_pb2 as pb
from broker_process import BrokerProcess, wait_until
from streaming_client import INVALID_PUBLISH, REPLACED, StreamingClient

both_ways = pytest.mark.parametrize("hard", [False, True], ids=["stopped", "killed"])


@both_ways
def test_messages_are_all_there(stored, hard):
    with StreamingClient(stored) as client:
        client.store("a", 1000)
        client.store("b.c", b"other")
        before = client.subscribe("a", start=pb.First).wait(1000)
        stored.restart(hard)
        client.reconnect()
        after = client.subscribe("a", start=pb.First).wait(1000)
        assert [(m.sequence, m.data, m.timestamp) for m in before] == [(m.sequence, m.data, m.timestamp) for m in after]
        assert client.subscribe("b.c", start=pb.First).wait(1)[0].data == b"other"


@both_ways
def test_a_connected_client_goes_on_with_no_more_than_a_reconnect(stored, hard):
    with StreamingClient(stored) as client:
        kinds = [{}, {"durable": "d"}, {"queue": "q"}, {"queue": "q", "durable": "e"}]
        subscriptions = [client.subscribe("a", **kind) for kind in kinds]
        client.store("a", 3)
        for subscription in subscriptions:
            subscription.wait(3)
        client.settle()
        stored.restart(hard)
        client.reconnect()
        assert client.ping() == ""
        client.store("a", b"4")
        for subscription in subscriptions:
            client.pump(lambda: 4 in subscription.sequences, "the message after the restart")


@both_ways
def test_a_new_only_subscription_misses_nothing_published_after_the_start(stored, hard):
    with StreamingClient(stored) as client, StreamingClient(stored) as publisher:
        subscription = client.subscribe("a", ack_wait=1)
        stored.restart(hard)
        publisher.reconnect()
        publisher.store("a", 5)
        client.reconnect()
        publisher.store("a", b"6")
        # What was sent before the client was back comes again after one ack wait.
        client.pump(lambda: set(range(1, 7)) <= set(subscription.sequences), "all six messages")


@both_ways
def test_unacked_messages_come_again_after_a_restart_and_acked_ones_do_not(stored, hard):
    with StreamingClient(stored, "me") as client:
        subscription = client.subscribe("a", durable="d", manual=True, ack_wait=1)
        client.store("a", 10)
        subscription.wait(10)
        subscription.ack(*range(1, 8))
        # A request behind the acks on this connection: they are journaled with the close at the latest.
        assert subscription.close() == ""
        stored.restart(hard)
        client.reconnect()
        again = client.subscribe("a", durable="d", manual=True, ack_wait=30)
        client.store("a", b"11")
        messages = again.wait(4)
        assert [(m.sequence, m.redelivered) for m in messages] == [(8, True), (9, True), (10, True), (11, False)]


@both_ways
def test_pending_of_a_live_subscription_is_redelivered_after_a_restart(stored, hard):
    with StreamingClient(stored) as client:
        subscription = client.subscribe("a", manual=True, ack_wait=1)
        client.store("a", 3)
        subscription.wait(3)
        client.settle()
        stored.restart(hard)
        client.reconnect()
        again = subscription.wait(6)[3:6]
        assert sorted(m.sequence for m in again) == [1, 2, 3]
        # kill -9 may take the record of the last deliveries with it: those come unmarked.
        assert hard or all(m.redelivered and m.redeliveryCount >= 1 for m in again)


@both_ways
def test_max_in_flight_counts_the_recovered_pending(stored, hard):
    with StreamingClient(stored) as client:
        subscription = client.subscribe("a", manual=True, max_in_flight=3, ack_wait=1)
        client.store("a", 10)
        subscription.wait(3)
        client.settle()
        stored.restart(hard)
        client.reconnect()
        subscription.wait(6)
        client.settle()
        assert set(subscription.sequences) == {1, 2, 3}
        subscription.ack(1, 2, 3)
        client.pump(lambda: {4, 5, 6} <= set(subscription.sequences), "the next three")


@both_ways
def test_clients_keep_their_connection_ids_and_ping_values(stored, hard):
    client = StreamingClient(stored, "kept")
    with StreamingClient(stored, "legacy", protocol=0) as legacy:
        stored.restart(hard)
        client.reconnect()
        legacy.reconnect()
        assert client.ping() == ""
        assert client.publish("a", clientID="").error == ""
        assert legacy.publish("a").error == ""
        assert stored.monitor("/streaming/clientsz")["total"] == 2
    client.close()


@both_ways
def test_a_closed_client_stays_closed(stored, hard):
    with StreamingClient(stored, "gone") as client:
        client.subscribe("a", durable="d")
        assert client.close_session() == ""
        stored.restart(hard)
        client.reconnect()
        assert client.ping() == REPLACED
        assert client.publish("a").error == INVALID_PUBLISH
        subs = stored.monitor("/streaming/channelsz?channel=a&subs=1")["subscriptions"]
        assert [(s["durable_name"], s["is_offline"]) for s in subs] == [("d", True)]


@both_ways
def test_a_closed_durable_stays_closed_though_its_client_lives(stored, hard):
    with StreamingClient(stored) as client:
        subscription = client.subscribe("a", durable="d")
        assert subscription.close() == ""
        stored.restart(hard)
        client.reconnect()
        client.store("a", 3)
        client.settle()
        assert subscription.messages == []
        assert [m.sequence for m in client.subscribe("a", durable="d").wait(3)] == [1, 2, 3]


@both_ways
def test_an_unsubscribed_durable_is_forgotten(stored, hard):
    with StreamingClient(stored) as client:
        subscription = client.subscribe("a", durable="d")
        client.store("a", 2)
        subscription.wait(2)
        assert subscription.unsubscribe() == ""
        stored.restart(hard)
        client.reconnect()
        assert [m.sequence for m in client.subscribe("a", durable="d", start=pb.First).wait(2)] == [1, 2]


@both_ways
def test_a_durable_group_s_shadow_survives(stored, hard):
    with StreamingClient(stored, "one") as one:
        member = one.subscribe("a", queue="q", durable="d", manual=True)
        one.store("a", 4)
        member.wait(4)
        member.ack(1, 2)
        assert one.close_session() == ""
    stored.restart(hard)
    with StreamingClient(stored, "two") as two:
        again = two.subscribe("a", queue="q", durable="d", manual=True)
        two.store("a", b"5")
        assert [(m.sequence, m.redelivered) for m in again.wait(3)] == [(3, True), (4, True), (5, False)]


@both_ways
def test_a_member_that_left_a_durable_group_is_not_there_after_a_restart(stored, hard):
    with StreamingClient(stored) as client:
        stays, leaves = (client.subscribe("a", queue="q", durable="d") for _ in range(2))
        client.store("a", 10)
        client.pump(lambda: len(stays.messages) + len(leaves.messages) == 10, "ten messages")
        client.settle()
        assert leaves.close() == ""
        stored.restart(hard)
        client.reconnect()
        subs = stored.monitor("/streaming/channelsz?channel=a&subs=1")["subscriptions"]
        assert [s["ack_inbox"] for s in subs] == [stays.ack_inbox]
        client.store("a", b"11")
        client.pump(lambda: 11 in stays.sequences, "the next message")


@both_ways
def test_ack_inboxes_go_on_working(stored, hard):
    with StreamingClient(stored) as client:
        subscription = client.subscribe("a", manual=True, ack_wait=30)
        client.store("a", 3)
        subscription.wait(3)
        client.settle()
        stored.restart(hard)
        client.reconnect()
        subscription.ack(1, 2, 3)
        client.settle()
        subs = stored.monitor("/streaming/channelsz?channel=a&subs=1")["subscriptions"]
        assert [s["pending_count"] for s in subs] == [0]


@both_ways
def test_sequences_go_on_after_everything_expired(hard):
    with BrokerProcess("-ma", "1s", store="file") as broker, StreamingClient(broker) as client:
        client.store("a", 7)
        wait_until(lambda: broker.monitor("/streaming/channelsz?channel=a")["msgs"] == 0, "the messages to expire")
        broker.restart(hard)
        client.reconnect()
        subscription = client.subscribe("a")
        client.store("a", b"8")
        assert subscription.wait(1)[0].sequence == 8


@both_ways
def test_limits_hold_after_a_restart(hard):
    with BrokerProcess("-mm", "5", store="file") as broker, StreamingClient(broker) as client:
        client.store("a", 20)
        broker.restart(hard)
        client.reconnect()
        assert [m.sequence for m in client.subscribe("a", start=pb.First).wait(5)] == [16, 17, 18, 19, 20]


def test_lowered_limits_are_applied_at_the_next_start():
    with BrokerProcess(store="file") as broker, StreamingClient(broker) as client:
        client.store("a", 20)
        broker.flags = ["-mm", "3"]
        broker.restart()
        client.reconnect()
        page = broker.monitor("/streaming/channelsz?channel=a")
        assert (page["msgs"], page["first_seq"], page["last_seq"]) == (3, 18, 20)


def test_more_channels_than_the_limit_are_all_recovered():
    with BrokerProcess(store="file") as broker, StreamingClient(broker) as client:
        for name in "abcde":
            client.store(name, b"1")
        broker.flags = ["-mc", "2"]
        broker.restart()
        client.reconnect()
        assert broker.monitor("/streaming/channelsz")["names"] == list("abcde")


@both_ways
def test_a_deleted_channel_stays_deleted(hard):
    with BrokerProcess("-mi", "300ms", store="file") as broker, StreamingClient(broker) as client:
        client.store("a", 3)
        wait_until(lambda: broker.monitor("/streaming/serverz")["channels"] == 0, "the channel to be deleted")
        # Anything acknowledged after the deletion: the deletion is in the journal before it.
        client.store("b", b"1")
        broker.flags = []
        broker.restart(hard)
        client.reconnect()
        assert broker.monitor("/streaming/channelsz").get("names", []) in ([], ["b"])
        client.store("a", b"anew")
        assert [m.sequence for m in client.subscribe("a", start=pb.First).wait(1)] == [1]


@both_ways
def test_a_durable_survives_several_restarts_losing_and_doubling_nothing(stored, hard):
    with StreamingClient(stored) as client:
        subscription = client.subscribe("a", durable="d")
        for cycle in range(4):
            client.store("a", 50)
            subscription.wait((cycle + 1) * 50)
            client.settle()
            assert subscription.close() == ""
            subscription_messages = subscription.messages
            stored.restart(hard)
            client.reconnect()
            subscription = client.subscribe("a", durable="d")
            subscription.messages = subscription_messages
        client.settle()
        assert subscription.sequences == list(range(1, 201))


def test_starting_twice_without_a_write_changes_nothing_for_clients(stored):
    with StreamingClient(stored) as client:
        client.store("a", 100)
        for _ in range(3):
            stored.restart()
        client.reconnect()
        assert [m.sequence for m in client.subscribe("a", start=pb.First).wait(100)] == list(range(1, 101))


def test_redelivery_counts_start_at_one_again_after_a_restart(stored):
    with StreamingClient(stored) as client:
        subscription = client.subscribe("a", durable="d", manual=True, ack_wait=1)
        client.store("a", b"1")
        assert subscription.wait(3)[2].redeliveryCount == 2
        assert subscription.close() == ""
        stored.restart()
        client.reconnect()
        assert client.subscribe("a", durable="d", manual=True).wait(1)[0].redeliveryCount == 1


def test_heartbeats_of_recovered_clients_run_and_the_vanished_time_out():
    # Nobody listens on the inbox of the vanished client, which fails a heartbeat at once; one that is connected has an
    # hour to answer. Until the first time-out there are ten seconds for the living one to reconnect.
    with BrokerProcess("-hbi", "100ms", "-hbt", "1h", "-hbf", "100", store="file") as broker:
        with StreamingClient(broker, "alive") as alive:
            dead = StreamingClient(broker, "dead")
            broker.restart()
            dead.close()
            alive.reconnect()
            alive.pump(lambda: alive.heartbeats >= 4, "heartbeats after the restart")

            def gone():
                alive.settle()
                return broker.monitor("/streaming/clientsz")["total"] == 1
            wait_until(gone, "the vanished client to be dropped")
            assert broker.monitor("/streaming/clientsz")["clients"][0]["id"] == "alive"


def test_after_a_restart_of_the_memory_store_everything_is_gone(broker):
    with StreamingClient(broker) as client:
        client.store("a", 3)
        broker.restart()
        client.reconnect()
        assert client.ping() == REPLACED
        assert client.publish("a").error == INVALID_PUBLISH
        assert broker.monitor("/streaming/serverz")["channels"] == 0
