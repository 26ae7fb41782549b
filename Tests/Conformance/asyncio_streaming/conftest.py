import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import loop_argument  # noqa: E402

loop_argument.install()

from broker_process import BrokerProcess  # noqa: E402


@pytest.fixture
def broker():
    with BrokerProcess() as process:
        yield process


@pytest.fixture
def stored():
    with BrokerProcess(store="file") as process:
        yield process
