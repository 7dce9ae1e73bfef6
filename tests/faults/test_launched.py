"""Jobs of a sweep in processes of their own end after the step that a signal to the sweep finds."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from distillkit import stopping
from tests import tiny
from tests.cli.runs import QUICK, with_overrides
from tests.faults.kills import made_elsewhere, weights

JOBS = """
import os, sys, time
from pathlib import Path
from joblib import Parallel, delayed
from distillkit import stopping
from distillkit.cli import launched
from distillkit.cli.main import _exit_code
folder = Path(sys.argv[1])
def work(number):
    with stopping.scope():
        if number:
            stopping.hold()
        (folder / f"process-{number}").write_text(str(os.getpid()))
        (folder / f"began-{number}").touch()
        if not number:
            return 0.5  # its process is at leisure when the signal comes
        steps = 0
        while not stopping.requested():
            time.sleep(0.01)
            steps += 1
        time.sleep(0.3)  # the rest of a step, and its checkpoint
        (folder / f"saved-{number}").write_text(str(steps))
    return 1.0
def sweep():
    words = [launched.JOBLIB]
    with launched.passed_on(words):
        job = launched.job(work, words)
        results = Parallel(n_jobs=int(sys.argv[2]), backend="loky")(
            delayed(job)(number) for number in range(int(sys.argv[3]))
        )
        (folder / "results").write_text(repr(results))
    return 0
sys.exit(_exit_code(["train"], sweep))
"""


def wait_for(folder: Path, names: list[str], process: "subprocess.Popen[Any]") -> None:
    wait_until(lambda: all((folder / name).exists() for name in names), process, seconds=60)


def wait_until(
    sign: Callable[[], bool], process: "subprocess.Popen[Any]", *, seconds: float = 300
) -> None:
    began = time.monotonic()
    while not sign():
        if process.poll() is not None or time.monotonic() - began > seconds:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"status {process.wait()}, after {time.monotonic() - began:.0f} s")
        time.sleep(0.01)


def waiting(log: Path, *kinds: str) -> list[str]:
    """The lines that say that an artifact of these kinds is made elsewhere."""
    lines = log.read_text().splitlines()
    return [line for line in lines if line.startswith(kinds) and line.endswith("; waiting")]


@pytest.mark.parametrize(
    ("workers", "jobs", "everyone"),
    [(3, 3, False), (2, 3, True), (2, 4, False), (5, 3, False), (5, 3, True)],
    ids=["one at leisure", "all", "one in the queue", "two that had no job", "all, without jobs"],
)
def test_every_job_saves_and_the_sweep_leaves_with_a_status_of_its_own(
    workers: int, jobs: int, everyone: bool, tmp_path: Path
) -> None:
    number = signal.SIGTERM if everyone else signal.SIGUSR1
    words = [sys.executable, "-c", JOBS, str(tmp_path), str(workers), str(jobs)]
    env = tiny.env(PYTHONPATH=os.pathsep.join(sys.path))
    process = subprocess.Popen(
        words, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(tmp_path, ["began-0", "began-1", "began-2"], process)
    (os.killpg if everyone else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75, err
    assert "Traceback" not in err
    assert err.rstrip().endswith(f"stopped by {number.name}; the same command goes on from here")
    assert sorted(path.name for path in tmp_path.glob("saved-*")) == ["saved-1", "saved-2"]
    assert (tmp_path / "results").read_text() == repr([0.5, *[None] * (jobs - 1)])
    assert not (tmp_path / "began-3").exists()


def test_a_second_signal_ends_the_workers_too(tmp_path: Path) -> None:
    words = [sys.executable, "-c", JOBS.replace("sleep(0.3)", "sleep(60)"), str(tmp_path), "5", "3"]
    env = tiny.env(PYTHONPATH=os.pathsep.join(sys.path))
    process = subprocess.Popen(
        words, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(tmp_path, ["began-0", "began-1", "began-2"], process)
    workers = [Path("/proc", pid) for pid in children(process.pid) if is_worker(pid)]
    assert len(workers) == 5
    process.send_signal(signal.SIGTERM)
    time.sleep(2 * stopping.TWICE)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)  # at once, as none of them holds the pipe either
    assert process.returncode == 75, err
    assert "left at once" in err
    assert not [it for it in workers if it.exists() and is_worker(it.name)]
    assert not list(tmp_path.glob("saved-*"))


def test_workers_of_a_command_that_was_killed_end_after_their_step(tmp_path: Path) -> None:
    words = [sys.executable, "-c", JOBS, str(tmp_path), "3", "3"]
    env = tiny.env(PYTHONPATH=os.pathsep.join(sys.path))
    process = subprocess.Popen(words, env=env, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(tmp_path, ["began-0", "began-1", "began-2"], process)
    # one that had no job yet ends after the five idle minutes that joblib gives it
    workers = {Path("/proc", (tmp_path / f"process-{n}").read_text()) for n in range(3)}
    assert all(map(lives, workers))
    process.kill()
    process.wait()
    late = time.monotonic() + 60
    busy = {1, 2}
    while any(lives(it) for it in workers) or busy:
        busy = {n for n in busy if not (tmp_path / f"saved-{n}").exists()}
        assert time.monotonic() < late, [it for it in workers if it.exists()]
        time.sleep(0.05)


def lives(process: Path) -> bool:
    """Whether a worker is there; of one that has ended and nobody asks after, no command line."""
    with suppress(OSError):
        return is_worker(process.name)
    return False


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def is_worker(pid: str) -> bool:
    """Whether a process is a worker of joblib's that lives: what is gone has no command line."""
    return b"popen_loky" in Path("/proc", pid, "cmdline").read_bytes()


