"""Several processes that fill one target store: they come, go and are killed."""

import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from distillkit.artifacts.digests import file_sha256
from tests import slow_teacher, tiny, tiny_language
from tests.cli.runs import run, with_overrides
from tests.processes import ROOT, Ranks

LAST = ["targets=last_hidden"]
SMALL = ["targets.batch_tokens=64", "targets.shard_tokens=128"]


class Site:
    """A folder with what a capture needs, its words, and the store that one process makes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = tiny_language.write_model(folder / "model")
        self.documents = tiny_language.write_documents(folder, 60)
        assert run(folder, "generate-targets", *self.words("alone")).code == 0
        self.alone = store(folder / "alone")
        self.shards = sum(name.endswith(".arrow") for name in self.alone)
        assert self.shards > 8

    def words(self, workspace: str) -> list[str]:
        """The words of the run in one of its workspaces."""
        words = tiny_language.small(self.model, self.documents, self.folder / workspace)
        return with_overrides(words, *SMALL, *LAST, without="targets=")

    def copied(self, workspace: str) -> Path:
        """Another workspace with all but the store."""
        left_out = shutil.ignore_patterns("targets-*", ".partial", ".locks")
        shutil.copytree(self.folder / "alone", self.folder / workspace, ignore=left_out)
        return self.folder / workspace

    def start(self, workspace: str, seconds: float, **environment: str) -> subprocess.Popen[str]:
        """A process that generates the targets in a workspace, so slowly."""
        return subprocess.Popen(
            slow_teacher.command(seconds, "generate-targets", *self.words(workspace)),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(workspace) | environment,
        )

    def environment(self, workspace: str) -> dict[str, str]:
        """Of its processes."""
        captured = str(self.folder / f"{workspace}.captured")
        return tiny.env(CAPTURED=captured, PYTHONPATH=str(ROOT))

    def captured(self, workspace: str) -> list[tuple[int, int]]:
        """(process, shard) of all that were captured."""
        path = self.folder / f"{workspace}.captured"
        lines = path.read_text().splitlines() if path.is_file() else []
        return [(int(pid), int(shard)) for pid, shard in map(str.split, lines)]

    def await_captured(self, workspace: str, count: int, processes: Sequence[object]) -> None:
        """Wait until so many shards were captured."""
        late = time.monotonic() + 240
        while len(self.captured(workspace)) < count:
            assert time.monotonic() < late, processes
            time.sleep(0.01)


def store(workspace: Path) -> dict[str, str]:
    """The sha256 of each file of the one store in a workspace, that of the artifact left out."""
    (folder,) = workspace.glob("targets-*")
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json"]
    return {f"{folder.name}/{path.relative_to(folder)}": file_sha256(path) for path in files}


def ended(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """How each ended, and what it said."""
    try:
        said = [process.communicate(timeout=240)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


def test_processes_fill_a_store_together_also_when_the_one_that_leads_is_killed(
    site: Site,
) -> None:
    """As an array job's: three that know nothing of each other, and a fourth after the end."""
    workspace = site.copied("array")
    first = site.start("array", 2.0, AWAITS="1")
    while not list(workspace.glob(".partial/targets-*/plan.json")):  # it leads
        assert first.poll() is None
        time.sleep(0.05)
    later = [site.start("array", 0.05) for _ in range(2)]
    site.await_captured("array", 1, [first])
    assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    ((code, _), *results) = ended([first, *later])
    assert (code, *(it for it, _ in results)) == (-signal.SIGKILL, 0, 0), results
    assert store(workspace) == site.alone
    assert not list(workspace.glob(".partial/*"))
    taking_part = f"process {first.pid} of "
    assert any(taking_part in text and "is making it; taking part" in text for _, text in results)
    captured = site.captured("array")
    assert {shard for _, shard in captured} == set(range(site.shards))
    again = Counter(shard for pid, shard in captured if pid != first.pid)
    assert set(again.values()) == {1}  # no shard by two that lived
    assert run(site.folder, "generate-targets", *site.words("array")).code == 0
    assert site.captured("array") == captured


@pytest.mark.parametrize("world", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_the_ranks_of_a_run_fill_a_store_together(world: int, site: Site) -> None:
    name = f"ranks{world}"
    workspace = site.copied(name)
    command = slow_teacher.command(0.01, "generate-targets", *site.words(name))
    results = Ranks(command, site.folder, world=world, **site.environment(name)).end()
    assert [it.code for it in results] == [0] * world, results
    assert store(workspace) == site.alone
    captured = site.captured(name)
    assert sorted(shard for _, shard in captured) == list(range(site.shards))
    assert len({pid for pid, _ in captured}) > 1
    assert [(it.out, it.err) for it in results[1:]] == [("", "")] * (world - 1)
    assert not list(workspace.glob(".partial/*"))


@pytest.mark.slow
def test_ranks_of_which_one_is_killed_end_and_another_number_goes_on(site: Site) -> None:
    workspace = site.copied("killed")
    command = slow_teacher.command(0.1, "generate-targets", *site.words("killed"))
    run_of_three = Ranks(command, site.folder, world=3, **site.environment("killed"))
    site.await_captured("killed", 3, run_of_three.children)
    run_of_three.children[2].send_signal(signal.SIGKILL)
    results = run_of_three.end()
    assert [it.code for it in results] == [75, 75, -signal.SIGKILL]
    whole = len(list(workspace.glob(".partial/targets-*/shard-*.arrow")))
    assert 3 <= whole < site.shards
    again = Ranks(command, site.folder, world=2, **site.environment("killed")).end()
    assert [it.code for it in again] == [0, 0], again
    assert store(workspace) == site.alone


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_processes_that_come_go_and_are_killed_leave_the_store_of_one(
    seed: int, site: Site
) -> None:
    """Up to three at a time, one killed or stopped by a signal now and then, until all is there."""
    rng, name = random.Random(seed), f"campaign{seed}"
    workspace = site.copied(name)
    running: list[subprocess.Popen[str]] = []
    lost: set[int] = set()
    kills = 0
    late = time.monotonic() + 400
    while not list(workspace.glob("targets-*")):
        assert time.monotonic() < late
        while len(running) < 3:
            running.append(site.start(name, 0.15))
        time.sleep(rng.uniform(0.5, 6.0))
        victim = running.pop(rng.randrange(3))
        if kills < 8 and victim.poll() is None and site.captured(name):
            number = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
            victim.send_signal(number)
            lost.add(victim.pid)
            kills += 1
            ((code, text),) = ended([victim])
            assert code in (-number, 75, 0), text
        else:
            running.append(victim)
    assert [code for code, _ in ended(running)] == [0] * len(running)
    assert store(workspace) == site.alone
    assert not list(workspace.glob(".partial/*"))
    counts = Counter(shard for pid, shard in site.captured(name) if pid not in lost)
    assert not counts or max(counts.values()) == 1
    assert kills
