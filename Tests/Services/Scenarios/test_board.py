"""Projects, columns, tasks and comments: scenarios 15 to 20."""

import uuid

import pytest
from broker_process import wait_until
from event import PROJECT_CREATED, PROJECT_DELETED, PROJECT_UPDATED, project_created


@pytest.fixture
def project(ann):
    return ann.project()


@pytest.fixture
def columns(ann, project):
    return ann.columns(project)


def content(ann, project, column):
    """The tasks of a column, in order."""
    [found] = [one for one in ann.columns(project) if one["id"] == column["id"]]
    return found["taskIds"]


def move(ann, task, source, target, order=None, expect=200):
    body = {"from": source["id"], "to": target["id"]}
    if order is not None:
        body["taskIds"] = [one["id"] for one in order]
    reply = ann.patch(f"projects/tasks/{task['id']}/move", body)
    assert reply.status == expect, reply
    return reply


def test_15_keys_count_up_and_are_never_given_again(ann, project, columns):
    tasks = [ann.task(project, columns[0], f"Task {number}") for number in (1, 2, 3)]
    assert [(task["key"], task["seq"]) for task in tasks] == [("Tes-1", 1), ("Tes-2", 2), ("Tes-3", 3)]
    assert tasks[0] | {"updatedAt": "", "createdAt": ""} == {
        "id": tasks[0]["id"], "key": "Tes-1", "seq": 1, "title": "Task 1", "points": 0, "content": "",
        "projectId": project["id"], "assignedTo": "", "attachments": [], "comments": [], "updatedAt": "", "createdAt": ""}
    assert ann.delete(f"projects/columns/{columns[0]['id']}/tasks/{tasks[2]['id']}", expect=200) is None
    fourth = ann.task(project, columns[1])
    assert (fourth["key"], fourth["seq"]) == ("Tes-4", 4)
    assert ann.get(f"projects/{project['id']}/tasks", expect=200) == [*tasks[:2], fourth]
    assert ann.get(f"projects/tasks/{fourth['id']}", expect=200) == fourth
    assert content(ann, project, columns[0]) == [task["id"] for task in tasks[:2]]


def test_16_fifty_at_once_are_all_there(ann, project, columns, parallel):
    tasks = parallel(*[lambda: ann.task(project, columns[0])] * 50, workers=16)
    assert sorted(task["seq"] for task in tasks) == list(range(1, 51))
    assert {task["key"] for task in tasks} == {f"Tes-{number}" for number in range(1, 51)}
    assert sorted(content(ann, project, columns[0])) == sorted(task["id"] for task in tasks)


def test_17_moves(ann, project, columns):
    a, b, c = (ann.task(project, columns[0]) for _ in range(3))
    assert move(ann, a, columns[0], columns[1]).json is None
    assert (content(ann, project, columns[0]), content(ann, project, columns[1])) == ([b["id"], c["id"]], [a["id"]])
    move(ann, b, columns[0], columns[1], [b, a])
    assert content(ann, project, columns[1]) == [b["id"], a["id"]]
    move(ann, a, columns[1], columns[1], [a, b])
    assert content(ann, project, columns[1]) == [a["id"], b["id"]]
    move(ann, a, columns[1], columns[1])
    assert sorted(content(ann, project, columns[1])) == sorted([a["id"], b["id"]])
    reply = move(ann, a, columns[0], columns[2], expect=409)
    assert reply.json == {"error": "task is not in column"}
    for order in ([a], [a, b], [a, b, b], [a, b, c, c]):
        assert move(ann, c, columns[0], columns[1], order, expect=400).json["error"]
    assert content(ann, project, columns[0]) == [c["id"]] and len(content(ann, project, columns[1])) == 2
    other = ann.project("Other")
    foreign = ann.columns(other)[0]
    move(ann, c, columns[0], foreign, expect=400)
    move(ann, ann.task(other, foreign), columns[0], columns[1], expect=400)
    assert content(ann, other, foreign) and content(ann, project, columns[0]) == [c["id"]]
    assert ann.patch(f"projects/tasks/{uuid.uuid4()}/move", {"from": columns[0]["id"], "to": columns[1]["id"]}).status == 404
    for field in ("from", "to"):
        body = {"from": columns[0]["id"], "to": columns[1]["id"], field: "123"}
        assert ann.patch(f"projects/tasks/{c['id']}/move", body).status == 400


