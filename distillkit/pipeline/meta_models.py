"""Teacher and student on the meta device: shapes without weights, made from their configs."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from distillkit.data.folders import model_folder
from distillkit.models.saved import Loaded
from distillkit.models.shapes import meta_model
from distillkit.pipeline import tokenizers
from distillkit.pipeline.context import RunContext
from distillkit.pipeline.text import TextArtifacts
from distillkit.students import StudentContext


class MetaModels:
    """The models of a run on the meta device. Raises `ModelError` for one that cannot be made."""

    def __init__(self, context: RunContext, text: TextArtifacts) -> None:
        self.context, self.text = context, text

    @cached_property
    def teachers(self) -> list[Any]:
        """All teachers; one that is yet to be fitted has the head that it will have."""
        return [
            self._meta_model(
                member.key, member.source, fresh_head=not member.is_ready, device="meta"
            )
            for member in self.context.teacher.members
        ]

    @property
    def teacher(self) -> Any:
        """The first teacher, which a student may start from."""
        return self.teachers[0]

    @cached_property
    def student(self) -> Any:
        """The student before training."""
        return self.context.student.meta_model(self.student_context(lambda: self.teacher))

    def student_context(
        self, teacher: Callable[[], Any], *, weights: bool = False
    ) -> StudentContext:
        """What a student's shape is told from: this teacher, and no text."""
        context, (key, spec) = self.context, tokenizers.student_source(self.context)
        return StudentContext(
            task=context.task,
            labels=self.text.corpus.labels,
            key=key,
            load_tokenizer=lambda: self.tokenizer,
            find_folder=lambda: model_folder(
                spec, key=key, cache=context.workspace.assets, weights=weights
            ),
            teacher=lambda: Loaded(teacher(), None),
            trust_remote_code=context.trust_remote_code,
        )

    def new_teacher(self) -> Any:
        """The first teacher's architecture and sizes, with new weights."""
        member = self.context.teacher.members[0]
        return self._meta_model(
            member.key, member.source, fresh_head=not member.is_ready, device="cpu"
        )

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
