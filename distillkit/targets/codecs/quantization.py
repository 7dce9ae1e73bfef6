"""Log-probabilities in a few levels, and masses in float16."""

import numpy as np

_AN_OCTAVE, _FINEST = 8, -20
_MASS_UNIT = 2.0**-15  # so that float16 has its 11 bits for any mass down to 2e-9


def steps(ranges: np.ndarray, bits: int) -> np.ndarray:
    """The smallest steps with which 2^bits levels span these ranges [positions], as a byte."""
    tiny = np.finfo(np.float64).tiny
    octaves = np.log2(np.maximum(ranges / (2**bits - 1), tiny)) - _FINEST
    return np.ceil(_AN_OCTAVE * octaves).clip(0, 255).astype(np.uint8)


def step_sizes(steps: np.ndarray) -> np.ndarray:
    """A step's size in nats, float32: 2^(step / 8 - 20)."""
    return np.exp2(steps.astype(np.float32) / _AN_OCTAVE + _FINEST)


def stored_masses(masses: np.ndarray) -> np.ndarray:
    """The mass of the ids that are not kept, as float16.

    The smaller one of that mass and of the mass that is kept, which is told apart by its sign: both
    then have float16's relative precision.
    """
    smaller = np.where(masses <= 0.5, masses, masses - 1)
    return (smaller / _MASS_UNIT).astype("<f2")


def log_kept(stored: np.ndarray) -> np.ndarray:
    """The log of the mass that is kept, float32, out of what `stored_masses` made."""
    masses = stored.astype(np.float64) * _MASS_UNIT
    return np.log(np.where(masses < 0, -masses, 1 - masses)).astype(np.float32)
