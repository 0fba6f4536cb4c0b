"""`arrowseal.polars`, awaited: `frame = await arrowseal.aio.polars.read_parquet("s3://lake/flights.parquet")`.

Scans request nothing and are the same here; run their queries by `await arrowseal.aio.to_thread(lazy.collect)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from arrowseal import polars as faces
from arrowseal.aio.client import awaitable_face
from arrowseal.polars import scan_csv, scan_ipc, scan_ndjson, scan_parquet

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrowseal.writing import PutResult

__all__ = [
    "read_csv",
    "read_ipc",
    "read_ndjson",
    "read_parquet",
    "scan_csv",
    "scan_ipc",
    "scan_ndjson",
    "scan_parquet",
    "sink_csv",
    "sink_ipc",
    "sink_ndjson",
    "sink_parquet",
    "write_csv",
    "write_ipc",
    "write_ndjson",
    "write_parquet",
]

read_csv = awaitable_face(faces.read_csv)
read_ipc = awaitable_face(faces.read_ipc)
read_ndjson = awaitable_face(faces.read_ndjson)
read_parquet = awaitable_face(faces.read_parquet)
sink_csv = awaitable_face(faces.sink_csv)
sink_ipc = awaitable_face(faces.sink_ipc)
sink_ndjson = awaitable_face(faces.sink_ndjson)
sink_parquet = awaitable_face(faces.sink_parquet)
write_csv = awaitable_face(faces.write_csv)
write_ipc = awaitable_face(faces.write_ipc)
write_ndjson = awaitable_face(faces.write_ndjson)
write_parquet = awaitable_face(cast("Callable[..., PutResult]", faces.write_parquet))
