"""Two processes, one of which is killed where little was kept: the same command, the same bits.

pytest -m slow tests/faults/test_ranks_bits.py --durations=0
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import tiny, tiny_language
from tests.cli.runs import QUICK, results, with_overrides
from tests.faults.campaign import content
from tests.faults.test_ranks_long import assert_ended, assert_taken_along
from tests.processes import distillkit

pytestmark = pytest.mark.slow

JOBS = ("encoder", "language")
EVERY_STEP, NEVER = "trainer.checkpoint_seconds=0", "trainer.checkpoint_seconds=3600"
MOMENTS = {  # the checkpoints that are kept, and what shows that it is time
    "capture": (EVERY_STEP, "w/.partial/targets-*/shard-00000.arrow"),
    "late in the capture": (EVERY_STEP, "w/.partial/targets-*/shard-00001.arrow"),
    "the training's first moments": (NEVER, "w/.partial/student-*"),
    "no checkpoint yet": (NEVER, "w/.partial/student-*/best-*"),
    "the last steps": (EVERY_STEP, "w/.partial/student-*/checkpoint-000000{last}"),
}
LAST = {"encoder": "39", "language": "2[5-9]"}  # steps, of 40 and 30
MEASURED = ("latency", "_per_second", "faster", "seconds", "command")  # of the machine, or a path


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The words of each job, but for its workspace."""
    folder = tmp_path_factory.mktemp("jobs")
    body, texts = tiny.write_model(folder / "body"), tiny.write_reviews(folder, 120, 60)
    model = tiny_language.write_model(folder / "llama")
    documents = tiny_language.write_documents(folder, 60)
    quick = [word for word in QUICK if not word.startswith("teacher")]
    more = ["trainer.epochs=4", "control=false"]
    return {
        "encoder": with_overrides(tiny.small(body, *texts, Path("w")), *QUICK, *more),
        "language": with_overrides(tiny_language.small(model, documents, Path("w")), *quick, *more),
    }


@pytest.fixture(scope="module")
def undisturbed(
    jobs: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[dict[str, str], Any]]:
    """What each job ends with where nobody disturbs it."""
    found = {}
    for job in JOBS:
        folder = tmp_path_factory.mktemp(job)
        assert_ended(distillkit("train", *jobs[job], cwd=folder).end())
        found[job] = ended_with(folder)
    return found


def ended_with(folder: Path) -> tuple[dict[str, str], Any]:
    """(the sha256 of every file of every artifact, the results but for what was measured)."""
    return content(folder / "w"), unmeasured(results(folder))


def unmeasured(value: Any) -> Any:
    """A record without times."""
    if not isinstance(value, dict):
        return value
    return {k: unmeasured(v) for k, v in value.items() if not any(it in k for it in MEASURED)}


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("job", JOBS)
def test_a_death_changes_no_bit(
    job: str,
    moment: str,
    rank: int,
    jobs: dict[str, list[str]],
    undisturbed: dict[str, tuple[dict[str, str], Any]],
    tmp_path: Path,
) -> None:
    kept, sign = MOMENTS[moment]
    expected, of_all = undisturbed[job]
    words = [*jobs[job], kept]
    run = distillkit("train", *words, cwd=tmp_path)
    assert run.kill_when(rank, tmp_path, sign.format(last=LAST[job])), "the run ended before"
    assert_taken_along(run, rank)
    students = {name.split("/")[0] for name in expected if name.startswith("student-")}
    assert {path.name for path in tmp_path.glob("w/student-*")} < students
    if kept == NEVER:
        assert not list(tmp_path.glob("w/.partial/student-*/checkpoint-*"))
    assert_ended(distillkit("train", *words, cwd=tmp_path).end())
    files, figures = ended_with(tmp_path)
    assert {kind.split("-")[0] for kind in files} >= {"student", "targets"}
    assert files == expected
    assert figures == of_all, json.dumps(figures)
    assert not list(tmp_path.glob("w/.partial/*"))
