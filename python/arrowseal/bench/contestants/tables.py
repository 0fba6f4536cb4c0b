"""What contestants share about tables: each library's own reader and writer, and a fingerprint that all agree on."""

from __future__ import annotations

import io
from typing import Any


def parse(face: str, format: str, file: Any) -> Any:  # noqa: A002
    """A table of a library, from bytes or a file of that format."""
    if isinstance(file, (bytes, bytearray, memoryview)):
        file = io.BytesIO(file)
    if face == "pandas":
        import pandas as pd

        return pd.read_csv(file) if format == "csv" else pd.read_parquet(file)
    if face == "polars":
        import polars as pl

        return pl.read_csv(file) if format == "csv" else pl.read_parquet(file)
    if format == "csv":
        import pyarrow.csv

        return pyarrow.csv.read_csv(file)
    import pyarrow.parquet

    return pyarrow.parquet.read_table(file)


def encode(face: str, format: str, table: Any) -> bytes:  # noqa: A002
    """The bytes that a library makes of its table."""
    file = io.BytesIO()
    if face == "pandas":
        if format == "csv":
            table.to_csv(file, index=False)
        else:
            table.to_parquet(file, index=False)
    elif face == "polars":
        table.write_csv(file) if format == "csv" else table.write_parquet(file)
    elif format == "csv":
        import pyarrow.csv

        pyarrow.csv.write_csv(table, file)
    else:
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, file)
    return file.getvalue()


def fingerprint(table: Any) -> list[Any]:
    """Rows, names of columns, and a sum of each: of numbers, or of the lengths of texts. The same for every library."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(table, list):
        parts = [fingerprint(part) for part in table]
        sums = [_rounded(sum(column)) for column in zip(*(part[2] for part in parts), strict=True)]
        return [sum(part[0] for part in parts), parts[0][1], sums]
    if type(table).__module__.startswith("pandas"):
        table = pa.Table.from_pandas(table, preserve_index=False)
    elif type(table).__module__.startswith("polars"):
        table = table.to_arrow()
    sums = []
    for column in table.columns:
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            values = pc.if_else(pc.is_finite(column.cast(pa.float64())), column.cast(pa.float64()), 0.0)
        else:
            values = pc.binary_length(column.cast(pa.large_string())).cast(pa.float64())
        sums.append(_rounded(pc.sum(values).as_py() or 0.0))
    return [table.num_rows, table.column_names, sums]


def _rounded(number: float) -> float:
    """To nine digits: the order of a sum shows behind them."""
    return float(f"{number:.9g}")
