"""Threads that stand by. To start one takes as long as a small request, and reads of ranges need several at once.

They are kept until the process ends. Who needs more than are free gets new ones, for as long as the work takes.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, ParamSpec, Self, TypeVar

from arrowseal.cancellation import Cancellation, join
from arrowseal.outcomes import Outcome, wait

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from types import TracebackType

Asked = ParamSpec("Asked")
Result = TypeVar("Result")

STANDING_BY: Final = 64
"""Two reads of short ranges at once, by `TransferOptions`. Idle, a thread costs some 50 KB."""
_NAME: Final = "arrowseal-read"
_WORKS_FOR: Final[ContextVar[frozenset[object]]] = ContextVar("_WORKS_FOR", default=frozenset())
"""The blocks that wait for what runs here, each by its mark."""


class _Standby:
    """The threads of this process, and how many of them are free."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(STANDING_BY, thread_name_prefix=_NAME)
        self._free = STANDING_BY
        self._retired = False
        self._lock = threading.RLock()  # the garbage collector may end a block anywhere, also within it

    def take(self, count: int) -> bool:
        """Have so many threads that serve nobody else: work on them never waits for other work."""
        with self._lock:
            enough = count <= self._free and not self._retired
            self._free -= count if enough else 0
        return enough

    def give(self, count: int) -> None:
        with self._lock:
            self._free += count
            if self._retired and self._free == STANDING_BY:
                self.pool.shutdown(wait=False)

    def retire(self) -> None:
        """Serve no more blocks, and end with the last of them. A pool that is interrupted while it starts a thread
        never knows of it, and leaves it to the interpreter to wait for it in vain; shut down, it ends this one too.
        """
        with self._lock:
            self._retired = True
        if _Process.standby is self:
            _Process.standby = _Standby()


class _Process:
    """What the present process has. A forked child has none of its parent's threads."""

    standby = _Standby()

    @classmethod
    def forked(cls) -> None:
        cls.standby = _Standby()


os.register_at_fork(after_in_child=_Process.forked)


class Call(Generic[Result]):
    """A call on its way to a thread, with a future of its own: who is interrupted while it is handed over, or finds
    that there is no thread to be had, has none of the pool.
    """

    def __init__(self, future: Future[Result], call: Callable[[], Result]) -> None:
        self._pending = deque([(future, call)])  # whoever takes it does it

    def __call__(self) -> None:
        try:
            future, call = self._pending.pop()
        except IndexError:
            return
        try:
            if future.set_running_or_notify_cancel():
                future.set_result(call())
        except BaseException as error:
            future.set_exception(error)
            if not isinstance(error, Exception):  # Ctrl-C, where the caller does it
                raise
        finally:
            del future, call  # which the error would hold, and they it


class Threads:
    """So many threads for a block: of those that stand by, or under a `name` its own. At its end all that was submitted
    has ended, also what an interrupt came upon as it was handed over; what had not begun when the block raised is left
    out, and what was under way is called off, unless it is `to_the_end`.

    Where no more threads are to be had, for there are as many as the process may have or the interpreter is ending, who
    submits a call does it himself.
    """

    def __init__(self, count: int, name: str | None = None, *, to_the_end: bool = False) -> None:
        self._count = count
        self._name = name
        self._called_off = None if to_the_end else Cancellation()
        self._futures: set[Future[object]] = set()
        """Those that have not ended."""
        self._handed_over: set[Future[object]] = set()
        """Those that nobody may ever do."""
        self._mark: Final = object()

    def submit(
        self, call: Callable[Asked, Result], /, *arguments: Asked.args, **keywords: Asked.kwargs
    ) -> Future[Result]:
        """The future of a call in a copy of the present context."""
        context = copy_context()
        context.run(_WORKS_FOR.set, _WORKS_FOR.get() | {self._mark})
        if self._called_off is not None:
            context.run(join, self._called_off)
        future: Future[Result] = Outcome()
        alone = Call(future, partial(call, *arguments, **keywords))
        self._handed_over.add(future)  # type: ignore[arg-type]
        future.add_done_callback(self._futures.discard)
        self._futures.add(future)  # type: ignore[arg-type]
        try:
            self._pool.submit(context.run, alone)
        except RuntimeError:  # of the thread that was to be started: the pool is as it was
            context.copy().run(alone)  # a thread that there is may have it already, and be in the context
        except BaseException:
            if self._standby is not None:
                self._standby.retire()
            raise
        self._handed_over.discard(future)
        return future

    @property
    def forked(self) -> bool:
        """Whether this is a child of the process that entered the block: none of the threads are here."""
        return os.getpid() != self._process

    def __enter__(self) -> Self:
        self._process = os.getpid()
        self._standby: _Standby | None = _Process.standby if self._name is None else None
        if self._standby is not None and self._standby.take(self._count):
            self._pool = self._standby.pool
        else:
            self._standby, self._pool = None, ThreadPoolExecutor(self._count, thread_name_prefix=self._name or _NAME)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.forked:
            self._handed_over.clear()
            self._futures.clear()
            return
        if kind is not None:
            for future in list(self._futures):
                future.cancel()
            if self._called_off is not None:
                self._called_off.cancel()
        if self._mark in _WORKS_FOR.get():
            # The garbage collector ends the generator that the block is in, and runs on one of its own threads, which
            # would wait for itself.
            try:
                threading.Thread(target=self._end, name=self._name or _NAME, daemon=True).start()
            except RuntimeError:  # none is to be had: what is under way ends by itself
                self._leave()
        else:
            self._end()

    def _end(self) -> None:
        try:
            for future in self._handed_over:
                future.cancel()
            wait(list(self._futures))
        finally:
            self._handed_over.clear()
            self._futures.clear()  # one of them may hold the error that holds this block
            if self._standby is None:
                self._pool.shutdown()
            else:
                self._standby.give(self._count)

    def _leave(self) -> None:
        if self._standby is None:
            self._pool.shutdown(wait=False)
        else:
            self._standby.retire()
            self._standby.give(self._count)
