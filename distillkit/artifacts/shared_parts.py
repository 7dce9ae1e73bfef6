"""Batches of a stage's work that several processes of a run work out together, a few at a time."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

from distillkit.artifacts.arrays import DamagedArraysError
from distillkit.artifacts.claims import FOLDER, Claims
from distillkit.artifacts.parts import Arrays, Parts, batches_in, save_batches
from distillkit.artifacts.shared_work import LOOK

PIECES = 64  # that the batches of one name are cut into, where there are so many


class NothingLeftError(Exception):
    """The work is over: whoever leads it has removed its parts."""


class SharedParts(Parts):
    """Parts below a folder in which other processes work, too; all of them get all batches.

    Each claims a piece, works it out and leaves it in a file for the others. What a batch holds
    must not depend on the batches before it. Who leads calls `open` before the others come, and
    `remove` at the end: the others' calls raise `NothingLeftError` then.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._pieces = folder / "parts"
        self._claims = Claims(self._pieces)

    @property
    def is_open(self) -> bool:
        """Whether the work has begun and is not over."""
        return (self._pieces / FOLDER).is_dir()

    def open(self) -> None:
        """Begin: others may come from now on."""
        self._pieces.mkdir(parents=True, exist_ok=True)
        self._claims.open()

    def batches(
        self, name: str, make: Callable[[int], Iterator[Arrays]], count: int | None = None
    ) -> list[Arrays]:
        """The `count` batches, of which `make(n)` gives those from the n-th on."""
        assert count is not None, "of shared batches the number must be known"
        try:
            return self._all(name, make, count)
        except FileNotFoundError:
            if self.is_open:
                raise
            raise NothingLeftError from None

    def _all(self, name: str, make: Callable[[int], Iterator[Arrays]], count: int) -> list[Arrays]:
        size = max(1, -(-count // PIECES))
        begins = list(range(0, count, size))
        done: dict[int, Sequence[Arrays]] = {}
        while len(done) < len(begins):
            before = len(done)
            for begin in begins:
                if begin not in done:
                    batches = self._piece(name, make, begin, min(size, count - begin))
                    done |= {begin: batches} if batches else {}
            if not self.is_open:
                raise NothingLeftError
            if len(done) == before:
                time.sleep(LOOK)
        return [batch for begin in begins for batch in done[begin]]

    def _piece(
        self, name: str, make: Callable[[int], Iterator[Arrays]], begin: int, count: int
    ) -> Sequence[Arrays] | None:
        """Some batches: left in a file, or worked out now; None if another process is at them."""
        path = self._pieces / f"{name}, {begin:06d}.npz"
        batches = self._left(path)
        if batches or not self._claims.take(path.name):
            return batches
        try:
            batches = self._left(path)
            if not batches:
                with closing(make(begin)) as source:  # type: ignore[type-var]
                    batches = list(islice(source, count))
                save_batches(path, batches)
        finally:
            self._claims.release(path.name)
        return batches

    def _left(self, path: Path) -> Sequence[Arrays] | None:
        """What is in the file of a piece; a damaged one goes, with a word."""
        if not path.is_file():
            return None
        try:
            return batches_in(path)
        except DamagedArraysError:
            if path.is_file():
                self._pass_over(path)
            return None
