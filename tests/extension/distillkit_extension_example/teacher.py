"""A teacher: a model on this machine, fitted first, whose outputs are divided by a temperature."""

from dataclasses import dataclass
from typing import Any

from distillkit.models.saved import Loaded, SavedModel
from distillkit.setting_types import Positive
from distillkit.teachers import LocalTeacher
from distillkit.types import LabelSpace


@dataclass(frozen=True)
class Calibrated(LocalTeacher):
    """As `LocalTeacher`; a model that is too sure of itself has a `calibration` above 1."""

    calibration: Positive = 1.0

    def load(self, saved: SavedModel, task: Any, labels: LabelSpace) -> Loaded:
        """The model with its logits divided."""
        loaded = super().load(saved, task, labels)

        def divide(model: Any, inputs: Any, outputs: Any) -> Any:
            outputs.logits = outputs.logits / self.calibration
            return outputs

        loaded.model.register_forward_hook(divide)
        return loaded
