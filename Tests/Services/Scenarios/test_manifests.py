"""Manifests and container files: scenario 50."""

import base64
import glob
import os
import re
import subprocess

import kubernetes_validate
import pytest
import yaml
from broker_process import BROKER, BrokerProcess
from event import PROJECT_CREATED
from outside_systems import AUDIENCE, CLIENT_ID, CLIENT_SECRET, MANAGEMENT_AUDIENCE, SENDGRID_KEY
from postgres_cluster import MIGRATIONS, PASSWORD, ROOT, PostgresCluster

FILES = sorted(glob.glob(f"{ROOT}/manifests/*.yaml"))
#: File: objects, with the ports of services. Section 8, without what is built later.
OBJECTS = {
    "mic-users-depl.yaml": {("Deployment", "mic-users-depl"), ("Service", "mic-users-svc", 4000),
                            ("Service", "debug-mic-users-svc", 6060)},
    "mic-projects-depl.yaml": {("Deployment", "mic-projects-depl"), ("Service", "mic-projects-svc", 4020),
                               ("Service", "debug-mic-projects-svc", 6060)},
    "msg-nats-depl.yaml": {("Deployment", "msg-nats-depl"), ("Service", "nats-svc", 4222, 8222),
                           ("PersistentVolumeClaim", "nats-data")},
    "db-users-depl.yaml": {("Deployment", "mic-db-users-depl"), ("Service", "mic-db-users-svc", 5432),
                           ("PersistentVolumeClaim", "mic-db-users-data")},
    "db-projects-depl.yaml": {("Deployment", "mic-db-projects-depl"), ("Service", "mic-db-projects-svc", 5432),
                              ("PersistentVolumeClaim", "mic-db-projects-data")},
    "ingress-rules.yaml": {("Ingress", "devpie-client-ingress-rules")},
    "ingress-traefik-ds.yaml": {
        ("ServiceAccount", "traefik-ingress-controller"), ("ClusterRole", "traefik-ingress-controller"),
        ("ClusterRoleBinding", "traefik-ingress-controller"), ("DaemonSet", "traefik-ingress-controller"),
        ("Service", "traefik-ingress-service", 80), ("Service", "traefik-ingress-admin", 8080)},
    "network-policies.yaml": {("NetworkPolicy", name) for name in
                              ("nats", "mic-users", "mic-projects", "mic-db-users", "mic-db-projects", "traefik-ingress")},
    "secrets.sample.yaml": set(),
}
SECRETS = {"auth0-domain": "devpie-dev.example", "auth0-audience": AUDIENCE, "auth0-client-id": "spa",
           "auth0-m2m-client": CLIENT_ID, "auth0-m2m-secret": CLIENT_SECRET, "auth0-mapi-audience": MANAGEMENT_AUDIENCE,
           "sendgrid-api-key": SENDGRID_KEY, "db-password": PASSWORD, "ghcr-auth": "x"}
ENVIRONMENT = {
    "API_WEB_PORT": ":4000", "API_WEB_CORS_ORIGINS": "http://localhost:3000, https://devpie.local:3000",
    "API_WEB_AUTH_DOMAIN": "auth0-domain", "API_WEB_AUTH_AUDIENCE": "auth0-audience", "API_DB_USER": "postgres",
    "API_DB_NAME": "postgres", "API_DB_PASSWORD": "db-password", "API_DB_DISABLE_TLS": "true",
    "API_NATS_URL": "nats://nats-svc:4222", "API_NATS_CLUSTER_ID": "devpie-client",
    "API_WEB_AUTH_M_2_M_CLIENT": "auth0-m2m-client", "API_WEB_AUTH_M_2_M_SECRET": "auth0-m2m-secret",
    "API_WEB_AUTH_MAPI_AUDIENCE": "auth0-mapi-audience", "API_WEB_SENDGRID_API_KEY": "sendgrid-api-key"}
