"""Requests per second and latency of two routes with 64 connections (wrk), against the same SQL by pgbench on the same
server in the same run; the lag from a response to the copy in the other service; the peak memory of each service.

The SQL is not written here: it is what the service itself sends for one request, read from the server's log."""

import argparse
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import psycopg
from backend import Backend
from broker_process import wait_until
from postgres_cluster import PostgresCluster

CONNECTIONS, THREADS = 64, 2
#: Connections of the services' pool (API_DB_POOL_SIZE), and pgbench's clients.
POOL = 10
TASKS = 128  # for each of wrk's threads, so that no task is moved twice at once
SCRIPTS = 100  # of pgbench, each for a task of its own

MOVE = """
local tasks = {%s}
local threads, count = 0, 0
function setup(thread) thread:set("number", threads); threads = threads + 1 end
function init() wrk.method = "PATCH"; wrk.headers["Content-Type"] = "application/json" end
function request()
  local task = tasks[number * %d + count %% %d + 1]
  local there = math.floor(count / %d) %% 2 == 0
  count = count + 1
  local from, to = there and task[2] or task[3], there and task[3] or task[2]
  return wrk.format(nil, "/api/v1/projects/tasks/" .. task[1] .. "/move", nil,
    '{"from":"' .. from .. '","to":"' .. to .. '"}')
end
"""


def wrk(url, token, seconds, script=None):
    """Requests/s, and p50 and p99 in ms."""
    command = ["wrk", "-t", str(THREADS), "-c", str(CONNECTIONS), "-d", f"{seconds}s", "--latency", "-H",
               f"Authorization: Bearer {token}"]
    if script:
        command += ["-s", script]
    text = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: (.*)", text)
    sent = int(re.search(r"(\d+) requests in", text)[1])
    # A move may lose against another one of the same column (409); more than one in a thousand is another work.
    if errors or bad and int(bad[1]) * 1000 > sent:
        raise SystemExit(f"{url}: no result, as wrk says: {bad[0] if bad else ''} {errors[0] if errors else ''}")
    milliseconds = lambda value, unit: float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
    p50, p99 = (milliseconds(*re.search(rf"^ +{part}% +([\d.]+)(us|ms|s)$", text, re.MULTILINE).groups()) for part in (50, 99))
    return float(re.search(r"Requests/sec: +([\d.]+)", text)[1]), p50, p99


class Statements:
    """What a service sends to its database for a request, with the values in the place of the parameters."""

    def __init__(self, cluster, database):
        self.cluster, self.database = cluster, database
        self.log = f"{cluster.directory}/data/log"

    def of(self, request):
        with psycopg.connect(self.cluster.url("postgres"), autocommit=True) as connection:
            for setting in (f"ALTER DATABASE {self.database} SET log_min_duration_statement = 0",
                            "ALTER SYSTEM SET log_line_prefix = '%d %p %v|'", "SELECT pg_reload_conf()"):
                connection.execute(setting)
            # Settings of a database are for new sessions.
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (self.database,))
            wait_until(lambda: request() in (200, 201), "the service is connected again")
            request()
            start = os.path.getsize(self.log)
            assert request() in (200, 201)
            connection.execute(f"ALTER DATABASE {self.database} RESET log_min_duration_statement")
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (self.database,))
        wait_until(lambda: request() in (200, 201), "the service is connected again")
        with open(self.log, encoding="utf-8", errors="replace") as file:
            file.seek(start)
            return self.statements(file.read())

    def statements(self, text):
        found = []
        for entry in re.split(rf"^(?={self.database} |\S+ \d+ \S*\|)", text, flags=re.MULTILINE):
            head = re.match(rf"{self.database} (\d+) \S*\|LOG:  duration: [\d.]+ ms +(statement|execute [^:]+): (.*)", entry, re.DOTALL)
            detail = re.match(rf"{self.database} (\d+) \S*\|DETAIL:  [Pp]arameters: (.*)", entry, re.DOTALL)
            if head:
                found.append([head[1], head[3].strip()])
            elif detail and found and found[-1][0] == detail[1]:
                values = dict(re.findall(r"\$(\d+) = ('(?:[^']|'')*'|NULL)", detail[2]))
                found[-1][1] = re.sub(r"\$(\d+)\b", lambda one: values[one[1]], found[-1][1])
        background = re.compile(r"outbox|inbox|parked|pg_notify|^\s*(un)?listen|advisory|select true|select 1\b", re.IGNORECASE)
        return [re.sub(r"\s+", " ", sql) for _, sql in found if not background.search(sql)]


