"""Teacher and student on the meta device: shapes without weights, made from their configs."""

from functools import cached_property
from typing import Any

import torch

from distillkit.data.folders import model_folder
from distillkit.models.shapes import meta_model
from distillkit.pipeline import tokenizers
from distillkit.pipeline.context import RunContext
from distillkit.pipeline.text import TextArtifacts
from distillkit.students import FromTeacher, PretrainedStudent
from distillkit.students import from_teacher as cut


class MetaModels:
    """The models of a run on the meta device. Raises `ModelError` for one that cannot be made."""

    def __init__(self, context: RunContext, text: TextArtifacts) -> None:
        self.context, self.text = context, text

    @cached_property
    def teachers(self) -> list[Any]:
        """All teachers; one that is yet to be fitted has the head that it will have."""
        return [
            self._meta_model(it.key, it.source, fresh_head=not it.is_ready, device="meta")
            for it in self.context.teacher.members
        ]

    @property
    def teacher(self) -> Any:
        """The first teacher, which a student may start from."""
        return self.teachers[0]

    @cached_property
    def student(self) -> Any:
        """The student before training."""
        context = self.context
        student: Any = context.student
        if isinstance(student, FromTeacher):
            return cut.outline(student, self.teacher)
        if isinstance(student, PretrainedStudent):
            return self.pretrained(device="meta")
        with torch.device("meta"):
            return context.task.new_model(
                student.config, self.text.corpus.labels, self.tokenizer, key="student.config"
            )

    def new_teacher(self) -> Any:
        """The first teacher's architecture and sizes, with new weights."""
        it = self.context.teacher.members[0]
        return self._meta_model(it.key, it.source, fresh_head=not it.is_ready, device="cpu")

    def pretrained(self, *, device: str) -> Any:
        """A pretrained student's architecture and sizes, with new weights on a device."""
        source = tokenizers.student_source(self.context)
        return self._meta_model(*source, fresh_head=True, device=device)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer that the student learns with."""
        return self.text.tokenizer(*tokenizers.learning_source(self.context))

    def _meta_model(self, key: str, spec: str, *, fresh_head: bool, device: str) -> Any:
        context = self.context
        has_new_head = fresh_head and context.task.family != "language"
        return meta_model(
            model_folder(spec, key=key, cache=context.workspace.assets, weights=False),
            context.task.auto_class,
            key=key,
            outputs=self.text.corpus.labels.outputs if has_new_head else None,
            trust_remote_code=context.trust_remote_code,
            device=device,
        )
