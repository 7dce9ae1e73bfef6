"""Which example stands in which split: decided by its text alone, so that it never moves."""

import hashlib
import math
import unicodedata
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence

import numpy as np

from distillkit.types import KEY_BYTES

SLACK = 0.25  # of its share, that a class may have more or fewer rows held out


def normalise(text: str, pair: str | None = None) -> str:
    """The text as duplicates are judged: lower case, single spaces, pairs kept apart.

    An accent is the same whether it is a character of its own or a part of its letter (NFC).
    """
    folded = _folded(text)
    return folded if pair is None else f"{folded}\x1f{_folded(pair)}"


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def example_key(text: str, pair: str | None = None) -> bytes:
    """What soft targets are filed under: 16 bytes of BLAKE2b of the exact text."""
    whole = text if pair is None else f"{text}\x1f{pair}"
    return hashlib.blake2b(whole.encode(), digest_size=KEY_BYTES).digest()


def unit_hash(normalised: str) -> float:
    """A number in [0, 1) that the normalised text alone decides."""
    digest = hashlib.blake2b(normalised.encode(), digest_size=8, person=b"split").digest()
    return int.from_bytes(digest, "big") / 2**64


def size_rank(text: str) -> float:
    """Where a text stands when some of a split are chosen: those with the lowest numbers."""
    return unit_hash(f"size\x1f{text}")


def assign(
    normalised: Sequence[str],
    *,
    validation_fraction: float,
    test_fraction: float,
    strata: Sequence[Collection[Hashable]] | None = None,
) -> dict[str, np.ndarray]:
    """Row numbers of the splits train, validation and test, in their own order.

    The hash of a text says where it stands: the lowest ones are the test split, the next ones the
    validation split. `strata` [rows] are the classes of each row; where chance would give a class
    far fewer or more rows than its share, or none to train on, its rows at the border move.
    """
    places = np.array([unit_hash(text) for text in normalised])
    is_test = held_rows(places, places < test_fraction, test_fraction, strata)
    remaining = np.flatnonzero(~is_test)
    below = places[remaining] < test_fraction + validation_fraction
    validation = held_rows(
        places[remaining],
        below,
        validation_fraction,
        None if strata is None else [strata[i] for i in remaining.tolist()],
        everything=strata,
    )
    return {
        "train": remaining[~validation],
        "validation": remaining[validation],
        "test": np.flatnonzero(is_test),
    }


def held_rows(
    places: np.ndarray,
    is_held_out: np.ndarray,
    fraction: float,
    strata: Sequence[Collection[Hashable]] | None,
    *,
    everything: Sequence[Collection[Hashable]] | None = None,
) -> np.ndarray:
    """Which rows are held out, bool [rows], after each class has about its share of them.

    `places` [rows] are the hashes, `is_held_out` [rows] who stands below the border. A class may
    have a quarter more or fewer than its share: with thousands of rows chance keeps within that,
    and no row moves. A share that rounds to one or more has a row; one row at least is left. Shares
    are of the rows of `everything`, if that is more. A row with several classes moves only
    where it leaves the others within their bounds.
    """
    if not fraction:
        return np.zeros(len(is_held_out), bool)
    is_held_out = is_held_out.copy()
    if strata is None:
        return is_held_out
    of: dict[Hashable, list[int]] = {}
    for row in np.argsort(places, kind="stable").tolist():
        for name in strata[row]:
            of.setdefault(name, []).append(row)
    totals = Counter(name for names in (everything or strata) for name in names)
    bounds = {name: _bounds(totals[name], len(rows), fraction) for name, rows in of.items()}
    counts = {name: int(is_held_out[rows].sum()) for name, rows in of.items()}
    # the rarest first: their rows are the hardest to find; equally rare ones in one order
    for name in sorted(of, key=lambda name: (len(of[name]), str(name))):
        low, high = bounds[name]
        rows = [row for row in of[name] if not is_held_out[row]]
        if counts[name] > high:
            rows = [row for row in reversed(of[name]) if is_held_out[row]]
            # a class that has no row to train on comes before another's share of held-out rows
            rows = sorted(
                rows, key=lambda row: not _may_move(row, name, -1, counts, bounds, strata)
            )
            rows = rows[: counts[name] - high]
        else:
            rows = [row for row in rows if _may_move(row, name, 1, counts, bounds, strata)]
            rows = rows[: max(0, low - counts[name])]
        for row in rows:
            is_held_out[row] = not is_held_out[row]
            for moved in strata[row]:
                counts[moved] += 1 if is_held_out[row] else -1
    return is_held_out


def _may_move(
    row: int,
    name: Hashable,
    step: int,
    counts: Mapping[Hashable, int],
    bounds: Mapping[Hashable, tuple[int, int]],
    strata: Sequence[Collection[Hashable]],
) -> bool:
    """Whether one row more or fewer keeps its other classes within their bounds."""
    other_strata = [stratum for stratum in strata[row] if stratum != name]
    return all(bounds[o][0] <= counts[o] + step <= bounds[o][1] for o in other_strata)


def _bounds(total: int, rows: int, fraction: float) -> tuple[int, int]:
    """The fewest and the most rows of a class that are held out, of `rows` that could be."""
    share = total * fraction
    high = min(math.ceil(share * (1 + SLACK)), rows - 1)
    low = max(math.floor(share * (1 - SLACK)), 1 if share >= 0.5 else 0)
    return min(low, max(high, 0)), max(high, 0)
