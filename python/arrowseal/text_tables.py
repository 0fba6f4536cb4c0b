"""Text tables for a terminal of 100 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDTH = 100
GAP = "  "


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Iterator[str]:
    """Lines of aligned columns, those with an index in `right` to the right.

    >>> list(columns([("format", "V3"), ("stored bytes", "21")]))
    ['format        V3', 'stored bytes  21']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield GAP.join(cells).rstrip()


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Iterator[str]:
    r"""The same under a header and a rule.

    >>> print(*table(["type", "rows"], [["csv", "5"], ["parquet", "10"]], right=[1]), sep="\n")
    type     rows
    -------------
    csv         5
    parquet    10
    """
    head, *lines = columns([header, *rows], right)
    yield head
    yield "-" * max(map(len, [head, *lines]))
    yield from lines


def shortened(text: str, width: int) -> str:
    """The text, cut to a width."""
    return text if len(text) <= width else text[: width - 3] + "..."