#: The original's broker arguments, with the file store in the place of the SQL store.
BROKER_ARGUMENTS = ["-mc", "0", "-st", "file", "-dir", "/data", "-p", "4222", "-m", "8222", "-hbi", "5s", "-hbt", "5s",
                    "-hbf", "2", "-SDV", "-cid", "devpie-client"]


def objects(name):
    with open(f"{ROOT}/manifests/{name}", encoding="utf-8") as file:
        return [found for found in yaml.safe_load_all(file) if found]


def workloads():
    return [found for path in FILES for found in objects(os.path.basename(path))
            if found["kind"] in ("Deployment", "DaemonSet")]


def pod(workload):
    return workload["spec"]["template"]["spec"]


def environment(container):
    """{name: its value, or the key of the secret}"""
    return {entry["name"]: entry.get("value", entry.get("valueFrom", {}).get("secretKeyRef", {}).get("key"))
            for entry in container.get("env", [])}


def test_the_files_are_these():
    # What people make for themselves, and git ignores, may lie there too.
    assert {os.path.basename(path) for path in FILES} - {"secrets.yaml", "ingress-tls-secrets.yaml"} == set(OBJECTS)


@pytest.mark.parametrize("name", list(OBJECTS))
def test_the_objects_are_valid_and_named_as_the_originals(name):
    found = set()
    for one in objects(name):
        kubernetes_validate.validate(one, "1.29", strict=True)
        ports = tuple(port["port"] for port in one["spec"]["ports"]) if one["kind"] == "Service" else ()
        found.add((one["kind"], one["metadata"]["name"], *ports))
    assert found == OBJECTS[name]


def test_the_sample_of_secrets_has_every_key_that_is_used():
    with open(f"{ROOT}/manifests/secrets.sample.yaml", encoding="utf-8") as file:
        text = file.read().split("\n#\n", 1)[1]
    secret = yaml.safe_load(re.sub(r"^# ?", "", text, flags=re.MULTILINE))
    assert (secret["kind"], secret["metadata"]["name"]) == ("Secret", "secrets") and set(secret["data"]) == set(SECRETS)
    kubernetes_validate.validate(secret | {"data": {key: base64.b64encode(b"x").decode() for key in secret["data"]}},
                                 "1.29", strict=True)
    used = set(re.findall(r"name: secrets, key: ([\w-]+)", "".join(open(path, encoding="utf-8").read() for path in FILES)))
    assert used <= set(secret["data"])
    ignored = subprocess.run(["git", "check-ignore", "manifests/secrets.yaml"], cwd=ROOT, capture_output=True)
    assert ignored.returncode == 0


@pytest.mark.parametrize("workload", workloads(), ids=lambda workload: workload["metadata"]["name"])
def test_every_pod_is_confined_and_probed(workload):
    spec = pod(workload)
    app = workload["spec"]["selector"]["matchLabels"]["app"]
    assert workload["spec"]["template"]["metadata"]["labels"]["app"] == app
    assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] > 0
    for container in spec["containers"] + spec.get("initContainers", []):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True and security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        if app != "traefik-ingress":
            assert container["resources"] == {"requests": {"cpu": "100m", "memory": "100Mi"},
                                              "limits": {"cpu": "250m", "memory": "250Mi"}}
    for container in spec["containers"]:
        assert container["livenessProbe"] and container["readinessProbe"]
        # What is not ready is not restarted for it: a full disk, a database that is away.
        if app == "nats" or app in ("mic-users", "mic-projects"):
            assert container["livenessProbe"]["httpGet"]["path"] != container["readinessProbe"]["httpGet"]["path"]
    assert spec["terminationGracePeriodSeconds"] >= 10
    policies = [policy["spec"]["podSelector"]["matchLabels"]["app"] for policy in objects("network-policies.yaml")]
    assert app in policies
    claims = [volume for volume in spec.get("volumes", []) if "persistentVolumeClaim" in volume]
    if app == "nats" or app.startswith("mic-db-"):
        assert len(claims) == 1 and workload["spec"]["strategy"] == {"type": "Recreate"}
    assert not [volume for volume in spec.get("volumes", []) if "hostPath" in volume]


