"""How each table library reads and writes each format through arrowseal, on the same table.

Only names that every version has: two versions of arrowseal are compared with it (`compare_commits.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

FACES = ["pandas", "polars", "pyarrow", "duckdb"]
FORMATS = ["csv", "parquet", "ipc"]
READS_ONLY = {"duckdb"}
ROW_BYTES = 28
"""Of the table below, in the memory of Arrow."""


def table(size: int) -> pa.Table:
    """A table of some `size` bytes: numbers that do not compress, and codes of ten characters that do.

    The halves and quarters of `x` are the same in text, whoever parses it.
    """
    import numpy as np
    import pyarrow as pa

    rows, draw = max(1, size // ROW_BYTES), np.random.default_rng(2013)
    codes = pa.array([f"code-{number:05}" for number in range(100)])
    return pa.table(
        {
            "n": draw.integers(0, 2**62, rows),
            "x": draw.integers(-(10**9), 10**9, rows) / 4,
            "code": codes.take(pa.array(draw.integers(0, 100, rows))),
        }
    )


def of_face(face: str, content: pa.Table) -> Any:
    """The table as a frame of the library."""
    if face == "pandas":
        return content.to_pandas()
    if face == "polars":
        import polars as pl

        return pl.from_arrow(content)
    return content


def read(face: str, name: str, url: str, **keywords: Any) -> Any:
    """The table in an object, of format `name`, by one library; by DuckDB a table that it made of ours."""
    if face == "pandas":
        import arrowseal.pandas as pd

        readers: Any = {"csv": pd.read_csv, "parquet": pd.read_parquet, "ipc": pd.read_feather}
        return readers[name](url, **keywords)
    if face == "polars":
        import arrowseal.polars as pl

        readers = {"csv": pl.read_csv, "parquet": pl.read_parquet, "ipc": pl.read_ipc}
        return readers[name](url, **keywords)
    import arrowseal.arrow

    found = arrowseal.arrow.read_table(url, format=name, **keywords)
    if face == "pyarrow":
        return found
    import duckdb

    return duckdb.from_arrow(found).to_arrow_table()


def write(face: str, name: str, frame: Any, url: str, **keywords: Any) -> Any:
    """Write a frame of the library."""
    if face == "pandas":
        import arrowseal.pandas as pd

        if name == "csv":
            return pd.to_csv(frame, url, index=False, **keywords)
        writers: Any = {"parquet": pd.to_parquet, "ipc": pd.to_feather}
        return writers[name](frame, url, **keywords)
    if face == "polars":
        import arrowseal.polars as pl

        writers = {"csv": pl.write_csv, "parquet": pl.write_parquet, "ipc": pl.write_ipc}
        return writers[name](frame, url, **keywords)
    import arrowseal.arrow

    return arrowseal.arrow.write_table(frame, url, format=name, **keywords)
