"""Rows of labelled text out of a source: labels as a task takes them."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from distillkit.console.wording import brief, listed
from distillkit.data.agreement import Agreement
from distillkit.data.decimals import with_points
from distillkit.data.filters import matching_rows
from distillkit.data.labels import is_nothing, joined_columns, label_lists, without_blanks
from distillkit.data.rows import Rows
from distillkit.data.sources import Spec, spec_text
from distillkit.data.tables import Table, read_table
from distillkit.data.text_data import TextSettings
from distillkit.errors import DataError
from distillkit.types import Distribution


def read_rows(
    data: TextSettings,
    cache: Path,
    distribution: Distribution,
    agreement: Agreement,
    role: str,
    dropped: dict[str, int],
) -> Rows:
    """The rows of a source, whose labels are written as the `agreement` has them of the others."""
    spec: Spec = getattr(data, role)
    key = f"data.{role}"
    columns = {"data.text": data.text, "data.text_pair": data.text_pair, **data.label_columns}
    where = data.where if role == "train" else None
    table = read_table(
        spec,
        key=key,
        split=role,
        cache=cache,
        columns=columns,
        texts=[*columns],
        where=where,
        form=data.form,
        agreement=agreement,
    )
    numbers = matching_rows(table, where, key="data.where", spec=spec)
    total = len(table)
    whole = table
    table = table.select(numbers)
    # no label is one choice among several labels, too
    without = data.label_columns if distribution == "bernoulli" else {}
    values = {key: table[name] for key, name in columns.items() if name and key not in without}
    empty_rows = [
        i for i in range(len(table)) if any(is_nothing(column[i]) for column in values.values())
    ]
    if empty_rows and not data.drop_empty:
        place = whole.place(numbers[empty_rows[0]])
        key = next(k for k, column in values.items() if is_nothing(column[empty_rows[0]]))
        raise DataError(
            f"{key} = {columns[key]}: {len(empty_rows):,} of the {total:,} rows of "
            f"{spec_text(spec)} have nothing in a column that is needed (the first is {place}); "
            "mend them, or set data.drop_empty=true"
        )
    if empty_rows:
        dropped[f"empty ({role})"] = len(empty_rows)
    for key in ("data.text", "data.text_pair"):
        no_text = next((v for v in values.get(key, []) if v and not isinstance(v, str)), None)
        if no_text is not None:
            raise DataError(
                f"{key} = {columns[key]}: holds {brief(no_text, 60)}, which is not text"
            )
    rows = Rows(
        values["data.text"],
        values.get("data.text_pair"),
        _labels(
            data,
            table,
            _Source(f"data.{role} = {spec_text(spec)}", spec_text(spec), numbers, whole),
            distribution,
            agreement,
        ),
        numbers=[number + 1 for number in numbers],
        classes=table.classes.get(str(data.label)),
    )
    return rows.take(sorted(set(range(len(table))) - set(empty_rows))) if empty_rows else rows


@dataclass(frozen=True, slots=True)
class _Source:
    """Where rows come from, for messages: the setting, the source, and their `numbers` from 0."""

    at: str
    spec: str
    numbers: Sequence[int]
    table: Table

    def files(self) -> list[tuple[str, int]]:
        """The files of the source, and how many of the rows each of them has."""
        parts = self.table.parts or ((self.spec, len(self.table)),)
        places = [bisect_left(self.numbers, end) for end in accumulate(n for _, n in parts)]
        counts = [after - before for before, after in pairwise([0, *places])]
        return [(name, count) for (name, _), count in zip(parts, counts, strict=True)]


def _labels(
    data: TextSettings,
    table: Table,
    source: _Source,
    distribution: Distribution,
    agreement: Agreement,
) -> list[Any]:
    """The label column: text as written, or lists of text where a row may have several."""
    spec = source.spec
    if isinstance(data.label, list):
        if distribution != "bernoulli":
            raise DataError(
                f"data.label = [{listed(data.label)}]: several columns, one a label, are for "
                "task=multi_label"
            )
        numbers = [number + 1 for number in source.numbers]
        return joined_columns({n.strip(): table[n] for n in data.label}, numbers, spec=spec)
    key, labels = f"data.label = {data.label}", table[data.label]
    if data.label_separator is not None and distribution != "bernoulli":
        raise DataError(
            f"data.label_separator = {data.label_separator!r}: several labels a text are for "
            "task=multi_label; set it to null"
        )
    if distribution == "bernoulli":
        labels = label_lists(
            labels,
            separator=data.label_separator,
            names=data.label_names,
            key=key,
            at=source.at,
            files=source.files(),
            agreement=agreement,
        )
    if distribution == "real":
        return with_points(
            labels,
            data.decimal,
            key=key,
            spec=spec,
            place=lambda row: f"row {source.numbers[row] + 1:,}",
            agreement=agreement,
            at=source.at,
        )
    return without_blanks(labels, key=key)
