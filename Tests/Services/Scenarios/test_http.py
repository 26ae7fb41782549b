"""CORS, health, logs, bodies and traces: scenarios 35 to 37."""

import json
import re
import socket
import time
import uuid

import pytest
from broker_process import PATIENCE, wait_until
from event import PROJECT_CREATED
from outside_systems import CLIENT_SECRET, SENDGRID_KEY

ORIGINS = ["http://localhost:3000", "https://devpie.local:3000"]
PATHS = ["projects", "users/me"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", ORIGINS)
def test_35_a_preflight_needs_no_token(backend, ann, path, origin):
    ann.token = None
    reply = ann.request("OPTIONS", path, headers={"Origin": origin, "Access-Control-Request-Method": "PATCH",
                                                  "Access-Control-Request-Headers": "authorization,content-type"})
    assert reply.status in (200, 204), reply
    assert reply.headers["Access-Control-Allow-Origin"] == origin
    assert reply.headers["Access-Control-Allow-Credentials"] == "true"
    listed = lambda name: {word.strip().lower() for word in reply.headers[name].split(",")}
    assert listed("Access-Control-Allow-Methods") >= {"options", "get", "post", "delete", "put", "patch"}
    assert listed("Access-Control-Allow-Headers") >= {"authorization", "cache-control", "content-type",
                                                      "strict-transport-security", "idempotency-key", "x-trace-id"}
    assert "origin" in reply.headers.get("Vary", "").lower()


@pytest.mark.parametrize("path", PATHS)
def test_35_answers_and_errors_carry_the_headers_for_known_origins_alone(backend, ann, path):
    for token, status in ((ann.token, 200), ("bad", 401)):
        for origin in ORIGINS:
            reply = ann.request("GET", path, headers={"Origin": origin, "Authorization": f"Bearer {token}"})
            assert (reply.status, reply.headers.get("Access-Control-Allow-Origin")) == (status, origin)
            assert "x-trace-id" in reply.headers["Access-Control-Expose-Headers"].lower()
        for origin in ("https://evil.example", "http://localhost:3000.evil.example", "http://localhost", "null"):
            reply = ann.request("GET", path, headers={"Origin": origin, "Authorization": f"Bearer {token}"})
            assert reply.status == status and "Access-Control-Allow-Origin" not in reply.headers
    reply = ann.request("OPTIONS", path, headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"})
    assert "Access-Control-Allow-Origin" not in reply.headers


@pytest.mark.parametrize("path", PATHS)
def test_unknown_paths_and_methods(backend, ann, path):
    reply = ann.request("PUT", path, {})
    assert reply.status == 405 and reply.json["error"] and "GET" in reply.headers["Allow"], reply
    prefix = path.split("/")[0]
    for unknown in (f"{prefix}/{uuid.uuid4()}/nothing/here", f"{prefix}/../../etc/passwd/x", f"{prefix}/x/y/z/%00"):
        reply = ann.get(unknown)
        assert reply.status == 404 and reply.json["error"], f"{unknown}: {reply}"


def test_36_health_needs_no_token(backend, ann):
    ann.token = None
    for service in backend.services.values():
        with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as connection:
            connection.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b'{"status":"ok"}'), answer
        assert service.debug("/healthz")[0] == 200
        status, body = service.debug("/readyz")
        assert status == 200 and set(json.loads(body)) >= {"database", "broker", "outboxLagSeconds"}
        metrics = service.debug("/metrics")[1]
        for name in ("outbox", "inbox", "parked", "dead_letters", "jwks"):
            assert re.search(rf"^\w*{name}\w*", metrics, re.MULTILINE), name


def test_36_logs_hold_no_secret_and_no_token(backend, ann, bob):
    team = ann.team(ann.project())
    ann.admit(team, bob)
    ann.get(f"projects?token={ann.token}")
    good, ann.token = ann.token, ann.token + "x"
    ann.get("projects")
    for service in backend.services.values():
        log = service.log
        assert log
        management = backend.outside.called("GET", "/api/v2/")[0].headers["authorization"].removeprefix("Bearer ")
        for secret in (CLIENT_SECRET, SENDGRID_KEY, management, good, good.split(".")[2], ann.email, bob.email,
                       "API_DB_PASSWORD=postgres", ":postgres@"):
            assert secret not in log, f"{secret[:20]} is in the log of {service.name}"
        for line in log.splitlines():
            assert isinstance(json.loads(line), dict), line


def test_requests_are_logged_with_their_route(backend, ann):
    project = ann.project()
    trace = str(uuid.uuid4())
    ann.request("GET", f"projects/{project['id']}", headers={"X-Trace-Id": trace})
    log = lambda: [line for line in backend.services["projects"].log.splitlines() if trace in line]
    wait_until(log, "the request is logged")
    line = log()[0]
    assert project["id"] not in line and '"GET"' in line and "200" in line and ann.user_id in line, line


@pytest.mark.parametrize("header, value, expected", [
    ("X-Trace-Id", "8d0a9b52-8d5f-4b8c-9c53-0d0c4ff3b8a1", "8d0a9b52-8d5f-4b8c-9c53-0d0c4ff3b8a1"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"),
    ("X-Trace-Id", "no uuid", None), ("traceparent", "00-zz-00-01", None)])
def test_a_trace_goes_from_the_request_into_the_event(backend, ann, header, value, expected):
    reply = ann.request("POST", "projects", {"name": "Traced"}, headers={header: value})
    trace = reply.headers["X-Trace-Id"]
    assert uuid.UUID(trace) and (expected is None or uuid.UUID(trace) == uuid.UUID(expected))
    event = backend.wait_event(PROJECT_CREATED, projectId=reply.json["id"])
    assert uuid.UUID(event["metadata"]["traceId"]) == uuid.UUID(trace)


def send_raw(backend, person, body, content_length=None):
    head = (f"POST /api/v1/projects HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {person.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body) if content_length is None else content_length}\r\n\r\n").encode()
    connection = socket.create_connection(("127.0.0.1", backend.services["projects"].port), timeout=PATIENCE)
    connection.sendall(head + body)
    return connection


def answer(connection):
    data = b""
    try:
        while part := connection.recv(65536):
            data += part
            if re.search(rb"\r\n\r\n.*[}\]]$", data, re.DOTALL):
                break
    except ConnectionResetError:
        pass
    connection.close()
    return data


def test_37_a_body_over_a_mebibyte_is_too_large(backend, ann):
    for length in (1024 * 1024 + 1, 10_000_000):
        connection = send_raw(backend, ann, b" " * 1000, content_length=length)
        assert answer(connection).startswith(b"HTTP/1.1 413 "), length
    at_limit = ("{\"name\":\"" + " " * (1024 * 1024 - 20) + "\"}").encode()
    reply = ann.request("POST", "projects", data=at_limit, headers={"Content-Type": "application/json"})
    assert reply.status == 400, reply
    chunks = (b"x" * 65536 for _ in range(32))
    try:
        assert ann.request("POST", "projects", data=chunks, headers={"Content-Type": "application/json"}).status == 413
    except OSError:
        pass  # closed before all of it was sent
    assert ann.get("projects", expect=200) == []


@pytest.mark.parametrize("body", [
    b"", b"   ", b"{", b"[]", b"null", b"5", b'"x"', b'{"name":"x"', b'{"name":"x"} trailing', b'{"name":"x",}', b"{'name':'x'}",
    b'{"name":"x","name":"y"}', b'{"name":"\xff"}', b'{"name":"\xed\xa0\x80"}', b'{"name":"x","x":1}',
    b'{"name":' + b"[" * 50_000 + b"]" * 50_000 + b"}", b"[" * 200_000, b'{"name":1e999}', b'{"name":true}',
    b'{"name":"x","teamId":5}', b'{"Name":"x"}', b"\xef\xbb\xbf{}", b'{"name":"a\nb"}', b'{"__proto__":{}}'])
def test_37_what_is_no_good_json_is_refused_with_a_reason(backend, ann, body):
    reply = ann.request("POST", "projects", data=body, headers={"Content-Type": "application/json"})
    assert reply.status == 400 and reply.json["error"], reply
    assert ann.get("projects", expect=200) == []


def test_37_a_slow_request_is_given_up(start):
    backend = start(services=["projects"], settings={"API_WEB_READ_TIMEOUT": "500ms"})
    nobody = backend.stranger()
    began = time.monotonic()
    for sent in (b'{"name":', b""):
        data = answer(send_raw(backend, nobody, sent, content_length=100))
        assert data == b"" or data.startswith(b"HTTP/1.1 408 "), data
    connection = socket.create_connection(("127.0.0.1", backend.services["projects"].port), timeout=PATIENCE)
    connection.sendall(b"GET /api/v1/projects HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    assert not answer(connection).startswith(b"HTTP/1.1 200")
    assert time.monotonic() - began < 15
    assert nobody.get("projects").status == 200


@pytest.mark.parametrize("request_head", [
    b"GET /api/v1/projects HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(2000)) + b"\r\n",
    b"GET /api/v1/projects HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"nonsense\r\n\r\n",
    b"POST /api/v1/projects HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    b"POST /api/v1/projects HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
def test_37_hostile_heads_do_no_harm(backend, ann, request_head):
    for service in backend.services.values():
        with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as connection:
            try:
                connection.sendall(request_head)
                connection.shutdown(socket.SHUT_WR)
                data = connection.recv(65536)
            except (ConnectionError, BrokenPipeError):
                data = b""
        assert data == b"" or data.startswith(b"HTTP/1.1 4"), data[:200]
        assert service.process.poll() is None
    assert (ann.get("projects").status, ann.get("users/me").status) == (200, 200)


#: What each of these asks of the database must not grow with what is there.
def test_the_statements_of_a_request_are_as_many_for_much_as_for_little(cluster, backend, ann, bob):
    project = ann.project()
    column = ann.columns(project)[0]
    team = ann.team(project)
    ann.invite(team, bob)
    requests = [(ann, "GET", "projects", None), (ann, "GET", f"projects/{project['id']}/columns", None),
                (ann, "GET", f"projects/{project['id']}/tasks", None), (bob, "GET", "users/teams/invites", None),
                (ann, "GET", "users/teams", None), (ann, "GET", f"users/teams/{team['id']}/members", None)]
    task = ann.task(project, column)
    requests.append((ann, "PATCH", f"projects/tasks/{task['id']}/move", {"from": column["id"], "to": column["id"]}))
    requests.append((ann, "POST", f"projects/{project['id']}/columns/{column['id']}/tasks", {"title": "x"}))
    requests.append((ann, "PATCH", f"projects/{project['id']}", {"description": "x"}))
    database = backend.users_db
    database.run("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    # Without what goes on by itself: the relay, the inbox, and their timers.
    counted = ("SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements JOIN pg_database d ON d.oid = dbid "
               "WHERE d.datname IN (%s, %s) AND query !~* 'outbox|inbox|parked|pg_stat_statements|pg_notify|listen|advisory' "
               "AND query !~* '^(begin|commit|rollback|set|start|select true|select 1|discard|deallocate)'")

    def statements(person, method, path, body):
        backend.wait_equal()
        before = database.value(counted, backend.users_db.name, backend.projects_db.name)
        assert person.request(method, path, body).status in (200, 201)
        backend.wait_equal()
        return database.value(counted, backend.users_db.name, backend.projects_db.name) - before

    few = [statements(*request) for request in requests]
    for number in range(12):
        other = ann.project(f"P{number}")
        ann.task(project, column)
        if number < 4:
            ann.invite(ann.team(other), bob)
    many = [statements(*request) for request in requests]
    assert few == many, list(zip([request[1:3] for request in requests], few, many))
