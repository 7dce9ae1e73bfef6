"""What a student has to do: what it is made of, what decides it, and how it is made.

A new one is a frozen dataclass derived from `Student` in a file of its own, with a YAML in
conf/student; outside the project it is named by `student._target_`. A student of another
architecture alone needs no class: `ScratchStudent` takes any transformers config.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from distillkit.artifacts.code_identity import code_identity
from distillkit.errors import ConfigError, ModelError
from distillkit.models.saved import Loaded
from distillkit.token_table import TokenTable
from distillkit.types import LabelSpace

Source = tuple[str, str]  # (the setting that names it, a folder, hub id or pypi://)


def no_text(*_: Any) -> Any:
    """A student's shape is told before any text is read."""
    raise ModelError("student: its shape cannot be told without text")


@dataclass(frozen=True)
class StudentContext:
    """What a student may be made of: a task, labels, a tokenizer, and the teacher.

    `key` is the setting that names `folder`. `teacher()` loads the first teacher (for `meta_model`:
    on the meta device; for `trial_model`: with new weights; both without a tokenizer);
    `calibration(tokenizer, count)` gives inputs of so many training examples, one by one; `texts()`
    are the tokens of all that the teacher is asked about.
    """

    task: Any
    labels: LabelSpace
    key: str
    load_tokenizer: Callable[[], Any]
    find_folder: Callable[[], str]
    teacher: Callable[[], Loaded]
    calibration: Callable[[Any, int], Iterable[Mapping[str, Tensor]]] = no_text
    texts: Callable[[], TokenTable] = no_text
    trust_remote_code: bool = False

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer that the student learns with."""
        return self.load_tokenizer()

    @cached_property
    def folder(self) -> str:
        """The folder of its own weights, or of its tokenizer's source where it has none."""
        return self.find_folder()

    @property
    def outputs(self) -> int | None:
        """How many outputs a new head has; None of a language model, which has its vocabulary's."""
        return None if self.task.family == "language" else self.labels.outputs


class Student(ABC):
    """How a student is made. Its fields are its settings; `path` is a finished one, to evaluate.

    One that `is_cut` is made of the teacher's own layers: its shape follows from the teacher's, and
    the student before training is an artifact, with a row of its own in the report. `size_key` is
    the setting to blame where the student does not fit into memory; None: nobody looks.
    """

    is_cut: ClassVar[bool] = False
    size_key: ClassVar[str | None] = None

    @property
    def tokenizer_source(self) -> Source | None:
        """Where its tokenizer comes from; None: it has the teacher's."""
        return None

    @property
    def weights_source(self) -> Source | None:
        """Where its first weights come from, as a model's folder; None: from nowhere, or `make`."""
        return None

    @property
    def starts_from_teacher(self) -> bool:
        """True if its first weights are made of the teacher's: then the teacher decides them."""
        return self.is_cut or self.counts_words

    @property
    def counts_words(self) -> bool:
        """True if how often words occur in the text decides its first weights."""
        return False

    @property
    def label(self) -> str:
        """What it is in an error about its architecture: a setting and its value."""
        return f"student = {type(self).__name__}"

    def fingerprint_fields(self) -> dict[str, Any]:
        """What of it decides its weights: its fields, and a class from outside.

        `path` and `labels` are of a finished student; an adapter is put in after it is made.
        """
        fields = asdict(self)  # type: ignore[call-overload]
        for name in ("path", "labels", "adapter", "lora"):
            fields.pop(name, None)
        return fields | code_identity(self)

    def describe(self, settings: str, short: Callable[[str], str]) -> str:
        """The student in a line; `settings` are class and fields, `short` shortens a source."""
        return settings

    def check_is_new(self) -> None:
        """Raise `ConfigError` if a finished student is named where one is to be trained."""
        path = getattr(self, "path", None)
        if path and self.weights_source is None:
            raise ConfigError(
                f"student.path = {path}: this student is {self.origin}; to start from a folder "
                "choose student=pretrained (student.path alone is for `distillkit evaluate`)"
            )

    def adapter_fields(self) -> dict[str, Any]:
        """What of an adapter decides its weights; empty of one that is trained whole."""
        return {}

    @property
    def origin(self) -> str:
        """Where it comes from, for messages."""
        return f"made by {type(self).__name__}"

    def check_data(self, *, has_pairs: bool) -> None:  # noqa: B027  (most read any text)
        """Raise `ConfigError` for data that it cannot read: single texts, or pairs of them."""

    @abstractmethod
    def make(self, context: StudentContext) -> Any:
        """The model before training, in float32 on the CPU; torch has been seeded.

        A transformers model: it has `config`, `save_pretrained` and the task's outputs. Usually out
        of `context.task.new_model` or `load_body`.
        """

    def initialize(self, model: Any, context: StudentContext) -> None:  # noqa: B027  (most do not)
        """Set weights that need the model's final vocabulary and padding, after `make`."""

    def meta_model(self, context: StudentContext) -> Any:
        """The same model on the meta device: its shape, for plans and checks, without weights."""
        with torch.device("meta"):
            return self.make(context)

    def try_cut(self, teacher: Any, new_teacher: Callable[[], Any]) -> None:  # noqa: B027
        """Raise `ModelError` where the layers of one that `is_cut` do not stand alone.

        `teacher` is on the meta device; `new_teacher()` has the same shapes and new weights.
        """

    def trial_model(self, context: StudentContext, *, weights: bool) -> Any:
        """A model to try padding on before the run; not called of one that `is_cut`.

        Without `weights` no file of weights may be read: new weights will do.
        """
        return self.make(context)
