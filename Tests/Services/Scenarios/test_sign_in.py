"""Tokens and keys: scenarios 33 and 34."""

import base64
import hashlib
import hmac
import json
import time
import uuid

import jwt
import pytest
from outside_systems import AUDIENCE, SigningKey
from broker_process import wait_until
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def encoded(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def public_pem(key):
    return key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signed_with_public_key(outside, person):
    """Algorithm confusion: HS256, with the public RSA key as the secret."""
    head = encoded({"alg": "HS256", "typ": "JWT", "kid": outside.keys[0].kid})
    body = encoded(outside.claims(person.account.auth0_id, person.user_id))
    tag = hmac.new(public_pem(outside.keys[0]), f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{encoded(tag)}"


def unsigned(outside, person, algorithm="none"):
    head = encoded({"alg": algorithm, "typ": "JWT", "kid": outside.keys[0].kid})
    return f"{head}.{encoded(outside.claims(person.account.auth0_id, person.user_id))}."


def changed_payload(outside, person):
    head, body, tag = outside.token(person.account.auth0_id, person.user_id).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{head}.{encoded(claims | {'sub': 'auth0|other'})}.{tag}"


def of(**changes):
    return lambda outside, person: outside.token(person.account.auth0_id, person.user_id, **changes)


class Refused:
    """Tokens that must be refused, by what is wrong with them."""
    NOW = int(time.time())
    ALL = {
        "garbage": lambda *_: "garbage", "two parts": lambda *_: "a.b", "long": lambda *_: "x" * 7000,
        "expired": of(exp=NOW - 60), "without expiry": of(exp=None), "expiry of a wrong type": of(exp="tomorrow"),
        "not yet valid": of(nbf=NOW + 3600), "wrong issuer": of(iss="https://evil.example/"), "without issuer": of(iss=None),
        "foreign audience": of(aud="https://other.example"), "foreign audiences": of(aud=["https://a.example", "https://b.example"]),
        "without audience": of(aud=None), "audience of a wrong type": of(aud=5), "empty audiences": of(aud=[]),
        "without subject": of(sub=None),
        "unknown kid": of(headers={"kid": "nobody"}), "without kid": of(headers={"kid": None}),
        "signed by another key": lambda outside, person: outside.token(
            person.account.auth0_id, person.user_id, key=SigningKey(outside.keys[0].kid)),
        "EC key's name with an RSA signature": lambda outside, person: outside.token(
            person.account.auth0_id, person.user_id, headers={"kid": outside.keys[1].kid}),
        "alg none": unsigned, "alg None": lambda outside, person: unsigned(outside, person, "None"),
        "HS256 with the public key": signed_with_public_key, "changed payload": changed_payload,
        "critical header": of(headers={"crit": ["x"], "x": 1}),
    }


@pytest.mark.parametrize("what", list(Refused.ALL))
def test_33_a_bad_token_is_refused(backend, ann, what):
    ann.token = Refused.ALL[what](backend.outside, ann)
    for path in ("projects", "users/me"):
        reply = ann.get(path)
        assert reply.status == 401 and set(reply.json) == {"error"} and reply.json["error"], f"{path}: {reply}"
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")
        assert reply.headers["Content-Type"].startswith("application/json")
        assert ann.token not in reply.text


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "{token}", "Token {token}",
                                    "Bearer {token} x"])
def test_33_without_a_bearer_token_it_is_refused(backend, ann, header):
    value = None if header is None else header.format(token=ann.token)
    for path in ("projects", "users/me"):
        reply = ann.request("GET", path, headers={"Authorization": value})
        assert reply.status == 401 and reply.json["error"], f"{path}: {reply}"


@pytest.mark.parametrize("changes", [{}, {"aud": AUDIENCE}, {"nbf": Refused.NOW - 5}, {"exp": Refused.NOW + 7200},
                                     {"iat": Refused.NOW + 10}, {"azp": "x", "https://client.devpie.io/claims/roles": ["client"]}])
def test_33_a_good_token_is_taken(backend, ann, changes):
    ann.sign_in(**changes)
    assert (ann.get("projects").status, ann.get("users/me").status) == (200, 200)


def test_33_es256_and_any_case_of_bearer_are_taken(backend, ann):
    for key in backend.outside.keys:
        token = backend.outside.token(ann.account.auth0_id, ann.user_id, key=key)
        for scheme in ("Bearer", "bearer", "BEARER"):
            for path in ("projects", "users/me"):
                assert ann.request("GET", path, headers={"Authorization": f"{scheme} {token}"}).status == 200


def test_33_clocks_may_differ_by_half_a_minute(backend, ann):
    ann.sign_in(exp=int(time.time()) - 10)
    assert ann.get("projects").status == 200
    ann.sign_in(nbf=int(time.time()) + 15)
    assert ann.get("projects").status == 200


def test_who_has_no_account_is_told(backend):
    nobody = backend.stranger()
    nobody.token = backend.outside.token(nobody.account.auth0_id)
    for method, path, body in [("GET", "projects", None), ("POST", "projects", {"name": "x"}), ("GET", "users/teams", None),
                               ("GET", f"projects/{uuid.uuid4()}", None)]:
        reply = nobody.request(method, path, body)
        assert (reply.status, reply.json) == (403, {"error": "user not registered"}), f"{method} {path}: {reply}"


def fetches(backend):
    return len(backend.outside.called("GET", "jwks.json"))


def test_34_a_new_key_costs_one_fetch_and_a_flood_of_bad_ones_none_more(start, parallel):
    backend = start(services=["projects"])
    nobody = backend.stranger()
    assert nobody.get("projects").status == 200
    before = fetches(backend)
    assert before == 1
    backend.outside.keys.append(SigningKey("key-2"))
    nobody.token = backend.outside.token(nobody.account.auth0_id, nobody.user_id, key=backend.outside.keys[-1])
    statuses = parallel(*[lambda: nobody.get("projects").status] * 100, workers=32)
    assert statuses == [200] * 100 and fetches(backend) == before + 1

    def flood(number):
        token = backend.outside.token(nobody.account.auth0_id, nobody.user_id, headers={"kid": f"flood-{number}"})
        return nobody.request("GET", "projects", headers={"Authorization": f"Bearer {token}"}).status

    assert set(parallel(*[lambda number=number: flood(number) for number in range(60)], workers=16)) == {401}
    assert fetches(backend) <= before + 2
    # The issuer is away: what is known goes on.
    backend.outside.fail("GET", "jwks.json", (500, {}, {}), forever=True)
    assert nobody.get("projects").status == 200 and flood(1000) == 401


def test_34_the_issuer_is_away_at_the_start(start):
    backend = start(services=[])
    backend.outside.fail("GET", "jwks.json", (500, {}, {}), (200, {}, {"keys": "none"}))
    with backend.replica("projects") as service:
        backend.services["projects"] = service
        nobody = backend.stranger()
        wait_until(lambda: nobody.get("projects").status == 200, "the keys are fetched when the issuer is back", 60)
        del backend.services["projects"]
