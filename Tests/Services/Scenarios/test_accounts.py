"""Accounts: scenarios 1 to 3, and what concerns a user alone."""

from broker_process import wait_until
from person import Person


def newcomer(backend, name="Ann", **account):
    """Somebody whom Auth0 knows and the service does not."""
    person = Person(backend, name)
    person.account = backend.outside.account(person.email, nickname=name, **account)
    person.token = backend.outside.token(person.account.auth0_id)
    person.body = {"auth0Id": person.account.auth0_id, "email": person.email, "firstName": name}
    return person


def rows(backend, person):
    return backend.users_db.value("SELECT count(*)::int FROM users WHERE auth0_id = %s", person.account.auth0_id)


def test_1_first_login_makes_the_account_and_the_second_finds_it(backend):
    ann = newcomer(backend)
    reply = ann.get("users/me")
    assert (reply.status, reply.json) == (404, {"error": "user not found"})
    user = ann.post("users", ann.body, expect=201)
    assert user["auth0Id"] == ann.account.auth0_id and user["email"] == ann.email and user["emailVerified"] is True
    assert ann.account.app_metadata == {"id": user["id"]}
    ann.user_id = user["id"]
    ann.sign_in()
    assert ann.get("users/me", expect=200) == user
    assert ann.post("users", ann.body, expect=202)["id"] == user["id"]
    assert rows(backend, ann) == 1


def test_2_an_account_of_somebody_else_is_refused_without_a_call(backend):
    ann, bob = newcomer(backend), newcomer(backend, "Bob")
    before = len(backend.outside.called("GET", "/api/v2/")) + len(backend.outside.called("PATCH", "/api/v2/"))
    reply = bob.post("users", ann.body)
    assert reply.status == 403 and reply.json["error"]
    after = len(backend.outside.called("GET", "/api/v2/")) + len(backend.outside.called("PATCH", "/api/v2/"))
    assert (before, ann.account.app_metadata, rows(backend, ann), rows(backend, bob)) == (after, {}, 0, 0)


def test_3_two_logins_at_once_make_one_account(backend, parallel):
    ann = newcomer(backend)
    replies = parallel(*[lambda: ann.post("users", ann.body)] * 2)
    assert sorted(reply.status for reply in replies) == [201, 202], replies
    assert len({reply.json["id"] for reply in replies}) == 1 and rows(backend, ann) == 1


def test_the_address_is_the_identity_providers_not_the_bodys(backend):
    ann = newcomer(backend, email_verified=False)
    user = ann.post("users", ann.body | {"email": "somebody@else.example", "emailVerified": True}, expect=201)
    assert (user["email"], user["emailVerified"]) == (ann.email, False)


def test_an_address_that_another_account_holds_is_a_conflict(backend):
    ann, twin = newcomer(backend), newcomer(backend, "Twin")
    ann.post("users", ann.body, expect=201)
    twin.account.email = ann.email.upper().replace("DEVPIE.IO", "devpie.io")
    reply = twin.post("users", twin.body)
    assert reply.status == 409 and reply.json["error"] and rows(backend, twin) == 0


def test_a_profile_changes_by_what_is_named(backend, ann):
    before = ann.get("users/me", expect=200)
    after = ann.patch("users/me", {"lastName": "Lee", "locale": "de"}, expect=200)
    assert after == before | {"lastName": "Lee", "locale": "de", "updatedAt": after["updatedAt"]}
    assert after["updatedAt"] > before["updatedAt"] and ann.get("users/me", expect=200) == after
    for body, field in [({"firstName": "x" * 256}, "firstName"), ({"locale": "123456789"}, "locale")]:
        reply = ann.patch("users/me", body)
        assert reply.status == 400 and reply.json["fields"][0]["field"] == field
    assert ann.patch("users/me", {"email": "x@y.z"}).status == 400
    assert ann.get("users/me", expect=200) == after


def test_what_a_new_account_needs_is_named(backend):
    ann = newcomer(backend)
    for field in ("auth0Id", "email", "firstName"):
        body = {name: value for name, value in ann.body.items() if name != field}
        reply = ann.post("users", body)
        assert reply.status == 400 and reply.json["error"] == "field validation error", reply
        assert {"field": field, "error": f"{field} is a required field"} in reply.json["fields"]
    assert ann.post("users", ann.body | {"firstName": ""}).status == 201


def test_a_claim_that_is_no_uuid_is_told(backend, ann):
    ann.token = backend.outside.token(ann.account.auth0_id, "123")
    reply = ann.get("users/me")
    assert (reply.status, reply.json) == (400, {"error": "id provided was not a valid UUID"})


def test_an_invited_account_is_adopted_only_with_a_verified_address(backend, ann):
    team = ann.team(ann.project())
    address = "invited-" + ann.email
    ann.post(f"users/teams/{team['id']}/invites", {"emailList": [address]}, expect=201)
    wait_until(lambda: backend.outside.mails_to(address), "the mail to the invited person")
    [auth0] = [account for account in backend.outside.accounts.values() if account.email == address]
    invited = Person(backend, "Invited")
    invited.account, invited.user_id = auth0, auth0.app_metadata["id"]
    invited.sign_in()
    reply = invited.get("users/teams/invites")
    assert reply.status == 403 and reply.json["error"].startswith("email address is not verified")
    # As the ticket in the mail does.
    auth0.email_verified = True
    [invite] = invited.get("users/teams/invites", expect=200)
    assert (invite["teamName"], invite["userId"]) == ("Team", invited.user_id)
    user = invited.post("users", {"auth0Id": auth0.auth0_id, "email": address, "firstName": "In"}, expect=202)
    assert user["id"] == invited.user_id
