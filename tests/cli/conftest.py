"""Fixtures of the command line's tests: one finished run for all, and words to change it by."""

import shutil
from pathlib import Path

import pytest

from tests import tiny
from tests.cli.runs import QUICK, Finished, run, with_overrides

ROWS = 120


@pytest.fixture(scope="session")
def finished(body: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """`distillkit train` on few texts, with teacher, targets, student, control and evaluation."""
    folder = tmp_path_factory.mktemp("finished")
    texts = tiny.write_reviews(folder, ROWS, 60)
    words = with_overrides(tiny.small(body, *texts, folder / "workspace"), *QUICK)
    result = run(folder, "train", *words)
    assert result.code == 0, result.err
    return Finished(words, folder / "workspace", folder, result)


@pytest.fixture
def fresh(finished: Finished, tmp_path: Path) -> list[str]:
    """The words of that run over an empty workspace."""
    return with_overrides(finished.words, f"workspace={tmp_path / 'workspace'}")


@pytest.fixture
def again(finished: Finished, fresh: list[str], tmp_path: Path) -> list[str]:
    """The words of that run over a copy of its workspace, to be written to."""
    shutil.copytree(finished.workspace, tmp_path / "workspace")
    return fresh
