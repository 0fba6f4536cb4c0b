"""Lazy tables for polars: an object of which the query says what is fetched, when it runs.

`LazyTable` is a source of polars: by an external reader (`polars.io.external_reader`, from 2.1 on), which is told of
projection, filters and slices, otherwise by `register_io_source`. What there is to fetch is up to its subclasses, one
for each kind of format.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

from arrowseal.exceptions import ObjectChangedError
from arrowseal.extras import require
from arrowseal.fork_lock import ForkLock
from arrowseal.tables.dataset_listing import telling_of_prefixes
from arrowseal.tables.polars_aside import all_aside, aside
from arrowseal.tables.polars_frames import by_name, has_patterns, rows_alone
from arrowseal.tables.ranges import Content
from arrowseal.tables.refusal import is_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    import polars as pl

    from arrowseal.counters import Operation
    from arrowseal.tables.formats import TableFormat
    from arrowseal.tables.ranges import Ranges
    from arrowseal.tables.table_object import TableObject

    Frames: TypeAlias = Generator[pl.DataFrame, None, None]

_UNSTABLE: Final = ("polars.lazyframe.resolver", "polars.io.external_reader")


class Query(NamedTuple):
    """What is left to read. Slices come first and must be applied; filters may be, since polars applies them again."""

    columns: list[str] | None = None
    filters: Sequence[Filter] = ()
    rows: tuple[int, int] | None = None
    """Offset, from the end if it is negative, and length."""

    def of(self, frame: pl.LazyFrame) -> pl.DataFrame:
        """The same of a frame that polars reads by itself. A filter that fails is left to polars, which says why."""
        try:
            return self._collected(frame)
        except Exception as error:
            if not self.filters or not is_refusal(error):
                raise
        return self._replace(filters=()).of(frame)  # raises what is wrong with the content itself

    def _collected(self, frame: pl.LazyFrame) -> pl.DataFrame:
        if self.rows is not None:
            frame = frame.slice(*self.rows)
        for each in self.filters:
            frame = frame.filter(each.expr)
        if self.columns is not None and not self.columns:
            return rows_alone(frame.select(require("polars", "polars").len()).collect().item())
        return (frame if self.columns is None else frame.select(by_name(*self.columns))).collect()

    def span(self, count: int) -> tuple[int, int]:
        """Where the rows that are left of so many begin, and end."""
        if self.rows is None:
            return 0, count
        offset, length = self.rows
        begin = offset if offset >= 0 else count + offset
        end = max(0, min(count, begin + length))
        return min(max(0, begin), end), end


class Filter(NamedTuple):
    """One of the filters that all have to hold, and what polars makes of it for pyarrow, if it can."""

    expr: pl.Expr
    pyarrow: Any = None


class Opened:
    """A table whose schema is known, over a source that is closed with it."""

    def __init__(self, source: Ranges, schema: pl.Schema, rows: int | None = None) -> None:
        self.source = source
        self.schema = schema
        self.rows = rows

    def close(self) -> None:
        close: Callable[[], None] = getattr(self.source, "close", lambda: None)
        close()


class LazyTable(ABC):
    """A table as a source of polars. Works on any thread of polars.

    What was opened for the schema serves the run of the query that usually follows, once, so that it is not held for as
    long as the frame lives. Each opening, and each run that has requests of its own, is counted as one operation, with
    the rows of the whole table where the format tells them. Decoding belongs to the query and is not timed.
    """

    table_format: TableFormat
    operation: str
    whole = False
    """Whether it is of no use to open it without fetching all of it."""
    size_hint: int | None = None
    """As in `TableObject.opened`."""

    def __init__(self, table_object: TableObject, arguments: dict[str, Any]) -> None:
        self._table_object = table_object
        self._arguments = arguments
        self._schema: pl.Schema | None = None
        self._opened: tuple[Opened, _Current] | None = None
        self._lock = ForkLock()

    @abstractmethod
    def open(self, source: Ranges) -> Opened:
        """The table in a source. Raises polars' and pyarrow's errors for what is none."""

    @abstractmethod
    def read(self, opened: Opened, query: Query) -> Iterator[pl.DataFrame]:
        """The rows, in the order of the file and the types of the schema; at least one frame."""

    def frame(self) -> pl.LazyFrame:
        """The frame over it. Sends no request."""
        try:
            for unstable in _UNSTABLE:  # by the word of polars
                import_module(unstable)
        except ModuleNotFoundError:
            return self._io_source(self.schema)
        return _announced(self).pipe_with_schema(partial(_scanned, self))

    def schema(self) -> pl.Schema:
        """The names and types of the columns, fetched the first time."""
        with self._lock:
            if self._schema is None:
                self._opened = self._open_counted()
                self._schema = self._opened[0].schema
            return self._schema

    def run(self, query: Query) -> Frames:
        """What a query is to work on. An object that is overwritten before anything is given out is opened once more.

        Raises what `TableObject.read` does, and polars' `SchemaError` for an object that is of another schema by now.
        """
        given = fresh = False
        while True:
            counted, succeeded = self._begin()
            opened = self._take(counted, fresh=fresh)
            counted.rows = opened.rows
            frames = self.read(opened, query)
            try:
                while (frame := self._guarded(opened.source, partial(next, frames, None))) is not None:
                    given = given or frame.height > 0
                    yield frame
            except ObjectChangedError:
                if given or fresh:
                    raise
                fresh = True
            except GeneratorExit:  # polars has enough
                if counted.requests:
                    succeeded()
                raise
            else:
                if counted.requests:
                    succeeded()
                return
            finally:
                opened.close()

    def batches(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        """What `register_io_source` calls. `with_columns` holds those of the predicate too; `n_rows` never comes with
        one.
        """
        filters = () if predicate is None else (Filter(predicate),)
        for frame in self.run(Query(with_columns, filters, None if n_rows is None else (0, n_rows))):
            left = frame if predicate is None else frame.filter(predicate)
            yield from left.iter_slices(batch_size) if batch_size and left.height else (left,)

    def __getstate__(self) -> dict[str, Any]:
        # Plans travel; content, connections and locks do not.
        return {**self.__dict__, "_opened": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=ForkLock())

    def _take(self, counted: Operation, *, fresh: bool) -> Opened:
        with self._lock:
            held, self._opened = self._opened, None
        if held is not None and fresh:
            held[0].close()
            held = None
        if held is None:
            held = self._open_counted() if self.whole else self._open(counted)
        opened, current = held
        current.take(counted)
        if self._schema is not None and opened.schema != self._schema:
            opened.close()
            message = f"{self._table_object.location} was replaced by a table of another schema: scan it anew"
            raise require("polars", "polars").exceptions.SchemaError(message)
        return opened

    def _open_counted(self) -> tuple[Opened, _Current]:
        """Opened as an operation of its own, to which all belongs that happens on this thread meanwhile."""
        counters, at = self._table_object.client.counters, self._table_object.location
        with counters.operation(self.operation, at, file_type=self.table_format.value) as counted:
            return self._open(counted)

    def _open(self, counted: Operation) -> tuple[Opened, _Current]:
        current = _Current(counted)
        source = self._source(cast("Operation", current))
        opened = self._guarded(source, lambda: self.open(source))
        counted.rows = opened.rows
        return opened, current

    def _source(self, counted: Operation) -> Ranges:
        may_be_many = self._table_object.keywords.get("version_id") is None
        with telling_of_prefixes() if may_be_many else nullcontext():
            if not self.whole:
                return self._table_object.opened(counted, self.size_hint)
            with self._table_object.source(counted, whole=True) as content:
                return content

    def _guarded(self, source: Ranges, step: Callable[[], Any]) -> Any:
        def parse(other: Ranges) -> Any:
            return step() if other is source else self.open(other)

        return self._table_object.parsed(source, self.table_format, parse, wrap=Content)

    def _begin(self) -> tuple[Operation, Callable[[], None]]:
        counted, succeeded = self._table_object.client.counters.begin(self.operation, self._table_object.location)
        counted.file_type = self.table_format.value
        return counted, succeeded

    def _io_source(self, schema: pl.Schema | Callable[[], pl.Schema]) -> pl.LazyFrame:
        plugins = require("polars.io.plugins", "polars")
        frame: pl.LazyFrame = plugins.register_io_source(self.batches, schema=schema, validate_schema=True)
        return frame


class _Current:
    """The operation under way on a source that outlives one: it is opened for a schema, and read for a query."""

    def __init__(self, counted: Operation) -> None:
        self.take(counted)

    def take(self, counted: Operation) -> None:
        object.__setattr__(self, "_counted", counted)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_counted"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(object.__getattribute__(self, "_counted"), name, value)


def _announced(lazy: LazyTable) -> pl.LazyFrame:
    """A frame that has the schema of the table and gives no rows: what follows it in a plan may count on the schema.
    Only such a resolver of polars lets our errors out as they are; others are made anew, of their messages.
    """
    resolver: Any = import_module("polars.lazyframe.resolver")

    class AnnouncedTable(resolver.LazyFrameResolver):  # type: ignore[misc]
        def schema(self) -> pl.Schema:
            return aside(lazy.schema)

        def resolve_lazyframe(self, **_: object) -> pl.LazyFrame:
            return lazy.schema().to_frame().lazy()

    frame: pl.LazyFrame = AnnouncedTable().lazy()
    return frame


def _scanned(lazy: LazyTable, _: pl.LazyFrame, schema: pl.Schema) -> pl.LazyFrame:
    """The frame that stands in a plan for the table, made each time that polars looks at the plan: an external reader
    needs its schema at once.

    It is not what a resolver stands for: the streaming engine of polars 2.1 takes the columns that a query needs of one
    by the places that they have among all of them.
    """
    readers: Any = import_module("polars.io.external_reader")
    where = str(lazy._table_object.location)  # noqa: SLF001 - of this module
    frame: pl.LazyFrame = readers.scan_external_reader(_readers(readers, lazy), sources=[where], schema=schema)
    return frame


def _readers(readers: Any, lazy: LazyTable) -> Any:
    """What makes the readers of the one source."""

    class SealedReader(readers.FileReader):  # type: ignore[misc]
        def schema(self) -> pl.Schema:
            return lazy.schema()

        def n_rows_in_file(self, limit: int | None = None) -> int:
            del limit
            return sum(frame.height for frame in all_aside(lazy.run(Query([]))))

        def collect_batches(
            self, *, columns: Sequence[str], pre_slice: tuple[int, int] | None, filters: Sequence[Any], **_: object
        ) -> Iterator[pl.DataFrame]:
            applied = [_filter(each) for each in filters if _may_be_applied(each.expr)]
            return all_aside(lazy.run(Query([*columns], applied, pre_slice)))

    class SealedReaders(readers.FileReaderBuilder):  # type: ignore[misc]
        def reader_capabilities(self) -> Any:
            return readers.ReaderCapabilities(pre_slice=True, negative_pre_slice=True, supported_filter="partial")

        def build_file_reader(self, *_: object) -> SealedReader:
            return SealedReader()

    return SealedReaders()


def _may_be_applied(expr: pl.Expr) -> bool:
    """Whether a filter means the same once more. What the greatest or least rows of a query tell polars as it runs is
    here only by a name, and names that look like patterns would be those of other columns.
    """
    return "dynamic_pred" not in str(expr) and not has_patterns(expr.meta.root_names())


def _filter(given: Any) -> Filter:
    try:
        return Filter(given.expr, given.pyarrow_expr)
    except Exception:  # what went wrong in the translation, which is polars' own affair
        return Filter(given.expr)
