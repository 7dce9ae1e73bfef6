"""What a provider of soft targets has to do: a store that is made once, or a teacher in the loop.

A new one is a frozen dataclass derived from `TargetProvider` in a file of its own, with a YAML in
conf/targets; outside the project it is named by `targets._target_`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from distillkit.targets.codecs.codec import Codec


@dataclass(frozen=True, slots=True)
class CodecChoice:
    """What the loss asks of a codec.

    `smallest(settings)` is the first codec that the loss can be computed from, with these settings;
    `temperatures` are those by which the loss softens the teacher all through.
    """

    smallest: Callable[[dict[str, Any]], Codec]
    temperatures: Collection[float]


class TeacherOutputs(Protocol):
    """A run's teachers, as far as a provider needs them; examples are those of the student."""

    def origin(self) -> dict[str, Any]:
        """Identity of teacher, tokenizer and data."""
        ...

    def store_fields(self, settings: Any) -> dict[str, Any]:
        """The fingerprint fields of a target store with the settings of a `StoredTargets`."""
        ...

    def online(self, student: Any, spec: str, settings: Any) -> Any:
        """The teachers, loaded: batch -> (targets, activations). `spec` is the tokenizer's."""
        ...


class TargetChoice(ABC):
    """What a config says of the soft targets: a provider, or what becomes one. Its fields are its
    settings.

    `keeps_store`: the teacher's outputs are written once and read by every student; else `in_loop`
    gives what answers for each batch. `precision` and `batch_tokens` are those of the teacher's
    forward pass; `path` is a store that is taken as it is.
    """

    keeps_store: ClassVar[bool] = False
    precision: Any = "auto"
    batch_tokens: int = 4096
    path: str | None = None

    @abstractmethod
    def settle(self, choice: CodecChoice) -> "TargetProvider":
        """The provider, with all that follows from task and loss; raises `ConfigError`."""

    @abstractmethod
    def describe(self) -> str:
        """Where the targets come from, in a line."""


class TargetProvider(TargetChoice):
    """Where the soft targets of a run come from, settled."""

    def settle(self, choice: CodecChoice) -> "TargetProvider":
        """The same with all that follows from task and loss; raises `ConfigError`."""
        return self

    @abstractmethod
    def fingerprint_fields(self, teachers: TeacherOutputs) -> dict[str, Any]:
        """All that decides the soft targets, for the fingerprint of the student."""

    def in_loop(self, teachers: TeacherOutputs, examples: Any, spec: str) -> Any:
        """What answers for each batch of the student's examples; None: a store is read.

        It is called with a `Batch` and returns (targets, activations or None); `look_at(needs)`
        tells it which activations a loss compares. `spec` is the source of the tokenizer.
        """
        return None
