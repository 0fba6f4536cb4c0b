"""Many objects of one lazy frame: `polars.PartitionBy` with a prefix in S3 as its base path."""

from __future__ import annotations

import copy
import threading
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from arrowseal.cancellation import Cancellation, also_cancelled_by
from arrowseal.exceptions import ConfigurationError
from arrowseal.extras import require
from arrowseal.location import locate, locate_prefix
from arrowseal.outcomes import wait
from arrowseal.standby import Threads
from arrowseal.tables.dataset_partitions import name_in_path
from arrowseal.tables.sink import Sink, told_as_raised
from arrowseal.tables.table_object import TableObject
from arrowseal.writing import sharing_data_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import polars as pl

    from arrowseal.location import ObjectLocation
    from arrowseal.object_writer import ObjectWriter
    from arrowseal.tables.formats import TableFormat
    from arrowseal.writing import PutResult

COMMITS_AT_A_TIME: Final = 8
_HIVE_NULL: Final = "__HIVE_DEFAULT_PARTITION__"
_KEPT: Final = "!\"#$&'()*+,;<>?@[\\]^`{|}"
"""What polars leaves as it is in values, besides letters, digits and `_.-~`."""
_EXTENSIONS: Final = {"json": "jsonl"}  # as polars names them


def is_partitioned(where: Any) -> bool:
    """Whether it is a `polars.PartitionBy`."""
    return hasattr(where, "_pl_partition_by")


def sink_partitioned(
    operation: str,
    table_format: TableFormat,
    where: Any,
    keywords: Mapping[str, Any],
    sink: Callable[[Any], None],
) -> list[PutResult]:
    """Stores what `sink` writes when it is given the `PartitionBy` that it should use.

    The objects appear when the query has succeeded, some at a time; if it fails there is none. Results are in the order
    of their keys. If a commit fails, the objects that are there are named in a note of its exception, and all others
    are given up, as those that are not there yet at Ctrl-C are.
    """
    base = where._pl_partition_by.base_path.rstrip("/")  # noqa: SLF001 - there is no public way to ask
    place = replace(TableObject.at(f"{base}/_", keywords), location=locate_prefix(f"{base}/"))
    writers = _Writers(place, base, _EXTENSIONS.get(table_format.value, table_format.value), where)
    counters = place.client.counters
    sharing = sharing_data_keys(place.client, place.keywords.get("encryption"))
    with counters.operation(operation, place.location, file_type=table_format.value), sharing:
        writers.context = copy_context()
        try:
            with told_as_raised(writers.sinks):
                sink(writers.partition_by())
            return writers.commit()
        except BaseException:
            writers.abort()
            raise


class _Writers:
    """The objects that are being written, in the order in which polars asked for them."""

    def __init__(self, place: TableObject, base: str, extension: str, where: Any) -> None:
        self._place = place
        self._base = base
        self._extension = extension
        self._where = where
        self._provider = where._pl_partition_by.file_path_provider  # noqa: SLF001
        self._writers: list[ObjectWriter] = []
        self.sinks: list[Sink] = []
        self._locations: set[ObjectLocation] = set()
        self._lock = threading.Lock()
        self.context = copy_context()

    def partition_by(self) -> Any:
        """The caller's `PartitionBy`, but that its files are ours."""
        own = copy.copy(self._where)
        own._pl_partition_by = replace(own._pl_partition_by, base_path="", file_path_provider=self.open)  # noqa: SLF001
        return own

    def open(self, args: Any) -> Sink:
        """What polars calls for each file, on threads of its own."""
        path = self._hive_path(args) if self._provider is None else self._provider(args)
        if not isinstance(path, str):
            path = str(path) if hasattr(path, "__fspath__") else None
        if not path:
            raise ConfigurationError("file_path_provider= has to give a path below the base path, as text")
        location = locate(f"{self._base}/{path.lstrip('/')}")
        with self._lock:
            if location in self._locations:
                raise ConfigurationError(
                    f"two files of the partitions would be {location}, and one of them lost: file_path_provider= has "
                    f"to give each a path of its own"
                )
            self._locations.add(location)
        place = self._place
        writer = self.context.copy().run(lambda: place.client.open(location, "wb", **place.keywords))
        sink = Sink(writer)
        with self._lock:
            self._writers.append(writer)
            self.sinks.append(sink)
        return sink

    def commit(self) -> list[PutResult]:
        """Make objects of all. Interrupted, it makes none of what is not there yet."""
        interrupted = Cancellation()

        def one(writer: ObjectWriter) -> PutResult:
            with also_cancelled_by(interrupted):
                return writer.commit()

        with Threads(COMMITS_AT_A_TIME, "arrowseal-commit") as threads:
            try:
                tasks = [threads.submit(self.context.copy().run, one, writer) for writer in self._writers]
                wait(tasks)
            except BaseException:
                interrupted.cancel()
                raise
        failed = next((error for task in tasks if (error := task.exception()) is not None), None)
        if failed is None:
            return sorted((task.result() for task in tasks), key=lambda result: result.location.key)
        there = [str(task.result().location) for task in tasks if task.exception() is None]
        failed.add_note("written before it failed: " + (", ".join(there) or "nothing"))
        raise failed

    def abort(self) -> None:
        """Give up what is not committed."""
        for writer in self._writers:
            writer.abort()

    def _hive_path(self, args: Any) -> str:
        parts = [f"{name_in_path(values.name)}={_text_of(values)}" for values in args.partition_keys.get_columns()]
        return "/".join([*parts, f"{args.index_in_partition:08x}.{self._extension}"])


def _text_of(values: pl.Series) -> str:
    """The one value of a key, as polars writes it into paths; with all of it where polars leaves some out, or has no
    text for it.
    """
    polars = require("polars", "polars")
    value: str | None
    try:
        if values.dtype == polars.Time:  # nanoseconds, of which polars writes whole seconds: two keys were one file
            value = values.dt.to_string("%H:%M:%S%.f").item()
        else:
            value = (values.dt.to_string() if values.dtype == polars.Duration else values.cast(polars.String)).item()
    except polars.exceptions.PolarsError:
        value = str(values.item())
    return _HIVE_NULL if value is None else quote(value, safe=_KEPT)
