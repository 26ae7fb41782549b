"""nats-py, unchanged, against the broker (core protocol; checklist 12.14)."""

import asyncio

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from broker_process import PATIENCE, BrokerProcess


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, PATIENCE * 2))


async def connect(broker, **options):
    settings = {"reconnect_time_wait": 0.05, "max_reconnect_attempts": -1, "connect_timeout": PATIENCE}
    settings.update(options)
    return await nats.connect(broker.url, **settings)


async def fence(client):
    """Returns when the server has handled all that this client sent, and all it had for this client has come.
    (The client's own flush may send its PING ahead of buffered publishes.)"""
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    await client.publish(inbox, b"")
    await subscription.next_msg(PATIENCE)
    await subscription.unsubscribe()


def test_connects_and_sees_the_server(broker):
    async def body():
        client = await connect(broker)
        assert client.is_connected
        assert client.max_payload == 1048576
        assert client.connected_server_version.major >= 2
        await client.close()
        assert client.is_closed
    run(body())


def test_publishes_and_subscribes(broker):
    async def body():
        client = await connect(broker)
        subscription = await client.subscribe("greet.*")
        await client.publish("greet.joe", b"hello")
        message = await subscription.next_msg(PATIENCE)
        assert (message.subject, message.data, message.reply) == ("greet.joe", b"hello", "")
        await client.close()
    run(body())


def test_empty_and_large_payloads_arrive_whole(broker):
    async def body():
        client = await connect(broker)
        subscription = await client.subscribe("big")
        payloads = [b"", b"x", bytes(range(256)) * 4096]
        for payload in payloads:
            await client.publish("big", payload)
        for payload in payloads:
            assert (await subscription.next_msg(PATIENCE)).data == payload
        await client.close()
    run(body())


def test_a_payload_over_the_limit_is_refused_by_the_client(broker):
    async def body():
        client = await connect(broker)
        with pytest.raises(nats.errors.MaxPayloadError):
            await client.publish("big", b"x" * (client.max_payload + 1))
        await client.close()
    run(body())


def test_many_messages_keep_their_order(broker):
    async def body():
        publisher, subscriber = await connect(broker), await connect(broker)
        subscription = await subscriber.subscribe("numbers")
        await fence(subscriber)
        count = 20000
        for number in range(count):
            await publisher.publish("numbers", b"%d" % number)
        await fence(publisher)
        for number in range(count):
            assert int((await subscription.next_msg(PATIENCE)).data) == number
        await publisher.close()
        await subscriber.close()
    run(body())


@pytest.mark.parametrize("subject, matches", [
    ("a.*", {"a.b", "a.c"}), ("a.>", {"a.b", "a.c", "a.b.c"}), (">", {"a", "a.b", "a.c", "a.b.c"}),
    ("*.b.*", {"a.b.c"}), ("a", {"a"}), ("*", {"a"}),
])
def test_wildcards_match_whole_tokens(broker, subject, matches):
    async def body():
        client = await connect(broker)
        subscription = await client.subscribe(subject)
        for name in ["a", "a.b", "a.c", "a.b.c"]:
            await client.publish(name, b"")
        await fence(client)
        got = set()
        while subscription.pending_msgs:
            got.add((await subscription.next_msg(PATIENCE)).subject)
        assert {name for name in got if not name.startswith("_INBOX")} == matches
        await client.close()
    run(body())


def test_a_queue_group_shares_each_message_once(broker):
    async def body():
        clients = [await connect(broker) for _ in range(3)]
        counts = [0, 0, 0]
        arrived = asyncio.Event()
        total = 900

        def member(index):
            async def receive(_):
                counts[index] += 1
                if sum(counts) == total:
                    arrived.set()
            return receive

        for index, client in enumerate(clients):
            await client.subscribe("work", "workers", cb=member(index))
            await fence(client)
        publisher = await connect(broker)
        for _ in range(total):
            await publisher.publish("work", b"")
        await fence(publisher)
        await asyncio.wait_for(arrived.wait(), PATIENCE)
        assert sum(counts) == total
        assert all(count > total / 6 for count in counts), counts
        for client in clients + [publisher]:
            await client.close()
    run(body())


def test_request_through_the_shared_inbox(broker):
    async def body():
        client, service = await connect(broker), await connect(broker)

        async def answer(message):
            await message.respond(message.data.upper())

        await service.subscribe("upper", cb=answer)
        await fence(service)
        replies = await asyncio.gather(*[client.request("upper", b"n%d" % n, timeout=PATIENCE) for n in range(100)])
        assert [reply.data for reply in replies] == [b"N%d" % n for n in range(100)]
        await client.close()
        await service.close()
    run(body())


