"""How long an artifact takes to make, without those that are made for it on the way."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_inner = [0.0]  # of each artifact that is being made, the seconds of those made for it


@contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """Give a function that tells the seconds since, less those of watches begun in between."""
    start = time.monotonic()
    _inner.append(0.0)
    try:
        yield lambda: time.monotonic() - start - _inner[-1]
    finally:
        _inner.pop()
        _inner[-1] += time.monotonic() - start
