"""Where the splits of a run's text come from: what all kinds of text share."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from distillkit.artifacts.homes import expanded
from distillkit.console.progress import say
from distillkit.data.class_folders import classes_of
from distillkit.data.data import Data
from distillkit.data.rows import Rows
from distillkit.data.sources import Spec, identity
from distillkit.data.split_folders import card_splits, has_card, is_saved, splits
from distillkit.data.splits import size_rank
from distillkit.data.tables import Table, read_table
from distillkit.data.text_format import TextFormat, text_format
from distillkit.errors import ConfigError, DataError
from distillkit.setting_types import Fraction, PositiveInt


@dataclass(frozen=True, kw_only=True)
class Texts(Data):
    """Where the text comes from. A source is a file, pypi:// or a hub id; or several of them, as
    a list or a pattern. A folder given as `train` alone gives the other splits that it has, too.

    `separator`, `encoding`, `quoting`, `header` and `columns` say how text files are written (see
    `TextFormat`).

    Without `validation` or `test`, shares of `train` are held out by the hash of the text, so that
    a duplicate never stands on both sides. `train_size` and `held_out_size` keep so many rows of
    the training split and of each other one, chosen by that hash; a smaller choice is a part of a
    larger one.
    """

    train: str | list[str] | None
    validation: str | list[str] | None = None
    test: str | list[str] | None = None
    where: dict[str, Any] | None = None
    validation_fraction: Fraction = 0.05
    test_fraction: Fraction = 0.1
    train_size: PositiveInt | None = None
    held_out_size: PositiveInt | None = None
    separator: str | None = None
    encoding: str | None = None
    quoting: Literal["double", "single", "none"] | None = None
    header: bool | None = None
    columns: list[str] | None = None

    def __post_init__(self) -> None:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ConfigError(
                f"data.validation_fraction + data.test_fraction = "
                f"{self.validation_fraction + self.test_fraction}: must leave something to train on"
            )
        _ = self.form  # refused here, before any work
        for split in ("validation", "test"):
            if getattr(self, split) is None and isinstance(self.train, str):
                object.__setattr__(self, split, _own_split(self.train, split))

    @property
    def form(self) -> TextFormat:
        """How text files are written, as far as the settings say."""
        return text_format(self.separator, self.encoding, self.quoting, self.header, self.columns)

    @property
    def table_form(self) -> TextFormat:
        """The same of files that are tables."""
        return self.form

    @property
    def sources(self) -> dict[str, Spec]:
        """Where each split is read from, of those that have a source of their own."""
        specs = {"train": self.train, "validation": self.validation, "test": self.test}
        return {split: spec for split, spec in specs.items() if spec is not None}

    def labelled_fields(self) -> dict[str, Any]:
        """All that decides the splits: sources by content, and how they are cut."""
        specs = {"train": self.train, "validation": self.validation, "test": self.test}
        sources = {
            r: identity(s, key=f"data.{r}", repo_type="dataset") for r, s in specs.items() if s
        }
        settings = {k: v for k, v in asdict(self).items() if k not in specs}
        return {"kind": type(self).__name__, "sources": sources, **settings}

    def columns_of(self, role: str, columns: Mapping[str, str], *, cache: Path) -> Table:
        """Further columns of a source, as text."""
        return read_table(
            getattr(self, role),
            key=f"data.{role}",
            split=role,
            cache=cache,
            columns=dict(columns),
            texts=[*columns],
            form=self.table_form,
            bad_lines=[],  # as a reader that leaves them out counts them, too
        )

    def sized(
        self, splits: dict[str, Rows], *, strata: Callable[[Any], Collection[Any]] | None = None
    ) -> dict[str, Rows]:
        """So many rows of each split as are asked for; to train on, some of each of the `strata`.

        Raises `DataError` where a class could have no row to train on.
        """
        classes = None
        if strata and self.train_size:
            classes = [strata(label) for label in splits["train"].labels]
        return {
            name: _first_rows(rows, self.train_size, classes)
            if name == "train"
            else _first_rows(rows, self.held_out_size)
            for name, rows in splits.items()
        }

    def counted(self, splits: dict[str, Rows]) -> dict[str, int]:
        """How many rows each split has; said, too."""
        counts = {name: len(rows.texts) for name, rows in splits.items()}
        self.say_counts(counts)
        return counts

    def say_counts(self, counts: Mapping[str, int]) -> None:
        """Say how many rows each split has."""
        say("data: " + ", ".join(f"{n:,} {name}" for name, n in counts.items()) + f" {self.rows}")


def _first_rows(
    rows: Rows, size: int | None, classes: Sequence[Collection[Any]] | None = None
) -> Rows:
    """So many rows, the first in the order of the hash of their text.

    Before all others stands the first row of each of the `classes` [rows].
    """
    if size is None or size >= len(rows.texts):
        return rows
    ranked = sorted(range(len(rows.texts)), key=lambda i: size_rank(rows.texts[i]))
    if classes:
        met: set[Any] = set()
        leads: set[int] = set()
        for row in ranked:
            if not met.issuperset(classes[row]):
                met.update(classes[row])
                leads.add(row)
        if len(leads) > size:
            raise DataError(
                f"data.train_size = {size}: for each of the {len(met):,} classes to have a row to "
                f"train on it takes {len(leads):,} rows; give {len(leads)} or more"
            )
        ranked.sort(key=lambda row: row not in leads)
    return rows.take(sorted(ranked[:size]))


def _own_split(spec: str, split: str) -> str | None:
    """The source itself, where it is a folder here that has files of this split, too."""
    folder = expanded(spec)
    if not folder.is_dir():
        return None
    if is_saved(folder):
        return spec if (folder / split / "state.json").is_file() else None
    split_names = card_splits(folder) if has_card(folder) else classes_of(folder) or splits(folder)
    return spec if split in split_names else None
