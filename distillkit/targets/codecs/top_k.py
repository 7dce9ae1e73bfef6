"""The k most probable ids of a position."""

from dataclasses import dataclass
from typing import ClassVar

from distillkit.targets.codecs.truncated import TruncatedCodec


@dataclass(frozen=True)
class TopK(TruncatedCodec):
    """The k most probable ids, their log-probabilities in 2^bits levels, and the mass of the rest.

    A student of these alone is taught that nothing else can follow, unless its loss takes care of
    the rest; `Sampled` has no such bias.
    """

    name: ClassVar[str] = "top_k"
