"""A trained student that is to be compressed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class TrainedStudent:
    """A student's folder, and the model in it where a format needs to run it.

    `folder` is that of the format's start, `load` makes the PyTorch model in float32, `texts`
    yields calibration inputs, a text each, and `at` is "setting = value" for messages.
    """

    folder: Path
    load: Callable[[], Any]
    texts: Callable[[], Iterator[dict[str, Tensor]]]
    at: str
