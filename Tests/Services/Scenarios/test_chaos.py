"""Services and broker are killed at random under load; in the end every copy equals its source, nothing is lost and nothing
is doubled. `make chaos DURATION=60 SEED=…` is the long run; the seed says who is killed when, and what is asked for."""

import collections
import os
import random
import threading
import time

import requests
from broker_process import wait_until
from event import CHANNELS, LISTENS

SECONDS = float(os.environ.get("CHAOS_SECONDS") or 10)
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))


class Worker:
    """A person who keeps working, and remembers what was answered. What got no answer may or may not have happened."""

    def __init__(self, backend, number):
        self.random = random.Random(f"{SEED}/{number}")
        self.person, self.friend = backend.person(f"Worker{number}"), backend.person(f"Friend{number}")
        #: {project id: {field: value that was acknowledged, or None when a later change got no answer}}
        self.projects = {}
        self.tasks = collections.defaultdict(set)
        self.deleted, self.unsure = set(), set()
        self.teams = {}
        self.answers = collections.Counter()
        self.failures = []

    def ask(self, method, path, body=None):
        """The JSON of a success, False for a refusal, None when nobody knows."""
        try:
            reply = self.person.request(method, path, body)
        except requests.RequestException:
            self.answers["no answer"] += 1
            return None
        self.answers[reply.status] += 1
        if reply.status >= 500:
            return None
        if reply.status >= 400:
            return False
        return reply.json if reply.json is not None else True

    def step(self):
        kinds = ["create", "change", "change", "change", "task", "task", "move", "team", "delete"]
        kind = self.random.choice(kinds if self.projects else ["create"])
        project_id = self.random.choice(list(self.projects)) if self.projects else None
        getattr(self, kind)(project_id)

    def create(self, _):
        made = self.ask("POST", "projects", {"name": f"P{self.random.randrange(10**6)}"})
        if made:
            self.projects[made["id"]] = {"name": made["name"], "description": ""}

    def change(self, project_id):
        field = self.random.choice(["name", "description"])
        value = f"V{self.random.randrange(10**6)}"
        done = self.ask("PATCH", f"projects/{project_id}", {field: value})
        if done is False:
            self.failures.append(f"change of {project_id} was refused")
        self.projects[project_id][field] = value if done else None

    def task(self, project_id):
        columns = self.ask("GET", f"projects/{project_id}/columns")
        if columns:
            made = self.ask("POST", f"projects/{project_id}/columns/{self.random.choice(columns)['id']}/tasks", {"title": "T"})
            if made:
                self.tasks[project_id].add(made["id"])

    def move(self, project_id):
        columns = self.ask("GET", f"projects/{project_id}/columns")
        for column in columns or []:
            if column["taskIds"]:
                target = self.random.choice(columns)
                self.ask("PATCH", f"projects/tasks/{self.random.choice(column['taskIds'])}/move",
                         {"from": column["id"], "to": target["id"]})
                return

    def team(self, project_id):
        made = self.ask("POST", "users/teams", {"name": f"T{self.random.randrange(10**6)}", "projectId": project_id})
        if not made:
            return
        self.teams[made["id"]] = project_id
        self.ask("POST", f"users/teams/{made['id']}/invites", {"emailList": [self.friend.email]})
        try:
            for invite in self.friend.get("users/teams/invites", expect=200):
                self.friend.patch(f"users/teams/{invite['teamId']}/invites/{invite['id']}",
                                  {"accepted": self.random.random() < 0.8})
        except (requests.RequestException, AssertionError):
            self.answers["no answer"] += 1

    def delete(self, project_id):
        done = self.ask("DELETE", f"projects/{project_id}")
        if done is False:
            self.failures.append(f"deletion of {project_id} was refused")
        (self.deleted if done else self.unsure).add(project_id)
        del self.projects[project_id]


