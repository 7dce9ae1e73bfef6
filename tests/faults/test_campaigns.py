"""Runs that are ended from outside at moments all over them; `tests/faults/campaign.py` does it."""

import pytest

from tests.processes import last_line

CAMPAIGN = "tests.faults.campaign"


@pytest.mark.parametrize("kind", ["kills", "signals"])
def test_two_ends_at_any_moment_leave_no_difference(kind: str) -> None:
    said = last_line(CAMPAIGN, kind, "2", "7", "encoder", minutes=5)
    assert "2 ended from outside" in said
    assert said.endswith("0 differences, 0 faults")


def test_three_that_start_at_once_make_all_once() -> None:
    said = last_line(CAMPAIGN, "starters", "1", "3", minutes=5)
    assert said.endswith("1 workspaces, 0 differences, 0 faults")


@pytest.mark.slow
def test_a_hundred_kills_leave_no_difference() -> None:
    assert last_line(CAMPAIGN, "kills", "100", "1", minutes=120).endswith("0 differences, 0 faults")


@pytest.mark.slow
def test_twenty_signals_leave_no_difference() -> None:
    assert last_line(CAMPAIGN, "signals", "20", "2", minutes=60).endswith("0 differences, 0 faults")


@pytest.mark.slow
def test_five_that_start_at_once_make_all_once_twenty_times() -> None:
    said = last_line(CAMPAIGN, "starters", "20", minutes=60)
    assert said.endswith("20 workspaces, 0 differences, 0 faults")
