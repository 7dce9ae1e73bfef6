"""Runs that are ended from outside at moments all over them; `tests/faults/campaign.py` does it."""

import os
import subprocess
import sys

import pytest

from tests import tiny
from tests.processes import ROOT


def campaign(*words: str, minutes: float) -> str:
    """What a campaign counted, in a process of its own, since it forks."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.campaign", *words],
        cwd=ROOT,
        env=tiny.env(PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        text=True,
        timeout=60 * minutes,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("kind", ["kills", "signals"])
def test_two_ends_at_any_moment_leave_no_difference(kind: str) -> None:
    said = campaign(kind, "2", "7", "encoder", minutes=5)
    assert "2 ended from outside" in said
    assert said.endswith("0 differences, 0 faults")


def test_three_that_start_at_once_make_all_once() -> None:
    said = campaign("starters", "1", "3", minutes=5)
    assert said.endswith("1 workspaces, 0 differences, 0 faults")


@pytest.mark.slow
def test_a_hundred_kills_leave_no_difference() -> None:
    assert campaign("kills", "100", "1", minutes=120).endswith("0 differences, 0 faults")


@pytest.mark.slow
def test_twenty_signals_leave_no_difference() -> None:
    assert campaign("signals", "20", "2", minutes=60).endswith("0 differences, 0 faults")


@pytest.mark.slow
def test_five_that_start_at_once_make_all_once_twenty_times() -> None:
    said = campaign("starters", "20", minutes=60)
    assert said.endswith("20 workspaces, 0 differences, 0 faults")