def pgbench(cluster, database, scripts, seconds):
    """Transactions/s and the average latency in ms of scripts in equal shares."""
    with tempfile.TemporaryDirectory() as directory:
        arguments = []
        for number, statements in enumerate(scripts):
            path = os.path.join(directory, f"{number}.sql")
            with open(path, "w", encoding="utf-8") as file:
                # pgbench takes `:name` for a variable, but not `::type`.
                file.write("".join(statement.rstrip(";") + ";\n" for statement in statements))
            arguments += ["-f", path]
        ended = subprocess.run(
            [f"{cluster.binaries}/pgbench", "-n", "-M", "prepared", "-h", "127.0.0.1", "-p", str(cluster.port), "-U", "postgres",
             "-c", str(POOL), "-j", "2", "-T", str(seconds), *arguments, database],
            capture_output=True, text=True, env=os.environ | {"PGPASSWORD": "postgres"})
        if ended.returncode != 0:
            raise RuntimeError(ended.stderr)
        return float(re.search(r"tps = ([\d.]+)", ended.stdout)[1])


def compare(name, rounds, requests, statements):
    """Both in turn, each first in every second round: medians, that of the rounds' ratios among them."""
    served, rates = [], []
    for number in range(rounds):
        for measure, into in [(requests, served), (statements, rates)][::-1 if number % 2 else 1]:
            into.append(measure())
    ratios = [one[0] / rate for one, rate in zip(served, rates)]
    throughput, p50, p99 = (statistics.median(values) for values in zip(*served))
    print(f"{name:18} {throughput:8.0f} requests/s   p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   "
          f"pgbench {statistics.median(rates):8.0f}/s   ratio {statistics.median(ratios):.2f} (wanted 0.50; of each round: "
          f"{', '.join(f'{ratio:.2f}' for ratio in ratios)})", flush=True)


def routes(cluster, backend, ann, seconds, rounds):
    database = backend.projects_db.name
    service = backend.services["projects"]
    statements = Statements(cluster, database)
    reader = backend.person("Reader")
    for number in range(10):
        reader.project(f"Project {number}")
    sql = statements.of(lambda: reader.get("projects").status)
    print(f"GET projects sends {len(sql)} statements: {'; '.join(line[:70] for line in sql)}")
    compare("GET projects", rounds, lambda: wrk(f"{service.url}/api/v1/projects", reader.token, seconds),
            lambda: pgbench(cluster, database, [sql], seconds))

    made = []
    for number in range(TASKS * THREADS + SCRIPTS):
        project = ann.project(f"Move {number}")
        columns = ann.columns(project)
        made.append((ann.task(project, columns[0])["id"], columns[0]["id"], columns[1]["id"]))
    tasks, others = made[SCRIPTS:], made[:SCRIPTS]
    sent = []

    def move():
        """There and back, in turn."""
        task, here, there = tasks[0]
        if len(sent) % 2:
            here, there = there, here
        status = ann.patch(f"projects/tasks/{task}/move", {"from": here, "to": there}).status
        if status == 200:
            sent.append(task)
        return status

    sql = statements.of(move)
    if len(sent) % 2:
        move()
    print(f"PATCH task move sends {len(sql)} statements: {'; '.join(line[:70] for line in sql)}")
    # The same transaction for other tasks, which wrk leaves alone: ids are exchanged.
    scripts = []
    for task in others:
        changed = sql
        for old, new in zip(tasks[0], task):
            changed = [line.replace(old, new) for line in changed]
        old_project, new_project = (backend.projects_db.value("SELECT project_id FROM tasks WHERE task_id = %s", one[0])
                                    for one in (tasks[0], task))
        scripts.append([line.replace(old_project, new_project) for line in changed])

    def is_back(task, here, there):
        """Sees to it too. A request that wrk has left behind may still move it."""
        column = backend.projects_db.value("SELECT column_id FROM columns WHERE %s = ANY(task_ids)", task)
        if column == there:
            ann.patch(f"projects/tasks/{task}/move", {"from": there, "to": here})
        return column == here

    def moves():
        measured = wrk(service.url, ann.token, seconds, script.name)
        wait_until(lambda: all([is_back(*task) for task in tasks]), "the tasks are back where the next run begins", 30)
        return measured

    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(MOVE % (",".join('{"%s","%s","%s"}' % task for task in tasks), TASKS, TASKS, TASKS))
        script.flush()
        compare("PATCH task move", rounds, moves, lambda: pgbench(cluster, database, scripts, seconds))


