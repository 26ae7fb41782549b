"""`make up`: what it prints works, and Ctrl-C leaves nothing."""

import os
import re
import signal
import subprocess
import threading

import requests
from broker_process import PATIENCE, wait_until
from postgres_cluster import ROOT


def descendants(pid):
    """All processes below one, as `ps` shows them."""
    rows = [line.split(None, 2) for line in
            subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True).stdout.splitlines()]
    found, parents = {}, {pid}
    while True:
        more = {int(row[0]): row[2] for row in rows if int(row[1]) in parents and int(row[0]) not in found}
        if not more:
            return found
        found |= more
        parents |= set(more)


def test_what_it_prints_works_and_it_leaves_nothing():
    process = subprocess.Popen([f"{ROOT}/Tests/Services/Backend/up"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, start_new_session=True)
    text = []
    reader = threading.Thread(target=lambda: text.extend(iter(process.stdout.readline, "")), daemon=True)
    reader.start()
    try:
        wait_until(lambda: process.poll() is not None or "Ctrl-C stops everything.\n" in text, "it is up")
        said = "".join(text)
        token = re.search(r"^export TOKEN=(\S+)$", said, re.MULTILINE)[1]
        curl = re.search(r"^curl .*$", said, re.MULTILINE)[0]
        made = subprocess.run(["bash", "-c", f"{curl} -s"], env=os.environ | {"TOKEN": token}, capture_output=True, text=True)
        assert '"name":"My first board"' in made.stdout, made
        other = requests.get(re.search(r"http://\S+/local/token\?name=Bob", said)[0], timeout=PATIENCE).json()
        url = re.search(r"^users +(\S+)", said, re.MULTILINE)[1]
        me = requests.get(f"{url}/me", headers={"Authorization": f"Bearer {other['token']}"}, timeout=PATIENCE)
        assert me.status_code == 200 and me.json()["firstName"] == "Bob"
        started = descendants(process.pid)
        assert {"users", "projects", "broker"} <= {os.path.basename(line.split()[0]) for line in started.values()}
        # As a terminal does: to every process of the group.
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE) == 0, "".join(text)
        alive = lambda: [pid for pid in started if os.path.exists(f"/proc/{pid}")]
        wait_until(lambda: not alive(), "all processes have ended")
        directories = set(re.findall(r"/\S+/devpie-postgres-\w+", " ".join(started.values())))
        wait_until(lambda: not any(os.path.exists(directory) for directory in directories), f"{directories} are removed")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join(PATIENCE)
