"""What a stage asks of a task: the one place for features, label order, masks and shifts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from torch import Tensor

from distillkit.artifacts.code_identity import code_identity
from distillkit.models.saved import ForwardFn, Loaded, SavedModel
from distillkit.token_table import TokenTable
from distillkit.types import Distribution, LabelSpace

Family = Literal["sequence", "language"]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Labelled examples that a model is measured on; `labels` names what it tells apart.

    `split` is the text behind them, where it is at hand: in an evaluation, not in a training's
    validation.
    """

    table: TokenTable
    labels: LabelSpace
    split: Any = None


def identity_of(task: "Task") -> dict[str, Any]:
    """What a fingerprint has of a task's class: its name, and the files of one from outside."""
    code = code_identity(task)
    return {"task": type(task).__name__, **({"task_code": code} if code else {})}


def no_labels(
    values: Sequence[Any], names: list[str] | None = None
) -> tuple[LabelSpace, np.ndarray]:
    """What a language model reads of labels: there are none."""
    return LabelSpace(()), np.zeros(len(values), np.int64)


class Task(Protocol):
    """What is predicted. `max_length` is an example's most tokens.

    `family` says how a model is measured: by labels that the data has, or by the distribution of a
    token. `reads` are the kinds of data that it learns from, and `distribution` what a model's
    outputs at a position mean. With `one_tokenizer`, positions and ids mean the same to student and
    teacher only under one tokenizer. Where `packs`, several examples may share a row.
    """

    family: ClassVar[Family]
    reads: ClassVar[tuple[str, ...]]
    distribution: ClassVar[Distribution]
    one_tokenizer: ClassVar[bool]
    generates: ClassVar[bool]  # whether a model can continue a text
    higher_is_better: ClassVar[bool]
    auto_class: ClassVar[str]  # of transformers: how a user loads the student
    pipeline: ClassVar[str]  # and what transformers and the hub call its use
    codecs: ClassVar[tuple[str, ...]]  # of a target store: the first that does for the loss
    cuts: ClassVar[str]  # what becomes of longer text, for a message
    # its scores that `metrics.titles.COLUMNS` lacks: name -> {title, format, falls}
    measures: ClassVar[dict[str, dict[str, Any]]]

    @property
    def headline(self) -> str:
        """The metric that models are ranked by."""
        ...

    @property
    def max_length(self) -> int:
        """The most tokens of an example."""
        ...

    @property
    def protocol(self) -> str:
        """How held-out text is read, where that changes the figures."""
        ...

    @property
    def packs(self) -> bool:
        """Whether several examples may share a row."""
        ...

    def feature_fields(self, *, held_out: bool) -> dict[str, Any]:
        """The settings that decide a token table; `held_out` splits may be cut otherwise."""
        ...

    @property
    def scoring(self) -> dict[str, Any]:
        """The settings that decide a score and no token table: also which weights are kept."""
        ...

    def read_labels(
        self, values: Sequence[Any], names: list[str] | None = None
    ) -> tuple[LabelSpace, np.ndarray]:
        """The label space of all label values, and the encoded labels [rows]; empty without any."""
        ...

    def tokenise(
        self, split: Any, tokenizer: Any, *, label: str, held_out: bool
    ) -> tuple[TokenTable, int]:
        """The token table of a split, and how many texts were cut."""
        ...

    def load(self, saved: SavedModel, labels: LabelSpace) -> Loaded:
        """A trained model, ready to be asked."""
        ...

    def load_body(
        self, folder: str, labels: LabelSpace, *, key: str, trust_remote_code: bool = False
    ) -> Any:
        """A model that starts from pretrained weights (seed torch before, for a new head)."""
        ...

    def new_model(
        self, config: dict[str, Any], labels: LabelSpace, tokenizer: Any, *, key: str
    ) -> Any:
        """A model of any transformers config, with new weights (seed torch before)."""
        ...

    def load_tokenizer(self, folder: str, *, key: str, trust_remote_code: bool = False) -> Any:
        """The tokenizer of a folder, file or hub id."""
        ...

    def agree_on_padding(self, model: Any, tokenizer: Any, *, key: str) -> None:
        """Let model and tokenizer have one pad token, so that answers do not hang on the batch."""
        ...

    def save(self, model: Any, tokenizer: Any, folder: Path) -> None:
        """Write a model folder in Hugging Face format."""
        ...

    def forward_fn(self, tokenizer: Any) -> ForwardFn:
        """How a model with this tokenizer is asked about a batch."""
        ...

    def width(self, tokenizer: Any, labels: LabelSpace) -> int:
        """How many outputs a model has at each counted position."""
        ...

    def per_example(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss against hard labels, [positions] of logits [positions, classes]."""
        ...
