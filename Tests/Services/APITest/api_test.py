"""Property-based requests against both services: no answer is a 5xx, and every answer is as its document says.

Each document is run twice: with the ids of things that are there, and with any ids."""

import os
import random
import subprocess
import sys
import tempfile

from backend import Backend
from postgres_cluster import ROOT, PostgresCluster

EXAMPLES = os.environ.get("EXAMPLES", "30")
SEED = os.environ.get("SEED") or str(random.SystemRandom().randrange(1_000_000))
PROGRAM = os.path.join(os.path.dirname(sys.executable), "schemathesis")


def present(backend, ann):
    """Ids of things that Ann may see."""
    bob = backend.person("Bob")
    project = ann.project("Present")
    column = ann.columns(project)[0]
    task = ann.task(project, column)
    comment = ann.post(f"projects/tasks/{task['id']}/comments", {"content": "Here"}, expect=201)
    team = ann.team(project)
    membership = ann.admit(team, bob)
    [invite] = ann.invite(team, backend.person("Cid"))
    return {"projects": {"pid": project["id"], "cid": column["id"], "tid": task["id"], "commentId": comment["commentId"]},
            "users": {"tid": team["id"], "pid": project["id"], "mid": membership["id"], "iid": invite["id"]}}


def run(service, name, token, parameters):
    # What a schema cannot say: 1.0 is an integer to it, and a columnOrder must have the names that the project has now.
    excluded = ["positive_data_acceptance"]
    if parameters:
        # Ids that are laid down are not those of what was just made.
        excluded.append("ensure_resource_availability")
    with tempfile.TemporaryDirectory() as directory:
        settings = os.path.join(directory, "schemathesis.toml")
        with open(settings, "w", encoding="utf-8") as file:
            file.write("[parameters]\n" + "".join(f'"path.{key}" = "{value}"\n' for key, value in parameters.items()))
        command = [PROGRAM, "--config-file", settings, "run", f"{ROOT}/Sources/Services/{name.capitalize()}/openapi.yaml", "--url", service.url,
                   "--header", f"Authorization: Bearer {token}", "--checks", "all", "--exclude-checks", ",".join(excluded), "--max-examples", EXAMPLES,
                   "--seed", SEED, "--continue-on-failure", "--workers", "1", "--request-timeout", "20", "--no-color"]
        return subprocess.call(command, cwd=directory)


def main():
    print(f"api-test: replay with SEED={SEED} EXAMPLES={EXAMPLES} make api-test", flush=True)
    failed = 0
    with PostgresCluster() as cluster, Backend(cluster) as backend:
        for name in ("projects", "users"):
            for known in (True, False):
                ann = backend.person("Ann")
                parameters = present(backend, ann)[name] if known else {}
                print(f"\n== {name}, {'ids of what is there' if known else 'any ids'}", flush=True)
                failed += run(backend.services[name], name, ann.token, parameters) != 0
        broken = [name for name, service in backend.services.items() if service.process.poll() is not None]
        if backend.outside.violations or broken:
            print(f"outside systems were sent: {backend.outside.violations[:5]}; ended: {broken}")
            failed += 1
    print(f"\n{4 - min(failed, 4)} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
