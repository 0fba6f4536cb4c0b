"""Parquet for polars: the row groups and columns that a query needs are fetched, and polars itself decodes them.

polars reads Parquet out of files or whole bytes only. So what the planner of `arrowseal.tables.parquet` has fetched
lies in a file in memory, each chunk in its place, and polars is asked for those columns and rows of it. Numbers and
times alone are decoded by pyarrow: that saves the copy into the file, and polars takes the columns as they are. Where
there are no such files (off Linux), and for tables that pyarrow cannot plan, polars gets the whole object.
"""

from __future__ import annotations

from contextlib import suppress
from functools import reduce
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from arrowseal.extras import require
from arrowseal.tables.formats import TableFormat
from arrowseal.tables.lazy import Filter, LazyTable, Opened, Query
from arrowseal.tables.parquet import ParquetFooter
from arrowseal.tables.parquet_decoding import decoded, fetched_waves
from arrowseal.tables.polars_frames import by_name, frame_of, has_patterns, rows_alone, with_row_numbers
from arrowseal.tables.ranges import whole_bytes
from arrowseal.tables.sparse_file import is_available, sparse_file
from arrowseal.tables.statistics import as_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from arrowseal.tables.ranges import Ranges

PLANNED: Final = frozenset(
    {"n_rows", "row_index_name", "row_index_offset", "parallel", "use_statistics", "low_memory", "cache", "glob"}
    | {"rechunk", "hidden_file_prefix", "try_parse_hive_dates", "memory_map", "columns", "retries"}
)
"""Arguments of polars that planned reads honour, or that change nothing about one object."""
_OF_SCAN: Final = frozenset({"parallel", "use_statistics", "low_memory"})


class OpenedParquet(Opened):
    """A Parquet object by its footer."""

    def __init__(self, source: Ranges, arguments: dict[str, Any]) -> None:
        self.source = source
        self._arguments = {name: value for name, value in arguments.items() if name in _OF_SCAN}
        self.footer: ParquetFooter | None = None
        if is_available():
            with suppress(pa.ArrowNotImplementedError):  # types that pyarrow does not know: integers of 128 bits
                self.footer = ParquetFooter(source, filtered=True)
        content = self._content() if self.footer is None else self.footer.buffer.to_pybytes()
        rows = None if self.footer is None else self.footer.metadata.num_rows
        super().__init__(source, self._scan(content).collect_schema(), rows)

    def frames(self, query: Query) -> Iterator[pl.DataFrame]:
        """What a query asks for, wave by wave."""
        columns = self.schema.names() if query.columns is None else query.columns
        if self.footer is None or not set(columns) <= set(self.schema) or (query.filters and not columns):
            yield query.of(self._scan(self._content()))
            return
        footer, starts = self.footer, self._starts(self.footer)
        begin, end = query.span(starts[-1])
        if not columns:
            yield rows_alone(end - begin)
            return
        groups = [
            group
            for group in self._groups(footer, pruning(query.filters, self.schema))
            if starts[group] < end and begin < starts[group + 1]
        ]
        if not groups:
            yield self.schema.to_frame().select(by_name(*columns))
            return
        wanted = footer.plan(columns, groups)
        if self._is_plain(footer, columns):
            for table, plan in decoded(footer, wanted, {}, {}):
                first, last = starts[plan.row_groups[0]], starts[plan.row_groups[-1] + 1]
                kept = table.slice(max(0, begin - first), table.num_rows - max(0, begin - first) - max(0, last - end))
                yield frame_of(kept).select(by_name(*columns))
            return
        tail = self.source.size - footer.buffer.size, footer.buffer
        for fetched, plan in fetched_waves(footer, wanted):
            with sparse_file(fetched, tail) as file:
                for first, last in _runs(plan.row_groups):
                    # The slice keeps polars within the row groups that are there.
                    start, stop = max(begin, starts[first]), min(end, starts[last + 1])
                    part = Query(columns, query.filters, (start, stop - start))
                    yield part.of(self._scan(file))

    def _is_plain(self, footer: ParquetFooter, columns: Sequence[str]) -> bool:
        """Whether all are numbers or times: polars takes them from pyarrow without a copy."""
        kinds = [self.schema[name] for name in columns]
        if not all(kind.is_numeric() or kind.is_temporal() for kind in kinds) or any(map(_is_rare, kinds)):
            return False
        fields = pa.schema([footer.schema.field(name) for name in columns])
        alike: bool = frame_of(fields.empty_table()).dtypes == kinds
        return alike

    def _content(self) -> bytes:
        return whole_bytes(self.source)

    def _scan(self, file: Any) -> pl.LazyFrame:
        frame: pl.LazyFrame = require("polars", "polars").scan_parquet(file, **self._arguments)
        return frame

    def _starts(self, footer: ParquetFooter) -> list[int]:
        return [0, *accumulate(footer.rows(group) for group in range(footer.metadata.num_row_groups))]

    def _groups(self, footer: ParquetFooter, expression: Any) -> list[int]:
        try:
            return footer.row_groups(expression, no_nan=True)
        except pa.ArrowException:  # types that pyarrow does not compare, and polars may
            return footer.row_groups()


