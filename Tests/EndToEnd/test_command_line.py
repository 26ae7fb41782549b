"""The `broker` command line as a person uses it, against a running broker."""

import glob
import json
import os
import signal
import subprocess
import threading

import pytest

from broker_process import BROKER, CLUSTER, PATIENCE, BrokerProcess, wait_until
from nats_socket import NATSSocket
from streaming_client import REPLACED, StreamingClient


class Command:
    """One call of `broker …` with the server in its environment."""

    def __init__(self, broker, *words, input=None):
        environment = {**os.environ, "NATS_URL": broker.url, "STAN_CLUSTER_ID": CLUSTER,
                       "BROKER_MONITOR": f"http://127.0.0.1:{broker.monitoring_port}"}
        self.process = subprocess.Popen([BROKER, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env=environment)
        self.output = ""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if input is not None:
            self.process.stdin.write(input)
        if input is not None or "sub" not in words:
            self.process.stdin.close()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.output += line
                self._changed.notify_all()

    def wait_for(self, text):
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.output, PATIENCE), f"{text!r} not in {self.output!r}"

    def finish(self):
        """(exit code, standard output, standard error)"""
        try:
            code = self.process.wait(PATIENCE * 2)
        finally:
            if self.process.poll() is None:
                self.process.kill()
        self._reader.join(PATIENCE)
        errors = self.process.stderr.read()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()
        return code, self.output, errors


def call(broker, *words, input=None):
    return Command(broker, *words, input=input).finish()


@pytest.fixture
def broker():
    with BrokerProcess(store="file") as process:
        yield process


def test_pub_and_sub(broker):
    subscriber = Command(broker, "sub", "greet.*", "--count", "2")
    subscriber.wait_for("Subscribing")
    with NATSSocket(broker.port) as probe:
        # The line is printed before the server has the subscription: a request finds responders once it does.
        probe.subscribe("_INBOX.probe")
        wait_until(lambda: broker.monitor("/varz")["subscriptions"] >= 2, "the subscription")
    code, output, _ = call(broker, "pub", "greet.joe", "hello", "-H", "Trace:1")
    assert code == 0 and "Published 5 bytes" in output + _
    call(broker, "pub", "greet.ann", input="from a pipe")
    code, output, errors = subscriber.finish()
    assert code == 0, errors
    assert "greet.joe" in output and "hello" in output and "Trace: 1" in output and "from a pipe" in output


def test_request_and_reply(broker):
    responder = Command(broker, "reply", "service", "pong", "--count", "1")
    responder.wait_for("Listening")
    code, output, errors = call(broker, "request", "service", "ping")
    assert code == 0 and "pong" in output, (output, errors)
    assert responder.finish()[0] == 0


def test_a_request_without_responders_fails_with_a_sentence(broker):
    code, _, errors = call(broker, "request", "nobody", "ping")
    assert code == 1 and "no responders" in errors.lower()


def test_a_session_with_a_durable_queue(broker):
    code, output, errors = call(broker, "channel", "pub", "orders", "order {{Count}}", "--count", "5")
    assert code == 0, errors
    code, output, errors = call(broker, "channel", "sub", "orders", "--all", "--queue", "workers", "--durable", "books",
                                "--count", "3")
    assert code == 0 and all(f"order {n}" in output for n in (1, 2, 3)), (output, errors)
    broker.restart(hard=True)
    code, output, errors = call(broker, "channel", "sub", "orders", "--queue", "workers", "--durable", "books", "--count",
                                "2")
    assert code == 0 and "order 4" in output and "order 5" in output, (output, errors)


@pytest.mark.parametrize("options, first", [(["--all"], 1), (["--last"], 5), (["--sequence", "4"], 4), (["--since", "1h"], 1)])
def test_channel_sub_begins_where_it_is_told(broker, options, first):
    call(broker, "channel", "pub", "a", "message {{Count}}", "--count", "5")
    code, output, errors = call(broker, "channel", "sub", "a", *options, "--count", str(6 - first))
    assert code == 0, errors
    for number in range(1, 6):
        assert (f"message {number}" in output) == (number >= first), output


def test_manual_ack_leaves_messages_unacknowledged(broker):
    call(broker, "channel", "pub", "a", "one")
    code, output, _ = call(broker, "channel", "sub", "a", "--all", "--durable", "d", "--client-id", "me", "--manual-ack",
                           "--count", "1")
    assert code == 0 and "one" in output
    code, output, _ = call(broker, "channel", "sub", "a", "--durable", "d", "--client-id", "me", "--count", "1")
    assert code == 0 and "one" in output


def test_interrupting_channel_sub_keeps_the_durable(broker):
    subscriber = Command(broker, "channel", "sub", "a", "--all", "--durable", "d", "--client-id", "me")
    call(broker, "channel", "pub", "a", "first")
    subscriber.wait_for("first")
    subscriber.process.send_signal(signal.SIGINT)
    assert subscriber.finish()[0] == 0
    call(broker, "channel", "pub", "a", "second")
    code, output, _ = call(broker, "channel", "sub", "a", "--durable", "d", "--client-id", "me", "--count", "1")
    assert code == 0 and "second" in output and "first" not in output


