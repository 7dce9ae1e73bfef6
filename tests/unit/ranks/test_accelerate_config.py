"""What an Accelerate config asks for: taken, passed over by name, or refused in one line."""

import pytest

from distillkit.errors import ConfigError
from distillkit.ranks.launch import part_of
from tests.unit.ranks.test_launch import SECOND, given

FIRST = SECOND | {"RANK": "0", "LOCAL_RANK": "0"}
FSDP2 = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


@pytest.mark.parametrize(
    ("variables", "parts"),
    [
        ({"ACCELERATE_USE_FSDP": "true"}, ["FSDP_VERSION = 1", "fsdp_version: 2"]),
        (FSDP2 | {"FSDP_VERSION": "1"}, ["FSDP_VERSION = 1", "fsdp_version: 2"]),
        (
            FSDP2 | {"FSDP_ACTIVATION_CHECKPOINTING": "true"},
            ["trainer.gradient_checkpointing=true", "fsdp_activation_checkpointing: false"],
        ),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, ["DeepSpeed is not supported", "fsdp_version 2"]),
        ({"ACCELERATE_USE_MEGATRON_LM": "true"}, ["Megatron-LM", "fsdp_version 2"]),
        ({"ACCELERATE_USE_PARALLELISM_CONFIG": "true"}, ["parallelism_config", "fsdp_version 2"]),
    ],
)
@pytest.mark.parametrize("launched", [{}, FIRST])
def test_what_no_run_can_take_is_refused(
    launched: dict[str, str],
    variables: dict[str, str],
    parts: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given(monkeypatch, launched | variables)
    with pytest.raises(ConfigError) as caught:
        part_of(trains=True)
    assert all(part in str(caught.value) for part in parts), caught.value
    assert "\n" not in str(caught.value)


def test_of_several_processes_the_first_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SECOND | {"ACCELERATE_USE_MEGATRON_LM": "true"})
    with pytest.raises(SystemExit) as ended:
        part_of(trains=True)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("variables", "lines"),
    [
        ({}, []),
        (FSDP2, []),
        ({"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "NO"}, []),
        (
            {"ACCELERATE_MIXED_PRECISION": "bf16"},
            ["ACCELERATE_MIXED_PRECISION = bf16: passed over; trainer.precision decides it"],
        ),
        (
            {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"},
            ["ACCELERATE_GRADIENT_ACCUMULATION_STEPS = 4: passed over; trainer.micro_batch_size"],
        ),
    ],
)
def test_what_the_run_decides_itself_is_passed_over_by_name(
    variables: dict[str, str],
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given(monkeypatch, FIRST | variables)
    assert part_of(trains=True) == "together"
    told = " ".join(capsys.readouterr().err.split())
    assert all(line in told for line in lines)
    assert told.count("passed over") == len(lines)


def test_one_process_shares_nothing_out_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given(monkeypatch, FSDP2)
    assert part_of(trains=True) == "alone"
    assert "ACCELERATE_USE_FSDP = true: passed over" in capsys.readouterr().err
