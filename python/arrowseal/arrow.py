"""Reads and writes Arrow tables in encrypted objects: Parquet, Arrow IPC (Feather), ORC, CSV and JSON lines.

With `columns` or `filters`, only the parts of a Parquet, IPC or ORC object that they need are fetched, each proven
before it is parsed; by which rule says `arrowseal.tables.parquet`. Otherwise objects are held in memory as a whole.
Arrow reads the proven content where it lies: columns of an uncompressed IPC file are views into it, and keep it alive.
Parsing releases the GIL as pyarrow does.

`dataset` and `write_dataset` do so for tables of many objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from arrowseal.tables.arrow_files import as_table, file_reader, file_writer
from arrowseal.tables.asked import checked_list
from arrowseal.tables.dataset import EncryptedDataset as EncryptedDataset
from arrowseal.tables.dataset import dataset
from arrowseal.tables.dataset_scan import DatasetScan as DatasetScan
from arrowseal.tables.dataset_write import write_dataset
from arrowseal.tables.dataset_written import WrittenDataset as WrittenDataset
from arrowseal.tables.dataset_written import WrittenFile as WrittenFile
from arrowseal.tables.formats import TableFormat
from arrowseal.tables.refusal import filter_names
from arrowseal.tables.scan import Scan
from arrowseal.tables.table_object import TableObject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from arrowseal.client import Client
    from arrowseal.encryption import Encryption
    from arrowseal.location import Url
    from arrowseal.progress import ProgressOption
    from arrowseal.suites import AnyContext
    from arrowseal.writing import PutResult

__all__ = ["dataset", "read_table", "scan", "write_dataset", "write_table"]


def read_table(
    url: Url | None = None,
    *,
    bucket: str | None = None,
    key: str | None = None,
    format: TableFormat | str | None = None,  # noqa: A002 - the public word for it
    columns: Sequence[str] | None = None,
    client: Client | None = None,
    encryption: Encryption | None = None,
    encryption_context: Mapping[str, str] | AnyContext | None = None,
    kms_key_id: str | None = None,
    allow_plaintext: bool | None = None,
    version_id: str | None = None,
    verify_checksum: bool | None = None,
    progress: ProgressOption | None = None,
    **options: Any,
) -> pa.Table:
    """The table in an object.

    Args:
        url: `s3://bucket/key`; or give `bucket` and `key`.
        format: `"parquet"`, `"ipc"` (`"arrow"`, `"feather"`), `"orc"`, `"csv"`, `"json"` (`"ndjson"`, `"jsonl"`);
            otherwise the extension of the key says it. Text may be compressed as a whole (`.csv.gz`, `.ndjson.zst`).
        columns: these columns only, in this order; `a.b` is a field of a nested Parquet or ORC column.
        options: for Parquet those of `pyarrow.parquet.ParquetFile` and of its `read`, and `filters` as
            `pyarrow.parquet.read_table` takes them: row groups that cannot hold such rows are not fetched. For IPC
            those of `pyarrow.ipc.IpcReadOptions`, for CSV and JSON of `pyarrow.csv.read_csv` and
            `pyarrow.json.read_json`. ORC has none.
        client, encryption, encryption_context, kms_key_id, allow_plaintext, version_id, verify_checksum, progress: as
            in `Client.get`.

    Raises, besides what `Client.get` raises:
        ConfigurationError: no format is given, and the key says none.
        ColumnNotFoundError: a column that was asked for is not there.
        NotATableError: the content is not such a table.
        TypeError: an option that does not exist, before any request.

    Example:
        >>> import arrowseal.arrow
        >>> arrowseal.arrow.read_table("s3://tables/flights.parquet", columns=["carrier"])  # doctest: +SKIP
    """
    keywords: dict[str, Any] = {"client": client, "bucket": bucket, "key": key, "version_id": version_id}
    keywords |= {"encryption": encryption, "encryption_context": encryption_context, "kms_key_id": kms_key_id}
    keywords |= {"allow_plaintext": allow_plaintext, "verify_checksum": verify_checksum, "progress": progress}
    table_object = TableObject.at(url, keywords)
    location = table_object.location
    table_format = TableFormat.of(location, format)
    asked = checked_list(columns)
    reader = file_reader(table_format, location, options)
    return table_object.read_parts(
        "read_table",
        table_format,
        lambda source: reader.read(source, asked),
        whole=not reader.reads_parts(asked),
        columns_asked=[*(asked or ()), *filter_names(options.get("filters"))],
        columns_there=reader.names,
    )


def scan(
    url: Url | None = None,
    *,
    bucket: str | None = None,
    key: str | None = None,
    format: TableFormat | str | None = None,  # noqa: A002 - the public word for it
    columns: Sequence[str] | None = None,
    client: Client | None = None,
    encryption: Encryption | None = None,
    encryption_context: Mapping[str, str] | AnyContext | None = None,
    kms_key_id: str | None = None,
    allow_plaintext: bool | None = None,
    version_id: str | None = None,
    **options: Any,
) -> Scan:
    """The table in an object as an Arrow stream, fetched anew by each who consumes it: see `Scan`. Sends no request.

    Arguments and errors are those of `read_table`. Parquet is fetched in waves of row groups, so that a table may be
    larger than memory.

    Example:
        >>> import arrowseal.arrow, polars as pl
        >>> pl.DataFrame(arrowseal.arrow.scan("s3://tables/flights.parquet", columns=["carrier"]))  # doctest: +SKIP
    """
    keywords: dict[str, Any] = {"client": client, "bucket": bucket, "key": key, "version_id": version_id}
    keywords |= {"encryption": encryption, "encryption_context": encryption_context, "kms_key_id": kms_key_id}
    keywords |= {"allow_plaintext": allow_plaintext}
    table_object = TableObject.at(url, keywords)
    asked = checked_list(columns)
    return Scan(table_object, TableFormat.of(table_object.location, format), asked, options)


def write_table(
    table: Any,
    url: Url | None = None,
    *,
    bucket: str | None = None,
    key: str | None = None,
    format: TableFormat | str | None = None,  # noqa: A002 - the public word for it
    client: Client | None = None,
    encryption: Encryption | None = None,
    encryption_context: Mapping[str, str] | None = None,
    kms_key_id: str | None = None,
    s3_additional_kwargs: Mapping[str, Any] | None = None,
    progress: ProgressOption | None = None,
    **options: Any,
) -> PutResult:
    """Writes a table into an object.

    Args:
        table: a `pyarrow.Table`, `RecordBatch` or `RecordBatchReader`, or anything with `__arrow_c_stream__`: frames of
            pandas and polars, relations of DuckDB, ... A reader is read to its end.
        url: `s3://bucket/key`; or give `bucket` and `key`.
        format: as in `read_table`. Text is compressed as the extension of the key says (`.csv.gz`).
        options: for Parquet those of `pyarrow.parquet.write_table` and `ParquetWriter`, for IPC those of
            `pyarrow.ipc.IpcWriteOptions`, for ORC `pyarrow.orc.ORCWriter`, for CSV `pyarrow.csv.WriteOptions`; JSON
            has none.
        client, encryption, encryption_context, kms_key_id, s3_additional_kwargs, progress: as in `Client.put`.

    Raises, besides what `Client.put` raises:
        ConfigurationError: no format is given and the key says none, or `table` is no table.
        TypeError: an option that does not exist. Whatever pyarrow raises on values that the format does not carry.
            There is no object then.

    Example:
        >>> import arrowseal.arrow, pyarrow as pa
        >>> arrowseal.arrow.write_table(pa.table({"n": [1, 2]}), "s3://tables/n.parquet")  # doctest: +SKIP
    """
    keywords: dict[str, Any] = {"client": client, "bucket": bucket, "key": key}
    keywords |= {"encryption": encryption, "encryption_context": encryption_context, "kms_key_id": kms_key_id}
    keywords |= {"s3_additional_kwargs": s3_additional_kwargs, "progress": progress}
    table_object = TableObject.at(url, keywords)
    location = table_object.location
    table_format = TableFormat.of(location, format)
    write = file_writer(table_format, location, options)
    whole = as_table(table)

    return table_object.write("write_table", table_format, whole, lambda sink: write(whole, pa.PythonFile(sink, "w")))