def test_request_of_the_old_style(broker):
    async def body():
        client = await connect(broker)

        async def answer(message):
            await message.respond(b"pong")

        await client.subscribe("old", cb=answer)
        reply = await client.request("old", b"ping", timeout=PATIENCE, old_style=True)
        assert reply.data == b"pong"
        await client.close()
    run(body())


def test_a_request_without_responders_fails_at_once(broker):
    async def body():
        client = await connect(broker)
        with pytest.raises(nats.errors.NoRespondersError):
            await client.request("nobody.there", b"", timeout=PATIENCE)
        await client.close()
    run(body())


def test_a_request_that_is_not_answered_times_out(broker):
    async def body():
        client = await connect(broker)
        await client.subscribe("silent")
        with pytest.raises(nats.errors.TimeoutError):
            await client.request("silent", b"", timeout=0.05)
        await client.close()
    run(body())


def test_headers_arrive_as_sent(broker):
    async def body():
        client = await connect(broker)
        subscription = await client.subscribe("h")
        await client.publish("h", b"body", headers={"Trace": "1", "Empty": "", "case-Kept": "a b"})
        message = await subscription.next_msg(PATIENCE)
        assert message.data == b"body"
        assert message.headers["Trace"] == "1" and message.headers["case-Kept"] == "a b"
        await client.close()
    run(body())


def test_a_reply_travels_with_headers(broker):
    async def body():
        client = await connect(broker)

        async def answer(message):
            await client.publish(message.reply, b"", headers={"Seen": message.headers["Ask"]})

        await client.subscribe("ask", cb=answer)
        reply = await client.request("ask", b"", timeout=PATIENCE, headers={"Ask": "why"})
        assert reply.headers["Seen"] == "why"
        await client.close()
    run(body())


def test_unsubscribe_stops_and_a_maximum_is_kept(broker):
    async def body():
        client = await connect(broker)
        limited = await client.subscribe("limited")
        await limited.unsubscribe(limit=3)
        stopped = await client.subscribe("stopped")
        await stopped.unsubscribe()
        watch = await client.subscribe("*")
        for _ in range(5):
            await client.publish("limited", b"")
            await client.publish("stopped", b"")
        await fence(client)
        assert watch.pending_msgs == 10
        assert limited.pending_msgs == 3
        assert stopped.pending_msgs == 0
        await client.close()
    run(body())


def test_drain_of_a_subscription_handles_what_is_pending(broker):
    async def body():
        client, publisher = await connect(broker), await connect(broker)
        got = []

        async def slow(message):
            await asyncio.sleep(0)
            got.append(message.data)

        subscription = await client.subscribe("drain", cb=slow)
        await fence(client)
        for number in range(200):
            await publisher.publish("drain", b"%d" % number)
        await fence(publisher)
        await fence(client)
        await subscription.drain()
        assert len(got) == 200
        await publisher.close()
        await client.close()
    run(body())


def test_drain_of_a_connection_closes_it(broker):
    async def body():
        closed = asyncio.Event()

        async def on_closed():
            closed.set()

        client = await connect(broker, closed_cb=on_closed)
        got = []

        async def receive(message):
            got.append(message)

        await client.subscribe("x", cb=receive)
        await client.publish("x", b"")
        await fence(client)
        await client.drain()
        await asyncio.wait_for(closed.wait(), PATIENCE)
        assert len(got) == 1
        assert client.is_closed
    run(body())


def test_flush_returns(broker):
    async def body():
        client = await connect(broker)
        for _ in range(10):
            await client.flush(PATIENCE)
        await client.close()
    run(body())


def test_no_echo_keeps_own_messages_away(broker):
    async def body():
        quiet = await connect(broker, no_echo=True)
        other = await connect(broker)
        mine = await quiet.subscribe("echo")
        theirs = await other.subscribe("echo")
        await fence(other)
        await quiet.flush(PATIENCE)
        await quiet.publish("echo", b"own")
        assert (await theirs.next_msg(PATIENCE)).data == b"own"
        await other.publish("echo", b"other's")
        assert (await mine.next_msg(PATIENCE)).data == b"other's"
        await quiet.close()
        await other.close()
    run(body())


@pytest.mark.parametrize("options", [{"verbose": True}, {"pedantic": True}, {"verbose": True, "pedantic": True}])
def test_verbose_and_pedantic_clients_work(broker, options):
    async def body():
        client = await connect(broker, **options)
        subscription = await client.subscribe("v")
        for number in range(50):
            await client.publish("v", b"%d" % number)
        for number in range(50):
            assert int((await subscription.next_msg(PATIENCE)).data) == number
        await client.close()
    run(body())


