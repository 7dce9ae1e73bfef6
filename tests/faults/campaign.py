"""Runs that are ended from outside, again and again, and what they end with.

    python -m tests.faults.campaign kills 100     SIGKILL at moments all over the run
    python -m tests.faults.campaign signals 20    SIGTERM, SIGUSR1 and SIGHUP, which end it well
    python -m tests.faults.campaign starters 20   five at once over an empty workspace, so often

A third word is the seed, or how many start; a fourth is the job: encoder, language or sweep.
Each run is a child of one process that has imported all (fork), in a session of its own. After
each end the same command is started again; the workspace must end as that of an undisturbed run.
"""

import contextlib
import hashlib
import os
import random
import re
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests import tiny, tiny_language
from tests.cli.runs import QUICK, with_overrides

A_WORKSPACE = 5  # ends that one workspace sees before its run may finish
OFTEN = [*QUICK, "trainer.checkpoint_seconds=0", "teacher.epochs=2", "trainer.epochs=2"]
# what shows that a run is at one of its short moments
SIGNS = (
    "w/.partial/data-*/*",
    "w/.partial/tokens-*/*",
    "w/.partial/teacher-*/new-checkpoint",
    "w/.partial/teacher-*/.best-*.tmp",
    "w/.partial/teacher-*/model/*",
    "w/.partial/teacher-*/manifest.json",
    "w/.partial/targets-*/.shard-*.tmp",
    "w/.partial/targets-*/shard-*.arrow",
    "w/.partial/targets-*/targets.json",
    "w/.partial/student-*/new-checkpoint/progress.json",
    "w/.partial/student-*/checkpoint-*",
    "w/.partial/student-*/model/*",
    "w/.partial/student-*/manifest.json",
    "w/student-*/manifest.json",
    "w/.partial/evaluation-*/parts/*",
    "w/.partial/evaluation-*/*.npz",
    "w/evaluation-*/manifest.json",
    "outputs/*/*/*.json",
    "outputs/*/*/report.md",
    "outputs/*/*/student/*",
)
MADE = re.compile(r"^student: [\d,]+ (of [\d,]+ )?steps in ", re.MULTILINE)
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


@dataclass
class Tally:
    """What a campaign counted."""

    ends: int = 0
    finished: int = 0
    workspaces: int = 0
    differences: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    moments: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        found = sorted(self.moments.items())
        moments = ", ".join(f"{count} {name}" for name, count in found)
        return (
            f"{self.ends} ended from outside ({moments}), {self.finished} were over before; "
            f"{self.workspaces} workspaces, {len(self.differences)} differences, "
            f"{len(self.faults)} faults"
        )


@dataclass(frozen=True)
class Job:
    """A command, and where it is run."""

    name: str
    words: tuple[str, ...]

    def start(self, folder: Path, log: str = "log") -> int:
        """Start it in `folder`, with `folder`/w as its workspace; return the process's number."""
        pid = os.fork()
        if pid:
            return pid
        code: Any = 99
        try:
            os.setsid()
            os.chdir(folder)
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            sys.stdout, sys.stderr = (os.fdopen(stream, "w") for stream in (1, 2))
            sys.argv = ["distillkit", *self.words]
            from distillkit.cli import main as cli

            cli.main()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(int(code))

    def run(self, folder: Path) -> int:
        """Run it to its end; return its status."""
        return os.waitstatus_to_exitcode(os.waitpid(self.start(folder), 0)[1])


def jobs(folder: Path) -> list[Job]:
    """An encoder with all its stages, a sweep over it, and a language model."""
    texts = tiny.write_reviews(folder, 120, 60)
    body = tiny.write_model(folder / "body")
    words = with_overrides(tiny.small(body, *texts, Path("w")), *OFTEN)
    model, documents = tiny_language.write_model(folder / "llama"), folder
    documents = tiny_language.write_documents(folder, 60)
    language = with_overrides(tiny_language.small(model, documents, Path("w")), *OFTEN[:-2])
    return [
        Job("encoder", ("train", *words)),
        Job("language", ("train", *language)),
        Job("sweep", ("train", "-m", *words, "control=false", "loss.temperature=1,2")),
    ]


def content(workspace: Path) -> dict[str, str]:
    """Every file of every artifact, and its sha256; but for what holds times and dates."""
    found = {}
    for path in workspace.glob("*-*/**/*"):
        name = path.relative_to(workspace).as_posix()
        if path.is_file() and path.name != "manifest.json":
            found[name] = file_digest(path)
    return found


def file_digest(path: Path) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_all() -> None:
    """Import what runs import, once."""
    os.environ.update(tiny.env())
    from distillkit.console.quiet import quiet_others

    quiet_others()
    import datasets  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import scipy.optimize  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import torch
    from transformers import (  # noqa: F401
        BertForSequenceClassification,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
    )

    import distillkit.cli.commands.train  # noqa: F401

    torch.set_num_threads(1)


