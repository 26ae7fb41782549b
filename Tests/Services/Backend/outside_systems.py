"""The systems that are not ours, on one local port: a token issuer with its JWKS, Auth0's management API, and SendGrid.

They check what they are sent (`violations`), keep it (`calls`, `mails`), and fail when told to (`fail`)."""

import base64
import json
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

AUDIENCE = "https://devpie-dev.client/api"
MANAGEMENT_AUDIENCE = "https://devpie-dev.example/api/v2/"
CLIENT_ID, CLIENT_SECRET = "m2m-client", "m2m-secret-5f1c9e"
SENDGRID_KEY = "SG.test-key-8d24"
USER_CLAIM = "https://client.devpie.io/claims/user_id"
CONNECTION = "Username-Password-Authentication"


def number(value):
    """An integer as JWK writes it."""
    data = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class SigningKey:
    def __init__(self, kid, algorithm="RS256"):
        self.kid, self.algorithm = kid, algorithm
        self.private = (rsa.generate_private_key(65537, 2048) if algorithm == "RS256"
                        else ec.generate_private_key(ec.SECP256R1()))

    @property
    def jwk(self):
        public = self.private.public_key().public_numbers()
        shared = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        if self.algorithm == "RS256":
            return shared | {"kty": "RSA", "n": number(public.n), "e": number(public.e)}
        width = lambda value: base64.urlsafe_b64encode(value.to_bytes(32, "big")).rstrip(b"=").decode()
        return shared | {"kty": "EC", "crv": "P-256", "x": width(public.x), "y": width(public.y)}


@dataclass
class Call:
    method: str
    path: str
    query: dict
    headers: dict
    body: object


@dataclass
class Fault:
    method: str
    path: re.Pattern
    #: (status, headers, body) or "hang", each used once; the last again and again when `forever`.
    answers: list
    forever: bool = False


@dataclass
class Account:
    """A user of Auth0."""
    auth0_id: str
    email: str
    email_verified: bool = True
    nickname: str = "nick"
    picture: str = "https://pictures.example/1.png"
    app_metadata: dict = field(default_factory=dict)


