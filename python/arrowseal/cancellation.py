"""Work that another thread may call off: between requests and pieces it looks whether it should go on, and what it
waits for a server to send is not waited for any more.

Whoever starts the work (`arrowseal.aio`) sets a `Cancellation` in the context in which the work runs; the work takes it
from there once, and hands it to its threads.
"""

from __future__ import annotations

import contextlib
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_LOOK_SECONDS: Final = 0.05


class CancelledWork(BaseException):
    """The work was called off. Like `asyncio.CancelledError` no `Exception`, so that nothing takes it for a failure."""


class Waited(Protocol):
    """What other work brings about."""

    def wait(self, timeout: float | None = None, /) -> bool:
        """Whether it has come by then."""


class Cancellation:
    """Says to work on other threads that nobody waits for it any more. Safe to share between threads."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._answers: set[Awaited] = set()
        self._lock = threading.RLock()  # the garbage collector may end a block anywhere, also within it

    @property
    def cancelled(self) -> bool:
        """Whether the work was called off."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Call the work off; it ends at its next `check`. Answers that it waits for do not come any more."""
        with self._lock:  # an answer that is not awaited any more may have given its connection back: it serves others
            self._cancelled.set()
            for answer in list(self._answers):
                if answer in self._answers:
                    answer.interrupt()

    def check(self) -> None:
        """Raise `CancelledWork` if the work was called off."""
        if self._cancelled.is_set():
            raise CancelledWork

    def sleep(self, seconds: float) -> None:
        """Wait, or raise `CancelledWork` as soon as the work is called off."""
        self._cancelled.wait(seconds)
        self.check()

    def wait(self, event: Waited) -> None:
        """Wait for what other work brings about, or raise `CancelledWork` soon after this one is called off."""
        self.check()
        while not event.wait(_LOOK_SECONDS):  # no thread can wait for both
            self.check()

    def awaits(self, answer: Awaited) -> None:
        """Note an answer that is waited for from now on, or raise `CancelledWork` if the work was called off."""
        with self._lock:
            self.check()
            self._answers.add(answer)

    def awaits_no_more(self, answer: Awaited) -> None:
        """Forget an answer, before its connection is given back."""
        with self._lock:
            self._answers.discard(answer)


class _Either(Cancellation):
    """Work that two may call off."""

    def __init__(self, first: Cancellation, second: Cancellation) -> None:
        self._first = first
        self._second = second

    @property
    def cancelled(self) -> bool:
        """Whether either has called the work off."""
        return self._first.cancelled or self._second.cancelled

    def cancel(self) -> None:
        """Call off what the first one calls off."""
        self._first.cancel()

    def check(self) -> None:
        """Raise `CancelledWork` if either has called the work off."""
        self._first.check()
        self._second.check()

    def sleep(self, seconds: float) -> None:
        """Wait, or raise `CancelledWork` soon after either has called the work off."""
        until = time.monotonic() + seconds
        self.check()
        while (left := until - time.monotonic()) > 0:
            self._first.sleep(min(left, _LOOK_SECONDS))  # no thread can wait for both
            self._second.check()

    def awaits(self, answer: Awaited) -> None:
        """Note it with both."""
        self._first.awaits(answer)
        try:
            self._second.awaits(answer)
        except BaseException:
            self._first.awaits_no_more(answer)
            raise

    def awaits_no_more(self, answer: Awaited) -> None:
        """Forget it with both."""
        self._first.awaits_no_more(answer)
        self._second.awaits_no_more(answer)


class _Never(Cancellation):
    """Work that nobody can call off."""

    def cancel(self) -> None:
        """Nobody holds this one."""

    def check(self) -> None:
        """Go on."""

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def wait(self, event: Waited) -> None:
        """Wait."""
        event.wait()

    def awaits(self, answer: Awaited) -> None:
        """Nobody interrupts it."""

    def awaits_no_more(self, answer: Awaited) -> None:
        """Nobody would have."""


class Awaited:
    """A block that waits for what a server sends: `interrupt` ends the wait, from another thread, when the work is
    called off. What the block raises then is a `CancelledWork`.
    """

    __slots__ = ("_work", "interrupt")

    def __init__(self, interrupt: Callable[[], None]) -> None:
        self.interrupt = interrupt

    def __enter__(self) -> None:
        self._work = awaiting()
        self._work.awaits(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._work.awaits_no_more(self)
        if isinstance(error, Exception):
            self._work.check()


_NEVER = _Never()
_current: ContextVar[Cancellation] = ContextVar("arrowseal_cancellation", default=_NEVER)


_answered: ContextVar[bool] = ContextVar("arrowseal_answered", default=False)


def cancellation() -> Cancellation:
    """That of the work in this context; otherwise one that never comes. Threads see it if they run in a copy of the
    context.
    """
    return _current.get()


@contextlib.contextmanager
def cancelled_by(cancel: Cancellation) -> Iterator[None]:
    """Inside this block, `cancel` calls the work off."""
    token = _current.set(cancel)
    try:
        yield
    finally:
        _current.reset(token)


def also_cancelled_by(cancel: Cancellation) -> contextlib.AbstractContextManager[None]:
    """Inside this block, `cancel` calls the work off, and so does who could before."""
    return cancelled_by(_joined(cancel))


def join(cancel: Cancellation) -> None:
    """From now on `cancel` calls off what runs in this context, and so does who could before."""
    _current.set(_joined(cancel))


def _joined(cancel: Cancellation) -> Cancellation:
    before = cancellation()
    return cancel if before is _NEVER else _Either(cancel, before)


def shielded() -> contextlib.AbstractContextManager[None]:
    """Inside this block nothing calls the work off: it cleans up."""
    return cancelled_by(_NEVER)


def awaiting() -> Cancellation:
    """That of what is waited for in this context."""
    return _NEVER if _answered.get() else _current.get()


@contextlib.contextmanager
def answered() -> Iterator[None]:
    """Inside this block answers are waited for, also when the work is called off: who changes something has to learn
    what became of it.
    """
    token = _answered.set(True)
    try:
        yield
    finally:
        _answered.reset(token)
