"""Many files at work at a time, their rows in order: as much as fits a bound is read ahead of who takes the rows."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from arrowseal.cancellation import Cancellation, cancellation, cancelled_by
from arrowseal.exceptions import ConfigurationError, TransferError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextvars import Context

FILES_IN_FLIGHT: Final = 16
"""Twice what pyarrow has. A small file is one request, of which 16 fill a link of 20 ms with 800 files a second."""
BYTES_AHEAD: Final = 256 * 2**20
"""Stored bytes of what is being read, and bytes of the rows that wait."""
_TURNS_AHEAD: Final = 4
"""Files that each thread reads beyond the one whose rows are taken."""
_TOGETHER_BYTES: Final = 2**20
"""Rows that are taken at a time: to take each by itself, from threads that all want the GIL, takes longer than to fetch
a small file.
"""
_UNKNOWN_BYTES: Final = 8 * 2**20
_LOOK_SECONDS: Final = 0.2
"""How often who waits for rows looks whether the caller still does."""
_STOP_SECONDS: Final = 1.0
"""How long who stops early waits for the files at work, which end at their next piece; they go on to that by
themselves.
"""


class Sized(Protocol):
    """A table or a batch."""

    @property
    def nbytes(self) -> int: ...


Task = TypeVar("Task")
Rows = TypeVar("Rows", bound=Sized)


def threads_of(use_threads: bool | int) -> int:
    """How many files are at work at a time: True stands for the usual number, False for one."""
    if isinstance(use_threads, bool):
        return FILES_IN_FLIGHT if use_threads else 1
    if not isinstance(use_threads, int) or use_threads < 1:
        raise ConfigurationError("use_threads= is True, False, or a number of files at work at a time")
    return use_threads


def in_order(
    tasks: Sequence[Task],
    run: Callable[[Task], Iterable[Rows]],
    *,
    size_of: Callable[[Task], int | None],
    context: Context,
    threads: int = FILES_IN_FLIGHT,
    bytes_ahead: int = BYTES_AHEAD,
) -> Iterator[Rows]:
    """What `run` gives for each task, in the order of the tasks, while up to `threads` of them are at work.

    A task begins, and its rows wait, within `bytes_ahead`; the first one that is not taken yet may exceed them. Each
    runs in a copy of `context`. What a task raises comes out in its place, and nothing behind it begins any more.
    Closing the iterator calls off what is at work. Raises `TransferError` in a forked child, where none of the tasks
    goes on.
    """
    if threads == 1:
        for task in tasks:
            yield from _within(context.copy(), run, task)
        return
    state = _State(tasks, run, size_of, bytes_ahead)
    guard = _Guard()
    at_exit = weakref.finalize(guard, state.stop)
    try:
        for _ in range(min(threads, len(tasks))):
            # Daemons, so that an iterator that nobody closes does not keep the process; the finalizer ends them before.
            work = context.copy().run
            thread = threading.Thread(target=work, args=(state.work,), daemon=True, name="arrowseal-dataset")
            state.threads.append(thread)
            try:
                thread.start()
            except RuntimeError:  # there are as many as the process may have, or it is ending: those do that there are
                state.threads.remove(thread)
                break
        if not state.threads:
            for task in tasks:
                yield from _within(context.copy(), run, task)
            return
        while rows := state.take():
            yield from rows
    finally:
        at_exit()
        del guard


def _within(context: Context, run: Callable[[Task], Iterable[Rows]], task: Task) -> Iterator[Rows]:
    """The rows of one task on this thread, each step within the context."""
    rows = iter(context.run(run, task))
    while True:
        try:
            yield context.run(next, rows)
        except StopIteration:
            return


class _Guard:
    """Lives as long as its iterator."""


class _State(Generic[Task, Rows]):
    """What workers and the one who takes the rows share."""

    def __init__(
        self,
        tasks: Sequence[Task],
        run: Callable[[Task], Iterable[Rows]],
        size_of: Callable[[Task], int | None],
        bytes_ahead: int,
    ) -> None:
        self.threads: list[threading.Thread] = []
        self._tasks = tasks
        self._run = run
        self._size_of = size_of
        self._bytes_ahead = bytes_ahead
        self._together = max(1, min(_TOGETHER_BYTES, bytes_ahead // 8))
        self._caller = cancellation()
        self._cancel = Cancellation()
        self._lock = threading.Lock()
        self._rows_came = threading.Condition(self._lock)
        self._room_came = threading.Condition(self._lock)
        self._waiting: dict[int, deque[Rows]] = {}
        self._ended: set[int] = set()
        self._failed: dict[int, BaseException] = {}
        self._next = 0
        """The first task that nobody has begun."""
        self._taken = 0
        """The task whose rows are taken."""
        self._held = 0
        self._stopped = False
        self._process = os.getpid()

    def work(self) -> None:
        """One thread: a task after the other."""
        with cancelled_by(self._cancel):
            while (at := self._begin()) is not None:
                self._do(at)

    def _begin(self) -> int | None:
        with self._lock:
            while not self._stopped and self._next < len(self._tasks):
                size = self._size(self._next)
                near = self._next - self._taken < _TURNS_AHEAD * len(self.threads)
                if self._next == self._taken or (near and self._held + size <= self._bytes_ahead):
                    at, self._next = self._next, self._next + 1
                    self._held += size
                    self._waiting[at] = deque()
                    return at
                self._room_came.wait()
        return None

    def _do(self, at: int) -> None:
        failure: BaseException | None = None
        try:
            for rows in self._run(self._tasks[at]):
                if not self._give(at, rows):
                    break
        except BaseException as error:
            failure = error
        with self._lock:
            self._held -= self._size(at)
            if failure is None:
                self._ended.add(at)
            else:
                self._failed[at] = failure
                self._next = len(self._tasks)
            self._rows_came.notify_all()
            self._room_came.notify_all()

    def _give(self, at: int, rows: Rows) -> bool:
        size = rows.nbytes
        with self._lock:
            waiting = self._waiting[at]
            while not self._stopped and not self._has_room(at, size):
                self._room_came.wait()
            if self._stopped:
                return False
            waiting.append(rows)
            self._held += size
            if at == self._taken:
                self._rows_came.notify_all()
        return True

    def _has_room(self, at: int, size: int) -> bool:
        return self._held + size <= self._bytes_ahead or (at == self._taken and not self._waiting[at])

    def take(self) -> list[Rows]:
        """The next rows, several that are small; none after the last. Raises what the task raised whose turn it is."""
        if self._forked():
            raise TransferError("these rows were on their way before the process was forked: read them anew there")
        with self._lock:
            while self._taken < len(self._tasks):
                if self._stopped:
                    self._cancel.check()  # raises: rows that were called off are not all of them
                if rows := self._ready():
                    return rows
                if self._taken in self._failed:
                    raise self._failed.pop(self._taken)
                if self._taken < len(self._tasks):
                    self._rows_came.wait(_LOOK_SECONDS)
                    self._caller.check()
        return []

    def _ready(self) -> list[Rows]:
        """What is there to be taken, in the order of the tasks."""
        rows: list[Rows] = []
        size, before = 0, self._taken
        while size < self._together:
            waiting = self._waiting.get(self._taken)
            if waiting:
                rows.append(waiting.popleft())
                size += rows[-1].nbytes
            elif self._taken in self._ended:
                self._ended.remove(self._taken)
                del self._waiting[self._taken]
                self._taken += 1
            else:
                break
        self._held -= size
        if rows or self._taken > before:
            self._room_came.notify_all()
        return rows

    def stop(self) -> None:
        """Call off what is at work, and wait for it as long as that does no harm: who calls may be the garbage
        collector, or the interpreter that ends.
        """
        if self._forked():
            return  # the connections are those of the parent too, and the lock may be held by a thread that is not here
        self._cancel.cancel()
        if threading.current_thread() in self.threads:  # the collector, perhaps under the lock, or as it begins to wait
            threading.Thread(target=self.stop, daemon=True, name="arrowseal-dataset").start()
            return
        with self._lock:
            self._stopped = True
            self._rows_came.notify_all()
            self._room_came.notify_all()
        until = time.monotonic() + _STOP_SECONDS
        for thread in self.threads:
            with contextlib.suppress(RuntimeError):  # the caller's own, or not started yet
                thread.join(max(0.0, until - time.monotonic()))

    def _forked(self) -> bool:
        return os.getpid() != self._process

    def _size(self, at: int) -> int:
        size: Any = self._size_of(self._tasks[at])
        return _UNKNOWN_BYTES if size is None else size
