"""Many objects as one frame of polars, of formats that are fetched as a whole: CSV, JSON lines and IPC.

polars itself scans them, of one piece of memory each: their order, schemas, `n_rows` and row numbers are its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from arrowseal.defaults import client_of
from arrowseal.exceptions import ConfigurationError
from arrowseal.location import locate_prefix
from arrowseal.outcomes import results
from arrowseal.standby import Threads
from arrowseal.tables.dataset_listing import Selection, find
from arrowseal.tables.lazy_whole import LazyWhole, OpenedWhole
from arrowseal.tables.polars_frames import collected
from arrowseal.tables.ranges import Content
from arrowseal.tables.refusal import is_refusal
from arrowseal.tables.table_object import TableObject

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from arrowseal.counters import Operation
    from arrowseal.tables.dataset_faces import Arguments
    from arrowseal.tables.formats import TableFormat
    from arrowseal.tables.ranges import Ranges

OF_MANY: Final = ("dataset", "path_suffix", "path_ignore_suffix", "last_modified_begin", "last_modified_end")
"""What a call may say besides of many objects."""
_BY_PATHS: Final = ("include_file_paths", "hive_partitioning", "hive_schema")
_KEYS: Final = re.compile(r"(?:^|/)[^/=]+=[^/]*/")


def scans_objects(
    scan: Callable[..., pl.LazyFrame], table_format: TableFormat
) -> Callable[[Any, Any, Arguments, Arguments], pl.LazyFrame]:
    """What `reads_datasets` teaches a face over polars' own `scan`."""

    def many(face: Callable[..., Any], source: Any, arguments: Arguments, own: Arguments) -> pl.LazyFrame:
        hive = arguments.get("hive_partitioning")
        for name in _BY_PATHS:
            if arguments.pop(name, None) not in (None, False):
                raise ConfigurationError(
                    f"{face.__name__}() takes no {name}= for many objects: arrowseal.arrow.dataset(..., "
                    "partitioning=) reads what paths say"
                )
        if own.pop("version_id", None) is not None:
            raise ConfigurationError(f"{face.__name__}() takes no version_id= for many objects")
        selection = Selection(**{name: own.pop(name) for name in OF_MANY if name in own})
        client = client_of(own.pop("client", None))
        found, _ = find(client, source, selection=selection)
        by_directory = isinstance(source, str) and source.endswith("/") and hive is None
        if by_directory and table_format.value == "ipc" and any(_KEYS.search(one.path) for one in found):
            raise ConfigurationError(
                f"{face.__name__}() reads no columns of paths, as polars would here: say hive_partitioning=False, or "
                'read arrowseal.arrow.dataset(..., partitioning="hive")'
            )
        objects = [TableObject(one.location, client, own) for one in found]
        place = found[0].location if isinstance(source, (list, tuple)) else locate_prefix(source)
        return LazyObjects(objects, TableObject(place, client, own), arguments, scan, table_format).frame()

    return many


def reads_objects(
    scan: Callable[..., pl.LazyFrame], table_format: TableFormat
) -> Callable[[Any, Any, Arguments, Arguments], pl.DataFrame]:
    """The same for a face that reads at once what `scan` is of: its arguments but for those below."""
    scanned = scans_objects(scan, table_format)

    def many(face: Callable[..., Any], source: Any, arguments: Arguments, own: Arguments) -> pl.DataFrame:
        if arguments.pop("use_pyarrow", False):
            raise ConfigurationError(f"{face.__name__}() takes no use_pyarrow= for many objects")
        columns = arguments.pop("columns", None)
        row_index = arguments.pop("row_index_name", None), arguments.pop("row_index_offset", 0)
        return collected(scanned(face, source, arguments, own), columns, row_index)

    return many


@dataclass(frozen=True)
class _Contents:
    """The contents of objects, of which all are needed."""

    each: list[bytes] = field(repr=False)


class LazyObjects(LazyWhole):
    """What polars' own `scan` makes of the contents of objects, which are fetched side by side. `place` stands for all
    of them in counters and messages.
    """

    def __init__(
        self,
        objects: Sequence[TableObject],
        place: TableObject,
        arguments: dict[str, Any],
        scan: Callable[..., pl.LazyFrame],
        table_format: TableFormat,
    ) -> None:
        super().__init__(place, arguments, scan, table_format)
        self._objects = objects

    def open(self, source: Any) -> OpenedWhole:
        return OpenedWhole(source, self._scan(source.each, **self._arguments))

    def _source(self, counted: Operation) -> Ranges:  # noqa: ARG002 - reads count by themselves
        most = self._table_object.client.options.transfer.concurrency
        with Threads(min(most, len(self._objects))) as threads:
            contents = results([threads.submit(_content, each) for each in self._objects])
        return cast("Ranges", _Contents(contents))

    def _guarded(self, source: Any, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except BaseException as error:
            if not is_refusal(error):
                raise
            failure = error
        for each, content in zip(self._objects, source.each, strict=True):  # which of them it is
            each.parsed(
                Content(content),
                self.table_format,
                lambda one: self._scan(bytes(one.read_at(0, one.size)), **self._arguments).collect(),
                wrap=Content,
            )
        raise failure


def _content(table_object: TableObject) -> bytes:
    return bytes(table_object.client.get(table_object.location, **table_object.keywords))
