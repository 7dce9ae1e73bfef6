"""`--repair` by two at once, by one that is killed, and in a sweep; `tests/faults/repairs.py`."""

from pathlib import Path

import pytest

from tests.cli.conftest import finished  # noqa: F401
from tests.cli.runs import Finished, run, with_overrides
from tests.faults.campaign import content
from tests.faults.damages import DAMAGES
from tests.faults.repairs import reports
from tests.faults.test_damage import copied
from tests.processes import last_line


def test_two_that_repair_at_once_and_one_that_is_killed_end_with_the_same_bits() -> None:
    line = last_line("tests.faults.repairs", "2", "1", "encoder", minutes=5)
    assert "1 killed, 1 two at once" in line
    assert line.endswith("2 workspaces, 0 differences, 0 faults")


@pytest.mark.slow
def test_every_kind_of_run_is_repaired_with_the_same_bits() -> None:
    line = last_line("tests.faults.repairs", "24", "2", minutes=90)
    assert line.endswith("24 workspaces, 0 differences, 0 faults")


def test_a_sweep_repairs_what_its_jobs_share_and_what_is_their_own(
    finished: Finished,  # noqa: F811
    tmp_path: Path,
) -> None:
    copy = copied(finished, tmp_path)
    words = with_overrides(copy.words, "loss.temperature=1,2.0")  # 2.0 is there
    assert run(tmp_path, "train", "-m", *words).code == 0
    before, said = content(copy.workspace), reports(tmp_path)
    assert {name.partition(":")[0] for name in said} == {"0", "1"}
    damaged = ["data", "teacher", "targets", "student", "evaluation"]
    paths = [
        max(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
        for kind in damaged
        for folder in copy.workspace.glob(f"{kind}-*")
    ]
    for path in paths:
        DAMAGES["a third"](path, path)
    done = run(tmp_path, "train", "--repair", "-m", *words)
    assert done.code == 0, done.err
    for path in paths:
        artifact = path.relative_to(copy.workspace).parts[0]
        assert f"{copy.workspace / artifact}: damaged: " in done.err
    assert content(copy.workspace) == before
    assert reports(tmp_path) == said
