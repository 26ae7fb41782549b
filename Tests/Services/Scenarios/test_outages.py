"""Parts that stop and come back: scenarios 21 to 24, 27, 29, 31 and 32. Each test has a backend of its own."""

import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from backend import Backend
from broker_process import wait_until
from event import MEMBERSHIP_CREATED, PROJECT_CREATED, PROJECT_UPDATED, envelope, go_time, project_created
from postgres_cluster import PostgresCluster

CONFIRM = {"API_TEST_FAIL_POINT_CONFIRM": "kill-this-process"}
FULL = "SELECT project_id, name, description, active, public, column_order, updated_at, created_at FROM projects ORDER BY 1"


def ready(service):
    status, body = service.debug("/readyz")
    return status, json.loads(body)


def test_21_the_broker_is_away_for_a_while(start):
    backend = start()
    ann = backend.person("Ann")
    backend.broker.kill()
    project = ann.project()
    unpublished = "SELECT count(*)::int FROM outbox WHERE published_at IS NULL"
    assert backend.projects_db.value(unpublished) == 1
    service = backend.services["projects"]
    wait_until(lambda: ready(service)[1]["outboxLagSeconds"] > 0.5, "the lag grows")
    status, body = ready(service)
    assert status == 200 and body["database"] != body["broker"], body
    first = body["outboxLagSeconds"]
    wait_until(lambda: ready(service)[1]["outboxLagSeconds"] > first, "the lag goes on growing")
    ann.patch(f"projects/{project['id']}", {"name": "Renamed"}, expect=200)
    backend.broker.start()
    backend.wait_copied(project["id"])
    backend.wait_equal()
    assert backend.count(PROJECT_CREATED) == 1 and backend.count(PROJECT_UPDATED) == 1
    wait_until(lambda: ready(service)[1]["broker"] == ready(service)[1]["database"], "the broker is back in the body")


@pytest.mark.parametrize("point, published", [("relay-before-publish", 1), ("relay-before-mark", 2)])
def test_22_a_service_dies_around_the_publish(start, point, published):
    backend = start()
    ann = backend.person("Ann")
    service = backend.services["projects"]
    service.terminate()
    service.settings |= CONFIRM | {"API_TEST_FAIL_POINT": point}
    service.start()
    try:
        ann.post("projects", {"name": "Testing"})
    except requests.ConnectionError:
        pass  # the process may die before the answer has left; the row was committed before
    assert service.wait_exit() == -9
    assert backend.projects_db.value("SELECT count(*)::int FROM projects") == 1
    assert backend.count(PROJECT_CREATED) == published - 1
    del service.settings["API_TEST_FAIL_POINT"], service.settings["API_TEST_FAIL_POINT_CONFIRM"]
    service.start()
    [project] = ann.get("projects", expect=200)
    backend.wait_copied(project["id"])
    backend.wait_equal()
    events = backend.events(PROJECT_CREATED)
    assert len(events) == published and len({event["id"] for event in events}) == 1
    assert backend.users_db.value("SELECT count(*)::int FROM inbox") == 1


def test_23_a_listener_dies_between_commit_and_acknowledgement(start):
    backend = start()
    ann = backend.person("Ann")
    service = backend.services["users"]
    service.terminate()
    service.settings |= CONFIRM | {"API_TEST_FAIL_POINT": "inbox-before-ack"}
    service.start()
    project = ann.project()
    assert service.wait_exit() == -9
    assert backend.users_db.value("SELECT name FROM projects WHERE project_id = %s", project["id"]) == "Testing"
    del service.settings["API_TEST_FAIL_POINT"], service.settings["API_TEST_FAIL_POINT_CONFIRM"]
    service.start()
    wait_until(lambda: service.metric("inbox_duplicates_total") == 1, "the redelivery is absorbed")
    backend.wait_equal()
    assert service.metric("inbox_duplicates_total") == 1
    assert backend.users_db.value("SELECT count(*)::int FROM inbox") == 1


