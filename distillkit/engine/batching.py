"""Which examples go into which batch: planned from lengths and a seed, not from what ran."""

from collections.abc import Iterator

import numpy as np

POOL = 50  # batches whose examples are sorted by length together


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


class EpochPlan:
    """Batches of `size` in an order that `seed` and the step decide, of like length within a batch.

    Each epoch is shuffled, sorted by length within pools of 50 batches, and its batches shuffled:
    padding goes down from about a half to a few percent, and every epoch differs.
    """

    def __init__(self, lengths: np.ndarray, *, size: int, seed: int) -> None:
        self.lengths, self.size, self.seed = lengths, size, seed
        self.steps_per_epoch = -(-len(lengths) // size)
        self._epoch = -1
        self._batches: list[np.ndarray] = []

    def batch(self, step: int) -> np.ndarray:
        """The examples of step 1, 2, …"""
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, list(self._plan(epoch))
        return self._batches[place]

    def _plan(self, epoch: int) -> Iterator[np.ndarray]:
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.lengths))
        batches = []
        for begin in range(0, len(order), self.size * POOL):
            pool = order[begin : begin + self.size * POOL]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches += [pool[i : i + self.size] for i in range(0, len(pool), self.size)]
        for place in rng.permutation(len(batches)):
            yield batches[place]
