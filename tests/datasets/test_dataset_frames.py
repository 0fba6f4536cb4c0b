"""Small Parquet files of a dataset as frames: polars decodes many at a time, and finds what pyarrow finds."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.testing as plt
import pyarrow as pa
import pytest

import arrowseal.arrow as sa
import arrowseal.polars as spl
from arrowseal import using
from arrowseal.exceptions import NotATableError, SchemaMismatchError
from arrowseal.objects import EncryptedObject
from arrowseal.tables.polars_frames import frame_of
from lake import Lake, pq_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROWS = 5


@pytest.fixture(autouse=True)
def _by_default(lake: Lake) -> Iterator[None]:
    with using(lake.client):
        yield


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many files polars was given, each time."""
    counts: list[int] = []
    scan = pl.scan_parquet

    def counting(source: Any, **arguments: Any) -> Any:
        counts.append(len(source))
        return scan(source, **arguments)

    monkeypatch.setattr(pl, "scan_parquet", counting)
    return counts


def of_all_types(first: int) -> pa.Table:
    at = range(first, first + ROWS)
    return pa.table(
        {
            "n": pa.array(at, pa.int64()),
            "small": pa.array([None if n % 3 == 0 else n % 100 for n in at], pa.uint8()),
            "x": pa.array([None if n % 4 == 0 else float("nan") if n % 4 == 1 else n / 7 for n in at], pa.float64()),
            "text": pa.array([None if n % 5 == 0 else f"té{n % 50}" for n in at], pa.string()),
            "kind": pa.array([None if n % 6 == 0 else "xyz"[n % 3] for n in at], pa.string()).dictionary_encode(),
            "money": pa.array([None if n % 7 == 0 else Decimal(n) / 100 for n in at], pa.decimal128(12, 2)),
            "zone": pa.array([None if n % 8 == 0 else n * 10**9 for n in at], pa.timestamp("us", "America/New_York")),
            "nanos": pa.array([n * 10**9 + 7 for n in at], pa.timestamp("ns")),
            "date": pa.array([None if n % 9 == 0 else n for n in at], pa.date32()),
            "old": pa.array([n * 86_400_000 for n in at], pa.date64()),
            "clock": pa.array(list(at), pa.time64("us")),
            "span": pa.array(list(at), pa.duration("us")),
            "yes": pa.array([None if n % 10 == 0 else n % 2 == 0 for n in at], pa.bool_()),
            "data": pa.array([None if n % 11 == 0 else bytes([n % 256]) for n in at], pa.binary()),
            "half": pa.array(list(at), pa.float16()),
            "list": pa.array([None if n % 12 == 0 else [n, None] for n in at], pa.list_(pa.int64())),
            "struct": pa.array(
                [{"a": n, "b": [str(n)]} for n in at], pa.struct({"a": "int64", "b": pa.list_(pa.string())})
            ),
            "nothing": pa.nulls(ROWS),
        }
    )


def put_days(lake: Lake, files: int = 12, days: int = 3) -> None:
    each = files // days
    lake.put(
        {
            f"t/day=2013-01-0{1 + at // each}/{at:02}.parquet": pq_bytes(of_all_types(at * ROWS), row_group_size=2)
            for at in range(files)
        }
    )


def found_by_pyarrow(url: str, **arguments: Any) -> pl.DataFrame:
    frame = pl.from_arrow(sa.dataset(url, **arguments).to_table())
    assert isinstance(frame, pl.DataFrame)
    return frame


@pytest.mark.parametrize("holds_its_path", [False, True])
def test_files_of_one_partition_are_one_scan(lake: Lake, decoded: list[int], holds_its_path: bool) -> None:
    columns = {"n": range(ROWS), **({"day": [7] * ROWS} if holds_its_path else {})}
    lake.put({f"t/day={at // 4}/{at:02}.parquet": pq_bytes(pa.table(columns)) for at in range(12)})
    read = spl.read_parquet("s3://lake/t/")
    plt.assert_frame_equal(read, found_by_pyarrow("s3://lake/t/", partitioning="hive"), check_dtypes=False)
    assert read["day"].to_list() == [day for day in range(3) for _ in range(4 * ROWS)]
    assert decoded == [1, 3, 4, 4]  # the first one alone, for who waits for it


