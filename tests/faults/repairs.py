"""Damaged workspaces that are repaired: by two at once, by one that is killed, in sweeps.

    python -m tests.faults.repairs 20          so many damaged workspaces
    python -m tests.faults.repairs 20 7 sweep  the same with a seed, of one job

Of a complete workspace some files of several artifacts are damaged. Then either the same command
with --repair is started twice at once, or it is killed (SIGKILL) somewhere on its way and started
again. The workspace must end as it was: every file of every artifact; and each report must say what
that of the undisturbed run says, but for what is a time: its figures, its predictions, its student.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.faults.campaign import (
    SIGNS,
    Job,
    Tally,
    content,
    end,
    file_digest,
    jobs,
    load_all,
    say,
)
from tests.faults.damages import DAMAGES, kinds_of_files

LONGEST = 300.0  # seconds; what is not over then waits for ever
TIMES = ("_ms", "_per_second")  # how the names of figures end that are times


def reports(folder: Path) -> dict[str, Any]:
    """What the reports of a run say, or those of a sweep by the number of the job."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("outputs/*/**/results.json")):
        job = path.parent.name if path.parent.parent.name.endswith("-sweep") else "run"
        rows = json.loads(path.read_text())["rows"]
        found[f"{job}: figures"] = {
            row: {k: v for k, v in figures.items() if not k.endswith(TIMES)}
            for row, figures in rows.items()
        }
        for file in [path.with_name("predictions.csv"), *path.parent.glob("student/**/*")]:
            if file.is_file() and file.name != "README.md":  # the card, with the date
                name = file.relative_to(path.parent).as_posix()
                found[f"{job}: {name}"] = file_digest(file)
    return found


def damage_some(workspace: Path, rng: random.Random) -> list[str]:
    """Damage files of most artifacts, one each; return their names."""
    by_artifact: dict[Path, list[tuple[Path, Path]]] = {}
    for path in sorted(workspace.glob("*-*")):
        for file, other in kinds_of_files_of(path):
            by_artifact.setdefault(path, []).append((file, other))
    names = []
    for artifact, files in by_artifact.items():
        # of the student all is made again that it is made of
        if rng.random() < 0.6 or artifact.name.startswith("student"):
            path, other = rng.choice(files)
            before, how = path.read_bytes(), rng.choice(list(DAMAGES))
            DAMAGES[how](path, other)
            if not path.is_file() or path.read_bytes() != before:
                names.append(f"{path.relative_to(workspace)} ({how})")
    return names


def kinds_of_files_of(artifact: Path) -> list[tuple[Path, Path]]:
    """Every file of an artifact that is not empty, with one of another artifact."""
    files = [path for path in sorted(artifact.rglob("*")) if path.is_file() and path.stat().st_size]
    others = [path for path, _ in kinds_of_files(artifact.parent).values()]
    foreign = [path for path in others if artifact not in path.parents]
    return [(path, foreign[number % len(foreign)]) for number, path in enumerate(files)]


def wait_for(pid: int) -> int:
    """A run's status; one that is not over in time is killed, and counts as 124."""
    began = time.monotonic()
    while time.monotonic() - began < LONGEST:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return 124


def repair(job: Job, folder: Path, seconds: float, how: str, rng: random.Random) -> list[int]:
    """Repair a workspace in one of two ways; the statuses of the runs that were to end well."""
    if how == "two at once":
        pids = [job.start(folder, f"log-{number}") for number in range(2)]
        return [wait_for(pid) for pid in pids]
    moment = rng.choice(SIGNS) if rng.random() < 0.5 else rng.uniform(0.3, seconds)
    pid = job.start(folder, "log-killed")
    is_killed = end(pid, folder, signal.SIGKILL, moment, rng) is not None
    return [wait_for(job.start(folder, "log-again" if is_killed else "log-after"))]


def campaign(times: int, folder: Path, *, seed: int = 0, only: str = "") -> Tally:
    """Damage and repair so many workspaces, of each job in turn and in both ways."""
    load_all()
    rng, tally = random.Random(seed), Tally()
    every = [job for job in jobs(folder) if only in job.name]
    for job in every:
        whole = folder / f"whole-{job.name}"
        whole.mkdir()
        assert job.run(whole) == 0, (whole / "log").read_text()
    for number in range(times):
        job, at = every[number % len(every)], folder / f"{number}"
        how = ("two at once", "killed")[number // len(every) % 2]
        once(job, at, folder / f"whole-{job.name}", how, rng, tally)
        say(f"{number + 1}: {job.name}, {how}: {tally}")
        shutil.rmtree(at)
    return tally


def once(job: Job, at: Path, whole: Path, how: str, rng: random.Random, tally: Tally) -> None:
    """Damage a copy of a complete workspace, repair it, and compare."""
    at.mkdir()
    shutil.copytree(whole / "w", at / "w")
    damages = damage_some(at / "w", rng)
    command, *words = job.words
    repairing = Job(job.name, (command, "--repair", *words))
    began = time.monotonic()
    codes = repair(repairing, at, rng.uniform(1.0, 12.0), how, rng)
    tally.workspaces += 1
    tally.ends += how == "killed" and (at / "log-again").exists()
    tally.finished += len(codes)
    tally.moments[how] = tally.moments.get(how, 0) + 1
    logs = "".join(path.read_text() for path in sorted(at.glob("log-*")))
    about = f"{job.name}, {how} after {damages}: {codes} in {time.monotonic() - began:.0f} s"
    if any(codes) or "Traceback" in logs:
        tally.faults.append(f"{about}: {logs[-3000:]}")
        return
    expected, found = content(whole / "w"), content(at / "w")
    differ = sorted(n for n in {*expected, *found} if expected.get(n) != found.get(n))
    tally.differences += [f"{about}: {name}" for name in differ]
    said, now = reports(whole), reports(at)
    tally.differences += [f"{about}: report, {k}" for k in said if said[k] != now.get(k)]
    if list((at / "w" / ".partial").glob("*")):
        tally.faults.append(f"{about}: something is left in .partial")


def main(words: Sequence[str]) -> int:
    """Run a campaign; 0 if nothing differs."""
    times, seed, only = int(words[0]), int([*words, "0", "0"][1]), "".join(words[2:3])
    with TemporaryDirectory(prefix="distillkit-repairs-") as place:
        tally = campaign(times, Path(place), seed=seed, only=only)
    for line in [*tally.faults, *tally.differences]:
        say(line)
    say(f"repairs: {tally}")
    return int(bool(tally.faults or tally.differences))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
