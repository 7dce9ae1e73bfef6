"""Ids drawn at random, with the probabilities that the teacher gives them."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from distillkit.setting_types import PositiveInt
from distillkit.targets.codecs.estimates import unique_ids
from distillkit.targets.codecs.sampling import Draws, draw_ids
from distillkit.targets.codecs.truncated import TruncatedCodec


@dataclass(frozen=True)
class SampledLogits(TruncatedCodec):
    """The ids of k draws with replacement from p, their log-probabilities, and the others' mass.

    Gemma 3 Technical Report, https://arxiv.org/abs/2503.19786, section 2.2: 256 logits a token are
    drawn by the teacher's probabilities, and its distribution within them is learnt, which is
    `loss.rest=renormalise`. (Whether an id can be drawn twice, it does not say.) Unlike `Sampled`,
    which keeps how often an id was drawn, this is no unbiased estimate: an id that is rare but
    drawn counts as little as it is likely, and all that was not drawn counts nothing.
    """

    k: PositiveInt = 256

    name: ClassVar[str] = "sampled_logits"

    def check(self, outputs: int) -> None:
        """Any number of outputs will do: an id that is drawn twice is kept once."""

    def choose(
        self, logits: Tensor, whole: Tensor, draws: Draws, part: slice
    ) -> tuple[Tensor, Tensor]:
        """(ids [positions, k], which of them are kept): each id that was drawn once."""
        uniforms = torch.from_numpy(draws.uniforms(self.k, part)).to(logits.device)
        ids = draw_ids(logits.exp(), uniforms)[0].sort(dim=-1).values
        mask = torch.ones_like(ids, dtype=torch.bool)
        mask[:, 1:] = ids[:, 1:] != ids[:, :-1]
        return ids, mask

    def expected_ids(self, outputs: int) -> float:
        """About how many ids a position has."""
        return unique_ids(outputs, self.k, 1.0)
