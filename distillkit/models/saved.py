"""Trained models: where they are saved, how they are called once loaded, and their label order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from distillkit.types import Batch, HiddenOutputs, Outputs

# (model, batch) -> what the model says at the batch's counted positions
Ask = Callable[[Any, Batch], Outputs | HiddenOutputs]


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A trained model, not yet loaded.

    `folder` is a folder, a GGUF file or a hub id; `key` the setting it came from, for messages;
    `labels` names its outputs, in their order, where its own config does not. `options` are the
    teacher's own: how its weights are held (dtype, device_map, quantization).
    """

    folder: str
    key: str
    labels: list[str] | None = None
    trust_remote_code: bool = False
    options: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SavedEnsemble:
    """Several trained models whose answers are averaged, weighted by `shares` that sum to 1."""

    members: tuple[SavedModel, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in eval mode and its tokenizer.

    `order` says where each of the data's labels stands among its outputs; None: as they are.
    """

    model: Any
    tokenizer: Any
    order: np.ndarray | None = None


def ordered(said: Outputs | HiddenOutputs, order: np.ndarray | None) -> Outputs | HiddenOutputs:
    """A classifier's outputs in the data's label order."""
    if order is None or isinstance(said, HiddenOutputs):
        return said
    return Outputs(said.logits[:, order])
