"""Datasets are written as `pyarrow.dataset.write_dataset` writes them, and every file is whole or not there."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import arrowseal.arrow as sa
from arrowseal import CSE, PLAIN, V2
from arrowseal.exceptions import (
    ConfigurationError,
)
from lake import Lake, named, trips

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HIVE: dict[str, Any] = {"partitioning": ["year", "city"], "partitioning_flavor": "hive"}


def below(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "options",
    [
        {},
        HIVE,
        HIVE | {"max_rows_per_file": 7, "max_rows_per_group": 7},
        {"partitioning": ["city"], "partitioning_flavor": "hive", "basename_template": "trips.{i}.pq"},
        {"max_rows_per_file": 150, "max_rows_per_group": 100},
        {"partitioning": ds.partitioning(pa.schema([("year", pa.int64())]), flavor="hive")},
        {"partitioning": ds.partitioning(pa.schema([("year", pa.int32())]))},
        {"partitioning": ["year"], "partitioning_flavor": "filename"},
    ],
    ids=named,
)
def test_the_files_are_those_that_pyarrow_writes(lake: Lake, tmp_path: Path, options: dict[str, Any]) -> None:
    table = trips().filter(pc.field("year").is_valid()) if "hive" not in str(options) else trips()
    ds.write_dataset(table, tmp_path / "plain", format="parquet", **options)
    written = sa.write_dataset(table, "s3://lake/trips", format="parquet", client=lake.client, **options)
    lake.unseal("trips/", tmp_path / "ours")
    assert below(tmp_path / "ours") == below(tmp_path / "plain")
    for name in below(tmp_path / "plain"):
        assert pq.read_table(tmp_path / "ours" / name, partitioning=None).equals(
            pq.read_table(tmp_path / "plain" / name, partitioning=None)
        )
    assert sorted(written.paths) == [f"s3://lake/trips/{name}" for name in below(tmp_path / "plain")]
    assert written.rows == table.num_rows


@pytest.mark.parametrize("format", ["parquet", "ipc", "orc", "csv", "json"])
def test_every_format_reads_back(lake: Lake, format: str) -> None:  # noqa: A002
    table = trips().select(["n", "text", "year"])
    written = sa.write_dataset(
        table, "s3://lake/t", format=format, partitioning=["year"], max_rows_per_group=20, client=lake.client
    )
    assert len(written.files) == 4
    assert sa.dataset("s3://lake/t", client=lake.client).to_table().sort_by("n").equals(table)


def test_options_of_the_format_are_passed_on(lake: Lake) -> None:
    options = {"compression": "zstd", "use_dictionary": False}
    sa.write_dataset(trips(), "s3://lake/t", file_options=options, client=lake.client)
    chunk = pq.ParquetFile(pa.py_buffer(lake.client.get("s3://lake/t/part-0.parquet"))).metadata.row_group(0).column(0)
    assert chunk.compression == "ZSTD"
    assert not chunk.has_dictionary_page
    sa.write_dataset(trips(), "s3://lake/c", format="csv", file_options={"delimiter": ";"}, client=lake.client)
    assert bytes(lake.client.get("s3://lake/c/part-0.csv")).startswith(b'"n";"x"')


def test_dictionaries_of_several_batches_share_an_ipc_file(lake: Lake) -> None:
    table = pa.concat_tables(pa.table({"kind": pa.array([word]).dictionary_encode()}) for word in "abc")
    sa.write_dataset(table.to_reader(), "s3://lake/t", format="ipc", max_rows_per_group=1, client=lake.client)
    read = sa.dataset("s3://lake/t", client=lake.client).to_table()
    assert read["kind"].to_pylist() == ["a", "b", "c"]
    assert pa.types.is_dictionary(read.schema.field("kind").type)


class OnlyAStream:
    """An object that only speaks Arrow."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)


