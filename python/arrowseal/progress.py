"""Progress of long work: a bar on a terminal or in a notebook, silence elsewhere; or a function of the caller's.

Whoever works calls `advance` from Python threads, between requests and never from within the core, so that showing
progress costs nothing while bytes move.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeAlias

from arrowseal.exceptions import ConfigurationError
from arrowseal.extras import require
from arrowseal.location import ObjectLocation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

ReportProgress: TypeAlias = Callable[[int, "int | None", ObjectLocation], object]
"""A function that is told how far one object is: stored bytes done, stored bytes in all or None while nobody knows
(a stream that is written; a file says how long it is), and which object. It is called first with 0, then after each
piece or part, on the threads that move them, never twice at a time for one object; a read that begins anew starts at 0
again. It delays the transfer while it runs, and what it raises ends the transfer; a write that goes in one request is
done by then.
"""

ProgressOption: TypeAlias = "bool | ReportProgress"
"""`progress=`: True shows bars (with `arrowseal[progress]`) where a terminal or a notebook is attached, a function is
told instead, False says nothing.
"""

_SIZELESS: Final = {"ncols": 80, "nrows": 24}


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
    """A bar of tqdm on standard error, or in the notebook, with the rate and the time that is left."""

    def __init__(self, total: int | None, description: str, unit: str) -> None:
        tqdm = require("tqdm.auto", "progress").tqdm  # picks the bar of the notebook by itself
        place: dict[str, Any] = {} if in_notebook() else {"file": sys.stderr}
        self._bar = tqdm(
            total=total,
            desc=description,
            unit=unit,
            unit_scale=unit == "B",
            leave=False,
            **_SIZELESS if _is_sizeless() else {"dynamic_ncols": True},
            **place,
        )
        self._lock = threading.Lock()  # that of tqdm guards the screen, not the count

    def advance(self, amount: int = 1, *, doing: str | None = None) -> None:
        """Move the bar."""
        with self._lock:
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
        show = attached()
    if not show or find_spec("tqdm") is None:
        return SilentProgress()
    return BarProgress(total, description, unit)


def attached() -> bool:
    """Whether somebody looks: standard error is a terminal, or this is a notebook."""
    return (sys.stderr is not None and sys.stderr.isatty()) or in_notebook()


def _is_sizeless() -> bool:
    """Whether standard error is a terminal without a window, of 0 columns: tqdm would show nothing there."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns == 0
    except (OSError, ValueError):
        return False


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class ObjectProgress:
    """How far one object is. This one tells nobody; safe to call from several threads."""

    expected: int | None = None
    """How long the content of a stream will be as far as anybody can say before it ends."""

    def begin(self, total: int | None) -> None:
        """The object has so many stored bytes, or nobody knows yet; none of them has moved."""

    def advance(self, count: int) -> None:
        """So many more have moved. Raises what the caller's function raises."""

    def close(self) -> None:
        """Nothing more comes; what is shown goes."""


SILENT: Final = ObjectProgress()


class ReportedProgress(ObjectProgress):
    """Tells a function."""

    def __init__(self, report: ReportProgress, location: ObjectLocation, expected: int | None = None) -> None:
        self.expected = expected
        self._report = report
        self._location = location
        self._done = 0
        self._total: int | None = None
        self._lock = threading.Lock()

    def begin(self, total: int | None) -> None:
        with self._lock:
            self._done, self._total = 0, total
            self._report(0, total, self._location)

    def advance(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._report(self._done, self._total, self._location)


class ObjectBar(ObjectProgress):
    """Shows a bar, for an object that takes more than one piece."""

    def __init__(self, description: str, expected: int | None = None) -> None:
        self.expected = expected
        self._description = description
        self._total: int | None = None
        self._bar: BarProgress | None = None
        self._closed = False
        self._lock = threading.Lock()

    def begin(self, total: int | None) -> None:
        with self._lock:
            self._take_away()
            self._total = total

    def advance(self, count: int) -> None:
        with self._lock:
            if self._bar is None and not self._closed and count != self._total:
                self._bar = BarProgress(self._total, self._description, "B")
            if self._bar is not None:
                self._bar.advance(count)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._take_away()

    def _take_away(self) -> None:
        if self._bar is not None:
            self._bar.__exit__()
            self._bar = None


def check_progress(option: Any) -> ProgressOption:
    """The option itself. Raises `ConfigurationError` for anything else, `MissingExtraError` for bars without tqdm."""
    if option is True:
        require("tqdm", "progress")
    elif option is not False and not callable(option):
        raise ConfigurationError("progress= is True, False, or a function of (bytes_done, bytes_total, location)")
    return option  # type: ignore[no-any-return]


def object_progress(
    option: ProgressOption, doing: str, location: ObjectLocation, expected: int | None = None
) -> ObjectProgress:
    """The progress of one object, as the option says; to be closed."""
    if option is False or (option is True and not attached()):
        return SILENT
    if option is True:
        name = location.name or str(location)  # of a dataset, its prefix
        return ObjectBar(f"{doing} {name}", expected)
    return ReportedProgress(option, location, expected)


class Tracked(Protocol):
    """What has a progress: `arrowseal.counters.Operation`."""

    progress: ObjectProgress


def tracked(
    operation: Tracked, option: ProgressOption, doing: str, location: ObjectLocation
) -> contextlib.AbstractContextManager[None]:
    """Inside this block, `operation` tells how far one object is; without an option it goes on as it did."""
    return _AS_BEFORE if option is False else _tracked(operation, option, doing, location)


_AS_BEFORE: Final = contextlib.nullcontext()


@contextlib.contextmanager
def _tracked(operation: Tracked, option: ProgressOption, doing: str, location: ObjectLocation) -> Iterator[None]:
    before, operation.progress = operation.progress, object_progress(option, doing, location)
    try:
        yield
    finally:
        operation.progress.close()
        operation.progress = before
