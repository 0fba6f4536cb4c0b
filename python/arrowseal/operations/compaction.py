"""Compaction: many small files of a dataset become few, and nothing is deleted before what replaces it is proven."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, get_args

import pyarrow as pa

from arrowseal.companions import belongs_to_another
from arrowseal.defaults import client_of
from arrowseal.exceptions import (
    ArrowSealError,
    ConfigurationError,
    DatasetWriteError,
    SecurityError,
    TableError,
)
from arrowseal.frames import Framed
from arrowseal.location import COMPACTING, ObjectLocation, locate_prefix
from arrowseal.operations.compacted_directory import CompactedDirectory, Outcome
from arrowseal.operations.compaction_files import AT_A_TIME, NewFiles
from arrowseal.operations.compaction_manifest import Manifests
from arrowseal.operations.compaction_plan import TEXT, Flavor, Merge, State, directory_of, planned
from arrowseal.operations.compaction_refusals import refuse_named_files
from arrowseal.tables.arrow_files import file_writer
from arrowseal.tables.dataset_flow import threads_of
from arrowseal.tables.dataset_lanes import Lanes
from arrowseal.tables.dataset_listing import HIDDEN, Found, Selection
from arrowseal.tables.formats import TableFormat
from arrowseal.writing import sharing_data_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrowseal.client import Client
    from arrowseal.counters import Operation
    from arrowseal.encryption import Encryption
    from arrowseal.location import Url
    from arrowseal.suites import AnyContext

TARGET_BYTES: Final = 128 * 2**20
"""Large enough that the overhead of an object does not show, small enough for several readers."""


@dataclass(frozen=True)
class CompactionReport(Framed):
    """What a compaction did, or would do: a row for each new file."""

    merges: tuple[Merge, ...]

    @property
    def left(self) -> tuple[ObjectLocation, ...]:
        """Sources that were overwritten after the files that replace them were there: they stay as they are now."""
        return tuple(location for merge in self.merges for location in merge.left)

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
        counts = {state: sum(merge.state == state for merge in self.merges) for state in get_args(State)}
        files = sum(len(merge.sources) for merge in self.merges)
        states = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count) or "nothing to do"
        return f"<CompactionReport: {files:,} files into {len(self.merges):,} ({states})>"


def compact(
    url: Url,
    *,
    target_bytes: int = TARGET_BYTES,
    format: TableFormat | str | None = None,  # noqa: A002 - the public word for it
    partitioning_flavor: Flavor | None = None,
    file_options: Mapping[str, Any] | None = None,
    ignore_prefixes: str | Sequence[str] | None = HIDDEN,
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
    they are. Columns are those of all of them; lines of CSV and JSON are joined as they are, under one header. Each new
    file is committed and read back whole; then the sources are listed again, and deleted if none of them was touched
    meanwhile. Between the commit and the last deletion a reader sees rows twice. User metadata, tags and the like of
    the sources are not kept.

    What is done is noted down in `_arrowseal.compacting` in each directory while it is at work there. A run that was
    killed, or could not go on, is finished or undone by the next one, after which every row is there once. Of two runs
    at a time in one directory one gives way; where the server ignores conditions on writes, let one run at a time.

    Memory: four merges at a time, of 32 MiB of files each or else streamed.

    Args:
        url: the prefix.
        format: as in `arrowseal.arrow.read_table`; the extension of each file says it otherwise.
        partitioning_flavor: `"hive"` or `"directory"`: names of files say nothing, and files become one whatever they
            are called; `"filename"`: what names begin with, up to the last `_`, may be the values of partition columns,
            and is kept: only files of one such beginning become one. Not given: as `"filename"`, but where the path
            has directories `name=value`.
        file_options: those of `arrowseal.arrow.write_table` for the new files; none for CSV and JSON.
        dry_run: only tell what would be done, were nothing to be finished or undone before.
        use_threads: True for 16 files at work at a time, False for one, or a number.
        encryption, encryption_context, kms_key_id, allow_plaintext, s3_additional_kwargs: as in `Client.get` for the
            sources and in `Client.put` for the new files.

    Raises:
        ConfigurationError, ObjectNotFoundError: nothing was done. The first one also where the log of a Delta, Hudi or
            Iceberg table, or a `_metadata` of Parquet files, names files, there or in a directory above.
        DatasetWriteError: not everything was done, and no row is lost; `written` are the new files that are complete,
            and `left` names sources of them that could not be deleted: until a second run, which deletes those and goes
            on, their rows are there twice. CSV files whose headers differ, or are none, and the like, are left alone.

    Example:
        >>> import arrowseal
        >>> arrowseal.operations.compact("s3://lake/trips/", dry_run=True).to_pandas()  # doctest: +SKIP
    """
    if not isinstance(target_bytes, int) or target_bytes < 1:
        raise ConfigurationError("target_bytes= is a number of bytes, 1 or more")
    if partitioning_flavor not in (None, *get_args(Flavor)):
        known = ", ".join(map(repr, get_args(Flavor)))
        raise ConfigurationError(f"partitioning_flavor={partitioning_flavor!r} is not known: {known}")
    if not isinstance(file_options, Mapping | None):
        raise ConfigurationError(
            f"file_options= is a mapping of options of the format, not {type(file_options).__name__}"
        )
    chosen = client_of(client)
    named = None if format is None else TableFormat.of(ObjectLocation("", ""), format)
    shared = {"encryption": encryption, "encryption_context": encryption_context, "kms_key_id": kms_key_id}
    files = NewFiles(
        client=chosen,
        format=named,
        reading=shared | {"allow_plaintext": allow_plaintext},
        writing=shared | {"mode": "xb", "s3_additional_kwargs": s3_additional_kwargs, "progress": False},
        file_options=dict(file_options or {}),
        threads=threads_of(use_threads),
    )
    base = locate_prefix(url)
    base = ObjectLocation(base.bucket, base.key if not base.key or base.key.endswith("/") else base.key + "/")
    there = _There.of(chosen, base, Selection(ignore_prefixes=ignore_prefixes))
    merges = planned(there.found, target_bytes, named, partitioning_flavor)
    _check(files, merges)
    if dry_run or not (merges or there.begun):
        return CompactionReport(tuple(merges))
    with chosen.counters.operation("compact", base) as counted, sharing_data_keys(chosen, encryption):
        run = _Run(files, base.bucket, counted, s3_additional_kwargs or {})
        if there.begun:
            run.settle(there.begun)
            found = _There.of(chosen, base, Selection(ignore_prefixes=ignore_prefixes)).found
            counts = [one for one in found if not run.is_uncounted(one.location)]
            merges = planned(counts, target_bytes, named, partitioning_flavor)
            _check(files, merges)
        report = run.compact(merges)
        counted.rows = sum(merge.rows or 0 for merge in report.merges)
    return report


