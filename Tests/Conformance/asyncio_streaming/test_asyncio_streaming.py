"""asyncio-nats-streaming 0.4.0, unchanged, against the broker."""

import asyncio
import time

import pytest
from nats.aio.client import Client as NATS
from stan.aio.client import Client as STAN
from stan.aio.errors import StanError

from broker_process import PATIENCE


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, PATIENCE * 2))


class Session:
    """A NATS connection and the streaming client on it."""

    def __init__(self, broker, client_id, **options):
        self.broker, self.client_id, self.options = broker, client_id, options

    async def __aenter__(self):
        self.nats = NATS()
        await self.nats.connect(servers=[self.broker.url], loop=asyncio.get_running_loop(), reconnect_time_wait=0.05,
                                max_reconnect_attempts=-1, allow_reconnect=True, connect_timeout=PATIENCE)
        self.stan = STAN()
        await self.stan.connect(self.broker.cluster, self.client_id, nats=self.nats, connect_timeout=PATIENCE,
                                **self.options)
        return self

    async def __aexit__(self, *_):
        if self.stan._nc is not None:
            await self.stan.close()
        await self.nats.close()


class Messages:
    """Collects what a subscription delivers."""

    def __init__(self):
        self.all = []
        self._arrived = asyncio.Event()

    async def __call__(self, message):
        self.all.append(message)
        self._arrived.set()

    async def wait(self, count):
        while len(self.all) < count:
            self._arrived.clear()
            await asyncio.wait_for(self._arrived.wait(), PATIENCE)
        return self.all

    @property
    def sequences(self):
        return [message.proto.sequence for message in self.all]


def test_publishes_and_subscribes(broker):
    async def body():
        async with Session(broker, "me") as me:
            got = Messages()
            await me.stan.subscribe("hi", cb=got)
            for number in range(100):
                await me.stan.publish("hi", b"%d" % number)
            await got.wait(100)
            assert got.sequences == list(range(1, 101))
            assert [m.data for m in got.all] == [b"%d" % n for n in range(100)]
    run(body())


def test_publishes_with_ack_handlers(stored):
    async def body():
        async with Session(stored, "me") as me:
            acks = []
            done = asyncio.Event()

            async def on_ack(ack):
                acks.append(ack)
                if len(acks) == 2000:
                    done.set()

            for number in range(2000):
                await me.stan.publish("hi", b"%d" % number, ack_handler=on_ack)
            await asyncio.wait_for(done.wait(), PATIENCE)
            assert not [ack.error for ack in acks if ack.error]
    run(body())


def test_start_positions(broker):
    async def body():
        async with Session(broker, "me") as me:
            for number in range(10):
                await me.stan.publish("hi", b"%d" % number)
            everything, last, from_seven, fresh, since = (Messages() for _ in range(5))
            await me.stan.subscribe("hi", cb=everything, deliver_all_available=True)
            await me.stan.subscribe("hi", cb=last, start_at="last_received")
            await me.stan.subscribe("hi", cb=from_seven, start_at="sequence", sequence=7)
            await me.stan.subscribe("hi", cb=fresh)
            await me.stan.subscribe("hi", cb=since, start_at="time", time=1)
            await me.stan.publish("hi", b"new")
            for messages, first in ((everything, 1), (last, 10), (from_seven, 7), (fresh, 11), (since, 1)):
                await messages.wait(12 - first)
                assert messages.sequences == list(range(first, 12))
    run(body())


def test_a_durable_resumes(stored):
    async def body():
        for cycle in range(3):
            async with Session(stored, "me") as me:
                got = Messages()
                await me.stan.subscribe("hi", durable_name="dur", deliver_all_available=True, cb=got)
                for _ in range(10):
                    await me.stan.publish("hi", b"x")
                await got.wait(10)
                assert got.sequences == list(range(cycle * 10 + 1, cycle * 10 + 11))
    run(body())


