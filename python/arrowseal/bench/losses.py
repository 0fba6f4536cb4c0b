"""Where CSE V3 loses, found by the numbers alone: against whom, in which case, in which measure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from arrowseal.bench.results import REUSE, V3

if TYPE_CHECKING:
    from arrowseal.bench.intervals import Interval
    from arrowseal.bench.results import Case, Results

MEASURES: Final = {
    "wall_seconds": "wall time",
    "cpu_seconds": "CPU time",
    "first_row_seconds": "time to the first row or byte",
    "peak_memory_bytes": "peak memory",
}


class Comparison(NamedTuple):
    """CSE V3 beside another arm: how many times what the other took, paired by round."""

    case: Case
    measure: str
    """A field of `Sample`."""
    against: str
    ratio: Interval

    @property
    def lost(self) -> bool:
        """The interval lies wholly above: what is within it may be chance."""
        return self.ratio.low > 1

    @property
    def won(self) -> bool:
        """The interval lies wholly below."""
        return self.ratio.high < 1


def comparisons(results: Results) -> list[Comparison]:
    """CSE V3 beside everything else that did the same, in every measure; its own data key reuse is no opponent."""
    found = []
    for measure in MEASURES:
        for case, arms in results.items():
            for against in (arm for arm in arms if arm not in (V3, REUSE)):
                ratio = arms[V3].ratio(arms[against], measure) if V3 in arms else None
                if ratio is not None:
                    found.append(Comparison(case, measure, against, ratio))
    return found
