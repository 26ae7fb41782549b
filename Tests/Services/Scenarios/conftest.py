import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.abspath(os.path.join(here, "../../.."))
sys.path[:0] = [os.path.join(here, "../Backend"), os.path.join(root, "Tests/Conformance"),
                os.environ.get("GENERATED", os.path.join(root, ".build/conformance"))]

from backend import Backend  # noqa: E402
from postgres_cluster import PostgresCluster  # noqa: E402


@pytest.fixture(scope="session")
def cluster():
    with PostgresCluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def backend(cluster):
    """A backend for tests that only add people and what is theirs. Afterwards the copies equal their sources, and the
    outside systems were sent nothing that they do not know."""
    with Backend(cluster) as backend:
        yield backend
        backend.wait_equal()
        assert backend.outside.violations == []


@pytest.fixture
def start(cluster):
    """Starts a backend of the test's own, for what stops or breaks parts of it."""
    started = []

    def start(**options):
        started.append(Backend(cluster, **options))
        return started[-1]

    yield start
    for backend in started:
        backend.close()


@pytest.fixture
def parallel():
    """Runs functions at the same time; returns what they returned, in order."""
    def parallel(*functions, workers=None):
        with ThreadPoolExecutor(workers or len(functions)) as pool:
            return [future.result() for future in [pool.submit(function) for function in functions]]

    return parallel


@pytest.fixture
def ann(backend):
    return backend.person("Ann")


@pytest.fixture
def bob(backend):
    return backend.person("Bob")


@pytest.fixture
def cid(backend):
    return backend.person("Cid")
