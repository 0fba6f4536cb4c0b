"""Many objects of CSV, JSON lines or IPC as one frame of polars that does not hold them all: some at a time.

polars takes the schema of many files from the first ones: from ten of CSV, unless `infer_schema_files` says otherwise,
from one of the other formats. The beginnings of these, as many rows as polars looks at, are fetched first, and then
stand before each group of objects: so polars itself reads a group by the schema of all, and refuses what it refuses.
The rows of the beginnings are left out of what it gives.
"""

from __future__ import annotations

import zlib
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import pyarrow as pa

from arrowseal.outcomes import results
from arrowseal.standby import Threads
from arrowseal.tables.formats import TableFormat
from arrowseal.tables.lazy import Opened, Query
from arrowseal.tables.lazy_ipc import empty_file, reads_batches
from arrowseal.tables.lazy_objects import Contents, LazyObjects, content_of
from arrowseal.tables.lazy_pieces import of_pieces
from arrowseal.tables.lazy_text import COMPRESSED, INFERRED_ROWS, KINDS, OF_ROWS, reads_blocks
from arrowseal.tables.polars_frames import with_row_numbers
from arrowseal.tables.ranges import whole_bytes
from arrowseal.tables.refusal import is_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from concurrent.futures import Future

    import polars as pl

    from arrowseal.counters import Operation
    from arrowseal.tables.ranges import Ranges
    from arrowseal.tables.table_object import TableObject

SHORT_BYTES: Final = 64 * 2**20
"""Up to this sum all are fetched at once, also for a schema or a few rows."""
HELD_BYTES: Final = 512 * 2**20
"""Up to this sum all rows are parsed at once, as of one object."""
GROUP_BYTES: Final = 128 * 2**20
"""Of objects that are parsed at a time, while the next are fetched; one that is longer is alone."""
FEW_BYTES: Final = 16 * 2**20
"""The same for the first rows."""
HEAD_BYTES: Final = 64 * 2**10
"""How much of an object is looked at for its beginning, and then four times as much, up to `MOST_HEAD_BYTES`."""
MOST_HEAD_BYTES: Final = 64 * 2**20
_INFERRED_FILES: Final = 10
"""How many files polars infers the schema of CSV from, if nothing is said."""
_OF_NAMES: Final = frozenset({"new_columns", "with_column_names", "try_parse_dates"})
_ZLIB_OR_GZIP: Final = 32 + zlib.MAX_WBITS
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_PIECE_BYTES: Final = 8 * 2**10


class _Head(NamedTuple):
    """The beginning of an object, as a file of its own."""

    table_object: TableObject
    content: bytes
    stored_bytes: int


class _Group(Contents):
    """The objects that are being read, of those that are known by the beginnings of the first ones: these at first."""

    def __init__(self, heads: Sequence[_Head]) -> None:
        super().__init__([(head.table_object, head.content) for head in heads])
        self.heads = heads


class _OpenedGroups(Opened):
    """Many objects by their schema."""

    def __init__(self, lazy: LazyGroups, group: _Group) -> None:
        self._lazy = lazy
        self._group = group
        self._heads = [head.content for head in group.heads]
        super().__init__(cast("Ranges", group), lazy.scanned(self._heads).collect_schema())
        self._rows_of_heads = lazy.scanned(self._heads).collect().height
        # Alone the first one might be of other types, and not be read.
        self._rows_of_first = lazy.scanned([*self._heads, self._heads[0]]).collect().height - self._rows_of_heads

    def frames(self, query: Query) -> Iterator[pl.DataFrame]:
        """What a query asks for, group by group."""
        from_front = query.rows is not None and query.rows[0] >= 0
        if query.rows is not None and from_front and sum(query.rows) <= self._rows_of_first:
            yield from of_pieces([self._lazy.scanned(self._heads)], self.schema, query)
            return
        with closing(self._lazy.groups(self._group, ahead=not from_front)) as groups:
            if query.rows is None and self._lazy.is_one_group(self._group):
                yield query.of(self._lazy.scanned(next(groups)))
            else:
                yield from of_pieces(map(self._after_heads, groups), self.schema, query)

    def _after_heads(self, contents: list[bytes]) -> pl.LazyFrame:
        # A slice that reaches the scan counts empty lines as rows.
        frame = self._lazy.scanned([*self._heads, *contents])
        return frame.map_batches(
            lambda rows: rows.slice(self._rows_of_heads), predicate_pushdown=False, slice_pushdown=False
        )


