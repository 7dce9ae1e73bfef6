"""The settings of a student with new weights."""

import pytest

from distillkit.errors import ConfigError
from distillkit.students import ScratchStudent

SHAPE = {"model_type": "bert"}


def test_pca_needs_the_teachers_tokenizer() -> None:
    ScratchStudent(SHAPE, embeddings="pca")
    with pytest.raises(
        ConfigError, match=r"student\.tokenizer=null, or student\.embeddings=random"
    ):
        ScratchStudent(SHAPE, tokenizer="./other", embeddings="pca")


def test_a_finished_student_is_not_trained() -> None:
    ScratchStudent(SHAPE).check_is_new()
    with pytest.raises(ConfigError, match=r"student\.path = \./it: .* student=pretrained"):
        ScratchStudent(SHAPE, path="./it").check_is_new()
