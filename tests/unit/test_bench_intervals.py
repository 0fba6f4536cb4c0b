"""Intervals of medians and of paired ratios, against values worked out by hand and against their promise."""

from __future__ import annotations

import random

import pytest

from arrowseal.bench.intervals import FEWEST_ROUNDS, Interval, _resampled, of_median, of_ratio


def test_up_to_seven_values_the_interval_is_their_whole_range() -> None:
    for count in range(1, FEWEST_ROUNDS + 1):
        values = [float(value) for value in range(count)]
        assert of_median(values) == Interval((count - 1) / 2, 0.0, count - 1.0)


@pytest.mark.parametrize(("count", "low", "high"), [(9, 1, 7), (11, 2, 8), (15, 3, 11), (21, 5, 15)])
def test_of_more_values_the_outermost_are_left_out(count: int, low: int, high: int) -> None:
    """The ranks that the binomial distribution gives for 95 %, or those beside them."""
    assert of_median(range(count)) == Interval((count - 1) // 2, low, high)


def test_the_order_of_values_does_not_matter() -> None:
    assert of_median([5.0, 1.0, 4.0, 2.0, 3.0]) == Interval(3.0, 1.0, 5.0)


def test_one_value_is_its_own_interval() -> None:
    assert of_median([2.5]) == Interval(2.5, 2.5, 2.5)


def test_no_value_has_no_median() -> None:
    with pytest.raises(ValueError, match="a median needs a value"):
        of_median([])


@pytest.mark.parametrize("count", [7, 9, 11, 15, 25])
def test_the_interval_holds_the_true_median_in_about_95_of_100_runs(count: int) -> None:
    """Of skewed values, as wall times are."""
    draw = random.Random(count)
    runs = 2_000
    held = 0
    for _ in range(runs):
        interval = of_median([draw.lognormvariate(0.0, 0.5) for _ in range(count)])
        held += interval.low <= 1.0 <= interval.high
    assert 0.925 < held / runs < 0.99


def test_ratios_are_paired_by_round() -> None:
    """Rounds that were slow for both: their ratios agree, although the medians alone would not tell."""
    plain = {0: 1.0, 1: 10.0, 2: 100.0}
    assert of_ratio({0: 2.0, 1: 20.0, 2: 200.0}, plain) == pytest.approx((2.0, 2.0, 2.0))


def test_only_rounds_that_both_have_count() -> None:
    assert of_ratio({0: 4.0, 1: 1.0}, {0: 2.0, 7: 1.0}) == Interval(2.0, 2.0, 2.0)


def test_without_a_common_round_there_is_no_ratio() -> None:
    assert of_ratio({0: 1.0}, {1: 1.0}) is None
    assert of_ratio({}, {}) is None


def test_what_took_nothing_has_no_ratio() -> None:
    assert of_ratio({0: 0.0}, {0: 1.0}) is None
    assert of_ratio({0: 1.0}, {0: 0.0}) is None


@pytest.mark.parametrize("count", [1, 2, 6, 7, 8, 11, 20])
def test_exchanging_both_inverts_a_ratio_and_its_interval(count: int) -> None:
    draw = random.Random(count)
    values, reference = ({each: draw.lognormvariate(0.0, 0.4) for each in range(count)} for _ in range(2))
    ratio, inverse = of_ratio(values, reference), of_ratio(reference, values)
    assert ratio is not None
    assert inverse is not None
    expected = (1 / ratio.middle, 1 / ratio.high, 1 / ratio.low)
    assert inverse == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("count", [2, 7, 8, 11])
def test_no_end_of_an_interval_is_favoured(count: int) -> None:
    drawn = _resampled(count)
    assert {(count - 1 - high, count - 1 - low): times for (low, high), times in drawn.items()} == drawn