def test_24_users_is_away_during_200_changes(start, parallel):
    backend = start()
    ann = backend.person("Ann")
    projects = [ann.project(f"Project {number}") for number in range(5)]
    backend.wait_equal()
    backend.services["users"].terminate()

    def change(project):
        for number in range(39):
            ann.patch(f"projects/{project['id']}", {"description": f"{number}", "active": number % 2 == 0}, expect=200)
        return ann.project("Late")

    late = parallel(*[lambda project=project: change(project) for project in projects])
    ann.delete(f"projects/{late[0]['id']}", expect=200)
    service = backend.services["users"]
    service.start()
    backend.wait_equal()
    assert backend.users_db.rows(FULL) == backend.projects_db.rows(FULL)
    assert backend.users_db.value("SELECT count(*)::int FROM inbox") == sum(backend.counts().values()) == 5 + 200 + 1
    assert service.metric("inbox_duplicates_total") == 0


def test_27_two_replicas_share_the_work(start, parallel):
    backend = start()
    ann = backend.person("Ann")
    project = ann.project()
    backend.wait_equal()
    with backend.replica("users") as second:
        first = backend.services["users"]
        clients = lambda: [client["id"] for client in backend.broker.monitor("/streaming/clientsz")["clients"]
                           if client["id"].startswith("mic-users-")]
        wait_until(lambda: len(clients()) == 2, "both replicas are connected, with ids of their own")
        members = lambda: [subscription for subscription in
                           backend.broker.monitor(f"/streaming/channelsz?channel={PROJECT_UPDATED}&subs=1")["subscriptions"]
                           if subscription["client_id"] in clients()]
        wait_until(lambda: len(members()) == 2, "both replicas listen")

        def change(count):
            for number in range(count):
                ann.patch(f"projects/{project['id']}", {"description": str(number)}, expect=200)

        change(60)
        backend.wait_equal()
        assert backend.users_db.value("SELECT count(*)::int FROM inbox") == 61
        shares = [service.metric("inbox_events_total") for service in (first, second)]
        assert sum(shares) >= 61 and all(share > 0 for share in shares), shares
        parallel(lambda: change(60), first.kill)
        backend.wait_equal()
        assert backend.users_db.value("SELECT count(*)::int FROM inbox") == 121
        assert backend.users_db.value("SELECT description FROM projects") == "59"
        # The outbox's relay is taken over too; requests go to the replica that is left.
        backend.services["users"] = second
        ann.team(project)
        backend.services["users"] = first


def test_29_the_database_is_away_for_a_while():
    with PostgresCluster() as cluster, Backend(cluster) as backend:
        ann = backend.person("Ann")
        project = ann.project()
        team = ann.team(project)
        backend.wait_equal()
        for database in backend.databases.values():
            database.close()
        cluster.stop()
        for path in ("projects", "users/me", f"users/teams/{team['id']}/members"):
            reply = ann.get(path)
            assert reply.status == 503 and set(reply.json) == {"error"}, reply
        assert (ann.get("health").status, ann.get("health").json) == (500, {"status": "db not ready"})
        for service in backend.services.values():
            wait_until(lambda: service.debug("/readyz")[0] == 503, "it says that it is not ready")
            assert service.debug("/healthz")[0] == 200
        late = "7d0a9b52-8d5f-4b8c-9c53-0d0c4ff3b8a1"
        backend.publish(PROJECT_CREATED, project_created(late, ann.user_id, "Late"))
        backend.publish(MEMBERSHIP_CREATED, envelope(MEMBERSHIP_CREATED, {
            "membershipId": late, "teamId": team["id"], "userId": late, "role": "viewer", "updatedAt": go_time(),
            "createdAt": go_time()}))
        cluster.start()
        backend.users_db.wait_value("Late", "SELECT name FROM projects WHERE project_id = %s", late)
        backend.projects_db.wait_value("viewer", "SELECT role::text FROM memberships WHERE membership_id = %s", late)
        wait_until(lambda: ann.get("projects").status == ann.get("users/me").status == 200, "requests are served again")
        ann.patch(f"projects/{project['id']}", {"name": "After"}, expect=200)
        backend.users_db.wait_value("After", "SELECT name FROM projects WHERE project_id = %s", project["id"])
        wait_until(backend.is_quiet, "all is handled")
        assert all(service.process.poll() is None for service in backend.services.values())


