"""Reads and writes polars frames in encrypted objects: the functions of polars, with its own signatures.

Every argument of the installed polars works as it does there, except those that would go past the client
(`storage_options`, `credential_provider`), and partitions of one object. The source is one `s3://bucket/key` URL, or
None with `bucket=` and `key=`. By keyword come `client` (the default one otherwise), `encryption`,
`encryption_context`, `kms_key_id` and `progress`; on reads `allow_plaintext`, `version_id` and `verify_checksum`, on
writes `s3_additional_kwargs`: as in `Client.get` and `Client.put`.

Scans of one object, and reads of Parquet and IPC with `columns`, fetch only what they need: columns and rows of Parquet
and IPC, blocks of long CSV and JSON lines. Otherwise objects are held in memory as a whole, on reads twice
while polars parses: it takes `bytes` or copies what it is given.

Scans and `read_parquet` also take many objects: a prefix (`s3://lake/trips/`), a pattern with a `*`, a list, or with
`dataset=True`; by keyword come `path_suffix` and the like, for Parquet `partition_filter` too, as in
`arrowseal.arrow.dataset`. Scans of CSV, JSON lines and IPC hold all of them, and take no columns from paths.
`write_parquet` with `partition_by` or `dataset=True` writes many, and returns a `WrittenDataset`: see
`arrowseal.arrow.write_dataset`.
Files then hold the columns of `partition_by` too, as those of polars do. On reads paths say the values of such columns,
in the types that `hive_schema` or the first file says; what paths say is not authenticated. `include_file_paths` names
a column of URLs, of one object or of many in Parquet; filters on it leave out files before they are asked for.

Raises, besides what the client raises:
    LocationError: the source is local, a buffer, a list, or of another scheme.
    ConfigurationError: an argument that is not taken here.
    NotATableError: the content is not such a table, or not with these arguments.
    ColumnNotFoundError: a column that was asked for is not there.
    MissingExtraError: importing this module without polars.

Example:
    >>> import arrowseal.polars as spl
    >>> df = spl.read_csv("s3://tables/flights.csv.gz", columns=["carrier", "dep_delay"])  # doctest: +SKIP
    >>> spl.write_parquet(df, "s3://tables/delays.parquet")  # doctest: +SKIP
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Final, cast

import pyarrow as pa

from arrowseal.exceptions import ConfigurationError
from arrowseal.extras import require
from arrowseal.tables.dataset_faces import READ_KEYWORDS, reads_datasets, writes_datasets
from arrowseal.tables.formats import TableFormat, compression_of
from arrowseal.tables.ipc import IpcReader, ipc_of_columns
from arrowseal.tables.lazy_ipc import LazyIpc, reads_batches
from arrowseal.tables.lazy_parquet import LazyParquet, is_planned, read_columns, reads_columns
from arrowseal.tables.lazy_text import LazyText, reads_blocks
from arrowseal.tables.lazy_whole import LazyWhole, asks_for_whole
from arrowseal.tables.parquet import ParquetFooter
from arrowseal.tables.polars_datasets import read_parquets, scan_parquets, write_parquets
from arrowseal.tables.polars_frames import has_patterns
from arrowseal.tables.polars_objects import OF_MANY, reads_objects, scans_objects
from arrowseal.tables.polars_urls import tells_urls
from arrowseal.tables.ranges import whole_file
from arrowseal.tables.stand_in import Arguments, reads, reads_parts, scans, sinks, writes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import polars as pl
    from typing_extensions import Buffer

    from arrowseal.location import ObjectLocation
    from arrowseal.tables.polars_calls import WriteParquet
    from arrowseal.tables.ranges import Ranges
    from arrowseal.tables.sink import Sink
    from arrowseal.tables.table_object import TableObject
else:
    pl = require("polars", "polars")

# polars has calls of the system go on after a signal: Ctrl-C would be noticed when a transfer has ended by itself.
signal.siginterrupt(signal.SIGINT, True)

__all__ = [
    "read_csv",
    "read_ipc",
    "read_ndjson",
    "read_parquet",
    "scan_csv",
    "scan_ipc",
    "scan_ndjson",
    "scan_parquet",
    "sink_csv",
    "sink_ipc",
    "sink_ndjson",
    "sink_parquet",
    "write_csv",
    "write_ipc",
    "write_ndjson",
    "write_parquet",
]

_COLUMNS = ("columns",)
_OF_DATASETS = tuple(name for name in READ_KEYWORDS if name != "chunked")


_STREAMED: Final = frozenset({"gzip", "bz2", "zstd"})


def _csv_of(content: Buffer, location: ObjectLocation, arguments: Arguments) -> bytes:
    """The bytes for polars, which tells how they are compressed by themselves, except where it has pyarrow read them,
    which goes by the name.
    """
    compression = compression_of(location) if arguments.get("use_pyarrow") else None
    if compression not in _STREAMED:
        return bytes(content)
    with pa.CompressedInputStream(pa.py_buffer(content), compression) as stream:
        return bytes(stream.read())


def _csv_columns(content: Buffer, location: ObjectLocation, arguments: Arguments) -> Collection[str]:
    return pl.read_csv(_csv_of(content, location, arguments), **(arguments | {"columns": None, "n_rows": 0})).columns


@reads_datasets(read_parquets, _OF_DATASETS)
@tells_urls
@reads_parts(
    pl.read_parquet,
    TableFormat.PARQUET,
    whole=lambda arguments: not reads_columns(arguments),
    columns=_COLUMNS,
    columns_there=lambda source: ParquetFooter(source).names(),
)
def read_parquet(source: Ranges, arguments: Arguments) -> pl.DataFrame:
    """`polars.read_parquet` of an encrypted object. With `columns` or `n_rows`, only the chunks are fetched that hold
    them: see `arrowseal.tables.parquet`.
    """
    return read_columns(source, arguments)


@reads_datasets(reads_objects(pl.scan_csv, TableFormat.CSV), OF_MANY)
@tells_urls
@reads(pl.read_csv, TableFormat.CSV, columns=_COLUMNS, columns_there=_csv_columns)
def read_csv(content: Buffer, location: ObjectLocation, arguments: Arguments) -> pl.DataFrame:
    """`polars.read_csv` of an encrypted object. polars tells gzip, zlib and zstd by the content, whatever the key
    says; with `use_pyarrow`, gzip, bzip2 and zstd are told by the extension of the key. Many objects, in a prefix, a
    pattern or a list, are read as `scan_csv` does.
    """
    return pl.read_csv(_csv_of(content, location, arguments), **arguments)


@reads_datasets(reads_objects(pl.scan_ipc, TableFormat.IPC), OF_MANY)
@reads_parts(
    pl.read_ipc,
    TableFormat.IPC,
    whole=lambda arguments: not _names_columns(arguments),
    columns=_COLUMNS,
    columns_there=lambda source: IpcReader({}).names(source),
)
def read_ipc(source: Ranges, arguments: Arguments) -> pl.DataFrame:
    """`polars.read_ipc` of an encrypted object. With `columns`, only their buffers are fetched. Many objects, in a
    prefix, a pattern or a list, are read as `scan_ipc` does.
    """
    columns = arguments["columns"] if _names_columns(arguments) else None
    try:
        file = ipc_of_columns(source, columns)
    except pa.ArrowNotImplementedError:  # types that pyarrow does not know: integers of 128 bits
        file = whole_file(source)
    return pl.read_ipc(file.read(), **arguments)


def _names_columns(arguments: Arguments) -> bool:
    columns = arguments.get("columns")
    named = isinstance(columns, list) and bool(columns) and all(isinstance(name, str) for name in columns)
    return named and not has_patterns(columns or ())


@reads_datasets(reads_objects(pl.scan_ndjson, TableFormat.JSON), OF_MANY)
@tells_urls
@reads(pl.read_ndjson, TableFormat.JSON)
def read_ndjson(content: Buffer, _: ObjectLocation, arguments: Arguments) -> pl.DataFrame:
    """`polars.read_ndjson` of an encrypted object. polars tells gzip, zlib and zstd by the content. Many objects, in a
    prefix, a pattern or a list, are read as `scan_ndjson` does.
    """
    return pl.read_ndjson(bytes(content), **arguments)


@reads_datasets(scan_parquets, _OF_DATASETS)
@tells_urls
@scans(pl.scan_parquet)
def scan_parquet(table_object: TableObject, arguments: Arguments) -> pl.LazyFrame:
    """`polars.scan_parquet` of an encrypted object. Nothing is requested until the schema is needed or the frame
    collected.

    A collection fetches the columns that it needs, of the row groups that its slice and, by their statistics, its
    filters leave: comparisons, `is_in`, `is_between` and nulls of numbers, text, dates and times. With arguments that
    only polars itself knows (`schema`, `missing_columns`, `cast_options`, ...) it fetches the whole object.

    The client is the default one of this moment, not of the collection. What is fetched for the schema serves the next
    collection too. If the object is replaced by one of another schema in between, polars refuses. A column of the plan
    that is not there is polars' own `ColumnNotFoundError`: the plan is polars' alone.
    """
    if table_object.keywords.get("verify_checksum") or not is_planned(arguments):
        return LazyWhole(table_object, arguments, pl.scan_parquet, TableFormat.PARQUET).frame()
    return LazyParquet(table_object, arguments).frame()


@reads_datasets(scans_objects(pl.scan_csv, TableFormat.CSV), OF_MANY)
@tells_urls
@scans(pl.scan_csv)
def scan_csv(table_object: TableObject, arguments: Arguments) -> pl.LazyFrame:
    """`polars.scan_csv` of an encrypted object, which is fetched when the schema is needed or the frame collected.

    Up to 64 MiB it is fetched as a whole. Of a longer one the first 16 MiB say the schema, and `head` and `slice` fetch
    the blocks that the rows lie in. Beyond 512 MiB all rows are parsed block by block: the object may be larger than
    memory. It is held as a whole in any case where it is compressed, the first block has no more rows than
    `infer_schema_length` (None: all), or `skip_rows`, `skip_lines`, `comment_prefix`, `new_columns`,
    `with_column_names` or `try_parse_dates` is given.

    Many objects are listed at once; of a prefix or a pattern those without content are left out. Beyond 512 MiB in all
    they are parsed some at a time, 128 MiB or the longest of them, while the next are fetched, and `head` and `slice`
    end with the objects that the rows lie in; the beginnings of the first ten (`infer_schema_files`) say the schema.
    With `infer_schema_length=None`, `skip_rows`, `skip_lines` or `comment_prefix` all are held
    (`arrowseal.arrow.dataset` reads as many bounded).
    """
    return _lazy_text(table_object, arguments, pl.scan_csv, TableFormat.CSV)


@reads_datasets(scans_objects(pl.scan_ndjson, TableFormat.JSON), OF_MANY)
@tells_urls
@scans(pl.scan_ndjson)
def scan_ndjson(table_object: TableObject, arguments: Arguments) -> pl.LazyFrame:
    """`polars.scan_ndjson` of an encrypted object, which is fetched when the schema is needed or the frame collected,
    a long one in blocks, many objects some at a time: see `scan_csv`. The first of many says their schema.
    """
    return _lazy_text(table_object, arguments, pl.scan_ndjson, TableFormat.JSON)


def _lazy_text(
    table_object: TableObject, arguments: Arguments, scan: Callable[..., pl.LazyFrame], table_format: TableFormat
) -> pl.LazyFrame:
    lazy = LazyWhole if asks_for_whole(table_object) or not reads_blocks(arguments, table_format) else LazyText
    return lazy(table_object, arguments, scan, table_format).frame()


@reads_datasets(scans_objects(pl.scan_ipc, TableFormat.IPC), OF_MANY)
@tells_urls
@scans(pl.scan_ipc)
def scan_ipc(table_object: TableObject, arguments: Arguments) -> pl.LazyFrame:
    """`polars.scan_ipc` of an encrypted object. Nothing is requested until the schema is needed or the frame collected.

    A collection fetches the columns that it needs, of the record batches that its slice lies in; all at once of up to
    512 MiB of which it needs all columns and rows, or where a type is none that pyarrow knows. Many objects are read
    whole, some at a time: see `scan_csv`. The first of them says their schema.
    """
    if asks_for_whole(table_object) or not reads_batches(arguments):
        return LazyWhole(table_object, arguments, pl.scan_ipc, TableFormat.IPC).frame()
    return LazyIpc(table_object, arguments).frame()


def _called_as_write_parquet(face: Callable[..., Any]) -> WriteParquet:
    return cast("WriteParquet", face)


@_called_as_write_parquet
@writes_datasets(write_parquets, partitions="partition_by")
@writes(pl.DataFrame.write_parquet, TableFormat.PARQUET)
def write_parquet(frame: pl.DataFrame, sink: Sink, _: ObjectLocation, arguments: Arguments) -> None:
    """`DataFrame.write_parquet` into an encrypted object.

    `encryption=` takes ours (`CSE(...)`, `PLAIN`); polars' own `ParquetEncryptionProperties` there encrypt inside the
    file, under the encryption of the client.
    """
    _serialise(frame, sink, "write_parquet", arguments)


@writes(pl.DataFrame.write_csv, TableFormat.CSV)
def write_csv(frame: pl.DataFrame, sink: Sink, location: ObjectLocation, arguments: Arguments) -> None:
    """`DataFrame.write_csv` into an encrypted object. Extension and `compression` have to agree, as in polars."""
    _serialise(frame, sink, "write_csv", _with_agreeing_extension(arguments, location))


@writes(pl.DataFrame.write_ipc, TableFormat.IPC)
def write_ipc(frame: pl.DataFrame, sink: Sink, _: ObjectLocation, arguments: Arguments) -> None:
    """`DataFrame.write_ipc` into an encrypted object."""
    _serialise(frame, sink, "write_ipc", arguments)


@writes(pl.DataFrame.write_ndjson, TableFormat.JSON)
def write_ndjson(frame: pl.DataFrame, sink: Sink, location: ObjectLocation, arguments: Arguments) -> None:
    """`DataFrame.write_ndjson` into an encrypted object. Extension and `compression` have to agree, as in polars."""
    _serialise(frame, sink, "write_ndjson", _with_agreeing_extension(arguments, location))


@sinks(pl.LazyFrame.sink_parquet, TableFormat.PARQUET)
def sink_parquet(frame: pl.LazyFrame, into: Any, _: ObjectLocation | None, arguments: Arguments) -> None:
    """`LazyFrame.sink_parquet` into an encrypted object, or into many by a `polars.PartitionBy` whose base path is
    `s3://bucket/prefix`. The query runs at once; objects appear when it has succeeded.
    """
    _run(frame, into, "sink_parquet", arguments)


@sinks(pl.LazyFrame.sink_csv, TableFormat.CSV)
def sink_csv(frame: pl.LazyFrame, into: Any, location: ObjectLocation | None, arguments: Arguments) -> None:
    """`LazyFrame.sink_csv` into an encrypted object, or many: see `sink_parquet`. Extension and `compression` have to
    agree, as in polars.
    """
    _run(frame, into, "sink_csv", arguments if location is None else _with_agreeing_extension(arguments, location))


@sinks(pl.LazyFrame.sink_ipc, TableFormat.IPC)
def sink_ipc(frame: pl.LazyFrame, into: Any, _: ObjectLocation | None, arguments: Arguments) -> None:
    """`LazyFrame.sink_ipc` into an encrypted object, or many: see `sink_parquet`."""
    _run(frame, into, "sink_ipc", arguments)


@sinks(pl.LazyFrame.sink_ndjson, TableFormat.JSON)
def sink_ndjson(frame: pl.LazyFrame, into: Any, location: ObjectLocation | None, arguments: Arguments) -> None:
    """`LazyFrame.sink_ndjson` into an encrypted object, or many: see `sink_parquet`. Extension and `compression` have
    to agree, as in polars.
    """
    _run(frame, into, "sink_ndjson", arguments if location is None else _with_agreeing_extension(arguments, location))


def _run(frame: pl.LazyFrame, into: Any, method: str, arguments: Arguments) -> None:
    if not isinstance(frame, pl.LazyFrame):
        raise ConfigurationError(
            f"{method}() runs a LazyFrame, not {type(frame).__module__}.{type(frame).__name__}: give frame.lazy()"
        )
    if arguments.get("lazy"):
        raise ConfigurationError(f"{method}() takes no lazy= here: what it wrote is kept when the query has succeeded")
    _call(getattr(frame, method), into, arguments)


def _serialise(frame: pl.DataFrame, sink: Sink, method: str, arguments: Arguments) -> None:
    if isinstance(frame, pl.LazyFrame):
        raise ConfigurationError(f"{method}() writes a DataFrame: collect() the LazyFrame first")
    if not isinstance(frame, pl.DataFrame):
        raise ConfigurationError(
            f"{method}() writes polars frames, not {type(frame).__module__}.{type(frame).__name__}"
        )
    _call(getattr(frame, method), sink, arguments)


def _call(method: Callable[..., object], into: Any, arguments: Arguments) -> None:
    """A method of polars that writes. It tells of Ctrl-C by itself, and Python once more at its next step: that is not
    to be the first of those that take back what was written.
    """
    try:
        method(into, **arguments)
    except KeyboardInterrupt:
        try:  # noqa: SIM105 - `suppress` would itself be the next step
            _step()
        except KeyboardInterrupt:
            pass
        raise


def _step() -> None:
    """Where Python looks for signals: the beginning of a function."""


def _with_agreeing_extension(arguments: Arguments, location: ObjectLocation) -> Arguments:
    """What polars checks for a path, which it does not see here."""
    if arguments.get("check_extension", True):
        suffix = location.suffixes[-1] if location.suffixes else ""
        compression: Any = arguments.get("compression", "uncompressed")
        expected = {"gzip": ".gz", "zstd": ".zst"}.get(compression, "")
        if (suffix if suffix in {".gz", ".zst"} else "") != expected:
            raise ConfigurationError(
                f"{location} would be stored with compression={compression!r}, which its extension does not say: "
                f"change one of them, or give check_extension=False"
            )
    return arguments
