"""`key=value` words of the commands that are no runs, with the options and files beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from distillkit.artifacts.homes import expanded
from distillkit.config.schema import display, mismatch
from distillkit.console.wording import nearest
from distillkit.errors import ConfigError
from distillkit.setting_types import Fraction, NonNegativeInt, PositiveInt

if TYPE_CHECKING:
    from distillkit.data.text_format import TextFormat

STUDENT = "student.path"
LABELS = list[str]
OF_STUDENT: dict[str, Any] = {STUDENT: str, "student.labels": LABELS, "trust_remote_code": bool}
OF_TASK: dict[str, Any] = {
    "task.max_length": PositiveInt,
    "task.threshold": Fraction,
    "task.stride": NonNegativeInt,
    "task.max_answer_length": PositiveInt,
    "task.impossible": bool,
}
OF_DATA: dict[str, Any] = {
    "data.separator": str,
    "data.encoding": str,
    "data.quoting": str,
    "data.header": bool,
    "data.columns": LABELS,
}


@dataclass(frozen=True, slots=True)
class Words:
    """The settings of a command line, and the file beside them (None: none; -: stdin)."""

    settings: dict[str, Any]
    file: str | None

    @property
    def student(self) -> str:
        """Where the student is."""
        return str(self.settings[STUDENT])

    @property
    def labels(self) -> list[str] | None:
        """The names of its outputs, where they are given."""
        labels: list[str] | None = self.settings.get("student.labels")
        return labels

    @property
    def trusts_code(self) -> bool:
        """Whether code of the student's own may run."""
        return bool(self.settings.get("trust_remote_code", False))

    @property
    def form(self) -> "TextFormat":
        """How a text file is written, as far as it is given."""
        from distillkit.data.text_format import text_format

        names = ("separator", "encoding", "quoting", "header", "columns")
        return text_format(*map(self.of("data").get, names))

    def of(self, group: str) -> dict[str, Any]:
        """The settings of a group, by their names."""
        begin = f"{group}."
        return {k.removeprefix(begin): v for k, v in self.settings.items() if k.startswith(begin)}


def read_words(words: Sequence[str], groups: Mapping[str, Any], *, command: str) -> Words:
    """Settings and at most one file out of words; raises `ConfigError` with all that is wrong."""
    problems, settings, files = [], {}, []
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or (key not in groups and (_is_file(word) or "." not in key)):
            files.append(word)
            continue
        if key not in groups:
            problems.append(f"{key}: no such key of `distillkit {command}`; {nearest(key, groups)}")
            continue
        settings[key] = value = _value(text, groups[key])
        if fault := mismatch(value, groups[key]):
            problems.append(f"{key} = {display(value)}: {fault}")
    if len(files) > 1:
        problems.append(f"{' '.join(files)}: one file at a time")
    if not settings.get(STUDENT) and not any(p.startswith(STUDENT) for p in problems):
        problems.append(f"{STUDENT}: required, but not set; add {STUDENT}=FOLDER")
    if problems:
        raise ConfigError(problems)
    return Words(settings, files[0] if files else None)


def _is_file(word: str) -> bool:
    try:
        return expanded(word).exists()
    except (OSError, ValueError):
        return False


def _value(text: str, kind: Any) -> Any:
    """A value as YAML reads it; text stays as it is written."""
    if kind is str:
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return [str(item) for item in value] if kind is LABELS and isinstance(value, list) else value
