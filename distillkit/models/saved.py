"""Trained models: where they are saved, how they are called once loaded, and their label order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from distillkit.types import Batch, HiddenOutputs, LabelSpace, Outputs

# (model, batch) -> what the model says at the batch's counted positions
ForwardFn = Callable[[Any, Batch], Outputs | HiddenOutputs]


class SavedMembers(Protocol):
    """What answers as one: a trained model, or several whose answers are averaged."""

    @property
    def members(self) -> "tuple[SavedModel, ...]":
        """The models that are loaded and asked; the first one's tokenizer speaks for all."""

    @property
    def shares(self) -> tuple[float, ...]:
        """The weight of each member's answers; they sum to 1."""


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A trained model, not yet loaded.

    `folder` is a folder, a GGUF file or a hub id; `key` the setting it came from, for messages;
    `labels` names its outputs, in their order, where its own config does not. `options` are the
    teacher's own: how its weights are held (dtype, device_map, quantization). `loader` is the
    teacher's own, too; None: the task loads the folder.
    """

    folder: str
    key: str
    labels: list[str] | None = None
    trust_remote_code: bool = False
    options: dict[str, Any] | None = None
    loader: "Loader | None" = None

    @property
    def members(self) -> "tuple[SavedModel, ...]":
        """Itself alone."""
        return (self,)

    @property
    def shares(self) -> tuple[float, ...]:
        """All of it."""
        return (1.0,)

    def open(self, task: Any, labels: LabelSpace) -> "Loaded":
        """The model, ready to be asked; in the order of `labels`, as `Loaded.order` says."""
        loaded: Loaded = self.loader(self, task, labels) if self.loader else task.load(self, labels)
        return loaded


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


# (saved, task, labels) -> the model
Loader = Callable[[SavedModel, Any, LabelSpace], Loaded]


def ordered(outputs: Outputs | HiddenOutputs, order: np.ndarray | None) -> Outputs | HiddenOutputs:
    """A classifier's outputs in the data's label order."""
    if order is None or isinstance(outputs, HiddenOutputs):
        return outputs
    return Outputs(outputs.logits[:, order])
