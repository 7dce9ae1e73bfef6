"""Processes that never become one run: one is missing, or was started otherwise."""

import signal
import sys
import time
from pathlib import Path

import pytest

from tests import tiny
from tests.faults.test_ranks import MINUTE
from tests.processes import Ranks, distillkit


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_death_before_all_have_met_ends_the_other(rank: int, tmp_path: Path) -> None:
    run = distillkit("train", cwd=tmp_path, DISTILLKIT_MEETING_SECONDS="2")
    run.children[rank].kill()
    other = run.end(MINUTE)[1 - rank]
    assert other.code == 75, other.err
    said = [line for line in other.err.splitlines() if line.startswith("distillkit:")]
    assert len(said) == 1 and "Traceback" not in other.err
    assert f"rank {rank} of 2 has not come to 127.0.0.1:" in said[0]
    assert not (tmp_path / "outputs").exists()


BUSY = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from distillkit.cli.main import main
from distillkit.ranks import meeting

def sleep(seconds):  # the thread that looks for the others is in PyTorch's store all the time
    Path("looks").touch()

meeting.time = SimpleNamespace(sleep=sleep, monotonic=time.monotonic)
sys.argv = ["distillkit", "train"]
main()
"""


def test_one_that_is_signalled_while_it_looks_for_the_others_has_its_status(tmp_path: Path) -> None:
    """Python's end beside a thread in PyTorch would abort the process."""
    run = Ranks([sys.executable, "-c", BUSY], tmp_path, last=["sleep", "300"])
    assert run.kill_when(0, tmp_path, "looks", signal.SIGTERM)
    run.children[1].kill()
    first, _ = run.end(MINUTE)
    assert first.code == 75, first.err
    assert first.err == "\ndistillkit: stopped by SIGTERM; the same command goes on from here\n"


@pytest.mark.slow
def test_without_a_word_the_other_waits_for_a_minute(tmp_path: Path) -> None:
    run = distillkit("train", cwd=tmp_path, DISTILLKIT_MEETING_SECONDS="")
    run.children[1].kill()
    begun = time.monotonic()
    first, _ = run.end(3 * MINUTE)
    assert first.code == 75
    assert "rank 1 of 2 has not come to 127.0.0.1:" in first.err and " in 60 s: " in first.err
    assert MINUTE < time.monotonic() - begun < 1.6 * MINUTE  # and PyTorch is loaded before


def test_other_words_are_refused_in_one_line_before_any_work(tmp_path: Path) -> None:
    words = ["train", "seed=1", f"workspace={tmp_path / 'w'}"]
    other = [words[0], "seed=2", words[2]]
    run = Ranks(tiny.command(*words), tmp_path, last=tiny.command(*other))
    first, second = run.end()
    assert (first.code, second.code) == (2, 2), first.err + second.err
    said = [line for line in first.err.splitlines() if line.startswith("distillkit:")]
    assert len(said) == 1
    assert said[0].startswith("distillkit: rank 1 on ")
    assert said[0].endswith(
        "was started with seed=2, rank 0 with seed=1; start all with the same command line"
    )
    assert (first.out, second.out, second.err) == ("", "", "")
    assert not list(tmp_path.iterdir())
