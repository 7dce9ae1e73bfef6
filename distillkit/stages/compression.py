"""Stage: a trained student -> the same student in another format."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distillkit.artifacts.versions import VERSIONS
from distillkit.compression.compress import compress
from distillkit.compression.formats import Format
from distillkit.compression.student import TrainedStudent
from distillkit.console.progress import say
from distillkit.data.corpus import Corpus
from distillkit.models.classifiers import load_complete
from distillkit.models.configs import architecture_class
from distillkit.tasks import Task
from distillkit.token_table import TokenTable
from distillkit.training.collation import collator
from distillkit.training.learning import MODEL

CALIBRATION_TEXTS = 256


def inputs(
    form: Format, *, student: str, texts: str | None, data: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What decides a compressed student; `texts` is the identity of those that calibrate it.

    `data` is that of all texts that it is held against, and of how they are read. The packages that
    write it enter by version: another one may write other bytes.
    """
    return {
        "version": VERSIONS["compressed"],
        "format": form.name,
        "format_version": form.version,
        "settings": form.settings,
        "student": student,
        **({"texts": [texts, CALIBRATION_TEXTS]} if texts else {}),
        **({"data": data} if data else {}),
        "packages": {name: version(name) for name in form.packages},
    }


def compress_student(form: Format, student: TrainedStudent, *, out: Path) -> dict[str, Any]:
    """Write a student in a format under `out`; the artifact's facts."""
    say(f"compression: {form.name}")
    return compress(form, student, out / MODEL)


def load(folder: str, *, key: str, trust_remote_code: bool) -> Any:
    """The trained model of a folder, as its config names it, in float32 and eval mode."""
    auto_class = architecture_class(folder, key=key, trust_remote_code=trust_remote_code)
    model = load_complete(
        folder,
        key=key,
        auto_class=auto_class,
        trust_remote_code=trust_remote_code,
        dtype="float32",
    )
    return model.eval()


def calibration_texts(table: TokenTable, tokenizer: Any) -> Iterator[dict[str, Tensor]]:
    """The inputs of examples spread over a table, one by one: every token is a real one."""
    collate = collator(table, tokenizer, torch.device("cpu"))
    count = min(CALIBRATION_TEXTS, len(table))
    for index in np.linspace(0, len(table) - 1, count).astype(int):
        yield dict(collate(np.array([index])).inputs)


@dataclass(frozen=True, slots=True)
class StudentTexts:
    """The texts of a run for a student in any folder; see `compression.student.StudentData`."""

    task: Task
    corpus: Corpus
    key: str
    trust_remote_code: bool

    def tokenizer(self, folder: Path) -> Any:
        """The tokenizer of a folder, with the chat template that the run's conversations chose."""
        tokenizer = self.task.load_tokenizer(
            str(folder), key=self.key, trust_remote_code=self.trust_remote_code
        )
        if self.corpus.chat.template is not None:
            tokenizer.chat_template = self.corpus.chat.template
        return tokenizer

    def model(self, folder: Path) -> Any:
        """The model of a folder, in float32 and eval mode."""
        return load(str(folder), key=self.key, trust_remote_code=self.trust_remote_code)

    def training(self, tokenizer: Any) -> TokenTable:
        """The labelled examples of the training set, then those of the transfer set."""
        table = self._table("train", tokenizer, held_out=False)
        if self.corpus.transfer is None:
            return table
        return table.joined(self._table("transfer", tokenizer, held_out=False))

    def held_out(self, tokenizer: Any) -> TokenTable:
        """The examples of the test split."""
        return self._table("test", tokenizer, held_out=True)

    def inputs(self, table: TokenTable, tokenizer: Any) -> Iterator[dict[str, Tensor]]:
        """The inputs of examples spread over a table, one by one."""
        return calibration_texts(table, tokenizer)

    def _table(self, split: str, tokenizer: Any, *, held_out: bool) -> TokenTable:
        texts = self.corpus.split(split)
        label = f"the {split} texts"
        return self.task.tokenise(texts, tokenizer, label=label, held_out=held_out)[0]