def test_files_that_are_not_as_the_first_one_says_are_decoded_twice(lake: Lake, decoded: list[int]) -> None:
    one, other = pa.table({"n": range(ROWS)}), pa.table({"n": range(ROWS), "day": [7] * ROWS})
    lake.put({f"t/day={at // 4}/{at:02}.parquet": pq_bytes(other if at >= 4 else one) for at in range(12)})
    read = spl.read_parquet("s3://lake/t/")
    assert read["day"].to_list() == [day for day in range(3) for _ in range(4 * ROWS)]
    assert decoded == [1, 3, 4, 4, 3, 4, 4]


def test_arrays_with_nulls_become_a_frame_beside_columns_that_are_cut_elsewhere() -> None:
    pairs = [None, [1, 2], [3, 4], None]
    cut = pa.chunked_array([["x"], ["y", "z", "x"]]).dictionary_encode()
    table = pa.table({"pair": pa.array(pairs, pa.list_(pa.int32(), 2)), "kind": cut})
    expected = [pl.Series("pair", pairs, pl.Array(pl.Int32, 2)), pl.Series("kind", list("xyzx"), pl.Categorical)]
    plt.assert_frame_equal(frame_of(table), pl.DataFrame(expected))


@pytest.mark.skipif(int(pa.__version__.split(".")[0]) < 26, reason="pyarrow reads no such arrays from Parquet")
def test_arrays_with_nulls_are_read_beside_categories_of_several_row_groups(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EncryptedObject, "in_memory", False)
    arrays = [None if n % 3 == 0 else [n, None] for n in range(10)]
    columns = [pl.Series("pair", arrays, pl.Array(pl.Int32, 2)), pl.Series("kind", list("xyzzyxxyzx"), pl.Categorical)]
    frame, sink = pl.DataFrame([*columns, pl.Series("n", range(10))]), io.BytesIO()
    frame.write_parquet(sink, row_group_size=3)
    lake.put({"t/a.parquet": sink.getvalue()})
    lazy = spl.scan_parquet("s3://lake/t/")
    plt.assert_frame_equal(lazy.collect(), frame)
    plt.assert_frame_equal(lazy.slice(2, 5).collect(), frame[2:7])


def test_all_types_are_what_pyarrow_finds(lake: Lake) -> None:
    put_days(lake)
    expected = found_by_pyarrow("s3://lake/t/").with_columns(pl.col("day").str.to_date())
    read = spl.read_parquet("s3://lake/t/")
    plt.assert_frame_equal(read, expected, categorical_as_str=True)
    for name in read.columns:
        plt.assert_frame_equal(spl.read_parquet("s3://lake/t/", columns=[name]), read.select(name))


