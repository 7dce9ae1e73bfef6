"""A process that is gone, ends or refuses is seen by the others, of this machine and of others."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from distillkit.artifacts import locks
from distillkit.artifacts.locks import Holder, myself
from distillkit.ranks import liveness
from distillkit.ranks.liveness import FALLEN, Watch
from distillkit.ranks.team import Team


class Store(dict[str, str]):
    """The part of torch's store that the watch uses."""

    def add(self, name: str, amount: int) -> int:
        self[name] = str(int(super().get(name, "0")) + amount)
        return int(self[name])

    def check(self, names: list[str]) -> bool:
        return all(name in self for name in names)

    def set(self, name: str, value: str) -> None:
        self[name] = value

    def get(self, name: str, *_: Any) -> Any:
        return self[name].encode()

    def compare_set(self, name: str, expected: str, value: str) -> bytes:
        return self.setdefault(name, value).encode()


class Ended(Exception):
    """The watch ended this process, with a code."""


@pytest.fixture(autouse=True)
def _ends_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def exit_(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(os, "_exit", exit_)
    monkeypatch.setattr(liveness, "LOOK_EVERY", 0.0)


def watch(rank: int, other: Holder) -> tuple[Watch, Store]:
    people = [myself(), other] if rank == 0 else [other, myself()]
    store = Store()
    return Watch(store, rank, people), store


def ended_with(watched: Watch) -> int:
    with pytest.raises(Ended) as caught:
        watched._look()
    code: int = caught.value.args[0]
    return code


@pytest.fixture
def gone() -> Holder:
    """A process of this machine that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    holder = replace(myself(), pid=child.pid, started="1")
    child.wait()
    return holder


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_of_this_machine_that_is_gone_ends_this_one_at_once(
    rank: int, gone: Holder, capsys: pytest.CaptureFixture[str]
) -> None:
    watched, store = watch(rank, gone)
    assert ended_with(watched) == FALLEN
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"distillkit: rank {1 - rank} (process {gone.pid} of ")
    assert ("fallen" in store) is (rank == 0)  # for the rest, who watch the first one alone


def test_who_has_heard_of_it_from_the_first_says_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watched, store = watch(1, myself())
    watched._look()
    store.set("fallen", "rank 2 is gone")
    assert ended_with(watched) == FALLEN
    assert capsys.readouterr().err == ""


def test_of_another_machine_one_that_is_not_heard_of_is_gone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watched, store = watch(0, replace(myself(), host="elsewhere", started="1"))
    for _ in range(2 * liveness.SILENT):  # its process number says nothing here
        store.add("beat/1", 1)
        watched._look()
    for _ in range(liveness.SILENT):
        watched._look()
    assert capsys.readouterr().err == ""
    assert ended_with(watched) == FALLEN
    said = capsys.readouterr().err
    assert "on elsewhere) has not been heard of for 40 s: killed, stopped, or its machine" in said
    assert said.count("\n") == 1


@pytest.fixture
def stopped() -> Iterator[Holder]:
    """A process of this machine that SIGSTOP stopped."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    os.kill(child.pid, signal.SIGSTOP)
    holder = replace(myself(), pid=child.pid, started=locks._started(child.pid))
    while not holder.is_stopped():
        time.sleep(0.01)
    yield holder
    child.kill()
    child.communicate()


@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_is_stopped_for_long_is_told_of_and_one_that_goes_on_is_not(
    rank: int, stopped: Holder, capsys: pytest.CaptureFixture[str]
) -> None:
    watched, _ = watch(rank, stopped)
    for _ in range(liveness.SILENT):
        watched._look()
    os.kill(stopped.pid, signal.SIGCONT)
    while stopped.is_stopped():
        time.sleep(0.01)
    watched._look()
    os.kill(stopped.pid, signal.SIGSTOP)
    while not stopped.is_stopped():
        time.sleep(0.01)
    for _ in range(liveness.SILENT):
        watched._look()
    assert capsys.readouterr().err == ""
    assert ended_with(watched) == FALLEN
    said = capsys.readouterr().err
    assert said.startswith(f"distillkit: rank {1 - rank} (process {stopped.pid} of ")
    assert f"stopped (SIGSTOP) for 40 s; `kill -KILL {stopped.pid}` ends it; all others" in said


@pytest.mark.parametrize("holder", ["launcher", "first"])
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_where_the_store_is_gone_one_says_so_even_if_others_have_ended_since(
    rank: int,
    holder: str,
    gone: Holder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With a launcher's store the first one lives and tells; else it is the one that is gone."""
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", str(holder == "launcher"))
    people = [myself() if holder == "launcher" else gone, myself(), myself()]
    watched = Watch(Store(), rank, people)

    def others_end(seconds: float) -> None:
        if rank:
            watched.people = [people[0], *(gone if r != rank else people[r] for r in (1, 2))]

    monkeypatch.setattr(time, "sleep", others_end)
    with pytest.raises(Ended):
        watched._store_is_gone()
    speaker = 0 if holder == "launcher" else 1
    said = capsys.readouterr().err
    assert said.count("\n") == (1 if rank == speaker or (holder == "first" and rank == 0) else 0)
    assert (", or what started it, is gone" in said) is (bool(said) and holder == "launcher")


class Hanging(Store):
    """A store whose holder does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()

    def add(self, name: str, amount: int) -> int:
        self.over.wait(30)
        raise RuntimeError("no answer")


def test_a_store_that_hangs_keeps_nobody_waiting(
    stopped: Holder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(liveness, "LOOK_EVERY", 0.001)
    codes: list[int] = []
    store = Hanging()

    def exit_(code: int) -> None:
        codes.append(code)
        watched._over.set()
        store.over.set()

    monkeypatch.setattr(os, "_exit", exit_)
    watched = Watch(store, 1, [stopped, myself()])
    watched.start()
    watched.join(30)
    assert codes == [FALLEN]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"rank 0 (process {stopped.pid} of " in said and "has been stopped (SIGSTOP)" in said


def test_one_that_ended_by_itself_is_followed_with_its_code_and_without_a_word(
    monkeypatch: pytest.MonkeyPatch, gone: Holder, capsys: pytest.CaptureFixture[str]
) -> None:
    watched, store = watch(1, gone)
    store.set("ended/0", json.dumps({"code": 2}))
    watched._look()  # an exception has time to come here, too
    monkeypatch.setattr(liveness, "GRACE", -1.0)
    assert ended_with(watched) == 2
    assert capsys.readouterr().err == ""


def test_one_that_cannot_take_part_ends_the_first_which_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(liveness, "GRACE", -1.0)
    monkeypatch.setattr(liveness, "FAREWELL", 0.1)
    watched, store = watch(0, myself())
    store.set("refused/0/1", "workspace = /elsewhere: no data-1234")
    watched._look()  # it is at no work of several
    watched.call = 0
    assert ended_with(watched) == 2
    said = capsys.readouterr().err
    assert json.loads(store["ended/0"]) == {"code": 2}  # the others end with it, and say nothing
    assert said.startswith("distillkit: rank 1 on ")
    assert said.endswith(": workspace = /elsewhere: no data-1234\n")


def test_a_process_that_ends_by_itself_is_left_to_it(gone: Holder) -> None:
    watched, _ = watch(0, gone)
    assert watched.dismiss()
    watched._look()


@pytest.mark.parametrize(("code", "expected"), [(0, FALLEN), (2, 2)])
def test_a_process_that_has_told_of_another_does_not_end_well(
    code: int, expected: int, gone: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last work is done while the watch, which told of it, still waits for a moment."""
    watched, store = watch(0, gone)
    assert ended_with(watched) == FALLEN
    team = Team.__new__(Team)
    team.rank, team.world, team.watch, team._store = 0, 2, watched, store
    monkeypatch.setattr(watched, "stop", lambda: None)  # no thread was started
    monkeypatch.setattr(liveness, "FAREWELL", 0.1)
    assert team.leave(code) == expected
    assert json.loads(store["ended/0"]) == {"code": expected}


def test_before_the_end_what_is_to_be_done_is_done(gone: Holder) -> None:
    watched, _ = watch(0, gone)
    done: list[str] = []
    watched.before_end = [lambda: done.append("removed")]
    assert ended_with(watched) == FALLEN
    assert done == ["removed"]