SOURCES: dict[str, Callable[[pa.Table], Any]] = {
    "table": lambda table: table,
    "batch": lambda table: table.combine_chunks().to_batches()[0],
    "reader": lambda table: table.to_reader(max_chunksize=33),
    "list": lambda table: table.to_batches(max_chunksize=33),
    "pandas": lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
    "polars": lambda table: pl.from_arrow(table),
    "stream": OnlyAStream,
    "dataset": lambda table: ds.dataset(table),
    "scanner": lambda table: ds.dataset(table).scanner(),
    "duckdb": lambda rows: duckdb.sql("select * from rows"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_whatever_speaks_arrow_is_written(lake: Lake, source: str) -> None:
    rows = trips()
    data = SOURCES[source](rows)
    sa.write_dataset(data, "s3://lake/t", partitioning=["year"], client=lake.client)
    read = sa.dataset("s3://lake/t", client=lake.client).to_table().sort_by("n")
    assert read.select(rows.column_names).cast(rows.schema).equals(rows)
    assert not any("view" in str(kind) for kind in read.schema.types)


def test_a_dataset_is_written_anew_from_a_dataset(lake: Lake) -> None:
    sa.write_dataset(trips(), "s3://lake/a", partitioning=["year", "city"], client=lake.client)
    sa.write_dataset(
        sa.dataset("s3://lake/a", client=lake.client), "s3://lake/b", partitioning=["year"], client=lake.client
    )
    read = sa.dataset("s3://lake/b", client=lake.client).to_table().sort_by("n")
    assert read.select(trips().column_names).equals(trips())


def test_an_iterable_needs_a_schema_and_a_schema_picks_and_converts(lake: Lake) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield from trips().to_batches(max_chunksize=50)

    with pytest.raises(ConfigurationError, match="schema="):
        sa.write_dataset(batches(), "s3://lake/t", client=lake.client)
    schema = pa.schema([("year", pa.int64()), ("n", pa.float64())])
    sa.write_dataset(batches(), "s3://lake/t", schema=schema, client=lake.client)
    assert sa.dataset("s3://lake/t", client=lake.client).to_table().equals(trips().select(schema.names).cast(schema))


def test_rows_keep_their_order_in_a_partition(lake: Lake) -> None:
    rows = pa.table({"k": [at * 7 % 5 for at in range(1000)], "n": range(1000)})
    sa.write_dataset(rows.to_reader(max_chunksize=17), "s3://lake/t", partitioning=["k"], client=lake.client)
    for k in range(5):
        read = sa.dataset("s3://lake/t", client=lake.client).to_table(["n"], pc.field("k") == k)
        assert read["n"].to_pylist() == rows.filter(pc.field("k") == k)["n"].to_pylist()


def test_odd_values_of_partitions_find_their_way_back(lake: Lake) -> None:
    text = ["a/b", "a=b", "%20", " ", "..", "é\U0001f600", "-1", None, "x" * 150]
    sa.write_dataset(
        pa.table({"k": text, "n": range(len(text))}), "s3://lake/t", partitioning=["k"], client=lake.client
    )
    schema = pa.schema([("n", pa.int64()), ("k", pa.string())])
    hive = ds.partitioning(pa.schema([("k", pa.string())]), flavor="hive")
    read = sa.dataset("s3://lake/t", schema=schema, partitioning=hive, client=lake.client).to_table().sort_by("n")
    assert read["k"].to_pylist() == text
    numbers = [float("nan"), 0.5, None, float("nan"), -0.0]
    kinds = pa.table({"k": numbers, "n": range(5)})
    written = sa.write_dataset(kinds.to_reader(max_chunksize=1), "s3://lake/f", partitioning=["k"], client=lake.client)
    assert len(written.files) == len(set(written.paths)) == 4
    coded = pa.table({"k": pa.array(["a", None, "b"]).dictionary_encode(), "n": [1, 2, 3]})
    assert len(sa.write_dataset(coded, "s3://lake/d", partitioning=["k"], client=lake.client).files) == 3


@pytest.mark.parametrize("flavor", ["hive", None], ids=["hive", "directory"])
@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array(["01", "1", "20"]), pa.int32()),
        (pa.array(["2013-01-01", None]), pa.date32()),
        (pa.array([5, 6, 5]), pa.string()),
        (pa.array([5, 6, 5]).dictionary_encode(), pa.dictionary(pa.int32(), pa.int64())),
        (pa.array(["a", None, "b"]), pa.dictionary(pa.int32(), pa.string())),
    ],
    ids=str,
)
def test_partitions_are_of_the_types_that_a_partitioning_says(
    lake: Lake, tmp_path: Path, values: pa.Array, kind: pa.DataType, flavor: str | None
) -> None:
    table = pa.table({"k": values, "n": range(len(values))})
    parted = ds.partitioning(pa.schema([("k", kind)]), flavor=flavor)
    ds.write_dataset(table, tmp_path, format="parquet", partitioning=parted)
    sa.write_dataset(table, "s3://lake/t/", partitioning=parted, client=lake.client)
    assert [key.removeprefix("t/") for key in lake.keys] == below(tmp_path)
    assert sa.dataset("s3://lake/t/", client=lake.client).to_table().num_rows == len(values)


