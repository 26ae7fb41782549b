"""What comes on the channels: scenarios 25, 26, 28 and 30."""

import datetime
import itertools
import json
import os
import re
import subprocess
import uuid

import pytest
from broker_process import PATIENCE, wait_until
from event import (CHANNELS, LISTENS, MEMBERSHIP_CREATED, MEMBERSHIP_CREATED_FOR_PROJECT, MEMBERSHIP_DELETED,
                   MEMBERSHIP_UPDATED, PROJECT_CREATED, PROJECT_DELETED, PROJECT_UPDATED, envelope, go_time,
                   project_created, project_deleted, project_updated)
from postgres_cluster import ROOT
from service_process import BINARIES, CLUSTER_ID

MOMENT = datetime.datetime(2021, 5, 16, 20, 36, 42, 105449, datetime.timezone.utc)
LATER = MOMENT + datetime.timedelta(seconds=1)


@pytest.fixture
def alone(start):
    """A backend of the test's own, with Ann."""
    backend = start()
    backend.ann = backend.person("Ann")
    return backend


def sent(backend, channel):
    """Whether everything on a channel has been delivered at least once."""
    page = backend.broker.monitor(f"/streaming/channelsz?channel={channel}&subs=1")
    return all(subscription["last_sent"] == page["last_seq"] for subscription in page["subscriptions"])


def test_25_every_order_of_events_ends_the_same(alone):
    backend, ann = alone, alone.ann
    orders = list(itertools.permutations(["create", "update", "delete"])) + [("update", "create")]
    ids = [str(uuid.uuid4()) for _ in orders]
    for step in range(3):
        for order, project_id in zip(orders, ids):
            if step >= len(order):
                continue
            channel, payload = {
                "create": (PROJECT_CREATED, project_created(project_id, ann.user_id, moment=MOMENT)),
                "update": (PROJECT_UPDATED, project_updated(project_id, ann.user_id, LATER, name="Renamed")),
                "delete": (PROJECT_DELETED, project_deleted(project_id, ann.user_id))}[order[step]]
            backend.publish(channel, payload)
        for channel in (PROJECT_CREATED, PROJECT_UPDATED, PROJECT_DELETED):
            if backend.count(channel):
                wait_until(lambda: sent(backend, channel), f"{channel} is delivered")
    # projects does not know these projects: what it is told about their teams waits there.
    users = lambda: backend.users_db.value("SELECT count(*)::int FROM inbox")
    wait_until(lambda: users() == sum(len(order) for order in orders), "users has handled all")
    assert backend.users_db.rows("SELECT project_id, name FROM projects") == [(ids[-1], "Renamed")]
    assert {row[0] for row in backend.users_db.rows("SELECT id FROM tombstones")} == set(ids[:-1])
    assert backend.users_db.value("SELECT count(*)::int FROM dead_letters") == 0


def test_25_memberships_too(alone):
    backend, ann = alone, alone.ann
    orders = list(itertools.permutations(["create", "update", "delete"])) + [("update", "create")]
    ids = [str(uuid.uuid4()) for _ in orders]
    for step in range(3):
        for order, membership in zip(orders, ids):
            if step < len(order):
                channel, data = {
                    "create": (MEMBERSHIP_CREATED, {
                        "membershipId": membership, "teamId": ids[0], "userId": membership, "role": "editor",
                        "updatedAt": go_time(MOMENT), "createdAt": go_time(MOMENT)}),
                    "update": (MEMBERSHIP_UPDATED, {"membershipId": membership, "role": "viewer",
                                                    "updatedAt": go_time(LATER)}),
                    "delete": (MEMBERSHIP_DELETED, {"membershipId": membership})}[order[step]]
                backend.publish(channel, envelope(channel, data))
        for channel in (MEMBERSHIP_CREATED, MEMBERSHIP_UPDATED, MEMBERSHIP_DELETED):
            if backend.count(channel):
                wait_until(lambda: sent(backend, channel), f"{channel} is delivered")
    wait_until(backend.is_quiet, "all is handled")
    assert backend.projects_db.rows("SELECT membership_id, role::text FROM memberships") == [(ids[-1], "viewer")]
    assert backend.projects_db.value("SELECT count(*)::int FROM dead_letters") == 0