def end(pid: int, folder: Path, number: int, moment: float | str, rng: random.Random) -> int | None:
    """Signal a run at a moment (seconds, or a sign); its status, or None if it was over before."""
    began = time.monotonic()
    there = set(folder.glob(moment)) if isinstance(moment, str) else set()
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status or None
        passed = time.monotonic() - began
        if isinstance(moment, str):
            due = not there.issuperset(folder.glob(moment))
        else:
            due = passed > moment
        if due:
            break
        time.sleep(0.001)
    if isinstance(moment, str):
        time.sleep(rng.choice((0, 0.001, 0.01)))
    os.killpg(pid, number)
    status = os.waitpid(pid, 0)[1]
    # what is killed cannot end well: it was over just before
    return None if number == signal.SIGKILL and not status else status


def disturb(
    job: Job, folder: Path, times: int, seconds: float, rng: random.Random, tally: Tally, kind: str
) -> None:
    """End the runs of one workspace so often, further and further, if none is over before."""
    signs = sorted(rng.sample(range(len(SIGNS)), times))
    for turn in range(times):
        aimed = rng.random() < 0.5
        moment = SIGNS[signs[turn]] if aimed else rng.uniform(0.05, seconds)
        number = signal.SIGKILL if kind == "kills" else rng.choice(SIGNALS)
        status = end(job.start(folder), folder, number, moment, rng)
        if status is None:
            tally.finished += 1
            return
        tally.ends += 1
        name = moment.removeprefix("w/") if isinstance(moment, str) else "at any time"
        tally.moments[name] = tally.moments.get(name, 0) + 1
        code = os.waitstatus_to_exitcode(status)
        if code not in ((-9,) if kind == "kills" else (75, 0)):
            tally.faults.append(f"{job.name} at {moment}: status {code}")


def compare(job: Job, folder: Path, expected: dict[str, str], tally: Tally) -> None:
    """Run to the end; what it ends with must be what is expected, and nobody left a traceback."""
    tally.workspaces += 1
    words = job.words
    if tally.workspaces % 2:  # it writes no checkpoint over what a killed one began
        words = tuple(with_overrides(words, "trainer.checkpoint_seconds=600", without="--"))
    code = Job(job.name, words).run(folder)
    log = (folder / "log").read_text()
    if code or "Traceback" in log:
        tally.faults.append(f"{job.name}: status {code}: {log[-2000:]}")
    found = content(folder / "w")
    names = sorted(n for n in {*expected, *found} if expected.get(n) != found.get(n))
    tally.differences += [f"{job.name}: {name}" for name in names]
    left = list((folder / "w" / ".partial").glob("*"))
    if left:
        tally.faults.append(f"{job.name}: {left} is left")


def campaign(kind: str, times: int, folder: Path, *, seed: int = 0, only: str = "") -> Tally:
    """End so many runs, of each job in turn, and compare."""
    load_all()
    rng, tally = random.Random(seed), Tally()
    every = [job for job in jobs(folder) if only in job.name]
    expected: dict[str, dict[str, str]] = {}
    seconds: dict[str, float] = {}
    for job in every:
        (whole := folder / f"whole-{job.name}").mkdir()
        began = time.monotonic()
        assert job.run(whole) == 0, (whole / "log").read_text()
        seconds[job.name] = time.monotonic() - began
        expected[job.name] = content(whole / "w")
        # times differ, so that a run without a disturbance shows what else does
        assert expected[job.name], whole
    number = 0
    while tally.ends < times and number < 10 * times:
        job = every[number % len(every)]
        (at := folder / f"{number}").mkdir()
        number += 1
        left = min(A_WORKSPACE, times - tally.ends)
        disturb(job, at, left, seconds[job.name], rng, tally, kind)
        compare(job, at, expected[job.name], tally)
        say(f"{number}: {job.name}: {tally}")
    return tally


def starters(times: int, folder: Path, *, count: int = 5) -> Tally:
    """Start the same command `count` times at once over an empty workspace, `times` times."""
    load_all()
    tally, (job, *_) = Tally(), jobs(folder)
    job = Job("starters", (*job.words, "control=false"))
    (whole := folder / "whole").mkdir()
    assert job.run(whole) == 0, (whole / "log").read_text()
    expected = content(whole / "w")
    for number in range(times):
        (at := folder / f"{number}").mkdir()
        pids = [job.start(at, f"log-{i}") for i in range(count)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        logs = [(at / f"log-{i}").read_text() for i in range(count)]
        makers = sum(bool(MADE.search(log)) for log in logs)
        if any(codes) or any("Traceback" in log for log in logs) or makers != 1:
            tally.faults.append(f"{codes}, {makers} made the student: {logs}")
        found = content(at / "w")
        tally.differences += [n for n in {*expected, *found} if expected.get(n) != found.get(n)]
        if len(list(at.glob("outputs/*/*/report.md"))) != count:
            tally.faults.append("a report is missing")
        tally.workspaces += 1
        tally.finished += count
        say(f"{number + 1}: {tally}")
    return tally


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main(words: Sequence[str]) -> int:
    """Run a campaign; 0 if nothing differs."""
    kind, times = words[0], int(words[1])
    third, only = int([*words, "0", "0"][2]), "".join(words[3:4])
    with TemporaryDirectory(prefix="distillkit-campaign-") as place:
        folder = Path(place)
        if kind == "starters":
            tally = starters(times, folder, count=third or 5)
        else:
            tally = campaign(kind, times, folder, seed=third, only=only)
    for line in [*tally.faults, *tally.differences]:
        say(line)
    say(f"{kind}: {tally}")
    return int(bool(tally.faults or tally.differences))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
