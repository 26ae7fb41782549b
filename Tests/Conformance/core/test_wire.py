"""The core protocol byte by byte: error texts, limits, and input that no client would send."""

import json
import socket
import time

import pytest

from broker_process import PATIENCE, BrokerProcess, wait_until
from nats_socket import Closed, Message, NATSSocket

UNKNOWN = "-ERR 'Unknown Protocol Operation'"


def raw(broker, **options):
    return NATSSocket(broker.port, **options)


def test_info_says_what_a_client_needs(broker):
    with raw(broker, connect=False) as client:
        info = client.info
        for key in ["server_id", "server_name", "version", "go", "host", "port", "max_payload", "proto", "headers",
                    "client_id", "client_ip"]:
            assert key in info, key
        assert info["proto"] == 1 and info["headers"] is True and info["max_payload"] == 1048576
        assert not info.get("auth_required", False)


def test_a_bare_session_is_verbose(broker):
    with raw(broker, connect=False) as client:
        client.send(b"PING\r\n")
        assert client.next() == "PONG"
        client.send(b"SUB foo 1\r\n")
        assert client.next() == "+OK"
        client.send(b"PUB foo 5\r\nhello\r\n")
        assert client.next() == "+OK"
        message = client.next()
        assert (message.subject, message.sid, message.data) == ("foo", "1", b"hello")
        client.send(b"UNSUB 1\r\n")
        assert client.next() == "+OK"


@pytest.mark.parametrize("verb", [b"pub", b"Pub", b"PUB"])
def test_operations_are_case_insensitive(broker, verb):
    with raw(broker) as client:
        client.send(b"sub a 1\r\n" + verb + b" a 2\r\nhi\r\n")
        assert client.fence()[0].data == b"hi"


def test_blanks_and_bare_line_feeds_are_tolerated(broker):
    with raw(broker) as client:
        client.send(b"SUB \t foo  7 \r\nPUB   foo\t 2  \nhi\r\nUNSUB 7 \n")
        seen = client.fence()
        assert [message.data for message in seen] == [b"hi"]


def test_every_split_of_a_session_reads_the_same(broker):
    session = b"SUB a.* 1\r\nHPUB a.b r 18 20\r\nNATS/1.0\r\nA: B\r\n\r\nhi\r\nPUB a.c 3\r\nyou\r\nUNSUB 1\r\n"
    for cut in range(1, len(session)):
        with raw(broker) as client:
            client.send(session[:cut])
            client.socket.sendall(session[cut:])
            seen = client.fence()
            assert [(m.subject, m.reply, m.headers, m.data) for m in seen] == [
                ("a.b", "r", b"NATS/1.0\r\nA: B\r\n\r\n", b"hi"), ("a.c", "", b"", b"you")], f"cut at {cut}"


def test_byte_by_byte(broker):
    with raw(broker) as client:
        for byte in b"SUB x 1\r\nPUB x 4\r\n\r\n\r\n\r\nPING\r\n":
            client.socket.sendall(bytes([byte]))
        message = client.next()
        assert message.data == b"\r\n\r\n"
        assert client.next() == "PONG"


@pytest.mark.parametrize("garbage", [
    b"\r\n", b" PING\r\n", b"ZZZ\r\n", b"PUB\r\n", b"SUB\r\n", b"PUX a 1\r\n", b"\x00\x01\x02\xff\xfe\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    b"PUB a 2\r\nhiXX", b"PUB a 1\r\nhi\r\n", b"MSG a 1 2\r\nhi\r\n", b"RS+ a\r\n",
])
def test_what_is_no_operation_ends_the_connection_with_a_word(broker, garbage):
    with raw(broker) as client:
        client.send(garbage)
        assert client.until_closed() == [UNKNOWN]


