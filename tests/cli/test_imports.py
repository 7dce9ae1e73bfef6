"""What costs little stays cheap: help, completion and config errors import nothing heavy."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from distillkit.cli.main import RUNS, TOOLS
from tests import tiny

HEAVY = {"torch", "transformers", "datasets"}
BARE = {"hydra", "omegaconf", "pydantic", "numpy"}


def imported(folder: Path, *words: str, code: int = 0, **environment: str) -> set[str]:
    """The packages that `distillkit words…` imports, as Python itself counts them."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "distillkit", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env=tiny.env(**environment),
    )
    assert done.returncode == code, done.stderr[-500:]
    assert "Traceback" not in done.stderr
    names = re.findall(r"^import time:.*\| +(\w+)", done.stderr, re.MULTILINE)
    assert "distillkit" in names
    return set(names)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        *([c, "--help"] for c in RUNS),
        ["completion", "bash"],
        ["recipes"],
        ["recipes", "bert-tiny"],
    ],
    ids=" ".join,
)
def test_help_costs_python_alone(tmp_path: Path, words: list[str]) -> None:
    assert imported(tmp_path, *words).isdisjoint(HEAVY | BARE)


@pytest.mark.parametrize("command", TOOLS)
def test_help_of_a_tool_imports_nothing_heavy(tmp_path: Path, command: str) -> None:
    assert imported(tmp_path, command, "--help").isdisjoint(HEAVY)


@pytest.mark.parametrize("line", ["distillkit tr", "distillkit train loss=f"])
def test_completion_imports_nothing_heavy(tmp_path: Path, line: str) -> None:
    typed = {"COMP_LINE": line, "COMP_POINT": str(len(line))}
    assert imported(tmp_path, "-sc", "query=bash", **typed).isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "words",
    [
        ["trian"],
        ["train", "loss.temprature=1", "trainer.keep=worst", "optimizer.lr=fast"],
        ["train", "-m", "loss=forward_kl,mse"],
        ["train", "loss._target_=os.system"],
    ],
    ids=" ".join,
)
def test_a_config_error_imports_nothing_heavy(tmp_path: Path, words: list[str]) -> None:
    assert imported(tmp_path, *words, code=2).isdisjoint(HEAVY)


@pytest.mark.parametrize("words", [["recipes"], ["train", "+recipe=bert-tiny", "--cfg", "job"]])
def test_a_look_at_what_there_is_imports_nothing_heavy(tmp_path: Path, words: list[str]) -> None:
    assert imported(tmp_path, *words).isdisjoint(HEAVY)


def test_pictures_are_loaded_by_who_draws_alone() -> None:
    code = "import sys, distillkit.cli.commands.train; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
