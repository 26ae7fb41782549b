"""Publishing (description 3.3; checklist 10.2)."""

import pytest

import streaming_pb2 as pb
from broker_process import CLUSTER, BrokerProcess
from streaming_client import GARBAGE, INVALID_PUBLISH, TOO_MANY_CHANNELS, StreamingClient


def test_a_publish_is_acknowledged_with_its_guid_and_nothing_else(client):
    message = client.publish_message("a", b"1", guid="G1")
    answer = client.request(f"{client.response.pubPrefix}.a", message.SerializeToString())
    assert answer == b"\x0a\x02G1"


def test_the_bytes_of_a_delivered_message(client):
    inbox = "_INBOX.bytes"
    got = []
    client._listen(inbox, lambda message: got.append(message.data))
    response = client.request_subscription("p", inbox=inbox)
    assert response.error == ""
    client.store("p", b"1")
    client.pump(lambda: got, "the message")
    parsed = pb.MsgProto.FromString(got[0])
    assert got[0].startswith(b"\x08\x01\x12\x01p\x22\x01\x31\x28")
    assert got[0] == parsed.SerializeToString()


def test_an_empty_guid_is_refused(client):
    message = client.publish_message("a", b"1", guid="")
    answer = client.request(f"{client.response.pubPrefix}.a", message.SerializeToString())
    assert answer == b"\x12\x1d" + INVALID_PUBLISH.encode()


@pytest.mark.parametrize("channel", ["a.*", "*", ">", "a.>", "a*", "x>y", "a/b", "/", ".a", "a.", "a..b", "."])
def test_an_invalid_channel_is_refused(broker, client, channel):
    # Sent on a subject of the core protocol that can carry it; the channel is the message's own field.
    ack = client.publish(channel, b"1", guid="G", subject="x")
    assert (ack.guid, ack.error) == ("G", INVALID_PUBLISH)
    assert broker.monitor("/streaming/serverz")["channels"] == 0


def test_an_empty_channel_is_refused(client):
    ack = client.publish("", b"1", guid="G", subject="x")
    assert (ack.guid, ack.error) == ("G", INVALID_PUBLISH)


@pytest.mark.parametrize("channel", ["a|b", "a:b", "é", "a.b.c", "$x", "A-B_c", "0"])
def test_an_unusual_channel_is_fine(client, channel):
    assert client.publish(channel, b"1").error == ""


def test_a_channel_name_may_be_long_and_is_no_file_name(stored):
    with StreamingClient(stored) as client:
        name = "n" * 300
        assert client.publish(name, b"1").error == ""
        assert client.subscribe(name, start=pb.First).wait(1)[0].data == b"1"


def test_the_subject_must_name_the_message_s_channel(client):
    # The original lets it pass (9.2 #3); ours does not, so that permissions on subjects hold.
    assert client.publish("a", b"1", subject="b").error == INVALID_PUBLISH


def test_an_unknown_client_is_refused(client):
    assert client.publish("a", clientID="nobody", connID=b"").error == INVALID_PUBLISH
    assert client.publish("a", clientID="", connID=b"").error == INVALID_PUBLISH


def test_the_connection_id_alone_identifies(client):
    assert client.publish("a", clientID="whoever").error == ""
    assert client.publish("a", clientID=client.client_id, connID=b"wrong").error == INVALID_PUBLISH


def test_a_publish_without_connection_id_goes_by_client_id(client):
    assert client.publish("a", connID=b"").error == ""


def test_a_legacy_client_publishes_by_client_id(broker):
    with StreamingClient(broker, "legacy", protocol=0) as client:
        assert client.publish("a", b"1").error == ""
        assert client.subscribe("a", start=pb.First).wait(1)[0].data == b"1"


@pytest.mark.parametrize("payload", [GARBAGE, b"\x0a\x05ab", b"\x2a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x00", b"\x0f"])
def test_garbage_is_answered_with_an_error_ack(client, payload):
    answer = client.request(f"{client.response.pubPrefix}.a", payload)
    ack = pb.PubAck.FromString(answer)
    assert (ack.guid, ack.error) == ("", INVALID_PUBLISH)
    assert client.publish("a").error == ""


def test_garbage_behind_the_guid_is_answered_with_it(client):
    answer = client.request(f"{client.response.pubPrefix}.a", b"\x0a\x01c\x12\x02G7" + GARBAGE)
    ack = pb.PubAck.FromString(answer)
    assert (ack.guid, ack.error) == ("G7", INVALID_PUBLISH)


def test_an_empty_publish_is_answered_with_an_error_ack(client):
    ack = pb.PubAck.FromString(client.request(f"{client.response.pubPrefix}.a", b""))
    assert (ack.guid, ack.error) == ("", INVALID_PUBLISH)


def test_every_truncation_of_a_publish_is_answered_and_nothing_breaks(client):
    whole = client.publish_message("cut", b"data", guid="G" * 20, reply="r", sha256=b"s" * 8).SerializeToString()
    for length in range(len(whole)):
        ack = pb.PubAck.FromString(client.request(f"{client.response.pubPrefix}.cut", whole[:length]))
        assert ack.guid in ("", "G" * 20)
    assert client.publish("cut", b"1").error == ""


def test_a_failing_message_takes_no_sequence(client):
    client.store("a", b"1")
    assert client.publish("a", guid="").error == INVALID_PUBLISH
    assert client.publish("a", clientID="nobody", connID=b"").error == INVALID_PUBLISH
    client.store("a", b"2")
    assert [m.sequence for m in client.subscribe("a", start=pb.First).wait(2)] == [1, 2]