@pytest.mark.parametrize("line", [
    b"PUB a\r\n", b"PUB a b c 1\r\n", b"PUB a -1\r\n", b"PUB a 0x5\r\n", b"PUB a 1234567890\r\n", b"PUB a 9999999999999999999\r\n",
    b"PUB a 1.5\r\n", b"SUB a\r\n", b"SUB a b c d\r\n", b"SUB \r\n", b"PUB \r\n", b"UNSUB \r\n", b"UNSUB 1 2 3\r\n",
    b"HPUB a 20 10\r\n", b"HPUB a -1 10\r\n", b"HPUB a 5\r\n", b"CONNECT {\r\n", b"CONNECT []\r\n", b"CONNECT {} x\r\n",
    b"CONNECT {\"verbose\": 3}\r\n",
])
def test_bad_arguments_end_the_connection_silently(broker, line):
    with raw(broker) as client:
        client.send(line)
        assert client.until_closed() == []


def test_headers_need_to_be_agreed(broker):
    with raw(broker, headers=False, no_responders=False) as client:
        client.send(b"HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n")
        assert client.until_closed() == []


def test_headers_are_stripped_for_a_client_without_them(broker):
    with raw(broker) as sender, raw(broker, headers=False, no_responders=False) as receiver:
        receiver.subscribe("h")
        receiver.fence()
        sender.send(b"HPUB h 18 20\r\nNATS/1.0\r\nA: B\r\n\r\nhi\r\n")
        message = receiver.next()
        assert (message.headers, message.data) == (b"", b"hi")


def test_duplicate_header_keys_keep_their_order(broker):
    block = b"NATS/1.0\r\nK: 1\r\nk: low\r\nK: 2\r\nK:3\r\n\r\n"
    with raw(broker) as client:
        client.subscribe("h")
        client.send(b"HPUB h %d %d\r\n" % (len(block), len(block) + 4) + block + b"body\r\n")
        message = client.fence()[0]
        assert (message.headers, message.data) == (block, b"body")


def test_header_bytes_are_not_judged(broker):
    with raw(broker) as client:
        client.subscribe("a")
        client.send(b"HPUB a 3 5\r\nxyzhi\r\nHPUB a 0 2\r\nhi\r\n")
        first, second = client.fence()
        assert (first.headers, first.data) == (b"xyz", b"hi")
        assert (second.headers, second.data) == (b"", b"hi")


def test_a_payload_at_the_limit_passes_and_one_over_it_ends(broker):
    with raw(broker) as client:
        client.subscribe("p")
        client.publish("p", b"x" * 1048576)
        assert len(client.fence()[0].data) == 1048576
        client.send(b"PUB p 1048577\r\n")
        assert client.until_closed() == ["-ERR 'Maximum Payload Violation'"]


def test_a_payload_limit_counts_headers(broker):
    with raw(broker) as client:
        client.send(b"HPUB p 12 1048577\r\n")
        assert client.until_closed() == ["-ERR 'Maximum Payload Violation'"]


def test_a_control_line_at_the_limit_passes_and_one_over_it_ends(broker):
    subject = b"s" * (4096 - 2)
    with raw(broker) as client:
        client.send(b"PUB " + subject + b" 0\r\n\r\n")
        assert client.fence() == []
        client.send(b"PUB s" + subject + b" 0\r\n\r\n")
        assert client.until_closed() == ["-ERR 'maximum control line exceeded'"]


def test_an_endless_line_ends_before_it_ends(broker):
    with raw(broker) as client:
        try:
            client.send(b"SUB " + b"a" * 100000)
        except OSError:
            pass
        assert client.until_closed() in (["-ERR 'maximum control line exceeded'"], [])


@pytest.mark.parametrize("subject", [b"foo..bar", b".foo", b"foo.", b".", b">.foo", b"foo.>.bar"])
def test_an_invalid_subscription_subject_is_refused_and_the_connection_lives(broker, subject):
    with raw(broker) as client:
        client.send(b"SUB " + subject + b" 1\r\n")
        assert client.fence() == ["-ERR 'Invalid Subject'"]


def test_wildcards_inside_a_token_are_plain_characters(broker):
    with raw(broker) as client:
        for subject in ["foo*", "*bar", "a>b"]:
            client.subscribe(subject)
        for subject in ["foo*", "*bar", "a>b", "foox", "xbar", "a.b"]:
            client.publish(subject)
        assert [message.subject for message in client.fence()] == ["foo*", "*bar", "a>b"]


