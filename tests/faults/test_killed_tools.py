"""Commands beside training that are killed at any moment: the same command again ends as always."""

import hashlib
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.cli.conftest import finished  # noqa: F401
from tests.cli.runs import Finished, run, with_overrides
from tests.faults.campaign import Job, load_all
from tests.faults.test_damage import fresh  # noqa: F401

KILLS = 3  # of each command, each in a copy of its own


def content(folder: Path) -> dict[str, str]:
    """Every file below a folder that is no artifact's note or lock, and its sha256."""
    passed_over = {".verified", ".locks", ".runs", "log"}
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not passed_over & {*path.relative_to(folder).parts}
    }


def age(folder: Path) -> None:
    """Make all seem to have been written a while ago, as drafts that are left are."""
    then = time.time() - 60
    for path in folder.rglob("*"):
        if path.name.startswith("."):
            os.utime(path, (then, then), follow_symlinks=False)


COMMANDS = {
    "merge": "targets merge out {} other",
    "convert": "targets convert out {} targets=top_k targets.codec.k=1",
    "export": "targets export {} out.parquet",
    "remove": "workspace remove --damaged --partial --yes workspace=workspace",
    "report": "report outputs",
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    "kills", [KILLS, pytest.param(20, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_a_command_that_is_killed_ends_as_always_the_next_time(
    name: str,
    kills: int,
    fresh: Finished,  # noqa: F811
    tmp_path: Path,
) -> None:
    load_all()
    rng, at = random.Random(0), tmp_path / "at"
    shutil.copytree(fresh.workspace, (whole := tmp_path / "whole") / "workspace")
    (store,) = (path.name for path in whole.glob("workspace/targets-*"))
    words = COMMANDS[name].format(f"workspace/{store}").split()
    if name == "merge":
        shutil.copytree(whole / "workspace" / store, whole / "other")
    if name == "remove":
        for path in whole.glob("workspace/*-*/manifest.json"):
            path.write_text("{}")
    if name == "report":
        words_of_run = with_overrides(fresh.words, "workspace=workspace")
        done = run(whole, "train", *words_of_run, "hydra.run.dir=outputs/one")
        assert done.code == 0, done.err
    shutil.copytree(whole, expected := tmp_path / "expected")
    job = Job(name, tuple(words))
    began = time.monotonic()
    assert job.run(expected) == 0, (expected / "log").read_text()
    seconds = time.monotonic() - began
    for _ in range(kills):
        shutil.copytree(whole, at)
        pid = job.start(at)
        time.sleep(rng.uniform(0, seconds))
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        age(at)
        code, log = job.run(at), (at / "log").read_text()
        assert "Traceback" not in log
        assert code == 0 or "already there" in log, log  # it was over before
        assert content(at) == content(expected)
        shutil.rmtree(at)
