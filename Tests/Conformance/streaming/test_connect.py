"""Connect, client ids, pings, heartbeats (description 3.1, 3.2, 3.10; checklist 10.1)."""

import time

import pytest

import streaming_pb2 as pb
from broker_process import CLUSTER, BrokerProcess, wait_until
from nats_socket import nuid
from streaming_client import (DUPLICATE_CLIENT, GARBAGE, INVALID_CLIENT_ID, INVALID_CLOSE, INVALID_CONNECT,
                              INVALID_PUBLISH, REPLACED, UNKNOWN_CLIENT, StreamingClient)

#: Seconds that a live client has to answer the check of its id: the protocol's number.
DUPLICATE_CHECK = 0.5


def in_time(attempt):
    """Calls `attempt(name)` with fresh names until it says True: it says False when this machine was too slow for the
    client to answer within the protocol's own time, which tells nothing about the broker."""
    assert any(attempt(f"taken-{number}") for number in range(50)), "this machine never answered within 500 ms"


def test_connect_returns_every_subject_and_echoes_ping_values(broker):
    with StreamingClient(broker, connect=False) as client:
        response = client.connect(pingInterval=7, pingMaxOut=9)
        assert response == pb.ConnectResponse(
            pubPrefix=f"_STAN.pub.{CLUSTER}", subRequests=f"_STAN.sub.{CLUSTER}",
            unsubRequests=f"_STAN.unsub.{CLUSTER}", closeRequests=f"_STAN.close.{CLUSTER}",
            subCloseRequests=f"_STAN.subclose.{CLUSTER}", pingRequests=f"_STAN.discover.{CLUSTER}.pings",
            pingInterval=7, pingMaxOut=9, protocol=1)


def test_connect_of_protocol_0_has_no_ping_fields(broker):
    with StreamingClient(broker, protocol=0, connect=False) as client:
        response = client.connect()
        assert response == pb.ConnectResponse(
            pubPrefix=f"_STAN.pub.{CLUSTER}", subRequests=f"_STAN.sub.{CLUSTER}",
            unsubRequests=f"_STAN.unsub.{CLUSTER}", closeRequests=f"_STAN.close.{CLUSTER}",
            subCloseRequests=f"_STAN.subclose.{CLUSTER}", protocol=1)


def test_the_bytes_of_an_answer_are_in_ascending_field_order(broker):
    with StreamingClient(broker, connect=False) as client:
        request = pb.ConnectRequest(clientID="bytes", heartbeatInbox=client.heartbeat_inbox, protocol=1,
                                    connID=b"c", pingInterval=5, pingMaxOut=3)
        answer = client.request(client.discover, request.SerializeToString())
        assert answer == pb.ConnectResponse.FromString(answer).SerializeToString()


@pytest.mark.parametrize("raw", [GARBAGE, b"\x0a\x7f", b"\x12", b"\x0a\xff\xff\xff\xff\x0f", b""])
def test_an_undecodable_connect_is_refused(broker, raw):
    with StreamingClient(broker, connect=False) as client:
        answer = client.request(client.discover, raw)
        assert answer == pb.ConnectResponse(error=INVALID_CONNECT).SerializeToString()


def test_a_connect_without_heartbeat_inbox_is_refused_before_the_id_is_looked_at(broker):
    with StreamingClient(broker, connect=False) as client:
        assert client.connect(heartbeatInbox="", clientID="bad id").error == INVALID_CONNECT


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a,b", "a.b", "!@#", "é", "a/b", "*", ">", "a\tb"])
def test_an_invalid_client_id_is_refused(broker, name):
    with StreamingClient(broker, connect=False) as client:
        assert client.connect(clientID=name).error == INVALID_CLIENT_ID


@pytest.mark.parametrize("name", ["id", "id_x", "id-x", "0", "-", "_", "A" * 300])
def test_a_valid_client_id_is_accepted(broker, name):
    with StreamingClient(broker, name) as client:
        assert client.ping() == ""


