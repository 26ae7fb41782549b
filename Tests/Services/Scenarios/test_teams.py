"""Teams, roles and invitations: scenarios 4 to 14."""

import uuid

import pytest
from broker_process import wait_until
from event import (CHANNELS, MEMBERSHIP_CREATED, MEMBERSHIP_CREATED_FOR_PROJECT, MEMBERSHIP_DELETED, MEMBERSHIP_UPDATED,
                   PROJECT_CREATED, PROJECT_UPDATED)

NOT_MEMBER = {"error": "user does not have correct membership"}


def test_4_a_project_reaches_users_with_all_its_fields(backend, ann):
    project = ann.project("Testing")
    assert (project["prefix"], project["description"], project["teamId"], project["userId"]) == ("Tes-", "", "", ann.user_id)
    assert (project["active"], project["public"]) == (True, False)
    assert [(column["title"], column["columnName"]) for column in ann.columns(project)] == [
        ("To Do", "column-1"), ("In Progress", "column-2"), ("Review", "column-3"), ("Done", "column-4")]
    event = backend.wait_event(PROJECT_CREATED, projectId=project["id"])
    assert set(event) == {"id", "type", "metadata", "data"} and event["type"] == PROJECT_CREATED
    assert event["metadata"]["userId"] == ann.user_id and uuid.UUID(event["metadata"]["traceId"])
    data = event["data"]
    assert set(data) == {"projectId", "name", "prefix", "description", "userId", "teamId", "active", "public",
                         "columnOrder", "updatedAt", "createdAt"}
    for name in set(data) - {"projectId", "updatedAt", "createdAt"}:
        assert data[name] == project[name], name
    assert data["createdAt"] == project["createdAt"].replace("T", " ").replace("Z", " +0000 UTC")
    backend.wait_copied(project["id"])


def test_5_a_team_for_a_project_is_known_to_both_and_nothing_echoes(backend, ann):
    project = ann.project()
    team = ann.team(project)
    assert (team["name"], team["userId"]) == ("Team", ann.user_id)
    [membership] = ann.get(f"users/teams/{team['id']}/members", expect=200)
    assert (membership["userId"], membership["role"], membership["email"]) == (ann.user_id, "administrator", ann.email)
    event = backend.wait_event(MEMBERSHIP_CREATED_FOR_PROJECT, projectId=project["id"])
    assert event["data"] | {"updatedAt": "", "createdAt": ""} == {
        "membershipId": membership["id"], "teamId": team["id"], "userId": ann.user_id, "role": "administrator",
        "projectId": project["id"], "updatedAt": "", "createdAt": ""}
    assert backend.projects_db.rows("SELECT user_id, role::text FROM memberships WHERE team_id = %s", team["id"]) == [
        (ann.user_id, "administrator")]
    ann.patch(f"projects/{project['id']}", {"name": "Renamed"}, expect=200)
    backend.wait_equal()
    counts = backend.counts()
    # An echo would need a round trip; another event's full round trip is later than any of it.
    other = ann.project()
    backend.wait_copied(other["id"])
    backend.wait_equal()
    assert backend.counts() == counts | {PROJECT_CREATED: counts[PROJECT_CREATED] + 1}
    assert len(backend.events(PROJECT_UPDATED, projectId=project["id"])) == 1


