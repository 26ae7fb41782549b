"""The broker as a process: flags, start lines, signals, exit codes (description 5; checklist 10.9)."""

import os
import re
import signal
import subprocess

import pytest

from broker_process import BROKER, PATIENCE, BrokerProcess, free_port
from nats_socket import NATSSocket
from streaming_client import StreamingClient


def run(*arguments, **options):
    return subprocess.run([BROKER, *arguments], capture_output=True, text=True, timeout=PATIENCE,
                          stdin=subprocess.DEVNULL, **options)


def test_the_deployment_s_command_line_starts_it(tmp_path):
    port, monitoring = free_port(), free_port()
    process = BrokerProcess(
        store="file", directory=str(tmp_path / "data"), cluster="devpie-client", port=port, wait=False)
    process.close()
    command = [BROKER, "-mc", "0", "-st", "file", "-dir", "data", "-p", str(port), "-m", str(monitoring), "-hbi", "5s",
               "-hbt", "5s", "-hbf", "2", "-SDV", "-cid", "devpie-client"]
    process.command = lambda: command
    process.monitoring_port = monitoring
    directory = os.getcwd()
    os.chdir(tmp_path)
    try:
        with process:
            process.start()
            process.cluster = "devpie-client"
            with StreamingClient(process) as client:
                client.store("a", b"1")
            assert process.monitor("/streaming/serverz")["cluster_id"] == "devpie-client"
            assert (tmp_path / "data").is_dir()
            assert "_STAN.discover.devpie-client" in process.log
    finally:
        os.chdir(directory)


def test_serve_is_what_a_bare_call_means(tmp_path):
    port = free_port()
    process = subprocess.Popen([BROKER, "serve", "-p", str(port), "-a", "127.0.0.1"], cwd=tmp_path,
                               stderr=subprocess.PIPE, text=True)
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "Streaming Server is ready" in line:
                break
        text = "".join(lines)
        assert "FILE" in text and "data" in text, text
        assert (tmp_path / "data").is_dir()
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0
        process.stderr.close()


def test_the_ready_line_is_the_last_of_the_start_and_comes_once(broker):
    with NATSSocket(broker.port):
        pass
    ready = [line for line in broker.lines if "Streaming Server is ready" in line]
    assert len(ready) == 1


def test_log_lines_have_the_known_form(stored):
    for line in stored.lines:
        assert re.match(r"\[\d+\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} \[(INF|WRN|DBG|ERR|FTL|TRC)\] ", line), line
    assert str(stored.process.pid) in stored.lines[0]


def test_the_limits_are_printed_at_start():
    with BrokerProcess("-mc", "0", "-mm", "3", "-ma", "1h") as broker:
        assert re.search(r"STREAM: Channels: +unlimited$", broker.log, re.M)
        assert re.search(r"STREAM:   Messages     : +3$", broker.log, re.M)
        assert re.search(r"STREAM:   Bytes        : +976.56 MB \*$", broker.log, re.M)
        assert re.search(r"STREAM:   Age          : +1h0m0s$", broker.log, re.M)
        assert re.search(r"STREAM:   Subscriptions: +1000 \*$", broker.log, re.M)


def test_the_memory_store_warns_that_messages_end_with_the_process(broker):
    warnings = [line for line in broker.lines if "[WRN]" in line]
    assert any("memory" in line.lower() for line in warnings), broker.log


def test_a_sync_that_is_not_the_default_is_warned_about():
    for flags in (["--sync", "never"], ["--sync", "interval=100ms"], ["-file_sync=false"]):
        with BrokerProcess(*flags, store="file") as broker:
            assert any("[WRN]" in line and "sync" in line.lower() for line in broker.lines), broker.log
            with StreamingClient(broker) as client:
                client.store("a", 3)
    with BrokerProcess(store="file") as broker:
        assert not any("[WRN]" in line and "sync" in line.lower() and "network" not in line for line in broker.lines)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 0), (signal.SIGTERM, 0)])
def test_a_signal_stops_it_cleanly(stored, number, code):
    with StreamingClient(stored) as client:
        client.store("a", 10)
        assert stored.terminate(number) == code


def test_the_signal_for_a_lame_duck_has_no_effect_but_a_line(broker):
    broker.process.send_signal(signal.SIGUSR2)
    broker.wait_for_line(r"\[WRN\].*no lame duck mode")
    with StreamingClient(broker) as client:
        client.store("a", 3)


def test_two_flags_or_one_and_values_in_either_way():
    with BrokerProcess("--max_channels=2", "-SDV=false", "--hb_interval", "5s") as broker:
        assert broker.monitor("/streaming/storez")["limits"]["max_channels"] == 2


@pytest.mark.parametrize("value, expected", [("1KB", 1024), ("1k", 1000), ("2mb", 2 * 1024 * 1024), ("3", 3)])
def test_sizes(value, expected):
    with BrokerProcess("-mb", value) as broker:
        assert broker.monitor("/streaming/storez")["limits"]["max_bytes"] == expected


