"""The whole backend on this machine, for a person to try: databases, broker, services, and a local issuer in the place of
Auth0 and SendGrid. Everything is temporary, and ends with this program."""

import os
import signal
import socket
import sys
import time

from backend import Backend
from broker_process import free_port
from person import Person
from postgres_cluster import ROOT, PostgresCluster

#: The ports of the manifests, as long as nobody has them.
PORTS = {"users": 4000, "users-debug": 6060, "projects": 4020, "projects-debug": 6061, "broker": 4222,
         "broker-monitoring": 8222, "outside": 4040}
LOGS = os.path.join(ROOT, ".build/up")


def preferred(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return port
        except OSError:
            return free_port()


def log_to_file(name, process):
    """Sends a process' log to a file; its memory here stays small."""
    file = open(os.path.join(LOGS, f"{name}.log"), "w", buffering=1, encoding="utf-8")
    file.writelines(line + "\n" for line in process.lines)
    process.keep = lambda line: file.write(line + "\n")


def introduce(backend):
    """A page that gives anybody an account and a token: /local/token?name=Bob"""
    people = {}

    def token(query):
        name = query.get("name", ["Ann"])[0]
        if name not in people:
            people[name] = Person(backend, name)
            people[name].email = f"{''.join(c for c in name.lower() if c.isalnum()) or 'somebody'}@devpie.local"
            people[name].sign_up()
        person = people[name]
        person.sign_in(exp=int(time.time()) + 7 * 86400)
        return {"name": name, "email": person.email, "userId": person.user_id, "token": person.token}

    backend.outside.pages = {"/local/token": token, "/local/mails": lambda _: backend.outside.mails}
    return token({})


def main():
    # A shell has it ignored by what it runs beside itself.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(0))
    os.makedirs(LOGS, exist_ok=True)
    with PostgresCluster() as cluster, Backend(cluster, ports={name: preferred(port) for name, port in PORTS.items()}) as backend:
        processes = {"broker": backend.broker, **backend.services}
        for name, process in processes.items():
            log_to_file(name, process)
        users, projects, outside = backend.services["users"], backend.services["projects"], backend.outside
        ann = introduce(backend)
        print(f"""
users      {users.url}/api/v1/users       openapi.yaml beside it; debug http://127.0.0.1:{users.debug_port}/readyz
projects   {projects.url}/api/v1/projects    openapi.yaml beside it; debug http://127.0.0.1:{projects.debug_port}/readyz
broker     {backend.broker.url}                 monitoring http://127.0.0.1:{backend.broker.monitoring_port}
databases  {cluster.url(backend.users_db.name)}
           {cluster.url(backend.projects_db.name)}
outside    {outside.url}                  the local issuer; a token for anybody: {outside.url}/local/token?name=Bob
                                                  mails that were "sent": {outside.url}/local/mails
logs       {os.path.relpath(LOGS)}/*.log

Ann ({ann['email']}) has an account. Her token, for a week:

export TOKEN={ann['token']}

Try:

curl -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{{"name":"My first board"}}' {projects.url}/api/v1/projects

Ctrl-C stops everything.
""", flush=True)
        while True:
            for name, process in processes.items():
                if process.process.poll() is not None:
                    # Ctrl-C goes to every process of the terminal, and may be noticed here a moment later than there.
                    time.sleep(0.5)
                    print(f"{name} ended with {process.process.returncode}; its log is {LOGS}/{name}.log", file=sys.stderr)
                    return 1
            time.sleep(0.5)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nStopped.")
