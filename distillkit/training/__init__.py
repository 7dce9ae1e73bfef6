"""Training: batch sources, the one loop, checkpoints, processes, and a teacher in the loop.

What is minimised belongs in `losses`, and which model is trained on which data in `stages`.
"""

from distillkit.training.settings import TrainSettings

__all__ = ["TrainSettings"]