@pytest.mark.parametrize("arguments, text", [
    (["-nosuch"], "flag provided but not defined: -nosuch"),
    (["-hbi", "5"], 'invalid value "5" for flag -hbi: parse error'),
    (["-SDV=maybe"], 'invalid boolean value "maybe" for -SDV: parse error'),
    (["-p"], "flag needs an argument: -p"),
    (["-p", "abc"], 'invalid value "abc" for flag -p: parse error'),
])
def test_a_bad_flag_is_named_and_ends_it_with_2(arguments, text):
    result = run(*arguments)
    assert result.returncode == 2 and text in result.stderr, (result.returncode, result.stderr)


def test_a_bad_size_is_named():
    result = run("-mb", "1xb", "-st", "memory")
    assert result.returncode in (1, 2) and "1xb" in result.stderr


def test_an_unknown_store_type_is_fatal():
    result = run("-st", "cloud")
    assert result.returncode == 1 and "unsupported store type: cloud" in result.stderr.lower(), result.stderr


def test_help_and_version():
    for word in ("-h", "--help", "help"):
        result = run(word)
        assert result.returncode == 0 and "-cid" in result.stdout + result.stderr or "cluster_id" in result.stdout, word
    for word in ("-v", "--version", "version"):
        result = run(word)
        assert result.returncode == 0 and re.search(r"\d+\.\d+", result.stdout), word


def test_an_unknown_word_is_an_error():
    result = run("dance")
    assert result.returncode != 0 and "dance" in result.stderr


@pytest.mark.parametrize("flags", [
    ["-c", "x.conf"], ["-sc", "x.conf"], ["--ft_group", "g"], ["--clustered"], ["--encrypt"],
    ["--encryption_key", "k"], ["--tls"], ["--tlscert", "c"], ["-st", "sql"], ["-ns", "nats://127.0.0.1:4222"], ["-js"],
])
def test_what_is_not_built_is_refused_with_a_sentence(flags, tmp_path):
    result = run("-p", str(free_port()), *flags, cwd=tmp_path)
    assert result.returncode not in (0, None)
    assert len(result.stderr.strip()) > 20 and flags[0].lstrip("-") in result.stderr, result.stderr


def test_flags_that_only_tune_the_original_s_files_are_accepted_with_one_warning():
    with BrokerProcess("-file_compact_frag", "40", "--file_buffer_size", "1MB", "-file_fds_limit=5") as broker:
        lines = [line for line in broker.lines if "file_compact_frag" in line]
        assert len(lines) == 1 and "[WRN]" in lines[0] and "file_buffer_size" in lines[0], broker.log


def test_a_port_in_use_is_fatal(broker):
    result = run("-p", str(broker.port), "-a", "127.0.0.1", "-st", "memory")
    assert result.returncode == 1 and "[FTL]" in result.stderr, result.stderr
    assert str(broker.port) in result.stderr


def test_an_address_that_is_none_is_fatal():
    result = run("-p", str(free_port()), "-a", "no.such.host.invalid", "-st", "memory")
    assert result.returncode == 1 and "[FTL]" in result.stderr, result.stderr
    assert "no.such.host.invalid" in result.stderr and "there is no such host" in result.stderr


def test_a_random_port_is_reported_and_usable(tmp_path):
    broker = BrokerProcess("--ports_file_dir", str(tmp_path), wait=False)
    broker.close()
    broker.port = -1
    with broker:
        broker.start()
        line = broker.wait_for_line("Listening for client connections on")
        broker.port = int(line.rsplit(":", 1)[1])
        assert broker.port > 0
        with StreamingClient(broker) as client:
            client.store("a", b"1")


def test_another_cluster_id_on_the_same_directory_is_fatal(tmp_path):
    directory = str(tmp_path / "data")
    with BrokerProcess(store="file", directory=directory, cluster="one"):
        pass
    second = BrokerProcess(store="file", directory=directory, cluster="two", wait=False)
    assert second.wait_exit() == 1
    assert 'cluster ID "two" does not match recovered value of "one"' in second.log
    second.close()


def test_start_up_says_what_was_recovered(stored):
    assert "No recovered state" in stored.log
    with StreamingClient(stored) as client:
        for name in "abc":
            client.store(name, b"1")
    stored.restart()
    assert "Recovered 3 channel(s)" in stored.log


def test_the_broker_says_how_many_files_it_may_open(broker):
    assert re.search(r"\b\d{3,}\b.*(files|descriptors)|(files|descriptors).*\b\d{3,}\b", broker.log), broker.log


def test_streaming_works_with_credentials_on():
    with BrokerProcess("--user", "joe", "--pass", "s3cret") as broker:
        with NATSSocket(broker.port, user="joe", **{"pass": "s3cret"}) as connection:
            import streaming_pb2 as pb
            connection.subscribe("_INBOX.x")
            connection.publish(f"_STAN.discover.{broker.cluster}", pb.ConnectRequest(
                clientID="c", heartbeatInbox="_INBOX.h").SerializeToString(), "_INBOX.x")
            answer = pb.ConnectResponse.FromString(connection.next().data)
            assert answer.error == "" and answer.pubPrefix
        assert "s3cret" not in broker.log


def test_connections_are_not_hindered_by_a_streaming_load(broker):
    with StreamingClient(broker) as client, NATSSocket(broker.port) as plain:
        for _ in range(3000):
            client.publish_async("a", b"x" * 500)
        plain.subscribe("p")
        plain.publish("p", b"1")
        assert plain.fence()[0].data == b"1"
        client.pump(lambda: len(client.acks) == 3000, "the acks")
