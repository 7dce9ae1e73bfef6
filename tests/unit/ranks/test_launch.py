"""What a launcher's variables say, and what of them is refused."""

import os
from collections.abc import Mapping

import pytest
import torch
from accelerate import PartialState

from distillkit.cli.main import LAUNCHED
from distillkit.errors import ConfigError
from distillkit.ranks.launch import NEEDED, OF_SEVERAL, check_environment, part_of

SECOND = {
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


def given(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name in {*NEEDED, *OF_SEVERAL}:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("variables", [{}, {"RANK": "0", "WORLD_SIZE": "1"}, SECOND])
def test_none_one_and_several_are_taken(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, variables)
    check_environment()


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        ({"WORLD_SIZE": ""}, ["RANK = 1", "WORLD_SIZE is not", "torchrun"]),
        ({"LOCAL_RANK": ""}, ["WORLD_SIZE = 2", "LOCAL_RANK not set"]),
        ({"RANK": ""}, ["WORLD_SIZE = 2", "RANK not set"]),
        ({"MASTER_ADDR": "", "MASTER_PORT": ""}, ["MASTER_ADDR, MASTER_PORT not set"]),
        ({"RANK": "2"}, ["RANK = 2: must be less than WORLD_SIZE = 2"]),
        ({"RANK": "-1"}, ["RANK = -1: must be a number"]),
        ({"WORLD_SIZE": "two"}, ["WORLD_SIZE = two: must be the number of processes", "unset"]),
        ({"WORLD_SIZE": "0"}, ["WORLD_SIZE = 0: must be the number of processes", "unset"]),
        ({"WORLD_SIZE": "1"}, ["RANK = 1: set, but WORLD_SIZE is 1", "unset RANK"]),
        ({"MASTER_PORT": "99999"}, ["MASTER_PORT = 99999: must be from 1 to 65535"]),
        ({"MASTER_PORT": "http"}, ["MASTER_PORT = http: must be a number"]),
    ],
)
def test_what_is_missing_or_wrong_is_refused_by_name(
    changed: dict[str, str], parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, SECOND | changed)
    with pytest.raises(ConfigError) as caught:
        check_environment()
    for part in parts:
        assert part in str(caught.value)


def test_what_trains_is_done_together_and_the_rest_by_the_first_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given(monkeypatch, {})
    assert part_of(trains=True) == "alone"
    given(monkeypatch, SECOND)
    assert part_of(trains=True) == "together"
    assert part_of(trains=False) == "idle"
    given(monkeypatch, SECOND | {"RANK": "0", "LOCAL_RANK": "0"})
    assert part_of(trains=True) == "together"
    assert part_of(trains=False) == "alone"
    assert "WORLD_SIZE" not in os.environ  # or Accelerate would wait for the others


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"},
        {"LOCAL_RANK": "1"},
        {"PMI_SIZE": "2"},
        {"OMPI_COMM_WORLD_SIZE": "2"},
        {"MV2_COMM_WORLD_SIZE": "2"},
    ],
)
def test_who_works_alone_is_alone_to_accelerate_too(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, variables | {"ACCELERATE_USE_CPU": "true"})
    monkeypatch.setattr(PartialState, "_shared_state", {})
    assert LAUNCHED & {*variables}
    assert part_of(trains=True) == "alone"
    state = PartialState(cpu=True)
    assert (state.num_processes, state.device.type) == (1, "cpu")
    assert not torch.distributed.is_initialized()
