"""Many small Parquet files in hive partitions, read as one table: encrypted, beside plain readers of the same files.

1,000 files of some 20 KB, or as many as ARROWSEAL_BENCH_FILES says. They share
a data key. The time for half of the files tells whether a dataset's time is linear.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from arrowseal import PLAIN
from interleaved import REPLAY, Arms, Seconds, measure, show
from servers import BUCKET, REGION, Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal.local import LocalServers
    from arrowseal.location import ObjectLocation

FILES, PARTITIONS, ROWS = int(os.environ.get("ARROWSEAL_BENCH_FILES", "1000")), 100, 150
BASELINES = ["pyarrow dataset", "polars native"]
ARMS = ["CSE V3", "CSE V3, polars", "CSE V3, boto3 lane", "CSE V3, half of the files", *BASELINES]
pytestmark = [pytest.mark.full, pytest.mark.one_server]
_measured: dict[Endpoint, Seconds] = {}


@pytest.fixture(scope="module")
def trips(endpoint: Endpoint, servers: LocalServers) -> Iterator[Endpoint]:
    """The server with the files in it, encrypted in `cse/`, plain in `plain/`, and half of them in `half/`."""
    import numpy
    import pyarrow as pa

    import arrowseal.arrow

    draw, rows = numpy.random.default_rng(2013), FILES * ROWS
    columns: dict[str, Any] = {f"c{number}": draw.random(rows) for number in range(16)}
    columns["day"] = numpy.repeat(numpy.arange(PARTITIONS), rows // PARTITIONS)
    table, client = pa.table(columns), endpoint.client(servers)
    write = partial(arrowseal.arrow.write_dataset, partitioning=["day"], max_rows_per_file=ROWS, client=client)
    write(table, f"s3://{BUCKET}/trips/cse/")
    write(table.slice(0, rows // 2), f"s3://{BUCKET}/trips/half/")
    encrypted = [row.location for row in client.list(f"s3://{BUCKET}/trips/cse/")]

    def copy_plain(origin: ObjectLocation) -> None:
        goal = origin.key.replace("/cse/", "/plain/", 1)
        client.put(bucket=BUCKET, key=goal, data=client.get(origin), encryption=PLAIN)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(copy_plain, encrypted))
    yield endpoint
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(client.delete, [row.location for row in client.list(f"s3://{BUCKET}/") if "day=" in str(row)]))


def files_of(endpoint: Endpoint) -> Any:
    """Pyarrow's own S3."""
    from pyarrow.fs import S3FileSystem

    return S3FileSystem(
        access_key=endpoint.access_key,
        secret_key=endpoint.secret_key,
        region=REGION,
        scheme="http",
        endpoint_override=urlsplit(endpoint.url).netloc,
    )


def arms_of(endpoint: Endpoint, servers: LocalServers) -> Arms:
    """Reads of all files, listing included."""
    import polars as pl
    import pyarrow.dataset as ds

    import arrowseal.arrow
    import arrowseal.polars

    client, without = endpoint.client(servers), endpoint.client(servers, lane="boto3")
    options = {
        "aws_access_key_id": endpoint.access_key,
        "aws_secret_access_key": endpoint.secret_key,
        "aws_region": REGION,
        "aws_endpoint_url": endpoint.url,
        "aws_allow_http": "true",
    }
    plain, pattern = f"{BUCKET}/trips/plain", f"s3://{BUCKET}/trips/plain/**/*.parquet"
    return {
        "CSE V3": lambda: arrowseal.arrow.dataset(f"s3://{BUCKET}/trips/cse/", client=client).to_table(),
        "CSE V3, polars": lambda: arrowseal.polars.scan_parquet(f"s3://{BUCKET}/trips/cse/", client=client).collect(),
        "CSE V3, boto3 lane": lambda: arrowseal.arrow.dataset(f"s3://{BUCKET}/trips/cse/", client=without).to_table(),
        "CSE V3, half of the files": lambda: arrowseal.arrow.dataset(
            f"s3://{BUCKET}/trips/half/", client=client
        ).to_table(),
        "pyarrow dataset": lambda: ds.dataset(plain, filesystem=files_of(endpoint), partitioning="hive").to_table(),
        "polars native": lambda: pl.scan_parquet(pattern, hive_partitioning=True, storage_options=options).collect(),
    }


def measured(endpoint: Endpoint, servers: LocalServers) -> Seconds:
    """The seconds of all arms, measured once; answers have the same rows."""
    if endpoint not in _measured:
        arms = arms_of(endpoint, servers)
        lengths = {name: len(arm()) for name, arm in arms.items()}  # type: ignore[arg-type]
        assert lengths.pop("CSE V3, half of the files") == FILES * ROWS // 2
        assert set(lengths.values()) == {FILES * ROWS}
        _measured[endpoint] = measure(arms, rounds=7, warmup=0)
    return _measured[endpoint]


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.benchmark(timer=REPLAY, disable_gc=False)
def test_datasets(benchmark: Any, trips: Endpoint, servers: LocalServers, arm: str) -> None:
    show(benchmark, f"{FILES:,} Parquet files in {PARTITIONS} partitions", measured(trips, servers), arm, BASELINES)
