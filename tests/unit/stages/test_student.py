"""Students before training, as the stage makes them."""

from pathlib import Path
from typing import Any

import torch

from distillkit.records import LabelSpace
from distillkit.stages.student import make_student
from distillkit.stages.teacher import TeacherModel
from distillkit.students import FromTeacher
from distillkit.tasks import Classification, SavedModel
from tests import tiny


def never() -> Any:
    raise AssertionError


def test_a_copy_of_a_ready_teacher_says_the_datas_labels_in_the_datas_order(
    tmp_path: Path,
) -> None:
    folder = str(tiny.write_model(tmp_path / "teacher", labels=("good", "mixed", "bad")))
    task, labels = Classification(max_length=24), LabelSpace(("bad", "mixed", "good"))
    teacher = TeacherModel(SavedModel(folder, "teacher.path"), {})
    student, tokenizer = make_student(
        FromTeacher(), task, labels, lambda: teacher, never, folder=folder, seed=0
    )
    inputs = tokenizer("a good film", return_tensors="pt")
    with torch.no_grad():
        said, theirs = (m(**inputs).logits for m in (student, teacher.load(task, labels).model))
    torch.testing.assert_close(said, theirs.flip(-1))
    task.save(student, tokenizer, tmp_path / "student")
    saved = task.load(SavedModel(str(tmp_path / "student"), "student"), labels)
    assert saved.order is not None
    assert saved.order.tolist() == [0, 1, 2]