def test_unknown_fields_are_skipped(broker):
    with StreamingClient(broker, connect=False) as client:
        request = pb.ConnectRequest(clientID="known", heartbeatInbox=client.heartbeat_inbox).SerializeToString()
        unknown = b"\xa2\x06\x03abc" + b"\xa8\x06\x01" + b"\xb5\x06\x00\x00\x00\x00" + b"\xb9\x06" + bytes(8)
        assert client.connect(raw=unknown + request).error == ""


def test_a_second_connect_with_a_live_id_is_refused_and_the_first_lives(broker):
    # Two connections, both pumped here: the second one's request is answered after the first answered a heartbeat.
    def refused(name):
        with StreamingClient(broker, name) as first, StreamingClient(broker, name, connect=False) as second:
            started = time.monotonic()
            request, = second.send_connects({"connID": b"x"})
            second.nats.fence()
            first.pump(lambda: first.heartbeats >= 1, "the duplicate check's heartbeat")
            second.pump(lambda: request in second.answered, "the refusal")
            if time.monotonic() - started > DUPLICATE_CHECK:
                return False
            assert second._answers[request].data == pb.ConnectResponse(error=DUPLICATE_CLIENT).SerializeToString()
            assert first.ping() == ""
            return True
    in_time(refused)


def test_a_dead_client_is_replaced_at_once_when_nobody_answers_its_inbox(broker):
    first = StreamingClient(broker, "phoenix")
    old_id = first.connection_id
    first.disconnect()
    with StreamingClient(broker, "mute") as _, StreamingClient(broker, "watch") as watch:
        # The broker may need a moment to see the closed socket; then no responders says so at once.
        wait_until(lambda: watch.nats.publish(first.heartbeat_inbox, b"", watch.answer_prefix + ".x") or
                   any(m.headers.startswith(b"NATS/1.0 503") for m in watch.nats.fence() if not isinstance(m, str)),
                   "the old connection to be gone")
        with StreamingClient(broker, "phoenix", connect=False) as second:
            # The check of a client that is there and silent takes its whole 500 ms; this one, asked for later, does not.
            slow, quick = second.send_connects({"clientID": "mute", "connID": b"other"}, {})
            second.pump(lambda: len(second.answered) == 2, "both answers")
            assert second.answered == [quick, slow]
            second.response = pb.ConnectResponse.FromString(second._answers[quick].data)
            assert second.response.error == ""
            assert second.ping() == ""
            assert second.ping(old_id) == REPLACED


def test_a_silent_client_is_replaced_after_the_check_times_out(broker):
    with StreamingClient(broker, "mute") as first:
        started = time.monotonic()
        with StreamingClient(broker, "mute") as second:
            assert time.monotonic() - started > 0.4
            assert second.ping() == ""
            assert first.publish("a", b"1").error == INVALID_PUBLISH
            assert first.ping() == REPLACED


def test_further_connects_under_check_fail_at_once_and_other_ids_are_not_delayed(broker):
    with StreamingClient(broker, "slow") as _, StreamingClient(broker, "slow", connect=False) as second:
        checked, further, other = second.send_connects({}, {"connID": b"third"}, {"clientID": "other", "connID": b"4"})
        second.pump(lambda: len(second.answered) == 3, "three answers")
        assert second.answered == [further, other, checked]
        errors = [pb.ConnectResponse.FromString(second._answers[key].data).error for key in (further, other, checked)]
        assert errors == [DUPLICATE_CLIENT, "", ""]


def test_replacing_a_client_ends_its_plain_subscriptions_and_suspends_its_durables(broker):
    first = StreamingClient(broker, "old")
    first.subscribe("a")
    first.subscribe("a", durable="d")
    first.disconnect()
    with StreamingClient(broker, "old") as second:
        subs = broker.monitor("/streaming/channelsz?channel=a&subs=1")["subscriptions"]
        assert [(s["durable_name"], s["is_offline"]) for s in subs] == [("d", True)]
        second.subscribe("a", durable="d")


