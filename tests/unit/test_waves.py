"""Waves of a Parquet file: fetched ahead on another thread, and given up anywhere."""

from __future__ import annotations

import gc
import threading
from typing import Any

from arrowseal.standby import Threads
from arrowseal.tables.parquet_decoding import fetched_waves


class CollectingFooter:
    """Of two waves, of which the second has the garbage collector run on a thread that it waits for."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.ended = threading.Event()

    def parts(self, _plan: Any, _most: int) -> list[int]:
        return [1, 2]

    def fetch(self, wave: int) -> int:
        if wave == 2:
            self.go.wait(10)
            with Threads(1) as beside:
                beside.submit(gc.collect).result()
            self.ended.set()
        return wave


def test_waves_that_the_garbage_collector_ends_while_one_is_fetched_do_not_wait_for_themselves() -> None:
    footer: Any = CollectingFooter()
    held: list[Any] = [fetched_waves(footer, footer)]
    assert next(held[0]) == (1, 1)
    held.append(held)
    gc.disable()
    try:
        del held
        footer.go.set()
        assert footer.ended.wait(10)
    finally:
        gc.enable()
