"""Memory, disk space, and the time from exec to accepting."""

import os
import statistics
import time

from servers import Broker, JetStream

GIB = 1 << 30
EVENTS, EVENT_SIZE = 500_000, 374


def fill(bench, server, kind, size, stored, *keys):
    bench.load("streaming" if kind is Broker else "jetstream", server.port, size, 1024, f"bytes={stored}", *keys)


def memory(bench):
    idle, loaded = {}, {}
    for kind, mode in ((Broker, "streaming"), (JetStream, "jetstream")):
        with bench.server(kind) as server:
            time.sleep(1)  # an idle second: start-up work is over
            idle[kind] = server.resident_mb()
            words = [mode, server.port, 1024, 1024]
            # The store holds 1 GiB then, and the load goes on over it.
            loaded[kind] = max(bench.resident_peak(server, [*words, f"bytes={GIB}"]),
                               bench.resident_peak(server, [*words, f"seconds={bench.options.seconds}"]) if kind is Broker else 0)
    bench.limit("memory, idle", "MB", idle[Broker], 30, "JetStream", idle[JetStream])
    bench.limit("memory, publishing with 1 GiB stored", "MB", loaded[Broker], 250, "JetStream", loaded[JetStream])


def start(bench):
    def empty(kind):
        times = []
        for _ in range(bench.options.rounds):
            with bench.server(kind) as server:
                times.append(server.start_seconds * 1000)
        return statistics.median(times)

    def filled(kind):
        """(after kill -9, after a clean stop), ms."""
        with bench.server(kind) as server:
            fill(bench, server, kind, 1024, GIB)
            server.stop(hard=True)
        with bench.server(kind, keep=True) as server:
            crashed = server.start_seconds * 1000
            # A broker that wrote nothing since changes nothing when it stops: the next start would be one after kill -9 again.
            fill(bench, server, kind, 1024, 1024)
        clean = []
        for _ in range(bench.options.rounds):
            with bench.server(kind, keep=True) as server:
                clean.append(server.start_seconds * 1000)
        return crashed, statistics.median(clean)

    bench.limit("exec to accepting, empty", "ms", empty(Broker), 50, "JetStream", empty(JetStream))
    ours = [filled(Broker) for _ in range(bench.options.rounds)]
    theirs = filled(JetStream)
    bench.limit("exec to accepting, 1 GiB stored, after kill -9", "ms", statistics.median(crashed for crashed, _ in ours), 300,
                "JetStream", theirs[0])
    bench.limit("exec to accepting, 1 GiB stored, after a clean stop", "ms", statistics.median(clean for _, clean in ours), 100,
                "JetStream", theirs[1])


def disk_bytes(directory, but=()):
    total = 0
    for path, folders, files in os.walk(directory):
        folders[:] = [folder for folder in folders if folder not in but]
        total += sum(os.stat(os.path.join(path, file)).st_blocks * 512 for file in files)
    return total


def size(bench):
    """What an event of a service takes on disk once it left the journal (after a clean stop)."""
    stored, journal = {}, 0
    for kind in (Broker, JetStream):
        with bench.server(kind) as server:
            fill(bench, server, kind, EVENT_SIZE, EVENTS * EVENT_SIZE, "json=1")
        everything, stored[kind] = disk_bytes(bench.data), disk_bytes(bench.data, but=("journal",)) / EVENTS
        if kind is Broker:
            journal = everything - stored[kind] * EVENTS
    bench.limit(f"stored JSON event of {EVENT_SIZE} B (five UUIDs), without {journal / (1 << 20):,.0f} MiB of journal", "B",
                stored[Broker], 230, "JetStream", stored[JetStream])
