"""Tables while their first, middle or last request fails: read right or not at all, written whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from broken_bodies import Fault
from fault_rules import always, on

import arrowseal
from arrowseal.exceptions import (
    AuthenticationError,
    KmsAccessDeniedError,
    StoreAccessDeniedError,
    StoreError,
    StoreUnavailableError,
    TransferError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from broken_servers import BrokenServers

    from arrowseal import Client

URL = "s3://bucket/t.parquet"
NOISE = os.urandom(11 * 2**20)
TABLE = pa.table({"a": pa.array([NOISE[start : start + 1024] for start in range(0, len(NOISE), 1024)], pa.binary())})
FRAME = pl.DataFrame(TABLE).with_columns(k=pl.lit("one"))
TEXT = FRAME.select("k", hex=pl.col("a").bin.encode("hex"))
SHORT = TABLE.slice(0, 3 * 1024)  # 3 MiB: some ranges of a read
POSITIONS = {"first": 0, "middle": 1, "last": 2}
FACES: dict[str, tuple[Any, Any, Callable[[Any], Any]]] = {
    "arrow": (arrowseal.arrow.write_table, arrowseal.arrow.read_table, lambda table: table),
    "pandas": (arrowseal.pandas.to_parquet, arrowseal.pandas.read_parquet, lambda table: table.to_pandas()),
    "polars": (arrowseal.polars.write_parquet, arrowseal.polars.read_parquet, pl.from_arrow),
}


def named(value: Any) -> str:
    return f"{value.kind}-{value.at}-{value.code}" if isinstance(value, Fault) else str(value)


def same(one: Any, other: Any) -> bool:
    """Whether two tables of any face are equal."""
    if isinstance(one, pd.DataFrame):
        return pa.Table.from_pandas(one).equals(pa.Table.from_pandas(other))
    return bool(one.equals(other))


@pytest.fixture(scope="module", params=["boto3", "obstore"])
def client(request: pytest.FixtureRequest, listening: BrokenServers) -> Client:
    return listening.client(lane=request.param, read_timeout=1)


@pytest.fixture
def servers(listening: BrokenServers, client: Client) -> BrokenServers:
    """Servers with a table to be read, which is also the one to be replaced; no faults so far."""
    listening.s3.reset()
    arrowseal.arrow.write_table(SHORT, URL, client=client, compression="none", use_dictionary=False)
    listening.s3.server.open_uploads.clear()
    listening.s3.reset()
    return listening


def ranges(servers: BrokenServers, client: Client) -> list[int]:
    """Where the ranges of a read start."""
    arrowseal.arrow.read_table(URL, client=client)
    starts = sorted(int(seen.headers["range"][6:].split("-")[0]) for seen in servers.s3.log)
    servers.s3.reset()
    return starts


PASSING_READS = [
    Fault("truncate", 1000),
    Fault("reset", 70_000),
    Fault("shorten", 5),
    Fault("stall", 100),
    Fault("flip", 9),
    Fault("reset-before"),
    Fault("close-before"),
    Fault("close-after"),
    Fault("lost-answer"),
    Fault("status", 503, "SlowDown"),
    Fault("status", 500, "InternalError"),
    Fault("status", 502, "BadGateway"),
    Fault("status", 504, "GatewayTimeout"),
    Fault("status", 400, "ExpiredToken"),
]


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("fault", PASSING_READS, ids=named)
def test_a_table_is_read_right_whichever_range_fails_for_a_moment(
    servers: BrokenServers, client: Client, fault: Fault, position: str
) -> None:
    starts = ranges(servers, client)
    start = {"first": starts[0], "middle": starts[len(starts) // 2], "last": starts[-1]}[position]
    servers.s3.rule = on("GetObject", fault, start=start)
    _, read, made = FACES[["arrow", "pandas", "polars"][POSITIONS[position]]]
    assert same(read(URL, client=client), made(SHORT))
    assert len(servers.s3.struck) == 1
    assert len(servers.s3.log) <= 2 * len(starts) + 1


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("truncate", 0), TransferError),
        (Fault("reset-before"), StoreUnavailableError),
        (Fault("status", 503), StoreUnavailableError),
        (Fault("flip", 9), AuthenticationError),
    ],
    ids=named,
)
def test_a_range_that_fails_for_good_is_an_error_and_never_half_a_table(
    servers: BrokenServers, client: Client, fault: Fault, error: type[Exception], position: str
) -> None:
    starts = ranges(servers, client)
    start = {"first": starts[0], "middle": starts[len(starts) // 2], "last": starts[-1]}[position]
    servers.s3.rule = on("GetObject", fault, start=start, times=2**62)
    with pytest.raises(error, match=URL):
        arrowseal.arrow.read_table(URL, client=client)
    assert len(servers.s3.struck) <= 6


PASSING_WRITES = [
    ("UploadPart", Fault("status", 500, "InternalError")),
    ("UploadPart", Fault("status", 503, "SlowDown")),
    ("UploadPart", Fault("reset-before")),
    ("UploadPart", Fault("cut-request", 70_000)),
    ("UploadPart", Fault("lost-answer")),
    ("UploadPart", Fault("close-after")),
    ("UploadPart", Fault("status", 400, "ExpiredToken")),
]


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize(("operation", "fault"), PASSING_WRITES, ids=named)
def test_a_table_is_written_whole_whichever_part_fails_for_a_moment(
    servers: BrokenServers, client: Client, operation: str, fault: Fault, position: str
) -> None:
    write, _, made = FACES[["arrow", "pandas", "polars"][POSITIONS[position]]]
    servers.s3.rule = on(operation, fault, part=POSITIONS[position] + 1)
    write(made(TABLE), URL, client=client)
    assert len(servers.s3.struck) == 1
    assert arrowseal.arrow.read_table(URL, client=client).column("a").cast(pa.binary()).equals(TABLE.column("a"))
    assert not servers.s3.server.open_uploads


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "CompleteMultipartUpload", "PutObject"])
@pytest.mark.parametrize(
    "fault",
    [Fault("status", 503), Fault("lost-answer"), Fault("reset-before"), Fault("error-200-after", code="InternalError")],
    ids=named,
)
def test_a_table_is_written_whole_though_its_first_or_last_request_fails(
    servers: BrokenServers, client: Client, operation: str, fault: Fault
) -> None:
    table = SHORT if operation == "PutObject" else TABLE
    servers.s3.rule = on(operation, fault)
    arrowseal.arrow.write_table(table, URL, client=client)
    assert len(servers.s3.struck) == 1
    assert arrowseal.arrow.read_table(URL, client=client).equals(table)
    assert not servers.s3.server.open_uploads


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    ("operation", "part"), [("UploadPart", 1), ("UploadPart", 2), ("UploadPart", 3), ("CompleteMultipartUpload", None)]
)
def test_a_table_that_cannot_be_written_leaves_the_old_one_and_no_parts(
    servers: BrokenServers, client: Client, face: str, operation: str, part: int | None
) -> None:
    write, _, made = FACES[face]
    servers.s3.rule = always(operation, Fault("status", 503), part=part)
    with pytest.raises(StoreUnavailableError, match=URL):
        write(made(TABLE), URL, client=client)
    servers.s3.reset()
    assert arrowseal.arrow.read_table(URL, client=client).equals(SHORT)
    assert not servers.s3.server.open_uploads


@pytest.mark.parametrize("part", [1, 3])
def test_a_part_under_a_wrong_etag_makes_no_table(servers: BrokenServers, client: Client, part: int) -> None:
    servers.s3.rule = on("UploadPart", Fault("wrong-etag"), part=part)
    with pytest.raises(StoreError, match=URL):
        arrowseal.arrow.write_table(TABLE, URL, client=client)
    servers.s3.reset()
    assert arrowseal.arrow.read_table(URL, client=client).equals(SHORT)
    assert not servers.s3.server.open_uploads


WRITERS: dict[str, Callable[[str, Client], object]] = {
    "arrow": lambda url, client: arrowseal.arrow.write_table(TABLE, url, format="ipc", client=client),
    "pandas": lambda url, client: arrowseal.pandas.to_parquet(TABLE.to_pandas(), url, client=client),
    "polars": lambda url, client: arrowseal.polars.write_parquet(FRAME, url, client=client),
    "polars ipc": lambda url, client: arrowseal.polars.write_ipc(FRAME, url, client=client),
    "polars ndjson": lambda url, client: arrowseal.polars.write_ndjson(TEXT, url, client=client),
    "sink": lambda url, client: arrowseal.polars.sink_parquet(FRAME.lazy(), url, client=client),
    "sink ipc": lambda url, client: arrowseal.polars.sink_ipc(FRAME.lazy(), url, client=client),
    "sink csv": lambda url, client: arrowseal.polars.sink_csv(TEXT.lazy(), url, client=client),
    "partitions": lambda url, client: arrowseal.polars.sink_parquet(
        FRAME.lazy(), pl.PartitionBy(url, key="k"), client=client
    ),
}


@pytest.mark.parametrize("face", WRITERS)
@pytest.mark.parametrize("refused", ["GenerateDataKey", "CreateMultipartUpload"])
def test_what_stops_a_table_while_a_library_writes_it_is_told_by_its_own_type(
    servers: BrokenServers, client: Client, face: str, refused: str
) -> None:
    servers.s3.rule = always("CreateMultipartUpload", Fault("status", 403, "AccessDenied"))
    if refused == "GenerateDataKey":
        servers.kms_proxy.rule = always(refused, Fault("status", 400, "AccessDeniedException"))
    try:
        expected = KmsAccessDeniedError if refused == "GenerateDataKey" else StoreAccessDeniedError
        with pytest.raises(expected, match=r"^s3://bucket/new"):
            WRITERS[face]("s3://bucket/new", client)
    finally:
        servers.kms_proxy.reset()
    assert not [path for path in servers.s3.server.objects if path.startswith("/bucket/new")]