def test_a_client_goes_on_after_the_server_was_killed(broker):
    async def body():
        lost, back = asyncio.Event(), asyncio.Event()

        async def on_lost():
            lost.set()

        async def on_back():
            back.set()

        client = await connect(broker, disconnected_cb=on_lost, reconnected_cb=on_back)
        plain = await client.subscribe("after.*")
        queue = await client.subscribe("queue", "q")
        limited = await client.subscribe("limited")
        await limited.unsubscribe(limit=2)
        await client.publish("limited", b"before")
        await fence(client)
        broker.kill()
        await asyncio.wait_for(lost.wait(), PATIENCE)
        await client.publish("after.buffered", b"written while away")
        broker.start()
        await asyncio.wait_for(back.wait(), PATIENCE)
        assert (await plain.next_msg(PATIENCE)).data == b"written while away"
        await client.publish("after.restart", b"1")
        await client.publish("queue", b"2")
        for _ in range(3):
            await client.publish("limited", b"after")
        await fence(client)
        assert (await plain.next_msg(PATIENCE)).data == b"1"
        assert (await queue.next_msg(PATIENCE)).data == b"2"
        assert limited.pending_msgs <= 2
        await client.close()
    run(body())


def test_a_client_goes_on_after_a_clean_restart(broker):
    async def body():
        back = asyncio.Event()

        async def on_back():
            back.set()

        client = await connect(broker, reconnected_cb=on_back)
        subscription = await client.subscribe("again")
        await fence(client)
        assert broker.terminate() == 0
        broker.start()
        await asyncio.wait_for(back.wait(), PATIENCE)
        await client.publish("again", b"1")
        assert (await subscription.next_msg(PATIENCE)).data == b"1"
        await client.close()
    run(body())


async def refused(url, **options):
    with pytest.raises(Exception) as error:
        await nats.connect(url, allow_reconnect=False, max_reconnect_attempts=0, connect_timeout=PATIENCE, **options)
    assert "authorization violation" in str(error.value).lower(), error.value


def test_user_and_password_are_required_when_set():
    with BrokerProcess("--user", "joe", "--pass", "s3cret") as broker:
        async def body():
            client = await connect(broker, user="joe", password="s3cret")
            await fence(client)
            await client.close()
            await refused(broker.url, user="joe", password="wrong")
            await refused(broker.url, user="ann", password="s3cret")
            await refused(broker.url)
            await refused(broker.url, token="s3cret")
        run(body())
        assert "s3cret" not in broker.log


def test_credentials_may_come_in_the_url():
    with BrokerProcess("--user", "joe", "--pass", "s3cret") as broker:
        async def body():
            client = await nats.connect(f"nats://joe:s3cret@127.0.0.1:{broker.port}", connect_timeout=PATIENCE)
            await fence(client)
            await client.close()
        run(body())


def test_a_token_is_required_when_set():
    with BrokerProcess("--auth", "t0ken") as broker:
        async def body():
            client = await connect(broker, token="t0ken")
            await fence(client)
            await client.close()
            await refused(broker.url, token="wrong")
            await refused(broker.url)
            await refused(broker.url, user="joe", password="t0ken")
        run(body())
        assert "t0ken" not in broker.log


def test_a_hundred_clients_talk_at_once(broker):
    async def body():
        clients = await asyncio.gather(*[connect(broker) for _ in range(100)])
        subscriptions = [await client.subscribe("all") for client in clients]
        await asyncio.gather(*[fence(client) for client in clients])
        for client in clients:
            await client.publish("all", b"x")
        await asyncio.gather(*[fence(client) for client in clients])
        for subscription in subscriptions:
            for _ in range(100):
                await subscription.next_msg(PATIENCE)
        await asyncio.gather(*[client.close() for client in clients])
    run(body())


def test_a_subscriber_that_stops_reading_does_not_harm_others(broker):
    async def body():
        import json
        import socket
        slow = socket.create_connection(("127.0.0.1", broker.port))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b"CONNECT " + json.dumps({"verbose": False}).encode() + b"\r\nSUB flood 1\r\nPING\r\n")
        reader = b""
        while b"PONG" not in reader:
            reader += slow.recv(4096)
        client = await connect(broker, pending_size=1 << 20)
        seen = await client.subscribe("seen")
        block = b"x" * (1 << 20)
        for _ in range(96):
            await client.publish("flood", block)
            await client.flush(PATIENCE)
        await client.publish("seen", b"1")
        assert (await seen.next_msg(PATIENCE)).data == b"1"
        slow.close()
        await client.close()
    run(body())