def lag(backend, ann, seconds, rate=200, workers=4):
    """From the response to the copy of it or of a later state, which an older event does not overwrite: a trigger in the
    other service's database tells of each copy."""
    count = int(seconds * rate / workers)
    projects = [ann.project(f"Lag {number}") for number in range(workers)]
    backend.wait_equal()
    backend.users_db.run("""
        CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN PERFORM pg_notify('copied', NEW.description); RETURN NEW; END $$;
        CREATE TRIGGER tell AFTER UPDATE ON projects FOR EACH ROW EXECUTE FUNCTION tell()""")
    copied, answered = {}, {}
    listening, finished = threading.Event(), threading.Event()

    def listen():
        with psycopg.connect(backend.cluster.url(backend.users_db.name), autocommit=True) as connection:
            connection.execute("LISTEN copied")
            listening.set()
            while not finished.is_set():
                for notice in connection.notifies(timeout=0.2):
                    copied[notice.payload] = time.monotonic()

    def write(worker):
        begins = time.monotonic()
        for number in range(count):
            threading.Event().wait(max(0, begins + number * workers / rate - time.monotonic()))
            text = f"{worker}-{number}"
            ann.patch(f"projects/{projects[worker]['id']}", {"description": text}, expect=200)
            answered[text] = time.monotonic()

    listener = threading.Thread(target=listen)
    listener.start()
    listening.wait()
    writers = [threading.Thread(target=write, args=(worker,)) for worker in range(workers)]
    began = time.monotonic()
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    took = time.monotonic() - began
    try:
        wait_until(lambda: all(f"{worker}-{count - 1}" in copied for worker in range(workers)), "the last copies", 30)
    finally:
        finished.set()
        listener.join()
    lags = []
    for worker in range(workers):
        arrived = math.inf
        for text in (f"{worker}-{number}" for number in reversed(range(count))):
            arrived = min(arrived, copied.get(text, math.inf))
            lags.append(max(0.0, arrived - answered[text]) * 1000)
    lags.sort()
    print(f"event lag          {len(lags) / took:8.0f} writes/s     p50 {statistics.median(lags):6.2f} ms   "
          f"p99 {lags[int(len(lags) * 0.99)]:6.2f} ms (wanted 50)   max {lags[-1]:6.2f} ms   "
          f"overtaken by a later one: {len(answered) - len(copied)}", flush=True)


def peak(process):
    with open(f"/proc/{process.process.pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) / 1024


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=int, default=10, help="of each measurement")
    arguments.add_argument("--scenario", choices=["routes", "lag"], help="only one of them")
    arguments.add_argument("--rounds", type=int, default=5, help="of each route against pgbench")
    options = arguments.parse_args()
    quiet = {"API_LOG_LEVEL": "warning", "API_DB_POOL_SIZE": str(POOL)}
    with PostgresCluster(durable=True) as cluster, Backend(cluster, settings=quiet) as backend:
        ann = backend.person("Ann")
        if options.scenario != "lag":
            routes(cluster, backend, ann, options.seconds, options.rounds)
        if options.scenario != "routes":
            lag(backend, ann, options.seconds)
        for name, service in backend.services.items():
            print(f"peak memory        {name:10} {peak(service):6.1f} MB (wanted 100)")
    return 0


sys.exit(main())
