"""DuckDB over `s3cse://`: SQL on single objects, patterns and hive partitions; and COPY."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from seen import keys, requests, tamper

from arrowseal.fs import S3CseFileSystem, SealedFileSystem

if TYPE_CHECKING:
    from broken_servers import BrokenServers

    from arrowseal import Client

duckdb = pytest.importorskip("duckdb")

TABLE = pa.table({"n": range(1000), "k": ["x", "y"] * 500, "v": [n / 8 for n in range(1000)]})


@pytest.fixture
def connection(resident: Client, servers: BrokenServers) -> Any:
    connection = duckdb.connect()
    connection.register_filesystem(S3CseFileSystem(client=resident))
    yield connection
    connection.close()


@pytest.fixture
def url(resident: Client, lake: str) -> str:
    """A partitioned dataset."""
    pq.write_to_dataset(TABLE, f"{lake}/t", filesystem=SealedFileSystem(resident), partition_cols=["k"])
    return f"s3cse://{lake}/t"


def test_an_object_is_queried_by_its_url(connection: Any, lake: str, resident: Client) -> None:
    pq.write_table(TABLE, f"{lake}/t.parquet", filesystem=SealedFileSystem(resident), row_group_size=100)
    query = f"select k, count(*), sum(v) from 's3cse://{lake}/t.parquet' where n < 250 group by k order by k"
    assert connection.sql(query).fetchall() == [("x", 125, 124 * 125 / 8), ("y", 125, 125 * 125 / 8)]


def test_patterns_and_partitions_are_queried(connection: Any, url: str, servers: BrokenServers) -> None:
    assert connection.sql(f"select count(*) from '{url}/*/*.parquet'").fetchall() == [(1000,)]
    requests(servers)
    source = f"read_parquet('{url}/**/*.parquet', hive_partitioning=true)"
    assert connection.sql(f"select max(n), k from {source} where k = 'x' group by k").fetchall() == [(998, "x")]
    opened = {seen.path.split("/")[3] for seen in servers.s3.log if seen.operation == "GetObject"}
    assert opened == {"k%3Dx"}  # its schema is that of the first file, so that y need not be looked at


def test_projection_and_predicate_reach_the_ranges(
    connection: Any, lake: str, resident: Client, servers: BrokenServers
) -> None:
    wide = pa.table({f"c{at}": np.random.default_rng(at).random(60_000) for at in range(20)} | {"n": range(60_000)})
    path = f"{lake}/wide.parquet"
    pq.write_table(wide, path, filesystem=SealedFileSystem(resident), compression="none", row_group_size=10_000)
    resident.index(f"s3://{path}")
    size = len(servers.s3.server.objects[f"/{path}"].body)
    requests(servers)
    assert connection.sql(f"select count(c3) from 's3cse://{path}' where n < 5").fetchall() == [(5,)]
    ranges = [
        seen.headers["Range"].removeprefix("bytes=").split("-")
        for seen in servers.s3.log
        if seen.operation == "GetObject" and "_arrowseal" not in seen.path
    ]
    fetched = sum(int(end) - int(start) + 1 if start else int(end) for start, end in ranges)
    opened = sum(1 for start, _ in ranges if not start)
    assert fetched - opened * 2**18 < size / 20, (fetched, opened, size)
    assert servers.s3.count("HeadObject") <= 2


def test_a_dataset_of_pyarrow_is_queried_by_duckdb_and_polars(
    url: str, resident: Client, servers: BrokenServers
) -> None:
    polars = pytest.importorskip("polars")
    dataset = ds.dataset(url, filesystem=SealedFileSystem(resident), partitioning="hive")
    rows = duckdb.sql("select sum(n), k from dataset where n < 10 group by k order by k").fetchall()
    assert rows == [(20, "x"), (25, "y")]
    lazy = polars.scan_pyarrow_dataset(dataset).filter(polars.col("n") < 10).select(polars.col("n").sum())
    assert lazy.collect().item() == 45


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "json", "parquet"])
def test_what_copy_writes_is_read_back_and_written_anew(
    connection: Any, lake: str, servers: BrokenServers, suffix: str
) -> None:
    path = f"s3cse://{lake}/out.{suffix}"
    for rows in (1000, 10):
        connection.sql(f"copy (select range n, 'text' || range t from range({rows})) to '{path}'")
        assert connection.sql(f"select count(*), sum(n), max(t) from '{path}'").fetchall() == [
            (rows, rows * (rows - 1) // 2, f"text{min(rows - 1, 999) if rows == 1000 else 9}")
        ]
    assert [key for key in keys(servers, lake) if "_arrowseal" not in key] == [f"out.{suffix}"]


def test_a_file_whose_name_looks_like_a_pattern_is_written_anew(
    connection: Any, lake: str, servers: BrokenServers
) -> None:
    for number in (1, 2):
        connection.sql(f"copy (select {number} n) to 's3cse://{lake}/m[1].parquet'")
    assert [key for key in keys(servers, lake) if "_arrowseal" not in key] == ["m[1].parquet"]


def test_what_duckdb_leaves_to_a_finalizer_is_given_up_and_told(connection: Any, lake: str) -> None:
    connection.sql("create table numbers as select range n from range(3)")
    with pytest.warns(RuntimeWarning, match=r"schema\.sql: dropped and not closed"):
        connection.execute(f"export database 's3cse://{lake}/all' (format parquet)")


def test_copy_writes_partitions(connection: Any, lake: str) -> None:
    connection.sql(
        f"copy (select range n, range % 3 p from range(30)) to 's3cse://{lake}/new' (format parquet, partition_by p)"
    )
    source = f"read_parquet('s3cse://{lake}/new/*/*.parquet', hive_partitioning=true)"
    assert connection.sql(f"select p, count(*) from {source} group by p order by p").fetchall() == [
        (0, 10),
        (1, 10),
        (2, 10),
    ]


def test_a_copy_that_fails_leaves_no_object(connection: Any, lake: str, servers: BrokenServers) -> None:
    with pytest.raises(duckdb.Error):
        connection.sql(
            f"copy (select case when range = 900000 then error('no') else range end from range(1000000)) "
            f"to 's3cse://{lake}/a.parquet'"
        )
    assert [key for key in keys(servers, lake) if key.endswith("a.parquet")] == []


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
@pytest.mark.parametrize("at", [0, 100, -1])
def test_what_was_changed_is_refused(connection: Any, lake: str, servers: BrokenServers, suffix: str, at: int) -> None:
    path = f"{lake}/out.{suffix}"
    connection.sql(f"copy (select range n, 'text' || range t from range(1000)) to 's3cse://{path}'")
    tamper(servers, path, at)
    with pytest.raises(duckdb.Error, match="AuthenticationError: s3://"):  # it passes classes on by their names
        connection.sql(f"select * from 's3cse://{path}'").fetchall()


def test_a_file_that_grew_is_read_with_its_new_size(connection: Any, lake: str, resident: Client) -> None:
    for rows in (10, 1000):
        table = pa.table({"n": range(rows)})
        pq.write_table(table, f"{lake}/t.parquet", filesystem=SealedFileSystem(resident))
        assert connection.sql(f"select count(*), max(n) from 's3cse://{lake}/t.parquet'").fetchall() == [
            (rows, rows - 1)
        ]


def test_a_missing_object_is_an_error_of_its_own_kind(connection: Any, lake: str) -> None:
    with pytest.raises((FileNotFoundError, duckdb.IOException)):
        connection.sql(f"select * from 's3cse://{lake}/none.parquet'")
