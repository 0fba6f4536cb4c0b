"""The raw rows of a run, grouped: by case, that is a workload read or written by one face, and within it by arm."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Final, TypeAlias

from arrowseal.bench.arms import ARMS
from arrowseal.bench.intervals import Interval, of_median, of_ratio

if TYPE_CHECKING:
    from arrowseal.bench.samples import Run, Sample

PLAIN: Final = "PLAIN"
V2: Final = "CSE V2"
V3: Final = "CSE V3"
REUSE: Final = "CSE V3, data key reuse"
SECTIONS: Final = ("kms", "s3", "crypto", "decode")
_ORDER: Final = {arm.name: place for place, arm in enumerate(ARMS)}


@dataclass(frozen=True)
class Case:
    """What one run does, whichever the arm. The fields are those of `Sample`."""

    workload: str
    operation: str
    kind: str
    format: str
    face: str
    plaintext_bytes: int
    files: int

    @property
    def title(self) -> str:
        """In words.

        >>> Case("flights CSV", "read", "table", "csv", "pandas", 1_000, 1).title
        'read flights CSV, pandas'
        """
        return f"{self.operation} {self.workload}" + (f", {self.face}" if self.face else "")


@dataclass(frozen=True)
class Result:
    """What one arm took for a case, over all rounds. `of` is the name of a field of `Sample`."""

    case: Case
    arm: str
    samples: tuple[Sample, ...]

    @property
    def rounds(self) -> int:
        """How many were measured."""
        return len({sample.round for sample in self.samples})

    @property
    def megabytes_per_second(self) -> float | None:
        """Of plaintext: its bytes over the median of wall seconds."""
        wall = median(sample.wall_seconds for sample in self.samples)
        return self.case.plaintext_bytes / wall / 1e6 if wall > 0 else None

    def by_round(self, of: str) -> dict[int, float]:
        """The values there are."""
        values = {sample.round: getattr(sample, of) for sample in self.samples}
        return {number: float(value) for number, value in values.items() if value is not None}

    def interval(self, of: str) -> Interval | None:
        """The median over rounds and its interval; None where nothing was measured."""
        values = list(self.by_round(of).values())
        return of_median(values) if values else None

    def median(self, of: str) -> float | None:
        """The median over rounds; None where nothing was measured."""
        values = self.by_round(of).values()
        return median(values) if values else None

    def mean(self, of: str) -> float | None:
        """The mean over rounds, for what is added up; None where nothing was measured."""
        values = self.by_round(of).values()
        return fmean(values) if values else None

    def sections(self) -> dict[str, float]:
        """Mean seconds by section, with `"other"`, that add up to the mean of the wall seconds.

        Where work was done side by side and its seconds are more than passed, each gets its share of those that did.
        Without counters of sections there is only `"other"`.
        """
        wall = self.mean("wall_seconds") or 0.0
        seconds = {name: self.mean(f"{name}_seconds") or 0.0 for name in SECTIONS}
        shrunk = min(1.0, wall / max(sum(seconds.values()), 1e-12))
        shares = {name: value * shrunk for name, value in seconds.items()}
        return shares | {"other": max(0.0, wall - sum(shares.values()))}

    def ratio(self, other: Result | None, of: str = "wall_seconds") -> Interval | None:
        """How many times what the other took: paired by round, the median and its interval."""
        return of_ratio(self.by_round(of), other.by_round(of)) if other is not None else None


Results: TypeAlias = dict[Case, dict[str, Result]]


def results(run: Run) -> Results:
    """Cases in the order in which they were measured, arms in that of `arms.py`, then by name."""
    found: dict[Case, dict[str, list[Sample]]] = {}
    for row in run.samples:
        case = Case(row.workload, row.operation, row.kind, row.format, row.face, row.plaintext_bytes, row.files)
        found.setdefault(case, {}).setdefault(row.arm, []).append(row)
    return {
        case: {arm: Result(case, arm, tuple(by_arm[arm])) for arm in sorted(by_arm, key=_place)}
        for case, by_arm in found.items()
    }


def _place(arm: str) -> tuple[int, str]:
    return _ORDER.get(arm, len(_ORDER)), arm
