"""What a process does whose work is broken off, by another one's end or by a signal."""

import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from distillkit import stopping
from distillkit.ranks import team
from tests.unit.ranks.test_liveness import Store


@pytest.fixture
def follower(monkeypatch: pytest.MonkeyPatch) -> type[team.Team]:
    """A second process that loses the first one in the middle of an exchange."""

    class Follower(team.Team):
        def __init__(self, words: list[str]) -> None:
            self.rank, self.world, self._store = 1, 2, Store()
            self.watch: Any = SimpleNamespace(dismiss=lambda: True, stop=lambda: None)

        def join(self) -> None:
            pass

        def follow(self, take_part: team.TakePart) -> int:
            raise RuntimeError("gloo: Connection closed by peer")

    monkeypatch.setattr(team, "Team", Follower)
    monkeypatch.setattr(team, "LOST_PEER", 5.0)
    monkeypatch.setattr(team, "SIGNALLED", 0.3)
    monkeypatch.setattr(team, "quiet_others", lambda: None)
    return Follower


def test_a_signal_does_not_break_off_the_wait_for_news_of_the_lost_one(
    follower: type[team.Team], capsys: pytest.CaptureFixture[str]
) -> None:
    """The launcher signals the rest as soon as one is gone, before the watch has told of it."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with stopping.handled():
            timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
            timer.start()
            code = team.together([], lambda: 0, lambda: lambda job: None)
            timer.join()
    finally:
        signal.signal(signal.SIGTERM, before)
        with stopping.handled():  # forget the signal
            pass
    assert code == stopping.STATUS
    said = capsys.readouterr().err
    assert said.startswith("distillkit: rank 1 (process ")
    assert said.endswith(": stopped by SIGTERM\n") and said.count("\n") == 1


ENDING = """
import atexit, sys, threading, time
from distillkit.ranks import end, team
atexit.register(sys.stdout.write, "what is due")
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
end(3)  # never met others
sys.stdout.write("goes on, ")
team._has_begun = True
end(7)
"""


def test_one_of_several_ends_with_its_code_once_what_is_due_is_done() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "goes on, what is due", "")
