"""Datasets: tables of many objects, read as one, with the habits of `pyarrow.dataset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from arrowseal.defaults import client_of
from arrowseal.exceptions import ConfigurationError
from arrowseal.location import ObjectLocation, locate_prefix
from arrowseal.tables.asked import checked_schema
from arrowseal.tables.dataset_files import Files
from arrowseal.tables.dataset_flow import threads_of
from arrowseal.tables.dataset_listing import HIDDEN, Selection, find
from arrowseal.tables.dataset_partitions import Partitions, accepted, check_partitioning, partitions_of
from arrowseal.tables.dataset_scan import BATCH_ROWS, Columns, DatasetScan
from arrowseal.tables.dataset_source import DatasetFile, DatasetSource, as_expression
from arrowseal.tables.partition_types import arrow_type

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator

    import pyarrow as pa
    import pyarrow.compute as pc

    from arrowseal.client import Client
    from arrowseal.encryption import Encryption
    from arrowseal.location import Url
    from arrowseal.progress import ProgressOption
    from arrowseal.suites import AnyContext
    from arrowseal.tables.dataset_listing import Found
    from arrowseal.tables.formats import TableFormat


class EncryptedDataset:
    """Tables of many objects as one, made by `arrowseal.arrow.dataset`. It holds nothing of its objects.

    It may be read again and again, also by several threads, and whatever takes Arrow streams reads it as it is: frames
    of polars and pandas, DuckDB, `pyarrow.table(...)`. Its files are those that were there when it was made. A read is
    one operation in the counters.

    >>> trips = arrowseal.arrow.dataset("s3://lake/trips/")  # doctest: +SKIP
    >>> trips.to_table(columns=["distance"], filter=pc.field("year") == 2013)  # doctest: +SKIP
    """

    def __init__(self, source: DatasetSource, filter: pc.Expression | None = None) -> None:  # noqa: A002 - pyarrow's word
        self.source: Final = source
        """Its files, and how they are read."""
        self._filter = filter

    @property
    def schema(self) -> pa.Schema:
        """The columns, those of partitions last. Unless a schema was given, the first file is asked for it, or with
        `unify_schemas` every one; once.
        """
        return self.source.schema()

    @property
    def files(self) -> list[str]:
        """The URLs of its objects, in the order in which they are read."""
        return [member.path for member in self.source.members]

    @property
    def partition_schema(self) -> pa.Schema:
        """The columns that paths say."""
        return self.source.partition_schema

    def get_fragments(self, filter: Any = None) -> list[DatasetFile]:  # noqa: A002
        """The files that may have rows of a filter, as far as their paths tell. No file is opened, except for the
        schema if the filter names other columns than those of partitions.
        """
        return self.source.pruned(self._with(filter))[0]

    def filter(self, expression: Any) -> EncryptedDataset:
        """The rows of it for which a filter is true, in addition to those that it has."""
        return EncryptedDataset(self.source, self._with(expression))

    def replace_schema(self, schema: pa.Schema) -> EncryptedDataset:
        """The same files, read under another schema."""
        return EncryptedDataset(replace(self.source, given_schema=checked_schema(schema), rounds=True), self._filter)

    def scanner(
        self,
        columns: Columns = None,
        filter: Any = None,  # noqa: A002
        batch_size: int = BATCH_ROWS,
        use_threads: bool | int | None = None,
    ) -> DatasetScan:
        """A read of it, to be done later.

        Args:
            columns: names, or expressions by the names of their results; all unless given.
            filter: an expression of pyarrow, or tuples in lists (`[("year", "=", 2013)]`). Files of other partitions
                are not requested, row groups of Parquet only where statistics do not exclude them.
            batch_size: the most rows of a batch.
            use_threads: as for the dataset, unless given.
        """
        return DatasetScan(self.source, columns, self._with(filter), batch_size, use_threads)

    def to_table(self, columns: Columns = None, filter: Any = None, **options: Any) -> pa.Table:  # noqa: A002
        """All of it, or those columns and rows, in memory. Arguments as for `scanner`."""
        return self.scanner(columns, filter, **options).to_table()

    def to_batches(
        self,
        columns: Columns = None,
        filter: Any = None,  # noqa: A002
        **options: Any,
    ) -> Iterator[pa.RecordBatch]:
        """It in batches, in the order of files and rows. Memory: 256 MiB of what is read ahead, or the one row group or
        block that is larger. Closing the iterator stops the read.
        """
        return self.scanner(columns, filter, **options).to_batches()

    def head(self, num_rows: int, columns: Columns = None, filter: Any = None, **options: Any) -> pa.Table:  # noqa: A002
        """Its first rows, from the first file alone if that has them."""
        return self.scanner(columns, filter, **options).head(num_rows)

    def count_rows(self, filter: Any = None, **options: Any) -> int:  # noqa: A002
        """How many rows it has. Parquet and ORC files are asked for their footers only, unless a filter looks at other
        columns than those of partitions.
        """
        return self.scanner(None, filter, **options).count_rows()

    def __arrow_c_schema__(self) -> Any:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.scanner().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return f"<EncryptedDataset {self.source.shown}, {len(self.source.members):,} files>"

    def _with(self, filter: Any) -> pc.Expression | None:  # noqa: A002
        expression = as_expression(filter)
        if self._filter is None or expression is None:
            return expression if self._filter is None else self._filter
        return self._filter & expression


def dataset(
    source: Url | Sequence[Url],
    schema: pa.Schema | None = None,
    format: TableFormat | str | None = None,  # noqa: A002 - pyarrow's word
    *,
    partitioning: Any = "hive",
    partition_base_dir: str | None = None,
    ignore_prefixes: str | Sequence[str] | None = HIDDEN,
    unify_schemas: bool = False,
    missing_columns: Literal["insert", "raise"] = "insert",
    extra_columns: Literal["ignore", "raise"] = "ignore",
    filter: Any = None,  # noqa: A002
    partition_filter: Callable[[dict[str, str]], bool] | None = None,
    path_suffix: str | Sequence[str] | None = None,
    path_ignore_suffix: str | Sequence[str] | None = None,
    last_modified_begin: dt.datetime | None = None,
    last_modified_end: dt.datetime | None = None,
    use_threads: bool | int = True,
    client: Client | None = None,
    encryption: Encryption | None = None,
    encryption_context: Mapping[str, str] | AnyContext | None = None,
    kms_key_id: str | None = None,
    allow_plaintext: bool | None = None,
    version_id: str | Mapping[str, str] | None = None,
    two_passes: bool = False,
    progress: ProgressOption | None = None,
    _type_of: Callable[[set[str]], pa.DataType] = arrow_type,
    _shows_keys: bool = False,
    _operation: str = "dataset",
    **options: Any,
) -> EncryptedDataset:
    """Tables in many objects, to be read as one. What the objects are is listed now, none of them is opened. Logs of
    Delta, Hudi and Iceberg tables are not read, but warned of: files that no longer count are among those listed.

    Args:
        source: a prefix (`s3://lake/trips/`), a pattern (`s3://lake/trips/**/*.parquet`; `*`, `?` and `[...]` stay
            within one level), one object, or a list of them. A location instead of a URL is never a pattern.
        schema: the columns and their types; otherwise those of the first file. Columns that a file does not have are
            null, others than these are not read, and types are converted where no value changes, but that floats
            are rounded to shorter ones that are given here. What paths say is read as the types that it has.
        format: as in `read_table`; the extension of each file says it otherwise.
        partitioning: how paths say the values of columns: `"hive"` (`year=2013/`), names of one column for each level,
            `pyarrow.dataset.partitioning(...)`, or None. What paths say is not authenticated.
        partition_base_dir: where paths begin; otherwise the prefix, what comes before the first special character of a
            pattern, or the bucket for one object or a list.
        ignore_prefixes: what the names of files and directories begin with that are left out.
        missing_columns, extra_columns: `"raise"` refuses files without a column that is read, or with others than the
            schema has, instead of that.
        unify_schemas: all columns of all files, in types that hold all of theirs, instead of those of the first file.
        filter: rows, for every read; as in `EncryptedDataset.scanner`.
        partition_filter: which partitions, by a function of their values as strings.
        path_suffix, path_ignore_suffix, last_modified_begin, last_modified_end: which files, by the ends of their names
            and by datetimes with a time zone.
        use_threads: True for 16 files at work at a time, False for one, or a number.
        version_id: of one object, or by URL.
        two_passes: see `Client.object`, for large files of text without an index.
        client, encryption, encryption_context, kms_key_id, allow_plaintext, progress: as in `Client.get`; progress is
            that of the whole.
        options: as in `read_table`, `filters` aside: it is `filter` here.

    Raises, besides what `Client.list` raises:
        ObjectNotFoundError: there are no such objects.
        ConfigurationError: an argument that cannot be, paths that do not fit the partitioning.
        TypeError: an option that does not exist.

    Reads raise, besides what `Client.object` raises: `NotATableError`, `ColumnNotFoundError`, `SchemaMismatchError`.

    Example:
        >>> import arrowseal.arrow
        >>> trips = arrowseal.arrow.dataset("s3://lake/trips/")  # doctest: +SKIP
        >>> trips.to_table(filter=[("year", "=", 2013)])  # doctest: +SKIP
    """
    chosen = client_of(client)
    threads_of(use_threads)
    if "filters" in options:
        raise TypeError("dataset() got an unexpected keyword argument 'filters': it is filter= here")
    if missing_columns not in ("insert", "raise") or extra_columns not in ("ignore", "raise"):
        raise ConfigurationError("missing_columns= is 'insert' or 'raise', extra_columns= is 'ignore' or 'raise'")
    if partition_filter is not None and not callable(partition_filter):
        raise ConfigurationError(
            f"partition_filter= is a function of the values of a partition, not {type(partition_filter).__name__}"
        )
    if not isinstance(partition_base_dir, str | None):
        raise ConfigurationError(f"partition_base_dir= is a string, not {type(partition_base_dir).__name__}")
    check_partitioning(partitioning)
    if schema is not None:
        checked_schema(schema)
    selection = Selection(
        ignore_prefixes=ignore_prefixes,
        shows_keys=_shows_keys,
        path_suffix=path_suffix,
        path_ignore_suffix=path_ignore_suffix,
        last_modified_begin=last_modified_begin,
        last_modified_end=last_modified_end,
    )
    keywords: dict[str, Any] = {"encryption": encryption, "encryption_context": encryption_context}
    keywords |= {"kms_key_id": kms_key_id, "allow_plaintext": allow_plaintext, "two_passes": two_passes}
    expression = as_expression(filter)
    found, shown = find(chosen, source, partition_base_dir, selection)
    files = Files(chosen, keywords, format, options, _versions(version_id, found))
    for one in {files.format_of(one): one for one in found}.values():
        files.check(one)
    partitions = partitions_of([one.path for one in found], partitioning, _type_of, schema)
    location = found[0].location if isinstance(source, Sequence) and not isinstance(source, str) else source
    return dataset_of(
        files,
        found,
        partitions,
        partition_filter=partition_filter,
        filter=expression,
        location=location if isinstance(location, ObjectLocation) else locate_prefix(location),
        shown=shown,
        given_schema=schema,
        rounds=schema is not None,
        unify_schemas=unify_schemas,
        missing_columns=missing_columns,
        extra_columns=extra_columns,
        use_threads=use_threads,
        progress=progress,
        operation=_operation,
    )


def dataset_of(
    files: Files,
    found: Sequence[Found],
    partitions: Partitions,
    *,
    partition_filter: Callable[[dict[str, str]], bool] | None = None,
    filter: pc.Expression | None = None,  # noqa: A002
    **source: Any,
) -> EncryptedDataset:
    """The dataset of files that were found. `source` are fields of `DatasetSource`."""
    members = [DatasetFile(one, partitions.of_path[one.path]) for one in found]
    if partition_filter is not None:
        kept = {id(one) for one in accepted(partitions.of_path.values(), partition_filter)}
        members = [member for member in members if id(member.partition) in kept]
    first = found[0]
    whole: dict[str, Any] = {"location": first.location, "shown": str(first.location)} | source
    return EncryptedDataset(
        DatasetSource(files=files, members=tuple(members), first=first, partition_schema=partitions.schema, **whole),
        filter,
    )


def _versions(version_id: str | Mapping[str, str] | None, found: Sequence[Found]) -> Mapping[str, str]:
    if version_id is None:
        return {}
    if not isinstance(version_id, str):
        strangers = sorted(version_id.keys() - {str(one.location) for one in found})
        if strangers:
            raise ConfigurationError(f"version_id= names {strangers[0]}, which is no object of the dataset")
        return dict(version_id)
    if len(found) > 1:
        raise ConfigurationError(f"version_id= is that of one object, and there are {len(found)}: give it by URL")
    return {str(found[0].location): version_id}
