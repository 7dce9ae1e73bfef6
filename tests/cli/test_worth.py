"""A teacher that has nothing to teach is told before it is asked, and stops the run."""

from pathlib import Path

import numpy as np
import pytest
import torch

from distillkit.artifacts.workspace import read_json
from distillkit.data import Corpus
from distillkit.models import precision
from distillkit.pipeline.worth import _always_named
from distillkit.stages import worth
from distillkit.stages.worth import Answers
from distillkit.tasks import Classification, HeldOut, MultiLabel
from distillkit.token_table import TokenTable
from distillkit.training.learning import read_metrics
from distillkit.types import KEY_BYTES, LabelSpace
from tests import tiny
from tests.cli.runs import artifact_kinds, assert_refused, run, with_overrides

NOTHING_LEARNT = ["teacher.head=random", "teacher.max_steps=1", "teacher.lr=1e-9"]


@pytest.fixture
def words(fresh: list[str]) -> list[str]:
    """A run whose teacher is looked at."""
    return with_overrides(fresh, "teacher.check=stop", "data.validation_fraction=0.3")


def test_a_fitted_teacher_that_learnt_nothing_stops_before_the_capture(
    words: list[str], tmp_path: Path
) -> None:
    done = run(tmp_path, "train", *with_overrides(words, *NOTHING_LEARNT))
    line = assert_refused(
        done,
        "validation examples its accuracy is 0.",
        "always naming the commonest label 0.",
        "teacher.epochs",
        "teacher.lr",
        "teacher.body",
        "teacher.check=warn",
        "teacher.head=probe",
    )
    assert line.startswith("distillkit: teacher: on ")
    made = artifact_kinds(tmp_path / "workspace")
    assert "teacher" in made
    assert "targets" not in made
    assert "student" not in made


def test_it_goes_on_where_it_is_told_to_and_says_the_same(words: list[str], tmp_path: Path) -> None:
    done = run(tmp_path, "train", *with_overrides(words, *NOTHING_LEARNT, "teacher.check=warn"))
    assert done.code == 0, done.err
    assert "always naming the commonest label 0." in done.err
    assert "targets" in artifact_kinds(tmp_path / "workspace")


def test_what_it_advises_helps(words: list[str], tmp_path: Path) -> None:
    done = run(tmp_path, "train", *with_overrides(words, "teacher.epochs=4", "teacher.lr=3e-3"))
    assert done.code == 0, done.err
    assert "commonest label" not in done.err


def test_a_ready_teacher_whose_labels_are_crossed_stops(words: list[str], tmp_path: Path) -> None:
    done = run(tmp_path, "train", *with_overrides(words, "teacher.epochs=4", "control=false"))
    assert done.code == 0, done.err
    (fitted,) = (tmp_path / "workspace").glob("teacher-*/model")
    ready = with_overrides(words, f"teacher.path={fitted}", "control=false", without="teacher.body")
    assert run(tmp_path, "generate-targets", *ready).code == 0
    crossed = run(tmp_path, "generate-targets", *ready, "teacher.labels=[good,bad]")
    assert_refused(crossed, "always naming the commonest label", "teacher.path=", "teacher.labels=")


def test_a_teacher_behind_the_control_stops_after_the_control(body: Path, tmp_path: Path) -> None:
    texts = tiny.write_reviews(tmp_path, 400, 60)
    words = with_overrides(
        tiny.small(body, *texts, tmp_path / "workspace"),
        "teacher.check=stop",
        "data.validation_fraction=0.4",
        "teacher.max_steps=1",  # so little that what the probe makes of random weights is kept
        "teacher.lr=1e-9",
        "trainer.epochs=12",
        "optimizer.lr=1e-2",
    )
    done = run(tmp_path, "train", *words)
    assert_refused(done, "that of the same student on hard labels alone (the control) 0.9")
    assert "fine-tuning found nothing better than the probe, which is kept" in done.err
    made = artifact_kinds(tmp_path / "workspace")
    assert "student" in made  # the control
    assert "targets" not in made
    assert run(tmp_path, "train", *words, "control=false").code == 0  # it beats naming one label


def test_the_check_is_no_part_of_the_teachers_name(words: list[str], tmp_path: Path) -> None:
    words = with_overrides(words, "teacher.epochs=4")
    assert run(tmp_path, "generate-targets", *words).code == 0
    before = artifact_kinds(tmp_path / "workspace")
    assert run(tmp_path, "generate-targets", *with_overrides(words, "teacher.check=off")).code == 0
    assert artifact_kinds(tmp_path / "workspace") == before


@pytest.mark.parametrize("ready", [False, True], ids=["fitted", "ready"])
def test_a_model_has_one_figure_whoever_tells_it(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ready: bool
) -> None:
    """The teacher's fit is looked at in bfloat16 where the processor has it, the control's not."""
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    words = with_overrides(words, "teacher.check=warn", "teacher.epochs=4")
    assert run(tmp_path, "train", *words).code == 0
    workspace = tmp_path / "workspace"
    (fitted,) = workspace.glob("teacher-*")
    if ready:  # asked for its answers as it was looked at
        workspace = tmp_path / "another"
        words = with_overrides(words, f"teacher.path={fitted}/model", without="teacher.body")
        assert run(tmp_path, "train", *with_overrides(words, f"workspace={workspace}")).code == 0
    (control,) = (
        path
        for path in workspace.glob("student-*")
        if "HardLabelLoss" in (path / "manifest.json").read_text()
    )
    looks = [_kept_loss(path) for path in (fitted, control)]
    losses = [_loss(path, workspace) for path in workspace.glob("answers-*")]
    assert len(losses) == 2
    assert sorted(losses) == pytest.approx(sorted(looks), rel=1e-6)


def _kept_loss(folder: Path) -> float:
    """The validation loss that a training told of the weights that it kept."""
    best = read_json(folder / "manifest.json")["facts"]["fit"]["best_step"]
    rows = read_metrics(folder)
    return next(row["validation_loss"] for row in reversed(rows) if row["step"] == best)


def _loss(folder: Path, workspace: Path) -> float:
    """That of the answers that the check looked at."""
    answers = Answers.open(folder)
    (corpus,) = workspace.glob("data-*")
    split = Corpus.open(corpus, None).split("validation")
    labels = dict(zip(split.keys, split.labels, strict=True))
    order = torch.tensor([int(labels[key]) for key in answers.keys])
    return float(Classification.per_example(torch.from_numpy(answers.logits), order).mean())


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([[1, 1, 0]] * 3 + [[0, 1, 1]], "always naming the same labels (a, b)"),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], "naming no label"),
    ],
)
def test_of_several_labels_those_that_nobody_need_read_for_are_named(
    labels: list[list[int]], said: str
) -> None:
    keys = np.arange(len(labels)).astype(f"S{KEY_BYTES}")
    rows = [np.array([1], np.int32)] * len(labels)
    table = TokenTable.of_rows(rows, keys, [np.zeros(1, np.int64)] * len(labels))
    fields = {name: getattr(table, name) for name in TokenTable.__slots__}
    space, task = LabelSpace(("a", "b", "c")), MultiLabel()
    held_out = HeldOut(TokenTable(**fields | {"labels": np.array(labels)}), space)
    constant = worth.commonest(task, held_out)
    assert constant is not None
    assert _always_named(task, constant, space) == said
    assert "commonest" in _always_named(Classification(), constant, space)
