"""Filters that decide what is fetched never decide what is found: rows are those of the whole table, filtered."""

from __future__ import annotations

import io
import operator
from functools import reduce
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.testing as plt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import arrowseal.arrow
import arrowseal.polars
from memory_client import MemoryClient

if TYPE_CHECKING:
    from collections.abc import Callable

NAN = float("nan")
CELLS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "n": (pa.int64(), st.integers(-3, 3)),
    "x": (pa.float64(), st.sampled_from([-1.0, -0.0, 0.0, 1.0, 2.0, NAN])),
    "s": (pa.string(), st.sampled_from(["", "a", "b", "ab", "null", "is_null("])),
    "d": (pa.date32(), st.integers(0, 4)),
    "t": (pa.timestamp("us"), st.integers(-2, 2)),
    "b": (pa.bool_(), st.booleans()),
}
COMPARE = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Rows that are alike within a row group, so that statistics tell something, with and without nulls."""
    groups = draw(st.integers(1, 4))
    columns: dict[str, list[Any]] = {name: [] for name in CELLS}
    for _ in range(groups):
        for name, (_, cells) in CELLS.items():
            few = draw(st.lists(st.one_of(cells, st.none()), min_size=1, max_size=2))
            columns[name] += [draw(st.sampled_from(few)) for _ in range(3)]
    return pa.table({name: pa.array(columns[name], kind) for name, (kind, _) in CELLS.items()})


@st.composite
def filters(draw: st.DrawFn, field: Callable[[str], Any], literal: Callable[[str, Any], Any]) -> Any:
    """A tree of comparisons, of pyarrow or polars by what `field` and `literal` make."""

    def leaf() -> Any:
        name = draw(st.sampled_from(list(CELLS)))
        value = draw(CELLS[name][1])
        kind = draw(st.integers(0, 8))
        if kind == 0:
            return field(name).is_null()
        if kind == 1:
            isin = getattr(field(name), "isin", None) or field(name).is_in
            values = [value, *draw(st.lists(CELLS[name][1], max_size=2))]
            # pyarrow's own datasets lose rows here: statistics say -0.0 to 0.0, of which is_in looks for the first.
            return isin([literal(name, each) for each in values if name != "x" or each != 0])
        return draw(st.sampled_from(COMPARE))(field(name), literal(name, value))

    def tree(depth: int) -> Any:
        kind = draw(st.integers(0, 4)) if depth else 4
        match kind:
            case 0:
                return tree(depth - 1) & tree(depth - 1)
            case 1:
                return tree(depth - 1) | tree(depth - 1)
            case 2:
                return ~tree(depth - 1)
            case _:
                return leaf()

    return tree(2)


def stored(table: pa.Table) -> MemoryClient:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=3)
    return MemoryClient(**{"t.parquet": sink.getvalue()})


@given(table=tables(), filter=filters(pc.field, lambda name, value: pa.scalar(value, CELLS[name][0])))
def test_rows_of_a_filter_of_pyarrow(table: pa.Table, filter: pc.Expression) -> None:  # noqa: A002
    client = stored(table)
    for columns in (None, ["n"]):
        read = arrowseal.arrow.read_table("s3://lake/t.parquet", columns=columns, filters=filter, client=client)
        rows = table.filter(filter)
        assert repr(read.to_pylist()) == repr((rows if columns is None else rows.select(columns)).to_pylist())


@given(table=tables(), terms=st.data())
def test_rows_of_filters_as_tuples(table: pa.Table, terms: st.DataObject) -> None:
    def one() -> tuple[str, str, Any]:
        name = terms.draw(st.sampled_from(["n", "s", "x"]))
        value = terms.draw(CELLS[name][1])
        word = terms.draw(st.sampled_from(["=", "==", "!=", "<", ">", "<=", ">=", "in", "not in"]))
        return name, word, [value] if "in" in word else value

    tuples = [[one() for _ in range(terms.draw(st.integers(1, 2)))] for _ in range(terms.draw(st.integers(1, 2)))]
    client = stored(table)
    read = arrowseal.arrow.read_table("s3://lake/t.parquet", filters=tuples, client=client)
    expected = pq.read_table(io.BytesIO(client.objects["t.parquet"]), filters=tuples)
    assert repr(read.to_pylist()) == repr(expected.to_pylist())


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@given(
    table=tables(),
    filter=filters(pl.col, lambda name, value: pl.from_arrow(pa.array([value], CELLS[name][0])).item()),  # type: ignore[union-attr]
)
def test_rows_of_a_filter_of_polars(engine: Any, table: pa.Table, filter: pl.Expr) -> None:  # noqa: A002
    client = stored(table)
    whole = pl.read_parquet(client.objects["t.parquet"])
    lazy = arrowseal.polars.scan_parquet("s3://lake/t.parquet", client=client)
    plt.assert_frame_equal(lazy.filter(filter).collect(engine=engine), whole.filter(filter))


def test_a_comparison_with_nan_drops_no_row_group_which_statistics_cannot_judge() -> None:
    client = stored(pa.table({"x": [-1.0, 0.0, 1.0]}))
    whole = pl.read_parquet(client.objects["t.parquet"])
    lazy = arrowseal.polars.scan_parquet("s3://lake/t.parquet", client=client)
    below = pl.col("x") < float("nan")
    assert len(lazy.filter(below).collect()) == len(whole.filter(below)) == 3


@given(
    table=tables(),
    offset=st.integers(-15, 15),
    length=st.integers(0, 15),
    names=st.sets(st.sampled_from(list(CELLS)), min_size=1),
)
def test_rows_of_a_slice_of_polars(table: pa.Table, offset: int, length: int, names: set[str]) -> None:
    client = stored(table)
    whole = pl.read_parquet(client.objects["t.parquet"])
    lazy = arrowseal.polars.scan_parquet("s3://lake/t.parquet", client=client)
    columns = sorted(names)
    plt.assert_frame_equal(
        lazy.select(columns).slice(offset, length).collect(), whole.select(columns).slice(offset, length)
    )


def in_the_first_group() -> list[pc.Expression]:
    """Filters that rows of the first row group pass: at the bounds of its statistics, or where these say nothing."""
    n, x, t, late = pc.field("n"), pc.field("x"), pc.field("t"), pa.scalar(2500, pa.timestamp("ns"))
    found = [n == 0, n == 2, n <= 0, n >= 2, (n > 5) | (n < 1), ~(n > 0), n.isin([2, 7]), n.isin([7, None])]
    found += [n.is_null(), pc.if_else(n.is_null(), 1, n) == 1, t == late, t >= late]
    # Statistics count no NaN, and pyarrow's own datasets lose these rows.
    found += [x != 1.0, ~(x == 1.0), (x != 1.0) & (n == 2), x.is_nan(), x.is_null(nan_is_null=True), x.isin([NAN])]
    return found


@pytest.mark.parametrize("condition", in_the_first_group(), ids=str)
def test_a_row_group_with_nulls_is_read_where_a_row_may_pass(condition: pc.Expression) -> None:
    table = pa.table(
        {
            "n": [0, None, 2, 10, None, 12],
            "x": [1.0, None, NAN, 1.0, None, 1.0],
            "t": pa.array([500, None, 2500, 0, None, 1], pa.timestamp("ns")),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=3)
    client = MemoryClient(**{"t.parquet": sink.getvalue()})
    read = arrowseal.arrow.read_table("s3://lake/t.parquet", filters=condition, client=client)
    assert len(read) > 0
    assert repr(read.to_pylist()) == repr(table.filter(condition).to_pylist())


@pytest.mark.parametrize("names", [["a.b", "a"], ["a", "a.b"]])
def test_a_column_is_not_judged_by_the_statistics_of_a_field_that_has_its_path(names: list[str]) -> None:
    table = pa.table(
        {
            "a.b": [None if n % 3 == 0 else n for n in range(30)],
            "a": [{"b": None if n % 4 == 0 else 1000 + n} for n in range(30)],
        }
    ).select(names)
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=10)
    client = MemoryClient(**{"t.parquet": sink.getvalue()})
    filters: list[Any] = [pc.field("a.b") == 11, [("a.b", "==", 11)], pc.field("a", "b") == 1011]
    for condition in filters:
        read = arrowseal.arrow.read_table("s3://lake/t.parquet", filters=condition, client=client)
        assert read.equals(table.slice(11, 1)), condition
    lazy = arrowseal.polars.scan_parquet("s3://lake/t.parquet", client=client)
    assert lazy.filter(pl.col("a.b") == 11).select("a.b").collect().rows() == [(11,)]


def test_a_filter_on_long_text_is_one_though_pyarrow_cannot_write_it_out() -> None:
    texts = ["é" * 100, "日" * 99, None]
    client = stored(pa.table({"s": texts}))
    expression = pc.field("s").isin(texts[:2])
    with pytest.raises(UnicodeDecodeError):
        str(expression)  # which the planner reads filters by
    for columns in (None, ["s"]):
        read = arrowseal.arrow.read_table("s3://lake/t.parquet", columns=columns, filters=expression, client=client)
        assert read.to_pydict() == {"s": texts[:2]}
    lazy = arrowseal.polars.scan_parquet("s3://lake/t.parquet", client=client)
    assert lazy.filter(pl.col("s").is_in(texts[:2])).collect()["s"].to_list() == texts[:2]


@pytest.mark.parametrize(
    ("kind", "far"),
    [
        (pa.timestamp("us", "Europe/Berlin"), 253_402_300_799_000_000),  # in UTC the last second of the year 9999
        (pa.timestamp("ms"), 2**55),
        (pa.timestamp("us", "UTC"), -(2**62)),
        (pa.date32(), 2**30),
    ],
    ids=str,
)
def test_times_that_python_has_not_are_filtered_beside_nulls(kind: pa.DataType, far: int) -> None:
    table = pa.table({"t": pa.array([1, None, far] * 2, kind), "n": range(6)})
    client = stored(table)
    for condition in (pc.field("t") == pa.scalar(1, kind), pc.field("t") != pa.scalar(1, kind)):
        for columns in (None, ["n"]):
            read = arrowseal.arrow.read_table("s3://lake/t.parquet", columns=columns, filters=condition, client=client)
            assert read["n"].to_pylist() == table.filter(condition)["n"].to_pylist()


def test_filters_of_comparisons_leave_out_row_groups_in_spite_of_nulls() -> None:
    table = pa.table(
        {
            "n": [None if n % 3 == 0 else n for n in range(90)],
            "s": [None if n % 3 == 0 else f"{n:02}" for n in range(90)],
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=10, use_dictionary=False)
    client = MemoryClient(**{"t.parquet": sink.getvalue()})
    conditions = [pc.field("n") == 44, pc.field("s") == "44", (pc.field("n") > 43) & (pc.field("s") < "45")]
    conditions += [pc.field("n").isin([44]), reduce(operator.or_, [pc.field("n") == 44, pc.field("s") == "44"])]
    for condition in conditions:
        client.ranges.clear()
        read = arrowseal.arrow.read_table("s3://lake/t.parquet", columns=["n"], filters=condition, client=client)
        assert read.to_pydict() == {"n": [44]}
        assert len(client.ranges) == 2, f"footer and one row group for {condition}"
