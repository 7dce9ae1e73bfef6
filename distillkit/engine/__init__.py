"""Where schedules were before; configs name them here.

The training loop is in `training`.
"""

from distillkit.training.schedules import WSD, Constant, Cosine, Linear
from distillkit.training.settings import TrainSettings

__all__ = ["WSD", "Constant", "Cosine", "Linear", "TrainSettings"]
