"""Compaction: many small files of a dataset become few, and nothing is deleted before what replaces it is proven."""

from __future__ import annotations

import uuid
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa

from arrowseal.defaults import default_client
from arrowseal.encryption import CSE
from arrowseal.exceptions import ArrowSealError, ConfigurationError, DatasetWriteError
from arrowseal.frames import Framed
from arrowseal.location import ObjectLocation, locate, locate_prefix
from arrowseal.suites import V3, Format
from arrowseal.tables.arrow_files import file_writer
from arrowseal.tables.dataset import EncryptedDataset, dataset_of
from arrowseal.tables.dataset_appending import EXTENSIONS, DatasetFileWriter
from arrowseal.tables.dataset_files import Files
from arrowseal.tables.dataset_flow import threads_of
from arrowseal.tables.dataset_lanes import Lanes
from arrowseal.tables.dataset_listing import HIDDEN, Found, Selection, find
from arrowseal.tables.dataset_partitions import WHOLE, Partitions
from arrowseal.tables.dataset_writer import GROUP_ROWS
from arrowseal.tables.dataset_written import WrittenFile
from arrowseal.tables.formats import TableFormat, compression_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from arrowseal.client import Client
    from arrowseal.encryption import Encryption
    from arrowseal.location import Url
    from arrowseal.suites import AnyContext

TARGET_BYTES: Final = 128 * 2**20
"""Large enough that the overhead of an object does not show, small enough for several readers."""
_AT_A_TIME: Final = 4
_AT_ONCE_BYTES: Final = 32 * 2**20
"""Sources of so many bytes are read once, into memory; more of them are asked for their schemas first and streamed."""

State = Literal["planned", "done", "changed"]
_SUFFIXES: Final = {"gzip": ".gz", "bz2": ".bz2", "zstd": ".zst"}


@dataclass(frozen=True)
class Merge:
    """Files that become one."""

    sources: tuple[Found, ...] = field(repr=False)
    target: ObjectLocation
    state: State = "planned"
    """`"changed"`: one of the sources was overwritten or deleted meanwhile, so that everything was left as it was."""
    rows: int | None = None
    stored_bytes: int | None = None
    """Of the target."""

    @property
    def source_bytes(self) -> int:
        """Stored bytes of the sources."""
        return sum(source.stored_bytes or 0 for source in self.sources)


@dataclass(frozen=True)
class CompactionReport(Framed):
    """What a compaction did, or would do: a row for each new file."""

    merges: tuple[Merge, ...]

    def to_arrow(self) -> pa.Table:
        """A row for each new file: its URL, what became of it, and the files that it replaces."""
        merges = self.merges
        return pa.table(
            {
                "path": pa.array([str(merge.target) for merge in merges], pa.string()),
                "state": pa.array([merge.state for merge in merges], pa.string()),
                "files": pa.array([len(merge.sources) for merge in merges], pa.int64()),
                "source_bytes": pa.array([merge.source_bytes for merge in merges], pa.int64()),
                "rows": pa.array([merge.rows for merge in merges], pa.int64()),
                "stored_bytes": pa.array([merge.stored_bytes for merge in merges], pa.int64()),
                "sources": pa.array(
                    [[str(source.location) for source in merge.sources] for merge in merges], pa.list_(pa.string())
                ),
            }
        )

    def __repr__(self) -> str:
        counts = {state: sum(merge.state == state for merge in self.merges) for state in ("planned", "done", "changed")}
        files = sum(len(merge.sources) for merge in self.merges)
        states = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count) or "nothing to do"
        return f"<CompactionReport: {files:,} files into {len(self.merges):,} ({states})>"


@dataclass(frozen=True, kw_only=True)
class _Job:
    client: Client
    format: TableFormat | None
    reading: Mapping[str, Any]
    writing: Mapping[str, Any]
    file_options: Mapping[str, Any]
    threads: int


