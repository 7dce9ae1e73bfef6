"""Processes that do not meet: who waits names who is missing, and waits no longer than it says."""

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import pytest

from distillkit import stopping
from distillkit.artifacts.locks import myself
from distillkit.errors import ConfigError
from distillkit.ranks import meeting


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port, at which this process is to meet another one, and does not wait long."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
    for name, value in {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(found),
        meeting.SECONDS: "0.3",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT", raising=False)
    monkeypatch.setattr(meeting, "LAST_WORD", 0.0)
    return found


def be(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("LOCAL_RANK", str(rank))


def record(*words: str, pid: int = 1) -> str:
    return json.dumps({"who": asdict(replace(myself(), pid=pid)), "words": words})


@pytest.fixture
def store(port: int) -> Iterator[Any]:
    """The store of a first process that is there."""
    from torch.distributed import PrefixStore, TCPStore

    yield PrefixStore(
        "distillkit/0",
        TCPStore("127.0.0.1", port, None, True, timedelta(seconds=5), wait_for_workers=False),
    )


@pytest.mark.parametrize("rank", [0, 1])
def test_the_one_that_does_not_come_is_named(
    rank: int, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    be(rank, monkeypatch)
    begun = time.monotonic()
    with pytest.raises(meeting.NobodyError) as caught:
        meeting.meet([])
    assert time.monotonic() - begun < 5
    assert str(caught.value).startswith(
        f"rank {1 - rank} of 2 has not come to 127.0.0.1:{port} (MASTER_ADDR, MASTER_PORT) in 0.3 s"
    )
    assert "DISTILLKIT_MEETING_SECONDS=3 waits longer" in str(caught.value)


def test_of_several_that_wait_one_says_who_is_missing(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    be(1, monkeypatch)
    monkeypatch.setenv("WORLD_SIZE", "4")
    store.set("who/0", record())
    with pytest.raises(meeting.NobodyError, match=r"^ranks 2, 3 of 4 have not come to "):
        meeting.meet([])
    assert store.get("unmet") == b"1"
    be(2, monkeypatch)
    with pytest.raises(meeting.NobodyError) as caught:
        meeting.meet([])
    assert str(caught.value) == ""


def test_all_that_come_late_but_in_time_meet(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    be(1, monkeypatch)
    monkeypatch.setenv(meeting.SECONDS, "20")
    late = threading.Timer(0.3, store.set, ("who/0", record("train", "seed=1", pid=7)))
    late.start()
    _, people, words = meeting.meet(["train", "seed=2"])
    late.join()
    assert [it.pid for it in people] == [7, os.getpid()]
    assert words == [["train", "seed=1"], ["train", "seed=2"]]


def test_the_time_that_is_advised_waits_for_who_comes_later(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    be(1, monkeypatch)
    with pytest.raises(meeting.NobodyError) as caught:
        meeting.meet([])
    advice = re.search(r"\((\w+)=(\S+) waits longer\)", str(caught.value))
    assert advice and advice[1] == "DISTILLKIT_MEETING_SECONDS"
    monkeypatch.setenv(advice[1], advice[2])
    store.delete_key("unmet")
    store.delete_key("who/1")
    late = threading.Timer(1.0, store.set, ("who/0", record(pid=7)))
    late.start()
    _, people, _ = meeting.meet([])
    late.join()
    assert [it.pid for it in people] == [7, os.getpid()]


def test_who_is_there_already_is_of_another_run(
    store: Any, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs with one MASTER_PORT never take each other's processes for their own."""
    be(1, monkeypatch)
    store.set("who/0", record())
    store.set("who/1", record(pid=7))
    with pytest.raises(ConfigError, match=r"^rank 1 of 2 is process 7 of .* already at 127.0.0.1"):
        meeting.meet([])
    assert json.loads(store.get("who/1"))["who"]["pid"] == 7


def test_a_port_that_another_program_has_is_named(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    be(0, monkeypatch)
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(ConfigError) as caught,
    ):
        meeting.meet([])
    assert str(caught.value) == (
        f"rank 0 of 2 cannot meet the others at 127.0.0.1:{port} (MASTER_ADDR, MASTER_PORT): "
        "Address already in use; set MASTER_PORT to a free one"
    )


@pytest.mark.parametrize("rank", [0, 1])
def test_an_address_that_nobody_has_is_named(
    rank: int, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    be(rank, monkeypatch)
    monkeypatch.setenv("MASTER_ADDR", "nowhere.invalid")
    with pytest.raises(ConfigError, match=rf"^rank {rank} of 2 cannot .* at nowhere.invalid:"):
        meeting.meet([])


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan", "inf"])
def test_a_time_that_is_none_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(meeting.SECONDS, given)
    with pytest.raises(ConfigError, match=rf"^DISTILLKIT_MEETING_SECONDS = {given}: must be sec"):
        meeting.seconds()
    monkeypatch.delenv(meeting.SECONDS)
    assert meeting.seconds() == 60


def test_what_listens_there_and_is_no_store_keeps_nobody_waiting(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    be(1, monkeypatch)
    monkeypatch.setattr(meeting, "LEAST", 0.3)
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(ConfigError, match=r"what listens there is no process of this run; set MAS"),
    ):
        meeting.meet([])


class Leaving:
    """A store whose holder ends, or is stopped, while others wait at it."""

    def __init__(self, how: str) -> None:
        self.how, self.looks = how, 0

    def compare_set(self, name: str, expected: str, value: str) -> bytes:
        return value.encode()

    def check(self, names: list[str]) -> bool:
        self.looks += 1
        if self.looks < 20:
            return False
        if self.how == "stopped":
            time.sleep(5)
        raise RuntimeError("Connection reset by peer")


@pytest.mark.parametrize(
    ("how", "state"), [("stopped", "does not answer"), ("killed", "is gone: killed, stopped by")]
)
def test_the_first_that_leaves_while_others_wait_keeps_nobody_waiting(
    how: str, state: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    be(1, monkeypatch)
    monkeypatch.setenv(meeting.SECONDS, "60")
    monkeypatch.setattr(meeting, "_store", lambda late: Leaving(how))
    monkeypatch.setattr(meeting, "SILENT", 10)
    begun = time.monotonic()
    with pytest.raises(meeting.NobodyError, match=rf"^rank 0 of 2, or what started it, {state}"):
        meeting.meet([])
    assert time.monotonic() - begun < 4.5


def test_a_signal_breaks_the_wait_off(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    be(1, monkeypatch)
    monkeypatch.setenv(meeting.SECONDS, "60")
    before = signal.getsignal(signal.SIGTERM)
    begun = time.monotonic()
    try:
        with stopping.handled(), pytest.raises(stopping.Stopped):
            timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))
            timer.start()
            meeting.meet([])
    finally:
        signal.signal(signal.SIGTERM, before)
        with stopping.handled():  # forget the signal
            pass
    assert time.monotonic() - begun < 5