class OutsideSystems:
    def __init__(self, port=0):
        self.keys = [SigningKey("key-1"), SigningKey("key-ec", "ES256")]
        self.calls, self.mails, self.violations = [], [], []
        self.accounts = {}
        self.tickets = {}
        #: Further pages, for people: {path: function of the query}.
        self.pages = {}
        self._faults = []
        self._tokens = {}
        self._lock = threading.Lock()
        self._released = threading.Event()
        outside = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def answer(self):
                outside._handle(self)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = answer

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self):
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def issuer(self):
        return self.url + "/"

    # Tokens

    def claims(self, subject, user_id=None, **changes):
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": [AUDIENCE, self.url + "/userinfo"], "sub": subject, "iat": now,
                  "exp": now + 3600, "scope": "openid profile"}
        if user_id is not None:
            claims[USER_CLAIM] = user_id
        claims.update(changes)
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, subject, user_id=None, key=None, headers=None, **changes):
        """An access token as Auth0 issues it. A change to None leaves the claim or the header out."""
        key = key or self.keys[0]
        sent = {name: value for name, value in ({"kid": key.kid} | (headers or {})).items() if value is not None}
        return jwt.encode(self.claims(subject, user_id, **changes), key.private, key.algorithm, headers=sent)

    # What tests set and see

    def account(self, email, **changes):
        """A user that Auth0 knows."""
        account = Account(f"auth0|{uuid.uuid4().hex[:24]}", email, **changes)
        with self._lock:
            self.accounts[account.auth0_id] = account
        return account

    def fail(self, method, path, *answers, forever=False):
        """The next calls of that method whose path matches get these answers: (status, headers, body) or "hang"."""
        with self._lock:
            self._faults.append(Fault(method, re.compile(path), list(answers), forever))

    def recover(self):
        """No more failures; what hangs is let go."""
        with self._lock:
            self._faults.clear()
        self._released.set()
        self._released = threading.Event()

    def called(self, method, path):
        with self._lock:
            return [call for call in self.calls if call.method == method and re.search(path, call.path)]

    def mails_to(self, address):
        with self._lock:
            return [mail for mail in self.mails if mail["personalizations"][0]["to"][0]["email"] == address]

    # The server

    def _handle(self, request):
        parts = urlsplit(request.path)
        raw = request.rfile.read(int(request.headers.get("content-length") or 0))
        kind = request.headers.get("content-type", "")
        body = None
        if raw:
            try:
                body = (parse_qs(raw.decode()) if kind.startswith("application/x-www-form-urlencoded")
                        else json.loads(raw))
            except ValueError:
                self._violate(f"{request.command} {request.path}: not {kind}: {raw[:100]!r}")
        call = Call(request.command, unquote(parts.path), parse_qs(parts.query),
                    {name.lower(): value for name, value in request.headers.items()}, body)
        with self._lock:
            self.calls.append(call)
            answer = self._next_fault(call)
            released = self._released
        if answer == "hang":
            released.wait()
            request.close_connection = True
            return
        if answer is None:
            answer = self._route(call)
        status, headers, value = answer
        data = b"" if value is None else json.dumps(value).encode()
        request.send_response(status)
        request.send_header("content-type", "application/json")
        request.send_header("content-length", str(len(data)))
        for name, text in headers.items():
            request.send_header(name, text)
        request.end_headers()
        request.wfile.write(data)

    def _next_fault(self, call):
        for fault in self._faults:
            if fault.method == call.method and fault.path.search(call.path) and fault.answers:
                return fault.answers[0] if fault.forever and len(fault.answers) == 1 else fault.answers.pop(0)
        return None

    def _violate(self, text):
        with self._lock:
            self.violations.append(text)

    def _expect(self, call, **fields):
        for name, expected in fields.items():
            actual = (call.body or {}).get(name)
            if isinstance(actual, list) and len(actual) == 1:
                actual = actual[0]
            if actual != expected:
                self._violate(f"{call.method} {call.path}: {name} is {actual!r}, not {expected!r}")

    def _route(self, call):
        if call.path == "/.well-known/jwks.json":
            return 200, {}, {"keys": [key.jwk for key in self.keys]}
        if call.path in self.pages:
            return 200, {}, self.pages[call.path](call.query)
        if call.path == "/oauth/token":
            return self._issue_management_token(call)
        if call.path == "/v3/mail/send":
            return self._send_mail(call)
        if call.path.startswith("/api/v2/"):
            bearer = call.headers.get("authorization", "")
            if bearer.removeprefix("Bearer ") not in self._tokens:
                return 401, {}, {"statusCode": 401, "error": "Unauthorized", "message": "Invalid token"}
            return self._manage(call, call.path.removeprefix("/api/v2/"))
        return 404, {}, {"error": "there is nothing here"}

    def _issue_management_token(self, call):
        if not call.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            self._violate("POST /oauth/token: the body is not a form")
        self._expect(call, grant_type="client_credentials", client_id=CLIENT_ID, client_secret=CLIENT_SECRET,
                     audience=MANAGEMENT_AUDIENCE)
        token = "management-" + uuid.uuid4().hex
        with self._lock:
            self._tokens[token] = time.time()
        return 200, {}, {"access_token": token, "scope": "read:users update:users", "expires_in": 86400,
                         "token_type": "Bearer"}

    def _manage(self, call, path):
        if call.method == "GET" and path == "connections":
            if call.query.get("strategy") != ["auth0"]:
                self._violate(f"GET connections: strategy is {call.query.get('strategy')}")
            return 200, {}, [{"id": "con_other", "name": "Other"}, {"id": "con_1", "name": CONNECTION}]
        if call.method == "GET" and path == "users-by-email":
            address = (call.query.get("email") or [""])[0]
            return 200, {}, [self._user(account) for account in self.accounts.values()
                             if account.email.lower() == address.lower()]
        if call.method == "POST" and path == "users":
            self._expect(call, connection=CONNECTION, email_verified=False, verify_email=False)
            if not re.fullmatch(r"[0-9a-fA-F-]{36}", str(call.body.get("password"))):
                self._violate("POST users: the password is not a random UUID")
            with self._lock:
                if any(account.email.lower() == call.body["email"].lower() for account in self.accounts.values()):
                    return 409, {}, {"statusCode": 409, "error": "Conflict", "message": "The user already exists."}
            name = call.body["email"].split("@")[0]
            return 201, {}, self._user(self.account(call.body["email"], email_verified=False, nickname=name))
        if call.method == "POST" and path == "tickets/password-change":
            self._expect(call, connection_id="con_1", ttl_sec=432000, mark_email_as_verified=True)
            ticket = f"{self.url}/lo/reset?ticket={uuid.uuid4().hex}#"
            with self._lock:
                self.tickets.setdefault(call.body["email"], []).append(ticket)
            return 201, {}, {"ticket": ticket}
        if path.startswith("users/"):
            account = self.accounts.get(path.removeprefix("users/"))
            if account is None:
                return 404, {}, {"statusCode": 404, "error": "Not Found", "message": "The user does not exist."}
            if call.method == "GET":
                return 200, {}, self._user(account)
            if call.method == "PATCH":
                if set(call.body) != {"app_metadata"} or set(call.body["app_metadata"]) != {"id"}:
                    self._violate(f"PATCH user: {call.body}")
                account.app_metadata.update(call.body["app_metadata"])
                return 200, {}, self._user(account)
        self._violate(f"{call.method} {call.path} is not a call that the service needs")
        return 404, {}, {"error": "there is nothing here"}

    def _user(self, account):
        return {"user_id": account.auth0_id, "email": account.email, "email_verified": account.email_verified,
                "nickname": account.nickname, "picture": account.picture, "app_metadata": account.app_metadata}

    def _send_mail(self, call):
        if call.method != "POST" or call.headers.get("authorization") != f"Bearer {SENDGRID_KEY}":
            return 401, {}, {"errors": [{"message": "The provided authorization grant is invalid"}]}
        mail = call.body
        if mail.get("from") != {"email": "people@devpie.io", "name": "DevPie"}:
            self._violate(f"mail from {mail.get('from')}")
        kinds = [part["type"] for part in mail.get("content", [])]
        if kinds != ["text/plain", "text/html"]:
            self._violate(f"mail of {kinds}")
        with self._lock:
            self.mails.append(mail)
        return 202, {}, None
