"""Runs the checks of checks.c (libnats, C), each against a broker of its own."""

import os
import subprocess

import pytest

from broker_process import PATIENCE, BrokerProcess, wait_until

here = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.join(os.environ.get("GENERATED", os.path.join(here, "../../../.build/conformance")), "libnats-checks")


def checks():
    for line in subprocess.run([PROGRAM, "--list"], capture_output=True, text=True, check=True).stdout.splitlines():
        name, store, flags = line.split("\t")
        yield pytest.param(name, store, flags.split(), id=name)


@pytest.mark.parametrize("name, store, flags", list(checks()))
def test_libnats(name, store, flags):
    with BrokerProcess(*flags, store=store) as broker:
        program = subprocess.Popen([PROGRAM, name, broker.url, broker.cluster], text=True, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            for line in program.stdout:
                if line.strip() == "RESTART":
                    broker.restart(hard=True)
                elif line.strip() == "HEARTBEATS":
                    # Nothing but heartbeats goes to and fro now, each sent when the one before was answered.
                    sent = broker.monitor("/varz")["out_msgs"]
                    wait_until(lambda: broker.monitor("/varz")["out_msgs"] >= sent + 5, "five heartbeats")
                else:
                    raise AssertionError(f"what is {line!r}?")
                program.stdin.write("go on\n")
                program.stdin.flush()
            code = program.wait(PATIENCE * 3)
            assert code == 0, program.stderr.read()
        finally:
            if program.poll() is None:
                program.kill()
                program.wait()
            for stream in (program.stdin, program.stdout, program.stderr):
                stream.close()
