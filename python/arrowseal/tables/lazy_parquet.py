"""Parquet for lazy frames of polars: the row groups and columns that a query needs, decoded by pyarrow.

polars itself reads Parquet from a file as a whole only. So its schema is taken from the footer by polars, its rows by
the planner of `arrowseal.tables.parquet`; columns whose types would not come out as polars' own are left to polars,
which then gets the whole object.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from arrowseal.extras import require
from arrowseal.tables.formats import TableFormat
from arrowseal.tables.lazy import Filter, LazyTable, Opened, Query
from arrowseal.tables.parquet import ParquetFooter, fetched_waves

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from arrowseal.tables.ranges import Ranges

PLANNED: Final = frozenset(
    {"n_rows", "row_index_name", "row_index_offset", "parallel", "use_statistics", "low_memory", "cache", "glob"}
    | {"rechunk", "hidden_file_prefix", "try_parse_hive_dates", "memory_map", "columns", "retries"}
)
"""Arguments of polars that planned reads honour, or that change nothing about one object."""


class OpenedParquet(Opened):
    """A Parquet object by its footer."""

    def __init__(self, source: Ranges) -> None:
        self.source = source
        polars = require("polars", "polars")
        self._alike: set[str] = set()
        try:
            self.footer: Final = ParquetFooter(source, filtered=True)
        except pa.ArrowNotImplementedError:  # types that pyarrow does not know: integers of 128 bits
            super().__init__(source, polars.scan_parquet(self._content()).collect_schema())
            return
        schema = polars.scan_parquet(self.footer.buffer.to_pybytes()).collect_schema()
        super().__init__(source, schema, self.footer.metadata.num_rows)
        frame = polars.from_arrow(self.footer.schema.empty_table())
        self._alike = {name for name, kind in frame.schema.items() if schema.get(name) == kind}

    def _content(self) -> bytes:
        return bytes(self.source.read_at(0, self.source.size))

    def frames(self, query: Query) -> Iterator[pl.DataFrame]:
        """What a query asks for, wave by wave."""
        polars = require("polars", "polars")
        columns = self.schema.names() if query.columns is None else query.columns
        if not columns or not self._alike.issuperset(columns):
            yield query.of(polars.scan_parquet(self._content()))
            return
        begin, end = self._rows(query.rows)
        expression = pruning(query.filters, self.schema)
        for file, plan in fetched_waves(self.footer, self.footer.plan(columns, self._groups(expression, begin, end))):
            table = self.footer.open(file, {}).read_row_groups(plan.row_groups, columns)
            yield polars.from_arrow(self._cut(table, plan.row_groups, begin, end), rechunk=False).select(columns)

    def _rows(self, rows: tuple[int, int] | None) -> tuple[int, int]:
        count: int = self.footer.metadata.num_rows
        if rows is None:
            return 0, count
        offset, length = rows
        begin = offset if offset >= 0 else count + offset
        return max(0, begin), max(0, min(count, begin + length))

    def _starts(self) -> list[int]:
        starts = [0]
        for group in range(self.footer.metadata.num_row_groups):
            starts.append(starts[-1] + self.footer.rows(group))
        return starts

    def _groups(self, expression: Any, begin: int, end: int) -> list[int]:
        try:
            groups = self.footer.row_groups(expression)
        except pa.ArrowException:  # types that pyarrow does not compare, and polars may
            groups = self.footer.row_groups()
        starts = self._starts()
        return [group for group in groups if starts[group] < end and begin < starts[group + 1]]

    def _cut(self, table: pa.Table, groups: Sequence[int], begin: int, end: int) -> pa.Table:
        """Without the rows before and after those of the slice."""
        starts = self._starts()
        if not groups or (begin <= starts[groups[0]] and starts[groups[-1] + 1] <= end):
            return table
        first = max(0, begin - starts[groups[0]])
        last = max(0, starts[groups[-1] + 1] - end)
        return table.slice(first, table.num_rows - first - last)


def read_columns(source: Ranges, arguments: dict[str, Any]) -> pl.DataFrame:
    """`polars.read_parquet` of a source with these arguments, for which `reads_columns` holds."""
    polars = require("polars", "polars")
    if source.in_memory:
        whole: pl.DataFrame = polars.read_parquet(bytes(source.read_at(0, source.size)), **arguments)
        return whole
    rows = None if arguments.get("n_rows") is None else (0, arguments["n_rows"])
    opened = OpenedParquet(source)
    for name in arguments.get("columns") or ():
        if name not in opened.schema:
            raise KeyError(name)
    frame: pl.DataFrame = polars.concat(opened.frames(Query(arguments.get("columns"), (), rows)))
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
        return OpenedParquet(source)

    def read(self, opened: Opened, query: Query) -> Iterator[pl.DataFrame]:
        assert isinstance(opened, OpenedParquet)  # noqa: S101 - by the method above
        if not self._arguments.get("use_statistics", True):
            query = query._replace(filters=())
        return opened.frames(query)

    def frame(self) -> pl.LazyFrame:
        frame = super().frame()
        if self._arguments.get("n_rows") is not None:
            frame = frame.head(self._arguments["n_rows"])
        if self._arguments.get("row_index_name") is not None:
            frame = frame.with_row_index(self._arguments["row_index_name"], self._arguments.get("row_index_offset", 0))
        return frame


def pruning(filters: Sequence[Filter], schema: pl.Schema) -> Any:
    """A filter of pyarrow that keeps at least what these keep; None where statistics cannot help.

    Only over types whose order is the same in polars, Arrow and the statistics. It is not for floats: NaN is the
    greatest number to polars, and in no statistics; so their filters count if NaN does not pass them.
    """
    usable = [each.pyarrow for each in filters if each.pyarrow is not None and _comparable(each.expr, schema)]
    return reduce(lambda one, other: one & other, usable) if usable else None


def _comparable(expr: pl.Expr, schema: pl.Schema) -> bool:
    polars = require("polars", "polars")
    kinds = [(name, schema.get(name)) for name in set(expr.meta.root_names())]
    floats = [name for name, kind in kinds if kind is not None and kind.is_float()]
    if floats:
        if len(kinds) > 1:
            return False
        nan = polars.DataFrame({floats[0]: [float("nan")]}, schema={floats[0]: schema[floats[0]]})
        return not len(nan.filter(expr))
    return all(_ordered_alike(kind) for _, kind in kinds)


def _ordered_alike(kind: Any) -> bool:
    polars = require("polars", "polars")
    if isinstance(kind, polars.Datetime):
        return bool(kind.time_unit != "ns")  # literals pass through datetimes of Python, which end at microseconds
    return kind in (polars.String, polars.Date, polars.Boolean) or (kind is not None and bool(kind.is_integer()))
