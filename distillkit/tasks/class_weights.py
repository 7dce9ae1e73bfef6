"""Weights of classes in the loss on hard labels: a number for each, or by how rare they are."""

from typing import Literal

import numpy as np

from distillkit.errors import ConfigError
from distillkit.setting_types import Positive

ClassWeights = Literal["balanced"] | list[Positive] | None


def label_weights(weights: ClassWeights, labels: np.ndarray, classes: int) -> np.ndarray | None:
    """The weight of each class; `labels` are those of the training, as class ids.

    "balanced" is the number of labels, divided by that of the classes and of the class. Raises
    `ConfigError` where there are not as many weights as classes.
    """
    if weights is None:
        return None
    if isinstance(weights, str):
        counts = np.bincount(labels.astype(np.int64), minlength=classes)
        return np.asarray(len(labels) / (classes * np.maximum(1, counts)), np.float32)
    check_weights(weights, classes)
    return np.array(weights, np.float32)


def check_weights(weights: ClassWeights, classes: int) -> None:
    """Raise `ConfigError` where there are not as many weights as classes."""
    if isinstance(weights, list) and len(weights) != classes:
        raise ConfigError(
            f"task.class_weights = {weights}: are {len(weights)}, and the data has {classes} "
            "classes; give one for each, in the order of data.label_names, or balanced"
        )
