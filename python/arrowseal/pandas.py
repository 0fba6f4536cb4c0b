"""Reads and writes pandas frames in encrypted objects: the functions of pandas, with its own signatures.

Every argument of the installed pandas works as it does there, except those that would go past the client
(`storage_options`, `filesystem`). The path is an `s3://bucket/key` URL, or None with `bucket=` and `key=`. By keyword
come `client` (the default one otherwise), `encryption`, `encryption_context`, `kms_key_id` and
`progress`; on reads `allow_plaintext`, `version_id` and `verify_checksum`, on writes `s3_additional_kwargs`: as in
`Client.get` and `Client.put`.

With `columns` or `filters`, `read_parquet`, `read_feather` and `read_orc` fetch only what they need; other reads hold
the object in memory as a whole. pandas reads the proven content where it lies, without a copy. Reads and writes hold
the GIL as pandas does; transfer and cryptography do not.

`read_parquet`, `read_orc`, `read_csv` and `read_json` also read many objects: a prefix (`s3://lake/trips/`), a pattern
with a `*`, a list, or with `dataset=True`. Columns of hive partitions are categories. `partition_filter`,
`path_suffix`, `path_ignore_suffix`, `last_modified_begin`, `last_modified_end` choose among them, as in
`arrowseal.arrow.dataset`; `chunked=True` gives frames one after another, a number frames of that many rows. Files of
Parquet and ORC may differ in their columns. `to_parquet` with `partition_cols` or `dataset=True` writes many objects,
beside what is there or as `mode=` says, and returns a `WrittenDataset`: see `arrowseal.arrow.write_dataset`.

Raises, besides what the client raises:
    LocationError: the path is local, a buffer, or of another scheme.
    ConfigurationError: an argument that is not taken here.
    NotATableError: the content is not such a table, or not with these arguments.
    ColumnNotFoundError: a column that was asked for is not there.
    MissingExtraError: importing this module without pandas.

Example:
    >>> import arrowseal.pandas as spd
    >>> df = spd.read_csv("s3://tables/flights.csv.gz", usecols=["carrier", "dep_delay"])  # doctest: +SKIP
    >>> spd.to_parquet(df, "s3://tables/delays.parquet", index=False)  # doctest: +SKIP
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import orc

from arrowseal.exceptions import ConfigurationError
from arrowseal.extras import require
from arrowseal.tables.arrow_files import opened_text, stream_compression
from arrowseal.tables.dataset_faces import reads_datasets, writes_datasets
from arrowseal.tables.formats import TableFormat, compression_of
from arrowseal.tables.ipc import IpcReader, ipc_of_columns
from arrowseal.tables.orc import OrcReader
from arrowseal.tables.orc_structs import has_struct, with_settled_structs
from arrowseal.tables.pandas_datasets import read_tables, read_texts, write_parquets
from arrowseal.tables.parquet import ParquetFooter, file_ahead, is_planned
from arrowseal.tables.ranges import Content, tail_of
from arrowseal.tables.stand_in import Arguments, reads, reads_parts, writes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import pandas as pd
    from pandas.io.json._json import JsonReader
    from pandas.io.parsers import TextFileReader
    from typing_extensions import Buffer

    from arrowseal.location import ObjectLocation
    from arrowseal.tables.pandas_calls import ReadCsv, ReadFiles, ReadJson, WriteParquet
    from arrowseal.tables.ranges import Ranges
    from arrowseal.tables.sink import Sink
else:
    pd = require("pandas", "pandas")

__all__ = [
    "read_csv",
    "read_feather",
    "read_json",
    "read_orc",
    "read_parquet",
    "to_csv",
    "to_feather",
    "to_json",
    "to_orc",
    "to_parquet",
]


def _file(content: Buffer) -> Any:
    # Reads are slices of the content; io.BytesIO would begin with a copy of the whole.
    return pa.BufferReader(pa.py_buffer(content))


def _with_compression(arguments: Arguments, location: ObjectLocation) -> Arguments:
    """Answers `compression="infer"` from the key, since pandas sees a buffer without a name."""
    given = arguments.get("compression", "infer")
    options: dict[str, Any] = dict(given) if isinstance(given, dict) else {"method": given}
    if options.get("method") != "infer":
        return arguments
    return arguments | {"compression": options | {"method": compression_of(location)}}


def _with_archive(arguments: Arguments, location: ObjectLocation) -> Arguments:
    """Also what pandas takes from the name of an archive that it writes: its member, and how a tar is compressed."""
    arguments = _with_compression(arguments, location)
    options = arguments["compression"]
    method = options.get("method") if isinstance(options, dict) else options
    if method not in {"zip", "tar"}:
        return arguments
    inner, _, suffix = location.name.rpartition(".")
    named: dict[str, Any] = {"method": method, "archive_name": inner.removesuffix(".tar") or location.name}
    if method == "tar":
        named["name"] = f"{inner}.{suffix.lower()}"  # of which pandas takes how; of mode="w:bz2" it loses the b
    return arguments | {"compression": named | (options if isinstance(options, dict) else {})}


def _csv_columns(content: Buffer, location: ObjectLocation, arguments: Arguments) -> Collection[str]:
    everything = {name: value for name, value in arguments.items() if name not in _PICKS_FROM_CSV}
    table: Any = pd.read_csv(_file(content), **_with_compression(everything, location), nrows=0)
    return [str(name) for name in table.columns]


def _called_as_read_csv(face: Callable[..., Any]) -> ReadCsv:
    return cast("ReadCsv", face)


def _called_as_read_json(face: Callable[..., Any]) -> ReadJson:
    return cast("ReadJson", face)


def _called_as_files(face: Callable[..., Any]) -> ReadFiles:
    return cast("ReadFiles", face)


def _called_as_to_parquet(face: Callable[..., Any]) -> WriteParquet:
    return cast("WriteParquet", face)


_PICKS_FROM_CSV = frozenset(
    {
        "usecols",
        "index_col",
        "parse_dates",
        "dtype",
        "converters",
        "nrows",
        "chunksize",
        "iterator",
        "engine",
        "skipfooter",
        "memory_map",
    }
)


@_called_as_read_csv
@reads_datasets(partial(read_texts, table_format=TableFormat.CSV))
@reads(
    pd.read_csv,
    TableFormat.CSV,
    columns=("usecols", "index_col", "parse_dates"),
    columns_there=_csv_columns,
)
def read_csv(content: Buffer, location: ObjectLocation, arguments: Arguments) -> pd.DataFrame | TextFileReader:
    """`pandas.read_csv` of an encrypted object.

    `compression="infer"` goes by the extension of the key. With `chunksize` or `iterator` the object is fetched and
    proven as a whole, then parsed chunk by chunk; what pandas raises on a later chunk is its own. `memory_map` changes
    nothing: the content is in memory.
    """
    if arguments.get("engine") != "pyarrow":  # which pandas refuses to map
        arguments = {name: value for name, value in arguments.items() if name != "memory_map"}
    return pd.read_csv(_file(content), **_with_compression(arguments, location))


def _asks_for_all(arguments: Arguments) -> bool:
    return arguments.get("columns") is None


def _needs_whole_parquet(arguments: Arguments) -> bool:
    asks = not _asks_for_all(arguments) or arguments.get("filters") is not None
    return not asks or arguments.get("engine") == "fastparquet"


@_called_as_files
@reads_datasets(partial(read_tables, table_format=TableFormat.PARQUET))
@reads_parts(
    pd.read_parquet,
    TableFormat.PARQUET,
    whole=_needs_whole_parquet,
    columns=("columns",),
    columns_there=lambda source: ParquetFooter(source).names(),
    passes_to=pq.read_table,
)
def read_parquet(source: Ranges, arguments: Arguments) -> pd.DataFrame:
    """`pandas.read_parquet` of an encrypted object. With `columns` or `filters`, only the chunks are fetched that hold
    them: see `arrowseal.tables.parquet`.
    """
    # A schema may have other columns than the file.
    if arguments.get("schema") is not None or not is_planned(arguments):
        return pd.read_parquet(tail_of(source).file(), **arguments)
    if not isinstance(columns := arguments.get("columns"), (str, type(None))):
        arguments = arguments | {"columns": list(columns)}  # an iterator gives them once
    return pd.read_parquet(file_ahead(source, arguments.get("columns"), arguments.get("filters")), **arguments)


@_called_as_read_json
@reads_datasets(partial(read_texts, table_format=TableFormat.JSON))
@reads(pd.read_json, TableFormat.JSON)
def read_json(
    content: Buffer, location: ObjectLocation, arguments: Arguments
) -> pd.DataFrame | pd.Series[Any] | JsonReader[Any]:
    """`pandas.read_json` of an encrypted object. `compression="infer"` goes by the extension of the key."""
    table: pd.DataFrame | pd.Series[Any] | JsonReader[Any]
    if arguments.get("engine") == "pyarrow":
        # pandas then takes no compression=, and Arrow goes by the name of a file, which a buffer has not.
        table = pd.read_json(opened_text(Content(content), stream_compression(location)), **arguments)
    else:
        table = pd.read_json(_file(content), **_with_compression(arguments, location))
    return table


@reads_parts(
    pd.read_feather,
    TableFormat.IPC,
    whole=lambda arguments: not _names_columns(arguments),
    columns=("columns",),
    columns_there=lambda source: IpcReader({}).names(source),
)
def read_feather(source: Ranges, arguments: Arguments) -> pd.DataFrame:
    """`pandas.read_feather` of an encrypted object. With `columns`, only their buffers are fetched."""
    columns = arguments["columns"] if _names_columns(arguments) else None
    return pd.read_feather(ipc_of_columns(source, columns), **arguments)


def _names_columns(arguments: Arguments) -> bool:
    # pandas takes positions too, and none at all for all of them.
    columns = arguments.get("columns")
    return isinstance(columns, (list, tuple)) and bool(columns) and all(isinstance(name, str) for name in columns)


@_called_as_files
@reads_datasets(partial(read_tables, table_format=TableFormat.ORC))
@reads_parts(
    pd.read_orc,
    TableFormat.ORC,
    whole=_asks_for_all,
    columns=("columns",),
    columns_there=lambda source: OrcReader({}).names(source),
    passes_to=orc.read_table,
)
def read_orc(source: Ranges, arguments: Arguments) -> pd.DataFrame:
    """`pandas.read_orc` of an encrypted object. With `columns`, only their streams are fetched."""
    return pd.read_orc(tail_of(source).file(), **arguments)


@writes(pd.DataFrame.to_csv, TableFormat.CSV)
def to_csv(frame: pd.DataFrame, sink: Sink, location: ObjectLocation, arguments: Arguments) -> None:
    """`DataFrame.to_csv` into an encrypted object. `compression="infer"` goes by the extension of the key."""
    _serialise(frame, sink, "to_csv", _with_archive(arguments, location))


@_called_as_to_parquet
@writes_datasets(write_parquets, partitions="partition_cols")
@writes(pd.DataFrame.to_parquet, TableFormat.PARQUET)
def to_parquet(frame: pd.DataFrame, sink: Sink, _: ObjectLocation, arguments: Arguments) -> None:
    """`DataFrame.to_parquet` into an encrypted object."""
    _serialise(frame, sink, "to_parquet", arguments)


@writes(pd.DataFrame.to_json, TableFormat.JSON)
def to_json(frame: pd.DataFrame, sink: Sink, location: ObjectLocation, arguments: Arguments) -> None:
    """`DataFrame.to_json` into an encrypted object. `compression="infer"` goes by the extension of the key."""
    _serialise(frame, sink, "to_json", _with_archive(arguments, location))


@writes(pd.DataFrame.to_feather, TableFormat.IPC)
def to_feather(frame: pd.DataFrame, sink: Sink, _: ObjectLocation, arguments: Arguments) -> None:
    """`DataFrame.to_feather` into an encrypted object."""
    _serialise(frame, sink, "to_feather", arguments)


@writes(pd.DataFrame.to_orc, TableFormat.ORC)
def to_orc(frame: pd.DataFrame, sink: Sink, _: ObjectLocation, arguments: Arguments) -> None:
    """`DataFrame.to_orc` into an encrypted object."""
    _serialise(_with_settled_structs(frame), sink, "to_orc", arguments)


def _with_settled_structs(frame: Any) -> Any:
    """The frame as pyarrow writes it into ORC: of the columns that pandas makes, those that it keeps from Arrow."""
    if not isinstance(frame, pd.DataFrame):
        return frame
    for at, kind in enumerate(frame.dtypes):
        if isinstance(kind, pd.ArrowDtype) and has_struct(kind.pyarrow_dtype):
            column = pa.table({"": frame.iloc[:, at]}).column(0)
            frame = frame.copy(deep=False)
            frame.isetitem(at, pd.arrays.ArrowExtensionArray(with_settled_structs(column)))
    return frame


def _serialise(frame: pd.DataFrame, sink: Sink, method: str, arguments: Arguments) -> None:
    write = getattr(frame, method, None) if isinstance(frame, (pd.DataFrame, pd.Series)) else None
    if write is None:
        raise ConfigurationError(
            f"{method}() writes pandas frames, not {type(frame).__module__}.{type(frame).__name__}"
        )
    write(sink, **arguments)
