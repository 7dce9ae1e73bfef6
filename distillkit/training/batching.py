"""Which examples go into which batch: planned from lengths and a seed, not from what ran."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

POOL = 50  # batches whose examples are sorted by length together
PACK_POOL = 1000  # examples that are packed into rows together


def length_buckets(lengths: np.ndarray, *, tokens: int) -> list[np.ndarray]:
    """Cut all examples, longest first, into batches of at most `tokens` tokens with padding.

    The longest come first, so that a batch that does not fit the memory fails at once. A single
    example longer than `tokens` is a batch of its own.
    """
    order = np.argsort(-lengths, kind="stable")
    buckets = []
    begin = 0
    while begin < len(order):
        rows = max(1, tokens // max(1, int(lengths[order[begin]])))
        buckets.append(order[begin : begin + rows])
        begin += rows
    return buckets


def padding_waste(lengths: np.ndarray, batches: list[np.ndarray]) -> float:
    """The share of the tokens in padded batches that is padding."""
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1.0 - float(lengths[np.concatenate(batches)].sum()) / padded


def row_waste(lengths: np.ndarray, batches: list[list[np.ndarray]]) -> float:
    """The share of padding in batches of rows, each row the examples in it."""
    filled = [[int(lengths[row].sum()) for row in batch] for batch in batches]
    return 1.0 - sum(map(sum, filled)) / sum(len(batch) * max(batch) for batch in filled)


class Plan(ABC):
    """The batches of a run: each a list of rows, and a row the examples that share it.

    Each epoch is shuffled by `seed` and its own number. `size` is the rows of a batch.
    """

    def __init__(self, lengths: np.ndarray, *, size: int, seed: int) -> None:
        self.lengths, self.size, self.seed = lengths, size, seed
        self._epoch = -1
        self._batches: list[list[np.ndarray]] = []

    @property
    @abstractmethod
    def steps_per_epoch(self) -> int:
        """Optimizer steps until every example was seen."""

    def rows(self, step: int) -> list[np.ndarray]:
        """The rows of step 1, 2, …, each the examples in it."""
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        if epoch != self._epoch:
            rng = np.random.default_rng([self.seed, epoch])
            self._epoch, self._batches = epoch, list(self._plan(rng))
        return self._batches[place]

    def batch(self, step: int) -> np.ndarray:
        """The examples of step 1, 2, …"""
        return np.concatenate(self.rows(step))

    def pieces(
        self, step: int, *, rows: int | None, rank: int = 0, world: int = 1
    ) -> list[np.ndarray | None]:
        """A step's examples in pieces of at most `rows` rows, as far as they are this process's.

        Each process takes every n-th row of each piece; None where nothing is left for it.
        """
        all_rows = self.rows(step)
        size = rows or len(all_rows)
        shares = [all_rows[i : i + size][rank::world] for i in range(0, len(all_rows), size)]
        return [np.concatenate(share) if share else None for share in shares]

    @abstractmethod
    def _plan(self, rng: np.random.Generator) -> Iterator[list[np.ndarray]]:
        """The batches of one epoch."""


class PaddedPlan(Plan):
    """An example a row, rows of like length within a batch.

    The shuffled examples are sorted by length within pools of 50 batches, and the batches
    shuffled: padding goes down from about a half to a few percent, and every epoch differs.
    """

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps until every example was seen."""
        return -(-len(self.lengths) // self.size)

    def _plan(self, rng: np.random.Generator) -> Iterator[list[np.ndarray]]:
        order = rng.permutation(len(self.lengths))
        batches = []
        for begin in range(0, len(order), self.size * POOL):
            pool = order[begin : begin + self.size * POOL]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches += [pool[i : i + self.size] for i in range(0, len(pool), self.size)]
        for place in rng.permutation(len(batches)):
            yield list(batches[place][:, None])


class PackedPlan(Plan):
    """Several examples a row of at most `block` tokens, by first fit in decreasing length.

    Johnson 1973 (first-fit decreasing); in pools of 1,000 examples, which are shuffled before and
    whose rows are shuffled after. All epochs have the rows of the first packing's number: where
    another order needs more, the rows left over are passed over in that epoch.
    """

    def __init__(self, lengths: np.ndarray, *, size: int, seed: int, block: int) -> None:
        super().__init__(lengths, size=size, seed=seed)
        self.block = block
        self.rows_per_epoch = len(list(self._pack(np.random.default_rng([seed, 0]))))
        self._steps = -(-self.rows_per_epoch // size)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps until every example was seen."""
        return self._steps

    def _plan(self, rng: np.random.Generator) -> Iterator[list[np.ndarray]]:
        rows = list(self._pack(rng))
        order = rng.permutation(len(rows))
        # an epoch whose packing came out a row shorter begins again with its first rows
        needed = np.resize(order, max(len(rows), (self._steps - 1) * self.size + 1))
        for step in range(self._steps):
            positions = needed[step * self.size : (step + 1) * self.size]
            yield [rows[i] for i in positions]

    def _pack(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        order = rng.permutation(len(self.lengths))
        for begin in range(0, len(order), PACK_POOL):
            yield from first_fit(order[begin : begin + PACK_POOL], self.lengths, self.block)


def first_fit(examples: np.ndarray, lengths: np.ndarray, block: int) -> list[np.ndarray]:
    """Rows of examples whose lengths sum to at most `block`, by first fit in decreasing length."""
    longest_first = examples[np.argsort(-lengths[examples], kind="stable")]
    room = np.zeros(len(examples), np.int64)  # left in each row begun so far
    rows: list[list[int]] = []
    for example in longest_first:
        fits = np.flatnonzero(room[: len(rows)] >= lengths[example])
        if len(fits):
            place = int(fits[0])
        else:
            place = len(rows)
            rows.append([])
            room[place] = max(block, int(lengths[example]))
        rows[place].append(int(example))
        room[place] -= lengths[example]
    return [np.array(row) for row in rows]