def test_31_the_broker_is_killed_during_a_thousand_changes(start):
    backend = start()
    ann = backend.person("Ann")
    projects = [ann.project(f"Project {number}") for number in range(4)]
    done = []

    def change(project):
        for number in range(250):
            ann.patch(f"projects/{project['id']}", {"description": str(number)}, expect=200)
            done.append(number)

    # Started by this thread: a process ends with the thread that started it.
    with ThreadPoolExecutor(len(projects)) as pool:
        changes = [pool.submit(change, project) for project in projects]
        for count in (200, 600):
            wait_until(lambda: len(done) > count, "the changes go on")
            backend.broker.kill()
            backend.broker.start()
        for finished in changes:
            finished.result()
    backend.wait_equal(60)
    assert backend.users_db.rows(FULL) == backend.projects_db.rows(FULL)
    published = {row[0] for row in backend.projects_db.rows("SELECT event_id FROM outbox WHERE published_at IS NOT NULL")}
    stored = {event["id"] for event in backend.events(PROJECT_UPDATED) + backend.events(PROJECT_CREATED)}
    assert stored == published and len(stored) == 1004
    assert backend.users_db.value("SELECT count(*)::int FROM inbox") == 1004


def test_32_a_shutdown_under_load_cuts_nothing(start):
    backend = start()
    ann = backend.person("Ann")
    # Listening that goes on at the same time.
    backend.publish(PROJECT_CREATED, *[project_created(f"00000000-0000-4000-8000-{number:012d}", ann.user_id, f"H{number}")
                                       for number in range(300)])
    answered, stopping = [], threading.Event()

    def load(worker):
        number = 0
        while not stopping.is_set():
            number += 1
            name = f"L{worker}-{number}"
            try:
                reply = ann.request("POST", "projects", {"name": name})
                # One connection for each request: a reused one may be closed while it is idle.
                ann.hang_up()
            except requests.ConnectionError:
                return
            if reply.status == 201:
                answered.append(name)

    workers = [threading.Thread(target=load, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    wait_until(lambda: len(answered) > 40, "load")
    codes = [backend.services[name].terminate() for name in ("projects", "users")]
    stopping.set()
    for worker in workers:
        worker.join()
    assert codes == [0, 0], backend.services["projects"].log[-2000:]
    stored = [row[0] for row in backend.projects_db.rows("SELECT name FROM projects")]
    assert sorted(stored) == sorted(answered)
    assert not [client for client in backend.broker.monitor("/streaming/clientsz")["clients"]
                if client["id"].startswith("mic-")], "the client ids are free"
    handled = backend.users_db.value("SELECT count(*)::int FROM inbox")
    for service in backend.services.values():
        service.start()
    wait_until(lambda: backend.is_quiet() and not [row for row in backend.differences() if "'H" not in row], "equal copies")
    total = sum(backend.count(channel) for channel in (PROJECT_CREATED, PROJECT_UPDATED))
    assert backend.users_db.value("SELECT count(*)::int FROM inbox") == total
    # The durable went on where it was: nothing that was handled came again.
    assert backend.services["users"].metric("inbox_events_total") == total - handled


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_32_a_shutdown_ends_in_time_without_the_broker(start, how):
    backend = start(settings={"API_NATS_CONNECT_TIMEOUT": "120s", "API_WEB_SHUTDOWN_TIMEOUT": "30s"})
    ann = backend.person("Ann")
    backend.broker.process.send_signal(how)
    try:
        # An event that the broker does not take.
        ann.project()
        for service in backend.services.values():
            assert service.terminate() == 0, service.log[-2000:]
    finally:
        backend.broker.process.send_signal(signal.SIGCONT)
