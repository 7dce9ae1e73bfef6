"""Which example stands in which split: decided by its text alone, so that it never moves."""

import hashlib
from collections.abc import Sequence

import numpy as np

from distillkit.records import KEY_BYTES


def normalise(text: str, pair: str | None = None) -> str:
    """The text as duplicates are judged: lower case, single spaces, pairs kept apart."""
    folded = " ".join(text.casefold().split())
    return folded if pair is None else f"{folded}\x1f{' '.join(pair.casefold().split())}"


def example_key(text: str, pair: str | None = None) -> bytes:
    """What soft targets are filed under: 16 bytes of BLAKE2b of the exact text."""
    whole = text if pair is None else f"{text}\x1f{pair}"
    return hashlib.blake2b(whole.encode(), digest_size=KEY_BYTES).digest()


def unit_hash(normalised: str) -> float:
    """A number in [0, 1) that the normalised text alone decides."""
    digest = hashlib.blake2b(normalised.encode(), digest_size=8, person=b"split").digest()
    return int.from_bytes(digest, "big") / 2**64


def assign(
    normalised: Sequence[str], *, validation_fraction: float, test_fraction: float
) -> dict[str, np.ndarray]:
    """Row numbers of the splits train, validation and test, in their own order."""
    places = np.array([unit_hash(text) for text in normalised])
    held_out = test_fraction + validation_fraction
    return {
        "train": np.flatnonzero(places >= held_out),
        "validation": np.flatnonzero((places >= test_fraction) & (places < held_out)),
        "test": np.flatnonzero(places < test_fraction),
    }
