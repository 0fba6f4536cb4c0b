"""Several requests at a time, for what has no order."""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION
from typing import TYPE_CHECKING, Final, TypeVar

from arrowseal.cancellation import Cancellation, also_cancelled_by
from arrowseal.outcomes import results, wait
from arrowseal.standby import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Item = TypeVar("Item")
Result = TypeVar("Result")

IN_FLIGHT: Final = 16


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item], at_once: int = IN_FLIGHT) -> list[Result]:
    """`function` of each item, in their order, sixteen at a time. Raises what the first one that fails raises. After
    that no more begin, those under way are called off, and all have ended.
    """
    todo = list(items)
    if len(todo) < 2:
        return [function(item) for item in todo]
    stop = Cancellation()

    def work(item: Item) -> Result:
        with also_cancelled_by(stop):
            return function(item)

    with Threads(min(at_once, len(todo)), "arrowseal-fs") as threads:
        try:
            futures = [threads.submit(work, item) for item in todo]
            done = wait(futures, return_when=FIRST_EXCEPTION)[0]
            failed = (at for at, future in enumerate(futures) if future in done and future.exception() is not None)
            del futures[: next(failed, 0)]
            del done, failed  # see `outcomes`
            return results(futures)
        except BaseException:
            stop.cancel()
            raise
