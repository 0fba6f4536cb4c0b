"""Threads that stand by. To start one takes as long as a small request, and reads of ranges need several at once.

They are kept until the process ends. Who needs more than are free gets new ones, for as long as the work takes.
"""

from __future__ import annotations

import contextlib
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STANDING_BY: Final = 64
"""Two reads of short ranges at once, by the defaults of `TransferOptions`."""
_NAME: Final = "arrowseal-read"


class _Standby:
    """The threads of this process, and how many of them are free."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(STANDING_BY, thread_name_prefix=_NAME)
        self._free = STANDING_BY
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def pool(self, count: int) -> Iterator[ThreadPoolExecutor]:
        """A pool in which so many threads serve nobody else meanwhile: work in it never waits for other work."""
        with self._lock:
            taken = count if count <= self._free else 0
            self._free -= taken
        if not taken:
            with ThreadPoolExecutor(count, thread_name_prefix=_NAME) as pool:
                yield pool
            return
        try:
            yield self._pool
        finally:
            with self._lock:
                self._free += taken


class _Process:
    """What the present process has. A forked child has none of its parent's threads."""

    standby = _Standby()

    @classmethod
    def forked(cls) -> None:
        cls.standby = _Standby()


os.register_at_fork(after_in_child=_Process.forked)


@contextlib.contextmanager
def threads(count: int) -> Iterator[Callable[..., Future[Any]]]:
    """What submits calls to `count` threads, each in a copy of the present context. At the end of the block all have
    ended; those that had not begun when it raised are left out.
    """
    futures: list[Future[Any]] = []
    with _Process.standby.pool(count) as pool:

        def submit(call: Callable[..., Any], *arguments: Any) -> Future[Any]:
            futures.append(pool.submit(copy_context().run, call, *arguments))
            return futures[-1]

        try:
            yield submit
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        finally:
            wait(futures)
