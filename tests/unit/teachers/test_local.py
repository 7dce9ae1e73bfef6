"""Where a local teacher comes from."""

import pytest

from distillkit.errors import ConfigError
from distillkit.teachers import LocalTeacher


def test_a_ready_teacher_wins_over_a_body() -> None:
    teacher = LocalTeacher(body="./body", path="./ready")
    assert (teacher.source, teacher.key) == ("./ready", "teacher.path")
    assert LocalTeacher(body="./body").key == "teacher.body"


def test_one_of_both_is_needed() -> None:
    with pytest.raises(ConfigError, match=r"neither teacher\.path .* nor teacher\.body"):
        LocalTeacher()


def test_labels_are_those_of_a_ready_teacher() -> None:
    assert LocalTeacher(path="./ready", labels=["a", "b"]).labels == ["a", "b"]
    with pytest.raises(
        ConfigError, match=r"^teacher\.labels = \['a', 'b'\]: names the outputs of a"
    ):
        LocalTeacher(body="./body", labels=["a", "b"])


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/models/my-bert/", "my-bert"),
        ("owner/name", "name"),
        ("pypi://some_model==1.0/pkg/model#sha256=" + "0" * 64, "some_model"),
    ],
)
def test_its_name_for_titles_is_short(source: str, name: str) -> None:
    assert LocalTeacher(body=source).source_name == name
