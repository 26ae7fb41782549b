"""The OpenAPI documents: that they are sound, served as they are written, and name every route and no other."""

import itertools
import uuid

import pytest
import requests
import yaml
from broker_process import PATIENCE
from openapi_spec_validator import validate
from postgres_cluster import ROOT

METHODS = ["GET", "PUT", "POST", "DELETE", "PATCH"]


def written(name):
    with open(f"{ROOT}/Sources/Services/{name.capitalize()}/openapi.yaml", encoding="utf-8") as file:
        return file.read()


def routes(name):
    """{path template: methods}"""
    return {path: {method.upper() for method in item if method.upper() in METHODS}
            for path, item in yaml.safe_load(written(name))["paths"].items()}


@pytest.mark.parametrize("name", ["users", "projects"])
def test_the_document_is_sound(name):
    validate(yaml.safe_load(written(name)))


@pytest.mark.parametrize("name", ["users", "projects"])
def test_the_document_is_served_as_it_is_written(backend, name):
    reply = requests.get(f"{backend.services[name].url}/api/v1/{name}/openapi.yaml", timeout=PATIENCE)
    assert reply.status_code == 200 and reply.content.decode() == written(name)
    assert "yaml" in reply.headers["Content-Type"]


def filled(template):
    return "/".join(str(uuid.uuid4()) if part.startswith("{") else part for part in template.split("/"))


@pytest.mark.parametrize("name", ["users", "projects"])
def test_the_routes_of_the_service_are_the_documents(backend, ann, name):
    service = backend.services[name]
    headers = {"Authorization": f"Bearer {ann.token}"}
    documented = routes(name)
    for template, methods in documented.items():
        for method in METHODS:
            reply = requests.request(method, service.url + filled(template), headers=headers, json={}, timeout=PATIENCE)
            if method in methods:
                assert reply.status_code != 405 and "not_found_route" not in reply.text, f"{method} {template}: {reply.text}"
                secured = requests.request(method, service.url + filled(template), json={}, timeout=PATIENCE).status_code
                assert secured == (200 if template.endswith(("health", "openapi.yaml")) else 401), f"{method} {template}"
            else:
                assert reply.status_code == 405, f"{method} {template}: {reply.status_code} {reply.text}"
                allowed = {word.strip() for word in reply.headers["Allow"].split(",")} - {"OPTIONS", "HEAD"}
                assert allowed == methods, f"{template} allows {allowed}"


@pytest.mark.parametrize("name", ["users", "projects"])
def test_nothing_else_is_routed(backend, ann, name):
    """Paths made of the documents' own words, up to five parts, that match no template."""
    service = backend.services[name]
    documented = [template.split("/")[3:] for template in routes(name)]
    words = sorted({part for template in documented for part in template if not part.startswith("{")})
    matches = lambda path, template: len(path) == len(template) and all(
        part.startswith("{") or part == word for word, part in zip(path, template))
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {ann.token}"
    tried = 0
    for length in (1, 2, 3):
        for rest in itertools.product([*words, str(uuid.uuid4())], repeat=length):
            path = [name, *rest]
            if not any(matches(path, template) for template in documented):
                reply = session.get(f"{service.url}/api/v1/{'/'.join(path)}", timeout=PATIENCE)
                assert reply.status_code == 404, f"{path}: {reply.status_code} {reply.text}"
                tried += 1
    assert tried > 20
