"""A read of a dataset as frames of polars, which decodes small Parquet files by itself, many at a time.

For a file of some kilobytes a table of pyarrow, and a frame out of it, cost several times what fetching and opening it
does; polars reads a list of files at a tenth of that. It is given those that follow each other, and what it makes of
them is taken if it has the columns and types of the dataset. Otherwise, and for what polars refuses, the same bytes go
through pyarrow, which converts what may be converted, and knows what to say of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from itertools import chain, groupby
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from arrowseal.extras import require
from arrowseal.tables.dataset_partitions import constant
from arrowseal.tables.dataset_pieces import AT_ONCE_BYTES
from arrowseal.tables.formats import TableFormat
from arrowseal.tables.polars_frames import by_name, frame_of
from arrowseal.tables.ranges import Content
from arrowseal.tables.refusal import is_refusal

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    import polars as pl

    from arrowseal.counters import Operation
    from arrowseal.tables.dataset_files import Wanted
    from arrowseal.tables.dataset_listing import Found
    from arrowseal.tables.dataset_partitions import Partition
    from arrowseal.tables.dataset_scan import DatasetScan
    from arrowseal.tables.dataset_source import DatasetFile
    from arrowseal.tables.lazy import Query

_FILES: Final = 64
_FRAME_BYTES: Final = 4 * 2**20


@dataclass(frozen=True)
class _Undecoded:
    """A small file that was read and proven."""

    member: DatasetFile
    content: bytes

    @property
    def nbytes(self) -> int:
        return len(self.content)


class _DiffersError(Exception):
    """A file is not as the schema says."""


class FrameScan:
    """The rows of a scan as frames in the types of `schema`, the columns of the query; filters may be applied. What
    paths say of `held` columns is in the files as well.

    polars decodes on the thread that takes the frames, never on those that fetch: they could wait for threads of polars
    that wait for them.
    """

    def __init__(self, scan: DatasetScan, query: Query, schema: pl.Schema, held: frozenset[str] = frozenset()) -> None:
        self._scan = scan
        self._query = query
        self._schema = {name: schema[name] for name in query.columns or schema.names()}
        self._dataset_schema = schema
        self._held = held
        self._as_told = True
        """Whether files are as the schema says, so that polars need not look into the first of them for theirs."""

    def frames(self, limit: int | None = None) -> Generator[pl.DataFrame, None, None]:
        """Frames in the order of the files; at least the first `limit` rows. Raises what reading the dataset raises."""
        rows, names = 0, [*self._schema]
        with self._scan.counted() as operation:
            wanted, members = self._scan.planned(operation)
            wanted = replace(wanted, first_rows=limit)
            read = self._scan.flow(members, partial(self._read, wanted, operation), first_alone=limit is not None)
            for few in _together(read):
                for frame in self._decoded(few, wanted, operation):
                    rows += frame.height
                    yield frame.select(by_name(*names))
            operation.rows = rows

    def _read(self, wanted: Wanted, operation: Operation, member: DatasetFile) -> Iterator[_Undecoded | pa.Table]:
        files, found = self._scan.files, member.found
        if wanted.own.names and self._is_small(found):
            with files.open(found, operation) as source:
                if source.in_memory:
                    yield _Undecoded(member, bytes(source.read_at(0, source.size)))
                    return
        yield from files.tables(found, wanted, member.partition, operation)

    def _is_small(self, found: Found) -> bool:
        """Whether it is a Parquet file that comes whole with one request, and is read without options."""
        files, size = self._scan.files, found.stored_bytes
        most = min(AT_ONCE_BYTES, files.client.options.transfer.part_bytes)
        at_once = size is not None and size <= most
        return at_once and not files.options and files.format_of(found) is TableFormat.PARQUET

    def _decoded(
        self, few: list[_Undecoded | pa.Table], wanted: Wanted, operation: Operation
    ) -> Iterator[pl.DataFrame]:
        undecoded = [one for one in few if isinstance(one, _Undecoded)]
        if undecoded:
            with operation.timed("decode"):
                frame = self._by_polars(undecoded, wanted)
            if frame is not None:
                yield frame
                return
        files = self._scan.files
        tables: Iterable[pa.Table] = chain.from_iterable(
            files.tables_of(Content(one.content), one.member.found, wanted, one.member.partition, operation)
            if isinstance(one, _Undecoded)
            else (one,)
            for one in few
        )
        # Making a frame takes longer than copying a small table.
        together = pa.concat_tables(tables)
        yield frame_of(together.combine_chunks() if len(few) > 1 else together)

    def _by_polars(self, few: list[_Undecoded], wanted: Wanted) -> pl.DataFrame | None:
        """The frame of several files; None if it would not be what the schema says, or there is none."""
        polars = require("polars", "polars")
        own = frozenset(wanted.own.names)
        try:
            # All at once: who decodes waits after each call until the threads that fetch let Python go.
            scans = [
                self._of_partition([one.content for one in alike], partition, own, wanted)
                for partition, alike in groupby(few, lambda one: one.member.partition)
            ]
            decoded: pl.DataFrame = polars.concat(scans, rechunk=False).collect()
        except _DiffersError:
            return None
        except BaseException as error:
            if not is_refusal(error):
                raise
            if self._as_told:  # files may hold columns that their paths say as well
                self._as_told = False
                return self._by_polars(few, wanted)
            return None  # pyarrow finds out what is wrong, and says it without quoting values
        return decoded if decoded.schema == self._schema else None

    def _of_partition(
        self, contents: list[bytes], partition: Partition, own: frozenset[str], wanted: Wanted
    ) -> pl.LazyFrame:
        frame = self._scanned(contents, wanted)
        frame = frame.select(
            by_name(name) if name in own else self._said(name, partition, wanted) for name in self._schema
        )
        for each in self._query.filters:
            frame = frame.filter(each.expr)
        return frame

    def _scanned(self, contents: list[bytes], wanted: Wanted) -> pl.LazyFrame:
        """The files of which none has a column that the dataset must not have."""
        scan, known = require("polars", "polars").scan_parquet, wanted.strict.known
        if self._as_told:
            columns = self._dataset_schema if known is not None else wanted.own.names
            of_paths = set(wanted.partition_schema.names) - self._held
            of_files = {name: self._dataset_schema[name] for name in columns if name not in of_paths}
            extra = "ignore" if known is None else "raise"
            as_told: pl.LazyFrame = scan(contents, schema=of_files, extra_columns=extra)
            return as_told
        frame: pl.LazyFrame = scan(contents)
        if known is not None and frame.collect_schema().keys() - known:
            raise _DiffersError
        return frame

    def _said(self, name: str, partition: Partition, wanted: Wanted) -> pl.Expr:
        """What the path of a file says, as a column."""
        polars, value, kind = require("polars", "polars"), partition.values.get(name), self._schema[name]
        usual = {int: kind.is_integer(), str: kind == polars.String, date: kind == polars.Date}
        if usual.get(type(value)):
            # Arrow would let go of the GIL, and threads that fetch give it back late.
            one = polars.lit(value)
        else:
            said = polars.from_arrow(constant(value, wanted.partition_schema.field(name).type, 1))
            # A datetime of Python would end at microseconds; what takes longer is right for it.
            one = polars.lit(said).first() if isinstance(said.dtype, polars.Datetime) else polars.lit(said.item())
        column: pl.Expr = one.cast(kind).alias(name)
        return column


def _together(read: Iterator[_Undecoded | pa.Table]) -> Iterator[list[_Undecoded | pa.Table]]:
    """Small files that follow each other, as long as they fit one frame; other tables alone. The first file comes
    alone, for who waits for it.
    """
    few: list[_Undecoded | pa.Table] = []
    most, size = 1, 0
    for one in read:
        is_small = isinstance(one, _Undecoded)
        if few and not is_small:
            yield few
            few, size = [], 0
        few.append(one)
        size += one.nbytes
        if not is_small or len(few) == most or size >= _FRAME_BYTES:
            yield few  # at once: who has enough is not to wait for the next one
            few, size, most = [], 0, _FILES
    if few:
        yield few