def test_17_opposite_moves_at_once_neither_stop_nor_lose(ann, project, columns, parallel):
    tasks = [ann.task(project, columns[number % 2]) for number in range(12)]

    def shuttle(task, here, there):
        outcomes = []
        for _ in range(4):
            reply = ann.patch(f"projects/tasks/{task['id']}/move", {"from": here["id"], "to": there["id"]})
            outcomes.append(reply.status)
            here, there = there, here
        return outcomes

    outcomes = parallel(*[lambda task=task, number=number: shuttle(task, columns[number % 2], columns[1 - number % 2])
                          for number, task in enumerate(tasks)])
    assert outcomes == [[200] * 4] * 12
    both = content(ann, project, columns[0]) + content(ann, project, columns[1])
    assert sorted(both) == sorted(task["id"] for task in tasks)


def test_17_one_of_two_moves_of_a_task_is_told(ann, project, columns, parallel):
    task = ann.task(project, columns[0])
    statuses = parallel(*[lambda target=target: ann.patch(
        f"projects/tasks/{task['id']}/move", {"from": columns[0]["id"], "to": target["id"]}).status for target in columns[1:3]])
    assert sorted(statuses) == [200, 409]
    assert sum(content(ann, project, column).count(task["id"]) for column in columns) == 1


@pytest.mark.parametrize("name, prefix", [("a", "a-"), ("äöü", "äöü-"), ("a-b", "a-b-"), ("🙂🙂🙂🙂", "🙂🙂🙂-"), ("n" * 36, "nnn-"),
                                          ("é" * 36, "ééé-"), ("'; DROP TABLE projects; --", "'; -")])
def test_18_names_of_all_kinds(ann, name, prefix):
    project = ann.project(name)
    assert (project["name"], project["prefix"]) == (name, prefix)
    task = ann.task(project, ann.columns(project)[0])
    assert task["key"] == prefix + "1"


@pytest.mark.parametrize("name", ["", " ", "n" * 37, "🙂" * 37, "nul\u0000", None, 5, ["x"]])
def test_18_names_that_are_refused(ann, name):
    reply = ann.post("projects", {"name": name})
    assert reply.status == 400 and reply.json["error"], reply
    if isinstance(name, str) and "\u0000" not in name:
        assert reply.json["fields"][0]["field"] == "name"
    assert ann.get("projects", expect=200) == []


def test_18_titles_of_tasks(ann, project, columns):
    assert ann.task(project, columns[0], "t" * 48)["title"] == "t" * 48
    for title in ("", "t" * 49):
        reply = ann.post(f"projects/{project['id']}/columns/{columns[0]['id']}/tasks", {"title": title})
        assert reply.status == 400 and reply.json["fields"][0]["field"] == "title"
    assert len(content(ann, project, columns[0])) == 1


def test_19_a_task_changes_by_what_is_named(backend, ann, bob, project, columns):
    task = ann.task(project, columns[0])
    path = f"projects/tasks/{task['id']}"
    change = {"points": 5, "content": "Text", "attachments": ["a", "b"], "key": "Mine-1", "updatedAt": "x"}
    changed = ann.patch(path, change, expect=200)
    assert changed == task | {"points": 5, "content": "Text", "attachments": ["a", "b"], "updatedAt": changed["updatedAt"]}
    assert changed["updatedAt"] > task["updatedAt"] and ann.get(path, expect=200) == changed
    assert ann.patch(path, {"assignedTo": ann.user_id}, expect=200)["assignedTo"] == ann.user_id
    for body in ({"points": -1}, {"points": "5"}, {"points": 1.5}, {"points": 2**31}, {"title": ""}, {"tittle": "x"},
                 {"assignedTo": bob.user_id}, {"assignedTo": "x"}, {"attachments": "a"}, {"content": "\u0000"}):
        assert ann.patch(path, body).status == 400, body
    team = ann.team(project)
    ann.admit(team, bob)
    assert ann.patch(path, {"assignedTo": bob.user_id}, expect=200)["assignedTo"] == bob.user_id
    assert ann.patch(path, {"assignedTo": ""}, expect=200)["assignedTo"] == ""
    assert ann.get(path, expect=200)["points"] == 5


