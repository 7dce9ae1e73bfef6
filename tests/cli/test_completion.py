"""`distillkit completion SHELL`: the scripts are valid, and complete in the real shells."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from distillkit.cli.completion import SCRIPTS
from distillkit.cli.main import RUNS, TOOLS
from distillkit.config.paths import groups, recipe_files
from tests import tiny
from tests.cli.runs import assert_refused
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
        "distillkit recipes pk": "pkd-3 pkd-6",
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


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("distillkit recipes ", set(recipe_files())),
        ("distillkit targets ", {"inspect", "verify", "merge", "convert", "export"}),
        ("distillkit completion ", {"bash", "zsh", "fish"}),
        ("distillkit recipes bert-tiny ", set()),
    ],
)
def test_tools_are_answered_with_their_first_argument(
    distillkit: Distillkit, monkeypatch: pytest.MonkeyPatch, line: str, wanted: set[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    answer = distillkit("-sc", "query=bash")
    assert (answer.code, answer.err, set(answer.out.split())) == (0, "", wanted)


@pytest.mark.parametrize("kind", SCRIPTS)
def test_every_shell_has_a_script_of_its_own(distillkit: Distillkit, kind: str) -> None:
    result = distillkit("completion", kind)
    assert (result.code, result.out) == (0, SCRIPTS[kind])
    assert "distillkit -sc query=bash" in result.out.replace(
        '"${COMP_WORDS[0]}"', "distillkit"
    ).replace('"${words[1]}"', "distillkit")
    if shutil.which(kind):
        checked = subprocess.run([kind, "-n"], input=result.out, text=True, capture_output=True)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_no_other_shell_is_promised(distillkit: Distillkit) -> None:
    assert distillkit("completion").out == distillkit("completion", "bash").out
    assert_refused(
        distillkit("completion", "powershell"),
        "completion powershell: there is one for bash, zsh, fish",
    )


class Terminal:
    """A shell on a terminal of its own, typed to."""

    def __init__(self, screen: int) -> None:
        self.screen = screen

    def type(self, text: str, *, until: str, seconds: float = 20) -> str:
        """What the shell shows after `text`, read until it holds `until`."""
        os.write(self.screen, text.encode())
        shown, end = "", time.monotonic() + seconds
        while until not in shown and time.monotonic() < end:
            if select.select([self.screen], [], [], 0.1)[0]:
                shown += os.read(self.screen, 4096).decode(errors="replace")
        return shown


@contextmanager
def zsh(folder: Path) -> Iterator[Terminal]:
    environment = tiny.env(PATH=f"{folder}:{os.environ['PATH']}", TERM="dumb", HOME=str(folder))
    child, screen = pty.fork()
    if child == 0:  # nothing of the tests runs on in the child
        os.chdir(folder)
        os.execvpe("zsh", ["zsh", "-f", "-i"], environment)
    try:
        yield Terminal(screen)
    finally:
        os.close(screen)
        os.waitpid(child, 0)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_a_real_zsh_completes_after_the_documented_eval(shell: Path) -> None:
    with zsh(shell) as terminal:
        # without compinit before it, as in a fresh .zshrc
        terminal.type('eval "$(distillkit completion zsh)"; echo re""ady\n', until="ready")
        for typed, wanted in {
            "distillkit train-s": "distillkit train-student ",
            "distillkit train loss=forward": "distillkit train loss=forward_kl ",
            "distillkit train +recipe=tinybert-4 loss.temp": "loss.temperature=",
            "distillkit recipes tinyb": "distillkit recipes tinybert-",
            "distillkit evaluate student.path=./script": "student.path=./script.sh ",
        }.items():
            assert wanted in terminal.type(f"\x15{typed}\t", until=wanted)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_a_real_fish_completes(shell: Path) -> None:
    line = "distillkit completion fish | source; complete -C 'distillkit train loss=f'"
    environment = tiny.env(PATH=f"{shell}:{os.environ['PATH']}", HOME=str(shell))
    done = subprocess.run(
        ["fish", "-c", line], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.stdout.split() == [f"loss={name}" for name in beginning("f", groups()["loss"])]
