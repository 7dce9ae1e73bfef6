"""Work on a model's outputs beside its next forward pass."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

import torch

T = TypeVar("T")


class SideStream:
    """Runs functions of a model's outputs in order, on a GPU beside the next forward pass.

    There a thread with a stream of its own runs them, so that neither their small operations nor
    their copies to the processor keep the next forward pass waiting; it is at most one call behind,
    so that no more than two batches' outputs are held. A processor has nothing to gain and runs
    them at once. An error of a function is raised by the next call or by the future's result.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last: Future[Any] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._stream: Any = None
        if device.type == "cuda":
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside")
            self._stream = torch.cuda.Stream(device)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def __call__(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` after all operations that were launched so far; return its result to come.

        It must copy its result to the processor: the caller may then free what it worked on.
        """
        if self._thread is None:
            future: Future[T] = Future()
            future.set_result(work())
            return future
        self.wait()
        launched = torch.cuda.Event()
        launched.record()
        self._last = self._thread.submit(self._apart, work, launched)
        return self._last

    def wait(self) -> None:
        """Return when all is done."""
        if self._last is not None:
            self._last.result()

    def _apart(self, work: Callable[[], T], launched: Any) -> T:
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            self._stream.wait_event(launched)
            return work()