def test_19_a_project_changes_by_what_is_named(backend, ann, project):
    path = f"projects/{project['id']}"
    order = ["column-4", "column-1", "column-3", "column-2"]
    changed = ann.patch(path, {"name": "New", "description": "d", "columnOrder": order, "public": True}, expect=200)
    assert changed == project | {"name": "New", "description": "d", "columnOrder": order, "public": True,
                                 "updatedAt": changed["updatedAt"]}
    assert changed["updatedAt"] > project["updatedAt"] and changed["prefix"] == "Tes-"
    assert [column["columnName"] for column in ann.columns(project)] == order
    event = backend.wait_event(PROJECT_UPDATED, projectId=project["id"])
    assert event["data"]["updatedAt"] == changed["updatedAt"].replace("T", " ").replace("Z", " +0000 UTC")
    for wrong in (["column-1"], order[:3] + ["column-9"], order + ["column-1"], ["column-1"] * 4, []):
        reply = ann.patch(path, {"columnOrder": wrong})
        assert reply.status == 400 and reply.json["fields"][0]["field"] == "columnOrder", (wrong, reply)
    for body in ({"name": ""}, {"name": "n" * 37}, {"teamId": "x"}, {"active": "yes"}, {"prefix": "X-"}, {"userId": ann.user_id}):
        assert ann.patch(path, body).status == 400, body
    assert ann.get(path, expect=200) == changed
    assert ann.patch(path, {"description": ""}, expect=200)["description"] == ""


def test_a_project_for_a_team_needs_an_editor_of_it(backend, ann, bob):
    team = ann.team(ann.project())
    reply = bob.post("projects", {"name": "Mine", "teamId": team["id"]})
    assert reply.status == 403, reply
    ann.admit(team, bob, "viewer")
    assert bob.post("projects", {"name": "Mine", "teamId": team["id"]}).status == 403
    [membership] = [m for m in ann.get(f"users/teams/{team['id']}/members", expect=200) if m["userId"] == bob.user_id]
    ann.patch(f"users/teams/{team['id']}/members/{membership['id']}", {"role": "editor"}, expect=200)
    backend.projects_db.wait_value("editor", "SELECT role::text FROM memberships WHERE membership_id = %s", membership["id"])
    project = bob.post("projects", {"name": "Mine", "teamId": team["id"]}, expect=201)
    assert project["teamId"] == team["id"] and project in ann.get("projects", expect=200)


def test_columns_come_and_go(backend, ann, project, columns):
    path = f"projects/{project['id']}/columns"
    fifth = ann.post(path, {"title": "Blocked"}, expect=201)
    assert (fifth["title"], fifth["columnName"], fifth["taskIds"], fifth["projectId"]) == (
        "Blocked", "column-5", [], project["id"])
    assert ann.get(f"{path}/{fifth['id']}", expect=200) == fifth
    assert ann.get(f"projects/{project['id']}", expect=200)["columnOrder"][-1] == "column-5"
    task = ann.task(project, columns[1])
    assert ann.delete(f"{path}/{columns[1]['id']}").status == 409
    ann.delete(f"projects/columns/{columns[1]['id']}/tasks/{task['id']}", expect=200)
    assert ann.delete(f"{path}/{columns[1]['id']}", expect=200) is None
    assert ann.get(f"{path}/{columns[1]['id']}").status == 404
    assert ann.get(f"projects/{project['id']}", expect=200)["columnOrder"] == ["column-1", "column-3", "column-4", "column-5"]
    assert ann.post(path, {"title": "Again"}, expect=201)["columnName"] == "column-2"
    for title in ("", "t" * 37):
        assert ann.post(path, {"title": title}).status == 400
    backend.wait_equal()
    assert len(backend.events(PROJECT_UPDATED, projectId=project["id"])) == 3


def test_a_column_changes_its_title_and_its_order(ann, project, columns):
    first, second = ann.task(project, columns[0]), ann.task(project, columns[0])
    path = f"projects/{project['id']}/columns/{columns[0]['id']}"
    changed = ann.patch(path, {"title": "Now", "taskIds": [second["id"], first["id"]]}, expect=200)
    assert (changed["title"], changed["taskIds"]) == ("Now", [second["id"], first["id"]])
    for wrong in ([first["id"]], [first["id"], first["id"]], [first["id"], second["id"], str(uuid.uuid4())], []):
        assert ann.patch(path, {"taskIds": wrong}).status == 400
    assert content(ann, project, columns[0]) == [second["id"], first["id"]]


