"""Many objects as one frame of polars, of formats that are fetched as a whole: CSV, JSON lines and IPC.

polars itself scans them, of one piece of memory each: their order, schemas, `n_rows` and row numbers are its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from arrowseal.outcomes import results
from arrowseal.progress import check_progress
from arrowseal.standby import Threads
from arrowseal.tables.dataset_counting import told_together
from arrowseal.tables.lazy_whole import LazyWhole, OpenedWhole
from arrowseal.tables.ranges import Content
from arrowseal.tables.refusal import is_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from arrowseal.counters import Operation
    from arrowseal.tables.formats import TableFormat
    from arrowseal.tables.lazy import Opened
    from arrowseal.tables.ranges import Ranges
    from arrowseal.tables.table_object import TableObject


@dataclass
class Contents:
    """Objects and what they hold."""

    each: list[tuple[TableObject, bytes]] = field(repr=False)


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
        *,
        keeps_empty: bool = True,
    ) -> None:
        super().__init__(place, arguments, scan, table_format)
        self._objects = objects
        self._keeps_empty = keeps_empty

    def open(self, source: Any) -> Opened:
        return OpenedWhole(source, self._scan([content for _, content in source.each], **self._arguments))

    def _source(self, counted: Operation) -> Ranges:
        client, place = self._table_object.client, self._table_object.location
        progress = self._table_object.keywords.get("progress")
        option = client.options.progress if progress is None else check_progress(progress)
        silent = [replace(each, keywords={**each.keywords, "progress": False}) for each in self._objects]
        with (
            told_together(counted, option, place, None),
            Threads(min(client.options.transfer.concurrency, len(self._objects))) as threads,
        ):
            contents = results([threads.submit(content_of, each) for each in silent])
        each = [(one, content) for one, content in zip(self._objects, contents, strict=True) if self._counts(content)]
        return cast("Ranges", Contents(each or [*zip(self._objects, contents, strict=True)]))

    def _counts(self, content: bytes) -> bool:
        """Whether an object is one of the table: polars leaves files without content out, unless they are listed."""
        return self._keeps_empty or len(content) > 0

    def _guarded(self, source: Any, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except BaseException as error:
            if not is_refusal(error):
                raise
            failure = error
        for each, content in source.each:  # which of them it is
            each.parsed(
                Content(content),
                self.table_format,
                lambda one: self._scan(bytes(one.read_at(0, one.size)), **self._arguments).collect(),
                wrap=Content,
            )
        raise failure


def content_of(table_object: TableObject) -> bytes:
    """All of an object."""
    return bytes(table_object.client.get(table_object.location, **table_object.keywords))
