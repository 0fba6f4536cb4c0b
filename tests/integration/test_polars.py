"""polars frames through encrypted objects on embedded S3 and KMS: what comes back is what went in."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.testing as plt
import pyarrow as pa
import pytest

import arrowseal
import arrowseal.polars as spl
from arrowseal import PLAIN, Client
from arrowseal.exceptions import AuthenticationError, ColumnNotFoundError, NotEncryptedError, ObjectNotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    from arrowseal.local import LocalServers


@pytest.fixture
def frame() -> pl.DataFrame:
    return pl.DataFrame(
        {"n": [1, 2, 3], "x": [0.1, None, -1e300], "text": ["a,b", None, 'quo"te\nline é'], "yes": [True, None, False]}
    )


@pytest.fixture
def rich(frame: pl.DataFrame) -> pl.DataFrame:
    """With what only Parquet and IPC carry."""
    return frame.with_columns(
        time=pl.Series([dt.datetime(2013, 1, 1, 5, 15, 0, 123456), None, dt.datetime(1969, 12, 31)]),
        zone=pl.Series([dt.datetime(2013, 7, 1), None, dt.datetime(2013, 1, 1)]).dt.replace_time_zone(
            "America/New_York"
        ),
        date=pl.Series([dt.date(2013, 1, 1), None, dt.date(1, 1, 1)]),
        span=pl.Series([dt.timedelta(seconds=1), None, dt.timedelta(days=-2)]),
        kind=pl.Series(["x", None, "y"], dtype=pl.Enum(["y", "x"])),
        category=pl.Series(["x", None, "y"], dtype=pl.Categorical),
        small=pl.Series([1, None, -3], dtype=pl.Int8),
        money=pl.Series([Decimal("1.10"), None, Decimal("-2.00")]),
        data=[b"\x00\xff", None, b""],
        nested=[[1, 2], None, []],
        record=[{"a": 1, "b": ["x"]}, {"a": None, "b": None}, None],
    )


def test_parquet_round_trip_of_every_type(client: Client, bucket: str, rich: pl.DataFrame) -> None:
    spl.write_parquet(rich, f"s3://{bucket}/a.parquet", row_group_size=2, client=client)
    plt.assert_frame_equal(spl.read_parquet(f"s3://{bucket}/a.parquet", client=client), rich)


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_ipc_round_trip_of_every_type(client: Client, bucket: str, rich: pl.DataFrame, compression: Any) -> None:
    spl.write_ipc(rich, f"s3://{bucket}/a.arrow", compression=compression, client=client)
    plt.assert_frame_equal(spl.read_ipc(f"s3://{bucket}/a.arrow", client=client), rich)


def test_csv_round_trip(client: Client, bucket: str, frame: pl.DataFrame) -> None:
    spl.write_csv(frame, f"s3://{bucket}/a.csv", separator=";", client=client)
    plt.assert_frame_equal(spl.read_csv(f"s3://{bucket}/a.csv", separator=";", client=client), frame)


@pytest.mark.parametrize(("suffix", "compression"), [("gz", "gzip"), ("zst", "zstd")])
def test_compressed_text_round_trip(
    client: Client, bucket: str, frame: pl.DataFrame, suffix: str, compression: Any
) -> None:
    spl.write_csv(frame, f"s3://{bucket}/a.csv.{suffix}", compression=compression, client=client)
    plt.assert_frame_equal(spl.read_csv(f"s3://{bucket}/a.csv.{suffix}", client=client), frame)
    spl.write_ndjson(frame, f"s3://{bucket}/a.ndjson.{suffix}", compression=compression, client=client)
    plt.assert_frame_equal(spl.read_ndjson(f"s3://{bucket}/a.ndjson.{suffix}", client=client), frame)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.zst", "a.csv.bz2"])
def test_compressed_text_is_read_by_pyarrow_as_polars_has_it_read(
    client: Client, bucket: str, frame: pl.DataFrame, name: str, tmp_path: Path
) -> None:
    with pa.output_stream(str(tmp_path / name)) as stream:  # which compresses by the name
        frame.write_csv(stream)
    client.put(f"s3://{bucket}/{name}", (tmp_path / name).read_bytes())
    read = spl.read_csv(f"s3://{bucket}/{name}", use_pyarrow=True, client=client)
    plt.assert_frame_equal(read, pl.read_csv(tmp_path / name, use_pyarrow=True))
    with pytest.raises(ColumnNotFoundError, match="'zz'"):
        spl.read_csv(f"s3://{bucket}/{name}", use_pyarrow=True, columns=["zz"], client=client)


def test_ndjson_round_trip_with_nested_values(client: Client, bucket: str, rich: pl.DataFrame) -> None:
    kept = rich.select("n", "x", "text", "yes", "nested")
    spl.write_ndjson(kept, f"s3://{bucket}/a.ndjson", client=client)
    plt.assert_frame_equal(spl.read_ndjson(f"s3://{bucket}/a.ndjson", client=client), kept)


def test_the_arguments_of_polars_work(client: Client, bucket: str, frame: pl.DataFrame) -> None:
    spl.write_parquet(frame, f"s3://{bucket}/a.parquet", client=client)
    read = spl.read_parquet(
        f"s3://{bucket}/a.parquet", columns=["x", "n"], n_rows=2, row_index_name="row", client=client
    )
    assert read.columns == ["row", "x", "n"]
    assert read.height == 2
    by_pyarrow = spl.read_parquet(f"s3://{bucket}/a.parquet", use_pyarrow=True, columns=["n"], client=client)
    plt.assert_frame_equal(by_pyarrow, frame.select("n"))
    spl.write_csv(frame, f"s3://{bucket}/a.csv", include_header=False, client=client)
    read = spl.read_csv(f"s3://{bucket}/a.csv", has_header=False, new_columns=list("abcd"), client=client)
    assert read.columns == list("abcd")


def test_tables_without_rows(client: Client, bucket: str, rich: pl.DataFrame) -> None:
    empty = rich.clear()
    spl.write_parquet(empty, f"s3://{bucket}/a.parquet", client=client)
    plt.assert_frame_equal(spl.read_parquet(f"s3://{bucket}/a.parquet", client=client), empty)
    plt.assert_frame_equal(spl.scan_parquet(f"s3://{bucket}/a.parquet", client=client).collect(), empty)
    spl.write_ipc(empty, f"s3://{bucket}/a.arrow", client=client)
    plt.assert_frame_equal(spl.read_ipc(f"s3://{bucket}/a.arrow", client=client), empty)
    spl.write_csv(empty.select("n"), f"s3://{bucket}/a.csv", client=client)
    assert spl.read_csv(f"s3://{bucket}/a.csv", client=client).columns == ["n"]


def test_plain_objects_are_read_where_they_are_allowed(
    local_servers: LocalServers, client: Client, bucket: str, frame: pl.DataFrame
) -> None:
    url = f"s3://{bucket}/a.parquet"
    spl.write_parquet(frame, url, encryption=PLAIN, client=client)
    with pytest.raises(NotEncryptedError):
        spl.read_parquet(url, client=client)
    with pytest.raises(NotEncryptedError):
        spl.scan_parquet(url, client=client).collect()
    allowing = local_servers.client(allow_plaintext=True)
    for read in (
        spl.read_parquet(url, allow_plaintext=True, client=client),
        spl.scan_parquet(url, allow_plaintext=True, client=client).collect(),
        spl.scan_parquet(url, client=allowing).collect(),
    ):
        plt.assert_frame_equal(read, frame)
    assert {record.encryption for record in client.counters} == {"PLAIN"}


@pytest.fixture
def scanned(client: Client, bucket: str) -> str:
    """The URL of 1,000 rows in 10 row groups."""
    frame = pl.DataFrame(
        {"n": range(1000), "half": [n // 2 for n in range(1000)], "text": [f"row {n}" for n in range(1000)]}
    )
    spl.write_parquet(frame, f"s3://{bucket}/scanned.parquet", row_group_size=100, client=client)
    client.counters.clear()
    return f"s3://{bucket}/scanned.parquet"


def test_a_scan_requests_nothing_until_it_is_collected(client: Client, scanned: str) -> None:
    lazy = spl.scan_parquet(scanned, client=client).filter(pl.col("n") > 990).select("text", "half")
    assert len(client.counters) == 0
    expected = pl.DataFrame(
        {"text": [f"row {n}" for n in range(991, 1000)], "half": [n // 2 for n in range(991, 1000)]}
    )
    plt.assert_frame_equal(lazy.collect(), expected)
    # The object, and its index beside it.
    assert [(record.operation, record.requests, record.rows) for record in client.counters] == [
        ("scan_parquet", 2, 1000)
    ]
    plt.assert_frame_equal(lazy.collect(engine="streaming"), expected)
    assert len(client.counters) == 2


def test_the_schema_alone_is_fetched_once_and_serves_the_collection(client: Client, scanned: str) -> None:
    lazy = spl.scan_parquet(scanned, client=client)
    assert lazy.collect_schema() == {"n": pl.Int64, "half": pl.Int64, "text": pl.String}
    assert len(client.counters) == 1
    assert lazy.select(pl.len()).collect().item() == 1000
    assert len(client.counters) == 1


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_scans_answer_as_frames_do(client: Client, scanned: str, engine: Any) -> None:
    whole = spl.read_parquet(scanned, client=client)
    for query in (
        lambda frame: frame.head(3),
        lambda frame: frame.tail(3),
        lambda frame: frame.slice(500, 3),
        lambda frame: frame.filter(pl.col("text").str.ends_with("99")).head(2),
        lambda frame: frame.group_by("half").agg(pl.col("n").sum()).sort("half"),
        lambda frame: frame.select(pl.col("n").max(), pl.col("half").mean()),
        lambda frame: frame.join(frame, left_on="n", right_on="half").sort("n", "n_right"),
        lambda frame: frame.select("text").with_row_index(),
        lambda frame: frame.filter(pl.col("n") > 5000),
    ):
        lazy = spl.scan_parquet(scanned, client=client)
        plt.assert_frame_equal(query(lazy).collect(engine=engine), query(whole.lazy()).collect(), check_row_order=True)


def test_the_arguments_of_scan_parquet_work(client: Client, scanned: str) -> None:
    lazy = spl.scan_parquet(scanned, n_rows=7, row_index_name="row", row_index_offset=1, client=client)
    assert lazy.collect()["row"].to_list() == list(range(1, 8))


def test_a_scan_keeps_the_client_of_the_call(client: Client, scanned: str) -> None:
    with arrowseal.using(client):
        lazy = spl.scan_parquet(scanned)
    assert lazy.select(pl.len()).collect().item() == 1000


def test_a_collection_sees_the_object_of_its_time(client: Client, bucket: str) -> None:
    url = f"s3://{bucket}/a.parquet"
    lazy = spl.scan_parquet(url, client=client)
    spl.write_parquet(pl.DataFrame({"n": [1]}), url, client=client)
    assert lazy.collect()["n"].to_list() == [1]
    spl.write_parquet(pl.DataFrame({"n": [2]}), url, client=client)
    assert lazy.collect()["n"].to_list() == [2]
    spl.write_parquet(pl.DataFrame({"n": ["other type"]}), url, client=client)
    with pytest.raises(pl.exceptions.SchemaError):
        lazy.collect()


def test_errors_of_a_scan_reach_the_caller_as_what_they_are(
    client: Client, bucket: str, raw_s3: Any, scanned: str
) -> None:
    with pytest.raises(ObjectNotFoundError):
        spl.scan_parquet(f"s3://{bucket}/none.parquet", client=client).collect()
    known = spl.scan_parquet(scanned, client=client)
    known.select(pl.len()).collect()
    stored = raw_s3.get_object(Bucket=bucket, Key="scanned.parquet")
    body = bytearray(stored["Body"].read())
    body[100] ^= 1
    raw_s3.put_object(Bucket=bucket, Key="scanned.parquet", Body=bytes(body), Metadata=stored["Metadata"])
    for lazy in (known, spl.scan_parquet(scanned, client=client)):
        with pytest.raises(AuthenticationError):
            lazy.collect()


def test_each_call_is_one_row_of_the_counters(client: Client, bucket: str, frame: pl.DataFrame) -> None:
    spl.write_ipc(frame, f"s3://{bucket}/a.feather", client=client)
    spl.read_ipc(f"s3://{bucket}/a.feather", client=client)
    assert [(record.operation, record.file_type, record.rows, record.requests) for record in client.counters] == [
        ("write_ipc", "ipc", 3, 1),
        ("read_ipc", "ipc", 3, 1),
    ]
