"""Teacher and student as shapes without weights, told from their configs."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from distillkit.data.folders import model_folder
from distillkit.models.shapes import meta_model
from distillkit.pipeline import reading
from distillkit.students import FromTeacher, PretrainedStudent
from distillkit.students import from_teacher as cut

if TYPE_CHECKING:
    from distillkit.pipeline.road import Road


class Outlines:
    """The models of a run on the meta device. Each raises `ModelError` if it cannot be told."""

    def __init__(self, road: "Road") -> None:
        self.road = road

    @cached_property
    def teachers(self) -> list[Any]:
        """All that are asked; one that is yet to be fitted has the head that it will have."""
        return [
            self._meta_model(it.key, it.source, fresh_head=not it.teacher.is_ready, device="meta")
            for it in self.road.teachers
        ]

    @property
    def teacher(self) -> Any:
        """The first teacher, which a student may start from."""
        return self.teachers[0]

    @cached_property
    def student(self) -> Any:
        """The student before training."""
        road = self.road
        if isinstance(road.student, FromTeacher):
            return cut.outline(road.student, self.teacher)
        if isinstance(road.student, PretrainedStudent):
            return self.pretrained(device="meta")
        with torch.device("meta"):
            return road.task.new_model(
                road.student.config,  # type: ignore[attr-defined]
                road.corpus.labels,
                self.tokenizer,
                key="student.config",
            )

    def new_teacher(self) -> Any:
        """The first teacher's architecture and sizes, with new weights."""
        it = self.road.teachers[0]
        return self._meta_model(it.key, it.source, fresh_head=not it.teacher.is_ready, device="cpu")

    def pretrained(self, *, device: str) -> Any:
        """A pretrained student's architecture and sizes, with new weights on a device."""
        return self._meta_model(*self.road.student_tokenizer(), fresh_head=True, device=device)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer that the student reads with."""
        return reading.tokenizer(self.road, *reading.source(self.road))

    def _meta_model(self, key: str, spec: str, *, fresh_head: bool, device: str) -> Any:
        road = self.road
        has_new_head = fresh_head and road.task.family != "language"
        return meta_model(
            self._folder(key, spec),
            road.task.auto_class,
            key=key,
            outputs=road.corpus.labels.outputs if has_new_head else None,
            trust_remote_code=road.trust,
            device=device,
        )

    def _folder(self, key: str, spec: str) -> str:
        return model_folder(spec, key=key, cache=self.road.workspace.assets, weights=False)
