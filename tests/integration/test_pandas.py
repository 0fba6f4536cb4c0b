"""pandas frames through encrypted objects on embedded S3 and KMS: what comes back is what went in."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import tarfile
import zipfile
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pandas.testing as pdt
import pytest

import arrowseal.pandas as spd
from arrowseal import CSE, PLAIN, SSE_S3, V2, Client, CommitmentPolicy
from arrowseal.exceptions import (
    ColumnNotFoundError,
    CommitmentPolicyError,
    ConfigurationError,
    EncryptionContextError,
    NotATableError,
    NotEncryptedError,
    ObjectNotFoundError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from arrowseal.local import LocalServers


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "n": [1, 2, 3],
            "x": [0.1, np.nan, -1e300],
            "text": ["a,b", None, 'quo"te\nline é'],
            "yes": [True, False, True],
        }
    )


@pytest.fixture
def rich(frame: pd.DataFrame) -> pd.DataFrame:
    """With what only Parquet and Feather carry."""
    return frame.assign(
        time=pd.to_datetime(["2013-01-01 05:15:00.123456", None, "1969-12-31 23:59:59.999999"]).as_unit("us"),
        zone=pd.to_datetime(["2013-07-01", "2013-01-01", None]).tz_localize("America/New_York").as_unit("us"),
        span=pd.to_timedelta(["1s", None, "-2D"]).as_unit("us"),
        kind=pd.Categorical(["x", None, "y"], categories=["y", "x"], ordered=True),
        small=np.array([1, 2, 3], dtype="int8"),
        maybe=pd.array([1, None, 3], dtype="Int64"),
        data=[b"\x00\xff", None, b""],
    )


def test_csv_round_trip(client: Client, bucket: str, frame: pd.DataFrame) -> None:
    spd.to_csv(frame, f"s3://{bucket}/a.csv", index=False, client=client)
    pdt.assert_frame_equal(spd.read_csv(f"s3://{bucket}/a.csv", client=client), frame)


@pytest.mark.parametrize(
    ("suffix", "magic"),
    [
        ("gz", b"\x1f\x8b"),
        ("bz2", b"BZh"),
        ("xz", b"\xfd7zXZ"),
        ("zip", b"PK"),
        ("tar", b"a.csv\0"),
        ("tar.gz", b"\x1f\x8b"),
        ("tar.bz2", b"BZh"),
        ("tar.xz", b"\xfd7zXZ"),
        ("TAR.GZ", b"\x1f\x8b"),
    ],
)
def test_text_is_compressed_and_opened_as_the_key_says(
    client: Client, bucket: str, frame: pd.DataFrame, suffix: str, magic: bytes
) -> None:
    url = f"s3://{bucket}/dir/a.csv.{suffix}"
    spd.to_csv(frame, url, index=False, client=client)
    assert bytes(client.get(url)).startswith(magic)
    pdt.assert_frame_equal(spd.read_csv(url, client=client), frame)


def test_the_member_of_an_archive_is_named_after_the_key(client: Client, bucket: str, frame: pd.DataFrame) -> None:
    spd.to_json(frame, f"s3://{bucket}/dir/a.json.zip", client=client)
    with zipfile.ZipFile(io.BytesIO(bytes(client.get(f"s3://{bucket}/dir/a.json.zip")))) as archive:
        assert archive.namelist() == ["a.json"]
    for suffix in ("tar", "tar.gz", "tar.bz2", "tar.xz"):
        url = f"s3://{bucket}/dir/a.json.{suffix}"
        spd.to_json(frame, url, client=client)
        with tarfile.open(fileobj=io.BytesIO(bytes(client.get(url)))) as archive:
            assert archive.getnames() == ["a.json"]


def test_compression_that_is_named_wins_over_the_key(client: Client, bucket: str, frame: pd.DataFrame) -> None:
    spd.to_csv(frame, f"s3://{bucket}/a.csv", index=False, compression="gzip", client=client)
    assert gzip.decompress(bytes(client.get(f"s3://{bucket}/a.csv"))).startswith(b"n,x,text")
    read = spd.read_csv(f"s3://{bucket}/a.csv", compression="gzip", client=client)
    pdt.assert_frame_equal(read, frame)
    spd.to_csv(frame, f"s3://{bucket}/b.csv.gz", compression={"method": "infer", "compresslevel": 1}, client=client)
    assert bytes(client.get(f"s3://{bucket}/b.csv.gz")).startswith(b"\x1f\x8b")
    spd.to_csv(frame, f"s3://{bucket}/c.csv.gz", compression=None, client=client)
    assert bytes(client.get(f"s3://{bucket}/c.csv.gz")).startswith(b",n,x")


@pytest.mark.parametrize("engine", ["c", "python", "pyarrow"])
def test_every_engine_reads_csv(client: Client, bucket: str, engine: Any) -> None:
    frame = pd.DataFrame({"n": [1, 2], "text": ["a", "b"]})
    spd.to_csv(frame, f"s3://{bucket}/a.csv.gz", index=False, client=client)
    pdt.assert_frame_equal(spd.read_csv(f"s3://{bucket}/a.csv.gz", engine=engine, client=client), frame)


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_a_memory_map_reads_what_is_in_memory_already(client: Client, bucket: str, suffix: str, tmp_path: Path) -> None:
    pd.DataFrame({"n": [1, 2], "text": ["a", "b"]}).to_csv(tmp_path / f"a.{suffix}", index=False)
    url = f"s3://{bucket}/a.{suffix}"
    client.put(url, (tmp_path / f"a.{suffix}").read_bytes())
    engines: list[Any] = ["c", "python"]
    for engine in engines:
        plain = pd.read_csv(tmp_path / f"a.{suffix}", memory_map=True, engine=engine)
        pdt.assert_frame_equal(spd.read_csv(url, memory_map=True, engine=engine, client=client), plain)
    for path in (str(tmp_path / f"a.{suffix}"), url):
        read: Any = partial(spd.read_csv, client=client) if path == url else pd.read_csv
        with pytest.raises(ValueError, match="'memory_map' option is not supported"):
            read(path, memory_map=True, engine="pyarrow")
    with pytest.raises(ColumnNotFoundError, match="'zz'"):
        spd.read_csv(url, memory_map=True, usecols=["zz"], client=client)


def test_the_arguments_of_read_csv_work(client: Client, bucket: str, frame: pd.DataFrame) -> None:
    url = f"s3://{bucket}/a.csv"
    spd.to_csv(frame, url, index=False, sep=";", decimal=",", encoding="utf-16", client=client)
    read = spd.read_csv(
        url,
        sep=";",
        decimal=",",
        encoding="utf-16",
        usecols=["text", "n"],
        index_col="n",
        dtype={"n": "int16"},
        nrows=2,
        client=client,
    )
    assert list(read.index) == [1, 2]
    assert list(read.columns) == ["text"]
    assert read.index.dtype == "int16"


def test_chunks_and_iterators_of_csv(client: Client, bucket: str) -> None:
    frame = pd.DataFrame({"n": range(10)})
    url = f"s3://{bucket}/a.csv.gz"
    spd.to_csv(frame, url, index=False, client=client)
    with spd.read_csv(url, chunksize=4, client=client) as chunks:
        assert [len(chunk) for chunk in chunks] == [4, 4, 2]
    reader = spd.read_csv(url, iterator=True, client=client)
    pdt.assert_frame_equal(reader.get_chunk(3), frame.head(3))
    pdt.assert_frame_equal(reader.read(), frame.tail(7))


def test_parquet_round_trip_of_every_type(client: Client, bucket: str, rich: pd.DataFrame) -> None:
    rich = rich.assign(nested=[[1, 2], None, []], record=[{"a": 1}, {"a": None}, None]).set_index("n")
    spd.to_parquet(rich, f"s3://{bucket}/a.parquet", compression="zstd", client=client)
    read = spd.read_parquet(f"s3://{bucket}/a.parquet", client=client)
    nested = read.pop("nested")
    assert [None if value is None else list(value) for value in nested] == rich.pop("nested").tolist()
    pdt.assert_frame_equal(read, rich)


def test_parquet_columns_filters_and_options_of_pyarrow(client: Client, bucket: str, rich: pd.DataFrame) -> None:
    url = f"s3://{bucket}/a.parquet"
    spd.to_parquet(rich, url, row_group_size=1, client=client)
    read = spd.read_parquet(url, columns=["x", "n"], filters=[("n", ">", 1)], use_threads=False, client=client)
    pdt.assert_frame_equal(read, rich.loc[1:, ["x", "n"]].reset_index(drop=True))
    arrow = spd.read_parquet(url, dtype_backend="pyarrow", client=client)
    assert str(arrow["n"].dtype) == "int64[pyarrow]"


def test_feather_round_trip_of_every_type(client: Client, bucket: str, rich: pd.DataFrame) -> None:
    spd.to_feather(rich, f"s3://{bucket}/a.feather", compression="zstd", client=client)
    pdt.assert_frame_equal(spd.read_feather(f"s3://{bucket}/a.feather", client=client), rich)
    read = spd.read_feather(f"s3://{bucket}/a.feather", ["x"], client=client)
    pdt.assert_frame_equal(read, rich[["x"]])


@pytest.mark.parametrize("orient", ["columns", "records", "split", "index"])
@pytest.mark.parametrize("suffix", ["json", "json.gz"])
def test_json_round_trip(client: Client, bucket: str, frame: pd.DataFrame, orient: Any, suffix: str) -> None:
    url = f"s3://{bucket}/a.{suffix}"
    frame = frame.assign(x=[0.5, np.nan, -2.0])
    spd.to_json(frame, url, orient=orient, client=client)
    pdt.assert_frame_equal(spd.read_json(url, orient=orient, client=client), frame)


def test_json_lines_and_times(client: Client, bucket: str) -> None:
    url = f"s3://{bucket}/a.jsonl.bz2"
    frame = pd.DataFrame({"n": [1, 2], "date": [dt.datetime(2013, 1, 1), dt.datetime(2013, 1, 2, 3)]})
    spd.to_json(frame, url, orient="records", lines=True, date_format="iso", client=client)
    read = spd.read_json(url, lines=True, client=client)
    assert read["n"].tolist() == [1, 2]
    assert read["date"].tolist() == frame["date"].tolist()
    with spd.read_json(url, lines=True, chunksize=1, client=client) as chunks:
        assert [len(chunk) for chunk in chunks] == [1, 1]


@pytest.mark.parametrize("suffix", ["json", "json.gz", "jsonl.bz2"])
def test_every_engine_reads_json_lines(
    client: Client, bucket: str, frame: pd.DataFrame, suffix: str, tmp_path: Path
) -> None:
    frame.to_json(tmp_path / f"a.{suffix}", orient="records", lines=True)
    url = f"s3://{bucket}/a.{suffix}"
    client.put(url, (tmp_path / f"a.{suffix}").read_bytes())
    engines: list[Any] = ["ujson", "pyarrow"]
    for engine in engines:
        plain = pd.read_json(tmp_path / f"a.{suffix}", lines=True, engine=engine)
        pdt.assert_frame_equal(spd.read_json(url, lines=True, engine=engine, client=client), plain)


def test_json_that_pyarrow_does_not_decompress_is_refused(client: Client, bucket: str, frame: pd.DataFrame) -> None:
    url = f"s3://{bucket}/a.json.xz"
    spd.to_json(frame, url, orient="records", lines=True, client=client)
    with pytest.raises(ConfigurationError, match="compressed as xz"):
        spd.read_json(url, lines=True, engine="pyarrow", client=client)


def test_tables_without_rows(client: Client, bucket: str, rich: pd.DataFrame) -> None:
    empty = rich.head(0).drop(columns="kind")  # categories without rows are not stored, in local files neither
    spd.to_parquet(empty, f"s3://{bucket}/a.parquet", client=client)
    pdt.assert_frame_equal(spd.read_parquet(f"s3://{bucket}/a.parquet", client=client), empty)
    spd.to_feather(empty, f"s3://{bucket}/a.feather", client=client)
    pdt.assert_frame_equal(spd.read_feather(f"s3://{bucket}/a.feather", client=client), empty)
    spd.to_csv(empty, f"s3://{bucket}/a.csv", index=False, client=client)
    assert list(spd.read_csv(f"s3://{bucket}/a.csv", client=client).columns) == list(empty.columns)
    assert [record.rows for record in client.counters][-2:] == [0, 0]


def test_a_series_is_written_too(client: Client, bucket: str) -> None:
    spd.to_csv(pd.Series([1, 2], name="n"), f"s3://{bucket}/a.csv", index=False, client=client)
    assert spd.read_csv(f"s3://{bucket}/a.csv", client=client)["n"].tolist() == [1, 2]


def test_bucket_and_key_in_place_of_the_url(client: Client, bucket: str, frame: pd.DataFrame) -> None:
    result = spd.to_csv(frame, bucket=bucket, key="Zürich/a b?#.csv", index=False, client=client)
    assert result.location.key == "Zürich/a b?#.csv"
    pdt.assert_frame_equal(spd.read_csv(bucket=bucket, key="Zürich/a b?#.csv", client=client), frame)


def test_what_is_stored_is_ciphertext(client: Client, bucket: str, raw_s3: Any, frame: pd.DataFrame) -> None:
    result = spd.to_csv(frame, f"s3://{bucket}/a.csv", index=False, client=client)
    stored = raw_s3.get_object(Bucket=bucket, Key="a.csv")
    assert b"quo" not in stored["Body"].read()
    assert "x-amz-c" in stored["Metadata"]
    assert result.encryption == "CSE V3"


def test_a_v2_object_is_read_where_the_policy_allows_it(
    local_servers: LocalServers, client: Client, bucket: str, frame: pd.DataFrame
) -> None:
    both = local_servers.client(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT)
    writer = local_servers.client(commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT, format=V2)
    url = f"s3://{bucket}/a.parquet"
    assert spd.to_parquet(frame, url, encryption=CSE(format=V2), client=writer).encryption == "CSE V2"
    pdt.assert_frame_equal(spd.read_parquet(url, client=both), frame)
    with pytest.raises(CommitmentPolicyError):
        spd.read_parquet(url, client=client)


@pytest.mark.parametrize("arm", [PLAIN, SSE_S3()], ids=lambda arm: arm.label)
def test_an_object_without_cse_is_read_by_the_call_or_the_client_that_allows_it(
    local_servers: LocalServers, client: Client, bucket: str, frame: pd.DataFrame, arm: Any
) -> None:
    url = f"s3://{bucket}/a.csv.gz"
    spd.to_csv(frame, url, index=False, encryption=arm, client=client)
    with pytest.raises(NotEncryptedError, match="allow_plaintext"):
        spd.read_csv(url, client=client)
    pdt.assert_frame_equal(spd.read_csv(url, allow_plaintext=True, client=client), frame)
    pdt.assert_frame_equal(spd.read_csv(url, client=local_servers.client(allow_plaintext=True)), frame)
    assert [record.encryption for record in client.counters] == [arm.label, arm.label]


def test_the_encryption_context_has_to_be_given_again(client: Client, bucket: str, frame: pd.DataFrame) -> None:
    url = f"s3://{bucket}/a.csv"
    spd.to_csv(frame, url, index=False, encryption_context={"team": "wetter"}, client=client)
    with pytest.raises(EncryptionContextError):
        spd.read_csv(url, client=client)
    pdt.assert_frame_equal(spd.read_csv(url, encryption_context={"team": "wetter"}, client=client), frame)


def test_each_call_is_one_row_of_the_counters(client: Client, bucket: str, frame: pd.DataFrame) -> None:
    spd.to_csv(frame, f"s3://{bucket}/a.csv.gz", index=False, client=client)
    spd.read_csv(f"s3://{bucket}/a.csv.gz", client=client)
    spd.read_csv(f"s3://{bucket}/a.csv.gz", chunksize=2, client=client)
    rows = client.counters.to_arrow().to_pylist()
    assert [(row["operation"], row["file_type"], row["rows"]) for row in rows] == [
        ("to_csv", "csv", 3),
        ("read_csv", "csv", 3),
        ("read_csv", "csv", None),
    ]
    for row, kms_calls in zip(rows, (1, 1, 0), strict=True):  # the second read finds the data key of the first
        assert (row["encryption"], row["requests"], row["kms_calls"]) == ("CSE V3", 1, kms_calls)
        assert row["stored_bytes"] == row["plaintext_bytes"] + 16
        assert 0 < row["s3_seconds"] <= row["wall_seconds"]
        assert 0 <= row["kms_seconds"] <= row["wall_seconds"]
        assert (row["kms_seconds"] > 0) == (kms_calls > 0)


def test_errors_reach_the_caller_as_what_they_are(client: Client, bucket: str, frame: pd.DataFrame) -> None:
    spd.to_csv(frame, f"s3://{bucket}/a.csv", index=False, client=client)
    with pytest.raises(ObjectNotFoundError):
        spd.read_csv(f"s3://{bucket}/none.csv", client=client)
    with pytest.raises(NotATableError):
        spd.read_parquet(f"s3://{bucket}/a.csv", client=client)
    with pytest.raises(ColumnNotFoundError, match="'zz'"):
        spd.read_csv(f"s3://{bucket}/a.csv", usecols=["n", "zz"], client=client)