def test_services_reach_the_pods_that_they_mean():
    labels = {workload["spec"]["template"]["metadata"]["labels"]["app"]: workload for workload in workloads()}
    services = {one["metadata"]["name"]: one for path in FILES for one in objects(os.path.basename(path)) if one["kind"] == "Service"}
    for service in services.values():
        spec = pod(labels[service["spec"]["selector"]["app"]])
        known = {port[key] for container in spec["containers"] for port in container["ports"] for key in ("name", "containerPort")}
        assert all(port["targetPort"] in known for port in service["spec"]["ports"]), service["metadata"]["name"]
    [ingress] = objects("ingress-rules.yaml")
    [rule] = ingress["spec"]["rules"]
    backends = {path["path"]: path["backend"]["service"] for path in rule["http"]["paths"]}
    assert rule["host"] == "localhost" and backends == {
        "/api/v1/users": {"name": "mic-users-svc", "port": {"number": 4000}},
        "/api/v1/projects": {"name": "mic-projects-svc", "port": {"number": 4020}}}
    for backend in backends.values():
        assert services[backend["name"]]["spec"]["ports"][0]["port"] == backend["port"]["number"]


@pytest.mark.parametrize("name", ["users", "projects"])
def test_a_service_has_the_originals_environment_and_migrates_first(name):
    [workload] = [found for found in objects(f"mic-{name}-depl.yaml") if found["kind"] == "Deployment"]
    [container] = pod(workload)["containers"]
    assert environment(container) == ENVIRONMENT | {
        "API_WEB_DEBUG": ":6060", "API_DB_HOST": f"mic-db-{name}-svc", "API_NATS_CLIENT_ID": f"mic-{name}"}
    assert {port["containerPort"] for port in container["ports"]} == {4000, 6060}
    [init] = pod(workload)["initContainers"]
    last = max(int(os.path.basename(path)[:6]) for path in glob.glob(f"{MIGRATIONS[name]}/*.up.sql"))
    assert (init["name"], init["image"]) == ("schema-migration", f"devpies/mic-db-{name}-migration:v{last:06d}")
    assert init["command"] == ["migrate"]
    assert init["args"] == ["-path", "/migrations", "-verbose", "-wait", "60s", "-database", "$(DB_URL)", "up"]
    assert environment(init)["DB_URL"] == (
        f"postgresql://postgres:$(DB_PASSWORD)@mic-db-{name}-svc:5432/postgres?sslmode=disable")


def test_the_broker_starts_with_the_originals_arguments(tmp_path):
    [workload] = [found for found in objects("msg-nats-depl.yaml") if found["kind"] == "Deployment"]
    [container] = pod(workload)["containers"]
    assert container["args"] == BROKER_ARGUMENTS
    changed = {"/data": str(tmp_path), "4222": None, "8222": None}

    class Manifest(BrokerProcess):
        def command(self):
            changed.update({"4222": str(self.port), "8222": str(self.monitoring_port)})
            return [BROKER, *[changed.get(argument, argument) for argument in container["args"]]]

    with Manifest(store="file", directory=str(tmp_path), cluster="devpie-client") as broker:
        assert broker.http("/healthz")[0] == 200
    with open(f"{ROOT}/manifests/msg-nats-depl.yaml", encoding="utf-8") as file:
        text = file.read()
    for word in ("-st sql", "-sql_driver postgres", "-sql_source", "readTimeout=5s writeTimeout=5s sslmode=disable",
                 "MSG_DB_USER", "MSG_DB_PASSWORD", "MSG_DB_NAME", "MSG_DB_HOST", "MSG_DB_PORT", "nats-db-store-svc"):
        assert word in text


