"""A disk that is too small for the targets is told before the teacher is loaded."""

from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.errors import ModelError, WorkspaceError
from distillkit.models.saved import SavedModel
from distillkit.stages import targets as stage
from distillkit.stages.target_work import TargetWork
from distillkit.stages.teacher import TeacherModel
from distillkit.targets import Dense, LastHidden, Sampled, StoredTargets
from distillkit.tasks import CausalLM, Classification, Task
from distillkit.token_table import TokenTable
from distillkit.types import LabelSpace
from tests import tiny, tiny_language
from tests.unit.targets.answers import keys

EXAMPLES, TOKENS = 50, 8
LABELS = LabelSpace(("bad", "good"))
Usage = namedtuple("Usage", "total used free")


def table(*, language: bool) -> TokenTable:
    total = EXAMPLES * TOKENS
    counted = np.ones(total, bool) if language else None
    labels = np.zeros(total if language else EXAMPLES, np.int64)
    return TokenTable(
        ids=np.ones(total, np.int32),
        offsets=np.arange(0, total + 1, TOKENS),
        segments=None,
        keys=keys(EXAMPLES),
        labels=labels,
        label_mask=labels == 0,
        loss_mask=counted,
    )


class Never(Exception):
    """The teacher was loaded."""


def load(self: TeacherModel, task: Task, space: LabelSpace) -> Any:
    raise Never


@pytest.fixture(autouse=True)
def _unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TeacherModel, "load", load)


def generate(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch, *, free: int, task: Task, codec: Any
) -> None:
    monkeypatch.setattr(stage.shutil, "disk_usage", lambda _: Usage(10**12, 0, free))
    out.mkdir(parents=True, exist_ok=True)
    work = TargetWork(
        TeacherModel(SavedModel(str(folder), "teacher.path"), {}),
        task,
        LABELS,
        table(language=isinstance(task, CausalLM)),
        StoredTargets(codec=codec),
        {},
    )
    stage.generate_targets(work, out=out)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language.write_model(tmp_path_factory.mktemp("lm"), padded=40)


@pytest.mark.parametrize("codec", [Dense(), LastHidden(), Sampled(draws=20)], ids=repr)
def test_both_numbers_and_the_way_out_stand_in_one_line(
    language_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: Any
) -> None:
    with pytest.raises(
        WorkspaceError, match=r"about [\d.,]+ k?B of targets are expected"
    ) as caught:
        generate(language_model, tmp_path, monkeypatch, free=900, task=CausalLM(), codec=codec)
    line = str(caught.value)
    assert "900 B are free" in line
    assert "\n" not in line
    assert ("choose a smaller codec (targets=sampled)" in line) == (codec.name != "sampled")
    assert "workspace=FOLDER" in line


def test_the_vocabularys_padding_takes_no_room(
    language_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = len(tiny_language.write_tokenizer(tmp_path / "tokenizer"))
    needed = EXAMPLES * TOKENS * 4 * real + 36 * EXAMPLES
    for free, error in ((needed - 1, WorkspaceError), (needed, Never)):
        with pytest.raises(error):
            generate(
                language_model, tmp_path, monkeypatch, free=free, task=CausalLM(), codec=Dense()
            )


def test_a_classifiers_labels_are_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.write_model(tmp_path / "model", labels=LABELS.names)
    needed = EXAMPLES * (4 * 2 + 36)
    for free, error in ((needed - 1, WorkspaceError), (needed, Never)):
        with pytest.raises(error):
            generate(folder, tmp_path, monkeypatch, free=free, task=Classification(), codec=Dense())


def test_shards_that_are_there_need_no_more_room(
    language_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shard-00000.arrow").write_bytes(bytes(10**6))
    with pytest.raises(Never):
        generate(language_model, tmp_path, monkeypatch, free=0, task=CausalLM(), codec=Dense())


def test_where_any_teacher_would_fit_its_config_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("read")

    monkeypatch.setattr(stage, "meta_model", never)
    with pytest.raises(Never):
        generate(tmp_path, tmp_path, monkeypatch, free=10**12, task=CausalLM(), codec=Dense())


def test_a_teacher_that_cannot_be_described_is_left_to_its_loading(
    language_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undescribed(*_: Any, **__: Any) -> None:
        raise ModelError("its config cannot be made ready")

    monkeypatch.setattr(stage, "meta_model", undescribed)
    with pytest.raises(Never):
        generate(language_model, tmp_path, monkeypatch, free=1, task=CausalLM(), codec=Dense())
