"""A trained student that is to be compressed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from distillkit.token_table import TokenTable


class StudentData(Protocol):
    """The texts that a student learnt from and those held out, under any tokenizer."""

    def tokenizer(self, folder: Path) -> Any:
        """The tokenizer of a folder, with the chat template of the run."""
        ...

    def model(self, folder: Path) -> Any:
        """The model of a folder, in float32 and eval mode."""
        ...

    def training(self, tokenizer: Any) -> TokenTable:
        """The labelled examples of the training set, then those of the transfer set."""
        ...

    def held_out(self, tokenizer: Any) -> TokenTable:
        """The examples of the test split."""
        ...

    def inputs(self, table: TokenTable, tokenizer: Any) -> Iterator[dict[str, Tensor]]:
        """The inputs of some examples of a table, one by one."""
        ...


@dataclass(frozen=True, slots=True)
class TrainedStudent:
    """A student's folder, and the model in it where a format needs to run it.

    `folder` is that of the format's start, `load` makes the PyTorch model in float32, `texts`
    yields calibration inputs, a text each, `data` gives all texts to a format that reads them, and
    `at` is "setting = value" for messages.
    """

    folder: Path
    load: Callable[[], Any]
    texts: Callable[[], Iterator[dict[str, Tensor]]]
    at: str
    data: Callable[[], StudentData] | None = None
