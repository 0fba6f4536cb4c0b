"""Work that another thread may call off: between requests and pieces it looks whether it should go on.

Whoever starts the work (`arrowseal.aio`) sets a `Cancellation` in the context in which the work runs; the work takes it
from there once, and hands it to its threads.
"""

from __future__ import annotations

import contextlib
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


_LOOK_SECONDS: Final = 0.05


class CancelledWork(BaseException):
    """The work was called off. Like `asyncio.CancelledError` no `Exception`, so that nothing takes it for a failure."""


class Cancellation:
    """Says to work on other threads that nobody waits for it any more. Safe to share between threads."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether the work was called off."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Call the work off; it ends at its next `check`."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise `CancelledWork` if the work was called off."""
        if self._cancelled.is_set():
            raise CancelledWork

    def sleep(self, seconds: float) -> None:
        """Wait, or raise `CancelledWork` as soon as the work is called off."""
        self._cancelled.wait(seconds)
        self.check()


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


class _Never(Cancellation):
    """Work that nobody can call off."""

    def cancel(self) -> None:
        """Nobody holds this one."""

    def check(self) -> None:
        """Go on."""

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


_NEVER = _Never()
_current: ContextVar[Cancellation] = ContextVar("arrowseal_cancellation", default=_NEVER)


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
    return cancelled_by(_Either(cancel, cancellation()))


def shielded() -> contextlib.AbstractContextManager[None]:
    """Inside this block nothing calls the work off: it cleans up."""
    return cancelled_by(_NEVER)
