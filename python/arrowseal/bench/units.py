"""Measured numbers as people read them: three figures, and a unit."""

from __future__ import annotations

from typing import Final

from arrowseal.bench.intervals import Interval

_PREFIXES: Final = (("GB", 1e9), ("MB", 1e6), ("KB", 1e3))


def figures(value: float | None) -> str:
    """About three figures; nothing for None.

    >>> [figures(value) for value in (0.012345, 1.2345, 12.345, 123.45, 12345.6, 0, None)]
    ['0.012', '1.23', '12.3', '123', '12,346', '0', '']
    """
    if value is None:
        return ""
    size = abs(value)
    if size >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.3f}"


def count(value: float | None) -> str:
    """A count, whole where it is.

    >>> count(1000.0), count(0.05), count(None)
    ('1,000', '0.05', '')
    """
    if value is None:
        return ""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"


def times(ratio: Interval | None) -> str:
    """A ratio with its interval.

    >>> times(Interval(1.02, 0.98, 1.074))
    '1.02 (0.98 to 1.07)'
    """
    if ratio is None:
        return ""
    return f"{figures(ratio.middle)} ({figures(ratio.low)} to {figures(ratio.high)})"


def milliseconds(seconds: Interval | None) -> str:
    """A duration with its interval, without the unit."""
    return times(Interval(*(each * 1e3 for each in seconds))) if seconds is not None else ""


def duration(seconds: float) -> str:
    """With its unit.

    >>> duration(0.0123), duration(2)
    ('12.3 ms', '2.00 s')
    """
    return f"{figures(seconds)} s" if seconds >= 1 else f"{figures(seconds * 1e3)} ms"


def size(count_of_bytes: float) -> str:
    """Bytes in units of thousands.

    >>> size(10_000), size(64_000_000), size(1 << 20), size(12)
    ('10 KB', '64 MB', '1.05 MB', '12 bytes')
    """
    for unit, factor in _PREFIXES:
        if count_of_bytes >= factor:
            return f"{count_of_bytes / factor:.3g} {unit}"  # below 1,000 of it, hence no exponent
    return f"{count_of_bytes:.0f} bytes"