def test_another_cluster_id_has_no_responders(broker):
    with StreamingClient(broker, connect=False, cluster="elsewhere") as client:
        request = pb.ConnectRequest(clientID="x", heartbeatInbox=client.heartbeat_inbox).SerializeToString()
        assert client.request(client.discover, request) is None


def test_a_client_that_answers_heartbeats_is_kept():
    # The next heartbeat goes out when the one before was answered, or after a time-out that is longer than the test.
    with BrokerProcess("-hbi", "50ms", "-hbt", "1h", "-hbf", "1") as broker, StreamingClient(broker) as client:
        client.pump(lambda: client.heartbeats >= 8, "eight heartbeats")
        assert client.ping() == ""
        assert broker.monitor("/streaming/serverz")["clients"] == 1


def test_a_client_that_stops_answering_is_dropped_and_its_plain_subscription_with_it():
    # It subscribes while there is time, and is dropped by a broker that came back in a hurry.
    with BrokerProcess(store="file") as broker:
        with StreamingClient(broker, answer_heartbeats=False) as client:
            client.subscribe("a")
            client.subscribe("a", durable="d")
            broker.flags = ["-hbi", "50ms", "-hbt", "50ms", "-hbf", "2"]
            broker.restart()
            client.reconnect()
            wait_until(lambda: broker.monitor("/streaming/serverz")["clients"] == 0, "the client to be dropped")
            assert client.ping() == REPLACED
            assert client.heartbeats <= 3, "hbf + 1 heartbeats at most; none after the last failed"
            subs = broker.monitor("/streaming/channelsz?channel=a&subs=1")["subscriptions"]
            assert [s.get("durable_name") for s in subs] == ["d"]
            assert subs[0]["is_offline"] is True


def test_a_client_that_vanished_is_dropped_by_failed_heartbeats():
    with BrokerProcess("-hbi", "50ms", "-hbt", "50ms", "-hbf", "1") as broker:
        client = StreamingClient(broker)
        client.disconnect()
        wait_until(lambda: broker.monitor("/streaming/serverz")["clients"] == 0, "the client to be dropped")
        broker.wait_for_line("Timed out on heartbeats")


def test_a_disconnect_alone_never_removes_a_client():
    with BrokerProcess("-hbi", "30s") as broker:
        client = StreamingClient(broker)
        subscription = client.subscribe("a")
        client.reconnect()
        assert client.ping() == ""
        client.store("a", 1)
        assert subscription.wait(1)[0].sequence == 1
        client.close()


def test_a_heartbeat_under_way_does_not_hinder_the_client():
    with BrokerProcess("-hbi", "50ms", "-hbt", "30s", "-hbf", "1") as broker:
        with StreamingClient(broker, answer_heartbeats=False) as client:
            subscription = client.subscribe("a")
            client.pump(lambda: client.heartbeats >= 1, "a heartbeat")
            client.store("a", 3)
            subscription.wait(3)
            assert client.ping() == ""
            assert client.close_session() == ""


def test_a_ping_with_the_right_connection_id_is_answered_empty(client):
    payload = pb.Ping(connID=client.connection_id).SerializeToString()
    assert client.request(client.response.pingRequests, payload) == b""


@pytest.mark.parametrize("wrong", [b"nobody", b"\x00\xff" * 40])
def test_a_ping_with_a_wrong_connection_id_is_told_of_the_replacement(client, wrong):
    payload = pb.Ping(connID=wrong).SerializeToString()
    answer = client.request(client.response.pingRequests, payload)
    assert answer == b"\x0a\x33" + REPLACED.encode()


@pytest.mark.parametrize("payload", [b"", GARBAGE])
def test_an_empty_or_undecodable_ping_is_ignored(client, payload):
    inbox = client.answer_prefix + ".silent"
    client.nats.publish(client.response.pingRequests, payload, inbox)
    client.settle()
    assert inbox not in client._answers