def test_26_everything_twice_changes_nothing(alone):
    backend, ann = alone, alone.ann
    bob = backend.person("Bob")
    first, second, third = (ann.project(name) for name in ("First", "Second", "Third"))
    team = ann.team(first)
    membership = ann.admit(team, bob)
    ann.post(f"users/teams/{team['id']}/project/{second['id']}", expect=200)
    ann.patch(f"projects/{first['id']}", {"name": "Renamed"}, expect=200)
    ann.patch(f"users/teams/{team['id']}/members/{membership['id']}", {"role": "viewer"}, expect=200)
    backend.wait_equal()
    bob.post(f"users/teams/{team['id']}/leave", expect=200)
    ann.delete(f"projects/{third['id']}", expect=200)
    backend.wait_equal()

    def tables():
        return [database.table(name, "1") for database, names in (
            (backend.users_db, ["users", "teams", "memberships", "invites", "projects", "tombstones", "dead_letters"]),
            (backend.projects_db, ["projects", "columns", "memberships", "tombstones", "dead_letters"])) for name in names]

    before = tables()
    recorded = {channel: backend.messages(channel) for channel in CHANNELS}
    assert all(recorded.values()), {channel: len(messages) for channel, messages in recorded.items()}
    for channel, messages in recorded.items():
        backend.publish(channel, *messages, *reversed(messages))
    wait_until(backend.is_quiet, "all is handled")
    assert tables() == before


GARBAGE = {
    "not JSON": b"{not json",
    "not an object": b"[1, 2]",
    "empty": b"",
    "data of a wrong type": lambda channel: envelope(channel, "text"),
    "without what it needs": lambda channel: envelope(channel, {"name": "x"}),
    "not UTF-8": b'{"id": "\xff\xfe"}',
    "a megabyte": b"\x00" * 1_000_000,
    "deep": b"[" * 100_000,
}


def test_28_what_cannot_be_read_is_kept_aside_and_the_rest_goes_on(alone):
    backend, ann = alone, alone.ann
    for channel in CHANNELS:
        for payload in GARBAGE.values():
            backend.publish(channel, payload(channel) if callable(payload) else payload)
    bad_time = project_created(str(uuid.uuid4()), ann.user_id).replace(b"+0000 UTC", b"o'clock")
    backend.publish(PROJECT_CREATED, bad_time)
    project = ann.project()
    backend.wait_copied(project["id"])
    ann.team(project)
    wait_until(backend.is_quiet, "all is acknowledged")
    for name, channels in LISTENS.items():
        rows = backend.databases[name].rows("SELECT channel, count(*)::int FROM dead_letters GROUP BY 1")
        extra = {PROJECT_CREATED: 1} if name == "users" else {}
        assert dict(rows) == {channel: len(GARBAGE) + extra.get(channel, 0) for channel in channels}
        assert all(reason for [reason] in backend.databases[name].rows("SELECT reason FROM dead_letters"))
        assert backend.services[name].process.poll() is None
    assert backend.users_db.value("SELECT payload FROM dead_letters WHERE payload = %s", bad_time) == bad_time
    backend.wait_equal()


def dead_letters(backend, name, *arguments):
    service = backend.services[name]
    return subprocess.run([os.path.join(BINARIES, name), "dead-letters", *arguments], env=service.environment,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE)


def test_28_dead_letters_are_listed_replayed_and_dropped(alone):
    backend, ann = alone, alone.ann
    backend.publish(PROJECT_CREATED, b"{not json", b"also not")
    backend.users_db.wait_value(2, "SELECT count(*)::int FROM dead_letters")
    listed = dead_letters(backend, "users", "list")
    assert listed.returncode == 0 and listed.stdout.count(PROJECT_CREATED) == 2, listed
    # What was unreadable is repaired by hand, and then read.
    project_id = str(uuid.uuid4())
    backend.users_db.run("UPDATE dead_letters SET payload = %s WHERE sequence = 1", project_created(project_id, ann.user_id))
    replayed = dead_letters(backend, "users", "replay", f"{PROJECT_CREATED}/1")
    assert replayed.returncode == 0, replayed
    backend.wait_copied(project_id)
    backend.users_db.wait_value(1, "SELECT count(*)::int FROM dead_letters")
    dropped = dead_letters(backend, "users", "drop", f"{PROJECT_CREATED}/2")
    assert dropped.returncode == 0, dropped
    assert backend.users_db.value("SELECT count(*)::int FROM dead_letters") == 0
    for wrong in (["replay", f"{PROJECT_CREATED}/99"], ["replay", "nothing"], ["bury"]):
        ended = dead_letters(backend, "users", *wrong)
        assert ended.returncode != 0 and ended.stderr + ended.stdout, ended


