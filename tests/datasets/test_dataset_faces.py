"""Datasets through the functions of pandas and polars: as the libraries read and write the plain files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pandas.testing as pdt
import polars as pl
import polars.testing as plt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import arrowseal.arrow as sa
import arrowseal.pandas as spd
import arrowseal.polars as spl
from arrowseal import ObjectLocation, using
from arrowseal.exceptions import (
    ColumnNotFoundError,
    ConfigurationError,
    DirectoryKeyError,
    ObjectExistsError,
    ObjectNotFoundError,
    SchemaMismatchError,
)
from lake import Lake, pq_bytes, trips

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def here(lake: Lake, tmp_path: Path) -> Iterator[Path]:
    """A directory of plain files, hive partitions of a year, and the same ones in the lake; its client is the default
    one.
    """
    complete = trips(400).drop_null()
    complete.to_pandas().to_parquet(tmp_path / "t", partition_cols=["year"])
    lake.seal(tmp_path / "t", "t/")
    lake.forget()
    with using(lake.client):
        yield tmp_path / "t"


def sorted_by_n(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values("n", ignore_index=True)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"columns": ["n", "year"]},
        {"filters": [("year", "=", 2013)]},
        {"filters": [[("year", "=", 2013), ("n", "<", 200)], [("city", "=", "Paris")]], "columns": ["n", "city"]},
        {"filters": pc.field("n") > 100},
        {"dtype_backend": "numpy_nullable"},
    ],
    ids=str,
)
@pytest.mark.parametrize("source", ["s3://lake/t/", "s3://lake/t/*/*.parquet"])
def test_pandas_reads_a_prefix_or_a_pattern_as_it_reads_a_directory(
    here: Path, source: str, arguments: dict[str, Any]
) -> None:
    ours, plain = spd.read_parquet(source, **arguments), pd.read_parquet(here, **arguments)
    pdt.assert_frame_equal(sorted_by_n(ours), sorted_by_n(plain), check_categorical=False)
    if "year" in ours:
        assert ours["year"].dtype.categories.dtype == plain["year"].dtype.categories.dtype


def test_pandas_reads_a_list_and_what_is_called_a_dataset(here: Path, lake: Lake) -> None:
    files = [f"s3://lake/{key}" for key in lake.keys]
    pdt.assert_frame_equal(spd.read_parquet(files), spd.read_parquet("s3://lake/t/"))
    pdt.assert_frame_equal(spd.read_parquet("s3://lake/t", dataset=True), spd.read_parquet("s3://lake/t/"))
    pdt.assert_frame_equal(spd.read_parquet(bucket="lake", key="t", dataset=True), spd.read_parquet("s3://lake/t/"))
    with pytest.raises(DirectoryKeyError):
        spd.read_parquet("s3://lake/t/", dataset=False)
    (one, *_) = lake.keys
    assert "year" not in spd.read_parquet(f"s3://lake/{one}")
    assert "year" in spd.read_parquet([ObjectLocation("lake", one)])


def test_the_habits_of_awswrangler(here: Path, lake: Lake) -> None:
    chosen = spd.read_parquet("s3://lake/t/", partition_filter=lambda values: values["year"] == "2014")
    assert set(chosen["year"]) == {2014}
    assert all("year=2014" in key for key in lake.asked("GetObject"))
    frames = list(spd.read_parquet("s3://lake/t/", chunked=True))
    assert len(frames) == 3
    pdt.assert_frame_equal(pd.concat(frames, ignore_index=True), spd.read_parquet("s3://lake/t/"))
    frames = list(spd.read_parquet("s3://lake/t/", chunked=50))
    assert [len(frame) for frame in frames] == [50, 50, 50, 50, 1]
    pdt.assert_frame_equal(pd.concat(frames, ignore_index=True), spd.read_parquet("s3://lake/t/"))
    with pytest.raises(ConfigurationError, match="chunked="):
        list(spd.read_parquet("s3://lake/t/", chunked=-1))
    with pytest.raises(ObjectNotFoundError):
        spd.read_parquet("s3://lake/t/", path_suffix=".csv")
    with pytest.raises(ColumnNotFoundError):
        spd.read_parquet("s3://lake/t/", columns=["nothing"])


def test_files_of_other_columns_are_joined(lake: Lake) -> None:
    lake.put({"u/1.parquet": pq_bytes(pa.table({"a": [1]})), "u/2.parquet": pq_bytes(pa.table({"a": [2], "b": ["x"]}))})
    read = spd.read_parquet("s3://lake/u/", client=lake.client)
    assert read["a"].tolist() == [1, 2]
    assert read["b"].isna().tolist() == [True, False]


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_text_is_read_by_pandas_itself(here: Path, lake: Lake, suffix: str) -> None:
    frame = trips(90).drop_null().to_pandas()
    for year, rows in frame.groupby("year"):
        spd.to_csv(rows.drop(columns="year"), f"s3://lake/c/year={year}/a.{suffix}", index=False)
    lake.client.counters.clear()
    read = spd.read_csv("s3://lake/c/", dtype={"n": "float64"}, usecols=["n", "city"])
    assert sorted_by_n(read)["n"].tolist() == frame["n"].astype("float64").tolist()
    assert read["year"].dtype == pd.CategoricalDtype(pd.Index([2012, 2013, 2014], dtype="int32"))
    assert [(row.operation, row.rows) for row in lake.client.counters] == [("list", None), ("read_csv", len(frame))]
    chunks = list(spd.read_csv(f"s3://lake/c/*/*.{suffix}", chunked=20))
    assert [len(chunk) for chunk in chunks[:-1]] == [20] * (len(chunks) - 1)
    with pytest.raises(ConfigurationError, match="chunked="):
        spd.read_csv("s3://lake/c/", chunksize=10)
    spd.to_json(frame, "s3://lake/j/a.ndjson", orient="records", lines=True)
    assert len(spd.read_json("s3://lake/j/", lines=True)) == len(frame)
    with pytest.raises(ConfigurationError, match="typ="):
        spd.read_json("s3://lake/j/", typ="series")


def test_pandas_writes_partitions_beside_what_is_there(here: Path, lake: Lake) -> None:
    frame = trips(100).drop_null().to_pandas()
    for _ in range(2):
        written = spd.to_parquet(frame, "s3://lake/w", partition_cols=["year", "city"], index=False)
    assert len(spd.read_parquet("s3://lake/w/")) == 2 * len(frame)
    assert set(written["paths"]) <= {f"s3://lake/{key}" for key in lake.keys}
    assert ["2013", "Paris"] in written["partitions_values"].values()
    written = spd.to_parquet(frame, "s3://lake/w", dataset=True, mode="overwrite", max_rows_by_file=20)
    assert len(written.deleted) > 0
    pdt.assert_frame_equal(spd.read_parquet("s3://lake/w/"), frame)
    assert [file.rows for file in written][:2] == [20, 20]
    categories = frame.astype({"city": "category"})
    assert len(spd.to_parquet(categories, "s3://lake/k", partition_cols="city").files) == 3
    with pytest.raises(ConfigurationError, match="engine"):
        spd.to_parquet(frame, "s3://lake/w", partition_cols=["year"], engine="fastparquet")
    with pytest.raises(ConfigurationError, match="storage_options"):
        spd.to_parquet(frame, "s3://lake/w", partition_cols=["year"], storage_options={"anon": True})


def test_compression_and_index_are_passed_on(here: Path, lake: Lake) -> None:
    frame = trips(20).drop_null().to_pandas().set_index("n")
    written = spd.to_parquet(frame, "s3://lake/w", partition_cols=["year"], compression="zstd")
    chunk = pq.ParquetFile(pa.py_buffer(lake.client.get(written.paths[0]))).metadata.row_group(0).column(0)
    assert chunk.compression == "ZSTD"
    assert spd.read_parquet("s3://lake/w/").index.name == "n"


def test_arguments_that_pandas_hands_on_by_name_are_handed_on(here: Path, lake: Lake) -> None:
    frame = pd.DataFrame({"n": range(20), "year": [2012, 2013] * 10})
    written = spd.to_parquet(frame, "s3://lake/w", partition_cols=["year"], row_group_size=4, write_statistics=False)
    for file in written:
        assert file.metadata.num_row_groups == 3
        assert file.metadata.row_group(0).column(0).statistics is None
    assert list(spd.read_parquet("s3://lake/w/", partitioning=None, use_threads=False).columns) == ["n"]
    with pytest.raises(TypeError, match="'no_such_option'"):
        spd.to_parquet(frame, "s3://lake/w", partition_cols=["year"], no_such_option=1)


QUERIES: dict[str, Any] = {
    "all": lambda frame: frame,
    "projection": lambda frame: frame.select("text", "year"),
    "partitions": lambda frame: frame.filter(pl.col("year") == 2013),
    "rows": lambda frame: frame.filter((pl.col("n") < 200) & (pl.col("year") > 2012)).select("city", "n"),
    "floats": lambda frame: frame.filter(pl.col("x") > 30.0),
    "text": lambda frame: frame.filter(pl.col("text").str.ends_with("1") | (pl.col("city") == "Paris")),
    "groups": lambda frame: frame.group_by("year").agg(pl.col("n").sum()).sort("year"),
    "count": lambda frame: frame.select(pl.len()),
    "index": lambda frame: frame.with_row_index().select("index"),
    "index of rows": lambda frame: frame.with_row_index().slice(150, 100).select("index"),
    "index of the last": lambda frame: frame.with_row_index().tail(3).select("index"),
    "indexed": lambda frame: frame.with_row_index().select(pl.len()),
}


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("query", QUERIES)
def test_polars_scans_a_prefix_as_it_scans_a_directory(here: Path, query: str, engine: Any) -> None:
    ours = QUERIES[query](spl.scan_parquet("s3://lake/t/")).collect(engine=engine)
    plain = QUERIES[query](pl.scan_parquet(f"{here}/")).collect(engine=engine)
    plt.assert_frame_equal(ours, plain, check_row_order=False)


@pytest.mark.parametrize("suffix", ["arrow", "parquet"])
def test_lists_of_categories_of_polars_go_through_datasets(lake: Lake, tmp_path: Path, suffix: str) -> None:
    frame = pl.DataFrame(
        {"kinds": [["x", "y"], None, []], "n": [1, 2, 1]}, schema_overrides={"kinds": pl.List(pl.Categorical)}
    )
    frame.write_ipc(tmp_path / "a.arrow")
    lake.seal(tmp_path, "t/")
    found = sa.dataset("s3://lake/t/", client=lake.client)
    assert found.to_table().to_pylist() == frame.to_dicts()
    assert found.to_table(filter=pc.field("n") == 2).to_pylist() == frame.filter(pl.col("n") == 2).to_dicts()
    for source in (found, frame):
        sa.write_dataset(
            source, "s3://lake/w/", format=suffix, partitioning=["n"], mode="overwrite", client=lake.client
        )
        read = sa.dataset("s3://lake/w/", client=lake.client).to_table(["kinds", "n"])
        assert read.to_pylist() == frame.sort("n", maintain_order=True).to_dicts()


def test_polars_asks_for_what_a_query_needs(here: Path, lake: Lake) -> None:
    frame = spl.scan_parquet("s3://lake/t/")
    assert lake.asked("GetObject") == []
    frame.filter(pl.col("year") == 2013).select("n").collect()
    asked = lake.asked("GetObject")
    assert len(asked) == 2  # the first file for the schema
    assert sum("year=2013" in key for key in asked) == 1


def test_polars_slices_from_both_ends(here: Path) -> None:
    whole = spl.read_parquet("s3://lake/t/")
    for offset, length in ((0, 5), (70, 10), (190, 100), (-5, 3), (-300, 120), (500, 5)):
        read = spl.scan_parquet("s3://lake/t/").slice(offset, length).collect()
        plt.assert_frame_equal(read, whole.slice(offset, length))
    plt.assert_frame_equal(spl.scan_parquet("s3://lake/t/", n_rows=75).collect(), whole.head(75))


def test_polars_slices_arrays_and_decimals_of_which_it_takes_no_slices_from_pyarrow(lake: Lake) -> None:
    arrays = pl.DataFrame({"at": [[1, 2], None, [3, 4]]}, schema={"at": pl.Array(pl.Int8, 2)})
    long = pa.table({"d": pa.array([1, None, 3], pa.decimal256(30, 2))})
    for content in (pq_bytes(arrays.to_arrow()), pq_bytes(long)):
        lake.put({f"s/{name}.parquet": content for name in "ab"})
        whole = pl.concat([pl.read_parquet(content)] * 2)
        for offset, length in ((1, 4), (-2, 1)):
            read = spl.scan_parquet("s3://lake/s/", client=lake.client).slice(offset, length).collect()
            plt.assert_frame_equal(read, whole.slice(offset, length))


@pytest.mark.parametrize("columns", [None, ["n"], ["year", "n"], [0], [1, 0], [-1], "n"], ids=str)
def test_polars_numbers_rows_before_the_columns_that_it_is_asked_for(here: Path, columns: Any) -> None:
    arguments = {"columns": columns, "row_index_name": "at", "row_index_offset": 7}
    ours, theirs = spl.read_parquet("s3://lake/t/", **arguments), pl.read_parquet(f"{here}/", **arguments)
    plt.assert_frame_equal(ours, theirs)
    assert spl.read_parquet("s3://lake/t/", **arguments, n_rows=3)["at"].to_list() == [7, 8, 9]
    asked = spl.read_parquet("s3://lake/t/", columns=columns)
    plt.assert_frame_equal(asked, pl.read_parquet(f"{here}/", columns=columns))


def test_polars_knows_no_column_by_the_name_of_the_numbers(here: Path) -> None:
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        spl.read_parquet("s3://lake/t/", row_index_name="at", columns=["at", "n"])


def test_polars_takes_partitions_of_patterns_when_it_is_told(here: Path, lake: Lake) -> None:
    assert "year" not in spl.scan_parquet("s3://lake/t/**/*.parquet").collect_schema()
    told = spl.scan_parquet("s3://lake/t/**/*.parquet", hive_partitioning=True).collect_schema()
    assert told["year"] == pl.Int64
    kinds = spl.scan_parquet("s3://lake/t/", hive_schema={"year": pl.Int16}).collect_schema()
    assert kinds["year"] == pl.Int16
    assert "year" not in spl.read_parquet("s3://lake/t/", hive_partitioning=False).columns
    dates = {f"d/day=2013-01-0{day}/a.parquet": pq_bytes(pa.table({"n": [day]})) for day in (1, 2)}
    lake.put(dates)
    assert spl.scan_parquet("s3://lake/d/").collect_schema()["day"] == pl.Date
    literal = pq_bytes(pa.table({"n": [7]}))
    lake.put({"d/*.parquet": literal})
    assert spl.read_parquet("s3://lake/d/*.parquet", glob=False)["n"].to_list() == [7]


def test_polars_refuses_files_of_other_columns_unless_it_is_told(here: Path, lake: Lake) -> None:
    lake.put(
        {
            "u/1.parquet": pq_bytes(pa.table({"a": [1], "b": [1]})),
            "u/2.parquet": pq_bytes(pa.table({"a": [2], "c": [2]})),
        }
    )
    with pytest.raises(SchemaMismatchError, match="'c'"):
        spl.read_parquet("s3://lake/u/")
    scan = spl.scan_parquet("s3://lake/u/", extra_columns="ignore", missing_columns="insert")
    assert scan.collect()["b"].to_list() == [1, None]


def test_polars_writes_partitions(here: Path, lake: Lake) -> None:
    frame = spl.read_parquet("s3://lake/t/")
    for _ in range(2):
        written = spl.write_parquet(frame, "s3://lake/w", partition_by="year", compression="snappy", row_group_size=10)
    assert len(written.files) == 3
    plt.assert_frame_equal(spl.read_parquet("s3://lake/w/"), frame, check_row_order=False, check_column_order=False)
    assert all(file.metadata.num_row_groups > 1 for file in written)
    assert written.files[0].metadata.row_group(0).column(0).compression == "SNAPPY"
    spl.write_parquet(frame.head(3), "s3://lake/w", dataset=True, mode="overwrite")
    assert spl.read_parquet("s3://lake/w/").height == 3
    with pytest.raises(ConfigurationError, match="metadata="):
        spl.write_parquet(frame, "s3://lake/w", partition_by="year", metadata={"a": "b"})


def test_what_has_no_meaning_for_many_objects_is_refused(here: Path) -> None:
    for wrong in ({"storage_options": {"a": "b"}}, {"verify_checksum": True}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            spl.scan_parquet("s3://lake/t/", **wrong)
    only: dict[str, Any] = {"use_pyarrow": True, "pyarrow_options": {"filters": [("n", "<", 3)]}}
    with pytest.raises(ConfigurationError, match="pyarrow_options"):
        spl.read_parquet("s3://lake/t/", **only)
    with pytest.raises(ConfigurationError, match="pyarrow_options"):
        spl.write_parquet(pl.DataFrame({"n": [1]}), "s3://lake/w", dataset=True, pyarrow_options={"flavor": "spark"})
    with pytest.raises(ConfigurationError, match="filesystem"):
        spd.read_parquet("s3://lake/t/", filesystem=object())
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        spd.read_parquet("s3://lake/t/", no_such_argument=1)
    with pytest.raises(ObjectExistsError):
        sa.write_dataset(trips(), "s3://lake/t")


@pytest.mark.parametrize("columns", [None, ["n", "city"], ["city"]], ids=str)
def test_a_filter_that_leaves_no_rows_leaves_the_categories_of_partitions(
    lake: Lake, tmp_path: Path, columns: list[str] | None
) -> None:
    frame = pd.DataFrame({"n": [1, 2], "text": ["a", "b"], "city": ["x", "y"], "year": [2013, 2014]})
    frame.to_parquet(tmp_path, partition_cols=["city", "year"])
    spd.to_parquet(frame, "s3://lake/t/", partition_cols=["city", "year"], client=lake.client)
    of_none: Any = [("n", ">", 5)]
    ours = spd.read_parquet("s3://lake/t/", columns=columns, filters=of_none, client=lake.client)
    plain = pd.read_parquet(tmp_path, columns=columns, filters=of_none)
    pdt.assert_frame_equal(ours, plain)