@dataclass(frozen=True)
class _There:
    """What lies under a prefix."""

    found: list[Found]
    begun: list[str]
    """Directories in which an earlier run, or one beside this, has begun something."""

    @classmethod
    def of(cls, client: Client, base: ObjectLocation, selection: Selection) -> _There:
        with client.counters.operation("list", base) as operation:
            store, suffix = client._store, client.options.instruction_files  # noqa: SLF001 - shows what `list` hides
            rows = [*store.list(base.bucket, base.key, operation, delimiter=None)]
            refuse_named_files(base, rows, store, operation)
        found, begun = [], []
        for row in rows:
            path = row.location.key[len(base.key) :]
            if row.location.name == COMPACTING:
                if selection.takes(path.removesuffix(COMPACTING) + "file", row):
                    begun.append(directory_of(row.location))
            elif selection.takes(path, row) and not belongs_to_another(row.location, suffix):
                found.append(Found(row.location, path, row.stored_bytes, row.last_modified, row.etag))
        if not found and not begun:
            raise selection.nothing_at(base)
        return cls(found, begun)


def _check(files: NewFiles, merges: Sequence[Merge]) -> None:
    """Raise for what cannot be, before anything is touched."""
    for merge in merges:
        file_writer(files.format_of(merge), merge.target, files.file_options)
        if files.file_options and files.format_of(merge) in TEXT:
            raise ConfigurationError("file_options= are not for CSV and JSON, whose lines are joined as they are")
    if merges:
        files.check(merges[0])


class _Run:
    """All directories of one call."""

    def __init__(self, files: NewFiles, bucket: str, operation: Operation, arguments: Mapping[str, Any]) -> None:
        self._files = files
        self._bucket = bucket
        self._operation = operation
        self._store = files.client._store  # noqa: SLF001 - what operations share with the client that they are given
        self._manifests = Manifests(self._store, operation, arguments)
        self._token = secrets.token_hex(16)
        self._uncounted: dict[str, set[str]] = {}

    def is_uncounted(self, location: ObjectLocation) -> bool:
        """Whether it is a new file of a run that was undone, which may appear yet."""
        return location.name in self._uncounted.get(directory_of(location), ())

    def settle(self, directories: Sequence[str]) -> None:
        """Finish or undo what earlier runs have begun. Raises `DatasetWriteError`."""
        for directory in directories:
            try:
                outcome, self._uncounted[directory] = self._directory(directory).settle()
            except ArrowSealError as error:
                outcome = Outcome(failure=error)
            if outcome.failure is not None:
                raise _stopped([outcome], 0) from outcome.failure

    def compact(self, merges: Sequence[Merge]) -> CompactionReport:
        """Directories side by side. What is wrong with the files of one does not stop the others."""
        directories: dict[str, list[Merge]] = {}
        for merge in merges:
            directories.setdefault(merge.directory, []).append(merge)
        outcomes: dict[str, Outcome] = {}
        failure: ArrowSealError | None

        def run(directory: str) -> None:
            late = self._uncounted.get(directory, set())
            outcome = outcomes[directory] = self._directory(directory).compact(directories[directory], late)
            if outcome.failure is not None and not isinstance(outcome.failure, TableError | SecurityError):
                raise outcome.failure

        try:
            with Lanes(min(AT_A_TIME, self._files.threads), AT_A_TIME) as lanes:
                for directory in directories:
                    lanes.do(partial(run, directory), weight=1)
                lanes.finish()
        except ArrowSealError as error:
            failure = error
        else:
            failure = next((one.failure for one in outcomes.values() if one.failure is not None), None)
        ended = [outcomes[directory] for directory in directories if directory in outcomes]
        if failure is not None:
            raise _stopped(ended, len(merges), failure) from failure
        states = {merge.target: merge for outcome in ended for merge in outcome.merges}
        return CompactionReport(tuple(states.get(merge.target, merge) for merge in merges))

    def _directory(self, key: str) -> CompactedDirectory:
        prefix = ObjectLocation(self._bucket, key)
        return CompactedDirectory(self._files, self._manifests, self._store, self._operation, self._token, prefix)


def _stopped(outcomes: Sequence[Outcome], asked: int, failure: ArrowSealError | None = None) -> DatasetWriteError:
    written = tuple(file for outcome in outcomes for file in outcome.written)
    left = tuple(location for outcome in outcomes for location in outcome.left)
    reason = failure or outcomes[0].failure
    error = DatasetWriteError(
        f"compaction stopped after {len(written)} of {asked} new files (in .written), and no row is lost: {reason}"
        + (". A second run deletes what .left names: until then its rows are in a new file as well" if left else "")
    )
    error.written, error.left = written, left
    return error
