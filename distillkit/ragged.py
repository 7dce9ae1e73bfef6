"""Pieces of several lengths that lie end to end in one array: where they begin, their sums."""

from collections.abc import Iterator

import numpy as np


def exclusive_cumsum(counts: np.ndarray) -> np.ndarray:
    """The sum of all earlier counts, and of all: [n] -> [n + 1] int64."""
    out = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=out[1:])
    return out


def ranges(begins: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The whole numbers begin, begin + 1, ... of several ranges, one after the other.

    `begins` [ranges] and `sizes` [ranges] give [sum of sizes].
    """
    ends = exclusive_cumsum(sizes)
    return np.arange(ends[-1]) + np.repeat(begins - ends[:-1], sizes)


def segment_sums(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The sum of the first counts[0] values, of the next counts[1], and so on: [segments]."""
    return np.diff(exclusive_cumsum(values)[exclusive_cumsum(counts)])


def stretches(count: int, step: int) -> Iterator[slice]:
    """Slices of `step` (1 at least) that cover 0 to `count`; the last may be shorter."""
    step = max(1, step)
    for begin in range(0, count, step):
        yield slice(begin, min(begin + step, count))


def counts_within(mask: np.ndarray, offsets: np.ndarray, *, step: int = 2**20) -> np.ndarray:
    """How many entries are true in each range offsets[i] to offsets[i + 1]: [ranges] int64.

    Whole ranges of about `step` entries are looked at at a time, so that the mask of a large file
    is never in memory as a whole.
    """
    out = np.zeros(len(offsets) - 1, np.int64)
    begin = 0
    while begin < len(out):
        end = int(np.searchsorted(offsets, offsets[begin] + step, side="right")) - 1
        end = min(max(end, begin + 1), len(out))
        part = offsets[begin : end + 1] - offsets[begin]
        before = exclusive_cumsum(mask[offsets[begin] : offsets[end]])
        out[begin:end] = np.diff(before[part])
        begin = end
    return out
