"""Every type by ranges: tables of encrypted objects are those of the plain file, in pyarrow, pandas and polars."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd
import pandas.testing as pdt
import polars as pl
import polars.testing as plt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

import arrowseal.arrow as sa
import arrowseal.pandas as spd
import arrowseal.polars as spl
from arrowseal import Client
from arrowseal.exceptions import NotATableError
from arrowseal.objects import EncryptedObject

if TYPE_CHECKING:
    from pathlib import Path


def rich(rows: int) -> pa.Table:
    """Every kind of type, with nulls."""
    at = range(rows)
    columns: dict[str, pa.Array] = {
        "n": pa.array(at, pa.int64()),
        "small": pa.array([None if n % 3 == 0 else n % 100 for n in at], pa.int8()),
        "x": pa.array([None if n % 4 == 0 else float("nan") if n % 4 == 1 else n / 7 for n in at], pa.float64()),
        "single": pa.array([n / 3 for n in at], pa.float32()),
        "text": pa.array([None if n % 5 == 0 else f"té{n % 50}" for n in at], pa.string()),
        "large": pa.array([f"{n}" for n in at], pa.large_string()),
        "kind": pa.array([None if n % 6 == 0 else "xyz"[n % 3] for n in at], pa.string()).dictionary_encode(),
        "money": pa.array([None if n % 7 == 0 else Decimal(n) / 100 for n in at], pa.decimal128(12, 2)),
        "zone": pa.array([None if n % 8 == 0 else n * 10**9 for n in at], pa.timestamp("us", "America/New_York")),
        "nanos": pa.array([n * 10**9 + 7 for n in at], pa.timestamp("ns")),
        "day": pa.array([None if n % 9 == 0 else n for n in at], pa.date32()),
        "clock": pa.array(list(at), pa.time64("us")),
        "span": pa.array(list(at), pa.duration("us")),
        "yes": pa.array([None if n % 10 == 0 else n % 2 == 0 for n in at], pa.bool_()),
        "data": pa.array([None if n % 11 == 0 else bytes([n % 256]) for n in at], pa.binary()),
        "list": pa.array([None if n % 12 == 0 else [n, None] for n in at], pa.list_(pa.int64())),
        "struct": pa.array(
            [None if n % 13 == 0 else {"a": n, "b": [{"c": str(n)}]} for n in at],
            pa.struct([("a", pa.int64()), ("b", pa.list_(pa.struct([("c", pa.string())])))]),
        ),
        "nothing": pa.nulls(rows),
    }
    return pa.table(columns)


TABLES = {"empty": rich(0), "one": rich(1), "many": rich(2_000)}
CHOICES: list[list[str]] = [[name] for name in TABLES["one"].column_names] + [
    ["struct", "n"],
    ["yes", "kind", "x"],
    TABLES["one"].column_names,
]
FILTERS: list[Any] = [
    None,
    [("n", ">=", 990), ("n", "<", 1010)],
    [[("text", "==", "té7")], [("yes", "==", True)]],
    (pc.field("zone") > pa.scalar(900 * 10**9, pa.timestamp("us", "America/New_York"))) | pc.field("day").is_null(),
    ~pc.field("x").is_nan() & (pc.field("x") > 100),
    pc.field("money") == Decimal("5.55"),
    pc.field("struct", "a") > 1500,
]


@pytest.fixture(scope="module")
def matrix(resident: Client) -> dict[str, tuple[str, bytes]]:
    """Each table as an object, by a URL and its content."""
    stored = {}
    for name, table in TABLES.items():
        sink = io.BytesIO()
        pq.write_table(table, sink, row_group_size=300, compression="none")
        stored[name] = (f"s3://matrix/{name}.parquet", sink.getvalue())
        resident.put(stored[name][0], stored[name][1])
    return stored


@pytest.fixture(params=list(TABLES))
def case(request: pytest.FixtureRequest, matrix: dict[str, tuple[str, bytes]]) -> tuple[str, bytes]:
    return matrix[request.param]


@pytest.fixture
def by_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small objects as well: as if they were not held."""
    monkeypatch.setattr(EncryptedObject, "in_memory", False)


