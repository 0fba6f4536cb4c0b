"""Ranges of one object in flight at once: how they begin, how many it takes, and how they end together."""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import FIRST_EXCEPTION
from typing import TYPE_CHECKING, Final, Self

from arrowseal.exceptions import TransferError
from arrowseal.outcomes import failures, wait
from arrowseal.standby import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future
    from types import TracebackType

    from arrowseal.store import Body

FAST: Final = 500e6
"""Bytes a second of one connection from which on more of them are of no use: S3 gives one some 90 MB/s, so that this is
a server on this machine or beside it, and what the bytes wait for is a processor.
"""
_FIRST_LOOK: Final = 0.002
_LAST_LOOK: Final = 0.064


def enough_when_fast() -> int:
    """How many fast connections keep the processors of this machine busy: one for two of them, since to receive and
    open takes one, and the server, or the network's side of it, another.
    """
    return max(1, len(os.sched_getaffinity(0)) // 2) if hasattr(os, "sched_getaffinity") else 1


class Ending:
    """Says to ranges that move side by side that nobody wants them any more. Those that wait for bytes, be it of a
    server that has none to send, wait no more.
    """

    def __init__(self) -> None:
        self._said = False
        self._receiving: set[Body] = set()
        self._lock = threading.RLock()  # the garbage collector may end a block anywhere, also within it

    @property
    def said(self) -> bool:
        """Whether nothing more is wanted."""
        return self._said

    def say(self) -> None:
        """End what is on its way."""
        with self._lock:  # a body that was left may have given its connection back: it serves others
            self._said = True
            for body in self._receiving:
                body.interrupt()

    def receives(self, body: Body) -> None:
        """Note a body that is read from now on."""
        with self._lock:
            self._receiving.add(body)
            if self._said:
                body.interrupt()

    def left(self, body: Body) -> None:
        """Forget a body, before it is closed."""
        with self._lock:
            self._receiving.discard(body)


class InFlight:
    """Tasks on threads, `most` of them at once. The first that fails ends all, and its error leaves the block; each is
    given what says so, which is that of this block, since others may be under way and more will come.
    """

    def __init__(self, most: int) -> None:
        self.most: Final = most
        self._threads = Threads(most)
        self._waiting: deque[Callable[[Ending], object]] = deque()
        self._futures: list[Future[None]] = []
        self._ending = Ending()
        self._failed = False
        self._news = threading.Condition()
        self._awaited: Callable[[], bool] | None = None

    def start(self, tasks: Iterable[Callable[[Ending], object]], workers: int) -> None:
        """Add tasks, and threads that work on all that wait."""
        self._waiting.extend(tasks)
        self._futures += [self._threads.submit(self._work) for _ in range(workers)]

    def wait_until(self, ready: Callable[[], bool]) -> bool:
        """Wait for what some of the tasks bring about; false if one has failed: the end of the block says how. `ready`
        is asked after each task, on the task's thread: who waits is not woken for less. Raises `TransferError` in a
        forked child, where none of the tasks goes on.
        """
        if self._threads.forked:
            raise TransferError(
                "these ranges were begun before the process was forked, and arrive there: read them anew"
            )
        with self._news:
            self._awaited = ready
            self._news.wait_for(lambda: self._failed or ready())
            self._awaited = None
        return not self._failed

    def keep_pace(self, moved: Callable[[], int]) -> bool:
        """Wait until all tasks have ended, or one has failed: true. False as soon as they get fewer bytes, of which
        `moved` says how many there are, than fast connections would.
        """
        step, before = _FIRST_LOOK, moved()
        while True:
            _, running = wait(self._futures, step, FIRST_EXCEPTION)
            if not running or self._failed:
                return True
            now = moved()
            if now - before < FAST * step * len(running):
                return False
            step, before = min(2 * step, _LAST_LOOK), now

    def __enter__(self) -> Self:
        self._threads.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        unwanted = kind
        try:
            if kind is None and not self._threads.forked and (failed := failures(self._futures)):
                raise failed.pop(0)
        except BaseException:  # also an interrupt while they are waited for
            unwanted = BaseException
            raise
        finally:
            self._futures.clear()  # one of them may hold the error that holds this block
            if unwanted is not None and not self._threads.forked:  # the connections are those of the parent too
                self._ending.say()
            self._threads.__exit__(unwanted, None, None)

    def _work(self) -> None:
        while not (self._ending.said or self._failed):
            try:
                task = self._waiting.popleft()
            except IndexError:
                return
            try:
                task(self._ending)
            except BaseException:
                self._failed = True  # nothing more begins; what is under way is ended by who knows the error first
                raise
            finally:
                with self._news:
                    if self._failed or (self._awaited is not None and self._awaited()):
                        self._news.notify()
