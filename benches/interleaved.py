"""Arms measured side by side: warmed up, then in rounds in which each arm runs once, in an order drawn anew.

pytest-benchmark times one function after the other, so that a machine that slows down meanwhile favours the first. Here
all arms of a comparison are measured together, and pytest-benchmark is given the seconds to keep, compare and print.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

Arms = Mapping[str, Callable[[], object]]
Seconds = dict[str, list[float]]


def measure(
    arms: Arms,
    *,
    rounds: int = 15,
    warmup: int = 2,
    seed: int = 2013,
    reading: Callable[[Callable[[], object]], float] | None = None,
) -> Seconds:
    """Wall seconds of every round of every arm; or what `reading` says of one run."""
    order, draw, read = list(arms), random.Random(seed), reading or wall_seconds
    for name in order * warmup:
        arms[name]()
    seconds: Seconds = {name: [] for name in arms}
    for _ in range(rounds):
        draw.shuffle(order)
        for name in order:
            seconds[name].append(read(arms[name]))
    return seconds


def wall_seconds(run: Callable[[], object]) -> float:
    """How long a run takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def cpu_seconds(run: Callable[[], object]) -> float:
    """What a run costs on all cores: in this process, or where it says so itself because it ran elsewhere."""
    start = time.process_time()
    told = run()
    return float(told["cpu_seconds"]) if isinstance(told, dict) else time.process_time() - start


def ratio(seconds: Seconds, arm: str, baseline: str) -> float:
    """How many times the baseline an arm takes: the median of the ratios of the rounds, each within one moment."""
    return statistics.median(a / b for a, b in zip(seconds[arm], seconds[baseline], strict=True))


class Replay:
    """A timer for pytest-benchmark that shows it seconds measured before: one pair of readings a round."""

    def __init__(self) -> None:
        self._readings: Iterator[float] = iter(())

    def load(self, seconds: Sequence[float]) -> None:
        """Set what the next rounds took."""
        # A round starts where the one before it ended.
        ends = list(accumulate(seconds, initial=0.0))
        self._readings = iter([reading for pair in pairwise(ends) for reading in pair])

    def __call__(self) -> float:
        return next(self._readings, 0.0)

    def show(self, benchmark: Any, seconds: Sequence[float]) -> None:
        """Hand measured seconds to the `benchmark` fixture of a test."""
        self.load(seconds)
        benchmark.pedantic(lambda: None, rounds=len(seconds), iterations=1)


REPLAY = Replay()


def show(benchmark: Any, group: str, seconds: Seconds, arm: str, baselines: Sequence[str], size: int = 0) -> None:
    """Give pytest-benchmark one arm, with its ratio to each baseline and, for a size in bytes, its MB/s."""
    benchmark.group = group
    for baseline in baselines:
        benchmark.extra_info[f"times {baseline}"] = round(ratio(seconds, arm, baseline), 3)
    if size:
        benchmark.extra_info["MB/s"] = round(size / 1e6 / statistics.median(seconds[arm]), 1)
    REPLAY.show(benchmark, seconds[arm])
