"""What happened to each object and when; from it, what a read may have seen. For tests with many threads.

A write takes effect at some moment, or at several if it is repeated, between its call and its return. A read may
return the value of every write that began before the read ended, unless another write began after that one had ended
and itself ended before the read began.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ABSENT = -1
"""The value of an object that is not there. Others are the numbers of the operations that wrote them."""


@dataclass
class Write:
    """A write, or with ABSENT a deletion. One that was refused may still have been in effect before."""

    value: int
    began: float
    ended: float = float("inf")
    refused: bool = False


class History:
    """The writes of each key, kept by those who make them. Safe to share between threads."""

    def __init__(self) -> None:
        before = float("-inf")
        self._writes: dict[str, list[Write]] = defaultdict(lambda: [Write(ABSENT, before, before)])
        self._lock = threading.Lock()

    def write(self, key: str, value: int, call: Callable[[], object], refusal: type[Exception] | None = None) -> bool:
        """Make a write and note it; returns whether it was acknowledged, and not refused with that exception."""
        with self._lock:
            write = Write(value, time.monotonic())
            self._writes[key].append(write)
        try:
            call()
        except Exception as error:
            write.refused = True
            if refusal is None or not isinstance(error, refusal):
                raise
        write.ended = time.monotonic()
        return not write.refused

    def allowed(self, key: str, began: float, ended: float) -> set[int]:
        """What a read between these moments may return."""
        with self._lock:
            writes = list(self._writes[key])
        done = [write for write in writes if not write.refused and write.ended <= began]
        latest = max(write.began for write in done)
        return {write.value for write in writes if write.began <= ended and write.ended >= latest}

    def overlapping(self, key: str, began: float, ended: float) -> int:
        """How many writes were under way between these moments."""
        with self._lock:
            return sum(1 for write in self._writes[key] if write.began <= ended and write.ended >= began)
