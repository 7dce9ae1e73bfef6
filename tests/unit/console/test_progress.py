"""What the terminal says: once, in plain lines without a terminal, never folded or interpreted."""

import io
import re
import sys
import time
from types import SimpleNamespace

import pytest

from distillkit.console import progress
from distillkit.console.progress import clock, heartbeat, rank, say, track, warn, working


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands until `now.seconds` is set."""
    time = SimpleNamespace(seconds=0.0)
    time.monotonic = lambda: time.seconds
    monkeypatch.setattr(progress, "time", time)
    return time


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00")],
)
def test_a_clock_shows_minutes_and_hours(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


# lines


def test_notices_go_to_stderr_alone(capsys: pytest.CaptureFixture[str]) -> None:
    say("data: 3 rows")
    warn("no teacher")
    assert capsys.readouterr() == ("", "data: 3 rows\nwarning: no teacher\n")


@pytest.mark.parametrize(
    "text",
    ["[bold]a label[/bold]", "[/nothing]", "/a/:x:/b", "a " * 300 + "b", "owner/name:config@1"],
)
def test_a_line_is_shown_as_it_is_and_never_folded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    say(text)
    assert capsys.readouterr().err == text + "\n"


def test_only_the_first_process_speaks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert rank() == 1
    say("data")
    warn("data")
    with track("targets", 2) as job:
        job.advance(2)
    assert capsys.readouterr() == ("", "")
    monkeypatch.delenv("RANK")
    assert rank() == 0


def test_a_table_in_a_pipe_is_not_folded(capsys: pytest.CaptureFixture[str]) -> None:
    progress.stdout().print("x" * 150)
    assert capsys.readouterr().out == "x" * 150 + "\n"


# jobs


def test_without_a_terminal_a_job_says_a_line_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], now: SimpleNamespace
) -> None:
    with track("targets", 1000) as job:
        for now.seconds in (1, 9, 10, 11, 19, 20):
            job.advance(50, work=500)
    assert capsys.readouterr().err == (
        "targets: 150 of 1,000, 150 tokens/s, 0:57 left\n"
        "targets: 300 of 1,000, 150 tokens/s, 0:47 left\n"
    )


def test_a_short_job_says_nothing_without_a_terminal(
    capsys: pytest.CaptureFixture[str], now: SimpleNamespace
) -> None:
    with track("targets", 10) as job:
        job.advance(10)
    assert capsys.readouterr() == ("", "")


def test_a_resumed_job_counts_only_its_own_speed(
    capsys: pytest.CaptureFixture[str], now: SimpleNamespace
) -> None:
    with track("student", 200, position=100) as job:
        now.seconds = 10
        job.advance(50, note="loss 0.5")
    assert capsys.readouterr().err == "student: 150 of 200, 0:10 left, loss 0.5\n"


def test_on_a_terminal_a_bar_is_drawn_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with track("targets", 20, position=10) as job:
        job.advance(10, work=1000, note="half")
    assert "targets" in screen.getvalue()
    assert "20/20" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[2K")  # the bar's line is erased


def test_an_error_inside_a_job_passes_through(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), track("targets", 2):
        raise ValueError("no")


# silence


def silent_for(seconds: float) -> None:
    """Work that says nothing."""
    time.sleep(seconds)


def test_silent_work_is_named_again_and_again(capsys: pytest.CaptureFixture[str]) -> None:
    with heartbeat(0.4), working("student"), working("how much each layer matters"):
        silent_for(1.7)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "how much each layer matters"
    assert 2 <= len(lines) <= 4
    assert set(lines[1:]) <= {
        f"{lines[0]}{since}" for since in ("", ": 0:01 so far", ": 0:02 so far")
    }


def test_a_job_without_a_step_is_named_as_far_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with heartbeat(0.2), track("targets", 1000, position=400) as job:
        silent_for(0.3)
        job.advance(100, 50)
        silent_for(0.3)
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "targets: 400 of 1,000, 0:00 so far"
    assert last.startswith("targets: 500 of 1,000, ")


def test_whoever_speaks_is_not_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    with heartbeat(0.4), working("student"):
        for number in range(8):
            say(f"line {number}")
            silent_for(0.1)
    assert capsys.readouterr().err == "".join(f"line {n}\n" for n in range(8))


def test_a_bar_speaks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with track("targets", 20), heartbeat(0.1):
        silent_for(0.4)
    assert "so far" not in screen.getvalue()


def test_other_processes_stay_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with heartbeat(0.1), working("student"):
        silent_for(0.3)
    assert capsys.readouterr() == ("", "")


def test_an_error_ends_the_heartbeat(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), heartbeat(0.1), working("student"):
        raise ValueError("no")
    silent_for(0.3)
    assert capsys.readouterr().err == ""


# the live view


@pytest.mark.parametrize("columns", [80, 120])
def test_a_bar_is_whole_on_a_terminal_of_usual_width(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a narrow one the loss stands below, and nothing is cut."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    progress.plan_stages(["teacher-1", "student-2"])
    monkeypatch.setattr(progress, "resident_bytes", lambda: 700_000_000)
    with progress.stage("student-2"), track("student", 240) as job:
        job.advance(101, 77_850, note="loss 0.326", detail="soft 0.255, hard 0.140")
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue()).splitlines()
    place = next(i for i in reversed(range(len(lines))) if "101/240" in lines[i])
    bar = lines[place]
    assert bar.startswith("2 of 2: student ")
    assert re.search(r"101/240 [\d,]+ tokens/s .+ 0\.7 GB", bar)
    loss = "loss 0.326 soft 0.255, hard 0.140"
    assert loss in (bar if columns == 120 else lines[place + 1])
    assert max(map(len, lines)) <= columns
    progress.plan_stages([])


def test_a_bar_says_which_stage_of_how_many_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    progress.plan_stages(["teacher-1", "student-2", "student-2"])
    with (
        progress.stage("student-2"),
        progress.stage("tokens-3"),  # unplanned: a part of it
        track("student", 4) as job,
    ):
        job.advance(2, 50, note="loss 0.250", detail="soft 0.200, hard 0.050")
    shown = terminal.getvalue()
    assert "2 of 2: student" in shown
    assert "loss 0.250 soft 0.200, hard 0.050" in shown
    assert " GB" in shown
    progress.plan_stages([])
    with progress.stage("student-2"), track("later", 1):
        pass
    assert "of 2: later" not in terminal.getvalue()


def test_a_plain_line_has_neither_stage_nor_terms(
    capsys: pytest.CaptureFixture[str], now: SimpleNamespace
) -> None:
    progress.plan_stages(["student-2"])
    with progress.stage("student-2"), track("student", 4) as job:
        now.seconds = 20.0
        job.advance(2, 50, note="loss 0.250", detail="soft 0.200")
    progress.plan_stages([])
    line = capsys.readouterr().err
    assert line == "student: 2 of 4, 2 tokens/s, 0:20 left, loss 0.250\n"


def test_the_memory_of_this_process_is_told() -> None:
    before = progress.resident_bytes()
    assert before > 10_000_000
    held = bytearray(80_000_000)
    held[::4096] = b"x" * len(held[::4096])
    assert progress.resident_bytes() - before > 60_000_000
