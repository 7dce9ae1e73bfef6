"""Training: batches, the one loop, checkpoints, schedules, and a teacher in the loop.

What is learnt is a loss's; the stages `teacher` and `student` say what is trained on what.
"""

from distillkit.training.settings import TrainSettings

__all__ = ["TrainSettings"]
