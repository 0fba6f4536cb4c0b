"""Fixtures of datasets: a lake in memory, and the same files in it and on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.dataset as ds
import pytest

import arrowseal.arrow as sa
from lake import Lake, trips

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def both(lake: Lake, tmp_path: Path) -> tuple[sa.EncryptedDataset, ds.Dataset]:
    """Ours and pyarrow's, of the same files: 2 for each of 16 partitions."""
    written: dict[str, Any] = {"format": "parquet", "partitioning": ["year", "city"], "partitioning_flavor": "hive"}
    ds.write_dataset(trips(), tmp_path, **written, max_rows_per_file=14, max_rows_per_group=7)
    lake.seal(tmp_path, "trips/")
    lake.put(
        {"trips/_SUCCESS": b"", "trips/year=2012/.hidden.parquet": b"no", "trips/_temporary/0/part.parquet": b"no"}
    )
    lake.forget()
    return sa.dataset("s3://lake/trips/", client=lake.client), ds.dataset(tmp_path, partitioning="hive")
