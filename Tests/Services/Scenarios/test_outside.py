"""The identity provider and the mail service fail: scenario 38. Each test has a backend of its own."""

import pytest
from broker_process import wait_until
from test_accounts import newcomer, rows


@pytest.fixture
def alone(start):
    backend = start()
    yield backend
    backend.outside.recover()
    assert backend.outside.violations == []


def state(backend, address):
    return backend.users_db.value("SELECT state FROM mail_outbox WHERE recipient = %s ORDER BY seq DESC LIMIT 1", address)


def test_38_too_many_requests_and_errors_are_tried_again(alone):
    backend = alone
    backend.outside.fail("GET", "/api/v2/users/", (429, {"Retry-After": "1"}, {}), (500, {}, {}))
    ann = newcomer(backend)
    assert ann.post("users", ann.body).status == 201
    assert len(backend.outside.called("GET", f"/api/v2/users/")) == 3
    assert ann.account.app_metadata


@pytest.mark.parametrize("fault", [(500, {}, {"error": "x"}), (403, {}, {"error": "x"}), (200, {}, ["not", "a", "user"])])
def test_38_what_stays_broken_is_a_502_and_a_retry_is_safe(alone, fault):
    backend = alone
    backend.outside.fail("GET", "/api/v2/users/", fault, forever=True)
    ann = newcomer(backend)
    reply = ann.post("users", ann.body, timeout=60)
    assert (reply.status, reply.json) == (502, {"error": "identity provider unavailable"})
    backend.outside.recover()
    assert ann.post("users", ann.body).status in (201, 202)
    assert rows(backend, ann) == 1 and ann.account.app_metadata["id"]


def test_38_the_link_of_the_id_fails_and_a_retry_completes_it(alone):
    backend = alone
    backend.outside.fail("PATCH", "/api/v2/users/", (500, {}, {}), forever=True)
    ann = newcomer(backend)
    assert ann.post("users", ann.body, timeout=60).status == 502
    backend.outside.recover()
    reply = ann.post("users", ann.body)
    assert reply.status in (201, 202) and ann.account.app_metadata == {"id": reply.json["id"]}
    assert rows(backend, ann) == 1


def test_38_a_provider_that_hangs_does_not_hold_the_service(alone):
    backend = alone
    ann, bob = newcomer(backend), backend.person("Bob")
    backend.outside.fail("GET", "/api/v2/users/", "hang", forever=True)
    reply = ann.post("users", ann.body, timeout=60)
    assert (reply.status, reply.json) == (502, {"error": "identity provider unavailable"})
    assert bob.get("users/me").status == 200


def test_38_one_management_token_for_many_calls(alone):
    backend = alone
    for name in ("Ann", "Bob", "Cid"):
        backend.person(name)
    assert len(backend.outside.called("POST", "/oauth/token")) == 1
    backend.services["users"].restart()
    backend.person("Dan")
    assert len(backend.outside.called("POST", "/oauth/token")) == 1, "the token outlives the process"
    assert backend.users_db.value("SELECT count(*)::int FROM ma_token") == 1


def test_38_a_management_token_that_cannot_be_had_is_not_stored(alone):
    backend = alone
    backend.outside.fail("POST", "/oauth/token", (403, {}, {"error": "access_denied"}), forever=True)
    ann = newcomer(backend)
    assert ann.post("users", ann.body, timeout=60).status == 502
    assert backend.users_db.value("SELECT count(*)::int FROM ma_token") == 0
    backend.outside.recover()
    assert ann.post("users", ann.body).status in (201, 202)


def test_38_an_account_that_exists_outside_is_adopted(alone):
    backend = alone
    ann = backend.person("Ann")
    team = ann.team(ann.project())
    known = backend.outside.account("known@devpie.io")
    ann.post(f"users/teams/{team['id']}/invites", {"emailList": ["known@devpie.io"]}, expect=201)
    wait_until(lambda: backend.outside.mails_to("known@devpie.io"), "the mail")
    assert len(backend.outside.called("GET", "/api/v2/users-by-email")) == 1
    assert known.app_metadata["id"] == backend.users_db.value(
        "SELECT user_id FROM users WHERE auth0_id = %s", known.auth0_id)


def test_38_mail_is_sent_when_the_services_are_back_each_step_once(alone):
    backend = alone
    outside = backend.outside
    ann = backend.person("Ann")
    team = ann.team(ann.project())
    outside.fail("POST", "/api/v2/tickets", (500, {}, {}), (500, {}, {}), (500, {}, {}))
    outside.fail("POST", "/v3/mail/send", (503, {}, {}))
    ann.post(f"users/teams/{team['id']}/invites", {"emailList": ["new@devpie.io"]}, expect=201)
    wait_until(lambda: outside.mails_to("new@devpie.io"), "the mail", 60)
    backend.users_db.wait_value("sent", "SELECT state FROM mail_outbox")
    assert len(outside.mails_to("new@devpie.io")) == 1 and len(outside.tickets["new@devpie.io"]) == 1
    assert len(outside.called("POST", "/api/v2/users$")) == 1


def test_without_credentials_the_service_says_what_is_off(start):
    none = {"API_WEB_AUTH_M_2_M_CLIENT": "none", "API_WEB_AUTH_M_2_M_SECRET": "none", "API_WEB_AUTH_MAPI_AUDIENCE": "none",
            "API_WEB_SENDGRID_API_KEY": "none"}
    backend = start(settings=none)
    ann = newcomer(backend)
    reply = ann.post("users", ann.body)
    assert reply.status == 503 and reply.json["error"] and reply.json["error"] != "Internal Server Error", reply
    assert ann.get("users/me").status == 404
    assert backend.outside.called("POST", "/oauth/token") == []
    log = backend.services["users"].log
    assert "Auth0" in log and "SendGrid" in log
