"""A source's rows shared out into the splits: no text stands in two of them."""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from itertools import product
from typing import Any, Protocol

import numpy as np

from distillkit.console.progress import say
from distillkit.console.wording import listed
from distillkit.data.duplicates import Duplicates, comparable, unique
from distillkit.data.rows import Rows
from distillkit.data.sources import Spec, spec_text
from distillkit.data.splits import assign, normalise
from distillkit.errors import DataError

TRIED = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7)  # fractions that may be advised

Strata = Callable[[Any], Collection[Hashable]]  # a row's label -> the classes that it has


class Sources(Protocol):
    """Where the splits come from: `validation` and `test` may be shares of `train`."""

    @property
    def train(self) -> Spec | None:
        """The source of the rows that splits are made of; None: all are of the test source."""
        ...

    @property
    def test(self) -> Spec | None:
        """The source of the test split; None: a share of them."""
        ...

    @property
    def validation_fraction(self) -> float:
        """The share of them that becomes the validation split, where it has no source."""
        ...

    @property
    def test_fraction(self) -> float:
        """The share of them that becomes the test split, where it has no source."""
        ...


def share_out(
    data: Sources,
    read: Callable[[str, dict[str, int]], Rows],
    *,
    duplicates: Duplicates | None = None,
    label_kind: str = "labels",
    compare: Callable[[Any], str] = comparable,
    strata: Strata | None = None,
    check: Callable[[Rows], object] | None = None,
) -> tuple[dict[str, Rows], dict[str, int]]:
    """(the splits train, validation and test, what was dropped for which reason).

    `read(role, dropped)` gives the rows of a source. No text stands in two splits, nor twice in
    training; a validation or test source of its own keeps its duplicates, for all its rows are
    scored. Of duplicates whose labels (called `label_kind`) do not `compare` equal, `duplicates`
    says which are taken. With `strata` each class has about its share of held-out rows. Where a
    split stays empty, `check` may say of the rows that were to be shared out what is wrong with
    them.
    """
    dropped: dict[str, int] = {}
    if data.train is None:
        test = read("test", dropped)
        return {"train": test.take([]), "validation": test.take([]), "test": test}, dropped
    own_rows = unique(
        read("train", dropped), choice=duplicates, label_kind=label_kind, compare=compare
    )
    reasons = {"duplicate": own_rows.duplicates, f"with different {label_kind}": own_rows.dropped}
    held_out = {role: read(role, dropped) for role in ("validation", "test") if getattr(data, role)}
    # whoever stands in a held-out split stands in no other: test before validation before train
    texts_there: set[str] = set()
    for name in ("test", "validation"):
        if name in held_out:
            held_out[name], reasons[f"{name} rows also in test"] = without(
                held_out[name], texts_there
            )
            texts_there |= set(held_out[name].normalised())
    rows, reasons["train rows also held out"] = without(own_rows.rows, texts_there)
    dropped |= {reason: count for reason, count in reasons.items() if count}
    splits = _shared(data, rows, held_out, strata)
    for name, part in splits.items():
        if not part.texts and name in held_out:
            raise DataError(
                f"data.{name} = {spec_text(getattr(data, name))}: each of its rows stands in "
                f"data.test = {spec_text(data.test or '')}, too; give another file, or null: a "
                "share of data.train"
            )
        if not part.texts:
            if check and rows.texts:
                check(rows)
            drops_text = "".join(f"; dropped: {n:,} {reason}" for reason, n in dropped.items())
            raise DataError(
                f"data: the {name} split is empty ({len(rows.texts)} rows of "
                f"{spec_text(data.train)} were to be shared out{drops_text}); give data.{name}=FILE"
                f"{_other_fractions(rows, held_out, strata)}, or more rows"
            )
    return splits, dropped


def _shared(
    data: Sources, rows: Rows, held_out: Mapping[str, Rows], strata: Strata | None
) -> dict[str, Rows]:
    """The splits: `held_out` ones as they are, and shares of the rows."""
    fractions = {
        name: 0.0 if name in held_out else fraction
        for name, fraction in (
            ("validation", data.validation_fraction),
            ("test", data.test_fraction),
        )
    }
    classes = _classes(rows, strata)
    places = assign(
        _hashed(rows),
        validation_fraction=fractions["validation"],
        test_fraction=fractions["test"],
        strata=classes,
    )
    for name, fraction in fractions.items():
        if classes and fraction and len(places[name]):
            _say_absent(classes, places[name], name)
    return {
        name: held_out[name] if name in held_out else rows.take(places[name])
        for name in ("train", "validation", "test")
    }


def _other_fractions(rows: Rows, held_out: Mapping[str, Rows], strata: Strata | None) -> str:
    """Fractions at which no split is empty, as settings for a message; "": none are found."""
    names = [name for name in ("validation", "test") if name not in held_out]
    pairs = [pair for pair in product(TRIED, TRIED) if sum(pair) < 1]
    for pair in sorted(
        pairs,
        key=lambda pair_or_group: (sum(pair_or_group), abs(pair_or_group[0] - pair_or_group[1])),
    ):
        fractions = dict(zip(("validation", "test"), pair, strict=True))
        used = {f"{name}_fraction": fractions[name] * (name in names) for name in fractions}
        places = assign(_hashed(rows), **used, strata=_classes(rows, strata))
        if all(len(places[name]) for name in ("train", *names)):
            settings = [f"data.{name}_fraction={fractions[name]}" for name in names]
            return f", set {' and '.join(settings)}" if settings else ""
    return ""


def _classes(rows: Rows, strata: Strata | None) -> list[tuple[Hashable, ...]] | None:
    """The classes of each row."""
    return [tuple(dict.fromkeys(strata(label))) for label in rows.labels] if strata else None


def _hashed(rows: Rows) -> list[str]:
    """What the places of rows are hashes of: their texts, or the groups that stay together."""
    return (
        rows.normalised()
        if rows.groups is None
        else [normalise(pair_or_group) for pair_or_group in rows.groups]
    )


def _say_absent(classes: Sequence[Collection[Hashable]], places: np.ndarray, name: str) -> None:
    """Say which classes have too few rows for one of them to be held out."""
    counts = Counter(label for of_row in classes for label in of_row)
    present = {label for place in places for label in classes[place]}
    absent = [
        f"{label} ({n:,})" for label, n in sorted(counts.items(), key=str) if label not in present
    ]
    if absent:
        say(
            f"data: {len(absent):,} of {len(counts):,} classes have too few rows for the {name} "
            f"split, which has none of theirs: {listed(absent, limit=8)}"
        )


def without(rows: Rows, texts_there: set[str]) -> tuple[Rows, int]:
    """The rows whose text is not `texts_there`, and how many were."""
    places = [i for i, text in enumerate(rows.normalised()) if text not in texts_there]
    return rows.take(places), len(rows.texts) - len(places)
