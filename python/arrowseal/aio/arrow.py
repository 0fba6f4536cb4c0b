"""`arrowseal.arrow`, awaited: `table = await arrowseal.aio.arrow.read_table("s3://lake/flights.parquet")`."""

from __future__ import annotations

from arrowseal import arrow as faces
from arrowseal.aio.client import awaitable_face
from arrowseal.arrow import scan

__all__ = ["dataset", "read_table", "scan", "write_dataset", "write_table"]

dataset = awaitable_face(faces.dataset)
read_table = awaitable_face(faces.read_table)
write_dataset = awaitable_face(faces.write_dataset)
write_table = awaitable_face(faces.write_table)
