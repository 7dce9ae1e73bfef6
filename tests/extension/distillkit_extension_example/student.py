"""A student: a new transformers model whose word embeddings are columns of the teacher's."""

from dataclasses import dataclass
from typing import Any

import torch

from distillkit.errors import ConfigError
from distillkit.students import Student, StudentContext


@dataclass(frozen=True)
class WarmStart(Student):
    """A BERT of `layers` and `width`; its word embeddings are the first columns of the teacher's.

    `path` is for `evaluate`.
    """

    width: int
    layers: int = 1
    path: str | None = None

    @property
    def starts_from_teacher(self) -> bool:
        """The embeddings do."""
        return True

    def make(self, context: StudentContext) -> Any:
        """A new model, then the embeddings."""
        shape = {
            "model_type": "bert",
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": 2,
            "intermediate_size": 2 * self.width,
        }
        model = context.task.new_model(shape, context.labels, context.tokenizer, key="student")
        table = context.teacher().model.get_input_embeddings().weight
        if table.shape[1] < self.width:
            raise ConfigError(f"student.width = {self.width}: the teacher has {table.shape[1]}")
        with torch.no_grad():
            model.get_input_embeddings().weight.copy_(table[:, : self.width])
        return model
