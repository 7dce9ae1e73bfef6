"""Fixtures of the tests with a stand-in of the hub: the server, and processes that ask it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.data import DATASETS
from tests.hub.models import MODELS
from tests.hub.server import TOKEN, Hub, serve
from tests.hub.worker import Worker, worker


def stocked() -> Hub:
    """A hub with all that recipes name; each is made when it is first asked for."""
    hub = Hub()
    for kind, makers in (("models", MODELS), ("datasets", DATASETS)):
        for name, make in makers.items():
            hub.add(kind, name, make)
    return hub


@pytest.fixture(scope="session")
def hub() -> Iterator[Hub]:
    """The hub; a test that changes what it holds has one of its own."""
    with serve(stocked()) as served:
        yield served


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the worker keeps what it downloads."""
    return tmp_path_factory.mktemp("hub-home")


@pytest.fixture(scope="session")
def member(hub: Hub, home: Path) -> Iterator[Worker]:
    """A process whose user accepted the terms of gated models."""
    with worker({**hub.environment(home), "HF_TOKEN": TOKEN}) as started:
        yield started
