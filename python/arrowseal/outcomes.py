"""What became of work on other threads, without reference cycles.

An exception refers to the frames that it passed through. One of them that still holds it, or its future, makes a cycle:
all that those frames hold (plaintext, keys, connections) then lives until the garbage collector comes by.
"""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Result = TypeVar("Result")


class _Condition(threading.Condition):
    """One that Ctrl-C does not leave taken as a block begins, for the reason that is told in `ForkLock`."""

    def __init__(self) -> None:
        self._taken_by: Any = threading.RLock()
        super().__init__(self._taken_by)

    @property
    def __enter__(self) -> Callable[[], bool]:
        return self._taken_by.__enter__  # type: ignore[no-any-return]

    @property
    def __exit__(self) -> Callable[..., None]:  # noqa: PYI036 - a property
        return self._taken_by.__exit__  # type: ignore[no-any-return]


class Outcome(Future[Result]):
    """A future that whoever was interrupted while he waited for it leaves to others: its thread, which is about to say
    what became of it, and who ends the block.
    """

    _done_callbacks: list[Callable[[Future[Result]], object]]

    def __init__(self) -> None:
        super().__init__()
        self._condition = _Condition()

    def forget(self, callback: Callable[[Future[Result]], object]) -> None:
        """Take back what was given to `add_done_callback`, unless it is called already, or is about to be."""
        with self._condition:
            if not self.done():  # later its thread goes through them, without the lock
                self._done_callbacks.remove(callback)


def wait(
    futures: Iterable[Future[Result]], seconds: float | None = None, return_when: str = ALL_COMPLETED
) -> tuple[set[Future[Result]], set[Future[Result]]]:
    """`concurrent.futures.wait`, but for holding all of their locks at a time: Ctrl-C in that moment left them taken,
    and nobody learnt any more what became of the calls.
    """
    listed = list(futures)
    arrived: queue.SimpleQueue[int] = queue.SimpleQueue()  # of numbers: futures in there would hold themselves
    told: list[Callable[[Future[Result]], None]] = [
        lambda _, number=number: arrived.put(number)  # type: ignore[misc]
        for number in range(len(listed))
    ]
    for future, tell in zip(listed, told, strict=True):
        future.add_done_callback(tell)
    until = None if seconds is None else time.monotonic() + seconds
    done: set[Future[Result]] = set()
    enough = False
    while len(done) < len(listed) and not (enough and arrived.empty()):
        try:
            ended = listed[arrived.get(timeout=None if until is None else max(until - time.monotonic(), 0.0))]
        except queue.Empty:
            break
        done.add(ended)
        failed = return_when == FIRST_EXCEPTION and not ended.cancelled() and ended.exception() is not None
        enough = enough or failed or return_when == FIRST_COMPLETED
    for future, tell in zip(listed, told, strict=True):
        if isinstance(future, Outcome):  # it may be waited for again and again
            future.forget(tell)
    return done, {*listed} - done


def results(futures: list[Future[Result]]) -> list[Result]:
    """What they return, in their order; the list is emptied. Raises what the first one raises that fails."""
    futures.reverse()
    found = []
    while futures:
        found.append(futures.pop().result())
    return found


def failures(futures: list[Future[Result]]) -> list[BaseException]:
    """What had been raised when the first one failed; nothing when all have ended well."""
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    return [error for future in done if (error := future.exception()) is not None]
