"""A table of an object that is read anew each time that somebody asks for it as an Arrow stream."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from arrowseal.exceptions import ObjectChangedError
from arrowseal.tables.arrow_files import file_reader
from arrowseal.tables.parquet import ParquetFooter, ParquetReader
from arrowseal.tables.ranges import Content
from arrowseal.tables.refusal import filter_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from arrowseal.counters import Operation
    from arrowseal.tables.formats import TableFormat
    from arrowseal.tables.ranges import Ranges
    from arrowseal.tables.table_object import TableObject


class Scan:
    """Columns and rows of a table in an object, made by `arrowseal.arrow.scan`: an Arrow stream that can be consumed
    any number of times, by `pa.table`, `pl.DataFrame`, `pd.DataFrame.from_arrow`, DuckDB, ...

    Each stream fetches anew what it needs, and sees the object of its time. Parquet comes in waves of row groups, one
    fetched while one is in use (memory: two of 64 MiB of the object, and what they decode to); other formats at once.
    An error in the middle of a stream reaches its consumer as the Arrow library there words it.

    >>> scan = arrowseal.arrow.scan("s3://lake/trips.parquet", columns=["fare"])  # doctest: +SKIP
    >>> duckdb.sql("SELECT avg(fare) FROM scan")  # doctest: +SKIP
    """

    def __init__(
        self,
        table_object: TableObject,
        table_format: TableFormat,
        columns: list[str] | None,
        options: Mapping[str, Any],
    ) -> None:
        self._table_object: Final = table_object
        self._format: Final = table_format
        self._columns: Final = columns
        self._options: Final = dict(options)
        self._reader: Final = file_reader(table_format, table_object.location, options)

    @property
    def schema(self) -> pa.Schema:
        """The columns of the stream, asked for anew. Raises what `to_reader` does."""
        with self.to_reader() as reader:
            return reader.schema

    def to_reader(self) -> pa.RecordBatchReader:
        """A stream of record batches: the schema is known when it returns, rows are fetched when they are asked for.

        Raises what `arrowseal.arrow.read_table` does, also while it is read.
        """
        counted, succeeded = self._table_object.client.counters.begin("scan", self._table_object.location)
        counted.file_type = self._format.value
        run = _Run(self, counted, succeeded)
        return pa.RecordBatchReader.from_batches(run.schema, run.batches())

    def to_table(self) -> pa.Table:
        """All of it."""
        with self.to_reader() as reader:
            return reader.read_all()

    def __arrow_c_schema__(self) -> object:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.to_reader().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        columns = "all columns" if self._columns is None else ", ".join(self._columns)
        kept = "" if self._options.get("filters") is None else ", filtered"
        return f"<Scan {self._table_object.location}, {self._format.value}: {columns}{kept}>"

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(repr(self))}</code>"

    def __getstate__(self) -> dict[str, Any]:
        return {"arguments": (self._table_object, self._format, self._columns, self._options)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(*state["arguments"])  # type: ignore[misc]

    def tables(self, source: Ranges) -> tuple[pa.Schema, Iterator[pa.Table]]:
        """The schema and the rows of a source."""
        reader = self._reader
        if isinstance(reader, ParquetReader) and reader.reads_waves:
            footer = ParquetFooter(source, filtered=reader.filter is not None)
            return reader.schema(footer, self._columns), reader.tables(footer, self._columns)
        table = reader.read(source, self._columns)
        return table.schema, iter([table])

    def open(self, counted: Operation) -> Ranges:
        """What a run reads from."""
        if isinstance(self._reader, ParquetReader) or self._reader.reads_parts(self._columns):
            return self._table_object.opened(counted)
        with self._table_object.source(counted, whole=True) as content:
            return content

    def guarded(self, source: Ranges, step: Callable[[], Any]) -> Any:
        """`step()` with the errors of `read_table`."""

        def parse(other: Ranges) -> Any:
            return step() if other is source else self.tables(other)

        return self._table_object.parsed(
            source,
            self._format,
            parse,
            [*(self._columns or ()), *filter_names(self._options.get("filters"))],
            self._reader.names,
            wrap=Content,
        )


class _Run:
    """One stream of a scan: an object that was opened, and closed when all is read or nobody reads on."""

    def __init__(self, scan: Scan, counted: Operation, succeeded: Callable[[], None]) -> None:
        self._scan = scan
        self._counted = counted
        self._succeeded = succeeded
        try:
            self._open()
        except ObjectChangedError:  # tables of most formats are read with their schema
            counted.count_retry()
            self._open()

    def _open(self) -> None:
        self._source = self._scan.open(self._counted)
        try:
            self.schema, self._tables = self._scan.guarded(self._source, lambda: self._scan.tables(self._source))
        except BaseException:
            self._close()
            raise

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows. An object that is overwritten before any is given out is opened once more."""
        try:
            first = self._first()
            self._counted.rows = 0
            for table in self._rest(first):
                self._counted.rows += table.num_rows
                yield from table.to_batches()
            self._succeeded()
        except GeneratorExit:  # who reads has enough
            self._succeeded()
            raise
        finally:
            self._close()

    def _first(self) -> pa.Table | None:
        try:
            return self._next()
        except ObjectChangedError:
            self._close()
            self._counted.count_retry()
            schema = self.schema
            self._open()
            if not self.schema.equals(schema):
                raise
            return self._next()

    def _rest(self, table: pa.Table | None) -> Iterator[pa.Table]:
        while table is not None:
            yield table
            table = self._next()

    def _next(self) -> pa.Table | None:
        return self._scan.guarded(self._source, lambda: next(self._tables, None))

    def _close(self) -> None:
        close: Callable[[], None] = getattr(self._source, "close", lambda: None)
        close()