def test_6_a_stranger_sees_and_changes_nothing(backend, ann, bob):
    project = ann.project()
    column = ann.columns(project)[0]
    task = ann.task(project, column)
    comment = ann.post(f"projects/tasks/{task['id']}/comments", {"content": "Hi"}, expect=201)
    backend.wait_equal()
    before = [backend.projects_db.table(*table) for table in
              (("projects", "project_id"), ("columns", "column_id"), ("tasks", "task_id"), ("comments", "comment_id"))]
    counts = backend.counts()
    pid, cid, tid = project["id"], column["id"], task["id"]
    requests = [
        ("GET", f"projects/{pid}", None), ("GET", f"projects/{pid}/columns", None), ("GET", f"projects/{pid}/tasks", None),
        ("GET", f"projects/{pid}/columns/{cid}", None), ("GET", f"projects/tasks/{tid}", None),
        ("GET", f"projects/tasks/{tid}/comments", None),
        ("PATCH", f"projects/{pid}", {"name": "Mine"}), ("DELETE", f"projects/{pid}", None),
        ("POST", f"projects/{pid}/columns", {"title": "x"}), ("PATCH", f"projects/{pid}/columns/{cid}", {"title": "x"}),
        ("DELETE", f"projects/{pid}/columns/{cid}", None),
        ("POST", f"projects/{pid}/columns/{cid}/tasks", {"title": "x"}), ("PATCH", f"projects/tasks/{tid}", {"title": "x"}),
        ("PATCH", f"projects/tasks/{tid}/move", {"to": cid, "from": cid}),
        ("DELETE", f"projects/columns/{cid}/tasks/{tid}", None),
        ("POST", f"projects/tasks/{tid}/comments", {"content": "x"}),
        ("PATCH", f"projects/comments/{comment['commentId']}", {"content": "x"}),
        ("DELETE", f"projects/comments/{comment['commentId']}", None),
    ]
    for method, path, body in requests:
        reply = bob.request(method, path, body)
        assert reply.status == 404 and set(reply.json) == {"error"}, f"{method} {path}: {reply}"
        # As if it did not exist.
        missing = bob.request(method, path.replace(pid, str(uuid.uuid4())).replace(tid, str(uuid.uuid4())), body)
        assert missing.status == 404, f"{method} {path}: {missing}"
    backend.wait_equal()
    assert [backend.projects_db.table(*table) for table in
            (("projects", "project_id"), ("columns", "column_id"), ("tasks", "task_id"), ("comments", "comment_id"))] == before
    assert backend.counts() == counts
    assert bob.get("projects", expect=200) == []


def test_7_every_invited_address_has_its_own_link(backend, ann, bob):
    team = ann.team(ann.project())
    new = [f"new{number}-{ann.email}" for number in (1, 2)]
    ann.post(f"users/teams/{team['id']}/invites", {"emailList": [new[0], bob.email, new[1]]}, expect=201)
    outside = backend.outside
    wait_until(lambda: all(len(outside.mails_to(address)) == 1 for address in [bob.email, *new]), "three mails")
    for address in [bob.email, *new]:
        [mail] = outside.mails_to(address)
        assert mail["subject"] == "You've been invited to a Team on DevPie!"
        assert mail["personalizations"][0]["to"][0]["name"] == "Invitee"
        link = "http://localhost:3000" if address == bob.email else outside.tickets[address][0] + "invite"
        text, html = (part["value"] for part in mail["content"])
        assert text == f"You've been invited to a Team on DevPie! {link}"
        assert f'href="{link}"' in html and "create an account" in html and "Join Devpie" in html
        others = [ticket for other in new if other != address for ticket in outside.tickets[other]]
        assert not any(ticket in text + html for ticket in others)
    [invite] = bob.get("users/teams/invites", expect=200)
    assert (invite["teamName"], invite["teamId"], invite["read"], invite["accepted"]) == ("Team", team["id"], False, False)
    assert bob.get(f"users/teams/{team['id']}", expect=200)["id"] == team["id"]


def test_inviting_again_renews_and_members_are_passed_over(backend, ann, bob):
    team = ann.team(ann.project())
    [first] = ann.invite(team, bob)
    [second] = ann.invite(team, bob)
    assert second["id"] == first["id"] and second["expiration"] > first["expiration"]
    wait_until(lambda: len(backend.outside.mails_to(bob.email)) == 2, "a second mail")
    bob.patch(f"users/teams/{team['id']}/invites/{first['id']}", {"accepted": True}, expect=200)
    assert ann.invite(team, bob) == []
    assert backend.users_db.value("SELECT count(*)::int FROM invites WHERE team_id = %s", team["id"]) == 1


def test_a_bad_address_stops_the_whole_list_and_is_named(backend, ann):
    team = ann.team(ann.project())
    reply = ann.post(f"users/teams/{team['id']}/invites", {"emailList": ["a@b.example", "bad", "c@d.example", '"@x']})
    assert reply.status == 400 and [field["field"] for field in reply.json["fields"]] == ["emailList[1]", "emailList[3]"]
    reply = ann.post(f"users/teams/{team['id']}/invites", {"emailList": [f"u{n}@b.example" for n in range(51)]})
    assert reply.status == 400
    assert backend.users_db.value("SELECT count(*)::int FROM invites WHERE team_id = %s", team["id"]) == 0


