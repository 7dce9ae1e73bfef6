"""Documents that do not fit into memory: read, shared out and written some thousands at a time.

The splits are those of `shares.share_out`, row for row. Of a text that was met only 16 bytes of its
hash stay in memory, by which duplicates are told, and 8 more where a split is cut to a size.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.console.progress import working
from distillkit.data.filters import rows_where
from distillkit.data.row_batches import row_batches
from distillkit.data.rows import DocumentWriter
from distillkit.data.sources import spec_text
from distillkit.data.splits import normalise, unit_hash
from distillkit.data.texts import Texts
from distillkit.errors import DataError
from distillkit.types import KEY_BYTES

Read = Callable[[dict[str, Any]], str | None]
HELD_OUT = ("test", "validation")  # what stands in the first is taken out of the second


class Digests:
    """The hashes of texts that were met, 16 bytes each, in sorted runs of growing length."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def holds(self, digests: np.ndarray) -> np.ndarray:
        """Which of some digests [n] were added before, bool [n]."""
        found = np.zeros(len(digests), bool)
        for run in self._runs:
            places = np.searchsorted(run, digests).clip(max=len(run) - 1)
            found |= run[places] == digests
        return found

    def add(self, digests: np.ndarray) -> None:
        """Take up digests [n]; a run is merged with those before it that are no longer."""
        run = np.sort(digests)
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        if len(run):
            self._runs.append(run)


def text_digests(normalised: Sequence[str]) -> np.ndarray:
    """16 bytes of BLAKE2b of each text."""
    digests = [hashlib.blake2b(t.encode(), digest_size=KEY_BYTES).digest() for t in normalised]
    return np.array(digests, f"S{KEY_BYTES}")


class StreamedSplits:
    """The splits of documents while they are written under `out`."""

    def __init__(
        self, data: Texts, columns: Mapping[str, str], read: Read, *, cache: Path, out: Path
    ) -> None:
        self._data, self._columns, self._read, self._cache = data, columns, read, cache
        self._own = [name for name in HELD_OUT if name in data.sources]
        sizes = dict.fromkeys(HELD_OUT, data.held_out_size) | {"train": data.train_size}
        self._writers = {
            name: DocumentWriter(out / name, sizes[name])
            for name in ("train", "validation", "test")
        }
        self._reasons: dict[str, int] = {}
        self._shared_out = 0  # rows of train that were no duplicates

    def write(self) -> tuple[dict[str, int], dict[str, int]]:
        """Write all; (the rows of each split, what was dropped for which reason)."""
        held_out = Digests()
        for name in self._own:
            self._write_held_out(name, held_out)
        self._write_train(held_out)
        order = [f"empty ({name})" for name in ("train", "validation", "test")]
        order += ["duplicate", *(f"{name} rows also in test" for name in HELD_OUT)]
        order.append("train rows also held out")
        dropped = {reason: n for reason in order if (n := self._reasons.get(reason, 0))}
        for name, writer in self._writers.items():
            if not writer.rows:
                raise self._empty_split(name, dropped)
        return {name: writer.close() for name, writer in self._writers.items()}, dropped

    def _write_held_out(self, name: str, held_out: Digests) -> None:
        """A source of its own keeps its duplicates, for all its rows are scored."""
        present: list[np.ndarray] = []
        for numbers, texts in self._documents(name):
            digests = text_digests([normalise(text) for text in texts])
            is_new = ~held_out.holds(digests)
            self._count(f"{name} rows also in test", int((~is_new).sum()))
            self._writers[name].write(texts, numbers, is_new)
            present.append(digests[is_new])
        held_out.add(np.unique(np.concatenate([text_digests([]), *present])))

    def _write_train(self, held_out: Digests) -> None:
        """Rows that stand nowhere yet, each in the split that the hash of its text says."""
        data, met = self._data, Digests()
        fractions = {
            name: 0.0 if name in self._own else fraction
            for name, fraction in (
                ("validation", data.validation_fraction),
                ("test", data.test_fraction),
            )
        }
        for numbers, texts in self._documents("train"):
            normalised = [normalise(text) for text in texts]
            digests = text_digests(normalised)
            _, firsts = np.unique(digests, return_index=True)
            is_new = np.zeros(len(texts), bool)
            is_new[firsts] = True
            is_new &= ~met.holds(digests)
            met.add(digests[is_new])
            is_held_out = is_new & held_out.holds(digests)
            self._count("duplicate", int((~is_new).sum()))
            self._count("train rows also held out", int(is_held_out.sum()))
            is_left = is_new & ~is_held_out
            self._shared_out += int(is_left.sum())
            places = np.array([unit_hash(text) for text in normalised])
            is_test = is_left & (places < fractions["test"])
            border = fractions["test"] + fractions["validation"]
            is_validation = is_left & ~is_test & (places < border) & (fractions["validation"] > 0)
            for name, rows in (
                ("test", is_test),
                ("validation", is_validation),
                ("train", is_left & ~is_test & ~is_validation),
            ):
                self._writers[name].write(texts, numbers, rows)

    def _documents(self, name: str) -> Iterator[tuple[list[int], list[str]]]:
        """(row numbers from 1 on, documents) of a source, some thousands at a time."""
        data, spec = self._data, self._data.sources[name]
        where = data.where if name == "train" else None
        first, matched, is_any = 1, False, False
        for table in row_batches(
            spec,
            key=f"data.{name}",
            split=name,
            cache=self._cache,
            columns=self._columns,
            where=where,
            form=data.form,
        ):
            rows = rows_where(table, where)
            read = [
                self._read(row) for row in table.select(rows).records([*self._columns.values()])
            ]
            pairs = [
                (first + n, text) for n, text in zip(rows, read, strict=True) if text is not None
            ]
            matched, is_any = matched or bool(len(rows)), is_any or bool(pairs)
            self._count(f"empty ({name})", len(read) - len(pairs))
            if pairs:
                yield [n for n, _ in pairs], [text for _, text in pairs]
            first += len(table)
        if not matched:
            raise DataError(f"data.where = {where}: no row of {spec_text(spec)} has it")
        if not is_any:
            raise DataError(f"data.{name} = {spec_text(spec)}: every row is empty")

    def _count(self, reason: str, rows: int) -> None:
        self._reasons[reason] = self._reasons.get(reason, 0) + rows

    def _empty_split(self, name: str, dropped: Mapping[str, int]) -> DataError:
        sources = self._data.sources
        if name in sources and name != "train":
            return DataError(
                f"data.{name} = {spec_text(sources[name])}: each of its rows stands in "
                f"data.test = {spec_text(sources.get('test', ''))}, too; give another file, or "
                "null: a share of data.train"
            )
        drops = "".join(f"; dropped: {n:,} {reason}" for reason, n in dropped.items())
        return DataError(
            f"data: the {name} split is empty ({self._shared_out} rows of "
            f"{spec_text(sources['train'])} were to be shared out{drops}); give data.{name}=FILE, "
            "or more rows"
        )


def streamed_splits(
    data: Texts, columns: Mapping[str, str], read: Read, *, cache: Path, out: Path
) -> tuple[dict[str, int], dict[str, int]]:
    """Write the splits into `out`; (their rows, what was dropped for which reason).

    `read` makes a document of a row's `columns` (setting -> column), or None where there is none.
    """
    with working("reading the documents"):
        return StreamedSplits(data, columns, read, cache=cache, out=out).write()
