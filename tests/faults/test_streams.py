"""Standard streams that are closed: nothing is written where it does not belong, all ends well."""

import shlex
import subprocess
from pathlib import Path

import pytest

from tests import tiny
from tests.cli.conftest import finished  # noqa: F401
from tests.cli.runs import Finished, with_overrides
from tests.faults.campaign import content

CLOSED = ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"]


def shell(command: list[str], closed: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell that closes some of its streams."""
    line = f"exec {shlex.join(command)} {closed}"
    return subprocess.run(
        ["sh", "-c", line], cwd=cwd, env=tiny.env(), capture_output=True, text=True, timeout=200
    )


@pytest.mark.parametrize("closed", CLOSED)
def test_a_command_ends_as_with_open_streams(closed: str, tmp_path: Path) -> None:
    for words, code in ((("recipes",), 0), (("--version",), 0), (("train", "loss.x=1"), 2)):
        done = shell(tiny.command(*words), closed, tmp_path)
        assert done.returncode == code, (words, done.stderr)
        assert "Traceback" not in done.stderr
        assert bool(done.stdout) == (code == 0 and ">&-" not in closed.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "closed", [CLOSED[-1], *(pytest.param(it, marks=pytest.mark.slow) for it in CLOSED[:-1])]
)
def test_a_run_makes_the_same_with_closed_streams(
    closed: str,
    finished: Finished,  # noqa: F811
    tmp_path: Path,
) -> None:
    words = with_overrides(finished.words, f"workspace={tmp_path / 'workspace'}", "control=false")
    done = shell(tiny.command("train", *words), closed, tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("outputs/run/*/report.md"))) == 1
    found, expected = content(tmp_path / "workspace"), content(finished.workspace)
    same = [name for name in found if not name.startswith("evaluation")]
    assert {name: found[name] for name in same} == {name: expected[name] for name in same}
    said = "evaluation: "
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.suffix in (".lock", ".safetensors", ".arrow", ".json"):
            assert said.encode() not in path.read_bytes(), path


def test_a_file_that_is_opened_later_is_not_a_stream(tmp_path: Path) -> None:
    code = (
        "import os, sys; from distillkit.console.streams import fill_closed; fill_closed(); "
        "handle = os.open('file', os.O_CREAT | os.O_WRONLY); print('text'); sys.stdout.flush(); "
        "os.write(1, b'more'); os.write(2, b'more'); sys.exit(handle)"
    )
    environment = tiny.env(PYTHONPATH=str(Path.cwd()))
    line = f"exec {shlex.join([*tiny.command()[:1], '-c', code])} <&- >&- 2>&-"
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=environment, timeout=60)
    assert done.returncode > 2
    assert (tmp_path / "file").read_bytes() == b""
