"""What has rows and can be a frame of each library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arrowseal.extras import require

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


class Framed:
    """Makes the other frames of `to_arrow`, which a subclass has. No values are copied where the libraries share
    Arrow's memory.
    """

    __slots__ = ()

    def to_arrow(self) -> pa.Table:
        """The rows as a pyarrow table."""
        raise NotImplementedError

    def to_pandas(self) -> pd.DataFrame:
        """`to_arrow` as a pandas frame. Raises `MissingExtraError` without pandas."""
        require("pandas", "pandas")
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame

    def to_polars(self) -> pl.DataFrame:
        """`to_arrow` as a polars frame. Raises `MissingExtraError` without polars."""
        frame: pl.DataFrame = require("polars", "polars").from_arrow(self.to_arrow())
        return frame
