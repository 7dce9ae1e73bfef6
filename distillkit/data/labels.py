"""Label columns before they become classes: blanks cut off, lists and 0/1 columns read."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from distillkit.console.progress import say
from distillkit.console.wording import brief, listed
from distillkit.data.agreement import Agreement
from distillkit.data.literals import literal
from distillkit.errors import ConfigError, DataError

_BESIDE = re.compile(r"""['"]\s+['"]""")
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?")
_SIGNS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
_HOLDS = _SIGNS | {"yes": True, "y": True, "t": True, "no": False, "n": False, "f": False}


def check_names(names: Sequence[str] | None, *, key: str = "data.label_names") -> None:
    """Raise `ConfigError` for a name that is there twice, or is empty."""
    twice = [name for place, name in enumerate(names or []) if name in (names or [])[:place]]
    if twice:
        raise ConfigError(
            f"{key} = [{listed(names or [])}]: has {brief(twice[0], 60)!r} twice; each class needs "
            "a name of its own"
        )
    if any(not name.strip() for name in names or []):
        raise ConfigError(f"{key} = [{listed(names or [])}]: a name is empty")


def is_nothing(value: Any) -> bool:
    """Whether nothing stands in a cell."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def without_blanks(labels: Iterable[Any], *, key: str) -> list[Any]:
    """Labels without the blanks around them; how many had some is said."""
    before = list(labels)
    after = [
        [_stripped(item) for item in label] if isinstance(label, list) else _stripped(label)
        for label in before
    ]
    changes = sum(old != new for old, new in zip(before, after, strict=True))
    if changes:
        say(f"{key}: {changes:,} labels have blanks around them, which are cut off")
    return after


def _stripped(label: Any) -> Any:
    return label.strip() if isinstance(label, str) else label


def label_lists(
    labels: Sequence[Any],
    *,
    separator: str | None,
    names: Sequence[str] | None,
    key: str,
    at: str,
    files: Sequence[tuple[str, int]] = (),
    agreement: Agreement | None = None,
) -> list[Any]:
    """The labels of each text as a list; where there is nothing, no label.

    Strings are cut at the `separator`; without one they are lists as JSON or Python writes them.
    What is no list stays as it is, for the task to refuse. `files` are those that they come from,
    each with its rows; those of all splits have labels in one form, by the `agreement`.
    """
    lists = [as_list(label, separator) for label in labels]
    if names is None or len(names) > 1:
        parts = files or [("", len(lists))]
        size = _settled_size(lists, parts, agreement or Agreement(), key, at)
        lists = _of_vectors(lists, size, names, key) if size else lists
    return [
        [v for v in row if not is_nothing(v)] if isinstance(row, list) else row for row in lists
    ]


def as_list(label: Any, separator: str | None) -> Any:
    """A cell as the list that it holds, or that its text spells; what is none stays as it is."""
    if is_nothing(label):
        return []
    if not isinstance(label, str):
        return list(label) if isinstance(label, tuple) else label
    if separator is not None:
        return [part.strip() for part in label.split(separator)]
    text = label.strip()
    # of "['a' 'b']", as NumPy prints arrays, Python makes one string
    if text.startswith("[") and text.endswith("]") and not _BESIDE.search(text):
        for read in (json.loads, literal):
            try:
                value = read(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, list):
                return [v if v is None else str(v).strip() for v in value]
    return label


def _settled_size(
    lists: Sequence[Any],
    files: Sequence[tuple[str, int]],
    agreement: Agreement,
    key: str,
    at: str,
) -> int:
    """How many numbers of 0 and 1 each list has, one a label; 0: the lists are of classes.

    What the rows to train on show holds for the others, too. Raises `DataError` for another form.
    """
    subject = f"the lists of {key.partition(' ')[0]}"
    advice = "write the labels of all files in one way"
    within, start = Agreement(), 0
    for name, count in files:
        of_file = _vector_size(lists[start : start + count], key)
        if of_file is not None:
            within.settle(subject, _form(of_file), at=name, advice=advice)
        start += count
    size = _vector_size(lists, key)
    settled = agreement.form(subject)
    if settled is not None and size is None:
        # [1, 0] alone may be either, and is what the training rows are
        sizes = [len(row) for row in lists if isinstance(row, list) and row]
        if settled == _form(0) or not sizes:
            return 0
        size = sizes[0]
    agreement.settle(subject, _form(size or 0), at=at, advice=advice)
    return size or 0


def _form(size: int) -> str:
    return f"0 or 1 for each of {size} labels" if size else "the labels that hold"


def _vector_size(lists: Sequence[Any], key: str) -> int | None:
    """How long lists of 0 and 1 for each label are; 0: they are of classes; None: either.

    Lists of class ids name none of them twice, so those that do are such vectors; and as ids [0, 1]
    and [1, 0] would be the same, so where both are there they are vectors, too. Raises `DataError`
    for numbers of vectors that are neither.
    """
    filled = [row for row in lists if row != []]
    sizes = {len(row) if isinstance(row, list) else -1 for row in filled}
    if not sizes:
        return None
    size = sizes.pop()
    if sizes or size < 2:
        return 0
    texts = [[str(v).strip().casefold() for v in row] for row in filled]
    names_none_twice = all(len(set(row)) == len(row) for row in texts)
    if all(v in _SIGNS for row in texts for v in row):
        is_either = names_none_twice and len(set(map(tuple, texts))) == 1
        return None if is_either else size
    if not names_none_twice and all(_REAL.fullmatch(v) for row in texts for v in row):
        odd = next(v for row in texts for v in row if v not in _SIGNS)
        raise DataError(
            f"{key}: each of its lists has {size} numbers, and one comes twice in a list, so they "
            f"are no class ids; one a label must be 0 or 1, and there is {brief(odd, 30)}"
        )
    return 0


def _of_vectors(
    lists: list[Any], size: int, names: Sequence[str] | None, key: str
) -> list[list[str]]:
    """Lists of 0 and 1 as the labels that hold, each by its place."""
    if names is not None and len(names) != size:
        raise DataError(
            f"{key}: its lists have {size} numbers of 0 and 1, one a label, and "
            f"data.label_names = [{listed(names)}] has {len(names)} names"
        )
    say(f"{key}: each list holds 0 or 1 for each of {size} labels, in their order")
    names_shown = names or [str(place) for place in range(size)]
    return [
        [names_shown[i] for i, v in enumerate(row) if _SIGNS[str(v).strip().casefold()]]
        for row in lists
    ]


def joined_columns(
    columns: Mapping[str, Sequence[Any]], rows: Sequence[int], *, spec: str
) -> list[list[str]]:
    """The labels that hold for each text, out of one 0/1 column a label.

    `rows` are the numbers of the rows in their source, for messages. Raises `DataError` for a value
    that is neither.
    """
    joined: list[list[str]] = [[] for _ in rows]
    for name, values in columns.items():
        for place, value in enumerate(values):
            text = "" if is_nothing(value) else str(value).strip().casefold()
            holds = _HOLDS.get(text) if text else False
            if holds is None:
                hint = "; -1 hides the labels of a benchmark's test split" if text == "-1" else ""
                raise DataError(
                    f"data.label = [{listed(columns)}]: {name} is {brief(value, 40)!r} in row "
                    f"{rows[place]:,} of {spec}; a column that is one label holds 0 or 1 (false or "
                    f"true, no or yes){hint}"
                )
            if holds:
                joined[place].append(name)
    return joined
