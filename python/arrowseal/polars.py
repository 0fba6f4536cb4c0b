"""Reads and writes polars frames in encrypted objects: the functions of polars, with its own signatures.

Every argument of the installed polars works as it does there, except those that would go past the client
(`storage_options`, `credential_provider`), partitions (`partition_by`, `hive_partitioning`) and `include_file_paths`.
The source is one `s3://bucket/key` URL, or None with `bucket=` and `key=`; nothing in it is a pattern. By keyword come
`client` (the default one otherwise), `encryption`, `encryption_context`, `kms_key_id` and `progress`; on reads
`allow_plaintext`, `version_id` and `verify_checksum`, on writes `s3_additional_kwargs`: as in `Client.get` and
`Client.put`.

Objects are held in memory as a whole, on reads twice while polars parses: it takes `bytes` or copies what it is given.

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

from typing import TYPE_CHECKING, Any

from arrowseal.exceptions import ConfigurationError
from arrowseal.extras import require
from arrowseal.tables.formats import TableFormat
from arrowseal.tables.scan import LazyParquet
from arrowseal.tables.stand_in import Arguments, reads, scans, writes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import polars as pl
    from typing_extensions import Buffer

    from arrowseal.location import ObjectLocation
    from arrowseal.tables.sink import Sink
    from arrowseal.tables.table_object import TableObject
else:
    pl = require("polars", "polars")

__all__ = [
    "read_csv",
    "read_ipc",
    "read_ndjson",
    "read_parquet",
    "scan_parquet",
    "write_csv",
    "write_ipc",
    "write_ndjson",
    "write_parquet",
]

_COLUMNS = ("columns",)


def _columns_there(read: Callable[..., pl.DataFrame]) -> Callable[[Buffer, ObjectLocation, Arguments], Collection[str]]:
    return lambda content, _, arguments: read(bytes(content), **(arguments | {"columns": None, "n_rows": 0})).columns


@reads(pl.read_parquet, TableFormat.PARQUET, columns=_COLUMNS, columns_there=_columns_there(pl.read_parquet))
def read_parquet(content: Buffer, _: ObjectLocation, arguments: Arguments) -> pl.DataFrame:
    """`polars.read_parquet` of an encrypted object. `columns` and `n_rows` save parsing, not yet transfer."""
    return pl.read_parquet(bytes(content), **arguments)


@reads(pl.read_csv, TableFormat.CSV, columns=_COLUMNS, columns_there=_columns_there(pl.read_csv))
def read_csv(content: Buffer, _: ObjectLocation, arguments: Arguments) -> pl.DataFrame:
    """`polars.read_csv` of an encrypted object. polars tells gzip, zlib and zstd by the content, whatever the key
    says.
    """
    return pl.read_csv(bytes(content), **arguments)


@reads(pl.read_ipc, TableFormat.IPC, columns=_COLUMNS, columns_there=_columns_there(pl.read_ipc))
def read_ipc(content: Buffer, _: ObjectLocation, arguments: Arguments) -> pl.DataFrame:
    """`polars.read_ipc` of an encrypted object."""
    return pl.read_ipc(bytes(content), **arguments)


@reads(pl.read_ndjson, TableFormat.JSON)
def read_ndjson(content: Buffer, _: ObjectLocation, arguments: Arguments) -> pl.DataFrame:
    """`polars.read_ndjson` of an encrypted object. polars tells gzip, zlib and zstd by the content."""
    return pl.read_ndjson(bytes(content), **arguments)


@scans(pl.scan_parquet)
def scan_parquet(table_object: TableObject, arguments: Arguments) -> pl.LazyFrame:
    """`polars.scan_parquet` of an encrypted object. Nothing is requested until the schema is needed or the frame
    collected.

    The client is the default one of this moment, not of the collection. Each collection is one operation and fetches
    the whole object; projection, predicate and row limit are applied while it is parsed. A fetch for the schema alone
    serves the next collection too. If the object is replaced by one of another schema in between, polars refuses. A
    column of the plan that is not there is polars' own `ColumnNotFoundError`: the plan is polars' alone.
    """
    return LazyParquet(table_object, arguments).frame()


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


def _serialise(frame: pl.DataFrame, sink: Sink, method: str, arguments: Arguments) -> None:
    if isinstance(frame, pl.LazyFrame):
        raise ConfigurationError(f"{method}() writes a DataFrame: collect() the LazyFrame first")
    if not isinstance(frame, pl.DataFrame):
        raise ConfigurationError(
            f"{method}() writes polars frames, not {type(frame).__module__}.{type(frame).__name__}"
        )
    getattr(frame, method)(sink, **arguments)


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
