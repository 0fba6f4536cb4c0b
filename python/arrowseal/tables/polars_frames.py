"""Frames of polars where its own way of making them would lose something: names of columns, or rows without any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arrowseal.extras import require
from arrowseal.tables.arrow_types import with_narrow_decimals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import polars as pl
    import pyarrow as pa


def frame_of(table: pa.Table) -> pl.DataFrame:
    """The table as a frame, of the same names and chunks. Raises polars' `InvalidOperationError` for decimals of more
    than 38 digits.
    """
    if any("decimal256" in str(kind) for kind in table.schema.types):  # of which polars panics
        try:
            table = table.cast(with_narrow_decimals(table.schema))
        except ValueError as error:
            raise require("polars", "polars").exceptions.InvalidOperationError(str(error)) from None
    if any("fixed_size_list" in str(kind) for kind in table.schema.types) and _is_cut_unevenly(table):
        table = table.combine_chunks()  # else it comes in slices, of which polars takes no arrays with nulls
    from_arrow = require("polars", "polars").from_arrow
    frame: pl.DataFrame
    if "" not in table.column_names:
        frame = from_arrow(table, rechunk=False)
        return frame
    # polars would name that column by its place, as another may be named.
    frame = from_arrow(table.rename_columns([str(place) for place in range(table.num_columns)]), rechunk=False)
    frame.columns = table.column_names
    return frame


def _is_cut_unevenly(table: pa.Table) -> bool:
    return len({tuple(map(len, column.chunks)) for column in table.columns}) > 1


def by_name(*names: str) -> Any:
    """The columns of these names, to be selected: polars takes `*`, and what stands between `^` and `$`, for patterns
    where names are given as text.
    """
    return require("polars.selectors", "polars").by_name(*names)


def has_patterns(names: Iterable[str]) -> bool:
    """Whether polars takes one of the names for a pattern."""
    return any(name == "*" or (name.startswith("^") and name.endswith("$")) for name in names)


def collected(frame: pl.LazyFrame, columns: Any, row_index: tuple[str | None, int]) -> pl.DataFrame:
    """The frame that a `read_` function of polars makes of a scan: of these columns, by name or place, None being all;
    rows are numbered from the second of `row_index` on, in a column before them, where the first names one.
    """
    if columns is not None:
        numbered = not isinstance(columns, str) and all(isinstance(column, int) for column in columns)
        frame = frame.select(require("polars", "polars").nth(*columns) if numbered and columns else columns)
    name, offset = row_index
    return (frame if name is None else frame.with_row_index(name, offset)).collect()


def with_row_numbers(frame: pl.LazyFrame, arguments: Mapping[str, Any]) -> pl.LazyFrame:
    """What `n_rows`, `row_index_name` and `row_index_offset` of a scan make of its frame."""
    if arguments.get("n_rows") is not None:
        frame = frame.head(arguments["n_rows"])
    if arguments.get("row_index_name") is not None:
        frame = frame.with_row_index(arguments["row_index_name"], arguments.get("row_index_offset", 0))
    return frame


def sliced(frames: Iterable[pl.DataFrame], skip: int, left: int) -> Iterator[pl.DataFrame]:
    """The `left` rows after the first `skip`. Frames are sliced, not tables: of slices of pyarrow polars refuses arrays
    with nulls among them.
    """
    for frame in frames:
        taken = frame.slice(skip, min(left, frame.height))
        skip -= min(skip, frame.height)
        left -= taken.height
        if taken.height:
            yield taken
        if left == 0:
            return


def rows_alone(count: int) -> pl.DataFrame:
    """So many rows without a column, for a query that needs to know of them and of nothing in them."""
    frame: pl.DataFrame = require("polars", "polars").DataFrame(height=count)
    return frame
