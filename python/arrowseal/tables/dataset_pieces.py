"""Table files read in pieces by pyarrow: small ones at once, others by row groups, record batches or blocks of text."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.json
import pyarrow.parquet as pq
from pyarrow import orc

from arrowseal.fs import exit_guard
from arrowseal.object_reader import ObjectReader
from arrowseal.tables.formats import TableFormat, compression_of
from arrowseal.tables.ipc import IpcReader
from arrowseal.tables.orc import STRIPES_AT_A_TIME, read_stripes
from arrowseal.tables.parquet import ParquetFooter, index_columns, is_planned, names_of_filter
from arrowseal.tables.parquet_decoding import decoded, read_row_groups
from arrowseal.tables.ranges import tail_of, whole_file
from arrowseal.tables.statistics import may_pass_nan

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    import pyarrow.compute as pc

    from arrowseal.location import ObjectLocation
    from arrowseal.tables.ranges import Ranges

AT_ONCE_BYTES: Final = 8 * 2**20
"""Up to this size a file is one piece. Also the size of a block of text, of which the first one says the types, as the
first 1 MiB does in pyarrow.
"""
_OF_READ: Final = frozenset({"use_threads", "use_pandas_metadata"})


class PieceReader(Protocol):
    """Reads files of one format, with options of `arrowseal.arrow.read_table` that were checked before."""

    def schema(self, source: Ranges) -> pa.Schema:
        """The columns of a file."""

    def rows(self, source: Ranges) -> int | None:
        """The number of rows, where the file says it; otherwise None."""

    def pieces(self, source: Ranges, asked: Asked) -> Iterator[pa.Table]:
        """The rows, in those of the columns that are there."""


@dataclass(frozen=True)
class Asked:
    """What is read of a file."""

    columns: Collection[str] | None = None
    """The columns; None for all."""
    schema: pa.Schema | None = None
    """The types of columns, for files that do not say them."""
    filter: pc.Expression | None = None
    """Rows that it is not true for may be left out."""
    filter_schema: pa.Schema | None = None
    """All columns that the filter may name."""
    partition: pc.Expression | None = None
    """What is known to be true for each row."""
    pandas_index: bool = False
    """Whether the columns that are the index of pandas come along."""
    rows: int | None = None
    """How many of the first rows are enough; None for all."""

    def of(self, schema: pa.Schema) -> list[str] | None:
        """Those of the columns that a file has, in its order; None for all."""
        if self.columns is None:
            return None
        wanted = {*self.columns, *index_columns(schema)} if self.pandas_index else self.columns
        names = [name for name in schema.names if name in wanted]
        return None if names == schema.names else names


def piece_reader(table_format: TableFormat, location: ObjectLocation, options: Mapping[str, Any]) -> PieceReader:
    """The reader for a file of that name."""
    match table_format:
        case TableFormat.PARQUET:
            return _Parquet(options)
        case TableFormat.IPC:
            return _Ipc(options)
        case TableFormat.ORC:
            return _Orc()
        case TableFormat.CSV:
            return _Csv(compression_of(location), options)
        case TableFormat.JSON:
            return _Json(compression_of(location), options)


@dataclass(frozen=True)
class _Parquet:
    options: Mapping[str, Any]

    def schema(self, source: Ranges) -> pa.Schema:
        if self._takes_whole(source):
            return self._open(source).schema_arrow
        footer = ParquetFooter(source)
        if not self.options:
            return footer.schema
        return footer.open(pa.BufferReader(footer.buffer), self._opening(source, footer)).schema_arrow

    def rows(self, source: Ranges) -> int:
        metadata = self._open(source).metadata if self._takes_whole(source) else ParquetFooter(source).metadata
        return int(metadata.num_rows)

    def pieces(self, source: Ranges, asked: Asked) -> Iterator[pa.Table]:
        if self._takes_whole(source):
            parquet = self._open(source)
            # Other files are at work beside: threads within one would only get into their way.
            columns, threads = asked.of(parquet.schema_arrow), source.size > AT_ONCE_BYTES
            yield read_row_groups(parquet, range(parquet.num_row_groups), columns, use_threads=threads)
            return
        footer = ParquetFooter(source)
        columns = asked.of(footer.schema)
        groups = _row_groups(footer, asked)
        if asked.rows is not None:
            before = accumulate(map(footer.rows, groups), initial=0)
            groups = [group for group, rows in zip(groups, before, strict=False) if rows < asked.rows]
        plan = footer.plan(columns, groups)
        options = self._opening(source, footer)
        for table, _ in decoded(footer, plan, options, {}):
            yield table

    def _takes_whole(self, source: Ranges) -> bool:
        """Whether it is here, or the options are about the footer, which then is not read without them."""
        return source.in_memory or not is_planned(self.options)

    def _open(self, source: Ranges) -> pq.ParquetFile:
        return pq.ParquetFile(whole_file(source), **self._opening(source))

    def _opening(self, source: Ranges, footer: ParquetFooter | None = None) -> dict[str, Any]:
        options = {name: value for name, value in self.options.items() if name not in _OF_READ}
        if options.get("read_dictionary"):  # of columns that not every file has
            there = (footer or ParquetFooter(source)).paths
            options["read_dictionary"] = [name for name in options["read_dictionary"] if name in there]
        return options


def _row_groups(footer: ParquetFooter, asked: Asked) -> list[int]:
    """The row groups that may have rows of the filter, by their statistics and what the path says."""
    schema = asked.filter_schema
    if asked.filter is None or schema is None:
        return footer.row_groups()
    if may_pass_nan(asked.filter, names_of_filter(None, asked.filter, schema), schema):
        return footer.row_groups()
    fragment = ds.ParquetFileFormat().make_fragment(
        pa.BufferReader(footer.buffer), partition_expression=asked.partition
    )
    return [group.id for group in fragment.subset(filter=asked.filter, schema=schema).row_groups]


@dataclass(frozen=True)
class _Ipc:
    options: Mapping[str, Any]

    def schema(self, source: Ranges) -> pa.Schema:
        return IpcReader(self.options).schema(source)

    def rows(self, _: Ranges) -> None:
        return None

    def pieces(self, source: Ranges, asked: Asked) -> Iterator[pa.Table]:
        reader = IpcReader(self.options)
        columns = asked.of(reader.schema(source))
        if columns == []:
            columns = reader.schema(source).names[:1]  # nothing but the number of rows is wanted; none would mean all
        if columns is not None or source.in_memory or source.size <= AT_ONCE_BYTES:
            yield reader.read(source, columns)
            return
        file = pa.ipc.open_file(_file(source), options=pa.ipc.IpcReadOptions(**self.options))
        for at in range(file.num_record_batches):
            yield pa.Table.from_batches([file.get_batch(at)])


class _Orc:
    def schema(self, source: Ranges) -> pa.Schema:
        return orc.ORCFile(tail_of(source).file()).schema

    def rows(self, source: Ranges) -> int:
        return int(orc.ORCFile(tail_of(source).file()).nrows)

    def pieces(self, source: Ranges, asked: Asked) -> Iterator[pa.Table]:
        fetched = tail_of(source)
        file = orc.ORCFile(fetched.file())
        columns = asked.of(file.schema)
        if columns == []:
            columns = file.schema.names[:1]
        if file.nstripes == 0:
            yield file.schema.empty_table()
        elif source.in_memory or columns is None:
            file = orc.ORCFile(_file(source))
            for stripe in range(file.nstripes):
                yield pa.Table.from_batches([file.read_stripe(stripe, columns)])
        else:
            for first in range(0, file.nstripes, STRIPES_AT_A_TIME):
                stripes = range(first, min(first + STRIPES_AT_A_TIME, file.nstripes))
                yield pa.Table.from_batches(read_stripes(fetched, stripes, columns))


@dataclass(frozen=True)
class _Csv:
    compression: str | None
    options: Mapping[str, Any]

    def schema(self, source: Ranges) -> pa.Schema:
        with pa.csv.open_csv(_text(source, self.compression), **self._options(Asked())) as reader:
            return reader.schema

    def rows(self, _: Ranges) -> None:
        return None

    def pieces(self, source: Ranges, asked: Asked) -> Iterator[pa.Table]:
        options = self._options(asked)
        if source.size <= AT_ONCE_BYTES and self.compression is None:
            yield pa.csv.read_csv(_text(source, None), **options)
            return
        with pa.csv.open_csv(_text(source, self.compression), **options) as reader:
            batch = None
            for batch in reader:
                yield pa.Table.from_batches([batch])
            if batch is None:  # a line of names is all, and these are columns
                yield reader.schema.empty_table()

    def _options(self, asked: Asked) -> dict[str, Any]:
        options = dict(self.options)
        options.setdefault("read_options", pa.csv.ReadOptions(use_threads=False, block_size=AT_ONCE_BYTES))
        if asked.schema is None:
            return options
        convert = copy.copy(options.get("convert_options") or pa.csv.ConvertOptions())
        convert.column_types = {column.name: column.type for column in asked.schema} | dict(convert.column_types)
        if asked.columns:
            convert.include_columns = [column.name for column in asked.schema if column.name in asked.columns]
            convert.include_missing_columns = True
        return options | {"convert_options": convert}


@dataclass(frozen=True)
class _Json:
    compression: str | None
    options: Mapping[str, Any]

    def schema(self, source: Ranges) -> pa.Schema:
        if _is_empty(source, self.compression):
            return pa.schema([])
        with pa.json.open_json(_text(source, self.compression), **self._options(Asked())) as reader:
            return reader.schema

    def rows(self, _: Ranges) -> None:
        return None

    def pieces(self, source: Ranges, asked: Asked) -> Iterator[pa.Table]:
        if _is_empty(source, self.compression):  # no lines, no rows: what is written for a table without rows
            return
        options = self._options(asked)
        if source.size <= AT_ONCE_BYTES and self.compression is None:
            yield pa.json.read_json(_text(source, None), **options)
            return
        with pa.json.open_json(_text(source, self.compression), **options) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])

    def _options(self, asked: Asked) -> dict[str, Any]:
        options = dict(self.options)
        options.setdefault("read_options", pa.json.ReadOptions(use_threads=False, block_size=AT_ONCE_BYTES))
        if asked.schema is None:
            return options
        parse = copy.copy(options.get("parse_options") or pa.json.ParseOptions())
        if parse.explicit_schema is None:
            wanted = [column for column in asked.schema if not asked.columns or column.name in asked.columns]
            parse.explicit_schema = pa.schema(wanted)
            parse.unexpected_field_behavior = "ignore"
        return options | {"parse_options": parse}


def _is_empty(source: Ranges, compression: str | None) -> bool:
    if source.size == 0 or compression is None or source.size > AT_ONCE_BYTES:
        return source.size == 0
    return not _text(source, compression).read(1)


def _text(source: Ranges, compression: str | None) -> pa.NativeFile:
    """The text from its beginning, as its bytes are proven."""
    file = _file(source)
    return file if compression is None else pa.CompressedInputStream(file, compression)


def _file(source: Ranges) -> pa.NativeFile:
    """A file of its own position, which reads ahead where not all is here."""
    if source.in_memory or source.size <= AT_ONCE_BYTES:
        return whole_file(source)
    file = ObjectReader(source)  # type: ignore[arg-type]  # what is not in memory is one
    exit_guard.wait_for(file)
    return pa.PythonFile(file, mode="r")
