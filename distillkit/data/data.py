"""What a kind of data has to do: rows of text and labels in, splits on the disk out.

A new one is a frozen dataclass derived from `Data` (or from `Texts`, which has the settings of
sources and splits) in a file of its own, with a YAML in conf/data; outside the project it is named
by `data._target_`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from distillkit.data.corpus import Corpus
from distillkit.data.sources import Spec
from distillkit.data.tables import Table
from distillkit.errors import ConfigError
from distillkit.types import Distribution, LabelSpace

# (label values, their names where they are known) -> the label space and the encoded labels [rows]
ReadLabels = Callable[[Sequence[Any], list[str] | None], tuple[LabelSpace, np.ndarray]]


def no_columns(columns: Mapping[str, str], why: str) -> ConfigError:
    """The error of settings that name columns where there are none; `why` says of what."""
    key, name = next(iter(columns.items()))
    return ConfigError(
        f"{key} = {name}: names a column, and data is {why}; slices=[length] is for all"
    )


class Reader(Protocol):
    """What data needs of the task that it is prepared for."""

    @property
    def distribution(self) -> Distribution:
        """What a model's outputs, and so the labels, mean."""
        ...

    def read_labels(
        self, values: Sequence[Any], names: list[str] | None = None
    ) -> tuple[LabelSpace, np.ndarray]:
        """The label space of all label values, and the encoded labels [rows]."""
        ...

    def load_tokenizer(self, folder: str, *, key: str, trust_remote_code: bool = False) -> Any:
        """The tokenizer of a folder, file or hub id."""
        ...


class Data(ABC):
    """Where a run's text comes from, and how it becomes splits. Its fields are its settings.

    `kind` is what tasks name in `reads`; `rows` is what a row is called in messages. Texts of data
    that `can_be_augmented` are one column, or two, of plain text with labels.
    """

    kind: ClassVar[str]
    rows: ClassVar[str] = "texts"
    can_be_augmented: ClassVar[bool] = False
    has_prompts: ClassVar[bool] = False  # rows are prompts with responses, which can be scored
    has_conversations: ClassVar[bool] = False  # which a chat template may refuse

    @property
    def sources(self) -> Mapping[str, Spec]:
        """Where each split is read from, as settings name them; {} where nothing is read."""
        return {}

    @property
    def has_pairs(self) -> bool:
        """True if a text is a pair of them."""
        return False

    @property
    def has_transfer(self) -> bool:
        """True if there is unlabelled text, for the teacher alone to label."""
        return False

    def check_task(self, task: Reader) -> None:  # noqa: B027  (most fit any task that reads them)
        """Raise `ConfigError` for settings that do not fit the task."""

    @abstractmethod
    def labelled_fields(self) -> dict[str, Any]:
        """All that decides the splits, `kind` among it: sources by content, and how they are cut.

        `sources.identity` names a file by its content.
        """

    @abstractmethod
    def prepare(self, task: Reader, *, cache: Path, out: Path) -> dict[str, Any]:
        """Write the splits train, validation and test into `out`; return counts and what is lost.

        `rows.write_split` writes one into `out / name`, and `rows.write_labels` all labels. No
        text stands in two splits: `shares.share_out` sees to it. Returns {"counts": rows of each
        split, "dropped": rows left out, by reason}. `cache` is for downloads.
        """

    def columns_of(self, role: str, columns: Mapping[str, str], *, cache: Path) -> Table:
        """Further columns of a source, setting -> name, a row for each number of a split's rows.

        Raises `ConfigError` where texts have none, `DataError` for one that is not there.
        """
        raise no_columns(columns, f"{type(self).__name__}, which has none")

    def transfer_fields(self) -> dict[str, Any]:
        """All that decides the transfer set, beside the labelled text that it must not hold."""
        return {}

    def prepare_transfer(
        self, labelled: Corpus, *, cache: Path, out: Path, augmented: Path | None = None
    ) -> dict[str, Any]:
        """Write the transfer set into `out / "transfer"`, with the copies in `augmented`.

        Only of data that `has_transfer` or `can_be_augmented`.
        """
        raise ConfigError(f"data: {type(self).__name__} has no text beside the labelled one")
