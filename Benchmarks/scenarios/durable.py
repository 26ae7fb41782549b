"""Durable work: every publish is acknowledged after the sync that covers it, every consumed message is acknowledged."""

import os
import subprocess

from measuring import NO_MUST, at_least
from servers import CPU_LATENCY, Broker, JetStream, ReadyBroker, ReadySyncedJetStream, SyncedJetStream

#: Messages of 128 B that `consume` reads back.
STORED = 1_000_000


def publish_words(bench, size, window, *keys):
    # A new store makes its journal files while it is filled for the first time, as JetStream its first blocks: the
    # first second does not count for either.
    keys = ["warmup=1", f"seconds={bench.options.seconds}", *keys]
    ours = ["streaming", "PORT", size, window, *keys]
    theirs = ["jetstream", "PORT", size, window, *keys]
    return [(Broker, ours), (JetStream, theirs), (SyncedJetStream, theirs)]


def streaming(bench):
    for size, must, synced_must in [(128, 3, 80), (1024, 2.5, 40)]:
        null = ["streaming", "PORT", size, 1024, "cluster=null", f"seconds={bench.options.seconds}"]
        bench.compare(f"durable publish {size} B, 1,024 in flight", publish_words(bench, size, 1024),
                      [at_least(must), at_least(synced_must)], null=(["streaming", size], null))


def publishers(bench):
    bench.compare("durable publish 1,024 B, 16 connections, 64 in flight each",
                  publish_words(bench, 1024, 64, "connections=16")[:2], [at_least(2.5)])
    contenders = publish_words(bench, 128, 1, "connections=16")
    work = "durable publish 128 B, 16 connections, one at a time each"
    bench.compare(work, [contenders[0], contenders[2]], [at_least(10)])
    if not os.access(CPU_LATENCY, os.W_OK):
        bench.note(f"processors kept ready: left out, {CPU_LATENCY} cannot be written to")
        return
    (_, ours), (_, theirs) = contenders[0], contenders[2]
    bench.compare(f"{work}, processors kept ready",
                  [(ReadyBroker, ours), (SyncedJetStream, theirs), (ReadySyncedJetStream, theirs)], [at_least(10), NO_MUST])


def single(bench):
    disk = bench.disk()["p50_us"]
    contenders = publish_words(bench, 128, 1)
    bench.compare("durable publish 128 B, one at a time, p50 µs", [contenders[0], contenders[2]],
                  [(f"<= 1.0 x and <= {disk + 150:.0f} µs (one 4 KiB fdatasync + 150)",
                    lambda ratio, mine: ratio <= 1.0 and mine <= disk + 150)], unit="p50_us")


class OneChannel(Broker):
    name = "one channel"


def channels(bench):
    one = publish_words(bench, 128, 1024)[0][1]
    bench.compare("durable publish 128 B, 1,000 channels, 1,024 in flight",
                  [(Broker, [*one, "channels=1000"]), (OneChannel, one)], [at_least(0.4)])


def latency(bench):
    """Publishes at half of what the same work reaches unhindered, in one long run."""
    seconds = bench.options.latency_seconds
    # Over a twentieth of the time: a disk takes more in one second than it goes on taking.
    words = ["streaming", "PORT", 128, 1024, "warmup=1", f"seconds={max(seconds / 20, bench.options.seconds):g}"]
    fastest = max(bench.measured(Broker, words)["rate"] for _ in range(3))
    # Room in flight for a stall of 100 ms: what comes due meanwhile waits in the generator and counts.
    window = int(max(fastest / 2 * 0.1, 1024))
    # At half of the rate a new journal is filled for the first time for twice as long as elsewhere, and a little more.
    words = ["streaming", "PORT", 128, window, "warmup=3", f"seconds={seconds}", f"rate={fastest / 2:.0f}"]
    numbers = bench.measured(Broker, words)
    # What no server can be better than: the same messages by the disk alone, for two minutes at the most.
    disk = bench.load("sync", os.path.join(bench.directory, "sync-test"), min(seconds, 120), f"{fastest / 2:.0f}")
    for percentile, factor in (("p99_us", 5), ("p999_us", 20)):
        bench.limit(f"acks at {fastest / 2:,.0f} a second for {seconds:,.0f} s, {percentile[:-3]} (the disk alone: "
                    f"{disk[percentile]:,.0f}, {disk[percentile] / disk['p50_us']:.1f} x its p50; sent late by the generator itself: "
                    f"{numbers['late_' + percentile]:,.0f})", "µs", numbers[percentile],
                    round(factor * numbers["p50_us"]), "its p50", numbers["p50_us"])


# Reading back

class PullConsumer(JetStream):
    name = "pull consumer"


class OrderedConsumer(JetStream):
    name = "ordered push consumer"


def drop_page_cache():
    subprocess.run(["sync"], check=True)
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3\n")


def consume(bench):
    def run_from(cold):
        def run(kind, style):
            with bench.server(kind) as server:
                mode = "streaming" if kind is Broker else "jetstream"
                bench.load(mode, server.port, 128, 1024, f"bytes={128 * STORED}")
                words = ["consume", style, "PORT", 128, 1024, STORED]
                if not cold:
                    return bench.loaded(server, words)
            drop_page_cache()
            with bench.server(kind, keep=True) as server:
                return bench.loaded(server, words)
        return run

    contenders = [(Broker, "streaming"), (PullConsumer, "pull"), (OrderedConsumer, "ordered")]
    musts = [at_least(3), at_least(1.5)]
    bench.compare("consume 128 B, acknowledged, just published", contenders, musts, run=run_from(cold=False))
    if os.access("/proc/sys/vm/drop_caches", os.W_OK):
        bench.compare("consume 128 B, acknowledged, cold from disk", contenders, musts, run=run_from(cold=True))
    else:
        bench.note("consume from a cold disk: left out, dropping the page cache needs root")
