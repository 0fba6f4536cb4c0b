"""Arrow IPC for polars: the columns and record batches that a query needs are fetched, and polars itself decodes them.

polars reads IPC out of whole files. So pyarrow fetches the buffers of those columns, and they become a file of their
own in memory, a few batches at a time. Where all columns of an object that is not long are needed, where the library
before Arrow's own format (Feather 1) wrote it, or a column is of a type that pyarrow does not know, polars gets all.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from arrowseal.extras import require
from arrowseal.tables.arrow_files import no_rows
from arrowseal.tables.formats import TableFormat
from arrowseal.tables.ipc import IpcBatches, ipc_file
from arrowseal.tables.lazy import LazyTable, Opened, Query
from arrowseal.tables.polars_frames import by_name, rows_alone, with_row_numbers
from arrowseal.tables.ranges import whole_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from arrowseal.tables.ranges import Ranges

HELD_BYTES: Final = 512 * 2**20
"""Up to this size all columns of all rows are fetched at once, which takes half of the time, and twice the memory."""
AT_A_TIME_BYTES: Final = 64 * 2**20
"""Of record batches, with all of their columns, for one file in memory."""
_PLANNED: Final = frozenset({"n_rows", "row_index_name", "row_index_offset", "glob", "try_parse_hive_dates"})


class OpenedIpc(Opened):
    """An IPC object by its footer."""

    def __init__(self, source: Ranges) -> None:
        self.source = source
        self._batches: IpcBatches | None = None
        if not source.in_memory:
            with suppress(pa.ArrowException):  # what is wrong, or only unknown to pyarrow, polars says
                self._batches = IpcBatches(source)
        content = self._content() if self._batches is None else _file(no_rows(self._batches.schema))
        super().__init__(source, _scan(content).collect_schema())

    def frames(self, query: Query) -> Iterator[pl.DataFrame]:
        """What a query asks for, a few batches at a time."""
        columns = self.schema.names() if query.columns is None else query.columns
        batches = self._batches
        of_all = len(columns) >= len(self.schema) and query.rows is None and self.source.size <= HELD_BYTES
        if batches is None or of_all or not set(columns) <= set(self.schema) or (query.filters and not columns):
            yield query.of(_scan(self._content()))
            return
        if not columns and query.rows is None:
            yield rows_alone(sum(batches.rows()))
            return
        wanted, rows = self._wanted(batches, query)
        if not columns:
            yield rows_alone(rows[1])
            return
        yield self.schema.to_frame().select(by_name(*columns))
        for group in _groups(wanted, batches):
            table = batches.read([at for at, name in enumerate(self.schema) if name in columns], group)
            part = query._replace(columns=columns, rows=None)
            if query.rows is not None:
                skip, left = rows
                count = min(table.num_rows - skip, left)
                part, rows = part._replace(rows=(skip, count)), (0, left - count)
            yield part.of(_scan(_file(table)))

    def _wanted(self, batches: IpcBatches, query: Query) -> tuple[Sequence[int], tuple[int, int]]:
        """The batches that have the rows of a query, and where those begin in the first of them, and how many."""
        if query.rows is None:
            return range(batches.count), (0, 0)
        starts = [0, *accumulate(batches.rows())]
        begin, end = query.span(starts[-1])
        wanted = [at for at in range(batches.count) if starts[at] < end and begin < starts[at + 1]]
        return wanted, (begin - starts[wanted[0]] if wanted else 0, end - begin)

    def _content(self) -> bytes:
        return whole_bytes(self.source)


def _file(table: pa.Table) -> bytes:
    content: bytes = ipc_file(table).to_pybytes()
    return content


def empty_file(source: Ranges) -> bytes | None:
    """A file of the same schema, which may have its rows. None where a type is none that pyarrow knows."""
    if source.in_memory:
        return whole_bytes(source)
    with suppress(pa.ArrowException):
        return _file(no_rows(IpcBatches(source).schema))
    return None


def _scan(content: bytes) -> pl.LazyFrame:
    frame: pl.LazyFrame = require("polars", "polars").scan_ipc(content)
    return frame


def _groups(wanted: Sequence[int], batches: IpcBatches) -> Iterator[list[int]]:
    """Batches that are read at a time; all where values are numbers in dictionaries, which then are of one file."""
    if batches.has_dictionaries:
        if wanted:
            yield [*wanted]
        return
    group: list[int] = []
    held = 0
    for at in wanted:
        if group and held + batches.bytes_of(at) > AT_A_TIME_BYTES:
            yield group
            group, held = [], 0
        group.append(at)
        held += batches.bytes_of(at)
    if group:
        yield group


class LazyIpc(LazyTable):
    """Projection and slices decide on what is fetched."""

    table_format = TableFormat.IPC
    operation = "scan_ipc"
    size_hint = 0

    def open(self, source: Ranges) -> OpenedIpc:
        return OpenedIpc(source)

    def read(self, opened: Opened, query: Query) -> Iterator[pl.DataFrame]:
        assert isinstance(opened, OpenedIpc)  # noqa: S101 - by the method above
        return opened.frames(query)

    def frame(self) -> pl.LazyFrame:
        return with_row_numbers(super().frame(), self._arguments)


def reads_batches(arguments: dict[str, Any]) -> bool:
    """Whether `LazyIpc` honours all arguments; otherwise polars itself does, on all of the content."""
    return {name for name, value in arguments.items() if value is not None and value is not False} <= _PLANNED
