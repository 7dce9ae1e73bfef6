"""Functions that one thread runs in order, beside the caller."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")


class Background:
    """One thread, of which at most `limit` functions are waited for or under way.

    An error of a function is raised by a later call, by `wait`, or by the future's result. What is
    left without an error is waited for; after an error what has not begun is dropped.
    """

    def __init__(self, name: str, *, limit: int) -> None:
        self._limit = limit
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._pending: deque[Future[Any]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.wait()
        finally:
            self._thread.shutdown(cancel_futures=True)

    def make_room(self) -> None:
        """Return when fewer than `limit` functions are waited for."""
        while len(self._pending) >= self._limit:
            self._pending.popleft().result()

    def __call__(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` after all earlier ones, once there is room; return its result to come."""
        self.make_room()
        future = self._thread.submit(work)
        self._pending.append(future)
        return future

    def wait(self) -> None:
        """Return when all is done."""
        while self._pending:
            self._pending.popleft().result()
