"""Datasets are written: by partitions, many files at work at a time, each of them whole or not there."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from arrowseal.defaults import client_of
from arrowseal.exceptions import ArrowSealError, ConfigurationError, DatasetWriteError, NoKeyError, ObjectExistsError
from arrowseal.location import ObjectLocation, locate_prefix
from arrowseal.progress import check_progress, object_progress
from arrowseal.tables.arrow_files import file_writer
from arrowseal.tables.asked import checked_number, checked_schema
from arrowseal.tables.dataset_appending import EXTENSIONS, DatasetFileWriter
from arrowseal.tables.dataset_counting import TogetherProgress
from arrowseal.tables.dataset_flow import threads_of
from arrowseal.tables.dataset_lanes import Lanes
from arrowseal.tables.dataset_overwriting import of_partitions
from arrowseal.tables.dataset_partitions import partitioning_to_write
from arrowseal.tables.dataset_split import rows_of
from arrowseal.tables.dataset_writer import GROUP_ROWS, OPEN_FILES, PARTITIONS, DatasetWriter, WritePlan
from arrowseal.tables.dataset_written import WrittenDataset, WrittenFile
from arrowseal.tables.formats import TableFormat
from arrowseal.writing import sharing_data_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from arrowseal.client import Client
    from arrowseal.encryption import Encryption
    from arrowseal.location import Url
    from arrowseal.progress import ProgressOption
    from arrowseal.tables.dataset_split import Rows

ExistingData = Literal["error", "overwrite_or_ignore", "delete_matching"]
WriteMode = Literal["append", "overwrite", "overwrite_partitions"]

AT_WORK_BYTES: Final = 128 * 2**20
"""Rows on their way into files."""
_SHOWN: Final = 5


def write_dataset(
    data: Any,
    base_dir: Url,
    *,
    basename_template: str | None = None,
    format: TableFormat | str = "parquet",  # noqa: A002 - pyarrow's word
    partitioning: Any = None,
    partitioning_flavor: str | None = None,
    schema: pa.Schema | None = None,
    file_options: Mapping[str, Any] | None = None,
    use_threads: bool | int = True,
    max_partitions: int = PARTITIONS,
    max_open_files: int = OPEN_FILES,
    max_rows_per_file: int = 0,
    min_rows_per_group: int = 0,
    max_rows_per_group: int = GROUP_ROWS,
    file_visitor: Callable[[WrittenFile], object] | None = None,
    existing_data_behavior: ExistingData | None = None,
    mode: WriteMode | None = None,
    client: Client | None = None,
    encryption: Encryption | None = None,
    encryption_context: Mapping[str, str] | None = None,
    kms_key_id: str | None = None,
    s3_additional_kwargs: Mapping[str, Any] | None = None,
    progress: ProgressOption | None = None,
    _keeps_keys: bool = False,
) -> WrittenDataset:
    """Write a table as many files under a prefix, by the values of columns.

    Rows keep their order within a partition. One data key serves all files in format V3, as far as they fit into one
    part (8 MiB); see `Client.data_key_reuse`. Memory: of a source that streams, 256 MiB of rows that wait for others of
    their file, 128 MiB on their way, and one part for each open file.

    Args:
        data: anything that speaks Arrow: tables, batches, readers, datasets, frames, relations of DuckDB, lists of
            these; with `schema` an iterable of batches.
        base_dir: the prefix.
        basename_template: the names of files, with `{i}` for a number; `part-{i}.parquet` where that names nothing that
            may be there already, otherwise with something unique in place of `part`.
        format: `"parquet"`, `"ipc"`, `"orc"`, `"csv"` or `"json"`.
        partitioning: names of columns, or `pyarrow.dataset.partitioning(...)` with a schema.
        partitioning_flavor: `"hive"` unless given: `year=2013/`; `"directory"`: `2013/`; `"filename"`: `2013_part-0`.
            Text that could not be read from the path again (a slash, in the latter two) is refused.
        schema: the columns that are written, and their types.
        file_options: the options of `write_table` for the format, `{"compression": "zstd"}`.
        use_threads: True for 16 files at work at a time, False for one, or a number.
        max_partitions: the most partitions of one batch of the source.
        max_open_files: files that are begun; the one that got rows the longest ago is then completed.
        max_rows_per_file: 0 for no limit. Also the most rows of a group then.
        min_rows_per_group: groups are as large as memory allows in any case.
        max_rows_per_group: rows of a row group, or of a record batch.
        file_visitor: is called with each `WrittenFile` when it is there, one at a time, on the threads that write.
        existing_data_behavior: `"error"` unless given: what is there already is a refusal; `"overwrite_or_ignore"`:
            files of the same names are replaced; `"delete_matching"`: as `mode="overwrite_partitions"`.
        mode: `"append"`: beside what is there; `"overwrite"`: in place of everything under the prefix;
            `"overwrite_partitions"`: in place of what is under the prefixes of the partitions that are written, however
            these spell the values, or of the files whose names have them. What is replaced was listed before anything
            was written, and is deleted after everything was.
        client, encryption, encryption_context, kms_key_id, s3_additional_kwargs, progress: as in `Client.put`.

    Raises:
        ConfigurationError: an argument that cannot be; before any request.
        ObjectExistsError: there are objects under the prefix; nothing was written.
        DatasetWriteError: it was not written to the end, and why: `written` has the files that are there. Nothing was
            deleted then, unless `left` has what could not be.

    Example:
        >>> import arrowseal.arrow
        >>> arrowseal.arrow.write_dataset(trips, "s3://lake/trips", partitioning=["year"])  # doctest: +SKIP
        <WrittenDataset: 12 files, 336,776 rows>
    """
    if not isinstance(file_options, Mapping | None):
        raise ConfigurationError(f"file_options= is a mapping of options, not {type(file_options).__name__}")
    if file_visitor is not None and not callable(file_visitor):
        raise ConfigurationError(f"file_visitor= is a function of a WrittenFile, not {type(file_visitor).__name__}")
    chosen = client_of(client)
    existing = _existing(existing_data_behavior, mode)
    base = _base(base_dir)
    table_format = TableFormat.of(base, format)
    rows = rows_of(data, None if schema is None else checked_schema(schema))
    option = chosen.options.progress if progress is None else check_progress(progress)
    plan = WritePlan(
        client=chosen,
        base=base,
        format=table_format,
        options=dict(file_options or {}),
        partitioning=partitioning_to_write(partitioning, partitioning_flavor, rows.schema, keeps_keys=_keeps_keys),
        keeps_keys=_keeps_keys,
        template=_template(basename_template, table_format, existing),
        opening={
            "mode": "xb" if existing == "error" else "wb",
            "encryption": encryption,
            "encryption_context": encryption_context,
            "kms_key_id": kms_key_id,
            "s3_additional_kwargs": s3_additional_kwargs,
            "progress": False,
        },
        max_rows_per_file=checked_number("max_rows_per_file", max_rows_per_file, 0),
        max_rows_per_group=checked_number("max_rows_per_group", max_rows_per_group or GROUP_ROWS, 1),
        max_open_files=checked_number("max_open_files", max_open_files, 1),
        max_partitions=checked_number("max_partitions", max_partitions, 1),
        threads=threads_of(use_threads),
        file_visitor=file_visitor,
    )
    checked_number("min_rows_per_group", min_rows_per_group, 0)
    _check(plan)
    with chosen.counters.operation("write_dataset", base, file_type=table_format.value) as counted:
        shown = object_progress(option, "writing", base)
        before = counted.progress
        if option is not False:
            shown.begin(None)
            counted.progress = TogetherProgress(shown)
        try:
            replaced = _replaced(chosen, base, existing)
            with sharing_data_keys(chosen, encryption):
                written, places = _written(plan, rows)
            deleted = _deleted(plan, replaced, written, None if existing == "overwrite" else places)
        finally:
            shown.close()
            counted.progress = before
        result = WrittenDataset(written, deleted)
        counted.rows = result.rows
    return result


def _written(plan: WritePlan, rows: Rows) -> tuple[tuple[WrittenFile, ...], set[tuple[str, str]]]:
    """The files, and the partitions that they are of: directories, and what names begin with."""
    failure: BaseException
    writer: DatasetWriter | None = None
    try:
        with Lanes(plan.threads, AT_WORK_BYTES) as lanes:
            writer = DatasetWriter(plan, lanes)
            writer.write(rows)
        return writer.files, writer.places
    except BaseException as error:
        if writer is None:
            raise
        writer.abort()
        if not isinstance(error, Exception):
            raise
        failure = error
    reason = f": {failure}" if isinstance(failure, ArrowSealError) else f" ({type(failure).__name__})"
    raise _incomplete(
        plan.base, writer.files, (), f"stopped after {{files}}, of the others there is nothing{reason}"
    ) from failure


def _deleted(
    plan: WritePlan,
    replaced: Sequence[ObjectLocation],
    written: tuple[WrittenFile, ...],
    places: set[tuple[str, str]] | None,
) -> tuple[ObjectLocation, ...]:
    """What was there before and is replaced, deleted: all of it, or what is of some partitions."""
    new = {file.location for file in written}
    if places is not None:
        replaced = of_partitions(replaced, plan.base, plan.partitioning, places)
    old = [one for one in replaced if one not in new]
    gone: list[ObjectLocation] = []

    def delete(location: ObjectLocation) -> None:
        plan.client.delete(location)
        gone.append(location)

    try:
        with Lanes(plan.threads, AT_WORK_BYTES) as lanes:
            for location in old:
                lanes.do(partial(delete, location))
            lanes.finish()
    except ArrowSealError as error:
        left = tuple(one for one in old if one not in set(gone))
        text = f"{{files}} were written, and {len(left)} objects that they replace are still there: {error}"
        raise _incomplete(plan.base, written, left, text) from error
    return tuple(old)


def _incomplete(
    base: ObjectLocation, written: tuple[WrittenFile, ...], left: tuple[ObjectLocation, ...], text: str
) -> DatasetWriteError:
    named = ", ".join(file.path for file in written[:_SHOWN]) + (", ..." if len(written) > _SHOWN else "")
    files = f"{len(written)} whole files" + (f" ({named}; all of them in .written)" if written else "")
    error = DatasetWriteError(f"{base}: " + text.replace("{files}", files))
    error.written, error.left = written, left
    return error


def _replaced(client: Client, base: ObjectLocation, existing: ExistingData | WriteMode) -> list[ObjectLocation]:
    """What is there before anything is written, as far as it matters."""
    if existing in ("append", "overwrite_or_ignore"):
        return []
    if existing == "error":
        if client.list(base, delimiter="/"):
            raise ObjectExistsError(
                f"{base} is not empty: give mode='append', 'overwrite' or 'overwrite_partitions', or another prefix"
            )
        return []
    return [entry.location for entry in client.list(base)]


def _check(plan: WritePlan) -> None:
    """Raise for what cannot be, before any request."""
    location = plan.location("", "", 0)
    file_writer(
        plan.format, location, {name: value for name, value in plan.options.items() if name != "row_group_size"}
    )
    try:
        DatasetFileWriter(plan.client, location, plan.format, plan.options, plan.opening).check()
    except NoKeyError:
        # Where keys go by place, the partitions may have some that the directory above them has not.
        told = plan.client.options
        if plan.partitioning is None or not (told.keyring or isinstance(told.kms_key_id, Mapping)):
            raise


def _existing(behavior: ExistingData | None, mode: WriteMode | None) -> ExistingData | WriteMode:
    if behavior is not None and mode is not None:
        raise ConfigurationError("mode= and existing_data_behavior= say the same: give one of them")
    for name, value, known in (
        ("existing_data_behavior", behavior, get_args(ExistingData)),
        ("mode", mode, get_args(WriteMode)),
    ):
        if value is not None and value not in known:
            raise ConfigurationError(f"{name}={value!r} is not known: " + ", ".join(map(repr, known)))
    return behavior or mode or "error"


def _template(given: str | None, table_format: TableFormat, existing: ExistingData | WriteMode) -> str:
    if given is None:
        stem = "part" if existing in ("error", "overwrite_or_ignore") else uuid.uuid4().hex
        return f"{stem}-{{i}}.{EXTENSIONS[table_format]}"
    if not isinstance(given, str) or given.count("{i}") != 1 or "/" in given:
        raise ConfigurationError("basename_template= is the name of a file with {i} in it, once")
    before, after = given.split("{i}")
    return before.replace("{", "{{").replace("}", "}}") + "{i}" + after.replace("{", "{{").replace("}", "}}")


def _base(url: Url) -> ObjectLocation:
    location = locate_prefix(url)
    key = location.key
    return ObjectLocation(location.bucket, key + "/" if key and not key.endswith("/") else key)