def test_a_ping_of_a_client_with_failed_heartbeats_brings_a_heartbeat_soon():
    # Two clients fail their heartbeats, one of them pings: it is tried more often than the interval says.
    with BrokerProcess("-hbi", "1s", "-hbt", "50ms", "-hbf", "1000") as broker:
        with StreamingClient(broker, answer_heartbeats=False) as client, \
                StreamingClient(broker, answer_heartbeats=False) as silent:
            def ahead():
                assert client.ping() == ""
                for operation in silent.nats.fence():
                    silent._handle(operation)
                return client.heartbeats >= silent.heartbeats + 3
            wait_until(ahead, "the client that pings to get three heartbeats more than the other")


def test_closing_a_client_frees_its_id_and_removes_its_subscriptions(broker):
    with StreamingClient(broker, "leaver") as client:
        client.subscribe("a")
        client.subscribe("a", queue="q")
        assert client.close_session() == ""
        assert client.close_session() == UNKNOWN_CLIENT
        page = broker.monitor("/streaming/serverz")
        assert (page["clients"], page["subscriptions"]) == (0, 0)
        assert client.publish("a").error == INVALID_PUBLISH
        assert client.connect().error == ""


@pytest.mark.parametrize("name", ["nobody", ""])
def test_closing_an_unknown_client_is_an_error(client, name):
    assert client.close_session(name) == UNKNOWN_CLIENT


def test_an_undecodable_close_is_an_error(client):
    answer = client.request(client.response.closeRequests, GARBAGE)
    assert answer == pb.CloseResponse(error=INVALID_CLOSE).SerializeToString()


def test_requests_without_a_reply_subject_are_carried_out(broker, client):
    client.nats.publish(client.response.subRequests, pb.SubscriptionRequest(
        clientID=client.client_id, subject="quiet", inbox="_INBOX.q", maxInFlight=1,
        ackWaitInSecs=1).SerializeToString())
    client.settle()
    assert broker.monitor("/streaming/channelsz?channel=quiet&subs=1")["subs_count"] == 1
    client.nats.publish(client.response.closeRequests, pb.CloseRequest(clientID=client.client_id).SerializeToString())
    wait_until(lambda: client.nats.fence() is not None and broker.monitor("/streaming/serverz")["clients"] == 0,
               "the close to be carried out")


def test_ten_clients_whose_connections_were_cut_come_back(broker):
    clients = [StreamingClient(broker, f"cut-{n}") for n in range(10)]
    for client in clients:
        client.disconnect()
    again = [StreamingClient(broker, f"cut-{n}", connect=False) for n in range(10)]
    for client in again:
        client.nats.publish(client.discover, pb.ConnectRequest(
            clientID=client.client_id, heartbeatInbox=client.heartbeat_inbox, protocol=1,
            connID=client.connection_id).SerializeToString(), client.answer_prefix + ".1")
    for client in again:
        client.pump(lambda: client._answers, "the answer to the connect")
        assert pb.ConnectResponse.FromString(client._answers.popitem()[1].data).error == ""
    page = broker.monitor("/streaming/clientsz")
    assert page["total"] == 10
    assert {entry["hb_inbox"] for entry in page["clients"]} == {client.heartbeat_inbox for client in again}
    for client in again:
        client.close()


def test_of_two_clients_with_one_connection_id_the_last_owns_it(broker):
    with StreamingClient(broker, "one") as one, StreamingClient(broker, "two", connect=False) as two:
        two.connection_id = one.connection_id
        assert two.connect().error == ""
        assert two.publish("a").error == ""
        assert two.close_session() == ""
        assert one.ping() == REPLACED
        assert one.publish("a").error == INVALID_PUBLISH
        assert one.publish("a", connID=b"").error == "", "by its client id it is still known"


def test_a_connection_id_of_a_legacy_client_is_registered_all_the_same(broker):
    with StreamingClient(broker, "legacy", protocol=0, connect=False) as client:
        identity = nuid().encode()
        assert client.connect(connID=identity).error == ""
        assert client.publish("a", clientID="", connID=identity).error == ""
