"""Random numbers that belong to an example's positions, whatever batch they are asked in."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from distillkit.ragged import exclusive_cumsum
from distillkit.types import KEY_BYTES

_STEP = 4  # numbers that Philox makes at a step of its counter
BLOCK = 64  # ids that are drawn from together


@dataclass(frozen=True, slots=True)
class Draws:
    """The uniform numbers of some examples: `keys` [examples] of 16 bytes, `positions` [examples].

    Each example has one Philox stream of its own, keyed by its key, from a counter that the seed
    sets (Salmon et al. 2011, https://doi.org/10.1145/2063384.2063405). So the numbers depend on
    seed, example, position and on how many a position takes; not on batches, shards or resuming.
    """

    seed: int
    keys: np.ndarray
    positions: np.ndarray

    def uniforms(self, count: int, part: slice) -> np.ndarray:
        """float64 [positions of part, each] in [0, 1); `part` is a stretch of all positions."""
        begins = exclusive_cumsum(self.positions)
        start, stop, _ = part.indices(int(begins[-1]))
        keys = np.ascontiguousarray(self.keys).view("<u8").reshape(len(self.keys), KEY_BYTES // 8)
        first = max(int(np.searchsorted(begins, start, side="right")) - 1, 0)
        pieces = []
        for i in range(first, len(keys)):
            if begins[i] >= stop:
                break
            overlap = slice(max(start - begins[i], 0), min(stop, begins[i + 1]) - begins[i])
            pieces.append(self._stream(keys[i], overlap.start * count, overlap.stop * count))
        raw = np.concatenate([np.zeros(0, np.uint64), *pieces])
        # the bits of a double's mantissa: a stream's raw numbers never change, numpy's floats may
        return (raw >> np.uint64(11)).reshape(-1, count) * 2.0**-53

    def _stream(self, key: np.ndarray, start: int, stop: int) -> np.ndarray:
        skipped, offset = divmod(int(start), _STEP)
        bits = np.random.Philox(key=key, counter=[0, 0, 0, self.seed])
        bits.advance(skipped)
        return bits.random_raw(int(stop - start) + offset)[offset:]


def draw_ids(
    weights: Float[Tensor, "positions outputs"], uniforms: Float[Tensor, "positions draws"]
) -> tuple[Int[Tensor, "positions draws"], Float[Tensor, "positions 1"]]:
    """Inverse transform sampling: the id that each number draws; and all mass.

    A draw first finds its block of `BLOCK` ids and then the id inside, so that only the blocks that
    were drawn need running sums (measured with 49,152 outputs: half the time of running
    sums over all). These are in float64, where no id is lost to rounding; `weights` are float32.
    """
    outputs = weights.shape[1]
    if outputs % BLOCK:  # nothing to add would still be a copy
        weights = F.pad(weights, (0, -outputs % BLOCK))
    blocks = weights.unflatten(1, (-1, BLOCK))
    sums = blocks.sum(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    whole = sums[:, -1:]
    block, share = _search(sums, uniforms)
    places = block.unsqueeze(-1).expand(-1, -1, BLOCK)
    block_sums = blocks.gather(1, places).cumsum(dim=-1, dtype=torch.float64)
    within, _ = _search(block_sums, share.unsqueeze(-1))
    ids = (block * BLOCK + within.squeeze(-1)).clamp_(max=outputs - 1)
    return ids, whole


def _search(sums: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Where shares [..., draws] of running sums [..., n] fall, and how far they reach into it."""
    whole = sums[..., -1:]
    threshold = torch.minimum(uniforms * whole, whole.nextafter(torch.zeros_like(whole)))
    # the first whose sum exceeds what is wanted: never one without mass
    index = torch.searchsorted(sums, threshold, right=True).clamp_(max=sums.shape[-1] - 1)
    above = sums.gather(-1, index)
    below = sums.gather(-1, (index - 1).clamp_(min=0)).where(index > 0, 0.0)
    return index, (threshold - below) / (above - below)
