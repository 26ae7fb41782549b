"""Databases of the original: scenarios 47 and 48."""

import subprocess
import threading
import uuid

import pytest
from postgres_cluster import MIGRATE, Database

ANN, TEAM, PROJECT = ("a4b54ec1-57f9-4c39-ab53-d936dbb6c177", "39541c75-ca3e-4e2b-9728-54327772d001",
                      "8695a94f-7e0a-4198-8c0a-d3e12727a5ba")


def uid():
    return str(uuid.uuid4())


@pytest.fixture
def originals(cluster):
    """Both databases at the original's version 1, with rows as the original leaves them."""
    databases = {}
    for service in ("users", "projects"):
        databases[service] = Database(cluster, cluster.create(service, migrated=False))
        cluster.migrate(databases[service].name, service, "up", "1")
    users, projects = databases["users"], databases["projects"]
    users.run("INSERT INTO users (user_id, auth0_id, email, first_name) VALUES (%s, 'auth0|60a666916089a00069b2a773', "
              "'testuser@devpie.io', 'Test')", ANN)
    users.run("INSERT INTO teams (team_id, user_id, name) VALUES (%s, %s, 'TestTeam')", TEAM, ANN)
    for role in ("editor", "administrator", "viewer"):
        membership = uid()
        for database in databases.values():
            database.run("INSERT INTO memberships (membership_id, user_id, team_id, role) VALUES (%s, %s, %s, %s)",
                         membership, ANN, TEAM, role)
    for _ in range(2):
        users.run("INSERT INTO invites (invite_id, user_id, team_id) VALUES (%s, %s, %s)", uid(), ANN, TEAM)
    for database in databases.values():
        database.run("INSERT INTO projects (project_id, name, prefix, user_id, team_id, column_order) VALUES (%s, 'Testing', "
                     "'Tes-', %s, '', '{column-1,column-2,column-3,column-4}')", PROJECT, ANN)
    first = uid()
    projects.run("INSERT INTO columns (column_id, project_id, title, column_name, task_ids) VALUES (%s, %s, 'To Do', 'column-1', "
                 "%s)", first, PROJECT, [uid()])
    for number in (1, 2, 5):
        projects.run("INSERT INTO tasks (task_id, project_id, key, title) VALUES (%s, %s, %s, 'Old')", uid(), PROJECT,
                     f"Tes-{number}")
    projects.run("INSERT INTO comments (comment_id, content, user_id, created_at, updated_at) VALUES (%s, 'x', %s, NULL, NULL)",
                 uid(), ANN)
    yield databases
    for database in databases.values():
        database.close()


def version(database):
    return database.rows("SELECT version, dirty FROM schema_migrations")


def test_47_a_database_of_the_original_goes_up_down_and_up_and_serves(cluster, originals, start):
    for service, last in (("users", 4), ("projects", 5)):
        database = originals[service]
        for command in (["up"], ["goto", "1"], ["up"]):
            cluster.migrate(database.name, service, *command)
        assert version(database) == [(last, False)]
        assert database.rows("SELECT user_id, role::text FROM memberships") == [(ANN, "administrator")]
    backend = start(services=())
    for service in ("users", "projects"):
        backend.databases[service].close()
        backend.databases[service] = Database(cluster, originals[service].name)
        backend.services[service] = backend.replica(service)
    ann = backend.stranger("Ann")
    ann.user_id = ANN
    ann.sign_in()
    [project] = ann.get("projects", expect=200)
    assert (project["id"], project["teamId"], project["prefix"]) == (PROJECT, "", "Tes-")
    tasks = ann.get(f"projects/{PROJECT}/tasks", expect=200)
    assert [task["key"] for task in tasks] == ["Tes-1", "Tes-2", "Tes-5"] and len({task["seq"] for task in tasks}) == 3
    column = ann.columns(project)[0]
    task = ann.task(project, column)
    assert task["key"] == "Tes-6" and task["seq"] == 6
    assert [team["id"] for team in ann.get("users/teams", expect=200)] == [TEAM]
    ann.post(f"users/teams/{TEAM}/project/{PROJECT}", expect=200)
    backend.projects_db.wait_value(TEAM, "SELECT team_id FROM projects WHERE project_id = %s", PROJECT)


def test_47_doubled_addresses_stop_the_migration_and_are_named(cluster):
    with Database(cluster, cluster.create("users", migrated=False)) as database:
        cluster.migrate(database.name, "users", "up", "1")
        for address in ("twice@devpie.io", "TWICE@devpie.io", "once@devpie.io"):
            database.run("INSERT INTO users (user_id, auth0_id, email) VALUES (%s, %s, %s)", uid(), uid(), address)
        ended = cluster.migrate(database.name, "users", "up", check=False)
        assert ended.returncode == 1 and "twice@devpie.io" in ended.stderr and "once@" not in ended.stderr, ended.stderr
        assert version(database) == [(3, True)]
        database.run("DELETE FROM users WHERE email = 'TWICE@devpie.io'")
        cluster.migrate(database.name, "users", "force", "2")
        cluster.migrate(database.name, "users", "up")
        assert version(database) == [(4, False)]


def test_48_of_two_migrators_one_waits_and_finds_nothing_to_do(cluster):
    with Database(cluster, cluster.create("projects", migrated=False)) as database:
        ended = []
        threads = [threading.Thread(target=lambda: ended.append(cluster.migrate(database.name, "projects", "up", check=False)))
                   for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [one.returncode for one in ended] == [0, 0], [one.stderr for one in ended]
        assert sorted("no change" in one.stderr for one in ended) == [False, True], [one.stderr for one in ended]
        assert version(database) == [(5, False)]


def test_48_a_broken_migration_leaves_a_mark_and_a_message(cluster, tmp_path):
    (tmp_path / "000001_broken.up.sql").write_text("CREATE TABLE a (id INT);\nCREATE TABEL b (id INT);\n")
    with Database(cluster, cluster.create("users", migrated=False)) as database:
        command = [MIGRATE, "-path", str(tmp_path), "-database", cluster.url(database.name)]
        ended = subprocess.run([*command, "up"], capture_output=True, text=True)
        assert ended.returncode == 1 and "syntax error" in ended.stderr and "TABEL" in ended.stderr, ended.stderr
        assert version(database) == [(1, True)]
        again = subprocess.run([*command, "up"], capture_output=True, text=True)
        assert again.returncode == 1 and "Dirty database version 1. Fix and force version." in again.stderr
