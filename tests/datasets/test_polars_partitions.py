"""Partitions as polars has them: a round trip keeps types and places, and paths say to us what they say to it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.testing as plt
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import arrowseal.arrow as sa
import arrowseal.polars as spl
from arrowseal import using
from arrowseal.exceptions import ConfigurationError, ObjectNotFoundError
from lake import Lake, pq_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _by_default(lake: Lake) -> Iterator[None]:
    with using(lake.client):
        yield


KEYS = {
    "text of digits": pl.Series(["01234", "00001", None, "01234"]),
    "text": pl.Series(["a b/ü=%", "", None, "é\nx"]),
    "integers": pl.Series([1, -2, None, 1]),
    "small integers": pl.Series([1, -2, None, 1], dtype=pl.Int8),
    "large integers": pl.Series([2**63, 1, None, 1], dtype=pl.UInt64),
    "booleans": pl.Series([True, False, None, True]),
    "floats": pl.Series([1.5, 2.0, None, 1e30]),
    "short floats": pl.Series([0.1, 2.0, None, 1e30], dtype=pl.Float32),
    "decimals": pl.Series([Decimal("1.50"), Decimal("-2.00"), None, Decimal("1.50")], dtype=pl.Decimal(10, 2)),
    "dates": pl.Series([dt.date(2013, 1, 2), dt.date(1899, 1, 2), None, dt.date(2013, 1, 2)]),
    "datetimes": pl.Series(
        [dt.datetime(2013, 1, 2, 3, 4, 5, 6), dt.datetime(2013, 1, 2), None, dt.datetime(2013, 1, 2)]
    ),
    "milliseconds": pl.Series([dt.datetime(2013, 1, 2, 3), None], dtype=pl.Datetime("ms")),
    "categories": pl.Series(["x", "y", None, "x"], dtype=pl.Categorical),
    "enums": pl.Series(["x", "y", None, "x"], dtype=pl.Enum(["y", "x", "z"])),
}
ONLY_IN_FILES = {
    "times": pl.Series([dt.time(1, 2), dt.time(3, 4, 5, 6), None, dt.time(1, 2)]),
    "binary": pl.Series([b"x/", b"\xc3\xa9", None, b"x/"]),
    "zones": pl.Series([dt.datetime(2013, 7, 2, 3), None], dtype=pl.Datetime("us", "America/New_York")),
}


def frame_of(keys: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"n": range(len(keys)), "key": keys, "x": [at / 3 for at in range(len(keys))]})


@pytest.mark.parametrize("kind", [*KEYS, *ONLY_IN_FILES])
def test_a_round_trip_by_partitions_keeps_types_values_and_the_order_of_columns(lake: Lake, kind: str) -> None:
    frame = frame_of((KEYS | ONLY_IN_FILES)[kind])
    spl.write_parquet(frame, "s3://lake/t/", partition_by=["key"])
    plt.assert_frame_equal(spl.read_parquet("s3://lake/t/").sort("n"), frame)
    plt.assert_frame_equal(
        spl.read_parquet("s3://lake/t/", columns=["key"]), frame.select("key"), check_row_order=False
    )
    first = frame["key"][0]
    kept = spl.scan_parquet("s3://lake/t/").filter(pl.col("key") == pl.lit(first, frame.schema["key"])).collect()
    plt.assert_frame_equal(kept.sort("n"), frame.filter(pl.col("key") == pl.lit(first, frame.schema["key"])))


@pytest.mark.parametrize("kind", KEYS)
def test_what_we_write_by_partitions_polars_reads_and_the_other_way_round(
    lake: Lake, tmp_path: Path, kind: str
) -> None:
    frame = frame_of(KEYS[kind])
    spl.write_parquet(frame, "s3://lake/ours/", partition_by=["key"])
    lake.unseal("ours/", tmp_path / "ours")
    plt.assert_frame_equal(pl.read_parquet(f"{tmp_path}/ours/").sort("n"), frame)
    frame.write_parquet(f"{tmp_path}/theirs/", partition_by=["key"])
    lake.seal(tmp_path / "theirs", "theirs/")
    plt.assert_frame_equal(spl.read_parquet("s3://lake/theirs/").sort("n"), frame)


def test_a_sink_by_partitions_is_read_as_it_was(lake: Lake) -> None:
    frame = pl.DataFrame({"zip": ["01234", "00001"], "n": [1, 2]})
    spl.sink_parquet(frame.lazy(), pl.PartitionBy("s3://lake/t/", key="zip"))
    plt.assert_frame_equal(spl.read_parquet("s3://lake/t/").sort("n"), frame)
    plt.assert_frame_equal(spl.scan_parquet("s3://lake/t/").filter(pl.col("zip") == "01234").collect(), frame.head(1))


def test_a_filter_on_text_of_digits_asks_for_its_files_only(lake: Lake) -> None:
    frame = pl.DataFrame({"zip": ["01234", "00001", "1234"], "n": [1, 2, 3]})
    spl.write_parquet(frame, "s3://lake/t/", partition_by=["zip"])
    scan = spl.scan_parquet("s3://lake/t/")
    scan.collect_schema()
    lake.forget()
    assert scan.filter(pl.col("zip") == "01234").collect()["n"].to_list() == [1]
    assert lake.asked("GetObject") == ["t/zip=01234/part-0.parquet"]


def test_a_frame_may_be_parted_by_all_of_its_columns(lake: Lake) -> None:
    frame = pl.DataFrame({"a": ["x", "y", "x"], "b": [1, 2, 1]})
    spl.write_parquet(frame, "s3://lake/t/", partition_by=["a", "b"])
    plt.assert_frame_equal(spl.read_parquet("s3://lake/t/"), frame, check_row_order=False)
    assert spl.scan_parquet("s3://lake/t/").filter(pl.col("b") == 1).collect().height == 2
    with pytest.raises(ConfigurationError, match="at least one column"):
        sa.write_dataset(frame, "s3://lake/u", partitioning=["a", "b"])


TEXTS = [
    ["1", "2"],
    ["007", "-1"],
    ["+1"],
    ["1", "x"],
    ["1", "1.5"],
    ["1e5", ".5", "5."],
    ["nan", "NaN", "inf"],
    ["true", "false"],
    ["True"],
    ["true", "1"],
    ["2013-01-02", "2013-01-03"],
    ["2013-01-02", "x"],
    ["2013-13-02"],
    ["02%2F01%2F2013"],
    ["2013-01-02", "2013-01-02 03%3A04%3A05"],
    ["2013-01-02 03%3A04%3A05.000006", "2013-01-02T03%3A04%3A05"],
    ["2013-01-02 03%3A04%3A05.123"],
    ["2013-01-02 03%3A04%3A05%2B00%3A00"],
    ["", "x"],
    ["__HIVE_DEFAULT_PARTITION__", "1"],
    ["__HIVE_DEFAULT_PARTITION__"],
    ["a%0Ab", "S%C3%A3o%20Paulo", "a%2Fb%3Dc"],
    ["%22x%22", "#y", " 1", "1,2"],
]


@pytest.mark.parametrize("dates", [True, False])
@pytest.mark.parametrize("texts", TEXTS, ids=",".join)
def test_what_only_paths_say_is_what_polars_takes_it_for(
    lake: Lake, tmp_path: Path, texts: list[str], dates: bool
) -> None:
    for at, text in enumerate(texts):
        where = tmp_path / f"key={text}"
        where.mkdir()
        pq.write_table(pa.table({"n": [at]}), where / "a.parquet")
    lake.seal(tmp_path, "t/")
    read = spl.read_parquet("s3://lake/t/", try_parse_hive_dates=dates)
    plain = pl.read_parquet(f"{tmp_path}/", try_parse_hive_dates=dates)
    plt.assert_frame_equal(read.sort("n"), plain.sort("n"))


@pytest.mark.parametrize(
    "kind", [pl.Int16, pl.String, pl.Float64, pl.Categorical, pl.Decimal(10, 2), pl.Enum(["1", "2"])]
)
@pytest.mark.parametrize("holds_its_path", [False, True])
def test_hive_schema_says_the_types(lake: Lake, tmp_path: Path, kind: Any, holds_its_path: bool) -> None:
    for key in (1, 2):
        where = tmp_path / f"key={key}"
        where.mkdir()
        pq.write_table(pa.table({"n": [key]} | ({"key": [str(key)]} if holds_its_path else {})), where / "a.parquet")
    lake.seal(tmp_path, "t/")
    for given in ({"key": kind}, {"other": pl.Int8, "key": kind}):
        read = spl.read_parquet("s3://lake/t/", hive_schema=given)
        plt.assert_frame_equal(read, pl.read_parquet(f"{tmp_path}/", hive_schema=given))


@pytest.mark.parametrize("value", [dt.date(2013, 1, 2), dt.datetime(2013, 1, 2, 3, 4, 5), dt.time(3, 4, 5), 1, "x"])
@pytest.mark.parametrize("include_key", [True, False])
def test_dates_of_paths_are_text_if_they_are_not_to_be_parsed_whatever_the_files_say(
    lake: Lake, tmp_path: Path, value: Any, include_key: bool
) -> None:
    parted = pl.PartitionBy(tmp_path / "t", key=["key"], include_key=include_key)
    pl.LazyFrame({"key": [value], "n": [1]}).sink_parquet(parted, mkdir=True)
    lake.seal(tmp_path / "t", "t/")
    read = spl.read_parquet("s3://lake/t/", try_parse_hive_dates=False)
    plt.assert_frame_equal(read, pl.read_parquet(f"{tmp_path}/t/", try_parse_hive_dates=False))


def test_a_hive_schema_that_cannot_be_is_refused(lake: Lake) -> None:
    lake.put({"t/key=1/a.parquet": pq_bytes(pa.table({"n": [1]}))})
    with pytest.raises(ConfigurationError, match="hive_schema= unless hive_partitioning=False"):
        spl.read_parquet("s3://lake/t/", hive_schema={"key": pl.Int8}, hive_partitioning=False)
    with pytest.raises(ConfigurationError, match="hive_schema= says Int128 of 'key', which pyarrow does not know"):
        spl.read_parquet("s3://lake/t/", hive_schema={"key": pl.Int128})


def test_a_hive_schema_that_does_not_fit_the_paths_is_refused(lake: Lake) -> None:
    lake.put({"t/key=x/a.parquet": pq_bytes(pa.table({"n": [1]}))})
    with pytest.raises(ConfigurationError, match="'key' that hive_schema= has not"):
        spl.read_parquet("s3://lake/t/", hive_schema={"other": pl.Int8})
    with pytest.raises(ConfigurationError, match="hive_schema= says Int8 of 'key'"):
        spl.read_parquet("s3://lake/t/", hive_schema={"key": pl.Int8})


def test_the_path_says_the_value_and_the_first_file_its_type(lake: Lake, tmp_path: Path) -> None:
    files = {"key=01": {"key": ["zz"], "n": [1]}, "key=02": {"n": [2]}, "key=03": {"key": [7], "n": [3]}}
    for name, columns in files.items():
        (tmp_path / name).mkdir()
        pq.write_table(pa.table(columns), tmp_path / name / "a.parquet")
    lake.seal(tmp_path, "t/")
    plt.assert_frame_equal(spl.read_parquet("s3://lake/t/"), pl.read_parquet(f"{tmp_path}/"))


def test_a_comparison_that_polars_refuses_is_refused_in_its_words(lake: Lake) -> None:
    lake.put({"t/key=1/a.parquet": pq_bytes(pa.table({"n": [1]}))})
    with pytest.raises(pl.exceptions.ComputeError, match="cannot compare string with numeric"):
        spl.scan_parquet("s3://lake/t/").filter(pl.col("key") == "01").collect()


@pytest.mark.parametrize("name", ["_y", ".z"])
def test_columns_whose_names_begin_as_hidden_ones_may_part_a_frame(lake: Lake, tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame({name: [1, 2], "n": [3, 4]})
    spl.write_parquet(frame, "s3://lake/t/", partition_by=[name])
    lake.unseal("t/", tmp_path)
    lake.put({"t/_SUCCESS": b"", f"t/{name}=1/.a.crc": b"x", "t/_temporary/a.parquet": b"x", "t/_a=b.parquet": b"x"})
    read = spl.read_parquet("s3://lake/t/").sort("n")
    plt.assert_frame_equal(read, frame)
    plt.assert_frame_equal(read, pl.read_parquet(f"{tmp_path}/").sort("n"))
    assert ds.dataset(tmp_path, partitioning="hive").files == []
    with pytest.raises(ObjectNotFoundError, match=r"begin with '_' or '\.' aside: see ignore_prefixes="):
        sa.dataset("s3://lake/t/")


@pytest.mark.parametrize("rows", [5, 2_000], ids=["small files", "row groups"])
@pytest.mark.parametrize("hive", [True, False])
def test_the_url_of_each_file_is_a_last_column_as_the_path_is_for_polars(
    lake: Lake, tmp_path: Path, hive: bool, rows: int
) -> None:
    frame = pl.DataFrame({"n": range(rows * 3), "city": ["a", "b", "c"] * rows})
    for city in ("a", "b", "c"):
        part = frame.filter(city=city).drop("city")
        spl.write_parquet(part, f"s3://lake/t/city={city}/x.parquet", row_group_size=500)
    lake.unseal("t/", tmp_path / "t")
    options: dict[str, Any] = {"hive_partitioning": hive, "include_file_paths": "file"}
    theirs = pl.scan_parquet(f"{tmp_path}/t/**/*.parquet", **options).with_columns(
        pl.col("file").str.replace(str(tmp_path), "s3://lake", literal=True)
    )
    ours = spl.scan_parquet("s3://lake/t/**/*.parquet", **options)
    assert ours.collect_schema() == theirs.collect_schema()
    url = "s3://lake/t/city=b/x.parquet"
    queries: list[Callable[[pl.LazyFrame], pl.LazyFrame]] = [
        lambda lazy: lazy,
        lambda lazy: lazy.select("file"),
        lambda lazy: lazy.select("file", "n").head(rows + 2),
        lambda lazy: lazy.filter(pl.col("file") == url),
        lambda lazy: lazy.filter((pl.col("file") > url) | (pl.col("n") < 3)).select("n", "file"),
        lambda lazy: lazy.filter(pl.col("file").str.contains("city=c") & (pl.col("n") > 4)),
        lambda lazy: lazy.group_by("file").agg(pl.len()).sort("file"),
        lambda lazy: lazy.select(pl.len()),
        lambda lazy: lazy.filter(pl.col("file").is_in([url, "s3://lake/t/none"])).tail(2),
        lambda lazy: lazy.slice(rows - 1, 3).with_row_index(),
    ]
    for query in queries:
        plt.assert_frame_equal(query(ours).collect(), query(theirs).collect())
    whole = {"row_index_name": "at", "n_rows": rows + 1, **options}
    read = spl.read_parquet("s3://lake/t/**/*.parquet", **whole)
    assert read.columns == pl.read_parquet(f"{tmp_path}/t/**/*.parquet", **whole).columns
    one = spl.read_parquet([url], include_file_paths="file")
    assert one["file"].to_list() == [url] * rows


def test_filters_on_urls_leave_out_files_before_they_are_asked_for(lake: Lake) -> None:
    for at in range(4):
        spl.write_parquet(pl.DataFrame({"n": [at]}), f"s3://lake/t/{at}.parquet")
    lazy = spl.scan_parquet("s3://lake/t/", include_file_paths="file")
    assert lazy.collect_schema() == {"n": pl.Int64, "file": pl.String}
    lake.forget()
    assert lazy.filter(pl.col("file") == "s3://lake/t/2.parquet").collect()["n"].to_list() == [2]
    assert lake.asked("GetObject") == ["t/2.parquet"]


@pytest.mark.parametrize("taken", ["n", "city"])
def test_a_column_of_urls_does_not_take_the_place_of_another(lake: Lake, taken: str) -> None:
    spl.write_parquet(pl.DataFrame({"n": [1]}), "s3://lake/t/city=a/x.parquet")
    with pytest.raises(ConfigurationError, match=f"include_file_paths='{taken}'"):
        spl.scan_parquet("s3://lake/t/", include_file_paths=taken).collect()
