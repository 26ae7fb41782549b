"""Somebody who uses the product: signs in, and sends requests."""

import json
import threading
import urllib.parse
import uuid

import requests
from broker_process import PATIENCE, wait_until


class Reply:
    def __init__(self, response):
        self.status = response.status_code
        self.headers = response.headers
        self.text = response.text

    @property
    def json(self):
        return json.loads(self.text)

    def __repr__(self):
        return f"{self.status} {self.text[:300]}"


class Person:
    """`ann.post("projects", {"name": "Testing"}, expect=201)` returns the JSON of the answer."""

    def __init__(self, backend, name, token=None, user_id=None):
        self.backend, self.name = backend, name
        self.email = f"{name.lower()}-{uuid.uuid4().hex[:10]}@devpie.io"
        self.account = None
        self.user_id = user_id
        self.token = token
        self._local = threading.local()

    def sign_up(self):
        """The first login: Auth0 knows the person, the service does not; afterwards the token has the claim."""
        self.account = self.backend.outside.account(self.email, nickname=self.name)
        self.token = self.backend.outside.token(self.account.auth0_id)
        user = self.post("users", {"auth0Id": self.account.auth0_id, "email": self.email, "firstName": self.name},
                         expect=201)
        self.user_id = self.account.app_metadata["id"]
        assert self.user_id == user["id"]
        self.sign_in()
        return self

    def sign_in(self, **changes):
        self.token = self.backend.outside.token(self.account.auth0_id, self.user_id, **changes)

    def _session(self):
        """A session for each thread, as requests' own is not for several."""
        if getattr(self._local, "session", None) is None:
            self._local.session = requests.Session()
            self._local.session.trust_env = False
        return self._local.session

    def hang_up(self):
        """Closes this thread's connections: the next request makes a new one."""
        self._session().close()

    def request(self, method, path, body=None, data=None, headers=None, timeout=PATIENCE):
        """One request; `path` is below /api/v1/."""
        service = self.backend.services["users" if path.startswith("users") else "projects"]
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if body is not None:
            data = json.dumps(body, ensure_ascii=False).encode()
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        url = f"{service.url}/api/v1/{urllib.parse.quote(path, safe='/?&=%:')}"
        return Reply(self._session().request(method, url, data=data, headers=sent, timeout=timeout))

    def _expecting(self, method, path, body=None, expect=None, **more):
        reply = self.request(method, path, body, **more)
        if expect is None:
            return reply
        assert reply.status == expect, f"{method} {path}: expected {expect}, got {reply}"
        return reply.json

    def get(self, path, **more):
        return self._expecting("GET", path, **more)

    def post(self, path, body=None, **more):
        return self._expecting("POST", path, body, **more)

    def patch(self, path, body=None, **more):
        return self._expecting("PATCH", path, body, **more)

    def delete(self, path, **more):
        return self._expecting("DELETE", path, **more)

    # What most tests begin with

    def project(self, name="Testing", **more):
        return self.post("projects", {"name": name, **more}, expect=201)

    def columns(self, project):
        return self.get(f"projects/{project['id']}/columns", expect=200)

    def task(self, project, column, title="Task"):
        return self.post(f"projects/{project['id']}/columns/{column['id']}/tasks", {"title": title}, expect=201)

    def team(self, project, name="Team"):
        """A team for a project, when it has reached users; returns when projects knows it too."""
        backend = self.backend
        backend.wait_copied(project["id"])
        team = self.post("users/teams", {"name": name, "projectId": project["id"]}, expect=201)
        wait_until(lambda: self.get(f"projects/{project['id']}", expect=200)["teamId"] == team["id"],
                   "the team is the project's in both services")
        return team

    def invite(self, team, *people):
        """Invites people who have accounts; returns their invitations."""
        self.post(f"users/teams/{team['id']}/invites", {"emailList": [person.email for person in people]}, expect=201)
        found = []
        for person in people:
            found += [invite for invite in person.get("users/teams/invites", expect=200)
                      if invite["teamId"] == team["id"]]
        return found

    def admit(self, team, person, role="editor"):
        """Makes a person a member, by invitation; returns the membership when projects knows it."""
        [invite] = self.invite(team, person)
        person.patch(f"users/teams/{team['id']}/invites/{invite['id']}", {"accepted": True}, expect=200)
        members = self.get(f"users/teams/{team['id']}/members", expect=200)
        [membership] = [member for member in members if member["userId"] == person.user_id]
        if role != "editor":
            membership = self.patch(f"users/teams/{team['id']}/members/{membership['id']}", {"role": role}, expect=200)
        self.backend.databases["projects"].wait_value(
            role, "SELECT role::text FROM memberships WHERE membership_id = %s", membership["id"])
        return membership
