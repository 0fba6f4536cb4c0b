"""How fast this machine seals, opens and copies in memory, on one thread: the limits that nothing here can beat."""

from __future__ import annotations

import os
import statistics
import time
from typing import Final

from arrowseal._core import DataKey, Opener, Sealer
from arrowseal.suites import V3

BYTES: Final = 16 << 20
"""Beyond the caches of a core, as tables are."""


def limits(rounds: int = 7) -> dict[str, float]:
    """Bytes per CPU second, medians of `rounds`: `"seal"` and `"open"` in format V3, `"copy"` for moving bytes once.

    Takes some 0.3 seconds and 64 MiB. What is opened is compared with what was sealed.

    >>> sorted(limits(rounds=1))
    ['copy', 'open', 'seal']
    """
    content = os.urandom(BYTES)
    target = memoryview(bytearray(BYTES))
    seconds: dict[str, list[float]] = {"seal": [], "open": [], "copy": []}
    for _ in range(rounds):
        sealer = Sealer(DataKey(key := os.urandom(32)), V3.suite.id)
        start = time.thread_time()
        sealed = sealer.seal(content, threads=1)
        seconds["seal"].append(time.thread_time() - start)

        opener = Opener(DataKey(key), V3.suite.id, sealer.message_id, sealer.commitment, len(sealed))
        window = opener.window(0, len(sealed))
        with memoryview(window) as view:
            view[:] = sealed
        start = time.thread_time()
        window.received()
        opened = opener.finish()
        seconds["open"].append(time.thread_time() - start)
        if opened != content:
            raise AssertionError("what was sealed opened to something else")

        start = time.thread_time()
        target[:] = content
        seconds["copy"].append(time.thread_time() - start)
    return {name: BYTES / statistics.median(times) for name, times in seconds.items()}
