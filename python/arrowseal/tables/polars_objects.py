"""Many objects of CSV, JSON lines and IPC as frames of polars: what `arrowseal.polars` does with them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from arrowseal.defaults import client_of
from arrowseal.exceptions import ConfigurationError
from arrowseal.location import locate_prefix
from arrowseal.progress import check_progress
from arrowseal.tables.dataset_listing import Selection, find
from arrowseal.tables.lazy_groups import LazyGroups, reads_groups
from arrowseal.tables.lazy_objects import LazyObjects
from arrowseal.tables.lazy_whole import asks_for_whole
from arrowseal.tables.polars_frames import collected
from arrowseal.tables.table_object import TableObject

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from arrowseal.tables.dataset_faces import Arguments
    from arrowseal.tables.formats import TableFormat

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
        if own.get("progress") is not None:
            check_progress(own["progress"])
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
        is_list = isinstance(source, (list, tuple))
        place = found[0].location if is_list else locate_prefix(source)
        one_place = TableObject(place, client, own)
        if asks_for_whole(one_place) or not reads_groups(arguments, table_format):
            return LazyObjects(objects, one_place, arguments, scan, table_format, keeps_empty=is_list).frame()
        sizes = [one.stored_bytes for one in found]
        return LazyGroups(objects, sizes, one_place, arguments, scan, table_format, keeps_empty=is_list).frame()

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