def test_8_who_accepts_sees_the_project(backend, ann, bob):
    project = ann.project()
    team = ann.team(project)
    [invite] = ann.invite(team, bob)
    answer = bob.patch(f"users/teams/{team['id']}/invites/{invite['id']}", {"accepted": True}, expect=200)
    assert (answer["id"], answer["read"], answer["accepted"]) == (invite["id"], True, True) and "teamName" not in answer
    event = backend.wait_event(MEMBERSHIP_CREATED, teamId=team["id"], userId=bob.user_id)
    assert event["data"]["role"] == "editor"
    wait_until(lambda: bob.get(f"projects/{project['id']}").status == 200, "Bob sees the project")
    assert [found["id"] for found in bob.get("projects", expect=200)] == [project["id"]]
    members = bob.get(f"users/teams/{team['id']}/members", expect=200)
    assert [(member["email"], member["role"]) for member in members] == [(ann.email, "administrator"), (bob.email, "editor")]
    assert [found["id"] for found in bob.get("users/teams", expect=200)] == [team["id"]]


def test_9_accepting_twice_is_one_membership_and_declining_is_none(backend, ann, bob):
    teams = [ann.team(ann.project()) for _ in range(2)]
    [first], [second] = (ann.invite(team, bob) for team in teams)
    for _ in range(2):
        bob.patch(f"users/teams/{teams[0]['id']}/invites/{first['id']}", {"accepted": True}, expect=200)
    backend.wait_equal()
    assert len(backend.events(MEMBERSHIP_CREATED, teamId=teams[0]["id"])) == 1
    assert len(ann.get(f"users/teams/{teams[0]['id']}/members", expect=200)) == 2
    answer = bob.patch(f"users/teams/{teams[1]['id']}/invites/{second['id']}", {"accepted": False}, expect=200)
    assert (answer["read"], answer["accepted"]) == (True, False)
    assert bob.get("users/teams/invites", expect=200) == []
    assert len(ann.get(f"users/teams/{teams[1]['id']}/members", expect=200)) == 1
    for team, invite, accepted in [(teams[0], first, False), (teams[1], second, True)]:
        assert bob.patch(f"users/teams/{team['id']}/invites/{invite['id']}", {"accepted": accepted}).status == 409
    assert bob.patch(f"users/teams/{teams[1]['id']}/invites/{second['id']}", {}).status == 400


def test_two_acceptances_at_once_are_one_membership(backend, ann, bob, parallel):
    team = ann.team(ann.project())
    [invite] = ann.invite(team, bob)
    replies = parallel(*[lambda: bob.patch(f"users/teams/{team['id']}/invites/{invite['id']}", {"accepted": True})] * 4)
    assert [reply.status for reply in replies] == [200] * 4, replies
    backend.wait_equal()
    assert len(backend.events(MEMBERSHIP_CREATED, teamId=team["id"])) == 1


def test_10_an_invitation_admits_to_its_own_team_for_five_days_and_its_holder_alone(backend, ann, bob, cid):
    team, other = ann.team(ann.project()), ann.team(ann.project())
    [invite] = ann.invite(team, bob)
    members = lambda: backend.users_db.rows("SELECT user_id FROM memberships WHERE team_id IN (%s, %s) AND user_id <> %s",
                                            team["id"], other["id"], ann.user_id)
    reply = bob.patch(f"users/teams/{other['id']}/invites/{invite['id']}", {"accepted": True})
    assert (reply.status, reply.json) == (404, {"error": "invite not found"}) and members() == []
    assert cid.patch(f"users/teams/{team['id']}/invites/{invite['id']}", {"accepted": True}).status == 404
    backend.users_db.run("UPDATE invites SET expiration = (now() AT TIME ZONE 'utc') - interval '1 second' "
                         "WHERE invite_id = %s", invite["id"])
    reply = bob.patch(f"users/teams/{team['id']}/invites/{invite['id']}", {"accepted": True})
    assert (reply.status, reply.json) == (410, {"error": "invite expired"}) and members() == []
    assert bob.get("users/teams/invites", expect=200) == []


