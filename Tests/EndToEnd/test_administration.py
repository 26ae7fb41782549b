"""`broker channel purge|delete` and looking at channels, against a broker that runs; and who may do what."""

import json

import pytest

import streaming_pb2 as pb
from broker_process import CLUSTER, BrokerProcess
from nats_socket import NATSSocket
from streaming_client import StreamingClient
from test_command_line import call

DELETE = f"$BROKER.API.CHANNEL.DELETE.{CLUSTER}."


@pytest.fixture
def broker():
    with BrokerProcess(store="file") as process:
        yield process


def channels(broker):
    return broker.monitor("/streaming/channelsz").get("names", [])


def page(broker, channel):
    return broker.monitor(f"/streaming/channelsz?channel={channel}")


def test_purge_removes_what_it_says_and_the_channel_goes_on(broker):
    call(broker, "channel", "pub", "orders", "order {{Count}}", "--count", "10")
    code, output, errors = call(broker, "channel", "purge", "orders", "--up-to", "4")
    assert code == 0 and "4 messages" in output and "5-10" in output, (output, errors)
    code, output, errors = call(broker, "channel", "purge", "orders", "--older-than", "1h", "--json")
    assert code == 0 and json.loads(output)["purged"] == 0, (output, errors)
    # It is on disk when the command returns.
    broker.restart(hard=True)
    assert (page(broker, "orders")["first_seq"], page(broker, "orders")["msgs"]) == (5, 6)
    code, output, errors = call(broker, "channel", "purge", "orders")
    assert code == 0 and "6 messages" in output and "the next gets sequence 11" in output, (output, errors)
    broker.restart(hard=True)
    call(broker, "channel", "pub", "orders", "new")
    assert (page(broker, "orders")["first_seq"], page(broker, "orders")["last_seq"]) == (11, 11)


def test_delete_removes_the_channel_and_its_name_begins_anew(broker):
    call(broker, "channel", "pub", "orders", "x", "--count", "3")
    code, output, errors = call(broker, "channel", "delete", "orders")
    assert code == 0 and '"orders"' in output and "3 messages" in output, (output, errors)
    broker.restart(hard=True)
    assert channels(broker) == []
    call(broker, "channel", "pub", "orders", "new")
    assert page(broker, "orders")["last_seq"] == 1


def test_delete_of_a_channel_in_use_needs_force(broker):
    with StreamingClient(broker, "reader") as client:
        client.store("orders", 2)
        client.subscribe("orders", start=pb.First).wait(2)
        code, output, errors = call(broker, "channel", "rm", "orders")
        assert code == 1 and "reader" in errors and "force" in errors, (output, errors)
        assert channels(broker) == ["orders"]
        code, output, errors = call(broker, "channel", "rm", "orders", "--force", "--json")
        assert code == 0 and json.loads(output)["subscriptions"] == 1, (output, errors)
        assert channels(broker) == []


@pytest.mark.parametrize("words", [("purge", "nothing"), ("delete", "nothing"), ("dump", "nothing"), ("info", "nothing")])
def test_a_channel_that_is_not_there_is_a_sentence_and_is_not_made(broker, words):
    code, output, errors = call(broker, "channel", *words)
    assert code == 1 and output == "" and 'there is no channel "nothing"' in errors, (code, output, errors)
    assert channels(broker) == []
    call(broker, "channel", "list")
    assert channels(broker) == []


def test_dump_of_a_channel_without_messages_is_no_error(broker):
    call(broker, "channel", "pub", "orders", "x")
    call(broker, "channel", "purge", "orders")
    assert call(broker, "channel", "dump", "orders")[:2] == (0, "")


def test_what_is_not_understood_is_exit_2(broker):
    for words in [("purge",), ("purge", "a", "--up-to", "0"), ("purge", "a", "--up-to", "1", "--older-than", "1h"),
                  ("delete", "a.*"), ("delete", "")]:
        assert call(broker, "channel", *words)[0] == 2, words


def test_with_a_token_for_it_only_its_bearer_deletes_and_purges():
    with BrokerProcess("--admin-auth", "secret", store="file") as broker:
        call(broker, "channel", "pub", "orders", "x")
        for words in [("delete", "orders"), ("purge", "orders"), ("delete", "orders", "--token", "wrong")]:
            code, _, errors = call(broker, "channel", *words)
            assert code == 1 and "may not delete or purge" in errors, (words, errors)
        assert page(broker, "orders")["msgs"] == 1
        assert call(broker, "channel", "purge", "orders", "--token", "secret")[0] == 0
        assert call(broker, "channel", "delete", "orders", "--token", "secret")[0] == 0
        assert channels(broker) == []


def test_the_broker_deletes_nothing_for_those_who_may_not():
    """Where the broker answers, delivers and sends heartbeats clients choose: it makes no request of theirs."""
    victim = DELETE + "victim"
    with BrokerProcess("--admin-auth", "secret", "-hbi", "1s", "-hbt", "1s", "-hbf", "1", store="file") as broker, \
            NATSSocket(broker.port) as bad:
        with StreamingClient(broker, "publisher") as client:
            client.store("victim", b"precious")
            # The answer to a ping that names no client we know is not empty; that to a valid one is.
            for subject, payload in [
                    (client.response.pingRequests, pb.Ping(connID=client.connection_id)),
                    (client.response.closeRequests, pb.CloseRequest(clientID="nobody")),
                    (client.discover, pb.ConnectRequest(clientID="x", heartbeatInbox="x"))]:
                bad.publish(subject, payload.SerializeToString(), victim)
                assert any("Permissions Violation" in str(seen) for seen in bad.fence()), subject
            # Nor does whoever consumes a message and answers it.
            assert client.publish("other", b"x", reply=victim).error == "stan: invalid publish request"
            # Messages and heartbeats go where the client said at its start.
            answer = client.connect(clientID="bad", heartbeatInbox=victim, connID=b"bad")
            assert answer.error == ""
            client.request_subscription("victim", clientID="bad", inbox=victim, startPosition=pb.First)
            broker.wait_for_line("bad.*(imed out|eartbeat)")
            assert client.ping() == ""
        assert channels(broker) == ["victim"]
        assert page(broker, "victim")["msgs"] == 1
