"""asyncio-nats-client 0.10 passes `loop` to asyncio functions that no longer take it (Python 3.10). This takes the
argument away, so that the client itself stays as it was published."""

import asyncio
import functools


def without_loop(function):
    @functools.wraps(function)
    def call(*arguments, **named):
        named.pop("loop", None)
        return function(*arguments, **named)
    return call


def install():
    for name in ("sleep", "wait_for", "wait", "open_connection", "gather"):
        setattr(asyncio, name, without_loop(getattr(asyncio, name)))
    for name in ("Queue", "Event", "Lock", "Semaphore"):
        original = getattr(asyncio, name)
        patched = type(name, (original,), {"__init__": without_loop(original.__init__)})
        setattr(asyncio, name, patched)