def test_a_taken_client_id_is_named(broker):
    # The client that is there has the protocol's 500 ms to answer; where this machine took longer, it is tried again.
    for attempt in range(50):
        with StreamingClient(broker, f"taken-{attempt}") as client:
            command = Command(broker, "channel", "pub", "a", "x", "--client-id", client.client_id)
            client.pump(lambda: client.heartbeats >= 1, "the duplicate check")
            for operation in client.nats.fence():
                client._handle(operation)
            code, _, errors = command.finish()
            if code == 1:
                break
            assert client.ping() == REPLACED
    assert code == 1 and "clientID already registered" in errors


def test_channel_list_and_info(broker):
    call(broker, "channel", "pub", "orders", "x", "--count", "3")
    code, output, errors = call(broker, "channel", "list")
    assert code == 0 and "orders" in output and "3" in output, (output, errors)
    code, output, _ = call(broker, "channel", "info", "orders", "--json")
    assert code == 0 and json.loads(output)["last_seq"] == 3
    code, _, errors = call(broker, "channel", "info", "nothing")
    assert code == 1 and "nothing" in errors


def test_channel_dump_online_and_offline(broker):
    call(broker, "channel", "pub", "orders", "order {{Count}}", "--count", "3")
    code, online, errors = call(broker, "channel", "dump", "orders", "--raw")
    assert code == 0 and "order 1" in online and "order 3" in online, errors
    broker.terminate()
    help_text = subprocess.run([BROKER, "channel", "dump", "--help"], capture_output=True, text=True).stdout
    option = next((word for word in ("--dir", "--directory") if word in help_text), None)
    assert option, "channel dump reads a data directory offline: no option for it"
    result = subprocess.run([BROKER, "channel", "dump", option, broker.directory, "orders", "--raw"], capture_output=True,
                            text=True, timeout=PATIENCE)
    assert result.returncode == 0 and "order 1" in result.stdout and "order 3" in result.stdout, result.stderr


def test_bench_prints_numbers_for_machines(broker):
    code, output, errors = call(broker, "bench", "core", "--count", "20000", "--size", "16", "--sub", "1", "--json")
    assert code == 0 and json.loads(output)["published"]["messages"] == 20000, errors
    code, output, errors = call(broker, "bench", "channel", "--count", "5000", "--size", "128", "--json")
    assert code == 0, errors
    assert json.loads(output)["errors"] == 0


def test_a_server_that_is_not_there_is_a_sentence_and_exit_1(broker):
    url = broker.url
    broker.terminate()
    code, _, errors = call(broker, "pub", "a", "b")
    assert code == 1 and url.split("//")[1] in errors and "\n" not in errors.strip(), errors


def test_a_wrong_option_is_exit_2(broker):
    assert call(broker, "pub", "--nosuch")[0] == 2
    assert call(broker, "channel", "sub")[0] == 2


def test_a_bad_time_in_the_environment_is_named(broker):
    result = subprocess.run([BROKER, "pub", "a", "b"], capture_output=True, text=True, timeout=PATIENCE,
                            env={**os.environ, "NATS_URL": broker.url, "NATS_TIMEOUT": "soon"})
    assert result.returncode == 2 and 'NATS_TIMEOUT should be a duration like 5s, got "soon"' in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="without root no thread can be given a lower nice value than it has")
def test_threads_keep_the_priority_that_the_broker_was_started_with():
    def working():
        """Nice values of the event loop and the log's threads, by name."""
        found = {}
        for path in glob.glob(f"/proc/{broker.process.pid}/task/*/stat"):
            try:
                with open(path) as file:
                    name, fields = file.read().split("(", 1)[1].rsplit(")", 1)
            except FileNotFoundError:
                continue  # a thread that has just ended
            if name.startswith(("NIO-ELT", "log-")):
                found[name] = int(fields.split()[16])
        return found

    with BrokerProcess(store="file", prefix=["nice", "-n", "7"]) as broker:
        # A thread names itself when it begins to run.
        wait_until(lambda: len(working()) >= 4, "four threads")
        values = working()
        # What no publisher waits for gives way to the others.
        assert values.pop("log-background") == 12
        assert set(values.values()) == {7}, values


def test_processors_are_kept_ready_where_the_kernel_takes_the_request():
    device = "/dev/cpu_dma_latency"
    with BrokerProcess("--cpu-latency", "0s", store="file", wait=False) as broker:
        if not os.access(device, os.W_OK):
            assert broker.wait_exit() == 1
            assert f"--cpu-latency needs {device}, which cannot be opened" in broker.log
            return
        broker.wait_ready()
        assert device in [os.path.realpath(path) for path in glob.glob(f"/proc/{broker.process.pid}/fd/*")]
        assert call(broker, "channel", "pub", "orders", "one")[0] == 0
