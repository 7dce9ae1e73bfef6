"""Students before training, as the stage makes them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from distillkit.models.saved import SavedModel
from distillkit.stages.student import make_student, same_numbers
from distillkit.stages.teacher import TeacherModel
from distillkit.students import FromTeacher, ScratchStudent
from distillkit.students.embeddings import principal_components
from distillkit.tasks import Classification
from distillkit.training.learning import warn_unlearnt
from distillkit.training.settings import TrainSettings
from distillkit.types import LabelSpace
from tests import tiny


def never() -> Any:
    raise AssertionError


def test_a_number_decides_the_same_however_it_is_written() -> None:
    written = {"temperature": 2.0, "layers": [[0, 1.0]], "lr": 5e-4, "on": True, "to": None}
    read = same_numbers(written)
    assert read == {"temperature": 2, "layers": [[0, 1]], "lr": 5e-4, "on": True, "to": None}
    assert type(read["temperature"]) is int and read["on"] is True


def test_a_copy_of_a_ready_teacher_says_the_datas_labels_in_the_datas_order(
    tmp_path: Path,
) -> None:
    folder = str(tiny.write_model(tmp_path / "teacher", labels=("good", "mixed", "bad")))
    task, labels = Classification(max_length=24), LabelSpace(("bad", "mixed", "good"))
    teacher = TeacherModel(SavedModel(folder, "teacher.path"), {})
    student, tokenizer = make_student(
        FromTeacher(), task, labels, lambda: teacher, never, never, folder=folder, seed=0
    )
    inputs = tokenizer("a good film", return_tensors="pt")
    with torch.no_grad():
        said, theirs = (m(**inputs).logits for m in (student, teacher.load(task, labels).model))
    torch.testing.assert_close(said, theirs.flip(-1))
    task.save(student, tokenizer, tmp_path / "student")
    saved = task.load(SavedModel(str(tmp_path / "student"), "student"), labels)
    assert saved.order is not None
    assert saved.order.tolist() == [0, 1, 2]


def test_word_embeddings_weigh_by_all_that_the_teacher_is_asked_about(tmp_path: Path) -> None:
    folder = str(tiny.write_model(tmp_path / "teacher", labels=("bad", "good")))
    task, labels = Classification(max_length=24), LabelSpace(("bad", "good"))
    teacher = TeacherModel(SavedModel(folder, "teacher.path"), {})
    shape = {
        "model_type": "bert",
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }

    def made(ids: list[int]) -> torch.Tensor:
        texts: Any = SimpleNamespace(ids=np.array(ids, np.int32))
        student, _ = make_student(
            ScratchStudent(shape, embeddings="pca"),
            task,
            labels,
            lambda: teacher,
            never,
            lambda: texts,
            folder=folder,
            seed=0,
        )
        table: torch.Tensor = student.get_input_embeddings().weight.detach()
        return table

    theirs = teacher.load(task, labels).model.get_input_embeddings().weight.detach()
    counts = torch.zeros(len(theirs)).index_put_((torch.tensor([7, 9]),), torch.tensor([1.0, 3.0]))
    expected = principal_components(theirs, 8, counts).float()
    found = made([9, 7, 9, 9])
    torch.testing.assert_close(found / found.std(), expected / expected.std(), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, made([5] * 40))


@pytest.mark.parametrize(("last", "is_said"), [(1.9, True), (1.81, True), (1.79, False)])
def test_a_training_that_patience_ends_before_its_loss_fell_is_warned_of(
    last: float, is_said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    history = [{"step": 1, "loss": 2.0}, {"step": 9, "loss": last}, {"step": 9, "score": 0.0}]
    warn_unlearnt(history, TrainSettings(steps=100, patience=2), "student")
    told = capsys.readouterr().err
    assert ("trainer.patience_below=0.5" in told) == is_said
    warn_unlearnt(history, TrainSettings(steps=100), "student")  # a signal ended it
    assert capsys.readouterr().err == told[:0]
