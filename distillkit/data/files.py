"""data=files: texts with labels, out of tables; and unlabelled text beside them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.console.progress import Track, say, track
from distillkit.data.agreement import Agreement
from distillkit.data.corpus import AUGMENTED, LABELLED, Corpus
from distillkit.data.data import Reader, ReadLabels
from distillkit.data.duplicates import as_number, comparable
from distillkit.data.encoding import (
    check_trained,
    class_places,
    encoded,
    names_in,
    say_absent,
    strata_of,
)
from distillkit.data.filters import keep_rows
from distillkit.data.rows import say_dropped, write_labels, write_split
from distillkit.data.shares import share_out
from distillkit.data.sources import Spec, spec_text
from distillkit.data.splits import normalise
from distillkit.data.tables import read_table
from distillkit.data.text_data import TextSettings
from distillkit.data.text_rows import read_rows
from distillkit.data.transfer import TransferSet, choose, smallest, spans
from distillkit.errors import DataError
from distillkit.types import Distribution


@dataclass(frozen=True, kw_only=True)
class TextData(TextSettings):
    """A text a row, or a pair of them, with its label: see `TextSettings`."""

    def prepare(self, task: Reader, *, cache: Path, out: Path) -> dict[str, Any]:
        """Write the labelled splits into `out`; return their counts, and say what was dropped."""
        return prepare_labelled(
            self, task.read_labels, distribution=task.distribution, cache=cache, out=out
        )

    def prepare_transfer(
        self, labelled: Corpus, *, cache: Path, out: Path, augmented: Path | None = None
    ) -> dict[str, Any]:
        """Write the transfer set into `out`, free of every labelled text."""
        return prepare_transfer(self, labelled, cache=cache, out=out, augmented=augmented)


def prepare_labelled(
    data: TextSettings,
    read_labels: ReadLabels,
    *,
    cache: Path,
    out: Path,
    distribution: Distribution = "softmax",
) -> dict[str, Any]:
    """Write the labelled splits into `out`; return their counts, and say what was dropped.

    `read_labels` is the task's: label values -> the label space and the encoded labels [rows].
    `distribution` says what its labels are: a class a text, several, or a real value.
    """
    splits, dropped = share_out(
        data,
        partial(read_rows, data, cache, distribution, Agreement()),
        duplicates=data.duplicates,
        compare=as_number if distribution == "real" else comparable,
        strata=strata_of(distribution) if data.stratify else None,
        check=lambda rows: read_labels(rows.labels, data.names),
    )
    space, splits = encoded(splits, read_labels, names=data.names)
    splits = data.sized(splits, strata=class_places if space.names else None)
    if data.train is not None:
        check_trained(splits, space, named=data.names is not None)
    own = [name for name in ("validation", "test") if getattr(data, name)]
    names_by_split = {name: names_in(splits[name], space) for name in own}
    say_absent(names_in(splits["train"], space), names_by_split, label_kind="classes")
    for name, rows in splits.items():
        write_split(out / name, rows.texts, rows.pairs, np.array(rows.labels), rows.numbers)
    write_labels(out, space)
    counts = data.counted(splits)
    say_dropped("labelled rows", dropped)
    return {"counts": counts, "dropped": dropped}


def prepare_transfer(
    data: TextSettings, labelled: Corpus, *, cache: Path, out: Path, augmented: Path | None = None
) -> dict[str, Any]:
    """Write the transfer set into `out`, free of every labelled text; return its counts.

    What `prepare_augmented` wrote into `augmented` stands in it, too.
    """
    texts_there = {
        normalise(*example) for name in LABELLED for example in labelled.split(name).examples()
    }
    texts_found: list[tuple[str, ...]] = []
    dropped = {}
    if data.transfer and data.transfer_size != 0:
        like = None
        if data.transfer_choice == "like":
            like = [normalise(text) for text in labelled.split("train").texts]
        choice = _choose(data, data.transfer, texts_there, like, cache)
        texts_found, dropped = [(text,) for text in choice.texts], choice.dropped
        say(f"data: {len(texts_found):,} transfer texts")
        say_dropped("transfer texts", dropped)
    if data.transfer_spans:
        pieces = spans(
            labelled.split("train").examples(),
            spans_of_text=data.transfer_spans,
            words=(data.transfer_span_words[0], data.transfer_span_words[1]),
            texts_there=texts_there | {normalise(*example) for example in texts_found},
        )
        pieces = smallest(pieces, data.transfer_spans_size)
        say(f"data: {len(pieces):,} spans of the training texts beside them")
        texts_found = texts_found + pieces
    if augmented:
        normal = {normalise(*example) for example in texts_found}
        copies = labelled.read(augmented, AUGMENTED).examples()
        texts_found += [example for example in copies if normalise(*example) not in normal]
    if not texts_found:
        raise DataError(
            f"data.transfer_spans = {data.transfer_spans}: no training text is long enough to cut; "
            "set it to 0"
        )
    texts, *pairs = (list(column) for column in zip(*texts_found, strict=True))
    write_split(out / "transfer", texts, pairs[0] if pairs else None, None)
    return {"counts": {"transfer": len(texts)}, "dropped": dropped}


def _choose(
    data: TextSettings, spec: Spec, texts_there: set[str], like: list[str] | None, cache: Path
) -> TransferSet:
    """The unlabelled text of `data.transfer` that is to be used."""
    low, high = data.transfer_words or (1, 10**9)
    column = data.transfer_text or data.text
    table = read_table(
        spec,
        key="data.transfer",
        split="train",
        cache=cache,
        columns={"data.transfer_text": column},
        texts=["data.transfer_text"],
        where=data.transfer_where,
        form=data.form,
        unit="row",
        where_key="data.transfer_where",
    )
    table = keep_rows(table, data.transfer_where, key="data.transfer_where", spec=spec)
    with track("transfer set", len(table), unit="characters") as progress:
        choice = choose(
            _counted(table[column], progress),
            texts_there=texts_there,
            size=data.transfer_size,
            words=(low, high),
            by_sentence=data.transfer_unit == "sentence",
            lowercase=data.transfer_lowercase,
            like=like,
        )
    if not choice.texts:
        raise DataError(f"data.transfer = {spec_text(spec)}: no text in it was left to use")
    return choice


def _counted(column: Iterable[Any], progress: Track) -> Iterator[str]:
    for value in column:
        text = value if isinstance(value, str) else ""
        progress.advance(1, len(text))
        if text:
            yield text
