"""The harness of the benchmarks, on arms whose times are known: it must favour none of them."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import interleaved
from interleaved import cpu_seconds, measure, ratio, wall_seconds

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Stands still until an arm runs. On a machine that slows down, each second takes longer than the one before."""

    def __init__(self, *, slows_down: bool = False) -> None:
        self.now = 100.0
        self.ran: list[str] = []
        self._slows_down = slows_down

    def perf_counter(self) -> float:
        return self.now

    def arm(self, name: str, seconds: float) -> Callable[[], None]:
        """An arm that takes so long."""

        def run() -> None:
            self.ran.append(name)
            self.now += seconds * (1.05 ** len(self.ran) if self._slows_down else 1)

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(interleaved, "time", clock)
    return clock


def test_a_known_delay_is_measured(clock: Clock) -> None:
    seconds = measure({"CSE V3": clock.arm("CSE V3", 0.120), "PLAIN": clock.arm("PLAIN", 0.100)}, rounds=7)
    assert seconds["CSE V3"] == pytest.approx([0.120] * 7)
    assert seconds["PLAIN"] == pytest.approx([0.100] * 7)
    assert ratio(seconds, "CSE V3", "PLAIN") == pytest.approx(1.2)


def test_swapping_the_names_of_two_arms_swaps_the_result(clock: Clock) -> None:
    arms = {"CSE V3": clock.arm("slow", 0.3), "PLAIN": clock.arm("fast", 0.1)}
    swapped = {"CSE V3": arms["PLAIN"], "PLAIN": arms["CSE V3"]}
    one, other = measure(arms, rounds=7), measure(swapped, rounds=7)
    assert one["CSE V3"] == pytest.approx(other["PLAIN"])
    assert one["PLAIN"] == pytest.approx(other["CSE V3"])
    assert ratio(one, "CSE V3", "PLAIN") == pytest.approx(1 / ratio(other, "CSE V3", "PLAIN"))


def test_the_order_in_which_arms_are_named_changes_nothing(clock: Clock) -> None:
    slow, fast = clock.arm("slow", 0.3), clock.arm("fast", 0.1)
    assert measure({"a": slow, "b": fast})["a"] == pytest.approx(measure({"b": fast, "a": slow})["a"])


def test_a_machine_that_slows_down_favours_no_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(slows_down=True)
    monkeypatch.setattr(interleaved, "time", clock)
    seconds = measure({"a": clock.arm("a", 1.0), "b": clock.arm("b", 1.0)}, rounds=31)
    assert seconds["a"][-1] > 10 * seconds["a"][0]  # it does slow down
    ratios = [a / b for a, b in zip(seconds["a"], seconds["b"], strict=True)]
    # Whichever comes later in a round takes 5 % longer: always the same one would show as that.
    assert statistics.geometric_mean(ratios) == pytest.approx(1.0, rel=0.02)


def test_a_ratio_is_the_median_of_those_of_single_moments() -> None:
    assert ratio({"a": [1.0, 10.0, 100.0], "b": [1.0, 5.0, 100.0]}, "a", "b") == 1.0


def test_each_round_runs_each_arm_once_in_an_order_drawn_anew(clock: Clock) -> None:
    measure({name: clock.arm(name, 0.1) for name in "abc"}, rounds=60, warmup=2)
    rounds = [clock.ran[start : start + 3] for start in range(6, len(clock.ran), 3)]
    assert clock.ran[:6] == ["a", "b", "c"] * 2  # the warm-up
    assert len(rounds) == 60
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    first = Counter(each[0] for each in rounds)
    assert min(first.values()) >= 10
    assert len({tuple(each) for each in rounds}) == 6


def test_warming_up_is_not_on_the_clock(clock: Clock) -> None:
    slow_at_first = iter([9.0, 9.0])

    def arm() -> None:
        clock.now += next(slow_at_first, 0.1)

    assert measure({"a": arm}, rounds=7, warmup=2)["a"] == pytest.approx([0.1] * 7)


def test_the_same_seed_draws_the_same_orders(clock: Clock) -> None:
    arms = {name: clock.arm(name, 0.1) for name in "abc"}
    measure(arms, seed=1)
    first, clock.ran = clock.ran, []
    measure(arms, seed=1)
    again, clock.ran = clock.ran, []
    measure(arms, seed=2)
    assert first == again
    assert first != clock.ran


def test_a_run_that_fails_is_no_measurement(clock: Clock) -> None:
    def fails() -> None:
        raise RuntimeError("wrong answer")

    with pytest.raises(RuntimeError, match="wrong answer"):
        measure({"a": clock.arm("a", 0.1), "b": fails})


def test_wall_seconds_hold_all_of_a_run_and_nothing_else() -> None:
    begun = time.perf_counter()
    seconds = [wall_seconds(lambda: time.sleep(0.01)) for _ in range(3)]
    elapsed = time.perf_counter() - begun
    assert min(seconds) >= 0.01
    assert sum(seconds) <= elapsed


def test_cpu_seconds_count_work_and_not_waiting() -> None:
    def work() -> None:
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass

    assert cpu_seconds(work) >= 0.05
    assert cpu_seconds(lambda: {"cpu_seconds": 1.5}) == 1.5  # it ran elsewhere, and says so itself


def test_pytest_benchmark_keeps_the_seconds_that_were_measured(tmp_path: Path) -> None:
    (tmp_path / "test_shown.py").write_text(
        "import pytest\n"
        "from interleaved import REPLAY, show\n"
        "SECONDS = {'slow': [0.5, 0.25, 1.0], 'fast': [0.25, 0.25, 0.25]}\n"
        "@pytest.mark.parametrize('arm', SECONDS)\n"
        "@pytest.mark.benchmark(timer=REPLAY)\n"
        "def test_arm(benchmark, arm):\n"
        "    show(benchmark, 'known', SECONDS, arm, ['fast'], size=2_000_000)\n"
    )
    benches = Path(interleaved.__file__).parent
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", f"pythonpath={benches}", "--rootdir", tmp_path]
    kept = tmp_path / "kept.json"
    command = [sys.executable, "-m", "pytest", tmp_path, *options, f"--benchmark-json={kept}"]
    # pytest-benchmark does nothing on a worker of pytest-xdist, which it knows by the environment.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {each["params"]["arm"]: each for each in json.loads(kept.read_text())["benchmarks"]}
    assert found["slow"]["stats"]["data"] == [0.5, 0.25, 1.0]
    assert found["slow"]["extra_info"] == {"times fast": 2.0, "MB/s": 4.0}
    assert found["fast"]["stats"]["median"] == 0.25
    assert found["fast"]["extra_info"] == {"times fast": 1.0, "MB/s": 8.0}