def strike(backend, seconds):
    """Ends one process after another, and starts it again: by the seed alone."""
    chance = random.Random(f"{SEED}/strike")
    pause = threading.Event()
    ends = time.monotonic() + seconds
    strikes = collections.Counter()
    while time.monotonic() < ends:
        pause.wait(chance.uniform(0.2, 1.5))
        name = chance.choice(["users", "projects", "broker"])
        process = backend.broker if name == "broker" else backend.services[name]
        hard = chance.random() < 0.8
        process.kill() if hard else process.terminate()
        strikes[name, "killed" if hard else "stopped"] += 1
        pause.wait(chance.choice([0, 0, 0.3, 1]))
        process.start(wait=False)
        process.wait_ready()
    return strikes


def test_chaos(start):
    replay = f"make chaos DURATION={SECONDS:g} SEED={SEED}"
    print(f"\nchaos: {replay}")
    backend = start()
    workers = [Worker(backend, number) for number in range(3)]
    stopping = threading.Event()

    def work(worker):
        while not stopping.is_set():
            worker.step()
            stopping.wait(0.01)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        strikes = strike(backend, SECONDS)
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    answers = sum((worker.answers for worker in workers), collections.Counter())
    print(f"chaos: {dict(strikes)}; answers {dict(answers)}")
    try:
        assert answers[200] + answers[201] > 50, answers
        verify(backend, workers)
    except AssertionError as failure:
        raise AssertionError(f"{failure}\nreplay with: {replay}") from failure


def verify(backend, workers):
    backend.wait_equal(90)
    assert not [failure for worker in workers for failure in worker.failures]
    # What was acknowledged is there.
    rows = {row[0]: {"name": row[1], "description": row[2]}
            for row in backend.projects_db.rows("SELECT project_id, name, description FROM projects")}
    for worker in workers:
        for project_id, fields in worker.projects.items():
            found = rows[project_id]
            assert all(value is None or found[field] == value for field, value in fields.items()), (project_id, found, fields)
        assert not worker.deleted & rows.keys()
        for project_id, tasks in worker.tasks.items():
            stored = {row[0] for row in backend.projects_db.rows("SELECT task_id FROM tasks WHERE project_id = %s", project_id)}
            assert project_id not in rows or tasks <= stored
    # Columns hold each task of their project exactly once.
    held = [tuple(row) for row in backend.projects_db.rows("SELECT project_id, unnest(task_ids) FROM columns")]
    stored = [tuple(row) for row in backend.projects_db.rows("SELECT project_id, task_id FROM tasks")]
    assert sorted(held) == sorted(stored)
    # Every event of an outbox is on its channel, and took effect once where it is listened to.
    published = {}
    for name, database in backend.databases.items():
        for event_id, channel in database.rows("SELECT event_id, channel FROM outbox"):
            published[event_id] = (name, channel)
    found = {event["id"]: channel for channel in CHANNELS for event in backend.events(channel)}
    assert found == {event_id: channel for event_id, (_, channel) in published.items()}
    for name, database in backend.databases.items():
        foreign = {event_id for event_id, (source, channel) in published.items()
                   if source != name and channel in LISTENS[name]}
        handled = {row[0] for row in database.rows("SELECT event_id FROM inbox")}
        assert handled - set(own for own, (source, _) in published.items() if source == name) == foreign
        assert database.value("SELECT count(*)::int FROM parked") == 0
        # A message that nobody may apply: a team for a project that was deleted or given away in between.
        reasons = [row[0] for row in database.rows("SELECT reason FROM dead_letters")]
        assert reasons == [], reasons
    mails = lambda: {row[0] for row in backend.users_db.rows("SELECT DISTINCT state FROM mail_outbox")}
    assert "failed" not in mails()
    # A mail whose process was killed is taken up by the next when its lease ends, after five minutes (MailOutbox.swift).
    if SECONDS >= 60:
        wait_until(lambda: mails() <= {"sent", "withdrawn"}, lambda: f"every mail is sent: {mails()}", 300 + 120)
    assert backend.outside.violations == []
