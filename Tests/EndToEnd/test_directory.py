"""Data directories as life makes them: torn, damaged, in use, foreign, read-only, full."""

import glob
import os
import random
import shutil
import subprocess

import pytest

import streaming_pb2 as pb
from broker_process import BROKER, PATIENCE, BrokerProcess, wait_until
from streaming_client import StreamingClient


@pytest.fixture
def directory(tmp_path):
    return str(tmp_path / "data")


def crc32c(data):
    """CRC-32C (Castagnoli), bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def refused(directory, *flags, **options):
    """Starts a broker that must not start; returns its log."""
    broker = BrokerProcess(*flags, store="file", directory=directory, wait=False, **options)
    code = broker.wait_exit()
    log = broker.log
    broker.close()
    assert code == 1, (code, log)
    assert "[FTL]" in log, log
    return log


def contents(directory):
    """Every file of a directory with its bytes."""
    found = {}
    for path in glob.glob(directory + "/**", recursive=True):
        if os.path.isfile(path):
            with open(path, "rb") as file:
                found[os.path.relpath(path, directory)] = file.read()
    return found


def journal_files(directory):
    return sorted(glob.glob(directory + "/journal/*.wal"))


def filled(directory, channel="a", count=200, size=100):
    """A store with `count` messages, each acknowledged by itself (so each in a frame of its own), then killed."""
    broker = BrokerProcess(store="file", directory=directory)
    payloads = [b"%d:" % number + bytes([number % 251]) * size for number in range(count)]
    with StreamingClient(broker, "filler") as client:
        for payload in payloads:
            assert client.publish(channel, payload).error == ""
        client.store("other", b"untouched")
    broker.kill()
    broker.close()
    return payloads


def written_end(path):
    """Offset behind the last byte of the file that is not zero."""
    with open(path, "rb") as file:
        return len(file.read().rstrip(b"\0"))


def newest_journal(directory):
    """The journal file that was written last: of those with frames, the one with the greatest name."""
    return [path for path in journal_files(directory) if written_end(path) > 64][-1]


def patch(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def messages(broker, channel, count):
    with StreamingClient(broker) as client:
        return client.subscribe(channel, start=pb.First, max_in_flight=16384).wait(count)


def test_garbage_behind_the_last_frame_is_cut_and_said(directory):
    payloads = filled(directory)
    path = newest_journal(directory)
    seed = random.randrange(1 << 30)
    print("seed", seed)
    end = (written_end(path) + 7) // 8 * 8
    patch(path, end, random.Random(seed).randbytes(300))
    with BrokerProcess(store="file", directory=directory) as broker:
        assert [m.data for m in messages(broker, "a", len(payloads))] == payloads
        with StreamingClient(broker) as client:
            client.store("a", b"after")
        broker.restart(hard=True)
        assert messages(broker, "a", len(payloads) + 1)[-1].data == b"after"


def test_a_torn_last_frame_is_cut_and_said(directory):
    payloads = filled(directory)
    path = newest_journal(directory)
    # As a power cut leaves it: the last frame's end never reached the disk.
    end = written_end(path)
    patch(path, end - 20, bytes(20))
    with BrokerProcess(store="file", directory=directory) as broker:
        assert [m.data for m in messages(broker, "a", len(payloads))] == payloads
        assert any(word in broker.log.lower() for word in ("tail", "torn", "cut")), broker.log
        broker.restart(hard=True)
        assert [m.data for m in messages(broker, "a", len(payloads))] == payloads


def test_a_damaged_middle_is_named_and_everything_else_is_served(directory):
    payloads = filled(directory)
    path = newest_journal(directory)
    with open(path, "rb") as file:
        data = file.read()
    at = data.index(payloads[100])
    patch(path, at + 20, bytes(b ^ 0x55 for b in data[at + 20:at + 60]))
    before = contents(directory)
    broker = BrokerProcess(store="file", directory=directory)
    with broker:
        with StreamingClient(broker) as client:
            subscription = client.subscribe("a", start=pb.First, max_in_flight=16384)
            client.pump(lambda: len(payloads) in subscription.sequences, "the newest message")
            got = {m.sequence: m.data for m in subscription.messages}
            assert 101 not in got, "a damaged message was served"
            lost = [n for n in range(1, len(payloads) + 1) if n not in got]
            assert lost == [101], f"damage in one frame took {lost}"
            assert all(got[n] == payloads[n - 1] for n in got)
            assert client.subscribe("other", start=pb.First).wait(1)[0].data == b"untouched"
            client.store("a", b"after")
            client.pump(lambda: len(payloads) + 1 in subscription.sequences, "a new message")
        log = broker.log
        assert os.path.basename(path) in log, log
        assert "101" in log and ('"a"' in log or "channel a" in log or " a " in log), log
        for hard in [False, True, None]:
            # It is ready, and shows the damage until it is repaired.
            health = broker.monitor("/healthz")
            assert health["status"] == "ok" and len(health["damage"]) == 1, health
            assert os.path.basename(path) in health["damage"][0], health
            assert 'channel "a" (1) sequences 101-101' in health["damage"][0], health
            page = broker.monitor("/streaming/channelsz?channel=a")
            assert page["lost"] == [{"first_seq": 101, "last_seq": 101}], page
            assert "lost" not in broker.monitor("/streaming/channelsz?channel=other")
            if hard is not None:
                broker.restart(hard=hard)
        shown = subprocess.run([BROKER, "channel", "info", "a", "--monitor",
                                f"http://127.0.0.1:{broker.monitoring_port}"], capture_output=True, text=True)
        assert "Lost:     101 (damaged on disk)" in shown.stdout, shown.stdout + shown.stderr
    after = contents(directory)
    name = os.path.relpath(path, directory)
    if name in after:
        assert before[name][at:at + 100] == after[name][at:at + 100], "damaged bytes are not overwritten"


def test_a_second_broker_on_the_directory_is_refused_and_the_first_goes_on(directory):
    with BrokerProcess(store="file", directory=directory) as first, StreamingClient(first) as client:
        client.store("a", b"1")
        log = refused(directory)
        assert directory in log and ("in use" in log or "locked" in log or "another" in log), log
        client.store("a", b"2")
        client.subscribe("a", start=pb.First).wait(2)


def test_a_newer_version_is_refused_untouched(directory):
    filled(directory, count=5)
    # `store`: magic (8 bytes), format version (u32, little endian), …, CRC-32C (u32) of all before it.
    path = os.path.join(directory, "store")
    with open(path, "rb") as file:
        store = file.read()
    assert store[8:12] == b"\1\0\0\0" and store[-4:] == crc32c(store[:-4]).to_bytes(4, "little")
    newer = store[:8] + b"\x63\0\0\0" + store[12:-4]
    patch(path, 0, newer + crc32c(newer).to_bytes(4, "little"))
    before = contents(directory)
    log = refused(directory)
    assert "99" in log and "version" in log, log
    assert contents(directory) == before


def test_a_nats_streaming_store_is_refused_with_a_sentence(directory):
    os.makedirs(directory)
    with open(os.path.join(directory, "server.dat"), "wb") as file:
        file.write(b"\x01\x00\x00\x00")
    log = refused(directory)
    assert "NATS Streaming" in log, log
    assert os.listdir(directory) == ["server.dat"], "the foreign directory was touched"


def test_a_path_that_is_a_file_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_text("not a directory")
    assert str(path) in refused(str(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to run the broker as another user")
def test_a_directory_that_cannot_be_written_stops_the_start(tmp_path):
    directory = tmp_path / "data"
    directory.mkdir(mode=0o555)
    for parent in [tmp_path, *tmp_path.parents]:
        if not os.stat(parent).st_mode & 0o001:
            os.chmod(parent, os.stat(parent).st_mode | 0o011)
    log = refused(str(directory), prefix=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    assert str(directory) in log, log
    assert any(word in log.lower() for word in ("permission", "written", "writable", "write")), log


def mounted(tmp_path, megabytes):
    """A small file system of its own: a loop-mounted ext4, or a size-limited tmpfs where loop devices are missing."""
    place, image = tmp_path / "small", tmp_path / "image"
    place.mkdir()
    with open(image, "wb") as file:
        file.truncate(megabytes << 20)
    if subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], capture_output=True).returncode == 0 and \
            subprocess.run(["mount", "-o", "loop", str(image), str(place)], capture_output=True).returncode == 0:
        return place
    tried = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)], capture_output=True,
                           text=True)
    if tried.returncode != 0:
        pytest.skip("neither a loop device nor a tmpfs can be mounted here: " + tried.stderr.strip())
    return place


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_full_disk_refuses_publishes_serves_readers_and_goes_on_when_there_is_space(tmp_path):
    place = mounted(tmp_path, 160)
    broker = None
    try:
        filler = place / "filler"
        broker = BrokerProcess("--journal-size", "32MB", "-mm", "0", "-mb", "0", store="file",
                               directory=str(place / "data"))
        with StreamingClient(broker) as client:
            client.store("a", b"first")
            room = shutil.disk_usage(place).free
            with open(filler, "wb") as file:
                block = bytes(1 << 20)
                for _ in range(max(0, (room >> 20) - 24)):
                    file.write(block)
                os.fsync(file.fileno())
            acknowledged, refused_by = 1, None
            payload = random.Random(1).randbytes(100_000)
            for _ in range(3000):
                ack = client.publish("a", payload)
                if ack.error:
                    refused_by = ack.error
                    break
                acknowledged += 1
            assert refused_by, "300 MB fit on a disk with 24 MB left"
            assert refused_by != "stan: invalid publish request", refused_by
            assert client.ping() == ""
            for page in ["/healthz", "/readyz"]:
                status, health = broker.http(page)
                assert status == 503 and "No space left" in health, (status, health)
            assert broker.http("/livez")[0] == 200
            got = client.subscribe("a", start=pb.First, durable="reader").wait(acknowledged)
            assert [m.sequence for m in got[:acknowledged]] == list(range(1, acknowledged + 1))
            os.remove(filler)

            def accepted():
                return client.publish("a", b"again").error == ""
            wait_until(accepted, "publishing to resume when there is space")
            assert broker.http("/healthz") == (200, '{"status":"ok"}')
            acknowledged += 1
            got = client.subscribe("a", start=pb.First).wait(acknowledged)
            assert [m.sequence for m in got] == list(range(1, len(got) + 1))
        broker.restart(hard=True)
        got = messages(broker, "a", acknowledged)
        assert [m.sequence for m in got] == list(range(1, acknowledged + 1))
        assert all(m.data == payload for m in got[1:-1])
    finally:
        if broker:
            broker.close()
        subprocess.run(["umount", "-l", str(place)], capture_output=True)


def test_starting_twice_without_a_write_changes_no_byte(directory):
    filled(directory, count=50)
    with BrokerProcess(store="file", directory=directory):
        pass
    first = contents(directory)
    with BrokerProcess(store="file", directory=directory):
        pass
    second = contents(directory)
    changed = [name for name in first.keys() | second.keys()
               if first.get(name) != second.get(name) and "lock" not in name.lower()]
    assert not changed, changed


def test_check_reads_a_whole_store_and_a_damaged_one(directory):
    payloads = filled(directory)
    before = contents(directory)
    result = subprocess.run([BROKER, "check", directory], capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == 0, result.stdout + result.stderr
    path = newest_journal(directory)
    assert contents(directory) == before, "check changes nothing"
    data = before[os.path.relpath(path, directory)]
    at = data.index(payloads[100])
    patch(path, at + 20, bytes(b ^ 0x55 for b in data[at + 20:at + 60]))
    result = subprocess.run([BROKER, "check", directory], capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode != 0, result.stdout
    assert os.path.basename(path) in result.stdout + result.stderr


def test_an_idle_directory_stays_small(directory):
    with BrokerProcess(store="file", directory=directory) as broker:
        with StreamingClient(broker) as client:
            client.store("a", 10)
        size = sum(os.stat(p).st_blocks * 512 for p in glob.glob(directory + "/**", recursive=True))
        assert size <= 80 << 20, f"{size >> 20} MiB for ten messages"