def test_times_of_partitions_that_differ_by_nanoseconds_are_different_partitions(lake: Lake) -> None:
    rows = pa.table({"k": pa.array([1, 2, 1001], pa.time64("ns")), "n": [1, 2, 3]})
    written = sa.write_dataset(rows, "s3://lake/t", partitioning=["k"], client=lake.client)
    assert [file.rows for file in written.files] == [1, 1, 1]


@pytest.mark.parametrize("kind", [pa.int64(), pa.string()])
@pytest.mark.parametrize("name", ["a/b", "a=b", "a%20b", "a%2520b", "line\nbreak", "São Paulo", "50 %"])
def test_odd_names_of_partition_columns_find_their_way_back(lake: Lake, name: str, kind: pa.DataType) -> None:
    rows = pa.table({name: pa.array([1, 2, None]).cast(kind), "n": [1, 2, 3]})
    written = sa.write_dataset(rows, "s3://lake/t", partitioning=[name], client=lake.client)
    hive = ds.partitioning(rows.select([name]).schema, flavor="hive")
    for partitioning in ("hive", hive):
        read = sa.dataset("s3://lake/t", partitioning=partitioning, client=lake.client).to_table().sort_by("n")
        assert read[name].cast(kind).equals(rows[name])
    replaced = sa.write_dataset(
        rows, "s3://lake/t", partitioning=[name], mode="overwrite_partitions", client=lake.client
    )
    assert sorted(map(str, replaced.deleted)) == sorted(str(file.location) for file in written.files)


@pytest.mark.parametrize(
    "source",
    [
        lambda empty: empty,
        lambda empty: pa.RecordBatch.from_pylist([], empty.schema),
        lambda empty: pl.from_arrow(empty),
        lambda empty: OnlyAStream(pa.table(pl.from_arrow(empty))),
        lambda empty: [empty, empty],
    ],
    ids=["table", "batch", "polars", "stream of an empty batch", "list"],
)
@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_dataset_without_rows_keeps_its_columns(lake: Lake, source: Callable[[pa.Table], Any], mode: Any) -> None:
    empty = trips(0)
    (file,) = sa.write_dataset(source(empty), "s3://lake/t", mode=mode, client=lake.client).files
    assert file.rows == 0
    assert sa.dataset("s3://lake/t", schema=empty.schema, client=lake.client).to_table().equals(empty)
    assert sa.dataset("s3://lake/t", client=lake.client).schema.names == empty.column_names
    assert sa.write_dataset(source(empty), "s3://lake/p", partitioning=["year"], client=lake.client).files == ()


def test_what_was_written_is_a_frame(lake: Lake) -> None:
    seen: list[sa.WrittenFile] = []
    written = sa.write_dataset(
        trips(), "s3://lake/t", partitioning=["year"], file_visitor=seen.append, client=lake.client
    )
    assert sorted(file.path for file in seen) == sorted(written.paths)
    assert all(file.metadata.num_rows == file.rows == 100 for file in seen)
    assert seen[0].metadata.row_group(0).column(0).file_path == seen[0].path
    assert written.partitions_values["s3://lake/t/year=2013/"] == ["2013"]
    frame = written.to_pandas()
    assert frame["rows"].sum() == 400
    assert set(frame["encryption"]) == {"CSE V3"}
    assert frame["path"].tolist() == written.paths
    assert written.to_polars().equals(pl.DataFrame(written))
    assert pa.table(written).num_rows == len(written) == len(list(written)) == 4
    assert repr(written) == "<WrittenDataset: 4 files, 400 rows>"
    assert "year=2013" in written._repr_html_()
    stored = {f"s3://lake/{key}": lake.s3.server.objects[f"/lake/{key}"] for key in lake.keys}
    assert {file.path: file.result.etag for file in written} == {path: one.etag for path, one in stored.items()}
    assert [file.size for file in written] == [file.result.stored_bytes - 16 for file in written]


