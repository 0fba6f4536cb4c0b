"""`arrowseal.pandas`, awaited: `frame = await arrowseal.aio.pandas.read_parquet("s3://lake/flights.parquet")`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from arrowseal import pandas as faces
from arrowseal.aio.client import awaitable_face

if TYPE_CHECKING:
    import pandas as pd

    from arrowseal.writing import PutResult

__all__ = [
    "read_csv",
    "read_feather",
    "read_json",
    "read_orc",
    "read_parquet",
    "to_csv",
    "to_feather",
    "to_json",
    "to_orc",
    "to_parquet",
]

# What it gives hangs on the arguments, as there, which no type of the awaited form tells.
_Read: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]

read_csv: _Read = awaitable_face(cast("Callable[..., Any]", faces.read_csv))
read_feather = awaitable_face(faces.read_feather)
read_json: _Read = awaitable_face(cast("Callable[..., Any]", faces.read_json))
read_orc = awaitable_face(cast("Callable[..., pd.DataFrame]", faces.read_orc))
read_parquet = awaitable_face(cast("Callable[..., pd.DataFrame]", faces.read_parquet))
to_csv = awaitable_face(faces.to_csv)
to_feather = awaitable_face(faces.to_feather)
to_json = awaitable_face(faces.to_json)
to_orc = awaitable_face(faces.to_orc)
to_parquet = awaitable_face(cast("Callable[..., PutResult]", faces.to_parquet))
