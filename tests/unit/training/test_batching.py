"""Which examples go into which batch."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from distillkit.training.batching import (
    PackedPlan,
    PaddedPlan,
    first_fit,
    length_buckets,
    padding_waste,
    row_waste,
)


def lengths(examples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, 60, examples)


def epochs(plan: PaddedPlan, count: int) -> list[list[list[int]]]:
    steps = plan.steps_per_epoch
    return [
        [plan.batch(epoch * steps + i).tolist() for i in range(1, steps + 1)]
        for epoch in range(count)
    ]


@pytest.mark.parametrize(("examples", "size"), [(1, 1), (7, 7), (7, 3), (64, 8), (1000, 4)])
def test_every_example_is_seen_once_an_epoch(examples: int, size: int) -> None:
    plan = PaddedPlan(lengths(examples), size=size, seed=0)
    assert plan.steps_per_epoch == -(-examples // size)
    for epoch in epochs(plan, 3):
        assert sorted(i for batch in epoch for i in batch) == list(range(examples))
        assert sorted(map(len, epoch))[1:] == [size] * (len(epoch) - 1)


def test_the_seed_and_the_step_decide_a_batch_whatever_was_asked_before() -> None:
    whole = epochs(PaddedPlan(lengths(100), size=8, seed=3), 3)
    again = PaddedPlan(lengths(100), size=8, seed=3)
    for step in (39, 1, 14, 13, 27, 2):
        epoch, place = divmod(step - 1, again.steps_per_epoch)
        assert again.batch(step).tolist() == whole[epoch][place]


def test_epochs_and_seeds_differ() -> None:
    found = [
        batches
        for seed in (0, 1)
        for batches in epochs(PaddedPlan(lengths(64), size=8, seed=seed), 3)
    ]
    assert len({str(batches) for batches in found}) == 6


def test_batches_of_like_length_waste_little_and_come_in_any_order() -> None:
    plan = PaddedPlan(lengths(2000), size=10, seed=0)
    batches = [plan.batch(step) for step in range(1, plan.steps_per_epoch + 1)]
    shuffled = np.array_split(np.random.default_rng(0).permutation(2000), 200)
    assert padding_waste(plan.lengths, batches) < 0.05
    assert padding_waste(plan.lengths, shuffled) > 0.3
    longest = [int(plan.lengths[batch].max()) for batch in batches]
    assert longest not in (sorted(longest), sorted(longest, reverse=True))


@pytest.mark.parametrize("tokens", [60, 100, 1000, 10**6])
def test_a_bucket_keeps_within_the_budget(tokens: int) -> None:
    buckets = length_buckets(lengths(200), tokens=tokens)
    assert sorted(np.concatenate(buckets).tolist()) == list(range(200))
    assert all(len(b) * lengths(200)[b].max() <= tokens for b in buckets)


def test_the_longest_come_first() -> None:
    buckets = length_buckets(lengths(200), tokens=100)
    longest = [int(lengths(200)[bucket].max()) for bucket in buckets]
    assert longest == sorted(longest, reverse=True)
    assert longest[0] == lengths(200).max()


def test_an_example_longer_than_the_budget_is_a_bucket_of_its_own() -> None:
    buckets = length_buckets(np.array([4, 50, 4, 90]), tokens=10)
    assert [bucket.tolist() for bucket in buckets] == [[3], [1], [0, 2]]


def test_no_examples_make_no_buckets() -> None:
    assert length_buckets(np.zeros(0, np.int64), tokens=10) == []


def test_padding_waste_by_hand() -> None:
    # 2 x 4 and 1 x 6 tokens with padding, 3 + 4 + 6 of them real
    batches = [np.array([0, 1]), np.array([2])]
    assert padding_waste(np.array([3, 4, 6]), batches) == pytest.approx(1 / 14)


def test_batches_of_one_length_waste_nothing() -> None:
    assert padding_waste(np.full(6, 5), [np.arange(4), np.arange(4, 6)]) == 0.0


# rows that several examples share


def rows_of(plan: PackedPlan, epoch: int = 0) -> list[np.ndarray]:
    steps = plan.steps_per_epoch
    return [row for i in range(1, steps + 1) for row in plan.rows(epoch * steps + i)]


@pytest.mark.parametrize("block", [60, 100, 512])
def test_packed_rows_keep_within_the_block_and_hold_every_example_once(block: int) -> None:
    many = lengths(2500)
    rows = rows_of(PackedPlan(many, size=4, seed=0, block=block))
    assert sorted(np.concatenate(rows).tolist()) == list(range(2500))
    assert max(int(many[row].sum()) for row in rows) <= block
    if block > 60:
        assert row_waste(many, [rows]) < 0.05


def test_other_epochs_pack_other_examples_together() -> None:
    plan = PackedPlan(lengths(500), size=4, seed=0, block=100)
    first, second = ({tuple(row) for row in rows_of(plan, epoch)} for epoch in (0, 1))
    assert len(first & second) < len(first) / 2


def test_a_packed_batch_follows_from_seed_and_step_alone() -> None:
    plan = PackedPlan(lengths(300), size=4, seed=1, block=100)
    whole = [plan.batch(step).tolist() for step in range(1, 2 * plan.steps_per_epoch + 1)]
    again = PackedPlan(lengths(300), size=4, seed=1, block=100)
    for step in (len(whole), 1, plan.steps_per_epoch + 2, 3):
        assert again.batch(step).tolist() == whole[step - 1]


def test_an_example_longer_than_the_block_has_a_row_of_its_own() -> None:
    found = first_fit(np.arange(4), np.array([5, 200, 60, 40]), 100)
    assert sorted(sorted(row.tolist()) for row in found) == [[0], [1], [2, 3]]


@pytest.mark.parametrize("plan", [PaddedPlan, partial(PackedPlan, block=100)])
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("rows", [None, 1, 3])
def test_processes_share_out_a_step_without_rest(plan: Any, world: int, rows: int | None) -> None:
    planned = plan(lengths(90), size=7, seed=0)
    for step in (1, 2, planned.steps_per_epoch):
        shares = [planned.pieces(step, rows=rows, rank=r, world=world) for r in range(world)]
        assert len({len(share) for share in shares}) == 1
        held = [i for share in shares for piece in share if piece is not None for i in piece]
        assert sorted(held) == sorted(planned.batch(step))