@pytest.mark.parametrize(
    "condition",
    [
        pl.col("day") == dt.date(2013, 1, 2),
        (pl.col("day") > dt.date(2013, 1, 1)) & (pl.col("n") % 2 == 0),
        (pl.col("n") < 8) | (pl.col("day") == dt.date(2013, 1, 3)),
        pl.col("x") > 3.0,
        pl.col("x").is_nan() & (pl.col("yes") != False),  # noqa: E712
        pl.col("money") == Decimal("0.22"),
        pl.col("struct").struct.field("a") > 40,
    ],
    ids=str,
)
def test_filters_leave_the_rows_that_pass_them(lake: Lake, condition: pl.Expr) -> None:
    put_days(lake)
    whole = spl.read_parquet("s3://lake/t/")
    for columns in (whole.columns, ["n"], ["day", "n"], ["day"]):
        kept = spl.scan_parquet("s3://lake/t/").filter(condition).select(columns).collect()
        plt.assert_frame_equal(kept, whole.filter(condition).select(columns))


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files too, as if they were not held: pyarrow decodes those for polars."""
    monkeypatch.setattr(EncryptedObject, "in_memory", False)


@pytest.mark.usefixtures("large")
def test_decimals_of_256_bits_become_those_that_polars_has(lake: Lake) -> None:
    wide = pa.decimal256(20, 2)
    values = {"alone": Decimal(1), "list": [Decimal(1)], "struct": {"a": Decimal(1)}, "text": "a"}
    kinds = [wide, pa.list_(wide), pa.struct([("a", wide)]), pa.string()]
    fields = pa.schema(list(zip(values, kinds, strict=True)))
    content = pq_bytes(pa.Table.from_pylist([values, dict.fromkeys(values)], schema=fields))
    lake.put({"t/a.parquet": content, "t/b.parquet": content})
    read = spl.scan_parquet("s3://lake/t/").collect()
    assert read.to_dicts() == [values, dict.fromkeys(values)] * 2
    narrow = pl.Decimal(20, 2)
    assert read.dtypes == [narrow, pl.List(narrow), pl.Struct({"a": narrow}), pl.String]


@pytest.mark.usefixtures("large")
def test_decimals_of_more_digits_than_polars_has_are_its_error_and_no_panic(lake: Lake) -> None:
    content = pq_bytes(pa.table({"x": pa.array([Decimal(1)], pa.decimal256(50, 2))}))
    lake.put({"t/a.parquet": content, "t/b.parquet": content})
    with pytest.raises(pl.exceptions.InvalidOperationError, match="between 1 and 38"):
        spl.scan_parquet("s3://lake/t/").collect()


@pytest.mark.parametrize("condition", [pl.col("n") > 1, pl.col("text") == "b", pl.col("n").is_null()], ids=str)
@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("choice", [["n"], ["text"], ["n", "text"]], ids=str)
def test_filters_beside_a_column_of_views_leave_the_rows_that_pass_them(
    lake: Lake, condition: pl.Expr, choice: list[str]
) -> None:
    rows = pa.table({"n": [1, 2], "text": pa.array(["a", "b"], pa.string_view())})
    lake.put({f"t/{name}.parquet": pq_bytes(rows) for name in "ab"})
    expected = pl.concat([pl.DataFrame({"n": [1, 2], "text": ["a", "b"]})] * 2)
    read = spl.scan_parquet("s3://lake/t/").filter(condition).select(choice).collect()
    plt.assert_frame_equal(read, expected.filter(condition).select(choice))


@pytest.mark.parametrize("partition", ["2012", "2012-02-29", "__HIVE_DEFAULT_PARTITION__", "S%C3%A3o%20Paulo"])
def test_what_the_path_says_is_a_column(lake: Lake, partition: str) -> None:
    files = {f"t/at={partition}/{at}.parquet": pq_bytes(pa.table({"n": [at]})) for at in range(3)}
    lake.put(files | {"t/at=7/z.parquet": pq_bytes(pa.table({"n": [9]}))})
    expected = found_by_pyarrow("s3://lake/t/").with_columns(pl.col("at").cast(pl.String))
    read = spl.read_parquet("s3://lake/t/").with_columns(pl.col("at").cast(pl.String))
    plt.assert_frame_equal(read, expected)
    assert spl.read_parquet("s3://lake/t/", columns=["at"]).height == 4


def test_nanoseconds_of_a_path_are_kept(lake: Lake) -> None:
    place = "t/at=2013-01-01 00%3A00%3A00.000000007"
    lake.put({f"{place}/{at}.parquet": pq_bytes(pa.table({"n": [at]})) for at in range(3)})
    read = spl.read_parquet("s3://lake/t/", hive_schema={"at": pl.Datetime("ns")})
    assert read["at"].dt.nanosecond().to_list() == [7, 7, 7]


OTHERS: dict[str, Mapping[str, Any]] = {
    "a narrower type": {"a": pa.array([7], pa.int32()), "b": ["z"]},
    "another order": {"b": ["z"], "a": [7]},
    "text that is large": {"a": [7], "b": pa.array(["z"], pa.large_string())},
    "text by a dictionary": {"a": [7], "b": pa.array(["z"]).dictionary_encode()},
    "nothing but nulls": {"a": pa.nulls(1), "b": ["z"]},
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_file_that_differs_is_read_as_by_pyarrow(lake: Lake, other: str, place: int) -> None:
    usual = pa.table({"a": [1, 2], "b": ["x", "y"]})
    tables = [usual] * place + [pa.table(OTHERS[other])] + [usual] * (4 - place)
    lake.put({f"t/{at}.parquet": pq_bytes(table) for at, table in enumerate(tables)})
    try:
        expected = found_by_pyarrow("s3://lake/t/")
    except SchemaMismatchError:
        with pytest.raises(SchemaMismatchError):
            spl.read_parquet("s3://lake/t/")
    else:
        plt.assert_frame_equal(spl.read_parquet("s3://lake/t/"), expected, categorical_as_str=True)


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("place", [2, 3])
def test_a_file_that_differs_in_another_partition_is_read_as_by_pyarrow(lake: Lake, other: str, place: int) -> None:
    usual = pa.table({"a": [1, 2], "b": ["x", "y"]})
    tables = [pa.table(OTHERS[other]) if at == place else usual for at in range(6)]
    lake.put({f"t/part={at // 2}/{at}.parquet": pq_bytes(table) for at, table in enumerate(tables)})
    try:
        expected = found_by_pyarrow("s3://lake/t/", partitioning="hive")
    except SchemaMismatchError:
        with pytest.raises(SchemaMismatchError):
            spl.read_parquet("s3://lake/t/")
        return
    read = spl.read_parquet("s3://lake/t/").with_columns(pl.col("part").cast(expected["part"].dtype))
    plt.assert_frame_equal(read, expected, categorical_as_str=True)


@pytest.mark.parametrize("columns", [["a"], ["a", "b"]])
@pytest.mark.parametrize("place", [1, 3])
def test_a_column_too_many_is_refused_also_where_nobody_asked_for_it(
    lake: Lake, place: int, columns: list[str]
) -> None:
    files = {f"t/{at}.parquet": pq_bytes(pa.table({"a": [at], "b": [at]})) for at in range(5)}
    lake.put(files | {f"t/{place}.parquet": pq_bytes(pa.table({"a": [1], "b": [1], "c": [1]}))})
    with pytest.raises(SchemaMismatchError, match=f"t/{place}.parquet has a column 'c'"):
        spl.scan_parquet("s3://lake/t/").select(columns).collect()
    left_out = spl.scan_parquet("s3://lake/t/", extra_columns="ignore").select(columns).collect()
    assert left_out.height == 5


@pytest.mark.parametrize("place", [1, 3])
def test_a_file_that_is_no_table_is_named_and_not_quoted(lake: Lake, place: int) -> None:
    files = {f"t/{at}.parquet": pq_bytes(pa.table({"a": [at]})) for at in range(5)}
    lake.put(files | {f"t/{place}.parquet": b"a secret that is no table" * 10})
    with pytest.raises(NotATableError, match=f"t/{place}.parquet") as caught:
        spl.read_parquet("s3://lake/t/")
    assert "secret" not in repr(caught.value)
    assert caught.value.__context__ is None


def test_several_of_them_in_one_query_do_not_wait_for_each_other(lake: Lake) -> None:
    put_days(lake)
    scans = [spl.scan_parquet("s3://lake/t/").select("n", "day") for _ in range(6)]
    assert pl.concat(scans).collect().height == 6 * 12 * ROWS
    assert [frame.height for frame in pl.collect_all(scans)] == [12 * ROWS] * 6
    assert scans[0].join(scans[1], on="n").collect(engine="streaming").height == 12 * ROWS


def test_rows_are_counted(lake: Lake) -> None:
    put_days(lake)
    spl.scan_parquet("s3://lake/t/").filter(pl.col("n") < 7).collect()
    last = list(lake.client.counters)[-1]
    assert (last.operation, last.rows, last.requests) == ("scan_parquet", 7, 12)
