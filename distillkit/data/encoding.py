"""Labels of all splits as class ids, in one label space."""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from distillkit.console.progress import say, warn
from distillkit.console.wording import listed
from distillkit.data.data import ReadLabels
from distillkit.data.rows import Rows
from distillkit.data.shares import Strata
from distillkit.errors import DataError
from distillkit.types import Distribution, LabelSpace


def strata_of(distribution: Distribution) -> Strata:
    """label -> the classes whose shares of held-out rows are to be even.

    Rows with real values are of one class: few rows leave no split empty by chance.
    """
    return _one_class if distribution == "real" else _classes


def _one_class(_: Any) -> Collection[Hashable]:
    return ("",)


def _classes(label: Any) -> Collection[Hashable]:
    # what is no label, as a mapping, is for the task to refuse
    return tuple(map(str, label)) if isinstance(label, list) else (str(label),)


def class_places(label: Any) -> tuple[int, ...]:
    """The classes of an encoded label: a class id, or [labels] of 0 and 1."""
    return tuple(np.flatnonzero(label).tolist()) if np.ndim(label) else (int(label),)


def class_order(
    names_found: Iterable[str], classes: Sequence[str] | None, names: list[str] | None
) -> tuple[list[str] | None, bool]:
    """(the order of the labels that were `names_found`, whether it is that of all `classes`).

    It is that of the `names` which the config gives, or that of the `classes` which a data set
    says; None: as labels are ordered where nobody says.
    """
    present = set(names_found)
    ordered = [name for name in classes or () if name in present]
    if names is not None or not ordered or not present <= set(ordered):
        return names, False
    return ordered, len(ordered) == len(classes or ())


def encoded(
    splits: dict[str, Rows], read_labels: ReadLabels, *, names: list[str] | None
) -> tuple[LabelSpace, dict[str, Rows]]:
    """The label space of all splits, and the splits with encoded labels.

    `names` are the classes in their order, where the config gives them.
    """
    everything = [label for rows in splits.values() for label in rows.labels]
    classes_found = {
        str(single)
        for label in everything
        for single in (label if isinstance(label, list) else [label])
    }
    ordered, is_whole = class_order(classes_found, splits["train"].classes, names)
    space, values = read_labels(everything, ordered)
    if is_whole:
        space = replace(space, numeric=True)  # the class ids are 0, 1, …
    result, start = {}, 0
    for name, rows in splits.items():
        ended = start + len(rows.texts)
        result[name] = replace(rows, labels=list(values[start:ended]))
        start = ended
    return space, result


def say_absent(
    trained: Collection[str], present: Mapping[str, Collection[str]], *, label_kind: str
) -> None:
    """Say which classes that are `trained` a held-out source has no row of.

    `present` has the classes of each held-out split that is a source of its own.
    """
    for split, names in present.items():
        absent = [name for name in trained if name not in names]
        if absent:
            say(
                f"data.{split}: has nothing of {len(absent):,} of the {len(trained):,} "
                f"{label_kind}, of which nothing is measured: {listed(absent, limit=8)}"
            )


def names_in(rows: Rows, space: LabelSpace) -> list[str]:
    """The names of the classes that some rows have, in their order."""
    indices = {place for label in rows.labels for place in class_places(label)}
    return [name for place, name in enumerate(space.names) if place in indices]


def check_trained(splits: Mapping[str, Rows], space: LabelSpace, *, named: bool) -> None:
    """Raise `DataError` for a class without a row to train on; warn where the config `named` it."""
    trained_names = names_in(splits["train"], space)
    unseen = [name for name in space.names if name not in trained_names]
    if not unseen:
        return
    if named:
        warn(f"data.label: {listed(unseen, limit=8)} stand in no training row and are not learnt")
        return
    splits_with = [name for name, rows in splits.items() if {*unseen} & {*names_in(rows, space)}]
    raise DataError(
        f"data.label: {listed(unseen, limit=8)} stand in no training row, but in "
        f"{' and '.join(splits_with)}; training has {listed(trained_names, limit=8)}. Give more "
        "rows, other splits, or all classes as data.label_names=[…]"
    )