def test_one_data_key_serves_the_files_of_a_call_and_one_decrypt_their_readers(lake: Lake) -> None:
    rows = pa.table({"k": [at // 10 for at in range(300)], "n": range(300)})
    sa.write_dataset(rows, "s3://lake/t", partitioning=["k"], max_rows_per_file=1, client=lake.client)
    assert len(lake.keys) == 300
    assert lake.kms_calls("GenerateDataKey") == 1
    reader = lake.make_client()
    assert sa.dataset("s3://lake/t", client=reader).to_table().sort_by("n")["n"].to_pylist() == list(range(300))
    assert lake.kms_calls("Decrypt") == 1
    ivs = {stored.headers["x-amz-meta-x-amz-i"] for stored in lake.s3.server.objects.values()}
    assert len(ivs) == 300


def test_under_v2_each_file_has_its_own_data_key(lake: Lake) -> None:
    client = lake.make_client(format=V2, commitment_policy="FORBID_ENCRYPT_ALLOW_DECRYPT")
    sa.write_dataset(trips(), "s3://lake/t", partitioning=["year"], encryption=CSE(format=V2), client=client)
    assert lake.kms_calls("GenerateDataKey") == 4


def test_plain_files_are_written_when_it_is_said(lake: Lake) -> None:
    sa.write_dataset(trips(), "s3://lake/t", encryption=PLAIN, client=lake.client)
    assert lake.kms.calls == []
    assert lake.s3.server.objects["/lake/t/part-0.parquet"].body.startswith(b"PAR1")


def test_arguments_of_s3_go_along(lake: Lake) -> None:
    extra = {"Metadata": {"team": "rides"}, "ContentType": "application/x-parquet"}
    sa.write_dataset(trips(), "s3://lake/t", partitioning=["year"], s3_additional_kwargs=extra, client=lake.client)
    for stored in lake.s3.server.objects.values():
        assert stored.headers["x-amz-meta-team"] == "rides"
        assert stored.headers["content-type"] == "application/x-parquet"


def test_many_files_are_at_work_at_a_time_and_no_more_than_that(lake: Lake) -> None:
    most, now, lock = 0, 0, threading.Lock()

    def slow(method: str, *_: object) -> None:
        nonlocal most, now
        if method == "PUT":
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.02)
            with lock:
                now -= 1

    rows = pa.table({"k": range(80), "n": range(80)})
    lake.s3.rule = slow  # type: ignore[assignment]
    sa.write_dataset(rows, "s3://lake/t", partitioning=["k"], use_threads=6, client=lake.client)
    assert 3 <= most <= 6
    most = 0
    sa.write_dataset(rows, "s3://lake/u", partitioning=["k"], use_threads=False, client=lake.client)
    assert most == 1
    lake.s3.reset()


def test_no_more_files_are_open_than_allowed(lake: Lake) -> None:
    rows = pa.table({"k": [at % 10 for at in range(1000)], "n": range(1000)})
    written = sa.write_dataset(
        rows.to_reader(max_chunksize=50),
        "s3://lake/t",
        partitioning=["k"],
        max_open_files=2,
        max_rows_per_group=5,
        client=lake.client,
    )
    assert len(written.files) > 100
    assert sa.dataset("s3://lake/t", client=lake.client).count_rows() == 1000


def test_rows_that_wait_are_bounded(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arrowseal.tables.dataset_writer.WAITING_BYTES", 2**14)
    monkeypatch.setattr("arrowseal.tables.dataset_write.AT_WORK_BYTES", 2**14)
    given = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal given
        for at in range(200):
            given += 1
            yield pa.record_batch({"k": [at % 3] * 100, "n": range(at * 100, at * 100 + 100)})

    def gate(method: str, path: str, _: object) -> None:
        assert given == 200 or method != "PUT"

    lake.s3.rule = gate  # type: ignore[assignment]
    schema = pa.schema([("k", pa.int64()), ("n", pa.int64())])
    written = sa.write_dataset(batches(), "s3://lake/t", schema=schema, partitioning=["k"], client=lake.client)
    assert [file.rows for file in written] == [6700, 6700, 6600]
    groups = [file.metadata.num_row_groups for file in written]
    assert min(groups) > 5
    assert sa.dataset("s3://lake/t", client=lake.client).count_rows() == 20_000


def test_a_write_is_one_operation_and_one_progress(lake: Lake) -> None:
    told: list[tuple[int, int | None, str]] = []
    sa.write_dataset(
        trips(),
        "s3://lake/t",
        partitioning=["year"],
        progress=lambda done, total, location: told.append((done, total, str(location))),
        client=lake.client,
    )
    (row,) = lake.client.counters
    assert (row.operation, row.key, row.rows, row.file_type) == ("write_dataset", "t/", 400, "parquet")
    assert (row.requests, row.kms_calls, row.encryption) == (5, 1, "CSE V3")
    stored = sum(len(one.body) for one in lake.s3.server.objects.values())
    assert row.stored_bytes == stored
    assert told[0] == (0, None, "s3://lake/t/")
    assert told[-1] == (stored, None, "s3://lake/t/")
