"""What became of work on other threads, without reference cycles.

An exception refers to the frames that it passed through. One of them that still holds it, or its future, makes a cycle:
all that those frames hold (plaintext, keys, connections) then lives until the garbage collector comes by.
"""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

Result = TypeVar("Result")


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