def compact(
    url: Url,
    *,
    target_bytes: int = TARGET_BYTES,
    format: TableFormat | str | None = None,  # noqa: A002 - the public word for it
    file_options: Mapping[str, Any] | None = None,
    ignore_prefixes: Sequence[str] = HIDDEN,
    dry_run: bool = False,
    use_threads: bool | int = True,
    client: Client | None = None,
    encryption: Encryption | None = None,
    encryption_context: Mapping[str, str] | AnyContext | None = None,
    kms_key_id: str | None = None,
    allow_plaintext: bool | None = None,
    s3_additional_kwargs: Mapping[str, Any] | None = None,
) -> CompactionReport:
    """Make few files of the many small ones under a prefix, each directory (partition) by itself.

    Files of one format whose sizes add up to `target_bytes` become one, in the order of their keys; larger ones stay as
    they are. Columns are those of all of them. Each new file is committed, read back whole and its rows counted; then
    the sources are listed again, and deleted if none of them was touched meanwhile. Between the commit and the last
    deletion a reader sees rows twice. User metadata, tags and the like of the sources are not kept.

    Memory: four merges at a time, of 32 MiB of files each or else streamed.

    Args:
        url: the prefix.
        format: as in `arrowseal.arrow.read_table`; the extension of each file says it otherwise.
        file_options: those of `arrowseal.arrow.write_table` for the new files.
        dry_run: only tell what would be done.
        use_threads: True for 16 files at work at a time, False for one, or a number.
        encryption, encryption_context, kms_key_id, allow_plaintext, s3_additional_kwargs: as in `Client.get` for the
            sources and in `Client.put` for the new files.

    Raises:
        ConfigurationError, ObjectNotFoundError: nothing was done.
        DatasetWriteError: it stopped; `written` are the new files that are complete. A second run goes on, unless
            `left` names sources that could not be deleted: their rows are in a new file as well.

    Example:
        >>> import arrowseal
        >>> arrowseal.operations.compact("s3://lake/trips/", dry_run=True).to_pandas()  # doctest: +SKIP
    """
    if not isinstance(target_bytes, int) or target_bytes < 1:
        raise ConfigurationError("target_bytes= is a number of bytes, 1 or more")
    chosen = default_client() if client is None else client
    named = None if format is None else TableFormat.of(ObjectLocation("", ""), format)
    shared = {"encryption": encryption, "encryption_context": encryption_context, "kms_key_id": kms_key_id}
    writing: dict[str, Any] = shared | {"mode": "wb", "s3_additional_kwargs": s3_additional_kwargs, "progress": False}
    job = _Job(
        client=chosen,
        format=named,
        reading=shared | {"allow_plaintext": allow_plaintext},
        writing=writing,
        file_options=dict(file_options or {}),
        threads=threads_of(use_threads),
    )
    base = locate_prefix(url)
    base = ObjectLocation(base.bucket, base.key if not base.key or base.key.endswith("/") else base.key + "/")
    found, _ = find(chosen, base, selection=Selection(ignore_prefixes=ignore_prefixes))
    merges = planned(found, target_bytes, named)
    for merge in merges:
        file_writer(_format(job, merge), merge.target, job.file_options)
    if dry_run or not merges:
        return CompactionReport(tuple(merges))
    DatasetFileWriter(chosen, merges[0].target, _format(job, merges[0]), job.file_options, writing).check()
    with chosen.counters.operation("compact", base) as counted, _sharing_data_keys(chosen, encryption):
        report = CompactionReport(tuple(_done(job, merges)))
        counted.rows = sum(merge.rows or 0 for merge in report.merges)
    return report


def planned(found: Sequence[Found], target_bytes: int, named: TableFormat | None = None) -> list[Merge]:
    """What becomes one file: neighbours in one directory, of one format and compression, as many as fit."""
    merges: list[Merge] = []
    groups: dict[tuple[str, TableFormat, str | None], list[list[Found]]] = {}
    for one in found:
        size = one.stored_bytes or 0
        if size >= target_bytes:
            continue
        kind = TableFormat.of(one.location, named)
        is_text = kind in (TableFormat.CSV, TableFormat.JSON)
        compression: str | None = compression_of(one.location) if is_text else None
        runs = groups.setdefault((one.location.key.rpartition("/")[0], kind, compression), [[]])
        if sum(other.stored_bytes or 0 for other in runs[-1]) + size > target_bytes:
            runs.append([])
        runs[-1].append(one)
    for (directory, kind, packed), runs in groups.items():
        for run in runs:
            if len(run) > 1:
                name = f"{uuid.uuid4().hex}.{EXTENSIONS[kind]}{_SUFFIXES.get(packed or '', '')}"
                key = f"{directory}/{name}" if directory else name
                merges.append(Merge(tuple(run), locate(bucket=run[0].location.bucket, key=key)))
    return merges


