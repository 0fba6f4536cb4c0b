"""The rows of a dataset on their way into files: which file takes them, and when it is complete."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from arrowseal.exceptions import ConfigurationError
from arrowseal.location import ObjectLocation, locate
from arrowseal.tables.dataset_appending import DatasetFileWriter
from arrowseal.tables.dataset_lanes import Lane, Lanes
from arrowseal.tables.dataset_partitions import path_of
from arrowseal.tables.dataset_split import Rows, splitter
from arrowseal.tables.dataset_written import WrittenFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow.dataset as ds

    from arrowseal.client import Client
    from arrowseal.tables.formats import TableFormat

WAITING_BYTES: Final = 256 * 2**20
"""Rows that wait for more rows of their file."""
OPEN_FILES: Final = 128
"""Files that rows were written into and that are not committed: each holds up to one part of 8 MiB."""
GROUP_ROWS: Final = 2**20
PARTITIONS: Final = 1024
"""Of one batch; both are pyarrow's own."""


@dataclass(frozen=True, kw_only=True)
class WritePlan:
    """How a dataset is written, checked."""

    client: Client
    base: ObjectLocation
    """Its key is empty or ends in `/`."""
    format: TableFormat
    options: Mapping[str, Any]
    partitioning: ds.Partitioning | None
    keeps_keys: bool = False
    """Whether files hold the columns that part them."""
    template: str
    opening: Mapping[str, Any]
    """Arguments of `Client.open`."""
    max_rows_per_file: int = 0
    min_rows_per_group: int = 0
    max_rows_per_group: int = GROUP_ROWS
    max_open_files: int = OPEN_FILES
    max_partitions: int = PARTITIONS
    threads: int = 1
    file_visitor: Callable[[WrittenFile], object] | None = None

    def location(self, directory: str, prefix: str, number: int) -> ObjectLocation:
        """Where a file goes."""
        name = prefix + self.template.format(i=number)
        return locate(bucket=self.base.bucket, key=self.base.key + (directory and directory + "/") + name)


@dataclass
class _Part:
    """A partition while rows come."""

    order: int
    directory: str
    prefix: str
    values: dict[str, Any]
    waiting: list[pa.Table] = field(default_factory=list)
    waiting_rows: int = 0
    waiting_bytes: int = 0
    file: tuple[DatasetFileWriter, Lane] | None = None
    file_rows: int = 0
    files: int = 0


class DatasetWriter:
    """Takes the rows of one dataset. On one thread; files are built and sent on others."""

    def __init__(self, plan: WritePlan, lanes: Lanes) -> None:
        self._written: dict[tuple[int, int], WrittenFile] = {}
        self._plan = plan
        self._lanes = lanes
        self._split = splitter(
            [] if plan.partitioning is None else plan.partitioning.schema.names, keeps_keys=plan.keeps_keys
        )
        self._parts: dict[tuple[str, str], _Part] = {}
        self._parts_by_values: dict[tuple[Any, ...], _Part] = {}
        self._open: OrderedDict[int, _Part] = OrderedDict()
        self._unfinished: set[DatasetFileWriter] = set()
        self._waiting_bytes = 0
        self._lock = threading.Lock()

    @property
    def files(self) -> tuple[WrittenFile, ...]:
        """Those that are committed, by partition and number."""
        with self._lock:
            return tuple(self._written[number] for number in sorted(self._written))

    @property
    def places(self) -> set[tuple[str, str]]:
        """The partitions that rows went to: directories below the base, and what the names of files begin with."""
        return set(self._parts)

    def write(self, rows: Rows) -> None:
        """All rows, into files that are committed when this returns."""
        for table in rows.tables:
            for count, (values, part_rows) in enumerate(self._split(table), 1):
                if count > self._plan.max_partitions:
                    raise ConfigurationError(
                        f"more than max_partitions={self._plan.max_partitions} partitions at a time: part it by other "
                        "columns, or raise the bound"
                    )
                self._add(self._part(values), part_rows)
            while self._waiting_bytes > WAITING_BYTES:
                self._flush(max(self._parts.values(), key=lambda part: part.waiting_bytes))
        if self._plan.partitioning is None:
            part = self._part({})
            if not (part.waiting or part.file or part.files):
                part.waiting.append(rows.schema.empty_table())  # a dataset without rows still has its columns
        for part in self._parts.values():
            self._finish(part)
        self._lanes.finish()

    def abort(self) -> None:
        """Leave nothing of the files that were not committed. When nothing is at work any more."""
        for file in self._unfinished:
            file.abort()

    def _part(self, values: dict[str, pa.Scalar]) -> _Part:
        exact = tuple(values.values())  # of times, Python has no nanoseconds
        part = self._parts_by_values.get(exact)
        if part is None:
            partitioning = self._plan.partitioning
            path = ("", "") if partitioning is None else path_of(partitioning, values)
            plain = {name: value.as_py() for name, value in values.items()}
            # By path: NaN is no value that would be found again.
            part = self._parts.setdefault(path, _Part(len(self._parts), *path, plain))
            self._parts_by_values[exact] = part
        return part

    def _add(self, part: _Part, rows: pa.Table) -> None:
        limit = self._plan.max_rows_per_file
        while rows.num_rows:
            room = limit - part.file_rows - part.waiting_rows if limit else rows.num_rows
            taken, rows = rows.slice(0, room), rows.slice(room)
            part.waiting.append(taken)
            part.waiting_rows += taken.num_rows
            size = taken.nbytes
            part.waiting_bytes += size
            self._waiting_bytes += size
            if limit and part.file_rows + part.waiting_rows >= limit:
                self._finish(part)
            elif part.waiting_rows >= self._plan.max_rows_per_group:
                self._flush(part)

    def _flush(self, part: _Part) -> None:
        """Rows that wait go into the file, in groups of one size except for the last one."""
        rows = pa.concat_tables(part.waiting)
        weight = part.waiting_bytes
        self._waiting_bytes -= weight
        part.waiting, part.waiting_rows, part.waiting_bytes = [], 0, 0
        if part.file is None:
            part.file = self._begun(part), Lane()
        file, lane = part.file
        part.file_rows += rows.num_rows
        self._open[part.order] = part
        self._open.move_to_end(part.order)
        step = self._plan.max_rows_per_group
        for begin in range(0, max(rows.num_rows, 1), step):
            table = rows.slice(begin, step)
            self._lanes.do(partial(file.append, table), lane, weight=weight * table.num_rows // max(rows.num_rows, 1))
        if len(self._open) > self._plan.max_open_files:
            self._finish(next(iter(self._open.values())))

    def _begun(self, part: _Part) -> DatasetFileWriter:
        location = self._plan.location(part.directory, part.prefix, part.files)
        opening = self._plan.opening
        file = DatasetFileWriter(self._plan.client, location, self._plan.format, self._plan.options, opening)
        with self._lock:
            self._unfinished.add(file)
        return file

    def _finish(self, part: _Part) -> None:
        """The file is complete."""
        if part.waiting:
            self._flush(part)
        self._open.pop(part.order, None)
        if part.file is not None:
            file, lane = part.file
            self._lanes.do(partial(self._commit, file, (part.order, part.files), part.values), lane)
            part.file, part.file_rows = None, 0
            part.files += 1

    def _commit(self, file: DatasetFileWriter, number: tuple[int, int], values: Mapping[str, Any]) -> None:
        result, metadata = file.commit()
        written = WrittenFile(file.location, values, file.rows, result, metadata)
        with self._lock:
            self._unfinished.discard(file)
            self._written[number] = written
            if self._plan.file_visitor is not None:
                self._plan.file_visitor(written)
