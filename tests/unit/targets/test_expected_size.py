"""How large a store will be, told before and weighed after."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distillkit.targets import (
    Dense,
    Draws,
    LastHidden,
    Sampled,
    SampledLogits,
    TargetWriter,
    TopK,
    TopP,
)
from distillkit.targets.codecs.estimates import id_set_bytes, nucleus_ids, unique_ids
from distillkit.targets.expected_size import selected_bytes, store_bytes
from distillkit.types import Head, HiddenOutputs, Outputs
from tests.unit.targets.answers import keys
from tests.unit.targets.test_manifest import ORIGIN

OUTPUTS, HIDDEN, EXAMPLES, EACH = 20_000, 48, 4, 100
CODECS: list[Any] = [
    Dense("float32"),
    Dense("bfloat16"),
    LastHidden("bfloat16"),
    LastHidden("int8"),
    Sampled(draws=50),
    Sampled(draws=12),
    Sampled(draws=50, exponent=0.8),
    Sampled(draws=50, temperature=2.0),
    SampledLogits(k=256),
    TopK(k=50, bits=6),
    TopK(k=20, bits=16, temperatures=[1.0, 2.0]),
    TopP(p=0.95, k=100),
    TopP(p=0.8, k=30),
]


def zipf() -> torch.Tensor:
    """Logits [positions, outputs] that fall with the rank, by powers from 1 (unsure) to 2.2 (sure).

    50 draws then have 19 ids, as those of language models. Frequent tokens have small ids, though
    not at every position.
    """
    rng = np.random.default_rng(0)
    count = EXAMPLES * EACH
    powers = rng.permutation(np.linspace(1.0, 2.2, count))
    noise = 3 * rng.normal(size=(count, OUTPUTS)).astype(np.float32)
    order = np.argsort(np.log(np.arange(1, OUTPUTS + 1)) + noise, axis=1)
    rank = np.argsort(order, axis=1) + 1
    logits = -powers[:, None] * np.log(rank)
    return torch.from_numpy(logits.astype(np.float32))


@pytest.fixture(scope="module")
def logits() -> torch.Tensor:
    return zipf()


def written(folder: Path, codec: Any, logits: torch.Tensor) -> int:
    """The bytes of a whole store of these answers."""
    said: Any = Outputs(logits)
    if isinstance(codec, LastHidden):
        said = HiddenOutputs(logits[:, :HIDDEN], Head(torch.zeros(OUTPUTS, HIDDEN), OUTPUTS))
    positions = np.full(EXAMPLES, EACH)
    with TargetWriter(folder, codec) as writer:
        writer.describe(said)
        picked = codec.select(said, Draws(0, keys(EXAMPLES), positions))
        writer.write(0, keys(EXAMPLES), positions, picked)
        manifest = writer.finish([EXAMPLES], tokens=1, labels=[], origin=ORIGIN)
    return sum(s.bytes for s in manifest.shards) + sum(f.bytes for f in manifest.files)


@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_a_store_is_as_large_as_expected_within_a_quarter(
    tmp_path: Path, codec: Any, logits: torch.Tensor
) -> None:
    found = written(tmp_path, codec, logits)
    counts = {"examples": EXAMPLES, "positions": EXAMPLES * EACH}
    expected = store_bytes(codec, **counts, outputs=OUTPUTS, hidden=HIDDEN)
    assert expected == pytest.approx(found, rel=0.25)


@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_what_is_held_before_it_is_encoded_is_what_is_picked(
    codec: Any, logits: torch.Tensor
) -> None:
    said: Any = Outputs(logits[:7])
    if isinstance(codec, LastHidden):
        said = HiddenOutputs(logits[:7, :HIDDEN], Head(torch.zeros(OUTPUTS, HIDDEN), OUTPUTS))
    picked = codec.select(said, Draws(0, keys(1), np.array([7])))
    assert 7 * selected_bytes(codec, OUTPUTS, HIDDEN) == sum(a.nbytes for a in picked.values())


def test_of_a_language_models_draws_a_third_to_a_half_are_new() -> None:
    """Published and measured: 18 to 20 ids in 50 draws of a vocabulary of 49,152."""
    assert 17 <= unique_ids(49_152, 50, 1.0) <= 21
    assert unique_ids(49_152, 1, 1.0) == pytest.approx(1)
    assert unique_ids(2, 10_000, 1.0) == pytest.approx(2, abs=0.01)


def test_more_draws_and_flatter_ones_have_more_ids() -> None:
    found = [unique_ids(5000, draws, 1.0) for draws in (10, 50, 200)]
    assert found == sorted(found)
    assert unique_ids(5000, 50, 0.5) > unique_ids(5000, 50, 1.0)


@pytest.mark.parametrize(
    ("outputs", "mass", "most", "ids"), [(100, 1.0, 30, 30), (20, 1.0, 30, 20), (100, 0.0, 30, 1)]
)
def test_the_edges_of_a_nucleus(outputs: int, mass: float, most: int, ids: float) -> None:
    assert nucleus_ids(outputs, mass, most) == ids


def test_the_number_of_sets_by_hand() -> None:
    assert id_set_bytes(100, 2) == pytest.approx(np.log2(100 * 99 / 2) / 8)
    assert id_set_bytes(16, 16) == 2  # nothing to tell, but each gap has its bit