def _done(job: _Job, merges: Sequence[Merge]) -> list[Merge]:
    finished: dict[int, tuple[Merge, WrittenFile | None]] = {}
    left: list[ObjectLocation] = []

    def run(at: int, merge: Merge) -> None:
        finished[at] = _merged(job, merge, left)

    failure: ArrowSealError
    try:
        with Lanes(min(_AT_A_TIME, job.threads), _AT_A_TIME) as lanes:
            for at, merge in enumerate(merges):
                lanes.do(partial(run, at, merge))
            lanes.finish()
        return [finished[at][0] for at in range(len(merges))]
    except ArrowSealError as error:
        failure = error
    done = [finished[at] for at in sorted(finished)]
    stopped = DatasetWriteError(
        f"compaction stopped after {len(done)} of {len(merges)} new files (in .written), and no row is lost: {failure}"
        + (". Delete what .left names: its rows are in a new file as well" if left else "")
    )
    stopped.written = tuple(written for _, written in done if written is not None)
    stopped.left = tuple(left)
    raise stopped from failure


def _merged(job: _Job, merge: Merge, left: list[ObjectLocation]) -> tuple[Merge, WrittenFile | None]:
    """One new file, proven, and its sources deleted."""
    written = _written(job, merge)
    try:
        rows = _source(job, [Found(merge.target, merge.target.name)]).scanner(use_threads=False).to_batches()
        there = sum(batch.num_rows for batch in rows)
        if there != written.rows:
            raise DatasetWriteError(f"{merge.target}: {there:,} rows of {written.rows:,} are read back")
        touched = _touched(job, merge)
    except BaseException:
        job.client.delete(merge.target)
        raise
    if touched:
        job.client.delete(merge.target)
        return replace(merge, state="changed"), None
    remaining = [source.location for source in merge.sources]
    try:
        while remaining:
            job.client.delete(remaining[-1])
            remaining.pop()
    except BaseException:
        if len(remaining) == len(merge.sources):
            job.client.delete(merge.target)  # as if it had never been
        else:
            left.extend(remaining)
        raise
    done = replace(merge, state="done", rows=written.rows, stored_bytes=written.result.stored_bytes)
    return done, written


def _written(job: _Job, merge: Merge) -> WrittenFile:
    file = DatasetFileWriter(job.client, merge.target, _format(job, merge), job.file_options, job.writing)
    try:
        for table in _rows(job, merge):
            for begin in range(0, max(1, table.num_rows), GROUP_ROWS):
                file.append(table.slice(begin, GROUP_ROWS))
        result, metadata = file.commit()
    except BaseException:
        file.abort()
        raise
    return WrittenFile(merge.target, {}, file.rows, result, metadata)


def _rows(job: _Job, merge: Merge) -> Iterator[pa.Table]:
    source = _source(job, merge.sources)
    if merge.source_bytes <= _AT_ONCE_BYTES:
        yield source.to_table()
        return
    yield source.schema.empty_table()
    for batch in source.to_batches(batch_size=GROUP_ROWS):
        yield pa.Table.from_batches([batch])


def _source(job: _Job, found: Sequence[Found]) -> EncryptedDataset:
    """Files as one table, what their paths say left aside."""
    nothing = Partitions(pa.schema([]), {one.path: WHOLE for one in found})
    threads = max(1, job.threads // _AT_A_TIME)
    return dataset_of(
        Files(job.client, job.reading, job.format), found, nothing, unify_schemas=True, use_threads=threads
    )


def _touched(job: _Job, merge: Merge) -> bool:
    """Whether a source is not the one that was listed any more."""
    directory = merge.target.key.rpartition("/")[0]
    prefix = ObjectLocation(merge.target.bucket, directory and directory + "/")
    now = {entry.location: entry.etag for entry in job.client.list(prefix, delimiter="/")}
    return any(now.get(source.location) != source.etag for source in merge.sources)


def _format(job: _Job, merge: Merge) -> TableFormat:
    return TableFormat.of(merge.sources[0].location, job.format)


def _sharing_data_keys(client: Client, encryption: Encryption | None) -> AbstractContextManager[None]:
    given = encryption.format if isinstance(encryption, CSE) else None
    if encryption is not None and not isinstance(encryption, CSE):
        return nullcontext()
    return client.data_key_reuse() if Format.of(given or client.options.format) is V3 else nullcontext()
