"""How a student is trained further in the arithmetic of a format."""

from dataclasses import dataclass

from distillkit.setting_types import Positive, PositiveInt

STEPS = 5  # that many steps of the student's own are one of these


@dataclass(frozen=True)
class QuantizationSettings:
    """Optimizer `steps` (None: a fifth of the student's), and their learning rate over its own."""

    steps: PositiveInt | None = None
    lr_factor: Positive = 0.1

    def length(self, steps: int) -> int:
        """The steps, for a student of so many."""
        return self.steps or max(1, steps // STEPS)
