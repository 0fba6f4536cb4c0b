"""Ratios that were measured by hand before this command was there, and whether a run agrees with them.

They were medians without intervals, on two cores with AVX-512 and VAES, of 256 MiB by one stream and of 10 KB by one
thread, each arm reading or writing all of the object. Only what is measured within one case is compared: another
machine changes seconds, and ratios less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from arrowseal.bench.units import figures, size, times

if TYPE_CHECKING:
    from arrowseal.bench.intervals import Interval
    from arrowseal.bench.results import Case, Results
    from arrowseal.bench.samples import Settings

SERVER: Final = "versitygw"
_NEAR: Final = 1.1
"""Sizes that differ by less are the same: 256 MB stands for 256 MiB."""


class Earlier(NamedTuple):
    """How many times as long as `boto3` an arm took."""

    operation: str
    plaintext_bytes: int
    arm: str
    ratio: float


# From MB/s and requests a second: boto3 read 830 MB/s and wrote 192, and read 540 small objects a second.
FIGURES: Final = (
    Earlier("read", 256 << 20, "official client", 830 / 178),
    Earlier("read", 256 << 20, "obstore", 830 / 1_560),
    Earlier("read", 256 << 20, "pyarrow S3FileSystem", 830 / 915),
    Earlier("write", 256 << 20, "official client", 192 / 107),
    Earlier("read", 10_000, "official client", 540 / 156),
    Earlier("read", 10_000, "obstore", 540 / 3_000),
)
BASELINE: Final = "boto3"


def rows(results: Results, settings: Settings) -> list[list[str]]:
    """For each earlier ratio that a run has too: what, then, now with its interval, and whether they agree or why not.

    Empty if the run has none of them.
    """
    found = []
    for earlier in FIGURES:
        for case, arms in results.items():
            both = _same(case, earlier) and {earlier.arm, BASELINE} <= arms.keys()
            now = arms[earlier.arm].ratio(arms[BASELINE]) if both else None
            if now is not None:
                title = f"{earlier.operation} {size(case.plaintext_bytes)}: {earlier.arm}, times {BASELINE}"
                found.append([title, figures(earlier.ratio), times(now), _verdict(earlier, now, settings)])
    return found


def _same(case: Case, earlier: Earlier) -> bool:
    factor = max(case.plaintext_bytes, 1) / earlier.plaintext_bytes
    return (case.kind, case.operation) == ("object", earlier.operation) and 1 / _NEAR < factor < _NEAR


def _verdict(earlier: Earlier, now: Interval, settings: Settings) -> str:
    if now.low <= earlier.ratio <= now.high:
        return "agrees"
    reasons = []
    if SERVER not in settings.server:
        reasons.append(f"then on {SERVER}, now on {settings.server}")
    if settings.latency_seconds or settings.bytes_per_second:
        reasons.append("then on loopback, now with a network in between")
    if settings.kms_latency_seconds:
        reasons.append("now with a KMS that is farther away")
    where = "below" if now.high < earlier.ratio else "above"
    differs = f"what differs: {'; '.join(reasons)}" if reasons else "nothing of what is known of both differs"
    return f"now {where}; {differs}"