def test_11_only_administrators_invite_and_only_owners_assign(backend, ann, cid):
    project, foreign = ann.project(), cid.project()
    team = ann.team(project)
    backend.wait_copied(foreign["id"])
    reply = cid.post(f"users/teams/{team['id']}/invites", {"emailList": ["x@y.example"]})
    assert reply.status == 403 and reply.json == NOT_MEMBER
    assert cid.post(f"users/teams/{team['id']}/project/{foreign['id']}").status == 403
    assert ann.post(f"users/teams/{team['id']}/project/{foreign['id']}").status == 403
    assert cid.post("users/teams", {"name": "Grab", "projectId": project["id"]}).status == 403
    assert cid.get(f"users/teams/{team['id']}").status == 404
    reply = cid.get(f"users/teams/{team['id']}/members")
    assert (reply.status, reply.json) == (404, {"error": "membership not found"})
    backend.wait_equal()
    assert backend.users_db.value("SELECT coalesce(team_id, '') FROM projects WHERE project_id = %s", foreign["id"]) == ""


def test_12_leaving_ends_access_and_the_last_administrator_stays(backend, ann, bob):
    project = ann.project()
    team = ann.team(project)
    membership = ann.admit(team, bob)
    reply = ann.post(f"users/teams/{team['id']}/leave")
    assert (reply.status, reply.json) == (409, {"error": "last administrator cannot leave"})
    assert bob.post(f"users/teams/{team['id']}/leave", expect=200) is None
    assert backend.wait_event(MEMBERSHIP_DELETED, membershipId=membership["id"])["data"] == {"membershipId": membership["id"]}
    wait_until(lambda: bob.get(f"projects/{project['id']}").status == 404, "Bob is out")
    reply = bob.post(f"users/teams/{team['id']}/leave")
    assert (reply.status, reply.json) == (404, {"error": "membership not found"})
    assert ann.post(f"users/teams/{team['id']}/leave", expect=200) is None


def test_two_administrators_that_leave_at_once_do_not_both_leave_a_member_behind(backend, ann, bob, cid, parallel):
    team = ann.team(ann.project())
    ann.admit(team, bob, "administrator")
    ann.admit(team, cid)
    replies = parallel(*[lambda person=person: person.post(f"users/teams/{team['id']}/leave") for person in (ann, bob)])
    assert sorted(reply.status for reply in replies) == [200, 409], replies


def test_13_roles_decide(backend, ann, bob):
    project = ann.project()
    column, target = ann.columns(project)[:2]
    team = ann.team(project)
    task = ann.task(project, column)
    membership = ann.admit(team, bob)
    pid, tid = project["id"], task["id"]
    # What is tried, and the weakest role that may.
    attempts = [
        ("viewer", "GET", f"projects/{pid}", None), ("viewer", "GET", f"projects/{pid}/columns", None),
        ("viewer", "GET", f"projects/{pid}/tasks", None), ("viewer", "GET", f"projects/tasks/{tid}/comments", None),
        ("commenter", "POST", f"projects/tasks/{tid}/comments", {"content": "Hi"}),
        ("editor", "POST", f"projects/{pid}/columns/{column['id']}/tasks", {"title": "x"}),
        ("editor", "PATCH", f"projects/tasks/{tid}", {"points": 1}),
        ("editor", "PATCH", f"projects/tasks/{tid}/move", {"to": column["id"], "from": column["id"]}),
        ("editor", "PATCH", f"projects/{pid}", {"name": "Named", "description": "d"}),
        ("editor", "PATCH", f"projects/{pid}/columns/{column['id']}", {"title": "x"}),
        ("administrator", "PATCH", f"projects/{pid}", {"active": False}),
        ("administrator", "PATCH", f"projects/{pid}", {"name": "Both", "public": True}),
        ("administrator", "POST", f"projects/{pid}/columns", {"title": "x"}),
        ("owner", "PATCH", f"projects/{pid}", {"teamId": ""}), ("owner", "DELETE", f"projects/{pid}", None),
    ]
    strength = ["viewer", "commenter", "editor", "administrator", "owner"]
    for role in strength[:4]:
        changed = ann.patch(f"users/teams/{team['id']}/members/{membership['id']}", {"role": role}, expect=200)
        assert (changed["id"], changed["role"]) == (membership["id"], role)
        backend.projects_db.wait_value(role, "SELECT role::text FROM memberships WHERE membership_id = %s", membership["id"])
        for needed, method, path, body in attempts:
            reply = bob.request(method, path, body)
            if strength.index(role) >= strength.index(needed):
                assert reply.status in (200, 201), f"{role}: {method} {path} {body}: {reply}"
            else:
                assert reply.status == 403 and reply.json == NOT_MEMBER, f"{role}: {method} {path} {body}: {reply}"
    events = backend.events(MEMBERSHIP_UPDATED, membershipId=membership["id"])
    assert [event["data"]["role"] for event in events][-3:] == ["commenter", "editor", "administrator"]
    assert set(events[0]["data"]) == {"membershipId", "role", "updatedAt"}


