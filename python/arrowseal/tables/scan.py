"""Lazy tables for polars: an object that is fetched when the query runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from arrowseal.extras import require
from arrowseal.tables.formats import TableFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import polars as pl
    from typing_extensions import Buffer

    from arrowseal.tables.table_object import TableObject


@dataclass(frozen=True)
class _OpenedParquet:
    content: bytes
    schema: pl.Schema
    rows: int

    def __len__(self) -> int:
        return self.rows


class LazyParquet:
    """A Parquet object as a source of polars (`polars.io.plugins.register_io_source`). Works on any thread of polars.

    Until ranges of an object can be read on their own, the schema needs the whole object. What was fetched for the
    schema serves the run of the query that usually follows, once, so that it is not held for as long as the frame
    lives. Each fetch is counted as one operation, with the rows of the whole table; decoding belongs to the query and
    is not.
    """

    def __init__(self, table_object: TableObject, arguments: dict[str, Any]) -> None:
        self._table_object = table_object
        self._arguments = arguments
        self._schema: pl.Schema | None = None
        self._fetched: _OpenedParquet | None = None
        self._lock = threading.Lock()

    def frame(self) -> pl.LazyFrame:
        """The frame over it. Sends no request."""
        try:
            resolver = import_module("polars.lazyframe.resolver")
        except ModuleNotFoundError:  # before polars 2.1
            return self.source(self.schema)
        return _resolved(resolver.LazyFrameResolver, self)

    def schema(self) -> pl.Schema:
        """The names and types of the columns, fetched the first time."""
        with self._lock:
            if self._schema is None:
                self._fetched = self._fetch()
                self._schema = self._fetched.schema
            return self._schema

    def batches(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        """What polars calls to run the query: the rows that are left, in batches."""

        def collect(content: Buffer) -> pl.DataFrame:
            frame = self._scan(content)
            # `with_columns` holds those of the predicate too; `n_rows` never comes together with one.
            if with_columns is not None:
                frame = frame.select(with_columns)
            if predicate is not None:
                frame = frame.filter(predicate)
            return (frame if n_rows is None else frame.head(n_rows)).collect()

        with self._lock:
            opened, self._fetched = self._fetched, None
        content = (opened or self._fetch()).content
        table = self._table_object.parsed(content, TableFormat.PARQUET, collect)
        yield from table.iter_slices(batch_size) if batch_size and table.height else (table,)

    def __getstate__(self) -> dict[str, Any]:
        # Plans travel; content and locks do not.
        return {"_table_object": self._table_object, "_arguments": self._arguments, "_schema": self._schema}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _fetched=None, _lock=threading.Lock())

    def _fetch(self) -> _OpenedParquet:
        return self._table_object.read("scan_parquet", TableFormat.PARQUET, self._open)

    def source(self, schema: pl.Schema | Callable[[], pl.Schema]) -> pl.LazyFrame:
        """It as a source with that schema."""
        plugins = require("polars.io.plugins", "polars")
        frame: pl.LazyFrame = plugins.register_io_source(self.batches, schema=schema, validate_schema=True)
        return frame

    def _open(self, content: Buffer) -> _OpenedParquet:
        held = bytes(content)
        frame = self._scan(held)
        rows = frame.select(require("polars", "polars").len()).collect().item()
        return _OpenedParquet(held, frame.collect_schema(), rows)

    def _scan(self, content: Buffer) -> pl.LazyFrame:
        frame: pl.LazyFrame = require("polars", "polars").scan_parquet(content, **self._arguments)
        return frame


def _resolved(base: Any, lazy: LazyParquet) -> pl.LazyFrame:
    """The same source behind a resolver of polars: only that lets our errors out of the schema as they are; a source
    alone makes each a `ComputeError`.
    """

    class SealedParquet(base):  # type: ignore[misc]
        def schema(self) -> pl.Schema:
            return lazy.schema()

        def resolve_lazyframe(self, **_: object) -> pl.LazyFrame:
            return lazy.source(lazy.schema())

    frame: pl.LazyFrame = SealedParquet().lazy()
    return frame
