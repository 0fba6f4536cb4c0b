"""Formats for lazy frames of polars that are fetched as a whole when the query runs: CSV, JSON lines, and others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arrowseal.tables.lazy import LazyTable, Opened, Query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import polars as pl

    from arrowseal.tables.formats import TableFormat
    from arrowseal.tables.ranges import Ranges
    from arrowseal.tables.table_object import TableObject


class _OpenedWhole(Opened):
    def __init__(self, source: Ranges, scan: Callable[[bytes], pl.LazyFrame]) -> None:
        content = bytes(source.read_at(0, source.size))
        self.frame = scan(content)
        super().__init__(source, self.frame.collect_schema())

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

    def open(self, source: Ranges) -> _OpenedWhole:
        return _OpenedWhole(source, lambda content: self._scan(content, **self._arguments))

    def read(self, opened: Opened, query: Query) -> Iterator[pl.DataFrame]:
        assert isinstance(opened, _OpenedWhole)  # noqa: S101 - by the method above
        yield query.of(opened.frame)