def test_tilt_and_make_name_what_is_there():
    with open(f"{ROOT}/Tiltfile", encoding="utf-8") as file:
        text = file.read()
    compile(text, "Tiltfile", "exec")
    applied = set(re.findall(r"manifests/([\w.-]+\.yaml)", text))
    assert applied == (set(OBJECTS) - {"secrets.sample.yaml", "db-users-depl.yaml", "db-projects-depl.yaml"}) | {"secrets.yaml"}
    # What Package.swift needs to be read is in the images' context.
    sources = re.findall(r"'([^']+)'", re.search(r"^sources = \[(.*)\]", text, re.MULTILINE)[1])
    with open(f"{ROOT}/Package.swift", encoding="utf-8") as file:
        assert {path.split("/")[0] for path in re.findall(r'path: "([^"]+)"', file.read())} <= set(sources)
    for path in re.findall(r"dockerfile='([^']+)'", text):
        assert os.path.exists(f"{ROOT}/{path}")
    images = {container["image"] for workload in workloads() for container in pod(workload)["containers"]}
    assert set(re.findall(r"docker_build\('([^']+)'", text)) == {image for image in images if image.startswith("devpies/")}
    printed = subprocess.run(["make", "-n", "images", "cluster-up", "cluster-down"], cwd=ROOT, capture_output=True, text=True)
    assert printed.returncode == 0, printed.stderr
    wanted = {container["image"] for workload in workloads() for container in pod(workload).get("initContainers", [])}
    for image in wanted:
        assert image in printed.stdout, image
    for name in ("db-users-depl.yaml", "db-projects-depl.yaml"):
        assert name in printed.stdout


def resolved(container, replacements):
    """The container's environment as this machine's: secrets read, names of services replaced."""
    values = {}
    for entry in container["env"]:
        value = entry["value"] if "value" in entry else SECRETS[entry["valueFrom"]["secretKeyRef"]["key"]]
        value = re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], value)
        for old, new in replacements.items():
            value = value.replace(old, new)
        values[entry["name"]] = value
    return values


def test_50_the_stack_of_the_manifests_works(start):
    """As local processes, with only addresses changed, and the local issuer named."""
    with PostgresCluster() as users_cluster, PostgresCluster() as projects_cluster:
        backend = start(services=())
        clusters = {"users": users_cluster, "projects": projects_cluster}
        local = {name: value for name, value in backend.service_settings("users").items()
                 if name in ("API_WEB_AUTH_ISSUER", "API_WEB_AUTH_JWKS_URL", "API_WEB_AUTH_BASE_URL", "API_WEB_SENDGRID_BASE_URL")}
        for name, cluster in clusters.items():
            addresses = {f"mic-db-{name}-svc:5432": f"127.0.0.1:{cluster.port}", f"mic-db-{name}-svc": f"127.0.0.1:{cluster.port}",
                         "nats-svc:4222": f"127.0.0.1:{backend.broker.port}"}
            [workload] = [found for found in objects(f"mic-{name}-depl.yaml") if found["kind"] == "Deployment"]
            [init], [container] = pod(workload)["initContainers"], pod(workload)["containers"]
            values = resolved(init, addresses)
            arguments = [{"/migrations": MIGRATIONS[name], "$(DB_URL)": values["DB_URL"]}.get(word, word) for word in init["args"]]
            migrated = subprocess.run([os.environ["MIGRATE"], *arguments], capture_output=True, text=True)
            assert migrated.returncode == 0, migrated.stderr
            settings = resolved(container, addresses)
            del settings["API_WEB_PORT"], settings["API_WEB_DEBUG"]
            backend.databases[name].close()
            backend.databases[name] = type(backend.databases[name])(cluster, "postgres")
            backend.services[name] = backend.replica(name)
            backend.services[name].terminate()
            process = backend.services[name]
            own = {key: process.settings[key] for key in ("API_WEB_PORT", "API_WEB_DEBUG")}
            process.settings = own | settings | local
            process.start()
        # Scenarios 1, 4, 5 and 8 in one story.
        ann, bob = backend.person("Ann"), backend.person("Bob")
        project = ann.project()
        backend.wait_event(PROJECT_CREATED, projectId=project["id"])
        team = ann.team(project)
        ann.admit(team, bob)
        assert [found["id"] for found in bob.get("projects", expect=200)] == [project["id"]]
        backend.wait_equal()
