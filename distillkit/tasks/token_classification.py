"""Token classification: a tag for each word, as of named entities or parts of speech."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from distillkit.errors import ConfigError, DataError
from distillkit.losses.reduction import at_least_float32
from distillkit.metrics import entities, resampled
from distillkit.metrics import task as scores
from distillkit.metrics.counts import precision_recall_f1
from distillkit.models.label_spaces import read_classes
from distillkit.tasks.class_weights import ClassWeights, check_weights, label_weights
from distillkit.tasks.sequence import SequenceTask
from distillkit.tasks.task import HeldOut
from distillkit.tasks.tokenize.words import word_examples
from distillkit.token_table import TokenTable
from distillkit.types import LabelSpace

ENTITY_TAG = re.compile(r"O|[BIES]-.+")


@dataclass(frozen=True)
class TokenClassification(SequenceTask):
    """A tag for each word, said by its first sub-word; the other sub-words do not count.

    With `entities` the tags are IOB1, IOB2 (B-PER, I-PER, O) or IOBES, and whole entities are
    scored; without, each word by itself. Words beyond `max_length` tokens are left out.
    `class_weights` weigh the loss on hard labels by tag, as those of `Classification`.
    """

    entities: bool = True
    class_weights: ClassWeights = None

    reads: ClassVar[tuple[str, ...]] = ("tagged",)
    auto_class: ClassVar = "AutoModelForTokenClassification"
    pipeline: ClassVar = "token-classification"
    cuts: ClassVar = "the words beyond are left out"

    def __post_init__(self) -> None:
        if self.entities and not entities.is_installed():
            raise ConfigError(
                "task.entities = true: needs seqeval, which is not installed; "
                "`pip install 'distillkit[ner]'`, or set it to false to score single words"
            )

    @property
    def headline(self) -> str:
        """F1 of whole entities, or the accuracy of words."""
        return "f1" if self.entities else "token_accuracy"

    @property
    def scoring(self) -> dict[str, Any]:
        """Whether entities or words are scored, and the weights of tags, where they have some."""
        weights = {} if self.class_weights is None else {"class_weights": self.class_weights}
        return {"entities": self.entities, **weights}

    def label_weights(self, labels: np.ndarray, classes: int) -> np.ndarray | None:
        """The weight of each class in the loss on hard labels; `labels` are those of the training.

        Raises `ConfigError` where there are not as many weights as classes.
        """
        return label_weights(self.class_weights, labels, classes)

    def check_labels(self, classes: int) -> None:
        """Raise `ConfigError` where there are not as many weights as classes."""
        check_weights(self.class_weights, classes)

    def read_labels(
        self, values: Sequence[Any], names: list[str] | None = None
    ) -> tuple[LabelSpace, np.ndarray]:
        """The label space of all tags, and the tags as class ids [words]."""
        space, ids = read_classes(values, names, key="data.tags")
        no_tag = next((n for n in space.names if not ENTITY_TAG.fullmatch(n)), None)
        if self.entities and no_tag is not None:
            raise DataError(
                f"data.tags: holds {no_tag!r}, which is no tag of an entity (B-…, I-… or O); name "
                "numbers with data.label_names=[…], or set task.entities=false to score each word "
                "by itself"
            )
        return space, ids

    def tokenise(
        self, split: Any, tokenizer: Any, *, label: str, held_out: bool = False
    ) -> tuple[TokenTable, int]:
        """The token table of a split, and how many sentences were cut."""
        return word_examples(
            split.words, split.labels, tokenizer, max_length=self.max_length, label=label
        )

    @staticmethod
    def per_example(logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy in nats, [words]; float32 inside."""
        return F.cross_entropy(at_least_float32(logits), labels, reduction="none")

    def answers_as_text(self, answers: np.ndarray, held_out: HeldOut) -> list[str] | None:
        """The tags of each sentence's words, as a JSON list."""
        names, cuts = held_out.labels.names, held_out.table.position_offsets[1:-1]
        return [
            json.dumps([names[i] for i in tags], ensure_ascii=False)
            for tags in np.split(answers, cuts)
        ]

    def outcomes(self, logits: np.ndarray, held_out: HeldOut) -> np.ndarray:
        """Of each sentence, int64 [sentences, 3]: what is right, predicted, and there.

        Entities, or words: of these as many are predicted as are there.
        """
        predicted, labels = logits.argmax(axis=-1), np.asarray(held_out.table.labels)
        cuts = held_out.table.position_offsets[1:-1]
        if not self.entities:
            rows = zip(np.split(predicted == labels, cuts), strict=True)
            return np.array([(row.sum(), len(row), len(row)) for (row,) in rows], np.int64)
        names = np.array(held_out.labels.names, object)
        predictions, references = (np.split(names[ids], cuts) for ids in (predicted, labels))
        return entities.entity_counts([list(s) for s in predictions], [list(k) for k in references])

    def headline_score(self, outcomes: np.ndarray) -> float:
        """Micro-averaged F1 of the entities; of words it is their accuracy."""
        return precision_recall_f1(outcomes)[2]

    def scores(
        self, logits: np.ndarray, outcomes: np.ndarray, held_out: HeldOut
    ) -> dict[str, float]:
        """Entity-level precision, recall and F1; token accuracy, and NLL in nats a word."""
        of_words = scores.classification_scores(logits, np.asarray(held_out.table.labels))
        values = {"token_accuracy": of_words["accuracy"], "nll": of_words["nll"]}
        if not self.entities:
            return values
        names = ("precision", "recall", "f1")
        return dict(zip(names, precision_recall_f1(outcomes), strict=True)) | values

    def columns(
        self, logits: np.ndarray, outcomes: np.ndarray, held_out: HeldOut
    ) -> dict[str, resampled.Column]:
        """The same metrics, each as a function of which texts are counted."""
        table = held_out.table
        columns = resampled.word_columns(logits, np.asarray(table.labels), table.position_offsets)
        return (resampled.count_columns(outcomes) if self.entities else {}) | columns
