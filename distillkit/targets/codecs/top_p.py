"""The nucleus of a position's distribution."""

from dataclasses import dataclass
from typing import Any, ClassVar

from distillkit.setting_types import Share
from distillkit.targets.codecs.truncated import TruncatedCodec


@dataclass(frozen=True)
class TopP(TruncatedCodec):
    """The fewest ids that together have the mass `p`, but at most k; otherwise as `TopK`.

    The nucleus of Holtzman et al. 2020, https://arxiv.org/abs/1904.09751: few ids where the teacher
    is sure, many where it is not.
    """

    p: Share = 0.95

    name: ClassVar[str] = "top_p"

    @property
    def mass(self) -> float:
        """That of the nucleus."""
        return self.p

    def settings(self) -> dict[str, Any]:
        """What a manifest must say for the codec to be made again."""
        return super().settings() | {"p": self.p}
