"""Table files by pyarrow: one reader and one writer for each format."""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import inspect
import json
import math
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
from pyarrow import orc

from arrowseal.exceptions import ConfigurationError
from arrowseal.tables.arrow_types import without_views
from arrowseal.tables.formats import TableFormat, compression_of
from arrowseal.tables.ipc import IpcReader
from arrowseal.tables.orc import OrcReader
from arrowseal.tables.orc_structs import has_struct, with_settled_structs
from arrowseal.tables.parquet import ParquetReader
from arrowseal.tables.ranges import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from arrowseal.location import ObjectLocation
    from arrowseal.tables.ranges import Ranges

_JSON_BATCH_ROWS = 10_000  # rows that are Python objects at a time
_ARROW_COMPRESSIONS = frozenset({"gzip", "bz2", "zstd"})


class FileReader(Protocol):
    """Reads files of one format with options that were checked before."""

    def reads_parts(self, columns: list[str] | None) -> bool:
        """Whether less than the whole file will do."""

    def names(self, source: Ranges) -> list[str]:
        """The columns that may be asked for."""

    def read(self, source: Ranges, columns: list[str] | None) -> pa.Table:
        """The table, or these columns of it. Raises `KeyError` for one that is not there, pyarrow's errors
        otherwise.
        """


def file_reader(table_format: TableFormat, location: ObjectLocation, options: Mapping[str, Any]) -> FileReader:
    """The reader for a file of that name. Raises `TypeError` for options that do not exist, and `ConfigurationError`
    for a compression that pyarrow does not know.
    """
    match table_format:
        case TableFormat.PARQUET:
            return ParquetReader(options)
        case TableFormat.IPC:
            return IpcReader(options)
        case TableFormat.ORC:
            return OrcReader(options)
        case TableFormat.CSV:
            return TextReader(pa.csv.read_csv, options, stream_compression(location))
        case TableFormat.JSON:
            return TextReader(pa.json.read_json, options, stream_compression(location))


def file_writer(table_format: TableFormat, location: ObjectLocation, options: Mapping[str, Any]) -> Callable[..., None]:
    """The function `write(table, file)` for a file of that name. Raises as `file_reader` does."""
    match table_format:
        case TableFormat.PARQUET:
            return _parquet_writer(options)
        case TableFormat.IPC:
            return partial(_write_ipc, options=pa.ipc.IpcWriteOptions(**options))
        case TableFormat.ORC:
            _check_options(orc.ORCWriter, options)
            return partial(_write_orc, options=options)
        case TableFormat.CSV:
            write = partial(_write_csv, options=pa.csv.WriteOptions(**options))
            return partial(_compressed, write=write, compression=stream_compression(location))
        case TableFormat.JSON:
            if options:
                message = (
                    f"write_table() got an unexpected keyword argument {next(iter(options))!r}: JSON has no options"
                )
                raise TypeError(message)
            return partial(_compressed, write=_write_json, compression=stream_compression(location))


class TextReader:
    """CSV or JSON, compressed or not. Options: those of the function of pyarrow that parses it."""

    def __init__(self, parse: Callable[..., pa.Table], options: Mapping[str, Any], compression: str | None) -> None:
        _check_options(parse, options)
        self._parse = parse
        self._options = options
        self._compression = compression

    def reads_parts(self, columns: list[str] | None) -> bool:  # noqa: ARG002 - text has no parts
        return False

    def names(self, source: Ranges) -> list[str]:
        names: list[str] = self.read(source, None).column_names
        return names

    def read(self, source: Ranges, columns: list[str] | None) -> pa.Table:
        if self._parse is pa.json.read_json and not opened_text(source, self._compression).read(1):
            table = pa.table({})  # no lines, no rows: what is written for an empty table
        else:
            table = self._parse(opened_text(source, self._compression), **self._options)
        if columns is None:
            return table
        _expect(columns, table.column_names)  # select() takes positions too
        return table.select(columns)


