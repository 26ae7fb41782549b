import pytest

from broker_process import BrokerProcess
from streaming_client import StreamingClient


@pytest.fixture
def broker():
    """A broker with the memory store."""
    with BrokerProcess() as process:
        yield process


@pytest.fixture
def stored():
    """A broker with the file store, in a directory of its own."""
    with BrokerProcess(store="file") as process:
        yield process


@pytest.fixture
def client(broker):
    with StreamingClient(broker) as session:
        yield session