def test_a_publish_to_a_wildcard_is_a_literal(broker):
    with raw(broker) as client:
        client.subscribe("foo.*")
        client.subscribe("foo.bar")
        client.publish("foo.*", b"1")
        assert [message.subject for message in client.fence()] == ["foo.*"]


def test_a_publish_with_an_empty_token_matches_nothing(broker):
    with raw(broker) as client:
        client.subscribe(">")
        client.publish("foo..bar")
        client.publish(".foo")
        client.publish("ok")
        assert [message.subject for message in client.fence()] == ["ok"]


def test_pedantic_warns_about_a_publish_subject(broker):
    with raw(broker, pedantic=True) as client:
        client.publish("foo..bar")
        client.publish("foo.*")
        client.publish("fine")
        assert client.fence() == ["-ERR 'Invalid Publish Subject'"] * 2


def test_verbose_answers_each_operation_once(broker):
    with raw(broker, connect=False) as client:
        client.send(b'CONNECT {"verbose":true}\r\nSUB a 1\r\nPUB b 0\r\n\r\nUNSUB 1\r\nSUB bad..one 2\r\nPING\r\n')
        seen = []
        while not seen or seen[-1] != "PONG":
            seen.append(client.next())
        assert seen == ["+OK"] * 4 + ["-ERR 'Invalid Subject'", "PONG"]


def test_overlapping_subscriptions_get_a_copy_each(broker):
    with raw(broker) as client:
        sids = [client.subscribe(subject) for subject in ["a.b", "a.*", ">", "a.b"]]
        client.publish("a.b", b"1")
        assert sorted(message.sid for message in client.fence()) == sorted(sids)


def test_a_queue_group_spans_overlapping_subjects(broker):
    with raw(broker) as client:
        client.subscribe("foo.*", "q")
        client.subscribe("foo.bar", "q")
        client.subscribe("foo.>", "other")
        for _ in range(20):
            client.publish("foo.bar")
        assert len(client.fence()) == 40


def test_a_second_subscription_with_a_used_sid_is_ignored(broker):
    with raw(broker) as client:
        client.send(b"SUB a 1\r\nSUB b 1\r\n")
        client.publish("a")
        client.publish("b")
        assert [message.subject for message in client.fence()] == ["a"]


@pytest.mark.parametrize("maximum, before, expected", [(3, 0, 3), (3, 2, 3), (2, 5, 5), (0, 2, 2)])
def test_unsub_counts_what_was_delivered_since_the_sub(broker, maximum, before, expected):
    with raw(broker) as client:
        client.send(b"SUB a 1\r\n")
        for _ in range(before):
            client.publish("a")
        client.send(b"UNSUB 1 %d\r\n" % maximum)
        for _ in range(5):
            client.publish("a")
        assert len(client.fence()) == expected


def test_unsub_of_an_unknown_sid_is_no_error(broker):
    with raw(broker) as client:
        client.send(b"UNSUB 77\r\nUNSUB 78 2\r\n")
        assert client.fence() == []


def test_no_responders_is_answered_on_the_own_reply_subscription(broker):
    with raw(broker) as client:
        sid = client.subscribe("_INBOX.x.*")
        client.publish("nobody", b"", "_INBOX.x.1")
        message = client.fence()[0]
        assert message.headers.startswith(b"NATS/1.0 503") and message.headers.endswith(b"\r\n\r\n")
        assert (message.subject, message.sid, message.reply, message.data) == ("_INBOX.x.1", sid, "", b"")


def test_no_responders_does_not_count_as_a_delivery(broker):
    with raw(broker) as client:
        client.send(b"SUB r 1\r\nUNSUB 1 1\r\n")
        client.publish("nobody", b"", "r")
        client.publish("r", b"real")
        seen = client.fence()
        assert [message.data for message in seen] == [b"", b"real"]


def test_no_responders_needs_headers(broker):
    with raw(broker, connect=False) as client:
        client.send(b'CONNECT {"verbose":false,"headers":false,"no_responders":true}\r\nPING\r\n')
        assert client.until_closed() == ["-ERR 'no responders requires headers support'"]


