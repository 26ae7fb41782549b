"""Prints the first message of a channel, read with asyncio-nats-streaming: read_channel.py URL CLUSTER CHANNEL."""

import asyncio
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../Conformance/asyncio_streaming"))

import loop_argument  # noqa: E402

loop_argument.install()

from nats.aio.client import Client as NATS  # noqa: E402
from stan.aio.client import Client as STAN  # noqa: E402


async def main(url, cluster, channel):
    nats, stan = NATS(), STAN()
    await nats.connect(url)
    await stan.connect(cluster, "reader", nats=nats)
    found = asyncio.get_running_loop().create_future()

    async def receive(message):
        if not found.done():
            found.set_result(message.data)

    await stan.subscribe(channel, start_at="first", cb=receive)
    sys.stdout.buffer.write(await asyncio.wait_for(found, 20))
    await stan.close()
    await nats.close()


asyncio.run(main(*sys.argv[1:]))
