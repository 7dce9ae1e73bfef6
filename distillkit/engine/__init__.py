"""The engine: batches, the one training loop, checkpoints, precision."""

from distillkit.engine.schedules import WSD, Constant, Cosine, Linear
from distillkit.engine.settings import TrainSettings

__all__ = ["WSD", "Constant", "Cosine", "Linear", "TrainSettings"]
