import pytest

from broker_process import BrokerProcess


@pytest.fixture
def broker():
    with BrokerProcess() as process:
        yield process
