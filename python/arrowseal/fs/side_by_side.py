"""Several requests at a time, for what has no order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Final, TypeVar

from arrowseal.outcomes import results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Item = TypeVar("Item")
Result = TypeVar("Result")

_IN_FLIGHT: Final = 16


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`function` of each item, in their order, sixteen at a time. Raises what the first one that fails raises, after
    those that had begun have ended.
    """
    todo = list(items)
    if len(todo) < 2:
        return [function(item) for item in todo]
    with ThreadPoolExecutor(min(_IN_FLIGHT, len(todo)), thread_name_prefix="arrowseal-fs") as pool:
        futures = [pool.submit(copy_context().run, function, item) for item in todo]
        try:
            return results(futures)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
