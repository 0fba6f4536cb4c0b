"""Progress of long work: a bar on a terminal, silence elsewhere.

Whoever works calls `advance` from Python threads, between requests and never from within the core, so that showing
progress costs nothing while bytes move.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from typing import TextIO


class Progress(Protocol):
    """Work under way: a context manager that is told how far it got. Safe to call from several threads."""

    def advance(self, amount: int = 1, *, doing: str | None = None) -> None:
        """`amount` more units are done; `doing` says in a few words what comes now."""

    def write(self, line: str, stream: TextIO | None = None) -> None:
        """Print a line, to standard output by default, without tearing the bar."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


class SilentProgress:
    """Shows nothing; `write` prints."""

    def advance(self, amount: int = 1, *, doing: str | None = None) -> None:
        """Nothing to show."""

    def write(self, line: str, stream: TextIO | None = None) -> None:
        """Print the line at once."""
        print(line, file=stream or sys.stdout, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class BarProgress:
    """A bar of tqdm on standard error."""

    def __init__(self, total: int, description: str, unit: str) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            total=total,
            desc=description,
            unit=unit,
            unit_scale=unit == "B",
            leave=False,
            dynamic_ncols=True,
            file=sys.stderr,
        )

    def advance(self, amount: int = 1, *, doing: str | None = None) -> None:
        """Move the bar."""
        if doing is not None:
            self._bar.set_postfix_str(doing, refresh=not amount)
        self._bar.update(amount)

    def write(self, line: str, stream: TextIO | None = None) -> None:
        """Print the line above the bar."""
        self._bar.write(line, file=stream or sys.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def progress(total: int, description: str, *, unit: str = "", show: bool | None = None) -> Progress:
    """Progress over `total` units, `unit="B"` for bytes. By default it is shown if standard error is a terminal and
    tqdm (`arrowseal[progress]`) is installed; `show=False` never shows it.

    >>> with progress(2, "reading", show=False) as done:
    ...     done.advance(doing="flights.csv")
    ...     done.write("flights.csv: 336,776 rows")
    flights.csv: 336,776 rows
    """
    if show is None:
        show = sys.stderr is not None and sys.stderr.isatty()
    if not show or find_spec("tqdm") is None:
        return SilentProgress()
    return BarProgress(total, description, unit)
