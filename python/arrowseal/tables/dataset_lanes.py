"""Work that goes on aside, in lanes: what is in one lane is done in its order, lanes side by side."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from arrowseal.cancellation import Cancellation, cancellation, cancelled_by
from arrowseal.standby import Threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_LOOK_SECONDS: Final = 0.2
"""How often who waits looks whether the caller still does."""


class Lane:
    """Jobs that are done one after another."""

    def __init__(self) -> None:
        self.jobs: deque[tuple[int, Callable[[], object]]] = deque()
        self.busy = False


class Lanes:
    """Does jobs on `threads` threads. What waits and what is done weighs `bytes_ahead` at most, or is one job.

    After the first failure nothing more is begun, and what is at work is called off at its next piece. A context
    manager: it ends when nothing is at work.
    """

    def __init__(self, threads: int, bytes_ahead: int) -> None:
        self._bytes_ahead = bytes_ahead
        self._caller = cancellation()
        self._cancel = Cancellation()
        self._changed = threading.Condition()
        self._failure: BaseException | None = None
        self._held = 0
        self._open = 0
        self._threads = Threads(threads, "arrowseal-dataset")

    def do(self, job: Callable[[], object], lane: Lane | None = None, *, weight: int = 0) -> None:
        """Have a job done, behind those of its lane; wait until there is room for it. Raises the first failure."""
        lane = lane or Lane()
        with self._changed:
            while self._failure is None and self._held and self._held + weight > self._bytes_ahead:
                self._wait()
            self._raise()
            lane.jobs.append((weight, job))
            self._held += weight
            self._open += 1
            begin, lane.busy = not lane.busy, True
        if begin:
            self._threads.submit(self._work, lane)

    def finish(self) -> None:
        """Wait until all is done. Raises the first failure."""
        with self._changed:
            while self._open and self._failure is None:
                self._wait()
            self._raise()

    def __enter__(self) -> Self:
        self._threads.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            with self._changed:
                self._fail(error)
        self._threads.__exit__(kind, error, traceback)

    def _work(self, lane: Lane) -> None:
        with cancelled_by(self._cancel):
            while True:
                with self._changed:
                    if not lane.jobs:
                        lane.busy = False
                        return
                    weight, job = lane.jobs.popleft()
                    skipped = self._failure is not None
                try:
                    if not skipped:
                        job()
                except BaseException as error:
                    with self._changed:
                        self._fail(error)
                with self._changed:
                    self._held -= weight
                    self._open -= 1
                    self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
            self._cancel.cancel()
        self._changed.notify_all()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _wait(self) -> None:
        self._changed.wait(_LOOK_SECONDS)
        self._caller.check()
