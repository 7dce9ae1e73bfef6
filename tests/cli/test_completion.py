"""`distillkit completion bash`: the script is valid, and completes in a real bash."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from distillkit.cli import RUNS, TOOLS
from distillkit.config.paths import groups, recipe_files
from tests import tiny
from tests.cli.runs import refused
from tests.conftest import Distillkit

# bash cuts words at "=" before it calls the function; what it shows is in COMPREPLY
COMPLETE = """
source script.sh
compopt() { :; }
while IFS= read -r line; do
    COMP_LINE="$line" COMP_POINT=${#line}
    read -ra COMP_WORDS <<< "${line//=/ = }"
    [[ "$line" == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
    _distillkit
    echo "${COMPREPLY[*]}"
done
"""


@pytest.fixture
def shell(distillkit: Distillkit, tmp_path: Path) -> Path:
    """A folder with the script, and with `distillkit` for the PATH."""
    (tmp_path / "script.sh").write_text(distillkit("completion", "bash").out)
    program = tmp_path / "distillkit"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m distillkit "$@"\n')
    program.chmod(0o755)
    return tmp_path


def bash(folder: Path, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    path = f"{folder}:/usr/local/bin:/usr/bin:/bin"
    return subprocess.run(
        ["bash", *words],
        cwd=folder,
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        env=tiny.env(PATH=path),
    )


def test_the_script_is_valid_bash(shell: Path) -> None:
    checked = bash(shell, "-n", "script.sh")
    assert (checked.returncode, checked.stderr) == (0, "")


def beginning(letter: str, names: Iterable[str]) -> list[str]:
    found = sorted(name for name in names if name.startswith(letter))
    assert found
    return found


@pytest.mark.slow
def test_it_completes_commands_recipes_choices_and_keys(shell: Path) -> None:
    wanted = {
        "distillkit tr": "train train-student",
        "distillkit targ": "targets",
        "distillkit train recipe=b": " ".join(beginning("b", recipe_files())),
        "distillkit train +recipe=b": " ".join(beginning("b", recipe_files())),
        "distillkit train loss=f": " ".join(beginning("f", groups()["loss"])),
        "distillkit train loss=": " ".join(groups()["loss"]),
        "distillkit evaluate +recipe=bert-tiny loss.temp": "loss.temperature=",
        "distillkit recipes ": "",
    }
    done = bash(shell, "-c", COMPLETE, typed="".join(f"{line}\n" for line in wanted))
    assert done.stderr == ""
    assert dict(zip(wanted, done.stdout.splitlines(), strict=True)) == wanted


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("distillkit ", {*RUNS, *TOOLS, "completion", "--help", "--version"}),
        ("distillkit train optimizer=", {"optimizer=adam", "optimizer=adamw", "optimizer=sgd"}),
        ("distillkit train-student data=files data.tra", {"data.train=", "data.transfer="}),
    ],
)
def test_the_script_is_answered_with_whole_words(
    distillkit: Distillkit, monkeypatch: pytest.MonkeyPatch, line: str, wanted: set[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    answer = distillkit("-sc", "query=bash")
    assert (answer.code, answer.err) == (0, "")
    assert wanted <= set(answer.out.split())


def test_no_other_shell_is_promised(distillkit: Distillkit) -> None:
    assert distillkit("completion").out == distillkit("completion", "bash").out
    refused(distillkit("completion", "zsh"), "completion zsh: only bash is supported")