def _is_rare(kind: Any) -> bool:
    # Decimals are converted in any case, times of day are where the libraries differ.
    return bool(kind.is_decimal() or kind == require("polars", "polars").Time)


def _runs(groups: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of the row groups that follow each other.

    >>> list(_runs([0, 1, 4]))
    [(0, 1), (4, 4)]
    """
    first = groups[0]
    for group, following in zip(groups, [*groups[1:], None], strict=True):
        if following != group + 1:
            yield first, group
            first = following if following is not None else first


def read_columns(source: Ranges, arguments: dict[str, Any]) -> pl.DataFrame:
    """`polars.read_parquet` of a source with these arguments, for which `reads_columns` holds."""
    polars = require("polars", "polars")
    if source.in_memory:
        whole: pl.DataFrame = polars.read_parquet(whole_bytes(source), **arguments)
        return whole
    rows = None if arguments.get("n_rows") is None else (0, arguments["n_rows"])
    opened = OpenedParquet(source, arguments)
    columns = arguments.get("columns")
    if columns is not None and has_patterns(columns):
        columns = opened.schema.to_frame().select(columns).columns
    for name in columns or ():
        if name not in opened.schema:
            raise KeyError(name)
    frame: pl.DataFrame = polars.concat(opened.frames(Query(columns, (), rows)))
    if arguments.get("row_index_name") is not None:
        frame = frame.with_row_index(arguments["row_index_name"], arguments.get("row_index_offset", 0))
    return frame


def reads_columns(arguments: dict[str, Any]) -> bool:
    """Whether `read_columns` honours all arguments, and they need less than the whole object."""
    columns = arguments.get("columns")
    named = isinstance(columns, (list, tuple)) and all(isinstance(name, str) for name in columns) and len(columns) > 0
    return (named or (columns is None and arguments.get("n_rows") is not None)) and is_planned(arguments)


def is_planned(arguments: dict[str, Any]) -> bool:
    """Whether planned reads honour all arguments of `scan_parquet` or `read_parquet`; otherwise polars itself does."""
    given = {name for name, value in arguments.items() if value is not None and value is not False}
    return given <= PLANNED


class LazyParquet(LazyTable):
    """Projection, slices and filters decide on what is fetched; filters by the statistics of row groups."""

    table_format = TableFormat.PARQUET
    operation = "scan_parquet"

    def open(self, source: Ranges) -> OpenedParquet:
        return OpenedParquet(source, self._arguments)

    def read(self, opened: Opened, query: Query) -> Iterator[pl.DataFrame]:
        assert isinstance(opened, OpenedParquet)  # noqa: S101 - by the method above
        if not self._arguments.get("use_statistics", True):
            query = query._replace(filters=())
        return opened.frames(query)

    def frame(self) -> pl.LazyFrame:
        return with_row_numbers(super().frame(), self._arguments)


def pruning(filters: Sequence[Filter], schema: pl.Schema) -> Any:
    """A filter of pyarrow that keeps at least what these keep; None where statistics cannot help.

    Only over types whose order is the same in polars, Arrow and the statistics. It is not for floats: NaN is the
    greatest number to polars, and in no statistics; so their filters count if NaN does not pass them, and if none
    compares with it, which is never true to Arrow. Nor if one looks for numbers in a list, where -0.0 is not 0.0 to
    Arrow.
    """
    usable = [
        each.pyarrow
        for each in filters
        if each.pyarrow is not None and "nan" not in as_text(each.pyarrow).lower() and _comparable(each, schema)
    ]
    return reduce(lambda one, other: one & other, usable) if usable else None


def _comparable(given: Filter, schema: pl.Schema) -> bool:
    polars = require("polars", "polars")
    kinds = [(name, schema.get(name)) for name in set(given.expr.meta.root_names())]
    floats = [name for name, kind in kinds if kind is not None and kind.is_float()]
    if floats:
        if len(kinds) > 1 or "is_in(" in as_text(given.pyarrow):
            return False
        nan = polars.DataFrame({floats[0]: [float("nan")]}, schema={floats[0]: schema[floats[0]]})
        return not len(nan.filter(given.expr))
    return all(_ordered_alike(kind) for _, kind in kinds)


def _ordered_alike(kind: Any) -> bool:
    polars = require("polars", "polars")
    if isinstance(kind, polars.Datetime):
        # Literals pass through datetimes of Python, which end at microseconds, and polars moves those of a zone by the
        # zone's difference from UTC a second time.
        return kind.time_unit != "ns" and kind.time_zone in (None, "UTC")
    return kind in (polars.String, polars.Date, polars.Boolean) or (kind is not None and bool(kind.is_integer()))