def test_30_events_of_the_original_are_understood(alone):
    backend, ann = alone, alone.ann
    project_id, team_id, membership_id = (str(uuid.uuid4()) for _ in range(3))
    read_back = go_time(MOMENT, zone="+0000")
    backend.publish(PROJECT_CREATED, project_created(project_id, ann.user_id, updatedAt=read_back, createdAt=read_back,
                                                     columnOrder=None, unknown="field"))
    backend.wait_copied(project_id)
    assert backend.users_db.rows("SELECT created_at, updated_at, column_order FROM projects WHERE project_id = %s",
                                 project_id) == [(MOMENT.replace(tzinfo=None), MOMENT.replace(tzinfo=None), [])]
    # TypeScript's order of the keys, another zone, and RFC 3339.
    later = {"id": str(uuid.uuid4()), "type": PROJECT_UPDATED, "metadata": {"traceId": str(uuid.uuid4()), "userId": ann.user_id},
             "data": {"projectId": project_id, "name": "Zoned", "updatedAt": "2021-05-16 22:36:43.5 +0200 CEST"}}
    backend.publish(PROJECT_UPDATED, json.dumps(later).encode())
    backend.users_db.wait_value("Zoned", "SELECT name FROM projects WHERE project_id = %s", project_id)
    backend.publish(PROJECT_UPDATED, project_updated(project_id, ann.user_id, updatedAt="2021-05-16T20:36:44Z", active=False))
    backend.users_db.wait_value(False, "SELECT active FROM projects WHERE project_id = %s", project_id)
    # Older than what is there.
    backend.publish(PROJECT_UPDATED, project_updated(project_id, ann.user_id, MOMENT, name="Stale"))
    backend.publish(MEMBERSHIP_CREATED, envelope(MEMBERSHIP_CREATED, {
        "membershipId": membership_id, "teamId": team_id, "userId": ann.user_id, "role": "editor",
        "updatedAt": read_back, "createdAt": read_back}))
    backend.projects_db.wait_value(MOMENT.replace(tzinfo=None), "SELECT created_at FROM memberships WHERE membership_id = %s",
                                   membership_id)
    wait_until(lambda: sent(backend, PROJECT_UPDATED), "the stale update was delivered")
    assert backend.users_db.value("SELECT name FROM projects WHERE project_id = %s", project_id) == "Zoned"


#: Go's layout 2006-01-02 15:04:05.999999999 -0700 MST, as O's readers want it.
GO_LAYOUT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{0,8}[1-9])? \+0000 UTC")


def test_30_the_original_reads_our_events(alone):
    backend, ann = alone, alone.ann
    project = ann.project("Tést 🙂")
    team = ann.team(project)
    events = {channel: backend.messages(channel) for channel in (PROJECT_CREATED, MEMBERSHIP_CREATED_FOR_PROJECT)}
    for messages in events.values():
        for message in messages:
            event = json.loads(message.decode("utf-8"))
            assert set(event) == {"id", "type", "metadata", "data"} and uuid.UUID(event["id"]).version == 4
            assert set(event["metadata"]) == {"traceId", "userId"}
            for name in ("updatedAt", "createdAt"):
                assert GO_LAYOUT.fullmatch(event["data"][name]), event["data"][name]
    [created] = events[PROJECT_CREATED]
    assert json.loads(created)["data"]["name"] == "Tést 🙂"
    # The last client of the original's protocol for Python, which is another team's program.
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "read_channel.py")
    read = subprocess.run([os.path.join(ROOT, ".build/venv-streaming/bin/python"), script, backend.broker.url, CLUSTER_ID,
                           PROJECT_CREATED], capture_output=True, timeout=PATIENCE)
    assert read.returncode == 0, read.stderr.decode()
    assert json.loads(read.stdout) == json.loads(created)


def test_an_event_from_somebody_who_does_not_own_the_project_is_not_applied(alone):
    backend, ann = alone, alone.ann
    project = ann.project()
    backend.publish(PROJECT_UPDATED, project_updated(project["id"], str(uuid.uuid4()), teamId=str(uuid.uuid4())))
    backend.projects_db.wait_value("not authorised", "SELECT reason FROM dead_letters")
    assert ann.get(f"projects/{project['id']}", expect=200)["teamId"] == ""


def test_a_foreign_update_changes_only_the_team(alone):
    backend, ann = alone, alone.ann
    project = ann.project()
    backend.wait_copied(project["id"])
    team = str(uuid.uuid4())
    count = backend.count(PROJECT_UPDATED)
    backend.publish(PROJECT_UPDATED, project_updated(project["id"], ann.user_id, name="Foreign", teamId=team))
    wait_until(lambda: ann.get(f"projects/{project['id']}", expect=200)["teamId"] == team, "the team is taken over")
    assert ann.get(f"projects/{project['id']}", expect=200)["name"] == "Testing"
    backend.publish(PROJECT_UPDATED, project_updated(project["id"], ann.user_id, MOMENT, teamId=str(uuid.uuid4())))
    wait_until(lambda: backend.count(PROJECT_UPDATED) == count + 2 and backend.is_quiet(), "the stale team is handled")
    assert ann.get(f"projects/{project['id']}", expect=200)["teamId"] == team
