"""How the processes of a run find each other, and what each must know of the others.

They meet at the store of torch.distributed at MASTER_ADDR:MASTER_PORT, which torchrun holds, or
else the first process. Where nobody has come for `seconds`, who waits names the missing and ends.
"""

import errno
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from distillkit.artifacts.locks import Holder, myself
from distillkit.console.progress import rank
from distillkit.errors import ConfigError

SECONDS = "DISTILLKIT_MEETING_SECONDS"
USUAL = 60.0
LEAST = 5.0  # seconds to connect to what is there
PAUSE = 0.05  # seconds between two looks
SILENT = 800  # looks in vain at a store that does not answer: 40 seconds
LAST_WORD = 2.0  # seconds that the store is kept for others to read why the meeting failed


class NobodyError(Exception):
    """Another process has not come; empty where one of the others says so."""


def seconds() -> float:
    """How long a process waits for the others; raises `ConfigError` for what is no such time."""
    text = os.environ.get(SECONDS, "")
    if not text:
        return USUAL
    with suppress(ValueError):
        if 0 < float(text) < 1e6:
            return float(text)
    raise ConfigError(f"{SECONDS} = {text}: must be seconds, more than 0")


def place() -> str:
    """Where they meet."""
    return f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']} (MASTER_ADDR, MASTER_PORT)"


def meet(words: list[str]) -> tuple[Any, list[Holder], list[list[str]]]:
    """Wait until all are there: the store, and who each is and with which words it was started.

    Raises `NobodyError` if one does not come, and `ConfigError` where they cannot meet.
    """
    late = time.monotonic() + seconds()
    store = _store(late)
    looks = [0]
    try:
        came = _while_watched(lambda: _gathered(store, words, looks), lambda: looks[0], SILENT)
    except TimeoutError:
        raise _nobody("does not answer: stopped, or cut off") from None
    except RuntimeError as error:  # of the store
        raise _nobody("is gone: killed, stopped by a signal, or its machine is down") from error
    return store, [Holder(**answer["who"]) for answer in came], [answer["words"] for answer in came]


def _nobody(state: str) -> NobodyError:
    """What is to be said where the store goes while others wait at it."""
    line = (
        f"rank 0 of {os.environ['WORLD_SIZE']}, or what started it, {state}; all others end, and "
        "the same command can be run again"
    )
    return NobodyError(line if _speaks_for_its_machine() else "")


def _gathered(store: Any, words: list[str], looks: list[int]) -> list[dict[str, Any]]:
    """What all say of themselves, once all are there; counts how often it looked."""
    world = int(os.environ["WORLD_SIZE"])
    own_words = json.dumps({"who": asdict(myself()), "words": words})
    if store.compare_set(f"who/{rank()}", "", own_words).decode() != own_words:
        peer = Holder(**json.loads(store.get(f"who/{rank()}"))["who"])
        raise ConfigError(
            f"rank {rank()} of {world} is {peer} already at {place()}: another run meets there; "
            "set MASTER_PORT to another port for one of them, or wait for it"
        )
    _await_all(store, world, looks)
    return [json.loads(store.get(f"who/{peer}")) for peer in range(world)]


def _await_all(store: Any, world: int, looks: list[int]) -> None:
    """Wait until all have said who they are; raise `NobodyError` if nobody comes any more."""
    missing, late = list(range(world)), time.monotonic() + seconds()
    while True:
        before = len(missing)
        missing = [peer for peer in missing if not store.check([f"who/{peer}"])]
        looks[0] += 1
        if not missing:
            return
        if len(missing) < before:
            late = time.monotonic() + seconds()
        if store.check(["unmet"]):
            raise NobodyError
        if time.monotonic() > late:
            break
        time.sleep(PAUSE)
    is_told = store.compare_set("unmet", "", f"{rank()}").decode() != f"{rank()}"
    if not rank():
        time.sleep(LAST_WORD)
    raise NobodyError("" if is_told else _line(missing, world))


def _line(missing: list[int], world: int) -> str:
    peers = ", ".join(map(str, missing[:8])) + (", …" if len(missing) > 8 else "")
    have = "rank {} of {} has" if len(missing) == 1 else "ranks {} of {} have"
    return (
        f"{have.format(peers, world)} not come to {place()} in {seconds():g} s: killed, never "
        f"started, or slow to start ({SECONDS}={10 * seconds():g} waits longer); all others end, "
        "and the same command can be run again"
    )


def _store(late: float) -> Any:
    """The store that all meet at, as torch's own `env://` finds it.

    Connecting is tried by hand before: a signal breaks it off, and nothing but our line is printed.
    """
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    is_agents = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    holds = not rank() and not is_agents
    if holds:
        _check_free(address, port, late)
    else:
        _await_server(address, port, late)
    wait = max(LEAST, late - time.monotonic())
    try:
        store = _while_watched(
            lambda: TCPStore(
                address, port, None, holds, timeout=timedelta(seconds=wait), wait_for_workers=False
            ),
            lambda: 0,
            int(wait / PAUSE),
        )
    except TimeoutError:
        raise _unmet(
            "what listens there is no process of this run; set MASTER_PORT to a free one"
        ) from None
    except (RuntimeError, ValueError) as error:
        raise _unmet(str(error).strip().splitlines()[0]) from error
    # torchrun keeps its store when it starts the processes again
    return PrefixStore(f"distillkit/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _while_watched(work: Callable[[], Any], progress: Callable[[], int], limit: int) -> Any:
    """What a function returns or raises, which runs beside this thread, as the store may hang.

    Raises `TimeoutError` after so many looks without progress.
    """
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=run, name="meeting", daemon=True)
    thread.start()
    last, silent = 0, 0
    while thread.is_alive():
        thread.join(PAUSE)
        silent = silent + 1 if progress() == last else 0
        last = progress()
        if silent > limit and not results:
            raise TimeoutError
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]


def _check_free(address: str, port: int, late: float) -> None:
    """Raise `ConfigError` where the store cannot be at this address."""
    try:
        _resolve(address, port, late)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", port))
    except OSError as error:
        advice = "; set MASTER_PORT to a free one" if error.errno == errno.EADDRINUSE else ""
        raise _unmet(f"{error.strerror}{advice}") from error


def _resolve(address: str, port: int, late: float) -> None:
    """Wait for a name: where containers are started together it may come later than they."""
    while True:
        try:
            socket.getaddrinfo(address, port)
            return
        except socket.gaierror:
            if time.monotonic() > late:
                raise
        time.sleep(4 * PAUSE)


def _await_server(address: str, port: int, late: float) -> None:
    """Wait until somebody listens there; raise `NobodyError` if nobody does."""
    while True:
        try:
            socket.create_connection((address, port), timeout=2.0).close()
            return
        except OSError as error:
            if time.monotonic() > late and isinstance(error, socket.gaierror):
                raise _unmet(str(error.strerror)) from error
            if time.monotonic() > late:
                is_announced = _speaks_for_its_machine()
                raise NobodyError(
                    _line([0], int(os.environ["WORLD_SIZE"])) if is_announced else ""
                ) from error
        time.sleep(4 * PAUSE)


def _speaks_for_its_machine() -> bool:
    """Whether this is the first process of its machine; beside the first of all, the second."""
    local = int(os.environ["LOCAL_RANK"])
    return local == (1 if rank() == local else 0)


def _unmet(why: str) -> ConfigError:
    return ConfigError(
        f"rank {rank()} of {os.environ['WORLD_SIZE']} cannot meet the others at {place()}: {why}"
    )
