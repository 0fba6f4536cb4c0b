"""What polars asks of Python on threads of its own, done aside: whoever waits for it hears of Ctrl-C.

While a query runs, Python itself does not learn of Ctrl-C before the query has ended; polars does, and tells whoever
calls it.
"""

from __future__ import annotations

from contextlib import closing
from contextvars import copy_context
from typing import TYPE_CHECKING, Final, TypeVar

from arrowseal.cancellation import Cancellation, join
from arrowseal.extras import require
from arrowseal.outcomes import wait
from arrowseal.standby import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from concurrent.futures import Future

Result = TypeVar("Result")
Item = TypeVar("Item")

_LOOK_SECONDS: Final = 0.2


def aside(call: Callable[[], Result]) -> Result:
    """The result of a call, which is called off by Ctrl-C."""
    with Threads(1) as threads:
        return _awaited(threads.submit(call))


def all_aside(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """The same, made on a thread of its own.

    A query of polars ends when the Python frame that takes these is freed. An exception that was caught further down
    (of a fault that a retry made good) keeps the frames above it for as long as it lives, and one in a reference cycle,
    as botocore leaves them, lives until the garbage collector comes by, which it does not while all wait.
    """

    def following() -> Item | None:
        return next(items, None)

    context, called_off = copy_context(), Cancellation()
    context.run(join, called_off)
    with Threads(1) as threads, closing(items):
        try:
            while (item := _awaited(threads.submit(context.run, following))) is not None:
                yield item
        except BaseException:
            called_off.cancel()
            raise


def _awaited(future: Future[Result]) -> Result:
    while not wait([future], _LOOK_SECONDS)[0]:
        require("polars", "polars").Series([1, 0]).sort()  # raises `KeyboardInterrupt`
    return future.result()
