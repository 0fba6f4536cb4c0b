"""CSV and JSON lines for polars: of what is long, slices from the front and what is very long block by block.

The first block says the types, if it has more rows than polars looks at for them. polars parses each block by itself,
those after the first one by these types, and those of CSV under a header that is put before them: otherwise their
first line would say how many columns there are. Blocks end where a line does: in CSV, where as many quotes open as
close, by which polars itself tells lines from line breaks in quoted fields.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from arrowseal.object_reader import ObjectReader
from arrowseal.tables.formats import TableFormat
from arrowseal.tables.lazy import Opened, Query
from arrowseal.tables.lazy_pieces import of_pieces
from arrowseal.tables.lazy_whole import LazyWhole, OpenedWhole
from arrowseal.tables.polars_frames import with_row_numbers
from arrowseal.tables.ranges import whole_bytes
from arrowseal.tables.refusal import is_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    import polars as pl

    from arrowseal.tables.ranges import Ranges

SHORT_BYTES: Final = 64 * 2**20
"""Up to this size the first block is not looked at alone."""
HELD_BYTES: Final = 512 * 2**20
"""Up to this size all rows are parsed at once, which takes two thirds of the time, and twice the memory."""
BLOCK_BYTES: Final = 16 * 2**20
INFERRED_ROWS: Final = 100
"""How many rows polars infers types from, if nothing is said."""
COMPRESSED: Final = (b"\x1f\x8b", b"x\x01", b"x^", b"x\x9c", b"x\xda", b"\x28\xb5\x2f\xfd")
"""How what polars inflates begins: gzip, zlib, zstd."""
OF_ROWS: Final = frozenset({"n_rows", "row_index_name", "row_index_offset"})
_OF_TYPES: Final = frozenset(
    {"schema", "schema_overrides", "infer_schema", "infer_schema_length", "infer_schema_files"}
)


class _JsonLines:
    """What blocks of JSON lines are parsed with."""

    kept = frozenset({"batch_size", "low_memory", "ignore_errors"})
    of_first = _OF_TYPES

    def __init__(self, arguments: dict[str, Any]) -> None:
        del arguments

    def end_of_lines(self, block: bytes) -> int:
        return block.rfind(b"\n") + 1

    def later(self, schema: pl.Schema) -> tuple[bytes, dict[str, Any]]:
        return b"", {"schema": schema}


class _Csv:
    """What blocks of CSV are parsed with."""

    kept = frozenset(
        {"separator", "quote_char", "eol_char", "null_values", "empty_string_is_null", "ignore_errors", "encoding"}
        | {"truncate_ragged_lines", "decimal_comma", "low_memory"}
    )
    of_first = _OF_TYPES | {"has_header", "missing_columns", "extra_columns", "raise_if_empty", "glob"}

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._separator: str = arguments.get("separator", ",")
        self._quote: str = arguments.get("quote_char", '"') or ""
        self._line_end: str = arguments.get("eol_char", "\n")

    def end_of_lines(self, block: bytes) -> int:
        line_end, quote = self._line_end.encode(), self._quote.encode()
        end = block.rfind(line_end)
        if not quote:
            return end + 1
        within = block.count(quote, 0, end) % 2 if end >= 0 else 0
        while end >= 0 and within:
            before = block.rfind(line_end, 0, end)
            within ^= block.count(quote, max(before, 0), end) % 2
            end = before
        return end + 1

    def later(self, schema: pl.Schema) -> tuple[bytes, dict[str, Any]]:
        quote = self._quote
        names = [quote + name + quote for name in schema]  # polars leaves quotes within a name as they are
        return (self._separator.join(names) + self._line_end).encode(), {"schema": schema}


KINDS: Final[dict[TableFormat, type[_Csv | _JsonLines]]] = {TableFormat.CSV: _Csv, TableFormat.JSON: _JsonLines}


@dataclass(frozen=True)
class _Blocks:
    """How the blocks of an object are cut and parsed."""

    kind: _Csv | _JsonLines
    scan: Callable[..., pl.LazyFrame]
    arguments: dict[str, Any]

    def first(self, source: Ranges) -> pl.Schema | None:
        """The schema, if the first block says it for sure and another one can be parsed by it."""
        block = bytes(source.read_at(0, BLOCK_BYTES))
        block = block[: self.kind.end_of_lines(block)]
        if not block or block.startswith(COMPRESSED):
            return None
        looked_at = self.arguments.get("infer_schema_length", INFERRED_ROWS)
        try:
            frame = self.scan(block, **self.arguments)
            schema = frame.collect_schema()
            enough = frame.head(looked_at + 1).collect().height > looked_at
            alike = self._later(schema, b"").collect().schema == schema
        except BaseException as error:
            if not is_refusal(error):
                raise
            return None  # all of the content says what is wrong with it
        return schema if enough and alike else None

    def frames(self, source: Ranges, schema: pl.Schema) -> Generator[pl.LazyFrame]:
        """One of each block, which fetches what comes next meanwhile. Closes the source."""
        file = ObjectReader(source)  # type: ignore[arg-type]  # what is not in memory is one
        with closing(file):
            for number, block in enumerate(self._cut(file)):
                yield self._later(schema, block) if number else self.scan(block, **self.arguments)

    def _cut(self, file: ObjectReader) -> Iterator[bytes]:
        rest = b""
        while piece := file.read(BLOCK_BYTES):
            block = rest + piece
            end = self.kind.end_of_lines(block)
            rest = block[end:]
            if end:
                yield block[:end]
        if rest:
            yield rest

    def _later(self, schema: pl.Schema, block: bytes) -> pl.LazyFrame:
        header, more = self.kind.later(schema)
        kept = {name: value for name, value in self.arguments.items() if name in self.kind.kept}
        return self.scan(header + block, **kept, **more)


class _OpenedText(Opened):
    """A long object by its first block."""

    def __init__(self, source: Ranges, schema: pl.Schema, blocks: _Blocks) -> None:
        super().__init__(source, schema)
        self._blocks = blocks

    def frames(self, query: Query) -> Iterator[pl.DataFrame]:
        """What a query asks for, block by block."""
        from_front = query.rows is not None and query.rows[0] >= 0
        if self.source.size <= HELD_BYTES and not from_front:
            yield query.of(self._blocks.scan(whole_bytes(self.source), **self._blocks.arguments))
            return
        with closing(self._blocks.frames(self.source, self.schema)) as lazy:
            yield from of_pieces(lazy, self.schema, query)


class LazyText(LazyWhole):
    """CSV or JSON lines: a slice from the front fetches no more than the blocks that it lies in."""

    whole = False
    size_hint = 0

    @property
    def _blocks(self) -> _Blocks:
        of_types = {name: value for name, value in self._arguments.items() if name not in OF_ROWS}
        return _Blocks(KINDS[self.table_format](of_types), self._scan, of_types)

    def open(self, source: Ranges) -> Opened:
        blocks = self._blocks
        if not source.in_memory and source.size > SHORT_BYTES:
            schema = blocks.first(source)
            if schema is not None:
                return _OpenedText(source, schema, blocks)
        return OpenedWhole(source, blocks.scan(whole_bytes(source), **blocks.arguments))

    def read(self, opened: Opened, query: Query) -> Iterator[pl.DataFrame]:
        return opened.frames(query) if isinstance(opened, _OpenedText) else super().read(opened, query)

    def frame(self) -> pl.LazyFrame:
        return with_row_numbers(super().frame(), self._arguments)


def reads_blocks(arguments: dict[str, Any], table_format: TableFormat) -> bool:
    """Whether `LazyText` honours all arguments; otherwise polars itself does, on all of the content."""
    kind = KINDS[table_format]
    given = {name for name, value in arguments.items() if value is not None and value is not False and value != 0}
    if arguments.get("infer_schema_length", INFERRED_ROWS) is None:  # all rows say the types
        return False
    return given <= kind.kept | kind.of_first | OF_ROWS
