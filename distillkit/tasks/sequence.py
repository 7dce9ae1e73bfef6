"""What tasks whose texts have labels have in common: a class or a value a text, tags, spans."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from distillkit.metrics.resampled import Column
from distillkit.models import classifiers as models
from distillkit.models.first_token import first_token_only
from distillkit.models.padding import agree_on_padding, model_output
from distillkit.models.saved import ForwardFn, Loaded, SavedModel
from distillkit.models.saving import save_folder
from distillkit.setting_types import PositiveInt
from distillkit.tasks.task import Family, HeldOut
from distillkit.tasks.tokenize.texts import tokenise
from distillkit.token_table import TokenTable
from distillkit.types import Batch, Distribution, LabelSpace, Outputs


@dataclass(frozen=True)
class SequenceTask(ABC):
    """Labels of a text or a pair; `max_length` is in tokens, longer text is cut.

    As it stands, one answer a text; what has several positions a text makes its own token table.
    """

    max_length: PositiveInt = 128

    family: ClassVar[Family] = "sequence"
    reads: ClassVar[tuple[str, ...]] = ("files",)
    distribution: ClassVar[Distribution] = "softmax"
    higher_is_better: ClassVar = True
    packs: ClassVar = False
    one_tokenizer: ClassVar = False
    generates: ClassVar = False
    codecs: ClassVar[tuple[str, ...]] = ("Dense",)
    auto_class: ClassVar = "AutoModelForSequenceClassification"
    pipeline: ClassVar = "text-classification"
    cuts: ClassVar = "longer ones are cut"
    problem_type: ClassVar[str | None] = None
    measures: ClassVar[dict[str, dict[str, Any]]] = {}

    def __post_init__(self) -> None:
        """Take the headline that a derived class names, where no setting chose another."""
        own = type(self).headline
        default = next((f.default for f in fields(self) if f.name == "headline"), own)
        if own != default and self.headline == default:
            object.__setattr__(self, "headline", own)

    @property
    def protocol(self) -> str:
        """How held-out text is read, where that changes the figures."""
        return ""

    @property
    @abstractmethod
    def headline(self) -> str:
        """The metric that models are ranked by."""

    @abstractmethod
    def read_labels(
        self, values: Sequence[Any], names: list[str] | None = None
    ) -> tuple[LabelSpace, np.ndarray]:
        """The label space of all label values, and the encoded labels [rows]."""

    @staticmethod
    @abstractmethod
    def per_example(logits: Tensor, labels: Tensor) -> Tensor:
        """The loss against hard labels, [batch]."""

    def label_weights(self, labels: np.ndarray, classes: int) -> np.ndarray | None:
        """The weight of each class in the loss on hard labels [classes]; None: all alike."""
        return None

    def check_labels(self, classes: int) -> None:
        """Raise `ConfigError` where settings do not fit the number of classes of the data."""
        return

    @abstractmethod
    def outcomes(self, logits: np.ndarray, held_out: HeldOut) -> np.ndarray:
        """What the metrics need to know of each text, [texts, …]: what is resampled together."""

    @abstractmethod
    def headline_score(self, outcomes: np.ndarray) -> float:
        """The headline metric of these texts."""

    @abstractmethod
    def scores(
        self, logits: np.ndarray, outcomes: np.ndarray, held_out: HeldOut
    ) -> dict[str, float]:
        """The task's metrics of logits [positions, classes]."""

    @abstractmethod
    def columns(
        self, logits: np.ndarray, outcomes: np.ndarray, held_out: HeldOut
    ) -> dict[str, Column]:
        """The same metrics, each as a function of which texts are counted."""

    def predicted(self, logits: np.ndarray) -> np.ndarray:
        """The answers that logits [positions, classes] are, as labels are encoded."""
        return logits.argmax(axis=-1)

    def answers_as_text(self, answers: np.ndarray, held_out: HeldOut) -> list[str] | None:
        """Answers, or labels, of each example as text; None where they are places in the text."""
        return [held_out.labels.names[i] for i in answers]

    def references(self, held_out: HeldOut) -> dict[str, list[str]] | None:
        """Columns of what is right, by name; None where it cannot be written."""
        labels = self.answers_as_text(np.asarray(held_out.table.labels), held_out)
        return None if labels is None else {"label": labels}

    def predictions(self, logits: np.ndarray, held_out: HeldOut) -> dict[str, list[Any]]:
        """Columns of what a model predicted: "" is its answer, others are further figures."""
        return {"": self.answers_as_text(self.predicted(logits), held_out) or []}

    def feature_fields(self, *, held_out: bool) -> dict[str, Any]:
        """The settings that decide a token table; all splits are cut alike."""
        return {"max_length": self.max_length}

    @property
    def scoring(self) -> dict[str, Any]:
        """The settings that decide a score and no token table: also which weights are kept."""
        return {}

    def tokenise(
        self, split: Any, tokenizer: Any, *, label: str, held_out: bool = False
    ) -> tuple[TokenTable, int]:
        """The token table of a split, and how many texts were cut."""
        return tokenise(split, tokenizer, max_length=self.max_length, label=label)

    def load(self, saved: SavedModel, labels: LabelSpace) -> Loaded:
        """A trained classifier in float32, its labels matched to the data's by name."""
        loaded = models.load_saved(saved, labels, auto_class=self.auto_class)
        self.agree_on_padding(loaded.model, loaded.tokenizer, key=f"{saved.key} = {saved.folder}")
        return loaded

    def load_body(
        self, folder: str, labels: LabelSpace, *, key: str, trust_remote_code: bool = False
    ) -> Any:
        """A pretrained body with its head for these labels, or a new one (seed torch before)."""
        return models.load_classifier(
            folder,
            labels,
            key=key,
            problem_type=self.problem_type,
            auto_class=self.auto_class,
            trust_remote_code=trust_remote_code,
        )

    def new_model(
        self, config: dict[str, Any], labels: LabelSpace, tokenizer: Any, *, key: str
    ) -> Any:
        """A classifier of any transformers config, with new weights (seed torch before)."""
        return models.new_classifier(
            config,
            labels,
            tokenizer,
            key=key,
            problem_type=self.problem_type,
            auto_class=self.auto_class,
        )

    def load_tokenizer(self, folder: str, *, key: str, trust_remote_code: bool = False) -> Any:
        """The tokenizer of a folder or hub id."""
        return models.load_tokenizer(folder, key=key, trust_remote_code=trust_remote_code)

    def agree_on_padding(self, model: Any, tokenizer: Any, *, key: str) -> None:
        """Let a text's answer not change with the texts beside it; raises `ModelError`."""
        agree_on_padding(model, tokenizer, key=key, pairs=self.distribution == "choice")

    def save(self, model: Any, tokenizer: Any, folder: Path) -> None:
        """Write a model folder in Hugging Face format, as safetensors."""
        save_folder(model, tokenizer, folder, max_length=self.max_length)

    def width(self, tokenizer: Any, labels: LabelSpace) -> int:
        """The labels."""
        return labels.outputs

    def forward_fn(self, tokenizer: Any) -> ForwardFn:
        """A classifier says its logits [batch, classes], or [positions, classes] of its tokens."""

        def outputs(model: Any, batch: Batch) -> Outputs:
            if batch.loss_index is not None:
                logits = model_output(model, tokenizer, batch.inputs).logits
                return Outputs(logits.float().flatten(0, 1)[batch.loss_index])
            with first_token_only(model):
                return Outputs(model_output(model, tokenizer, batch.inputs).logits.float())

        return outputs