def test_a_team_keeps_an_administrator(backend, ann, bob):
    team = ann.team(ann.project())
    bobs = ann.admit(team, bob)
    [own] = [member for member in ann.get(f"users/teams/{team['id']}/members", expect=200) if member["userId"] == ann.user_id]
    path = f"users/teams/{team['id']}/members"
    assert ann.patch(f"{path}/{own['id']}", {"role": "viewer"}).status == 409
    assert bob.patch(f"{path}/{bobs['id']}", {"role": "administrator"}).status == 403
    assert bob.delete(f"{path}/{own['id']}").status == 403
    for body in ({"role": "king"}, {}, {"role": None}):
        reply = ann.patch(f"{path}/{bobs['id']}", body)
        assert reply.status == 400 and reply.json["fields"][0]["field"] == "role", reply
    assert ann.delete(f"{path}/{bobs['id']}", expect=200) is None
    assert ann.delete(f"{path}/{bobs['id']}").status == 404
    backend.wait_event(MEMBERSHIP_DELETED, membershipId=bobs["id"])


def test_an_invitation_is_taken_back(backend, ann, bob):
    team = ann.team(ann.project())
    [invite] = ann.invite(team, bob)
    path = f"users/teams/{team['id']}/invites/{invite['id']}"
    assert bob.delete(path).status == 403
    assert ann.delete(path, expect=200) is None
    assert bob.patch(path, {"accepted": True}).status == 404 and bob.get("users/teams/invites", expect=200) == []


def test_14_a_team_takes_a_second_project(backend, ann, bob):
    first, second = ann.project(), ann.project("Second")
    team = ann.team(first)
    ann.admit(team, bob)
    backend.wait_copied(second["id"])
    assert ann.post(f"users/teams/{team['id']}/project/{second['id']}", expect=200) is None
    event = backend.wait_event(PROJECT_UPDATED, projectId=second["id"])
    assert set(event["data"]) == {"projectId", "teamId", "updatedAt"} and event["data"]["teamId"] == team["id"]
    wait_until(lambda: bob.get(f"projects/{second['id']}").status == 200, "members see the second project")
    backend.wait_equal()
    assert {found["id"] for found in bob.get("projects", expect=200)} == {first["id"], second["id"]}
    ann.patch(f"projects/{second['id']}", {"teamId": ""}, expect=200)
    backend.wait_equal()
    assert bob.get(f"projects/{second['id']}").status == 404


def test_a_rename_does_not_carry_a_stale_team(backend, ann):
    project = ann.project()
    team = ann.team(project)
    ann.patch(f"projects/{project['id']}", {"name": "Renamed"}, expect=200)
    event = backend.wait_event(PROJECT_UPDATED, projectId=project["id"])
    assert set(event["data"]) == {"projectId", "updatedAt", "name", "description", "active", "public", "columnOrder"}
    backend.wait_equal()
    assert backend.users_db.value("SELECT team_id FROM projects WHERE project_id = %s", project["id"]) == team["id"]


@pytest.mark.parametrize("path", ["users/teams/123", "users/teams/123/members", "users/teams/123/invites"])
def test_an_id_that_is_no_uuid_is_told(backend, ann, path):
    reply = ann.post(path, {"emailList": []}) if path.endswith("invites") else ann.get(path)
    assert (reply.status, reply.json) == (400, {"error": "id provided was not a valid UUID"})


def test_what_a_new_team_needs_is_named(backend, ann):
    project = ann.project()
    backend.wait_copied(project["id"])
    for body, field in [({"projectId": project["id"]}, "name"), ({"name": "Team"}, "projectId"),
                        ({"name": "x" * 33, "projectId": project["id"]}, "name")]:
        reply = ann.post("users/teams", body)
        assert reply.status == 400 and reply.json["fields"][0]["field"] == field, reply
    reply = ann.post("users/teams", {"name": "Team", "projectId": "123"})
    assert (reply.status, reply.json) == (400, {"error": "id provided was not a valid UUID"})
    reply = ann.post("users/teams", {"name": "Team", "projectId": str(uuid.uuid4())})
    assert (reply.status, reply.json) == (404, {"error": "project not found"})
    assert ann.post("users/teams", {"name": "x" * 32, "projectId": project["id"]}).status == 201
