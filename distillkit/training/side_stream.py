"""Work on a model's outputs beside its next forward pass."""

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import torch

from distillkit.background import Background

T = TypeVar("T")


class SideStream:
    """Runs functions of a model's outputs in order, on a GPU beside the next forward pass.

    There a thread with a stream of its own runs them, so that neither their small operations nor
    their copies to the processor keep the next forward pass waiting; it is at most one call behind,
    so that no more than two batches' outputs are held. A processor has nothing to gain and runs
    them at once. Errors are raised as those of `Background`.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._background: Background | None = None
        self._stream: Any = None
        if device.type == "cuda":
            self._background = Background("beside", limit=1)
            self._stream = torch.cuda.Stream(device)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._background is not None:
            self._background.__exit__(kind, error, trace)

    def __call__(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` after all operations that were launched so far; return its result to come.

        It must copy its result to the processor: the caller may then free what it worked on.
        """
        if self._background is None:
            future: Future[T] = Future()
            future.set_result(work())
            return future
        self._background.make_room()  # the event marks what is launched until the work begins
        launched = torch.cuda.Event()
        launched.record()
        return self._background(partial(self._apart, work, launched))

    def wait(self) -> None:
        """Return when all is done."""
        if self._background is not None:
            self._background.wait()

    def _apart(self, work: Callable[[], T], launched: Any) -> T:
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            self._stream.wait_event(launched)
            return work()