def test_unsubscribe_forgets_a_durable(broker):
    async def body():
        async with Session(broker, "me") as me:
            await me.stan.publish("hi", b"1")
            for _ in range(2):
                got = Messages()
                subscription = await me.stan.subscribe("hi", durable_name="dur", deliver_all_available=True, cb=got)
                await got.wait(1)
                assert got.sequences == [1]
                await subscription.unsubscribe()
    run(body())


def test_manual_acks_and_redelivery(broker):
    async def body():
        async with Session(broker, "me") as me:
            got = Messages()
            await me.stan.subscribe("hi", cb=got, manual_acks=True, ack_wait=1)
            await me.stan.publish("hi", b"1")
            await me.stan.publish("hi", b"2")
            await got.wait(2)
            await me.stan.ack(got.all[0])
            while got.sequences.count(2) < 2:
                await got.wait(len(got.all) + 1)
            assert [m.proto.redelivered for m in got.all if m.proto.sequence == 2][:2] == [False, True]
            await me.stan.ack(got.all[-1])
    run(body())


def test_a_queue_group_shares(broker):
    async def body():
        async with Session(broker, "one") as one, Session(broker, "two") as two:
            first, second = Messages(), Messages()
            await one.stan.subscribe("hi", queue="q", cb=first)
            await two.stan.subscribe("hi", queue="q", cb=second)
            for _ in range(200):
                await one.stan.publish("hi", b"x")
            while len(first.all) + len(second.all) < 200:
                await asyncio.sleep(0)
            assert sorted(first.sequences + second.sequences) == list(range(1, 201))
            assert first.all and second.all
    run(body())


def test_max_in_flight_holds(broker):
    async def body():
        async with Session(broker, "me") as me:
            got, fence = Messages(), Messages()
            await me.stan.subscribe("hi", cb=got, manual_acks=True, max_inflight=1)
            await me.stan.subscribe("fence", cb=fence)
            for _ in range(5):
                await me.stan.publish("hi", b"x")
            await me.stan.publish("fence", b"")
            await fence.wait(1)
            assert got.sequences == [1]
            await me.stan.ack(got.all[0])
            await got.wait(2)
    run(body())


def test_a_live_client_id_is_refused(broker):
    async def refused(name):
        """False when this machine was too slow for the first client to answer within the protocol's 500 ms."""
        async with Session(broker, name):
            started = time.monotonic()
            try:
                async with Session(broker, name):
                    pass
            except StanError as error:
                assert "clientID already registered" in str(error)
                return True
            assert time.monotonic() - started >= 0.5, "a live client was replaced"
            return False

    async def body():
        for number in range(50):
            if await refused(f"taken-{number}"):
                return
        raise AssertionError("this machine never answered within 500 ms")
    run(body())


def test_goes_on_after_the_broker_was_killed(stored):
    async def body():
        async with Session(stored, "me", ping_interval=1, ping_max_out=60) as me:
            got = Messages()
            await me.stan.subscribe("hi", durable_name="dur", cb=got)
            for _ in range(50):
                await me.stan.publish("hi", b"x")
            await got.wait(50)
            stored.kill()
            stored.start()
            while not me.nats.is_connected:
                await asyncio.sleep(0.01)
            for _ in range(50):
                # A publish into the socket of the dead broker is lost, as users of the library know it: they try again.
                while True:
                    try:
                        await me.stan.publish("hi", b"y", ack_wait=1)
                        break
                    except asyncio.TimeoutError:
                        pass
            while not set(range(1, 101)) <= set(got.sequences):
                await got.wait(len(got.all) + 1)
    run(body())


def test_is_told_when_a_memory_store_forgot_it(broker):
    async def body():
        lost = asyncio.Event()

        async def on_lost(_):
            lost.set()

        me = Session(broker, "me", ping_interval=1, ping_max_out=60, conn_lost_cb=on_lost)
        await me.__aenter__()
        broker.restart(hard=True)
        await asyncio.wait_for(lost.wait(), PATIENCE)
        await me.nats.close()
    run(body())
