"""What a metric of a config has to do: `evaluation.metrics.NAME._target_`, a column of the report.

A new one is a frozen dataclass derived from `Metric`. It is for tasks with labels; those that are
always there are the tasks' own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from distillkit.ragged import ranges


class Metric(ABC):
    """A score of outputs against labels. Its fields are its settings.

    `title` and `format` are those of its column; of one that `falls` less is better.
    """

    title: ClassVar[str]
    format: ClassVar[str] = ".4f"
    falls: ClassVar[bool] = False

    @abstractmethod
    def score(self, logits: np.ndarray, labels: np.ndarray) -> float:
        """The score of logits [positions, classes] against labels [positions, …].

        Both are in the data's label order, and labels as the task encodes them. It is also called
        with some texts drawn several times, for an interval.
        """

    def column(
        self, logits: np.ndarray, labels: np.ndarray, offsets: np.ndarray
    ) -> Callable[[np.ndarray], float]:
        """The score as a function of which texts are counted; they begin at `offsets`."""
        sizes = np.diff(offsets)

        def score(texts: np.ndarray) -> float:
            positions = ranges(offsets[texts], sizes[texts])
            return self.score(logits[positions], labels[positions])

        return score

    def record(self) -> dict[str, Any]:
        """Its column, as results.json has it."""
        return {"title": self.title, "format": self.format, "falls": self.falls}
