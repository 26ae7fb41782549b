"""The scenarios by name. Each is a function of a Bench."""

from scenarios import core, durable, footprint, loops, store

DEFAULT = {
    "core": core.core, "request": core.request,
    "streaming": durable.streaming, "publishers": durable.publishers, "single": durable.single,
    "channels": durable.channels, "consume": durable.consume,
    "memory": footprint.memory, "start": footprint.start, "size": footprint.size,
    "retention": store.retention, "scale": store.scale,
}
#: Only when named: ten minutes or 10 GiB long, or about a setting that is not the default.
NAMED = {"latency": durable.latency, "loops": loops.loops, "large": store.large}
ALL = DEFAULT | NAMED