def test_one_job_at_a_time_runs_here_and_ends_as_any_run(tmp_path: Path) -> None:
    words = [sys.executable, "-c", JOBS, str(tmp_path), "1", "2"]
    env = tiny.env(PYTHONPATH=os.pathsep.join(sys.path))
    process = subprocess.Popen(
        words, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(tmp_path, ["began-1"], process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75, err
    assert (tmp_path / "saved-1").exists() and not (tmp_path / "results").exists()


WITH_JOBLIB = pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins") is None
    or importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None,
    reason="of the extra `sweep`",
)


@pytest.mark.slow
@WITH_JOBLIB
def test_a_sweep_of_joblibs_ends_with_the_weights_of_an_undisturbed_one(
    body: Path, tmp_path: Path
) -> None:
    texts = tiny.write_reviews(tmp_path, 120, 60)
    words = with_overrides(
        tiny.small(body, *texts, Path("w")),
        *QUICK,
        "trainer.epochs=400",  # 4,000 steps, and the best of every 500 kept
        "trainer.checkpoint_seconds=600",
        "control=false",
    )
    words = ["train", "-m", *words, "loss.temperature=1,2"]
    (alone := tmp_path / "alone").mkdir()
    assert tiny.run(*words, cwd=alone, timeout=600).returncode == 0
    (folder := tmp_path / "signalled").mkdir()
    launched = [*words, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    teacher = next(name for name in weights(alone / "w") if name.startswith("teacher"))
    (folder / "w" / ".locks").mkdir(parents=True)
    said, students = folder / "said", "w/.partial/student-*"
    with (
        said.open("w") as log,
        # so long as somebody else makes the teacher neither job is further than the other
        made_elsewhere(folder / "w" / ".locks" / f"{teacher}.lock"),
    ):
        process = subprocess.Popen(
            tiny.command(*launched),
            cwd=folder,
            env=tiny.env(),
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
        # for the teacher, and for the other job to make the targets with it
        wait_until(lambda: len(waiting(said, "teacher-", "targets-")) == 2, process)
    # both train, and one has not ended yet
    wait_until(lambda: len({it.parent for it in folder.glob(f"{students}/best-*")}) == 2, process)
    before = list(folder.glob(f"{students}/checkpoint-*"))
    process.terminate()
    assert process.wait(timeout=120) == 75, said.read_text()
    assert not before
    assert len(list(folder.glob(f"{students}/checkpoint-*"))) == 2
    assert tiny.run(*launched, cwd=folder, timeout=600).returncode == 0
    assert weights(folder / "w") == weights(alone / "w")


SECRETS = {
    "HF_TOKEN": "s3cret-of-the-hub",
    "WANDB_API_KEY": "k3y-of-another",
    "SLURM_JWT": "token-of-slurm",
    "AWS_SECRET_ACCESS_KEY": "aws/s3cret+key",
    "MY_PLACE": "/private/place",
}
TYPED = "typed-k3y"


@pytest.mark.slow
@WITH_JOBLIB
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_jobs_of_launchers_write_no_secret(launcher: str, body: Path, tmp_path: Path) -> None:
    words = with_overrides(
        tiny.small(body, *tiny.write_reviews(tmp_path, 80, 30), Path("w")),
        *QUICK,
        "control=false",
        "loss.temperature=1,2",
        "+about.place=${oc.env:MY_PLACE}",
        *(f"+about.{name.lower()}={SECRETS[name]}" for name in ("SLURM_JWT", "WANDB_API_KEY")),
        f"+about.setup=['export COMET_API_KEY={TYPED}']",
        f"+hydra.job.env_set.COMET_API_KEY={TYPED}",
        "hydra.job.env_copy=[HF_TOKEN,AWS_SECRET_ACCESS_KEY]",
        "hydra.output_subdir=.hydra",
        "hydra.verbose=true",
    )
    words += [f"hydra/launcher={launcher}"]
    (temporary := tmp_path / "temporary").mkdir()
    done = tiny.run(
        "train", "-m", *words, cwd=tmp_path, timeout=600, TMPDIR=str(temporary), **SECRETS
    )
    assert done.returncode == 0, done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"multirun.yaml", "hydra.yaml", "results.json", "report.md"} <= names
    written = {str(path): path.read_bytes() for path in files}
    for place, text in (written | {"the terminal": (done.stdout + done.stderr).encode()}).items():
        for secret in (*SECRETS.values(), TYPED):
            assert secret.encode() not in text, f"{secret} is in {place}"
    (config, _) = tmp_path.glob("outputs/*/*/[01]/config.yaml")
    assert "slurm_jwt: ${oc.env:SLURM_JWT}" in config.read_text()
