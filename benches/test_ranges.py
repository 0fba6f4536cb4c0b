"""Two of forty columns, one row, and all of a large Parquet object: encrypted by ranges, beside plain readers.

The table of the comparison has 1.6 million rows of 40 doubles in 16 row groups, some 600 MB. All arms are given the
same arguments. Requests and bytes are counted by a proxy, in runs of their own.
"""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from arrowseal import PLAIN
from arrowseal.local.proxy import Proxy
from interleaved import REPLAY, Arms, Seconds, measure, show
from servers import BUCKET, REGION, Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal.local import LocalServers

ROWS, ROW_GROUPS, COLUMNS = 1_600_000, 16, 40
ARMS = [
    "CSE V3, pyarrow",
    "CSE V3, polars",
    "CSE V3, pandas",
    "PLAIN, pyarrow",
    "pyarrow S3FileSystem",
    "polars native",
]
BASELINES = ["pyarrow S3FileSystem", "polars native"]
pytestmark = [pytest.mark.full, pytest.mark.one_server]
_measured: dict[tuple[Endpoint, int, str], Seconds] = {}


@pytest.fixture(scope="module")
def wide(endpoint: Endpoint, servers: LocalServers) -> Iterator[Endpoint]:
    """The server with the object in it, twice."""
    import numpy
    import pyarrow as pa
    import pyarrow.parquet as pq

    draw, sink = numpy.random.default_rng(2013), io.BytesIO()
    columns = {"id": numpy.arange(ROWS, dtype="float64")}
    columns |= {f"c{number}": draw.random(ROWS) for number in range(1, COLUMNS)}
    pq.write_table(pa.table(columns), sink, row_group_size=ROWS // ROW_GROUPS)
    client, content = endpoint.client(servers), sink.getvalue()
    client.put(f"s3://{BUCKET}/wide/cse.parquet", content)
    client.put(f"s3://{BUCKET}/wide/plain.parquet", content, encryption=PLAIN)
    yield endpoint
    for name in ("cse", "plain"):
        client.delete(f"s3://{BUCKET}/wide/{name}.parquet")


def arms_of(endpoint: Endpoint, servers: LocalServers, what: str) -> Arms:
    """Reads of that part of the table, by name of the arm."""
    import polars as pl
    import pyarrow.parquet as pq
    from pyarrow.fs import S3FileSystem

    import arrowseal.arrow
    import arrowseal.pandas
    import arrowseal.polars

    client = endpoint.client(servers)
    cse, plain = (f"s3://{BUCKET}/wide/{name}.parquet" for name in ("cse", "plain"))
    files = S3FileSystem(
        access_key=endpoint.access_key,
        secret_key=endpoint.secret_key,
        region=REGION,
        scheme="http",
        endpoint_override=urlsplit(endpoint.url).netloc,
    )
    options = {
        "aws_access_key_id": endpoint.access_key,
        "aws_secret_access_key": endpoint.secret_key,
        "aws_region": REGION,
        "aws_endpoint_url": endpoint.url,
        "aws_allow_http": "true",
    }
    told: dict[str, Any] = {} if what == "all" else {"columns": ["c7", "c31"]}
    if what == "one row":
        told["filters"] = [("id", "==", 777_777.0)]

    def lazily(frame: pl.LazyFrame) -> pl.DataFrame:
        if what == "one row":
            frame = frame.filter(pl.col("id") == 777_777.0)
        return (frame if what == "all" else frame.select("c7", "c31")).collect()

    return {
        "CSE V3, pyarrow": lambda: arrowseal.arrow.read_table(cse, client=client, **told),
        "CSE V3, polars": lambda: lazily(arrowseal.polars.scan_parquet(cse, client=client)),
        "CSE V3, pandas": lambda: arrowseal.pandas.read_parquet(cse, client=client, **told),
        "PLAIN, pyarrow": lambda: arrowseal.arrow.read_table(plain, client=client, allow_plaintext=True, **told),
        "pyarrow S3FileSystem": lambda: pq.read_table(f"{BUCKET}/wide/plain.parquet", filesystem=files, **told),
        "polars native": lambda: lazily(pl.scan_parquet(plain, storage_options=options)),
    }


def measured(endpoint: Endpoint, servers: LocalServers, latency_ms: int, what: str) -> Seconds:
    """The seconds of all arms, measured once; all answers have the same rows."""
    if (endpoint, latency_ms, what) not in _measured:
        near_or_far = endpoint
        with contextlib.ExitStack() as stack:
            if latency_ms:
                proxy = stack.enter_context(Proxy(endpoint.url, latency_seconds=latency_ms / 1e3))
                near_or_far = endpoint._replace(url=proxy.endpoint)
            arms = arms_of(near_or_far, servers, what)
            lengths: set[int] = {len(arm()) for arm in arms.values()}  # type: ignore[arg-type]
            assert lengths == {1 if what == "one row" else ROWS}
            found = measure(arms, rounds=7 if what == "all" else 9, warmup=0 if what == "all" else 1)
        _measured[endpoint, latency_ms, what] = found
    return _measured[endpoint, latency_ms, what]


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("what", ["2 of 40 columns", "one row", "all"])
@pytest.mark.parametrize("latency_ms", [0, 20])
@pytest.mark.benchmark(timer=REPLAY, disable_gc=False)
def test_ranges(benchmark: Any, wide: Endpoint, servers: LocalServers, latency_ms: int, what: str, arm: str) -> None:
    seconds = measured(wide, servers, latency_ms, what)
    show(benchmark, f"{what} of a wide Parquet object, {latency_ms} ms", seconds, arm, BASELINES)


@pytest.mark.parametrize("what", ["2 of 40 columns", "one row"])
def test_requests_and_bytes(wide: Endpoint, servers: LocalServers, record: Any, what: str) -> None:
    with Proxy(wide.url) as proxy:
        for name, arm in arms_of(wide._replace(url=proxy.endpoint), servers, what).items():
            arm()
            before = proxy.tally()
            arm()
            requests, up, down = (after - earlier for after, earlier in zip(proxy.tally(), before, strict=True))
            record(f"{what}, {name}", f"{requests} requests, {up:,} bytes up, {down:,} down")
