"""What each operation took: one row an operation, as a frame, a summary of CSE against no-CSE, and a chart.

Every `Client` has its own `Counters`. They hold numbers, names (of buckets, of objects, of KMS keys) and labels: no
data, no key material and no encryption context.
"""

from __future__ import annotations

import html
import threading
import time
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, get_args

from arrowseal.extras import require
from arrowseal.fork_lock import ForkLock
from arrowseal.kms_counts import KmsCalls
from arrowseal.progress import SILENT, ObjectProgress

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from matplotlib.figure import Figure

    _Lock = threading.Lock | ForkLock

Section = Literal["kms", "s3", "crypto", "decode"]
_SECTIONS: Final[tuple[Section, ...]] = get_args(Section)

MAX_RECORDS = 100_000
"""Rows kept by default, some 40 MB; the oldest go first."""

_COMPRESSIONS = frozenset({"gz", "bz2", "zst", "xz", "lz4", "zip"})
_SHOWN_ROWS = 10


class Located(Protocol):
    """Anything that names an object: `arrowseal.ObjectLocation`."""

    @property
    def bucket(self) -> str: ...
    @property
    def key(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRecord:
    """One finished operation. Seconds are wall seconds unless they say CPU; sizes are bytes."""

    timestamp: datetime
    """Its start, UTC."""
    bucket: str
    key: str
    file_type: str | None
    """The table format of a face, otherwise the extension of the key (not that of a compression); None without one."""
    operation: str
    """`"get"`, `"put"`, or the function of the face: `"read_csv"`."""
    encryption: str | None
    """How the object is protected, `"CSE V3"` or `"PLAIN"` for example; None if not known."""
    rows: int | None
    """Rows of the table; None for operations that know no tables."""
    plaintext_bytes: int
    stored_bytes: int
    wall_seconds: float
    cpu_seconds: float
    """CPU of the whole process meanwhile, all threads: with operations side by side each counts the others too."""
    kms_seconds: float
    """Wall seconds with at least one KMS call under way; S3 and crypto in the same way. They may overlap."""
    s3_seconds: float
    crypto_seconds: float
    decode_seconds: float = 0.0
    """Making the table of the bytes, or the bytes of the table; with a library that does so while bytes move, these
    overlap. What a lazy frame does when its query runs is not seen."""
    peak_memory_bytes: int = 0
    """The most bytes of content that the operation held at a time in buffers of its own: the object on a read, the
    sealed copy or the parts on their way on a write. Not in it: what the caller gave, and what a table library takes to
    make the table. The memory of the process is not taken for it: it would count whatever runs beside."""
    requests: int
    """Requests to S3."""
    kms_calls: int
    retries: int = 0
    """Requests and KMS calls that were repeated by us; boto3's own repetitions are not seen."""
    resumed_bytes: int = 0
    """Bytes that were received before a body broke off and did not have to be received again."""
    kms_calls_by_key: tuple[tuple[str, str, int], ...] = ()
    """The KMS calls by API and key; no column of the frame: `Counters.kms_calls_by_key` has them all."""


COLUMNS = tuple(field.name for field in fields(OperationRecord) if field.name != "kms_calls_by_key")


class Operation:
    """An operation under way. Its fields end up in its `OperationRecord`; its methods are for however many threads."""

    def __init__(
        self,
        operation: str,
        location: Located,
        file_type: str | None = None,
        make_lock: Callable[[], _Lock] = threading.Lock,
    ) -> None:
        self.operation = operation
        self.location = location
        self.file_type = file_type
        self.encryption: str | None = None
        self.rows: int | None = None
        self.plaintext_bytes = 0
        self.stored_bytes = 0
        self.requests = 0
        self.retries = 0
        self.resumed_bytes = 0
        self.progress: ObjectProgress = SILENT
        """Is told of the stored bytes that have moved."""
        self._kms: dict[tuple[str, str], int] = {}
        self._held = 0
        self._most_held = 0
        self._sections: dict[Section, _Timed] = {}
        self._lock = make_lock()
        self._started = time.time()
        self._cpu = time.process_time()
        self._wall = time.perf_counter()

    @property
    def kms_seconds(self) -> float:
        """Wall seconds so far with a KMS call under way."""
        return self._seconds("kms")

    @property
    def s3_seconds(self) -> float:
        """Wall seconds so far with an S3 request under way."""
        return self._seconds("s3")

    @property
    def crypto_seconds(self) -> float:
        """Wall seconds so far spent sealing or opening."""
        return self._seconds("crypto")

    @property
    def decode_seconds(self) -> float:
        """Wall seconds so far spent between bytes and table."""
        return self._seconds("decode")

    @property
    def peak_memory_bytes(self) -> int:
        """The most that was held at a time so far."""
        return self._most_held

    @property
    def kms_calls(self) -> int:
        """KMS calls so far, of all APIs and keys."""
        return sum(self._kms.values()) if self._kms else 0

    def count_kms(self, action: str, key: str) -> None:
        """KMS was asked: `action` is the name of its API, `key` that of the key, an ARN once it is known."""
        with self._lock:
            self._kms[action, key] = self._kms.get((action, key), 0) + 1

    def count_request(self, count: int = 1) -> None:
        """S3 is asked, or with -1 was not after all."""
        with self._lock:
            self.requests += count

    def count_retry(self, resumed_bytes: int = 0) -> None:
        """A request or KMS call is about to be repeated, after so many bytes that are kept."""
        with self._lock:
            self.retries += 1
            self.resumed_bytes += resumed_bytes

    def hold(self, count: int) -> None:
        """A buffer of so many bytes was taken for content; on any thread."""
        with self._lock:
            self._held += count
            self._most_held = max(self._most_held, self._held)

    def release(self, count: int) -> None:
        """It was given up, or is the caller's now."""
        with self._lock:
            self._held -= count

    def timed(self, section: Section) -> _Timed:
        """Counts the block as time in `section`. Blocks that overlap, nested or on several threads, count once, so
        that no section is ever longer than the operation.
        """
        timed = self._sections.get(section)
        # Of two threads that are the first, one makes it.
        return timed if timed is not None else self._sections.setdefault(section, _Timed(self._lock))

    def _seconds(self, section: Section) -> float:
        timed = self._sections.get(section)
        return 0.0 if timed is None else timed.seconds

    def row(self) -> tuple[Any, ...]:
        """What `_record` makes a record of, as of now. Most rows are never looked at, so that they cost little."""
        return (
            self._started,
            self.location.bucket,
            self.location.key,
            self.file_type,
            self.operation,
            self.encryption,
            self.rows,
            self.plaintext_bytes,
            self.stored_bytes,
            time.perf_counter() - self._wall,
            time.process_time() - self._cpu,
            *[0.0 if timed is None else timed.seconds for timed in map(self._sections.get, _SECTIONS)],
            self._most_held,
            self.requests,
            self.kms_calls,
            self.retries,
            self.resumed_bytes,
            tuple((action, key, calls) for (action, key), calls in self._kms.items()) if self._kms else (),
        )


class _Timed:
    """The time of one section of an operation, which its blocks share. A class, since a generator costs several times
    as much, several times an object.
    """

    __slots__ = ("_entered", "_inside", "_lock", "seconds")

    def __init__(self, lock: _Lock) -> None:
        self.seconds = 0.0
        self._inside = 0
        self._entered = 0.0
        self._lock = lock

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._entered = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self.seconds += time.perf_counter() - self._entered


def _counters(max_records: int, rows: tuple[tuple[Any, ...], ...]) -> Counters:
    """Those of a pickle."""
    made = Counters(max_records)
    made._rows.extend(rows)  # noqa: SLF001 - the one caller
    return made


def _record(row: tuple[Any, ...]) -> OperationRecord:
    """A record of what an operation left."""
    values = dict(zip((*COLUMNS, "kms_calls_by_key"), row, strict=True))
    values["timestamp"] = datetime.fromtimestamp(values["timestamp"], UTC)
    values["file_type"] = values["file_type"] or _extension(values["key"])
    return OperationRecord(**values)


_under_way: ContextVar[tuple[tuple[Counters, Operation], ...]] = ContextVar("arrowseal_operations", default=())
"""Outermost first. Operations of two clients may nest, in a copy between them for example: each counts its own."""


class Counters:
    """The newest `max_records` operations of a client, oldest first. Safe to use from several threads. A pickle or a
    copy has the rows of its moment, and counts on its own; a client that is pickled leaves its counters at home.

    Example:
        >>> from arrowseal.location import ObjectLocation
        >>> counters = Counters()
        >>> with counters.operation("read_csv", ObjectLocation("trips", "2013/flights.csv")) as op:
        ...     op.encryption, op.rows = "CSE V3", 336_776
        >>> [(record.operation, record.file_type, record.rows) for record in counters]
        [('read_csv', 'csv', 336776)]
    """

    def __init__(self, max_records: int = MAX_RECORDS) -> None:
        self._rows: deque[tuple[Any, ...]] = deque(maxlen=max_records)
        self._lock = ForkLock()

    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            return _counters, (self._rows.maxlen, tuple(self._rows))

    def operation(
        self, operation: str, location: Located, *, file_type: str | None = None
    ) -> AbstractContextManager[Operation]:
        """Counts the block as one operation. Inside another operation of the same counters it joins that one and
        leaves no row of its own: the `get` within a `read_csv`. A block that raises leaves no row.

        Threads started within the block do not join it by themselves; hand them the `Operation`.
        """
        outer = self._joined()
        return nullcontext(outer) if outer is not None else _Counted(self, Operation(operation, location, file_type))

    def begin(self, operation: str, location: Located) -> tuple[Operation, Callable[[], None]]:
        """`operation` for work that is no block: also what to call when it has succeeded, which leaves the row."""
        outer = self._joined()
        if outer is not None:
            return outer, lambda: None
        started = Operation(operation, location, make_lock=ForkLock)  # what has it may outlive a fork
        return started, lambda: self.keep(started)

    def _joined(self) -> Operation | None:
        for counters, outer in _under_way.get():
            if counters is self:
                return outer
        return None

    def keep(self, finished: Operation) -> None:
        """Leave the row of an operation."""
        row = finished.row()
        with self._lock:
            self._rows.append(row)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[OperationRecord]:
        """The rows of this moment; operations that end meanwhile do not disturb."""
        with self._lock:
            rows = tuple(self._rows)
        return map(_record, rows)

    def clear(self) -> None:
        """Forgets all rows. Operations under way still leave theirs."""
        with self._lock:
            self._rows.clear()

    def to_arrow(self) -> pa.Table:
        """One row an operation, with the columns of `OperationRecord`."""
        import pyarrow as pa

        whole, real, text = pa.int64(), pa.float64(), pa.string()
        types = {"int": whole, "int | None": whole, "float": real, "str": text, "str | None": text}
        types["datetime"] = pa.timestamp("us", tz="UTC")
        schema = pa.schema(
            [(field.name, types[str(field.type)]) for field in fields(OperationRecord) if field.name in COLUMNS]
        )
        records = tuple(self)
        return pa.table({name: [getattr(record, name) for record in records] for name in COLUMNS}, schema=schema)

    def to_pandas(self) -> pd.DataFrame:
        """`to_arrow` as a pandas frame. Raises `MissingExtraError` without pandas."""
        require("pandas", "pandas")
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        # Integers also where an operation has no rows: a count is no float.
        return frame.astype({"rows": "Int64"})

    def to_polars(self) -> pl.DataFrame:
        """`to_arrow` as a polars frame. Raises `MissingExtraError` without polars."""
        frame: pl.DataFrame = require("polars", "polars").from_arrow(self.to_arrow())
        return frame

    def kms_calls_by_key(self) -> KmsCalls:
        """The KMS calls of these operations by API and key: iterable, and a frame by `to_pandas`, `to_polars` or
        `to_arrow`.
        """
        with self._lock:
            rows = tuple(self._rows)
        return KmsCalls.summed(row[-1] for row in rows)

    def summary(self) -> pa.Table:
        """CSE against no-CSE: a row for each operation, file type and encryption. See `arrowseal.comparison`."""
        from arrowseal.comparison import summarise

        return summarise(self)

    def plot(self, path: str | os.PathLike[str] | None = None, *, title: str | None = None) -> Figure:
        """The summary as a figure: bars of CSE against no-CSE, and where the time went. Written to `path`, if given, as
        PNG or what its extension says. Needs no display and leaves the matplotlib backend of the process alone.

        Raises:
            MissingExtraError: matplotlib is not installed; `arrowseal[plot]` brings it.
            ValueError: there is no operation to show.
        """
        from arrowseal.comparison import draw, summarise

        return draw(summarise(self), path, title=title)

    def __repr__(self) -> str:
        return f"<Counters: {len(self)} operations>"

    def _repr_html_(self) -> str:
        records = tuple(self)
        shown = records[-_SHOWN_ROWS:]
        head = "".join(f"<th>{name}</th>" for name in COLUMNS)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_shown(getattr(record, name)))}</td>" for name in COLUMNS) + "</tr>"
            for record in shown
        )
        caption = f"{len(records)} operations" + (f", the last {len(shown)}" if len(shown) < len(records) else "")
        return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class _Counted:
    """The block of `Counters.operation`."""

    __slots__ = ("_counters", "_operation", "_token")

    def __init__(self, counters: Counters, operation: Operation) -> None:
        self._counters = counters
        self._operation = operation

    def __enter__(self) -> Operation:
        self._token = _under_way.set((*_under_way.get(), (self._counters, self._operation)))
        return self._operation

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _under_way.reset(self._token)
        if kind is None:
            self._counters.keep(self._operation)


def _extension(key: str) -> str | None:
    name = key.rpartition("/")[2].lower()
    suffixes = [] if name.endswith(".") else name.lstrip(".").split(".")[1:]
    while suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes else None


def _shown(value: Any) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:.4f}"
        case int():
            return f"{value:,}"
        case datetime():
            return value.isoformat(sep=" ", timespec="milliseconds")
        case _:
            return str(value)
