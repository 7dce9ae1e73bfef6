"""A kind of data: texts that are made by a rule, and come from no file."""

import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from distillkit.data import Data
from distillkit.data.data import Reader
from distillkit.data.rows import write_labels, write_split

GOOD, BAD = ["good", "great", "fine"], ["bad", "poor", "dull"]
OTHERS = ["film", "the", "a", "story", "was", "and", "this", "very"]


@dataclass(frozen=True)
class Reviews(Data):
    """So many different sentences out of `seed`, one in four of them bad.

    Of ten, one is for validation and two for the test.
    """

    count: int
    seed: int = 0

    kind: ClassVar[str] = "files"  # what tasks of texts with one label read
    rows: ClassVar[str] = "reviews"

    def labelled_fields(self) -> dict[str, Any]:
        """The rule has these settings only."""
        return {"kind": type(self).__name__, **asdict(self)}

    def prepare(self, task: Reader, *, cache: Path, out: Path) -> dict[str, Any]:
        """Write the splits: every text once."""
        rng, texts = random.Random(self.seed), dict[str, str]()
        while len(texts) < self.count:
            label = "bad" if len(texts) % 4 == 0 else "good"
            words = [*rng.sample(OTHERS, 5), rng.choice(GOOD if label == "good" else BAD)]
            rng.shuffle(words)
            texts.setdefault(" ".join(words), label)
        space, labels = task.read_labels([*texts.values()], ["bad", "good"])
        tenth = np.arange(self.count) % 10
        masks = {"train": tenth > 2, "validation": tenth == 0, "test": (tenth == 1) | (tenth == 2)}
        for name, mask in masks.items():
            places = np.flatnonzero(mask)
            write_split(out / name, [[*texts][i] for i in places], None, labels[places])
        write_labels(out, space)
        return {"counts": {name: int(mask.sum()) for name, mask in masks.items()}, "dropped": {}}
