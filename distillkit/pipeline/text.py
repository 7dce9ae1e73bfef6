"""The text of a run as artifacts: labelled splits, copies, transfer set and token tables."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.artifacts import damage
from distillkit.artifacts.workspace import Artifact, fingerprint
from distillkit.console.wording import brief
from distillkit.data import Corpus
from distillkit.data.sources import tokenizer_identity
from distillkit.pipeline import tokenizers
from distillkit.pipeline.context import RunContext
from distillkit.pipeline.obtain import obtain
from distillkit.stages import corpus as corpora
from distillkit.token_table import TokenTable


class TextArtifacts:
    """Each split as text, and as token ids under a tokenizer."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self._unread: set[str] = set()  # sources of tokenizers that cannot read the text

    @cached_property
    def labelled(self) -> Artifact:
        """The labelled splits."""
        context = self.context
        return obtain(
            context,
            "data",
            self.labelled_fields(),
            lambda out: corpora.make_labelled(
                context.data, context.task, cache=context.workspace.assets, out=out
            ),
        )

    def labelled_fields(self) -> dict[str, Any]:
        """The fingerprint fields of the labelled splits."""
        return corpora.labelled_fields(self.context.data, self.context.task)

    @cached_property
    def augmented(self) -> Artifact | None:
        """Copies of the training texts, if the run makes some."""
        context = self.context
        if not context.augmentation.copies:
            return None
        return obtain(
            context,
            "augmented",
            self.augmented_fields(),
            lambda out: corpora.make_augmented(
                context.augmentation,
                Corpus.open(self.labelled.path, None),
                cache=context.workspace.assets,
                out=out,
            ),
        )

    def augmented_fields(self) -> dict[str, Any]:
        """The fingerprint fields of the copies of the training texts."""
        return corpora.augmented_fields(self.context.augmentation, self.labelled.fingerprint)

    @cached_property
    def transfer(self) -> Artifact | None:
        """The transfer set, if the run has one: the data's unlabelled text, and the copies."""
        context = self.context
        if not context.has_transfer:
            return None
        return obtain(
            context,
            "transfer",
            self.transfer_fields(),
            lambda out: corpora.make_transfer(
                context.data,
                Corpus.open(self.labelled.path, None),
                cache=context.workspace.assets,
                out=out,
                augmented=self.augmented.path if self.augmented else None,
            ),
        )

    def transfer_fields(self) -> dict[str, Any]:
        """The fingerprint fields of the transfer set."""
        context = self.context
        copies = fingerprint(self.augmented_fields()) if context.augmentation.copies else None
        return corpora.transfer_fields(context.data, self.labelled.fingerprint, augmented=copies)

    @cached_property
    def corpus(self) -> Corpus:
        """The text, labels and transfer set, ready to be read."""
        return Corpus.open(self.labelled.path, self.transfer.path if self.transfer else None)

    @cached_property
    def class_counts(self) -> np.ndarray | None:
        """How often each class stands in the training text [classes]; None where there are none."""
        if self.context.task.family == "language":
            return None
        labels, classes = self.corpus.split("train").labels, len(self.corpus.labels.names)
        if labels is None or not classes:
            return None
        if labels.ndim == 2:
            return np.asarray(labels.sum(axis=0))
        return np.bincount(labels.astype(np.int64), minlength=classes)

    def tokenizer(self, key: str, spec: str) -> Any:
        """The tokenizer of a source, with the chat template that the run's conversations chose."""
        loaded = tokenizers.load(self.context, key, spec)
        if self.corpus.chat.template is not None:
            loaded.chat_template = self.corpus.chat.template
        return loaded

    def tokens(self, key: str, spec: str, split: str) -> TokenTable:
        """A split's token table under the tokenizer of a setting `key` and its source `spec`."""
        context = self.context

        def make(out: Path) -> dict[str, Any]:
            return corpora.make_tokens(
                self.corpus,
                self.tokenizer(key, spec),
                context.task,
                name=split,
                out=out,
                source=f"{key} = {brief(spec, 80)}",
                warned=self._unread,
            )

        path = obtain(context, "tokens", self.token_fields(key, spec, split), make).path
        with damage.reading(path):
            return TokenTable.open(path)

    def token_fields(self, key: str, spec: str, split: str) -> dict[str, Any]:
        """The fingerprint fields of a split's token table."""
        texts = self.transfer if split == "transfer" else self.labelled
        assert texts is not None
        tokenizer = tokenizer_identity(spec, key=key)
        return corpora.token_fields(texts.fingerprint, tokenizer, self.context.task, split)

    def examples(self, key: str, spec: str, *, transfer: bool) -> TokenTable:
        """The training examples: the labelled ones, then the transfer set's if `transfer`."""
        table = self.tokens(key, spec, "train")
        if transfer and self.transfer:
            table = table.joined(self.tokens(key, spec, "transfer"))
        return table

    def check_held_out(self) -> None:
        """Read the held-out conversations: a refusal comes before the teacher's forward passes."""
        if self.context.data.has_conversations:
            for split in ("validation", "test"):
                self.tokens(*tokenizers.learning_source(self.context), split)
