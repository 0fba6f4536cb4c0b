"""A dataset as a table of Athena: DDL, and the same for the Glue catalog.

Source: "Create tables based on encrypted datasets in Amazon S3" (Athena), `TableInput` and `PartitionInput` (Glue).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from arrowseal.athena.hive_types import hive_type
from arrowseal.exceptions import ConfigurationError, SchemaMismatchError
from arrowseal.location import ObjectLocation
from arrowseal.tables.dataset import EncryptedDataset, dataset
from arrowseal.tables.formats import TableFormat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from arrowseal.client import Client
    from arrowseal.head import ObjectHead
    from arrowseal.location import Url

_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,255}")
_UNSPEAKABLE: Final = re.compile(r"[`\x00-\x1f\x7f]")
_KEY_ARN: Final = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[\w-]+")
_PARTITIONS_AT_ONCE: Final = 100
"""What `BatchCreatePartition` takes, and a statement that is still readable."""
_HIVE: Final = "org.apache.hadoop.hive"
_TEXT: Final = ("org.apache.hadoop.mapred.TextInputFormat", f"{_HIVE}.ql.io.HiveIgnoreKeyTextOutputFormat")


@dataclass(frozen=True)
class _Storage:
    """How the engine reads a file format."""

    serde: str
    serde_parameters: Mapping[str, str]
    input_format: str
    output_format: str


_STORAGE: Final = {
    TableFormat.PARQUET: _Storage(
        f"{_HIVE}.ql.io.parquet.serde.ParquetHiveSerDe",
        {"serialization.format": "1"},
        f"{_HIVE}.ql.io.parquet.MapredParquetInputFormat",
        f"{_HIVE}.ql.io.parquet.MapredParquetOutputFormat",
    ),
    TableFormat.ORC: _Storage(
        f"{_HIVE}.ql.io.orc.OrcSerde",
        {"serialization.format": "1"},
        f"{_HIVE}.ql.io.orc.OrcInputFormat",
        f"{_HIVE}.ql.io.orc.OrcOutputFormat",
    ),
    TableFormat.CSV: _Storage(
        f"{_HIVE}.serde2.OpenCSVSerde", {"separatorChar": ",", "quoteChar": '"', "escapeChar": "\\"}, *_TEXT
    ),
    TableFormat.JSON: _Storage("org.openx.data.jsonserde.JsonSerDe", {}, *_TEXT),
}


@dataclass(frozen=True)
class _Table:
    """What DDL and catalog say of a dataset."""

    location: str
    columns: tuple[tuple[str, str], ...]
    partition_columns: tuple[tuple[str, str], ...]
    file_format: TableFormat
    parameters: Mapping[str, str]


def create_table_ddl(
    source: EncryptedDataset | Url,
    name: str,
    *,
    database: str | None = None,
    kms_key_id: str | None = None,
    comment: str | None = None,
    csv_header: bool = True,
    if_not_exists: bool = True,
    client: Client | None = None,
) -> str:
    """The `CREATE EXTERNAL TABLE` with which Athena reads a dataset, and keeps it encrypted when it inserts.

    Its partitions are not in it: run `add_partitions_ddl` afterwards, or `MSCK REPAIR TABLE` for Hive's paths.

    CSV is read by Athena's OpenCSVSerde, to which every backslash begins an escape, and to writers of CSV none does:
    text that may have some belongs into Parquet.

    Args:
        source: a dataset of `arrowseal.arrow.dataset`, or the URL to make one of. Its first file is asked for the
            columns and how it is encrypted.
        name, database: letters, digits and `_`; Athena turns them into lower case.
        kms_key_id: the ARN of the KMS key of client-side encryption; by default that which opened the first file.
        comment: of the table.
        csv_header: whether CSV files begin with the names of their columns.
        client: for a URL.

    Raises:
        ConfigurationError: names that Athena does not take, files that it does not read (format V3, raw keys, an
            encryption context, SSE-C, Arrow IPC, several formats), or no ARN of the key.
        SchemaMismatchError: a column whose name or type Athena does not have.

    Example:
        >>> print(create_table_ddl(trips, "trips"))  # doctest: +SKIP
        CREATE EXTERNAL TABLE IF NOT EXISTS `trips` (
          `fare` double
        )
        PARTITIONED BY (`year` int)
        ...
        TBLPROPERTIES (
          'classification'='parquet',
          'encryption_option'='CSE_KMS',
          ...
    """
    full_name = _full_name(name, database)
    table = _described(source, kms_key_id, csv_header, client)
    storage = _STORAGE[table.file_format]
    columns = ",\n".join(f"  {_column(column)} {kind}" for column, kind in table.columns)
    lines = [
        f"CREATE EXTERNAL TABLE {'IF NOT EXISTS ' if if_not_exists else ''}{full_name} (\n{columns}\n)",
        *([f"COMMENT {_text(comment)}"] if comment else []),
    ]
    if table.partition_columns:
        keys = ", ".join(f"{_column(column)} {kind}" for column, kind in table.partition_columns)
        lines.append(f"PARTITIONED BY ({keys})")
    lines.append(f"ROW FORMAT SERDE {_text(storage.serde)}")
    if storage.serde_parameters:
        lines.append(f"WITH SERDEPROPERTIES ({_properties(storage.serde_parameters, ', ')})")
    lines += [
        f"STORED AS INPUTFORMAT {_text(storage.input_format)}",
        f"OUTPUTFORMAT {_text(storage.output_format)}",
        f"LOCATION {_text(table.location)}",
        "TBLPROPERTIES (\n  " + _properties(table.parameters, ",\n  ") + "\n)",
    ]
    return "\n".join(lines)


def add_partitions_ddl(
    source: EncryptedDataset | Url, name: str, *, database: str | None = None, client: Client | None = None
) -> list[str]:
    """The `ALTER TABLE ... ADD PARTITION` statements for the partitions of a dataset, a hundred in each; none for a
    dataset without partitions. Paths of any flavor will do.

    Raises as `create_table_ddl` does. No file is opened.
    """
    full_name, found = _full_name(name, database), _dataset(source, client)
    names = found.partition_schema.names
    clauses = [
        f"PARTITION ({', '.join(f'{_column(key)}={_text(value)}' for key, value in zip(names, values, strict=True))}) "
        f"LOCATION {_text(location)}"
        for values, location in _partitions(found)
    ]
    batches = [clauses[at : at + _PARTITIONS_AT_ONCE] for at in range(0, len(clauses), _PARTITIONS_AT_ONCE)]
    return [f"ALTER TABLE {full_name} ADD IF NOT EXISTS\n  " + "\n  ".join(batch) for batch in batches]


def table_input(
    source: EncryptedDataset | Url,
    name: str,
    *,
    kms_key_id: str | None = None,
    comment: str | None = None,
    csv_header: bool = True,
    client: Client | None = None,
) -> dict[str, Any]:
    """The `TableInput` for Glue's `create_table` and `update_table`: the same table as that of `create_table_ddl`, with
    the same arguments and errors.

    >>> glue.create_table(DatabaseName="weather", TableInput=table_input(trips, "trips"))  # doctest: +SKIP
    """
    _full_name(name, None)
    table = _described(source, kms_key_id, csv_header, client)
    return {
        "Name": name.lower(),
        **({"Description": comment} if comment else {}),
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", **table.parameters},
        "PartitionKeys": [{"Name": column, "Type": kind} for column, kind in table.partition_columns],
        "StorageDescriptor": _storage_descriptor(table, table.location),
    }


def partition_inputs(source: EncryptedDataset | Url, *, client: Client | None = None) -> list[dict[str, Any]]:
    """The `PartitionInput`s of a dataset for Glue's `batch_create_partition`, which takes a hundred at a time."""
    found = _dataset(source, client)
    table = _Table("", *_columns(found), _format(found), {})
    return [
        {"Values": list(values), "StorageDescriptor": _storage_descriptor(table, location)}
        for values, location in _partitions(found)
    ]


def table_parameters(
    source: EncryptedDataset | Url, *, kms_key_id: str | None = None, client: Client | None = None
) -> dict[str, str]:
    """What tells Athena how the files of a dataset are encrypted, for tables that exist already: the table properties
    `encryption_option`, `kms_key` and `has_encrypted_data`. Empty for plain files. Arguments and errors as above.
    """
    return _encryption(_dataset(source, client), kms_key_id)


def _described(
    source: EncryptedDataset | Url, kms_key_id: str | None, csv_header: bool, client: Client | None
) -> _Table:
    found = _dataset(source, client)
    file_format = _format(found)
    columns, partition_columns = _columns(found)
    parameters = {"classification": file_format.value}
    if file_format is TableFormat.CSV and csv_header:
        parameters["skip.header.line.count"] = "1"
    return _Table(_base(found), columns, partition_columns, file_format, parameters | _encryption(found, kms_key_id))


def _dataset(source: EncryptedDataset | Url, client: Client | None) -> EncryptedDataset:
    if isinstance(source, EncryptedDataset):
        if client is not None:
            raise ConfigurationError("client= is for a URL: a dataset has its own")
        return source
    return dataset(source, client=client)


def _columns(found: EncryptedDataset) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """The columns of files and those of paths, each with its Hive type."""
    of_paths, file_format = set(found.partition_schema.names), _format(found)
    seen: dict[str, str] = {}
    for name in found.schema.names:
        _column(name)
        other = seen.setdefault(name.lower(), name)
        if other != name or found.schema.names.count(name) > 1:
            raise SchemaMismatchError(
                f"Athena tells no upper from lower case: {other!r} and {name!r} are one column there"
            )
    own = tuple((one.name, hive_type(one, file_format)) for one in found.schema if one.name not in of_paths)
    if not own:
        raise SchemaMismatchError("a table of Athena has at least one column that is no partition")
    return own, tuple((one.name, hive_type(one)) for one in found.partition_schema)


def _format(found: EncryptedDataset) -> TableFormat:
    formats = {found.source.files.format_of(member.found) for member in found.source.members}
    if len(formats) != 1:
        raise ConfigurationError("a table of Athena has files of one format; this dataset has several")
    (file_format,) = formats
    if file_format not in _STORAGE:
        raise ConfigurationError(f"Athena does not read {file_format.value} files: write Parquet")
    return file_format


def _base(found: EncryptedDataset) -> str:
    """The prefix under which all files are, as a URL that ends in `/`: the table is whatever is there."""
    base = str(found.source.location).rstrip("/") + "/"
    for member in found.source.members:
        if str(member.location) != base + member.found.path:
            raise ConfigurationError(
                f"a table of Athena is all that is under a prefix, which {found.source.shown} is not: give the dataset "
                "of a prefix"
            )
    return base


def _partitions(found: EncryptedDataset) -> Iterator[tuple[tuple[str, ...], str]]:
    """Values and location of each partition, in order."""
    if not found.partition_schema.names:
        return
    seen: dict[tuple[str, ...], str] = {}
    for member in found.source.members:
        values = tuple(_said(member.partition.values.get(name)) for name in found.partition_schema.names)
        location = str(ObjectLocation(member.location.bucket, member.location.key.rpartition("/")[0] + "/"))
        other = seen.setdefault(values, location)
        if other != location:
            raise ConfigurationError(
                f"one partition in two places, {other} and {location}, is none that Athena can have"
            )
    yield from seen.items()


def _said(value: Any) -> str:
    """A value as paths of Hive and the catalog say it."""
    if value is None:
        return "__HIVE_DEFAULT_PARTITION__"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _encryption(found: EncryptedDataset, kms_key_id: str | None) -> dict[str, str]:
    """How the first file says that all are encrypted, as table properties."""
    first, client = found.source.first, found.source.files.client
    found.schema  # noqa: B018 - opens the first file, so that the KMS key that opened it is known
    head = client.head(first.location)
    if head.encryption in ("PLAIN", "SSE-S3", "SSE-KMS"):
        if kms_key_id is not None:
            raise ConfigurationError(
                f"{first.location} is {head.encryption}: kms_key_id= is for client-side encryption"
            )
        if head.encryption == "PLAIN":
            return {}
        key = {"kms_key": head.kms_key_arn} if head.kms_key_arn else {}
        return {"encryption_option": head.encryption.replace("-", "_"), **key}
    _check_readable(head)
    arn = kms_key_id or head.kms_key_arn or client.options.kms_key_id
    if not isinstance(arn, str) or not _KEY_ARN.fullmatch(arn):
        raise ConfigurationError(
            f"{first.location}: Athena takes the KMS key by its ARN (arn:aws:kms:REGION:ACCOUNT:key/ID): give it "
            "as kms_key_id="
        )
    # The first two count; the third one is what the console shows a key for.
    return {"encryption_option": "CSE_KMS", "kms_key": arn, "has_encrypted_data": "true"}


def _check_readable(head: ObjectHead) -> None:
    if head.encryption == "SSE-C":
        raise ConfigurationError(f"{head.location} is SSE-C, which Athena does not read")
    if head.encryption != "CSE V2" or head.wrap not in ("kms+context", "kms"):
        raise ConfigurationError(
            f"{head.location} is {head.encryption} ({head.wrap}), and Athena reads CSE V2 under a KMS key: write it "
            "with a client of interop='analytics'"
        )
    if head.wrap == "kms+context" and head.context_keys:
        raise ConfigurationError(
            f"{head.location} has an encryption context, and engines give none: write it without one, with a client of "
            "interop='analytics'"
        )


def _storage_descriptor(table: _Table, location: str) -> dict[str, Any]:
    storage = _STORAGE[table.file_format]
    return {
        "Columns": [{"Name": column, "Type": kind} for column, kind in table.columns],
        "Location": location,
        "InputFormat": storage.input_format,
        "OutputFormat": storage.output_format,
        "SerdeInfo": {"SerializationLibrary": storage.serde, "Parameters": dict(storage.serde_parameters)},
    }


def _full_name(name: str, database: str | None) -> str:
    for part in (name,) if database is None else (name, database):
        if not isinstance(part, str) or not _NAME.fullmatch(part):
            raise ConfigurationError(f"{part!r} is no name of a table or database: letters, digits and _ make one")
    return f"`{name.lower()}`" if database is None else f"`{database.lower()}`.`{name.lower()}`"


def _column(name: str) -> str:
    if not name or len(name) > 255 or _UNSPEAKABLE.search(name):
        raise SchemaMismatchError(f"{name!r} is no name of a column in Athena: rename it")
    return f"`{name}`"


def _text(value: str | None) -> str:
    """A literal: whatever is in it stays in it."""
    quoted = str(value).replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{quoted}'"


def _properties(properties: Mapping[str, str], between: str) -> str:
    return between.join(f"{_text(name)}={_text(value)}" for name, value in properties.items())
