"""A file of a dataset while it is written: tables go into it one after another, then it is committed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import orc

from arrowseal.tables.arrow_files import as_orc, file_writer
from arrowseal.tables.formats import TableFormat
from arrowseal.tables.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Buffer

    from arrowseal.client import Client
    from arrowseal.location import ObjectLocation
    from arrowseal.object_writer import ObjectWriter
    from arrowseal.writing import PutResult

EXTENSIONS: Final = {
    TableFormat.PARQUET: "parquet",
    TableFormat.IPC: "arrow",
    TableFormat.ORC: "orc",
    TableFormat.CSV: "csv",
    TableFormat.JSON: "json",
}


class Appender(Protocol):
    """Builds one file."""

    def append(self, table: pa.Table) -> None:
        """More rows."""

    def close(self) -> Any:
        """The end of the file; for Parquet its metadata."""


class DatasetFileWriter:
    """One file under way. Nothing is sent before the first rows come; it appears when it is committed."""

    def __init__(
        self,
        client: Client,
        location: ObjectLocation,
        table_format: TableFormat,
        options: Mapping[str, Any],
        opening: Mapping[str, Any],
    ) -> None:
        self.location: Final = location
        self.rows = 0
        self._client = client
        self._format = table_format
        self._options = options
        self._opening = opening
        self._open: tuple[ObjectWriter, _Sink, Appender] | None = None

    def check(self) -> None:
        """Raise `ConfigurationError` for arguments that cannot be, before any request."""
        self._client.open(self.location, **self._opening).abort()

    def append(self, table: pa.Table) -> None:
        """More rows. Raises what `Client.open` and its file raise, and what pyarrow raises on values."""
        if self._open is None:
            file = self._client.open(self.location, **self._opening)
            sink = _Sink(file)
            self._open = file, sink, self._appender(table.schema, sink)
        self._open[2].append(table)
        self.rows += table.num_rows

    def commit(self) -> tuple[PutResult, Any]:
        """Make the object. Also returns the metadata of a Parquet file. Raises as `append` does."""
        assert self._open is not None  # noqa: S101
        file, _, appender = self._open
        metadata = appender.close()
        if metadata is not None:
            metadata.set_file_path(str(self.location))
        return file.commit(), metadata

    def abort(self) -> None:
        """Leave nothing. After a commit it does nothing."""
        if self._open is None:
            return
        file, sink, appender = self._open
        self._open = None
        sink.given_up = True
        with contextlib.suppress(Exception):  # otherwise writers of pyarrow end the file when they are dropped
            appender.close()
        file.abort()

    def _appender(self, schema: pa.Schema, sink: _Sink) -> Appender:
        match self._format:
            case TableFormat.PARQUET:
                return _Parquet(pa.PythonFile(sink, "w"), schema, self._options)
            case TableFormat.IPC:
                return _Ipc(pa.PythonFile(sink, "w"), schema, self._options)
            case TableFormat.ORC:
                return _Orc(pa.PythonFile(sink, "w"), self._options)
        return _Text(sink, self._format, self.location, self._options)


class _Sink(Sink):
    """Swallows what is written after the file was given up."""

    given_up = False

    def write(self, data: Buffer, /) -> int:
        return memoryview(data).nbytes if self.given_up else super().write(data)


class _Parquet:
    def __init__(self, file: pa.NativeFile, schema: pa.Schema, options: Mapping[str, Any]) -> None:
        rest = dict(options)
        self._row_group_size = rest.pop("row_group_size", None)
        self._metadata: list[pq.FileMetaData] = []
        self._writer = pq.ParquetWriter(file, schema, metadata_collector=self._metadata, **rest)

    def append(self, table: pa.Table) -> None:
        self._writer.write_table(table, self._row_group_size)

    def close(self) -> pq.FileMetaData:
        self._writer.close()
        return self._metadata[0]


class _Ipc:
    """A file has one dictionary for each column, so that tables with dictionaries wait for the end."""

    def __init__(self, file: pa.NativeFile, schema: pa.Schema, options: Mapping[str, Any]) -> None:
        self._schema = schema
        self._writer = pa.ipc.new_file(file, schema, options=pa.ipc.IpcWriteOptions(**options))
        self._waits = any(_has_dictionary(column.type) for column in schema)
        self._waiting: list[pa.Table] = []

    def append(self, table: pa.Table) -> None:
        if self._waits:
            self._waiting.append(table)
        else:
            self._writer.write_table(table)

    def close(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting).unify_dictionaries())
        self._writer.close()


class _Orc:
    def __init__(self, file: pa.NativeFile, options: Mapping[str, Any]) -> None:
        self._writer = orc.ORCWriter(file, **options)

    def append(self, table: pa.Table) -> None:
        self._writer.write(as_orc(table))

    def close(self) -> None:
        self._writer.close()


class _Text:
    """Whatever was written before, more text goes behind it; compressed text as one more member or frame."""

    def __init__(
        self, sink: _Sink, table_format: TableFormat, location: ObjectLocation, options: Mapping[str, Any]
    ) -> None:
        self._sink = sink
        self._write = file_writer(table_format, location, options)
        rest = dict(options) | ({"include_header": False} if table_format is TableFormat.CSV else {})
        self._write_more = file_writer(table_format, location, rest)

    def append(self, table: pa.Table) -> None:
        self._write(table, pa.PythonFile(self._sink, "w"))
        self._write = self._write_more

    def close(self) -> None:
        """Text has no end."""


def _has_dictionary(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return True
    return any(_has_dictionary(kind.field(at).type) for at in range(kind.num_fields))
