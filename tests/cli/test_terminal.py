"""What a user sees of a run in a shell of its own: nobody else's bars, lines that stay lines."""

import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import tiny
from tests.cli.runs import QUICK, Finished, with_overrides

# of datasets, transformers, huggingface_hub, httpx, pip and Python's warnings
FOREIGN = re.compile(
    r"it/s|examples/s|Saving the dataset|Generating |Loading weights|model shards|Fetching |"
    r"HTTP Request|[Ww]arning:|Traceback|NNPACK|Some weights|━━━ .*[kM]B/s"
)


@pytest.mark.slow
def test_a_piped_run_has_our_plain_lines_alone(fresh: list[str], tmp_path: Path) -> None:
    done = tiny.run("train", *fresh, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not FOREIGN.search(done.stdout + done.stderr)
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr
    begins = [line.split(":")[0] for line in done.stderr.splitlines() if not line.startswith(" ")]
    ours = {"data", "run", "teacher", "targets", "student", "control", "evaluation"}
    assert ours <= {*begins} <= {*ours, "train"}  # the command's own name: a slow start


def on_a_terminal(*words: str, cwd: Path) -> tuple[int, str]:
    """(exit code, all that was shown) of a command on a terminal of its own."""
    child, screen = pty.fork()
    if child == 0:
        os.chdir(cwd)
        command = tiny.command(*words)
        os.execvpe(command[0], command, tiny.env(TERM="xterm", COLUMNS="120"))
    shown = b""
    while True:
        try:
            part = os.read(screen, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(screen)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode(errors="replace")


@pytest.mark.slow
def test_a_run_on_a_terminal_has_our_bars_alone(fresh: list[str], tmp_path: Path) -> None:
    code, shown = on_a_terminal("train", *fresh, cwd=tmp_path)
    assert code == 0, shown
    assert not FOREIGN.search(re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown))
    assert "expected" in shown
    assert "report: outputs/run/" in shown


@pytest.mark.slow
def test_an_interrupted_run_says_one_line_and_goes_on_later(
    finished: Finished, tmp_path: Path
) -> None:
    words = with_overrides(
        finished.words,
        f"workspace={tmp_path / 'workspace'}",
        "trainer.epochs=2000",
        "control=false",
    )
    child = subprocess.Popen(
        tiny.command("train", *words),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=tiny.env(),
    )
    assert child.stderr is not None
    read = ""
    end = time.monotonic() + 90
    while "targets: " not in read and time.monotonic() < end:
        if select.select([child.stderr], [], [], 1)[0]:
            read += child.stderr.readline()
    time.sleep(1)  # into the student's steps
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert err.strip().splitlines()[-1] == (
        "distillkit: interrupted; the same command goes on from here"
    )
    assert "Traceback" not in err
    assert out == ""
    done = tiny.run("train", *with_overrides(words, "trainer.epochs=1"), *QUICK[2:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
