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
        road = self.road
        return [
            meta_model(
                self._folder(it.key, it.source),
                road.task.auto_class,
                key=it.key,
                outputs=None if it.teacher.is_ready else self._outputs,
                trust_remote_code=road.trust,
            )
            for it in road.teachers
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
                road.student.config, road.corpus.labels, self.tokenizer, key="student.config"
            )

    def pretrained(self, *, device: str) -> Any:
        """A pretrained student's architecture and sizes, with new weights on a device."""
        key, spec = self.road.student_tokenizer()
        return meta_model(
            self._folder(key, spec),
            self.road.task.auto_class,
            key=key,
            outputs=self._outputs,
            trust_remote_code=self.road.trust,
            device=device,
        )

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer that the student reads with."""
        return reading.tokenizer(self.road, *reading.source(self.road))

    @property
    def _outputs(self) -> int | None:
        """Of a new head; a language model has its vocabulary's."""
        road = self.road
        return None if road.task.family == "language" else road.corpus.labels.outputs

    def _folder(self, key: str, spec: str) -> str:
        return model_folder(spec, key=key, cache=self.road.workspace.assets, weights=False)