def test_empty_data_is_stored_and_delivered(client):
    subscription = client.subscribe("a")
    client.store("a", b"", b"x", b"")
    assert [m.data for m in subscription.wait(3)] == [b"", b"x", b""]


@pytest.mark.parametrize("size", [1, 127, 128, 16383, 16384, 65535, 65536, 1000000])
def test_data_of_any_size_comes_back_unaltered(stored, size):
    with StreamingClient(stored) as client:
        data = bytes((n * 7 + n // 256) % 256 for n in range(size))
        client.store("sized", data)
        assert client.subscribe("sized", start=pb.First).wait(1)[0].data == data


def test_the_reply_field_reaches_subscribers(client):
    subscription = client.subscribe("a")
    assert client.publish("a", b"1", reply="answer.here").error == ""
    assert subscription.wait(1)[0].reply == "answer.here"


def test_a_delivered_message_names_its_channel_and_time(client):
    import time
    before = time.time_ns()
    subscription = client.subscribe("a.b")
    client.store("a.b", b"1")
    message = subscription.wait(1)[0]
    assert message.subject == "a.b"
    assert before - 10**9 <= message.timestamp <= time.time_ns() + 10**9


def test_a_retried_guid_is_stored_twice(client):
    subscription = client.subscribe("a")
    for _ in range(2):
        assert client.publish("a", b"again", guid="same").error == ""
    assert [m.sequence for m in subscription.wait(2)] == [1, 2]


def test_sequences_have_no_gap_and_times_do_not_go_back_with_concurrent_publishers(broker):
    clients = [StreamingClient(broker) for _ in range(5)]
    subscription = clients[0].subscribe("a")
    for number in range(200):
        for client in clients:
            client.publish_async("a", b"%d" % number)
    for client in clients:
        client.pump(lambda: len(client.acks) == 200, "200 acks")
    messages = subscription.wait(1000)
    assert [m.sequence for m in messages] == list(range(1, 1001))
    times = [m.timestamp for m in messages]
    assert times == sorted(times)
    for client in clients:
        client.close()


def test_acks_come_in_publish_order_on_one_channel(client):
    guids = [client.publish_async("a", b"x") for _ in range(2000)]
    client.pump(lambda: len(client.acks) == 2000, "2000 acks")
    assert [ack.guid for ack in client.acks] == guids


def test_order_is_kept_per_channel_when_many_are_interleaved(client):
    subscriptions = [client.subscribe(f"c.{n}") for n in range(20)]
    for number in range(100):
        for channel in range(20):
            client.publish_async(f"c.{channel}", b"%d" % number)
    for subscription in subscriptions:
        assert [int(m.data) for m in subscription.wait(100)] == list(range(100))


def test_publishes_sent_before_a_close_are_stored(broker, client):
    with StreamingClient(broker) as leaver:
        for number in range(1000):
            leaver.publish_async("a", b"%d" % number)
        assert leaver.close_session() == ""
        leaver.pump(lambda: len(leaver.acks) == 1000, "the acks")
        assert [ack.error for ack in leaver.acks if ack.error] == []
    messages = client.subscribe("a", start=pb.First).wait(1000)
    assert [int(m.data) for m in messages] == list(range(1000))


def test_a_publish_without_reply_subject_is_stored(client):
    subscription = client.subscribe("a")
    client.nats.publish(f"{client.response.pubPrefix}.a", client.publish_message("a", b"1").SerializeToString())
    assert subscription.wait(1)[0].data == b"1"


def test_a_channel_differing_only_in_case_is_refused(client):
    client.store("foo.Bar", b"1")
    text = 'rejecting channel "foo.bar" because channel "foo.Bar" alreay exists (different cases not allowed)'
    assert client.publish("foo.bar").error == text
    client.subscribe("foo.bar", expect=text)
    client.store("foo.Bar", b"2")


def test_a_refused_channel_fails_only_its_own_messages():
    with BrokerProcess("-mc", "1") as broker, StreamingClient(broker) as client:
        client.store("first", b"0")
        for number in range(10):
            client.publish_async("first", b"%d" % number, guid=f"ok-{number}")
            client.publish_async("second", b"%d" % number, guid=f"no-{number}")
        client.pump(lambda: len(client.acks) == 21, "all acks")
        for ack in client.acks[1:]:
            assert ack.error == (TOO_MANY_CHANNELS if ack.guid.startswith("no-") else ""), ack
        assert client.subscribe("first", start=pb.First).wait(11)[-1].sequence == 11


def test_a_control_message_of_another_server_is_ignored(client):
    # A CtrlMsg whose first field is a varint: no PubMsg, so it is dropped without an answer.
    control = b"\x08\x03\x12\x06server"
    inbox = client.answer_prefix + ".control"
    client.nats.publish(f"{client.response.pubPrefix}.a", control, inbox)
    client.settle()
    assert inbox not in client._answers


def test_a_subject_that_is_only_the_prefix_reaches_nobody(client):
    message = client.publish_message("a", b"1").SerializeToString()
    assert client.request(f"_STAN.pub.{CLUSTER}", message) is None


def test_headers_of_the_core_protocol_do_not_disturb(client):
    payload = client.publish_message("a", b"1", guid="H").SerializeToString()
    block = b"NATS/1.0\r\nTrace: 1\r\n\r\n"
    client.nats.send(b"HPUB %s %s %d %d\r\n" % (
        f"{client.response.pubPrefix}.a".encode(), client.ack_inbox.encode(), len(block), len(block) + len(payload))
        + block + payload + b"\r\n")
    client.pump(lambda: client.acks, "the ack")
    assert (client.acks[0].guid, client.acks[0].error) == ("H", "")
