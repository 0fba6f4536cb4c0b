"""pandas through `s3cse://` URLs and `filesystem=`: each format out and in, projections, partitions, text, failures."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal
from seen import keys, tamper

from arrowseal import Client
from arrowseal.exceptions import AuthenticationError, ConfigurationError
from arrowseal.fs import S3CseFileSystem, SealedFileSystem

if TYPE_CHECKING:
    from pathlib import Path

    from broken_servers import BrokenServers

FRAME = pd.DataFrame({"n": range(1000), "k": ["x", "y"] * 500, "v": [n / 8 for n in range(1000)]})
FORMATS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "parquet": ("to_parquet", pd.read_parquet, {}),
    "csv": ("to_csv", pd.read_csv, {"index": False}),
    "csv.gz": ("to_csv", pd.read_csv, {"index": False}),
    "csv.xz": ("to_csv", pd.read_csv, {"index": False}),
    "json": ("to_json", pd.read_json, {}),
    "feather": ("to_feather", pd.read_feather, {}),
    "orc": ("to_orc", pd.read_orc, {}),
    "pickle": ("to_pickle", pd.read_pickle, {}),
}


def written(lake: str, extension: str, options: dict[str, Any], frame: pd.DataFrame = FRAME) -> str:
    """The URL of a frame in one of the formats."""
    url = f"s3cse://{lake}/frame.{extension}"
    method, _, more = FORMATS[extension]
    if extension == "orc":  # pandas has no storage_options for it
        with S3CseFileSystem(**options).open(url, "wb") as file:
            frame.to_orc(file)
    else:
        getattr(frame, method)(url, storage_options=options, **more)
    return url


def read(url: str, extension: str, options: dict[str, Any]) -> pd.DataFrame:
    if extension == "orc":
        with S3CseFileSystem(**options).open(url, "rb") as file:
            return pd.read_orc(file)
    frame: pd.DataFrame = FORMATS[extension][1](url, storage_options=options)
    return frame


@pytest.mark.parametrize("extension", FORMATS)
def test_each_format_is_written_and_read_back(lake: str, options: dict[str, Any], extension: str) -> None:
    assert_frame_equal(read(written(lake, extension, options), extension, options), FRAME)


@pytest.mark.parametrize("extension", FORMATS)
def test_a_changed_object_is_refused_in_each_format(
    lake: str, options: dict[str, Any], servers: BrokenServers, extension: str
) -> None:
    url = written(lake, extension, options)
    tamper(servers, url.removeprefix("s3cse://"), 50)
    with pytest.raises(AuthenticationError):
        read(url, extension, options)


def everything() -> pa.Table:
    """A column of each kind that is easily got wrong."""
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)
    return pa.table(
        {
            "nested": pa.array([{"a": [1, None], "b": {"c": "x"}}, None, {"a": [], "b": None}]),
            "lists": pa.array([[["a"], []], None, [[None]]]),
            "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int32())),
            "category": pa.array(["a", None, "a"]).dictionary_encode(),
            "decimal": pa.array([decimal.Decimal("1.23"), None, decimal.Decimal("-9.99")], pa.decimal128(10, 2)),
            "zoned": pa.array([moment, None, moment], pa.timestamp("us", "Europe/Berlin")),
            "naive": pa.array([moment.replace(tzinfo=None), None, None], pa.timestamp("ms")),
            "date": pa.array([moment.date(), None, None]),
            "time": pa.array([moment.time(), None, None]),
            "nothing": pa.nulls(3),
            "bytes": pa.array([b"\x00\xff", b"", None]),
            "bool": pa.array([True, None, False]),
            "float": pa.array([float("nan"), float("-inf"), None]),
            "small": pa.array([1, None, -1], pa.int8()),
            "large": pa.array(["x" * 100_000, "", None], pa.large_string()),
        }
    )


@pytest.mark.parametrize("shape", ["rows", "no rows", "wide"])
def test_tables_of_all_types_are_as_on_plain_files(
    lake: str, options: dict[str, Any], tmp_path: Path, shape: str
) -> None:
    table = everything()
    if shape == "no rows":
        table = table.slice(0, 0)
    elif shape == "wide":
        table = pa.table({f"c{at}": np.arange(7) + at for at in range(2000)})
    pq.write_table(table, tmp_path / "t.parquet")
    sealed = SealedFileSystem(Client(**options))
    pq.write_table(table, f"{lake}/t.parquet", filesystem=sealed)
    expected = pq.read_table(tmp_path / "t.parquet")
    url = f"s3cse://{lake}/t.parquet"
    plain = pd.read_parquet(tmp_path / "t.parquet", dtype_backend="pyarrow")
    for read_back in (
        pd.read_parquet(url, storage_options=options, dtype_backend="pyarrow"),
        pd.read_parquet(f"{lake}/t.parquet", filesystem=sealed, dtype_backend="pyarrow"),
        pd.read_parquet(f"{lake}/t.parquet", filesystem=S3CseFileSystem(**options), dtype_backend="pyarrow"),
    ):
        assert_frame_equal(read_back, plain)
    exact = pq.read_table(f"{lake}/t.parquet", filesystem=sealed, use_threads=False)
    assert exact.schema.equals(expected.schema)
    assert str(exact.to_pydict()) == str(expected.to_pydict())  # NaN equals nothing


def test_columns_and_filters_and_partitions(lake: str, options: dict[str, Any], servers: BrokenServers) -> None:
    url = f"s3cse://{lake}/t"
    FRAME.to_parquet(url, partition_cols=["k"], storage_options=options)
    found = pd.read_parquet(
        url, columns=["n", "k"], filters=[("k", "==", "y"), ("n", "<", 10)], storage_options=options
    )
    assert found["n"].tolist() == [1, 3, 5, 7, 9]
    assert found["k"].unique().tolist() == ["y"]


def test_chunks_of_text_are_read_one_after_the_other(lake: str, options: dict[str, Any]) -> None:
    url = written(lake, "csv", options)
    with pd.read_csv(url, storage_options=options, chunksize=300) as chunks:
        assert_frame_equal(pd.concat(chunks), FRAME)
    assert_frame_equal(pd.read_csv(url, storage_options=options, engine="pyarrow"), FRAME)
    assert len(pd.read_csv(url, storage_options=options, nrows=5)) == 5


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("extension", ["parquet", "csv", "csv.gz", "feather", "pickle"])
def test_a_frame_that_cannot_be_written_leaves_no_object(
    lake: str, options: dict[str, Any], servers: BrokenServers, extension: str
) -> None:
    class Odd:
        def __str__(self) -> str:
            raise ValueError("odd")

        def __reduce__(self) -> str:
            raise ValueError("odd")

    frame = pd.DataFrame({"a": ["x" * 100] * 100_000 + [Odd()]}, dtype=object)
    with pytest.raises((ValueError, pa.ArrowInvalid, TypeError)):
        written(lake, extension, options, frame)
    assert keys(servers, lake) == []


def test_an_unknown_option_is_refused(lake: str) -> None:
    with pytest.raises(ConfigurationError, match="credentials"):
        pd.read_parquet(f"s3cse://{lake}/a.parquet", storage_options={"key": "AKIA", "secret": "x"})
