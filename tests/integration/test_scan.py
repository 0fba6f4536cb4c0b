"""Scans: Arrow streams of encrypted objects, fetched anew by each consumer."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import arrowseal.arrow as sa
from arrowseal import Client
from arrowseal.exceptions import ColumnNotFoundError, ConfigurationError, NotATableError, ObjectNotFoundError
from arrowseal.tables.scan import Scan
from read_log import ReadLog

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 100_000
TABLE = pa.table(
    {"n": np.arange(ROWS), "x": np.random.default_rng(1).random(ROWS), "text": [f"row {n}" for n in range(ROWS)]}
)
NAMES = {"a.parquet": {"row_group_size": 10_000, "compression": "none"}, "a.arrow": {}, "a.orc": {}, "a.csv": {}}


@pytest.fixture(params=list(NAMES))
def url(request: pytest.FixtureRequest, resident: Client, lake: str) -> str:
    sa.write_table(TABLE, f"s3://{lake}/{request.param}", client=resident, **NAMES[request.param])
    return f"s3://{lake}/{request.param}"


@pytest.fixture
def parquet(resident: Client, lake: str) -> str:
    sa.write_table(TABLE, f"s3://{lake}/a.parquet", client=resident, **NAMES["a.parquet"])
    return f"s3://{lake}/a.parquet"


def by_duckdb(scan: Scan) -> pa.Table:
    return duckdb.sql("SELECT n, x FROM scan").to_arrow_table()


CONSUMERS: dict[str, Callable[[Any], Any]] = {
    "pyarrow": pa.table,
    "to_table": lambda scan: scan.to_table(),
    "reader": lambda scan: pa.RecordBatchReader.from_stream(scan).read_all(),
    "polars": pl.DataFrame,
    "polars lazy": lambda scan: pl.scan_arrow_c_stream(scan).select("n", "x").collect(),
    "pandas": getattr(pd.DataFrame, "from_arrow", lambda scan: pa.table(scan).to_pandas()),  # of pandas 3
    "duckdb": by_duckdb,
}


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_every_library_consumes_a_scan_again_and_again(consumer: str, url: str, resident: Client) -> None:
    scan = sa.scan(url, columns=["n", "x"], client=resident)
    for _ in range(2):
        assert (
            pa.table(CONSUMERS[consumer](scan)).cast(TABLE.select(["n", "x"]).schema).equals(TABLE.select(["n", "x"]))
        )


def test_a_scan_requests_nothing_until_it_is_consumed_and_each_stream_is_one_operation(
    parquet: str, resident: Client
) -> None:
    resident.counters.clear()
    scan = sa.scan(parquet, columns=["n"], client=resident)
    assert repr(scan) == f"<Scan {parquet}, parquet: n>"
    assert len(resident.counters) == 0
    for _ in range(2):
        pa.table(scan)
    assert [(record.operation, record.file_type, record.rows) for record in resident.counters] == [
        ("scan", "parquet", ROWS)
    ] * 2


def test_the_schema_costs_the_footer_and_says_what_comes(
    parquet: str, resident: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = ReadLog(monkeypatch, resident)
    scan = sa.scan(parquet, columns=["x", "n"], filters=[("text", "==", "row 7")], client=resident)
    assert scan.schema.names == ["x", "n"]
    assert len(log.asked) == 1
    assert scan.to_table().to_pydict() == {"x": [TABLE["x"][7].as_py()], "n": [7]}


def test_a_large_table_comes_in_waves_and_who_stops_early_fetches_no_more(
    resident: Client, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pa, "cpu_count", lambda: 2)  # each of which has a part in work
    noise = pa.table({f"c{number}": np.random.default_rng(number).random(ROWS) for number in range(16)})
    written = sa.write_table(noise, f"s3://{lake}/a.parquet", row_group_size=ROWS // 20, client=resident)
    monkeypatch.setattr("arrowseal.tables.parquet_decoding.WAVE_BYTES", written.plaintext_bytes // 10)
    log = ReadLog(monkeypatch, resident)
    scan = sa.scan(f"s3://{lake}/a.parquet", client=resident)
    reader = scan.to_reader()
    assert reader.read_next_batch().num_rows <= ROWS // 10
    del reader
    assert log.bytes < written.plaintext_bytes / 3, log.asked
    assert scan.to_table().equals(noise)


def test_a_scan_sees_the_object_of_its_time(parquet: str, resident: Client) -> None:
    scan = sa.scan(parquet, client=resident)
    assert scan.to_table().num_rows == ROWS
    sa.write_table(pa.table({"other": ["x"]}), parquet, client=resident)
    assert scan.to_table().to_pydict() == {"other": ["x"]}


def test_errors_of_a_scan_are_those_of_a_read(parquet: str, resident: Client, lake: str) -> None:
    with pytest.raises(ObjectNotFoundError):
        sa.scan(f"s3://{lake}/none.parquet", client=resident).to_table()
    with pytest.raises(ColumnNotFoundError, match="'zz'"):
        sa.scan(parquet, columns=["n", "zz"], client=resident).to_table()
    with pytest.raises(ColumnNotFoundError, match="'zz'"):
        sa.scan(parquet, filters=[("zz", "==", 1)], client=resident).to_table()
    resident.put(f"s3://{lake}/text.parquet", b"a,b\n1,2\n")
    with pytest.raises(NotATableError):
        sa.scan(f"s3://{lake}/text.parquet", client=resident).to_table()
    with pytest.raises(TypeError, match="'separatorr'"):
        sa.scan(parquet, client=resident, separatorr=";")
    with pytest.raises(ConfigurationError, match="says no table format"):
        sa.scan(f"s3://{lake}/a", client=resident)


def test_a_scan_travels_as_what_it_was_told(parquet: str, resident: Client) -> None:
    scan = sa.scan(parquet, columns=["n"], filters=[("n", "<", 3)], client=resident)
    state = scan.__getstate__()
    again = Scan.__new__(Scan)
    again.__setstate__(state)
    assert again.to_table().to_pydict() == {"n": [0, 1, 2]}
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(scan)  # its client was given a session
