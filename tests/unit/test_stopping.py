"""Signals to a process: what they end, what they wait for, and what they leave alone."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WORK = """
import os, sys, time
from distillkit import stopping
kind = sys.argv[1]
try:
    with stopping.handled():
        with stopping.scope():
            if kind == "held":
                stopping.hold()
            sys.stdout.write("ready\\n")
            sys.stdout.flush()
            if kind == "dropped":
                class Slow:
                    def __del__(self):
                        for _ in range(100):
                            time.sleep(0.01)
                Slow()
            for _ in range(200):
                time.sleep(0.05)
                if kind == "held" and stopping.requested() and os.path.exists(sys.argv[2]):
                    sys.stderr.write("saved\\n")
                    open(sys.argv[2] + ".saved", "w").close()
                    break
except KeyboardInterrupt:
    sys.exit(stopping.leave("the same command goes on from here"))
sys.exit(3)
"""


@contextmanager
def child(kind: str, *words: object, **how: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WORK, kind, *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **{**pipes, **how}) as process:  # type: ignore[call-overload]
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGHUP", "SIGINT"])
def test_a_signal_ends_what_holds_nothing_at_once(name: str) -> None:
    with child("free") as process:
        process.send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=10)
    said = "interrupted" if name == "SIGINT" else f"stopped by {name}"
    assert err == f"\ndistillkit: {said}; the same command goes on from here\n"
    assert process.returncode == (130 if name == "SIGINT" else 75)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGHUP", "SIGINT"])
def test_a_signal_that_comes_while_an_object_is_deleted_comes_again(name: str) -> None:
    """Python prints and drops what is raised there: the run would go on."""
    with child("dropped") as process:
        time.sleep(0.2)
        process.send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=30)
    said = "interrupted" if name == "SIGINT" else f"stopped by {name}"
    assert err == f"\ndistillkit: {said}; the same command goes on from here\n"
    assert process.returncode == (130 if name == "SIGINT" else 75)


def test_a_signal_waits_for_a_step_and_a_second_one_does_not(tmp_path: Path) -> None:
    with child("held", tmp_path / "end") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        process.stderr.readline()
        assert "ends after this step, which is kept" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)  # at once: from torchrun, as well as from SLURM
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.8)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 75
    assert "left at once; the same command goes on from what was saved before" in err


def test_what_is_held_is_saved_before_the_run_ends(tmp_path: Path) -> None:
    end = tmp_path / "end"
    with child("held", end) as process:
        process.send_signal(signal.SIGUSR1)
        end.touch()
        _, err = process.communicate(timeout=10)
    assert process.returncode == 75
    last = "distillkit: stopped by SIGUSR1; the same command goes on from here\n"
    assert err.endswith(f"saved\n\n{last}")


def test_a_signal_that_is_ignored_stays_so() -> None:
    """As nohup starts a command."""

    def nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with child("free", preexec_fn=nohup) as process:
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    assert process.returncode == 75


def test_a_run_whose_terminal_is_closed_saves_and_ends_well(tmp_path: Path) -> None:
    """Writing to the terminal fails from then on, and nothing may break for it."""
    end = tmp_path / "end"
    leader, terminal = pty.openpty()
    with child("held", end, stderr=terminal, start_new_session=True) as process:
        os.close(terminal)
        os.close(leader)
        process.send_signal(signal.SIGHUP)
        end.touch()
        process.communicate(timeout=10)
    assert process.returncode == 75
    assert (tmp_path / "end.saved").exists()
