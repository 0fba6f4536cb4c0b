"""The comparison of two commits, with commits whose times are known."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

import pytest

import compare_commits
from arrowseal.bench.intervals import Interval
from compare_commits import NEW, OLD, direction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = 15


class Commit:
    """Takes the seconds of each arm, give or take some noise."""

    def __init__(self, seconds: dict[str, float], seed: int) -> None:
        self.arms = list(seconds)
        self._seconds = seconds
        self._draw = random.Random(seed)

    def run(self, arm: str) -> float:
        return self._seconds[arm] * self._draw.uniform(0.98, 1.02)


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The exit code for pairs of commits, one pair for each pass of measuring."""

    def run(*passes: dict[str, dict[str, float]], only: str = "") -> int:
        left = iter(passes)

        @contextlib.contextmanager
        def contestants(*_: object) -> Iterator[dict[str, Commit]]:
            both = next(left)
            yield {OLD: Commit(both[OLD], seed=1), NEW: Commit(both[NEW], seed=2)}

        monkeypatch.setattr(compare_commits, "contestants", contestants)
        return compare_commits.compare({}, {}, ROUNDS, only)

    return run


def test_the_same_commit_twice_moves_nothing(compare: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    same = {f"arm {number}": 0.01 * (number + 1) for number in range(20)}
    assert compare({OLD: same, NEW: same}) == 0
    assert "None of 20 ratios moved." in capsys.readouterr().out


def test_what_became_slower_is_told_and_fails(compare: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    both = {OLD: {"get": 0.1, "put": 0.2}, NEW: {"get": 0.11, "put": 0.2}}
    assert compare(both, both) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("get") and "-" in line] == ["SLOWER"]
    assert lines[-1] == "1 of 2 ratios moved."


def test_exchanging_the_commits_turns_slower_into_faster(
    compare: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    both = {OLD: {"get": 0.11}, NEW: {"get": 0.1}}
    assert compare(both, both) == 0
    assert "faster" in capsys.readouterr().out


def test_what_moves_once_and_not_again_is_not_told(
    compare: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    moved, same = {OLD: {"get": 0.1}, NEW: {"get": 0.11}}, {OLD: {"get": 0.1}, NEW: {"get": 0.1}}
    assert compare(moved, same) == 0
    assert "None of 1 ratios moved." in capsys.readouterr().out
    assert compare(moved, {OLD: moved[NEW], NEW: moved[OLD]}) == 0  # the other way the second time


def test_arms_that_only_one_of_them_has_are_left_out(compare: Callable[..., int]) -> None:
    assert compare({OLD: {"get": 0.1, "gone": 0.1}, NEW: {"get": 0.1, "new": 9.0}}) == 0


def test_arms_can_be_chosen(compare: Callable[..., int]) -> None:
    assert compare({OLD: {"get": 0.1, "put": 0.1}, NEW: {"get": 0.1, "put": 0.9}}, only="get") == 0


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (Interval(1.10, 1.05, 1.20), 1),
        (Interval(1.10, 0.99, 1.20), 0),  # may be nothing
        (Interval(1.02, 1.01, 1.03), 0),  # sure, and too little
        (Interval(0.90, 0.85, 0.95), -1),
        (Interval(0.90, 0.85, 1.01), 0),
        (Interval(0.98, 0.97, 0.99), 0),
    ],
)
def test_a_ratio_moves_if_its_interval_leaves_out_1_by_enough(interval: Interval, expected: int) -> None:
    assert direction(interval) == expected