def test_comments(backend, ann, bob, cid, project, columns):
    task = ann.task(project, columns[0])
    team = ann.team(project)
    ann.admit(team, bob, "commenter")
    path = f"projects/tasks/{task['id']}/comments"
    comment = bob.post(path, {"content": "Good"}, expect=201)
    assert comment | {"updatedAt": "", "createdAt": ""} == {
        "commentId": comment["commentId"], "content": "Good", "userId": bob.user_id, "likes": 0, "edited": False,
        "updatedAt": "", "createdAt": ""}
    assert ann.get(path, expect=200) == [comment]
    assert ann.get(f"projects/tasks/{task['id']}", expect=200)["comments"] == [comment["commentId"]]
    own = f"projects/comments/{comment['commentId']}"
    assert ann.patch(own, {"content": "Not mine"}).status == 403
    assert ann.patch(own, {"likes": 1}, expect=200)["likes"] == 1
    edited = bob.patch(own, {"content": "Better"}, expect=200)
    assert (edited["content"], edited["edited"], edited["likes"]) == ("Better", True, 1)
    for body in ({"content": ""}, {"content": "\u0000"}, {"text": "x"}, {}):
        assert bob.post(path, body).status == 400, body
    anns = ann.post(path, {"content": "Mine"}, expect=201)
    assert bob.delete(f"projects/comments/{anns['commentId']}").status == 403
    assert ann.delete(own, expect=200) is None
    assert ann.get(path, expect=200) == [anns]
    assert ann.get(f"projects/tasks/{task['id']}", expect=200)["comments"] == [anns["commentId"]]
    ann.delete(f"projects/columns/{columns[0]['id']}/tasks/{task['id']}", expect=200)
    assert backend.projects_db.value("SELECT count(*)::int FROM comments WHERE task_id = %s", task["id"]) == 0


def test_a_task_that_is_not_in_the_column_is_not_deleted(ann, project, columns):
    task = ann.task(project, columns[0])
    reply = ann.delete(f"projects/columns/{columns[1]['id']}/tasks/{task['id']}")
    assert (reply.status, reply.json) == (404, {"error": "task not found"})
    other = ann.project("Other")
    reply = ann.post(f"projects/{other['id']}/columns/{columns[0]['id']}/tasks", {"title": "x"})
    assert (reply.status, reply.json) == (404, {"error": "column not found"})
    assert content(ann, project, columns[0]) == [task["id"]]


def test_20_a_deleted_project_is_gone_and_stays_gone(backend, ann, project, columns):
    task = ann.task(project, columns[0])
    ann.post(f"projects/tasks/{task['id']}/comments", {"content": "x"}, expect=201)
    backend.wait_copied(project["id"])
    assert ann.delete(f"projects/{project['id']}", expect=200) is None
    assert backend.wait_event(PROJECT_DELETED, projectId=project["id"])["data"] == {"projectId": project["id"]}
    reply = ann.get(f"projects/{project['id']}")
    assert (reply.status, reply.json) == (404, {"error": "project not found"})
    for table in ("projects", "columns", "tasks"):
        assert backend.projects_db.value(f"SELECT count(*)::int FROM {table} WHERE project_id = %s", project["id"]) == 0
    assert backend.projects_db.value("SELECT count(*)::int FROM comments WHERE task_id = %s", task["id"]) == 0
    copies = "SELECT count(*)::int FROM projects WHERE project_id = %s"
    backend.users_db.wait_value(0, copies, project["id"])
    backend.publish(PROJECT_CREATED, project_created(project["id"], ann.user_id))
    wait_until(backend.is_quiet, "the late creation is handled")
    assert backend.users_db.value(copies, project["id"]) == 0
    assert ann.delete(f"projects/{project['id']}").status == 404


def test_ids_that_are_no_uuids(ann, project, columns):
    tid, cid = str(uuid.uuid4()), columns[0]["id"]
    for method, path, body in [
            ("GET", "projects/123", None), ("PATCH", "projects/123", {}), ("DELETE", "projects/123", None),
            ("GET", "projects/123/columns", None), ("GET", "projects/123/tasks", None),
            ("POST", f"projects/{project['id']}/columns/123/tasks", {"title": "x"}), ("PATCH", "projects/tasks/123", {}),
            ("PATCH", "projects/tasks/123/move", {"to": cid, "from": cid}),
            ("DELETE", f"projects/columns/{cid}/tasks/123", None), ("DELETE", f"projects/columns/123/tasks/{tid}", None),
            ("GET", "projects/tasks/%27%20OR%201=1", None), ("DELETE", "projects/comments/123", None)]:
        reply = ann.request(method, path, body)
        assert (reply.status, reply.json) == (400, {"error": "id provided was not a valid UUID"}), f"{method} {path}: {reply}"


def test_a_project_without_columns_has_none_in_the_copy_either(backend, ann, project):
    backend.wait_copied(project["id"])
    for column in ann.columns(project):
        assert ann.delete(f"projects/{project['id']}/columns/{column['id']}", expect=200) is None
    backend.users_db.wait_value([], "SELECT column_order FROM projects WHERE project_id = %s", project["id"])