class LazyGroups(LazyObjects):
    """Objects of these lengths, which may be more than memory holds. None is a length that was not listed."""

    def __init__(
        self,
        objects: Sequence[TableObject],
        stored_bytes: Sequence[int | None],
        place: TableObject,
        arguments: dict[str, Any],
        scan: Callable[..., pl.LazyFrame],
        table_format: TableFormat,
        *,
        keeps_empty: bool = True,
    ) -> None:
        of_types = {name: value for name, value in arguments.items() if name not in OF_ROWS}
        super().__init__(objects, place, of_types, scan, table_format, keeps_empty=keeps_empty)
        self._stored_bytes = stored_bytes
        self._all_arguments = arguments
        is_csv = table_format is TableFormat.CSV
        self._inferred_files: int = arguments.get("infer_schema_files", _INFERRED_FILES) if is_csv else 1

    def frame(self) -> pl.LazyFrame:
        return with_row_numbers(super().frame(), self._all_arguments)

    def open(self, source: Any) -> Opened:
        return _OpenedGroups(self, source) if isinstance(source, _Group) else super().open(source)

    def read(self, opened: Opened, query: Query) -> Iterator[pl.DataFrame]:
        return opened.frames(query) if isinstance(opened, _OpenedGroups) else super().read(opened, query)

    def scanned(self, contents: list[bytes]) -> pl.LazyFrame:
        """What polars makes of these."""
        return self._scan(contents, **self._arguments)

    def groups(self, group: _Group, *, ahead: bool) -> Generator[list[bytes]]:
        """What the objects hold, some at a time. With `ahead` the next ones are fetched meanwhile; otherwise few are,
        and no more than asked for. `group` tells which are out.
        """
        waiting = iter(self._grouped(group.heads, ahead=ahead))
        with Threads(self._concurrency) as threads:

            def fetched() -> list[tuple[TableObject, Future[bytes]]]:
                return [(each, threads.submit(content_of, each)) for each in next(waiting, ())]

            coming = fetched()
            while coming:
                present, coming = coming, fetched() if ahead else []
                contents = results([future for _, future in present])
                pairs = zip((each for each, _ in present), contents, strict=True)
                group.each = [(each, content) for each, content in pairs if self._counts(content)]
                del present, contents, pairs
                yield [content for _, content in group.each]
                group.each = []
                coming = coming or fetched()

    def _source(self, counted: Operation) -> Ranges:
        if None not in self._stored_bytes and sum(map(int, self._stored_bytes)) <= SHORT_BYTES:  # type: ignore[arg-type]
            return super()._source(counted)
        heads: list[_Head | None] = []
        sizes = [SHORT_BYTES if size is None else size for size in self._stored_bytes]
        begin = 0
        while begin < len(self._objects) and len(heads) < self._inferred_files:
            end = begin + self._inferred_files - len(heads)
            # What has no index may be held as a whole for its beginning.
            for some in _groups(self._objects[begin:end], sizes[begin:end], HELD_BYTES):
                with Threads(self._concurrency) as threads:
                    found = results([threads.submit(self._head, each) for each in some])
                heads += [head for head in found if head is None or self._counts(head.content)]
            begin = end
        known = [head for head in heads if head is not None]
        return cast("Ranges", _Group(known)) if known and len(known) == len(heads) else super()._source(counted)

    @property
    def _concurrency(self) -> int:
        return min(self._table_object.client.options.transfer.concurrency, len(self._objects))

    def is_one_group(self, group: _Group) -> bool:
        """Whether all are read at once where all are needed."""
        return sum(self._lengths(group.heads)) <= HELD_BYTES

    def _lengths(self, heads: Sequence[_Head]) -> list[int]:
        likely = max(head.stored_bytes for head in heads)
        return [likely if length is None else length for length in self._stored_bytes]

    def _grouped(self, heads: Sequence[_Head], *, ahead: bool) -> Iterator[list[TableObject]]:
        lengths = self._lengths(heads)
        most = FEW_BYTES if not ahead else HELD_BYTES if sum(lengths) <= HELD_BYTES else GROUP_BYTES
        return _groups(self._objects, lengths, most)

    def _head(self, each: TableObject) -> _Head | None:
        """None where a beginning does not say what polars would make of it."""
        kept = each.client.counters.operation(self.operation, each.location, file_type=self.table_format.value)
        with kept as counted, closing(each.opened(counted, 0)) as source:
            is_ipc = self.table_format is TableFormat.IPC
            content = empty_file(source) if is_ipc else self._lines(source)
            return None if content is None else _Head(each, content, source.size)

    def _lines(self, source: Ranges) -> bytes | None:
        """The first lines, more than polars looks at."""
        kind = KINDS[self.table_format](self._arguments)
        looked_at = self._arguments.get("infer_schema_length", INFERRED_ROWS)
        length = HEAD_BYTES
        while length < min(source.size, MOST_HEAD_BYTES):
            block = bytes(source.read_at(0, length))
            try:
                block = _inflated(block)
                block = block[: kind.end_of_lines(block)]
                if self.scanned([block]).collect().height > looked_at:
                    return block
            except BaseException as error:
                if not is_refusal(error):
                    raise
            length *= 4
        return whole_bytes(source) if source.size <= MOST_HEAD_BYTES else None


def _groups(objects: Sequence[TableObject], lengths: Sequence[int], most: int) -> Iterator[list[TableObject]]:
    """So many bytes of objects at a time; one that is longer is alone."""
    group: list[TableObject] = []
    held = 0
    for each, length in zip(objects, lengths, strict=False):
        if group and held + length > most:
            yield group
            group, held = [], 0
        group.append(each)
        held += length
    if group:
        yield group


def _inflated(block: bytes) -> bytes:
    """As much as the beginning of a compressed file gives."""
    if not block.startswith(COMPRESSED):
        return block
    if not block.startswith(_ZSTD):
        return zlib.decompressobj(_ZLIB_OR_GZIP).decompress(block)
    pieces = []
    with suppress(OSError), pa.CompressedInputStream(pa.BufferReader(block), "zstd") as stream:
        while piece := stream.read(_PIECE_BYTES):
            pieces.append(piece)
    return b"".join(pieces)


def reads_groups(arguments: dict[str, Any], table_format: TableFormat) -> bool:
    """Whether `LazyGroups` honours all arguments; otherwise polars itself does, on all of the contents."""
    if table_format is TableFormat.IPC:
        return reads_batches(arguments)
    return reads_blocks({name: value for name, value in arguments.items() if name not in _OF_NAMES}, table_format)