@pytest.mark.usefixtures("by_ranges")
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_arrow_and_pandas_find_what_they_find_in_the_plain_file(
    case: tuple[str, bytes], filters: Any, resident: Client
) -> None:
    url, content = case
    for columns in [*CHOICES, None]:
        plain = pq.read_table(io.BytesIO(content), columns=columns, filters=filters)
        read = sa.read_table(url, columns=columns, filters=filters, client=resident)
        assert read.schema == plain.schema
        assert repr(read.to_pylist()) == repr(plain.to_pylist())
        scanned = pa.table(sa.scan(url, columns=columns, filters=filters, client=resident))
        assert repr(scanned.to_pylist()) == repr(plain.to_pylist())
        frame = spd.read_parquet(url, columns=columns, filters=filters, client=resident)
        pdt.assert_frame_equal(frame, pd.read_parquet(io.BytesIO(content), columns=columns, filters=filters))


@pytest.mark.usefixtures("by_ranges")
@pytest.mark.parametrize("filters", [pc.field(0) < 2, pc.field("back") > pc.field(0), pc.field(2) == "c"], ids=str)
def test_a_filter_by_position_means_the_columns_of_the_file_whichever_are_asked_for(
    filters: pc.Expression, resident: Client, lake: str
) -> None:
    table = pa.table({"n": range(10), "back": range(9, -1, -1), "text": list("abcdefghij")})
    content, url = io.BytesIO(), f"s3://{lake}/a.parquet"
    pq.write_table(table, content, row_group_size=4)
    resident.put(url, content.getvalue())
    for columns in (["back"], ["text"], ["text", "n"], None):
        plain = pq.read_table(content, columns=columns, filters=filters)
        assert sa.read_table(url, columns=columns, filters=filters, client=resident).equals(plain)
        assert sa.scan(url, columns=columns, filters=filters, client=resident).to_table().equals(plain)


