"""What a query of polars asks for, of a table whose rows come piece by piece."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from arrowseal.extras import require
from arrowseal.tables.lazy import Query
from arrowseal.tables.polars_frames import by_name, rows_alone, sliced

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import polars as pl


def of_pieces(pieces: Iterable[pl.LazyFrame], schema: pl.Schema, query: Query) -> Iterator[pl.DataFrame]:
    """The rows, of no more pieces than they lie in. Memory: one piece, and the rows of a slice from the end."""
    columns = schema.names() if query.columns is None else query.columns
    if not columns:
        count = require("polars", "polars").len()
        begin, end = query.span(sum(piece.select(count).collect().item() for piece in pieces))
        yield rows_alone(end - begin)
        return
    yield schema.to_frame().select(by_name(*columns))
    if query.rows is None:
        yield from (Query(columns, query.filters).of(piece) for piece in pieces)
    elif query.rows[0] < 0:
        yield from _last_rows((Query(columns).of(piece) for piece in pieces), query)
    else:
        most = 0, sum(query.rows)  # of each piece
        yield from sliced((Query(columns, (), most).of(piece) for piece in pieces), *query.rows)


def _last_rows(frames: Iterator[pl.DataFrame], query: Query) -> Iterator[pl.DataFrame]:
    """The slice of a query that counts from the end."""
    assert query.rows is not None  # noqa: S101 - by the caller
    kept: deque[pl.DataFrame] = deque()
    held = 0
    for frame in frames:
        kept.append(frame)
        held += frame.height
        while held - kept[0].height >= -query.rows[0]:
            held -= kept.popleft().height
    begin, end = query.span(held)
    yield from sliced(kept, begin, end - begin)
