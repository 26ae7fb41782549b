"""The servers that are compared, as processes whose CPU, memory and syncs can be read."""

import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
import urllib.error
import urllib.request


def free_port():
    """A port nobody uses, below the range of outgoing connections."""
    while True:
        port = random.randint(10000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def stored_bytes(directory):
    """Bytes of all files below a directory, 0 if there is none."""
    return sum(os.lstat(os.path.join(path, name)).st_size for path, _, names in os.walk(directory) for name in names)


class Server:
    """A started server. Subclasses say the command; `directory` is emptied before unless `keep` is set."""

    name = ""
    sync = ""

    def __init__(self, program, directory, keep=False):
        self.program, self.directory = program, directory
        removed = 0 if keep else stored_bytes(directory)
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory, exist_ok=True)
        # What the run before left to be written, and the space of what it wrote, would go to the disk while this one syncs.
        os.sync()
        # The host of a virtual machine is not done with that space yet: behind 60 GB its disk had stalls for 20 s.
        time.sleep(min(removed / 1e9, 60))
        self.port, self.monitoring_port = free_port(), free_port()
        self.log = open(os.path.join(os.path.dirname(directory), "server.log"), "ab")
        started = time.perf_counter()
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self._wait_accepting()
        #: Seconds from exec until INFO came over a connection.
        self.start_seconds = time.perf_counter() - started

    def command(self):
        raise NotImplementedError

    def _wait_accepting(self):
        deadline = time.perf_counter() + 60
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended at start with {self.process.returncode}; see {self.log.name}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                    if connection.recv(5).startswith(b"INFO"):
                        return
            except ConnectionRefusedError:
                pass
            if time.perf_counter() > deadline:
                raise SystemExit(f"{self.name} did not accept connections within 60 s; see {self.log.name}")
            time.sleep(0.0005)

    def cpu_ns(self):
        """CPU time of all threads so far."""
        total = 0
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            try:
                with open(f"/proc/{self.process.pid}/task/{thread}/schedstat") as file:
                    total += int(file.read().split()[0])
            except FileNotFoundError:
                pass  # a thread that has just ended
        return total

    def resident_mb(self, peak=False):
        with open(f"/proc/{self.process.pid}/status") as file:
            key = "VmHWM" if peak else "VmRSS"
            return int(re.search(rf"^{key}:\s+(\d+) kB", file.read(), re.M).group(1)) / 1024

    def syncs(self):
        """How many syncs the server has made, None when it does not say."""
        return None

    def stop(self, hard=False):
        self.process.send_signal(signal.SIGKILL if hard else signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()


class Broker(Server):
    name = "broker"
    sync = "a sync (fdatasync, RWF_DSYNC) before each ack"
    store = "file"
    flags = []

    def command(self):
        return [self.program, "-p", str(self.port), "-a", "127.0.0.1", "-m", str(self.monitoring_port), "-cid", "bench",
                "-st", self.store, "-dir", self.directory, "-mc", "0", "-mm", "0", "-mb", "0", "-hbi", "24h",
                *self.flags]

    def syncs(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.monitoring_port}/metrics", timeout=10) as reply:
                text = reply.read().decode()
        except urllib.error.URLError:
            return None
        match = re.search(r"^\w*(?:journal|log)_syncs_total (\d+)", text, re.M) or \
            re.search(r"^\w*commit\w*_count (\d+)", text, re.M)
        return int(match.group(1)) if match else None


class ReadyBroker(Broker):
    """Processors stay ready while there is work: the broker asks the kernel for it."""

    name = "broker --cpu-latency 0s"
    flags = ["--cpu-latency", "0s"]


class MemoryBroker(Broker):
    store = "memory"
    sync = "none (memory store)"

    def syncs(self):
        return None


class NATSServer(Server):
    name = "nats-server"

    def command(self):
        return [self.program, "-p", str(self.port), "-a", "127.0.0.1", "-m", str(self.monitoring_port)]


class JetStream(NATSServer):
    name = "JetStream"
    sync = "none (default: every 2 min)"
    sync_interval = None

    def command(self):
        path = os.path.join(os.path.dirname(self.directory), "jetstream.conf")
        interval = f'sync_interval: "{self.sync_interval}", ' if self.sync_interval else ""
        with open(path, "w") as file:
            file.write(f'jetstream {{ store_dir: "{self.directory}", {interval}max_file_store: 20GB }}\n')
        return [*super().command(), "-c", path]


class SyncedJetStream(JetStream):
    name = "JetStream always"
    sync = "O_SYNC each write"
    sync_interval = "always"

    def syncs(self):
        # Opened with O_SYNC, each write of a block file is a sync; other writes (timers, sockets' wake-ups) are few.
        with open(f"/proc/{self.process.pid}/io") as file:
            return int(re.search(r"^syscw: (\d+)", file.read(), re.M).group(1))


#: Where the kernel is asked to keep processors ready.
CPU_LATENCY = "/dev/cpu_dma_latency"


class ReadySyncedJetStream(SyncedJetStream):
    """With processors that stay ready, as `ReadyBroker` has them. nats-server cannot ask for that, so the benchmark does
    while it runs."""

    name = "JetStream always, ready"

    def __init__(self, *arguments):
        self.request = os.open(CPU_LATENCY, os.O_WRONLY)
        try:
            os.write(self.request, struct.pack("i", 0))
            super().__init__(*arguments)
        except BaseException:
            os.close(self.request)
            raise

    def __exit__(self, *arguments):
        try:
            super().__exit__(*arguments)
        finally:
            os.close(self.request)