def test_an_unknown_client_protocol_is_refused(broker):
    with raw(broker, connect=False) as client:
        client.send(b'CONNECT {"verbose":false,"protocol":7}\r\nPING\r\n')
        assert client.until_closed() == ["-ERR 'invalid client protocol'"]


def test_without_echo_a_request_to_oneself_has_no_responders(broker):
    with raw(broker, echo=False) as client, raw(broker) as other:
        client.subscribe("mine")
        client.fence()
        other.subscribe("_INBOX.>")
        other.fence()
        sid = client.subscribe("_INBOX.1")
        client.publish("mine", b"", "_INBOX.1")
        seen = client.fence()
        assert [message.sid for message in seen] == [sid]
        assert seen[0].headers.startswith(b"NATS/1.0 503")


def test_what_was_received_before_a_half_close_is_processed(broker):
    with raw(broker) as watcher:
        watcher.subscribe("last")
        watcher.fence()
        with raw(broker) as sender:
            sender.send(b"PUB last 4\r\nword\r\n" * 100)
            sender.socket.shutdown(socket.SHUT_WR)
            for _ in range(100):
                assert watcher.next().data == b"word"


def test_connections_that_never_say_connect_do_not_hinder_others(broker):
    count = 1000
    idle = []
    try:
        for _ in range(count):
            idle.append(socket.create_connection(("127.0.0.1", broker.port)))
        with raw(broker) as client:
            client.subscribe("a")
            client.publish("a", b"1")
            assert client.fence()[0].data == b"1"
    finally:
        for connection in idle:
            connection.close()


def test_a_client_that_vanishes_leaves_no_subscription(broker):
    vanishing = raw(broker)
    vanishing.subscribe("gone", "q")
    vanishing.fence()
    vanishing.close()
    with raw(broker) as client:
        client.subscribe("r")

        def nobody():
            client.publish("gone", b"", "r")
            return any(isinstance(m, Message) and m.headers.startswith(b"NATS/1.0 503") for m in client.fence())
        wait_until(nobody, "the subscription of a closed connection to go")


def test_an_idle_client_is_pinged_first_and_dropped_when_stale():
    # The wall clock once: the first PING of the server comes soon after CONNECT.
    with BrokerProcess() as broker, NATSSocket(broker.port) as client:
        client.socket.settimeout(PATIENCE)
        data = bytes(client._buffer)
        deadline = time.monotonic() + PATIENCE
        while b"PING\r\n" not in data and time.monotonic() < deadline:
            data += client.socket.recv(4096)
        assert b"PING\r\n" in data


def test_authorization_is_asked_for_and_told_in_info():
    with BrokerProcess("--user", "joe", "--pass", "pw") as broker:
        with NATSSocket(broker.port, connect=False) as client:
            assert client.info["auth_required"] is True
            client.send(b"SUB a 1\r\n")
            assert client.until_closed() == ["-ERR 'Authorization Violation'"]
        with NATSSocket(broker.port, connect=False) as client:
            client.send(b'CONNECT {"verbose":false,"user":"joe","pass":"no"}\r\nPING\r\n')
            assert client.until_closed() == ["-ERR 'Authorization Violation'"]
        with NATSSocket(broker.port, user="joe", **{"pass": "pw"}) as client:
            assert client.fence() == []


def test_nothing_is_sent_to_a_closed_sid(broker):
    with raw(broker) as client:
        client.send(b"SUB a 1\r\nUNSUB 1\r\nPUB a 1\r\nx\r\n")
        assert client.fence() == []


def test_messages_of_one_publisher_arrive_in_order_on_all_subjects(broker):
    with raw(broker) as sender, raw(broker) as receiver:
        receiver.subscribe("a")
        receiver.subscribe("b.*")
        receiver.subscribe("b.*", "q")
        receiver.fence()
        block = b"".join(b"PUB %s %d\r\n%d\r\n" % (b"a" if n % 2 else b"b.x", len(str(n)), n) for n in range(5000))
        sender.send(block)
        sender.fence()
        seen = [int(message.data) for message in receiver.fence()]
        assert seen == sorted(seen) and set(seen) == set(range(5000))
        assert len(seen) == 7500
