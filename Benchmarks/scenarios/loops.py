"""What a second event loop brings, or costs, on this machine: `broker --loops 2` against one loop."""

from servers import Broker, MemoryBroker


class TwoLoops(Broker):
    flags = ["--loops", "2"]


class TwoLoopsInMemory(MemoryBroker):
    flags = ["--loops", "2"]


class OneLoop(Broker):
    name = "one loop"


class OneLoopInMemory(MemoryBroker):
    name = "one loop"


def loops(bench):
    seconds = bench.options.seconds
    said = [("none: to decide by", lambda ratio, _: True)]
    for work, words, unit in (("core 1:1 128 B", ["core", "PORT", 128, 1, seconds], "rate"),
                              ("core 1:5 128 B", ["core", "PORT", 128, 5, seconds], "rate"),
                              ("request/reply 16 B, p50 µs", ["request", "PORT", 16, seconds], "p50_us")):
        bench.compare(f"two loops, {work}", [(TwoLoopsInMemory, words), (OneLoopInMemory, words)], said, unit=unit)
    for connections, window in ((1, 1024), (16, 64)):
        words = ["streaming", "PORT", 128, window, f"seconds={seconds}", f"connections={connections}"]
        bench.compare(f"two loops, durable publish 128 B, {connections} connections, {window} in flight each",
                      [(TwoLoops, words), (OneLoop, words)], said)
