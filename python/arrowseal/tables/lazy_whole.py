"""Formats for lazy frames of polars that are fetched as a whole when the query runs: CSV, JSON lines, and others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arrowseal.tables.lazy import LazyTable, Opened, Query
from arrowseal.tables.ranges import whole_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import polars as pl

    from arrowseal.tables.formats import TableFormat
    from arrowseal.tables.ranges import Ranges
    from arrowseal.tables.table_object import TableObject


class OpenedWhole(Opened):
    """A frame of polars over content that is here."""

    def __init__(self, source: Ranges, frame: pl.LazyFrame) -> None:
        self.frame = frame
        super().__init__(source, frame.collect_schema())

    def close(self) -> None:
        del self.frame
        super().close()


class LazyWhole(LazyTable):
    """What polars' own `scan` makes of the content, with all of its arguments."""

    whole = True

    def __init__(
        self,
        table_object: TableObject,
        arguments: dict[str, Any],
        scan: Callable[..., pl.LazyFrame],
        table_format: TableFormat,
    ) -> None:
        super().__init__(table_object, arguments)
        self._scan = scan
        self.table_format = table_format
        self.operation = scan.__name__

    def open(self, source: Ranges) -> Opened:
        return OpenedWhole(source, self._scan(whole_bytes(source), **self._arguments))

    def read(self, opened: Opened, query: Query) -> Iterator[pl.DataFrame]:
        assert isinstance(opened, OpenedWhole)  # noqa: S101 - by the method above
        yield query.of(opened.frame)


def asks_for_whole(table_object: TableObject) -> bool:
    """Whether something was asked for that only reads of whole objects have."""
    return bool(table_object.keywords.get("verify_checksum") or table_object.keywords.get("progress"))
