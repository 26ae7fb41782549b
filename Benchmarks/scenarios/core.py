"""Core NATS: publishes without storage, and requests."""

import os
import subprocess
import sys

from measuring import at_least
from servers import MemoryBroker, NATSServer


class Awake:
    """Keeps every core from going idle, with loops that run only when nothing else wants the core (SCHED_IDLE). A
    virtual machine's idle core takes longer to wake than a server takes to answer; this leaves the servers' share."""

    def __enter__(self):
        self.loops = []
        for core in os.sched_getaffinity(0):
            loop = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            os.sched_setaffinity(loop.pid, {core})
            os.sched_setscheduler(loop.pid, os.SCHED_IDLE, os.sched_param(0))
            self.loops.append(loop)

    def __exit__(self, *_):
        for loop in self.loops:
            loop.kill()
            loop.wait()


def core(bench):
    seconds = bench.options.seconds
    for size, subscribers, must in [(16, 0, 4), (16, 1, 4), (128, 1, 3), (1024, 1, 1.5), (128, 5, 2.5)]:
        words = ["core", "PORT", size, subscribers, seconds]
        work = f"core publish {size} B, no subscriber" if subscribers == 0 else f"core 1:{subscribers} {size} B"
        bench.compare(work, [(MemoryBroker, words), (NATSServer, words)], [at_least(must)],
                      null=(["core", size, subscribers], words))


def request(bench):
    words = ["request", "PORT", 16, bench.options.seconds]
    contenders = [(MemoryBroker, words), (NATSServer, words)]
    must = [("<= 1.0 x", lambda ratio, _: ratio <= 1.0)]
    bench.compare("request/reply 16 B, one at a time, p50 µs", contenders, must, unit="p50_us")
    with Awake():
        bench.compare("request/reply 16 B, cores kept awake, p50 µs", contenders, must, unit="p50_us")
