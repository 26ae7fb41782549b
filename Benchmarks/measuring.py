"""Runs of the load generator against servers, in alternating rounds, kept as rows of ratios."""

import concurrent.futures
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys

from servers import Broker, free_port

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def at_least(factor):
    """A must: the broker's figure is at least `factor` times the peer's."""
    return f">= {factor} x", lambda ratio, _: ratio >= factor


#: What is shown without a must.
NO_MUST = "", lambda *_: True


class Bench:
    def __init__(self, options):
        self.options = options
        self.directory = os.path.abspath(options.directory)
        os.makedirs(self.directory, exist_ok=True)
        self.data = os.path.join(self.directory, "data")
        self.loadgen = os.path.join(self.directory, "loadgen")
        subprocess.run(["cc", "-O2", "-Wall", "-Wno-unused-result", "-o", self.loadgen,
                        *glob.glob(os.path.join(ROOT, "Benchmarks/loadgen/*.c"))], check=True)
        self.nats_server = options.nats_server or os.path.join(ROOT, ".build/venv/bin/nats-server")
        self.rows = []

    # One server, one run

    def server(self, kind, keep=False):
        program = self.options.broker if issubclass(kind, Broker) else self.nats_server
        return kind(program, self.data, keep)

    def load(self, *words):
        """One run of the load generator; its numbers."""
        result = subprocess.run([self.loadgen, *map(str, words)], capture_output=True, text=True)
        if result.returncode != 0:
            raise SystemExit(f"loadgen {' '.join(map(str, words))}: {result.stderr}")
        return json.loads(result.stdout)

    def loaded(self, server, words):
        """One run against a server, with the CPU time and the syncs that it took there."""
        cpu, syncs = server.cpu_ns(), server.syncs()
        numbers = self.load(*[server.port if word == "PORT" else word for word in words])
        numbers["cpu_ns"] = (server.cpu_ns() - cpu) / max(numbers["all_messages"], 1)
        after = server.syncs()
        numbers["syncs"] = None if after is None else after - syncs
        return numbers

    def measured(self, kind, words):
        """The same against a fresh server."""
        with self.server(kind) as server:
            return self.loaded(server, words)

    def resident_peak(self, server, words):
        """Runs the load and returns the highest resident size seen, in MB."""
        peak = 0.0
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            load = pool.submit(self.load, *words)
            while not load.done():
                peak = max(peak, server.resident_mb())
                concurrent.futures.wait([load], 0.02)
            load.result()
        return peak

    def disk(self):
        """What the disk can do: 4 KiB pwrite + fdatasync, measured once."""
        if not hasattr(self, "_disk"):
            runs = [self.load("sync", os.path.join(self.directory, "sync-test"), 1) for _ in range(3)]
            self._disk = sorted(runs, key=lambda run: run["p50_us"])[1]
        return self._disk

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

    # Rows

    def compare(self, work, contenders, musts, unit="rate", null=None, run=None):
        """Alternating rounds. contenders: [(kind, words)], the broker first. musts: for each peer (text, test).
        run: how to get the numbers of one contender, `measured` unless said."""
        run = run or self.measured
        rounds = [[] for _ in contenders]
        for number in range(self.options.rounds):
            # Each round begins with another one, so that none always runs on the warmer machine.
            for step in range(len(contenders)):
                index = (number + step) % len(contenders)
                rounds[index].append(run(*contenders[index]))
                self.note(f"{work}: round {number + 1}, {contenders[index][0].name}: {rounds[index][-1][unit]:,.1f}")
        ours = contenders[0][0]
        generator = self.generator_rate(*null) if null else None
        mine = statistics.median(entry[unit] for entry in rounds[0])
        for (peer, _), entries, (must, holds) in zip(contenders[1:], rounds[1:], musts):
            theirs = statistics.median(entry[unit] for entry in entries)
            ratios = [a[unit] / b[unit] for a, b in zip(rounds[0], entries)]
            self.row(work=work, unit=unit, broker=mine, peer_name=peer.name, peer=theirs, ratio=mine / theirs,
                     ratio_spread=[min(ratios), max(ratios)], must=must, holds=holds(mine / theirs, mine),
                     generator=generator, ours=rounds[0], theirs=entries, sync=ours.sync, peer_sync=peer.sync)

    def limit(self, work, unit, mine, limit, peer_name, peer):
        """A row whose must is a limit on the broker's own figure."""
        self.row(work=f"{work}, {unit}", unit=unit, broker=mine, peer_name=peer_name, peer=peer, ratio=mine / peer,
                 must=f"<= {limit} {unit}", holds=mine <= limit)

    def note(self, text):
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def row(self, **row):
        self.rows.append(row)

    def remove_data(self):
        shutil.rmtree(self.data, ignore_errors=True)