@functools.cache
def _arguments(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


# The writer takes some as **options, of which only write_table() has the names.
_PARQUET_OPTIONS = (_arguments(pq.ParquetWriter) | _arguments(pq.write_table)) - frozenset(
    {"table", "where", "schema", "filesystem", "options", "kwargs"}
)


def _check_options(function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    _check_names(function, _arguments(function) if options else frozenset(), options)


def _check_names(function: Callable[..., Any], known: Collection[str], options: Mapping[str, Any]) -> None:
    for name in options:
        if name not in known:
            message = f"{function.__name__}() got an unexpected keyword argument {name!r}"
            raise TypeError(message)


def _expect(columns: list[str], names: list[str]) -> None:
    for name in columns:
        if name not in names:
            raise KeyError(name)


def opened_text(source: Ranges, compression: str | None) -> pa.NativeFile:
    """The text as a file of Arrow, decompressed while it is read."""
    file = whole_file(source)
    return file if compression is None else pa.CompressedInputStream(file, compression)


def stream_compression(location: ObjectLocation) -> str | None:
    """How text is compressed. Raises `ConfigurationError` for a compression that pyarrow does not know."""
    compression = compression_of(location)
    if compression is not None and compression not in _ARROW_COMPRESSIONS:
        raise ConfigurationError(f"{location}: pyarrow reads and writes no text compressed as {compression}")
    return compression


def _parquet_writer(options: Mapping[str, Any]) -> Callable[[pa.Table, pa.NativeFile], None]:
    rest = dict(options)
    row_group_size = rest.pop("row_group_size", None)
    _check_names(pq.ParquetWriter, _PARQUET_OPTIONS, rest)

    def write(table: pa.Table, file: pa.NativeFile) -> None:
        with pq.ParquetWriter(file, table.schema, **rest) as writer:
            writer.write_table(table, row_group_size)

    return write


def _write_ipc(table: pa.Table, file: pa.NativeFile, options: pa.ipc.IpcWriteOptions) -> None:
    # The file format knows one dictionary a column; chunks may each have their own.
    with pa.ipc.new_file(file, table.schema, options=options) as writer:
        writer.write_table(table.unify_dictionaries())


def _write_orc(table: pa.Table, file: pa.NativeFile, options: Mapping[str, Any]) -> None:
    orc.write_table(as_orc(table), file, **options)


def _compressed(
    table: pa.Table,
    file: pa.NativeFile,
    write: Callable[[pa.Table, pa.NativeFile], None],
    compression: str | None,
) -> None:
    if compression is None:
        write(table, file)
        return
    with pa.CompressedOutputStream(file, compression) as stream:
        write(table, stream)


def _write_csv(table: pa.Table, file: pa.NativeFile, options: pa.csv.WriteOptions) -> None:
    pa.csv.write_csv(_decoded(table), file, options)


def as_orc(table: pa.Table) -> pa.Table:
    """The table as pyarrow writes it into ORC, which has no categories."""
    table = _decoded(table)
    for at, column in enumerate(table.schema):
        if has_struct(column.type):
            table = table.set_column(at, column, with_settled_structs(table.column(at)))
    return table


def _decoded(table: pa.Table) -> pa.Table:
    """Categories as the values that they stand for."""
    for at, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(at, column.name, table.column(at).cast(column.type.value_type))
    return table


def _write_json(table: pa.Table, file: pa.NativeFile) -> None:
    """One object a line, times as ISO 8601, maps as objects; JSON has no NaN and no infinity, which become null."""
    if len(set(table.column_names)) < table.num_columns:
        message = "JSON objects hold a name once, and columns of this table share one: rename them"
        raise ConfigurationError(message)
    for batch in table.to_batches(max_chunksize=_JSON_BATCH_ROWS):
        rows = (
            json.dumps(_finite(row), default=_json_value, ensure_ascii=False)
            for row in batch.to_pylist(maps_as_pydicts="strict")
        )
        file.write("".join(f"{row}\n" for row in rows).encode())


def _finite(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {name: _finite(inner) for name, inner in value.items()}
        case list():
            return [_finite(inner) for inner in value]
        case _:
            return value


def _json_value(value: object) -> Any:
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    message = f"JSON has no values of type {type(value).__name__}"
    raise TypeError(message)


def as_table(source: Any) -> pa.Table:
    """A table of anything that speaks Arrow, without views, which not every reader knows (polars exports them).

    Raises:
        ConfigurationError: it does not speak Arrow, or is one column of no name.
    """
    if isinstance(source, pa.RecordBatchReader):
        table = source.read_all()
    elif isinstance(source, pa.RecordBatch):
        table = pa.Table.from_batches([source])
    elif isinstance(source, pa.Table) or hasattr(source, "__arrow_c_stream__") or hasattr(source, "__arrow_c_array__"):
        with columns_expected():
            table = pa.table(source)
    else:
        raise ConfigurationError(
            f"a table is expected: pyarrow, a frame, or anything with __arrow_c_stream__, not {type(source).__name__}"
        )
    schema = without_views(table.schema)
    return table if schema.equals(table.schema) else cast_columns(table, schema)


def no_rows(schema: pa.Schema) -> pa.Table:
    """A table of the schema; `schema.empty_table()` knows no dictionaries of views within lists."""
    return pa.Table.from_batches([], schema)


def cast_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table.cast(schema)`, which breaks lists of nothing but nulls where they are of their type already."""
    columns = []
    for values, column in zip(table.columns, schema, strict=True):
        if not column.nullable and values.null_count:
            message = f"Casting field {column.name!r} with null values to non-nullable"
            raise ValueError(message)
        columns.append(values if values.type == column.type else values.cast(column.type))
    return pa.Table.from_arrays(columns, schema=schema)


@contextmanager
def columns_expected() -> Iterator[None]:
    """What is imported within has columns. Raises `ConfigurationError` where it is one itself: a series, an array; and
    for one of a type that pyarrow does not know.
    """
    try:
        yield
    except pa.ArrowInvalid as error:
        _, unknown, kind = str(error).partition("unsupported format string: ")
        if unknown:
            raise ConfigurationError(
                f"a column has a type that pyarrow does not know, {kind}: cast it, integers of 128 bits for example to "
                "decimals or text; arrowseal.polars writes those into single objects as they are"
            ) from None
        _, of_type, kind = str(error).partition("non-struct type ")  # all that tells it from errors of the rows
        if not of_type:
            raise
        raise ConfigurationError(f"a table is expected, not a column of type {kind}: give it a name first") from None
