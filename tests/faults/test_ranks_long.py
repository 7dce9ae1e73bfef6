"""Two processes: every command and kind of run, and a death of either at each stage.

pytest -m slow tests/faults/test_ranks_long.py --durations=0
"""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import tiny, tiny_language
from tests.cli.runs import QUICK, artifact_kinds, with_overrides
from tests.conftest import Result
from tests.faults.kills import made_elsewhere, weights
from tests.faults.test_ranks import MINUTE, OFTEN
from tests.processes import Ranks, distillkit, launched, torchrun

pytestmark = pytest.mark.slow

STAGES = {
    "teacher": "w/.partial/teacher-*/checkpoint-*",
    "targets": "w/.partial/targets-*/shard-*.arrow",
    "student": "w/.partial/student-*/checkpoint-0000000[3-9]*",
    "evaluation": "w/.partial/evaluation-*",
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tiny.write_reviews(tmp_path_factory.mktemp("texts"), 120, 60)


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("language")
    return tiny_language.write_model(folder), tiny_language.write_documents(folder, 60)


def encoder(body: Path, texts: tuple[Path, Path], folder: Path, *more: str) -> list[str]:
    return with_overrides(tiny.small(body, *texts, folder / "w"), *QUICK, *more)


def assert_ended(ended: list[Result]) -> None:
    """That all went well, and only the first spoke."""
    assert [it.code for it in ended] == [0] * len(ended), "\n".join(it.err for it in ended)
    assert [it.out + it.err for it in ended[1:]] == [""] * (len(ended) - 1)


@pytest.fixture(scope="module")
def undisturbed(
    body: Path, texts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The weights of two processes that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert_ended(distillkit("train", *encoder(body, texts, folder, *OFTEN), cwd=folder).end())
    return weights(folder / "w")


# every command


def test_the_commands_one_after_the_other(
    body: Path, texts: tuple[Path, Path], tmp_path: Path
) -> None:
    words = encoder(body, texts, tmp_path)
    for command in ("train-student", "evaluate"):  # of what is not there
        first, second = distillkit(command, *words, cwd=tmp_path).end()
        assert (first.code, second.code) == (2, 2), first.err
        assert first.err.count("distillkit:") == 1
        assert "Traceback" not in first.err and not second.err
    for command, kind in (
        ("generate-targets", "targets"),
        ("train-student", "student"),
        ("evaluate", "evaluation"),
        ("plan", "evaluation"),
    ):
        assert_ended(distillkit(command, *words, cwd=tmp_path).end())
        assert kind in artifact_kinds(tmp_path / "w"), command


KINDS: dict[str, list[str]] = {
    "hard labels": ["loss=hard_labels"],
    "online": ["targets=online"],
    "augmentation": ["augmentation=word_dropout"],
    "control first": ["teacher.check=warn"],
    "phases": ["phases={first:['trainer.epochs=1'],second:['loss.hard_weight=0.5']}"],
    "cut out of the teacher": ["student=from_teacher", "student.layers=1"],
    "random head": ["teacher.head=random"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_run_ends_on_an_empty_workspace(
    kind: str, body: Path, texts: tuple[Path, Path], tmp_path: Path
) -> None:
    removed = "student.config" if kind.startswith("cut") else "-"
    words = [w for w in encoder(body, texts, tmp_path, *KINDS[kind]) if not w.startswith(removed)]
    if kind in ("online", "hard labels"):
        words = [w for w in words if kind != "online" or not w.startswith("targets.shard")]
    assert_ended(distillkit("train", *words, cwd=tmp_path).end())


def test_an_ensemble_ends_on_an_empty_workspace(
    body: Path, texts: tuple[Path, Path], tmp_path: Path
) -> None:
    words = [w for w in encoder(body, texts, tmp_path) if not w.startswith("teacher")]
    words += ["teacher=ensemble", f"teacher.body={body}", "teacher.seeds=[0,1]"]
    words += ["teacher.epochs=1", "teacher.check=off"]
    assert_ended(distillkit("train", *words, cwd=tmp_path).end())
    assert artifact_kinds(tmp_path / "w").count("teacher") == 2


def test_a_language_model_ends_on_an_empty_workspace(
    language: tuple[Path, Path], tmp_path: Path
) -> None:
    words = tiny_language.small(*language, tmp_path / "w", "student.choose=importance")
    assert_ended(distillkit("train", *words, cwd=tmp_path).end())


@pytest.mark.parametrize("world", [1, 2])
def test_launches_at_once_on_one_workspace(
    world: int,
    undisturbed: dict[str, str],
    body: Path,
    texts: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    """Of two processes each, or of two beside a single one: what both make is made once."""
    words = encoder(body, texts, tmp_path, *OFTEN)
    first = distillkit("train", *words, cwd=tmp_path)
    if world == 1:
        done = tiny.run("train", *words, cwd=tmp_path, timeout=300)
        assert done.returncode == 0, done.stderr
    else:
        assert_ended(distillkit("train", *words, cwd=tmp_path).end())
    assert_ended(first.end())
    found = weights(tmp_path / "w")
    assert found.keys() == undisturbed.keys()
    if world == 2:
        assert found == undisturbed


def test_accelerate_launches_two(
    undisturbed: dict[str, str], body: Path, texts: tuple[Path, Path], tmp_path: Path
) -> None:
    """By the README's words; two end with other bits than one."""
    words = encoder(body, texts, tmp_path, *OFTEN)
    run = launched("accelerate", "train", *words, cwd=tmp_path)
    try:
        out, err = run.communicate(timeout=300)
    finally:
        run.kill()
        run.communicate()
    assert run.returncode == 0, err
    assert out.count("The student keeps") == 1
    assert weights(tmp_path / "w") == undisturbed


# a death


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_death_ends_all_within_a_minute_and_the_run_goes_on(
    rank: int,
    stage: str,
    undisturbed: dict[str, str],
    body: Path,
    texts: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    words = encoder(body, texts, tmp_path, *OFTEN)
    run = distillkit("train", *words, cwd=tmp_path)
    assert run.kill_when(rank, tmp_path, STAGES[stage]), f"the run ended before its {stage} stage"
    assert_taken_along(run, rank)
    assert_ended(distillkit("train", *words, cwd=tmp_path).end())
    assert weights(tmp_path / "w") == undisturbed
    assert not list(tmp_path.glob("w/.partial/*"))


def assert_taken_along(run: Ranks, rank: int) -> None:
    """That the other process ends within a minute of the death, with one line that names it."""
    pid, begun = run.children[rank].pid, time.monotonic()
    ended = run.end(MINUTE)
    assert time.monotonic() - begun < MINUTE
    other = ended[1 - rank]
    assert (ended[rank].code, other.code) == (-signal.SIGKILL, 75), other.err
    said = [line for line in other.err.splitlines() if line.startswith("distillkit:")]
    assert len(said) == 1, other.err
    assert f"rank {rank}" in said[0] and f"process {pid} of " in said[0]
    assert "Traceback" not in other.err


@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_is_stopped_keeps_the_other_waiting_for_less_than_a_minute(
    rank: int, body: Path, texts: tuple[Path, Path], tmp_path: Path
) -> None:
    """Once it goes on, it finds itself alone and ends too."""
    run = distillkit("train", *encoder(body, texts, tmp_path, *OFTEN), cwd=tmp_path)
    try:
        assert run.kill_when(rank, tmp_path, STAGES["teacher"], signal.SIGSTOP)
        pid, begun, other = run.children[rank].pid, time.monotonic(), run.children[1 - rank]
        _, err = other.communicate(timeout=MINUTE)
        assert time.monotonic() - begun < MINUTE
        assert other.returncode == 75, err
        said = [line for line in err.splitlines() if line.startswith("distillkit:")]
        assert len(said) == 1, err
        assert f"rank {rank} (process {pid} of " in said[0]
        assert "has been stopped (SIGSTOP) for 40 s" in said[0]
        assert f"`kill -KILL {pid}` ends it" in said[0]
        run.children[rank].send_signal(signal.SIGCONT)
        _, err = run.children[rank].communicate(timeout=MINUTE)
        assert run.children[rank].returncode == 75, err
    finally:
        run.end(1)


def test_all_that_are_stopped_together_go_on_as_if_nothing_was(
    undisturbed: dict[str, str], body: Path, texts: tuple[Path, Path], tmp_path: Path
) -> None:
    run = distillkit("train", *encoder(body, texts, tmp_path, *OFTEN), cwd=tmp_path)
    assert run.kill_when(1, tmp_path, STAGES["teacher"], signal.SIGSTOP)
    run.children[0].send_signal(signal.SIGSTOP)
    time.sleep(0.9 * MINUTE)
    for child in run.children:
        child.send_signal(signal.SIGCONT)
        time.sleep(2)
    assert_ended(run.end())
    assert weights(tmp_path / "w") == undisturbed


@pytest.mark.parametrize("rank", [0, 1])
def test_a_death_while_the_first_waits_for_a_lock(
    rank: int, undisturbed: dict[str, str], body: Path, texts: tuple[Path, Path], tmp_path: Path
) -> None:
    name = next(name for name in undisturbed if name.startswith("teacher"))
    (tmp_path / "w" / ".locks").mkdir(parents=True)
    with made_elsewhere(tmp_path / "w" / ".locks" / f"{name}.lock"):
        run = distillkit("train", *encoder(body, texts, tmp_path, *OFTEN), cwd=tmp_path)
        assert run.kill_when(rank, tmp_path, "w/tokens-*")
        assert_taken_along(run, rank)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_death_under_torchrun(
    rank: int,
    undisturbed: dict[str, str],
    body: Path,
    texts: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    """The launcher signals the rest at once; it is the death that is told of all the same."""
    words = encoder(body, texts, tmp_path, *OFTEN)
    run = torchrun("train", *words, cwd=tmp_path)
    try:
        pid = killed_rank(run, rank, tmp_path)
        _, err = run.communicate(timeout=MINUTE)
    finally:
        run.kill()
        run.communicate()
    assert run.returncode != 0
    said = [line for line in err.splitlines() if line.startswith(f"distillkit: rank {rank}")]
    assert len(said) == 1, err
    assert f"process {pid} of " in said[0]
    assert_ended(distillkit("train", *words, cwd=tmp_path).end())
    assert weights(tmp_path / "w") == undisturbed


def killed_rank(run: "subprocess.Popen[str]", rank: int, folder: Path) -> str:
    """The number of the process that a launcher told this rank, killed while a student trains."""
    while not any(folder.glob(STAGES["student"])):
        assert run.poll() is None
        time.sleep(0.01)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    of_rank = {pid: Path(f"/proc/{pid}/environ").read_bytes() for pid in children}
    (pid,) = (it for it in children if f"\0RANK={rank}\0".encode() in of_rank[it])
    os.kill(int(pid), signal.SIGKILL)
    return pid


def test_torchrun_goes_on_by_itself_after_a_death(
    undisturbed: dict[str, str], body: Path, texts: tuple[Path, Path], tmp_path: Path
) -> None:
    """As with `--max-restarts 1`: all meet again at the store that torchrun keeps."""
    words = encoder(body, texts, tmp_path, *OFTEN)
    run = launched("torchrun", "train", *words, cwd=tmp_path, PET_MAX_RESTARTS="1")
    try:
        killed_rank(run, 1, tmp_path)
        _, err = run.communicate(timeout=300)
    finally:
        run.kill()
        run.communicate()
    assert run.returncode == 0, err
    assert len([line for line in err.splitlines() if line.startswith("distillkit: rank 1")]) == 1
    assert weights(tmp_path / "w") == undisturbed
