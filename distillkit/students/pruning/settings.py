"""What of a teacher a student that is cut out of it keeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from distillkit.errors import ConfigError
from distillkit.setting_types import PositiveInt

How = Literal[
    "uniform", "every_kth", "first", "last", "drop_middle", "block_influence", "importance"
]


@dataclass(frozen=True)
class CutSettings:
    """Which layers and widths of a teacher are kept.

    `layers` is how many are kept, chosen by `choose` (see `kept_layers`), or which (0-based); null
    keeps all. Widths are null or smaller than the teacher's; what matters most is kept, measured on
    `calibration_examples` of the training text as in Minitron, https://arxiv.org/abs/2407.14679,
    section 2: hidden channels and neurons by mean |activation|, heads by the norm of their output.
    With `narrow_by: pca` the hidden channels, word embeddings included, become the principal
    components of the teacher's (see `hidden_projection`).
    """

    layers: int | list[int] | None = None
    choose: Literal[
        "uniform", "every_kth", "first", "last", "drop_middle", "block_influence", "importance"
    ] = "uniform"
    hidden_size: PositiveInt | None = None
    intermediate_size: PositiveInt | None = None
    num_attention_heads: PositiveInt | None = None
    num_key_value_heads: PositiveInt | None = None
    narrow_by: Literal["importance", "pca"] = "importance"
    calibration_examples: PositiveInt = 64

    def __post_init__(self) -> None:
        if isinstance(self.layers, int):
            if self.layers < 1:
                raise ConfigError(f"student.layers = {self.layers}: must be 1 or more; null: all")
        elif self.layers is not None and not _ascends(self.layers):
            raise ConfigError(
                f"student.layers = {self.layers}: must name layers in ascending order, from 0, "
                "each once"
            )
        if self.narrow_by == "pca" and self.hidden_size is None:
            raise ConfigError(
                "student.narrow_by = pca: it makes fewer hidden channels; set student.hidden_size, "
                "or student.narrow_by=importance"
            )

    @property
    def is_narrower(self) -> bool:
        """Whether any width is to be cut."""
        widths = (
            self.hidden_size,
            self.intermediate_size,
            self.num_attention_heads,
            self.num_key_value_heads,
        )
        return any(width is not None for width in widths)

    @property
    def measures_layers(self) -> bool:
        """Whether text decides which layers are kept."""
        return isinstance(self.layers, int) and self.choose in ("block_influence", "importance")

    @property
    def needs_text(self) -> bool:
        """Whether anything is measured: otherwise no calibration text is read."""
        return self.is_narrower or self.measures_layers

    def check_layers(self, teacher_layers: int) -> None:
        """Raise `ConfigError` for layers that the teacher does not have."""
        count = self.layers if isinstance(self.layers, int) else 1
        if count > teacher_layers:
            raise ConfigError(
                f"student.layers = {self.layers}: the teacher has {teacher_layers} layers"
            )
        if self.choose == "every_kth" and teacher_layers % count:
            raise ConfigError(
                f"student.layers = {self.layers}: with student.choose=every_kth it must divide the "
                f"teacher's {teacher_layers}; choose uniform, or name the layers"
            )
        if isinstance(self.layers, list) and self.layers[-1] >= teacher_layers:
            raise ConfigError(
                f"student.layers = {self.layers}: the teacher has layers 0 to {teacher_layers - 1}"
            )


def _ascends(layers: Sequence[int]) -> bool:
    return bool(layers) and layers[0] >= 0 and all(a < b for a, b in pairwise(layers))