@pytest.mark.parametrize("filters", [None, [("n", "<", 700)]], ids=str)
def test_a_table_of_no_columns_has_its_rows(
    case: tuple[str, bytes], filters: Any, resident: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, content = case
    for name in ("WAVE_BYTES", "TURN_BYTES"):  # a filter reads its columns in many waves
        monkeypatch.setattr(f"arrowseal.tables.parquet_decoding.{name}", 2**12)
    plain = pq.read_table(io.BytesIO(content), columns=[], filters=filters)
    assert sa.read_table(url, columns=[], filters=filters, client=resident).equals(plain)
    assert sa.scan(url, columns=[], filters=filters, client=resident).to_table().equals(plain)


@pytest.mark.usefixtures("by_ranges")
def test_a_column_that_is_asked_for_twice_is_there_twice(case: tuple[str, bytes], resident: Client) -> None:
    url, content = case
    for columns in (["n", "n"], ["text", "n", "text"]):
        plain = pq.read_table(io.BytesIO(content), columns=columns)
        assert sa.read_table(url, columns=columns, client=resident).equals(plain)
        assert sa.scan(url, columns=columns, client=resident).to_table().equals(plain)


@pytest.mark.parametrize("held", [True, False], ids=["in memory", "by ranges"])
def test_columns_of_one_name_in_an_ipc_file_come_together(
    held: bool, resident: Client, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EncryptedObject, "in_memory", held)
    table = pa.Table.from_arrays([pa.array([1, 2]), pa.array([3, 4]), pa.array([5, 6])], names=["a", "b", "a"])
    sink, url = pa.BufferOutputStream(), f"s3://{lake}/a.arrow"
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    resident.put(url, sink.getvalue())
    assert sa.read_table(url, columns=["a"], client=resident).equals(table.select([0, 2]))
    assert sa.read_table(url, columns=["b", "a", "b"], client=resident).equals(table.select([1, 0, 2, 1]))


@pytest.mark.filterwarnings("ignore:Feather V1:DeprecationWarning")
@pytest.mark.usefixtures("by_ranges")
def test_columns_of_the_first_format_of_feather_are_read_as_a_whole(resident: Client, lake: str) -> None:
    content, url = io.BytesIO(), f"s3://{lake}/a.feather"
    feather.write_feather(pa.table({"n": [1, 2], "text": ["a", "b"]}), content, version=1)
    resident.put(url, content.getvalue())
    for columns in (["text"], None):
        plain = pd.read_feather(io.BytesIO(content.getvalue()), columns=columns)
        pdt.assert_frame_equal(spd.read_feather(url, columns=columns, client=resident), plain)


@pytest.mark.usefixtures("by_ranges")
def test_the_index_of_pandas_comes_with_the_columns_also_of_filtered_rows(resident: Client, lake: str) -> None:
    frame = pd.DataFrame({"a": range(100), "b": range(100)}, index=pd.Index([f"i{n}" for n in range(100)], name="i"))
    content, url = io.BytesIO(), f"s3://{lake}/a.parquet"
    frame.to_parquet(content, row_group_size=10)
    resident.put(url, content.getvalue())
    for filters in (None, [("a", ">", 95)], pc.field(0) > 95):
        options: dict[str, Any] = {"columns": ["b"], "filters": filters, "use_pandas_metadata": True}
        plain = pq.read_table(content, **options)
        assert sa.read_table(url, **options, client=resident).equals(plain)
        assert sa.scan(url, **options, client=resident).to_table().equals(plain)


PREDICATES: list[pl.Expr | None] = [
    None,
    pl.col("n").is_between(990, 1010),
    (pl.col("text") == "té7") | pl.col("yes"),
    pl.col("x") > 100,
    pl.col("kind") == "x",
    pl.col("money") > Decimal("15.5"),
    pl.col("nanos") > dt.datetime(1970, 1, 1, 0, 25),
    pl.col("day").is_null(),
    pl.col("zone").dt.hour() == 3,
    pl.col("struct").struct.field("a") > 1500,
]


@pytest.mark.usefixtures("by_ranges")
@pytest.mark.parametrize("predicate", PREDICATES, ids=str)
def test_polars_finds_what_it_finds_in_the_plain_file(
    case: tuple[str, bytes], predicate: pl.Expr | None, resident: Client
) -> None:
    url, content = case
    for columns in CHOICES:
        whole, lazy = pl.scan_parquet(content), spl.scan_parquet(url, client=resident)
        if predicate is not None:
            whole, lazy = whole.filter(predicate), lazy.filter(predicate)
        for engine in ("in-memory", "streaming"):
            plt.assert_frame_equal(
                lazy.select(columns).collect(engine=engine),  # type: ignore[call-overload]
                whole.select(columns).collect(),
            )
        if predicate is None:
            plt.assert_frame_equal(
                spl.read_parquet(url, columns=columns, client=resident), pl.read_parquet(content, columns=columns)
            )


@pytest.mark.usefixtures("by_ranges")
def test_fields_of_nested_columns_and_an_index_of_pandas(resident: Client, lake: str) -> None:
    url = f"s3://{lake}/a.parquet"
    sa.write_table(TABLES["many"].select(["n", "struct"]), url, row_group_size=100, client=resident)
    read = sa.read_table(url, columns=["struct.a", "n"], client=resident)
    assert read["struct"][1].as_py() == {"a": 1}
    frame = pd.DataFrame({"a": range(100), "b": range(100)}, index=pd.Index([f"i{n}" for n in range(100)], name="i"))
    spd.to_parquet(frame, url, row_group_size=10, client=resident)
    pdt.assert_frame_equal(spd.read_parquet(url, columns=["b"], client=resident), frame[["b"]])
    pdt.assert_frame_equal(
        spd.read_parquet(url, columns=["b"], filters=[("a", ">", 95)], client=resident), frame[["b"]][96:]
    )


@pytest.mark.usefixtures("by_ranges")
def test_nan_is_the_greatest_number_to_polars_though_statistics_do_not_count_it(resident: Client, lake: str) -> None:
    url = f"s3://{lake}/a.parquet"
    frame = pl.DataFrame({"x": [0.0, float("nan"), 1.0, 2.0, 3.0, 4.0]})
    spl.write_parquet(frame, url, row_group_size=2, client=resident)
    for predicate in (pl.col("x") > 3, pl.col("x") != 0, pl.col("x") >= 4, ~(pl.col("x") < 4)):
        plt.assert_frame_equal(
            spl.scan_parquet(url, client=resident).filter(predicate).collect(), frame.filter(predicate)
        )


@pytest.mark.usefixtures("by_ranges")
def test_filters_that_polars_hands_to_arrow_as_something_else_lose_no_rows(resident: Client, lake: str) -> None:
    url = f"s3://{lake}/zones/a.parquet"
    hours = pl.datetime_range(dt.datetime(2020, 7, 1), dt.datetime(2020, 7, 2), "1h", time_zone="UTC", eager=True)
    frame = pl.DataFrame({"utc": hours, "x": [-0.0, 0.0, 1.0, 2.0, 3.0] * 5}).with_columns(
        west=pl.col("utc").dt.convert_time_zone("America/New_York"),
        east=pl.col("utc").dt.convert_time_zone("Asia/Tokyo"),
    )
    spl.write_parquet(frame, url, row_group_size=5, client=resident)
    predicates = [pl.col("x").is_in([0.0]), pl.col("x").is_in([-0.0, 7.0])]
    for name in ("utc", "west", "east"):
        moment = frame[name][12]
        predicates += [pl.col(name) == moment, pl.col(name) > moment, pl.col(name) < moment]
        predicates += [pl.col(name).is_in([moment]), pl.col(name).is_between(moment, frame[name][20])]
    for predicate in predicates:
        expected = frame.filter(predicate)
        assert len(expected)
        for source in (url, f"s3://{lake}/zones/"):
            plt.assert_frame_equal(spl.scan_parquet(source, client=resident).filter(predicate).collect(), expected)


@pytest.mark.usefixtures("by_ranges")
def test_types_that_pyarrow_does_not_know_are_left_to_polars(resident: Client, lake: str) -> None:
    url = f"s3://{lake}/a.parquet"
    frame = pl.DataFrame({"huge": pl.Series([2**100, None, -1], dtype=pl.Int128), "n": [1, 2, 3]})
    spl.write_parquet(frame, url, client=resident)
    plt.assert_frame_equal(spl.read_parquet(url, columns=["huge"], client=resident), frame.select("huge"))
    lazy = spl.scan_parquet(url, client=resident)
    plt.assert_frame_equal(lazy.filter(pl.col("n") > 1).collect(), frame.filter(pl.col("n") > 1))
    with pytest.raises(NotATableError, match=r"a\.parquet cannot be read as parquet here: .*128 bits"):
        spl.read_parquet([url], client=resident)
    spl.write_ipc(frame, url, client=resident)
    plt.assert_frame_equal(spl.read_ipc(url, columns=["n"], client=resident), frame.select("n"))


@pytest.mark.usefixtures("by_ranges")
@pytest.mark.parametrize("kind", [pl.Categorical, pl.Enum(["x", "y"])], ids=["categorical", "enum"])
def test_categories_within_lists_and_structs_are_scanned_in_ipc_files(kind: Any, resident: Client, lake: str) -> None:
    of_types = {"n": pl.Int64, "list": pl.List(kind), "struct": pl.Struct({"c": kind}), "array": pl.Array(kind, 1)}
    rows = [{"n": n, "list": ["x"] * n, "struct": {"c": "xy"[n % 2]}, "array": [None]} for n in range(5)]
    for frame in (pl.DataFrame(rows, of_types), pl.DataFrame(schema=of_types)):
        sink = io.BytesIO()
        frame.write_ipc(sink, record_batch_size=2)
        resident.put(f"s3://{lake}/a.arrow", sink.getvalue())
        lazy = spl.scan_ipc(f"s3://{lake}/a.arrow", client=resident)
        assert lazy.collect_schema() == frame.schema
        plt.assert_frame_equal(lazy.collect(), frame)
        plt.assert_frame_equal(lazy.select("struct", "list").collect(), frame.select("struct", "list"))
        plt.assert_frame_equal(lazy.filter(pl.col("n") > 1).slice(1, 2).collect(), frame[2:].slice(1, 2))


@pytest.mark.parametrize("held", [True, False], ids=["in memory", "by ranges"])
def test_categories_within_lists_and_structs_are_read_of_several_row_groups(
    held: bool, resident: Client, lake: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(EncryptedObject, "in_memory", held)
    of_types = {"n": pl.Int64, "list": pl.List(pl.Categorical), "struct": pl.Struct({"c": pl.Enum(["x", "y"])})}
    rows = [{"n": n, "list": [f"text {n}"] * (n % 3), "struct": {"c": "xy"[n % 2]}} for n in range(10)]
    frame, file, url = pl.DataFrame(rows, of_types), tmp_path / "a.parquet", f"s3://{lake}/d/a.parquet"
    frame.write_parquet(file, row_group_size=4)
    resident.put(url, file.read_bytes())
    for options in ({}, {"columns": ["struct", "list"]}, {"filters": [("n", ">", 2)]}):
        plain = pq.read_table(file, **options).to_pylist()
        assert sa.read_table(url, **options, client=resident).to_pylist() == plain
        assert sa.scan(url, **options, client=resident).to_table().to_pylist() == plain
        pdt.assert_frame_equal(
            spd.read_parquet(f"s3://{lake}/d/", **options, client=resident), pd.read_parquet(file, **options)
        )
    limited = sa.read_table(url, thrift_string_size_limit=2**20, client=resident)  # an option about the footer
    assert limited.to_pylist() == frame.rows(named=True)
    assert sa.dataset(f"s3://{lake}/d/", client=resident).to_table().to_pylist() == frame.rows(named=True)
    for source in (url, [url], f"s3://{lake}/d/"):
        plt.assert_frame_equal(spl.scan_parquet(source, client=resident).collect(), frame)


@pytest.mark.usefixtures("by_ranges")
@pytest.mark.parametrize("columns", [["^.*a.*$"], ["n", "^s.*$"], ["*"]], ids=str)
def test_columns_of_polars_may_be_patterns(columns: list[str], resident: Client, lake: str) -> None:
    frame = pl.from_arrow(TABLES["many"].select(["n", "small", "text", "span", "data"]))
    assert isinstance(frame, pl.DataFrame)
    for suffix in ("ipc", "parquet"):
        sink, url = io.BytesIO(), f"s3://{lake}/a.{suffix}"
        getattr(frame, f"write_{suffix}")(sink)
        resident.put(url, sink.getvalue())
        read = getattr(spl, f"read_{suffix}")(url, columns=columns, client=resident)
        plt.assert_frame_equal(read, frame.select(columns))


@pytest.mark.usefixtures("by_ranges")
def test_columns_of_pandas_may_be_an_iterator_and_those_of_a_schema(resident: Client, lake: str) -> None:
    url, content = f"s3://{lake}/d/a.parquet", io.BytesIO()
    frame = pd.DataFrame({"n": range(100), "x": range(100)})
    frame.to_parquet(content, row_group_size=10)
    resident.put(url, content.getvalue())
    for source in (url, f"s3://{lake}/d/"):
        read = spd.read_parquet(source, columns=iter(["x", "n"]), filters=[("n", ">", 7)], client=resident)
        pdt.assert_frame_equal(read, pd.read_parquet(content, columns=["x", "n"], filters=[("n", ">", 7)]))
    options: dict[str, Any] = {"schema": pa.schema([("n", pa.int32()), ("more", pa.string())])}
    for options["columns"] in (None, ["more", "n"]):
        for options["filters"] in (None, pc.field("more").is_null() & (pc.field("n") > 50)):
            read = spd.read_parquet(url, **options, client=resident)
            pdt.assert_frame_equal(read, pd.read_parquet(content, **options))
