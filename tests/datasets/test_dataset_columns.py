"""Columns of a dataset that are asked for: fields of structs, columns twice, by place, and names that several have."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pandas as pd
import pandas.testing as pdt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import arrowseal.arrow as sa
import arrowseal.pandas as spd
import arrowseal.polars as spl
from arrowseal import using
from arrowseal.exceptions import ColumnNotFoundError, SchemaMismatchError
from arrowseal.objects import EncryptedObject
from lake import Lake, pq_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INNER = pa.struct({"q": "int64", "r": pa.struct({"s": pa.string()})})
FIRST = pa.table(
    {
        "n": pa.array([{"q": 1, "r": {"s": "x"}}, None, {"q": None, "r": None}], INNER),
        "v": [1, 2, 3],
        "a.b": [5, 6, 7],
        "l": [[{"x": 1}], [], None],
    }
)


@pytest.fixture
def here(lake: Lake, tmp_path: Path) -> Iterator[Path]:
    """A directory of plain files, of which the second has fewer columns, and the same ones in the lake."""
    for year, table in ((2013, FIRST), (2014, FIRST.select(["v", "a.b"]))):
        (tmp_path / f"year={year}").mkdir()
        pq.write_table(table, tmp_path / f"year={year}" / "a.parquet")
    lake.seal(tmp_path, "t/")
    with using(lake.client):
        yield tmp_path


@pytest.mark.parametrize("unified", [False, True])
@pytest.mark.parametrize("condition", [None, pc.field("v") < 3, pc.field("n", "q") == 1, pc.field("year") == 2013])
@pytest.mark.parametrize(
    "columns",
    [["n.q"], ["n.r.s", "v"], ["n.q", "n"], ["n.q", "n.q"], ["a.b"], ["v", "v"], ["year", "v", "year"], ["n.r", "a.b"]],
    ids=",".join,
)
def test_fields_of_structs_and_columns_twice_are_what_pyarrow_finds(
    here: Path, columns: list[str], condition: Any, unified: bool
) -> None:
    plain = ds.dataset(here, partitioning="hive").scanner(columns=columns, filter=condition)
    ours = sa.dataset("s3://lake/t/", unify_schemas=unified).scanner(columns, condition)
    assert ours.to_table().equals(plain.to_table())
    assert ours.projected_schema.equals(plain.projected_schema)
    assert ours.to_reader().read_all().equals(plain.to_table())
    assert ours.head(2).equals(plain.head(2))


@pytest.mark.parametrize("columns", [["n.q"], ["n.q", "v"], ["n.r.s", "year"]], ids=",".join)
def test_pandas_reads_fields_of_structs_as_it_does_from_a_directory(here: Path, columns: list[str]) -> None:
    ours, plain = spd.read_parquet("s3://lake/t/", columns=columns), pd.read_parquet(here, columns=columns)
    pdt.assert_frame_equal(ours, plain, check_categorical=False)


@pytest.mark.parametrize("unified", [False, True])
@pytest.mark.parametrize("name", ["n.z", "v.q", "n.q.x", "l.x", "n.", ".n", "year.x", "z"])
def test_a_field_that_is_not_there_is_named(here: Path, name: str, unified: bool) -> None:
    with pytest.raises(ColumnNotFoundError, match=repr(name).replace(".", r"\.")):
        sa.dataset("s3://lake/t/", unify_schemas=unified).to_table(columns=["v", name])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_name_that_several_columns_have_is_refused_where_it_is_asked_for(lake: Lake, suffix: str) -> None:
    of_parquet = pq_bytes(pa.Table.from_arrays([pa.array([at]) for at in (1, 2, 3)], names=["a", "a", "b"]))
    lake.put({f"t/1.{suffix}": b"a,a,b\n1,2,3\n" if suffix == "csv" else of_parquet})
    found = sa.dataset("s3://lake/t/", client=lake.client)
    for asked in ({}, {"columns": ["a"]}, {"filter": pc.field("b") == 3}, {"columns": ["a", "b"]}):
        with pytest.raises(SchemaMismatchError, match="2 columns that are called 'a'"):
            found.to_table(**asked)
    assert found.to_table(columns=["b"]).to_pydict() == {"b": [3]}
    assert found.count_rows() == 1


@pytest.mark.parametrize("unify", [False, True])
def test_a_filter_by_position_means_no_column_of_a_path_that_has_this_place_among_those(
    lake: Lake, unify: bool
) -> None:
    for year in (1, 2):
        lake.put({f"t/year={year}/a.parquet": pq_bytes(pa.table({"n": range(10)}))})
    found = sa.dataset("s3://lake/t/", unify_schemas=unify, client=lake.client)
    for filter_ in (pc.field(0) > 5, (pc.field(0) > 5) & (pc.field(1) > 0)):
        assert found.to_table(filter=filter_)["n"].to_pylist() == [6, 7, 8, 9] * 2
        assert found.count_rows(filter_) == 8


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_count_reads_the_columns_of_its_filter_and_no_other(
    in_memory: bool, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EncryptedObject, "in_memory", in_memory)
    views = pa.array(["a", "b", "c"], pa.string_view())  # of which pyarrow filters no rows
    lake.put({"t/a.parquet": pq_bytes(pa.table({"n": [1, 2, 3], "views": views}))})
    lake.forget()
    assert sa.dataset("s3://lake/t/", client=lake.client).count_rows(pc.field("n") > 1) == 2
    assert [record.rows for record in lake.client.counters if record.operation == "dataset"] == [2]


@pytest.mark.parametrize("short", [pa.float32(), pa.float16()], ids=str)
def test_floats_of_a_later_file_are_not_rounded_to_those_of_the_first_unless_it_is_said(
    lake: Lake, short: pa.DataType
) -> None:
    first, long = pa.table({"x": pa.array([1.5], short)}), pa.array([0.1, 1e300])
    lake.put({"t/a.parquet": pq_bytes(first), "t/b.parquet": pq_bytes(pa.table({"x": long}))})
    found = sa.dataset("s3://lake/t/", client=lake.client)
    for read in (
        found.to_table,
        lambda: spl.read_parquet("s3://lake/t/", client=lake.client),
        lambda: spl.scan_parquet("s3://lake/t/", client=lake.client).tail(2).collect(),
    ):
        with pytest.raises(SchemaMismatchError, match="column 'x' is double there"):
            read()
    unified = sa.dataset("s3://lake/t/", unify_schemas=True, client=lake.client)
    assert unified.to_table().to_pydict() == {"x": [1.5, 0.1, 1e300]}
    said = [found.replace_schema(first.schema), sa.dataset("s3://lake/t/", first.schema, client=lake.client)]
    for told in said:
        assert told.to_table().column("x").chunks[-1].equals(long.cast(short))
    exact = pa.array([float("nan"), None, 0.5, -0.0, float("inf")])
    lake.put({"t/b.parquet": pq_bytes(pa.table({"x": exact}))})
    read = sa.dataset("s3://lake/t/", client=lake.client).to_table().column("x")
    assert repr(read.to_pylist()) == repr([1.5, float("nan"), None, 0.5, -0.0, float("inf")])


@pytest.mark.parametrize("unified", [False, True])
def test_expressions_fetch_the_columns_that_they_name_and_no_others(lake: Lake, unified: bool) -> None:
    for at in range(2):
        rows = pa.table({"n": range(1000), "m": [at] * 1000, "wide": [os.urandom(9000) for _ in range(1000)]})
        lake.put({f"t/{at}.parquet": pq_bytes(rows, row_group_size=100, use_dictionary=False)})
    found = sa.dataset("s3://lake/t/", unify_schemas=unified, client=lake.client)
    lake.forget()
    made = found.to_table({"sum": pc.field("n") + pc.field("m"), "one": pc.scalar(1)})
    assert made["sum"].to_pylist() == [*range(1000), *range(1, 1001)]
    assert made["one"].to_pylist() == [1] * 2000
    assert found.to_table({"one": pc.scalar(1)}).num_rows == 2000
    assert sum(lake.client.counters.summary()["plaintext_bytes"].to_pylist()) < 4 * 2**20  # of 18


@pytest.mark.parametrize("columns", [["v"], {"twice": pc.field("v") * 2}], ids=str)
@pytest.mark.parametrize("condition", [None, pc.field("v") > 0], ids=str)
@pytest.mark.parametrize("inspected", [False, True])
def test_columns_that_nobody_asked_for_need_not_become_what_they_are_among_all_files(
    lake: Lake, columns: Any, condition: Any, inspected: bool
) -> None:
    many = pa.table({"v": [1], "x": pa.array([1.5]).cast(pa.decimal128(11, 2))})
    lake.put({"t/a.parquet": pq_bytes(many), "t/b.parquet": pq_bytes(pa.table({"v": [2], "x": [1]}))})
    found = sa.dataset("s3://lake/t/", unify_schemas=True, client=lake.client)
    if inspected:
        assert found.schema.field("x").type != many.schema.field("x").type
    assert found.to_table(columns, condition).num_rows == 2


@pytest.mark.parametrize("unified", [False, True])
def test_expressions_of_columns_that_are_not_there_are_told(here: Path, unified: bool) -> None:
    found = sa.dataset("s3://lake/t/", unify_schemas=unified)
    with pytest.raises(ColumnNotFoundError, match=r"a column of columns= is not there: .*nothing"):
        found.to_table({"x": pc.field("nothing") + 1})
    with pytest.raises(TypeError, match="are expressions, not str"):
        found.head(1, columns={"x": "v"})


WORDS = pa.dictionary(pa.int32(), pa.string())


@pytest.mark.parametrize("table_format", ["parquet", "ipc"])
@pytest.mark.parametrize(
    ("nothing", "words", "values"),
    [
        (pa.null(), WORDS, ["a", None]),
        (pa.list_(pa.null()), pa.list_(WORDS), [["a"], []]),
        (pa.struct({"x": pa.null()}), pa.struct({"n": pa.int8(), "x": WORDS}), [{"n": 1, "x": "a"}, None]),
    ],
    ids=str,
)
def test_words_of_a_later_file_do_not_become_the_nulls_of_the_first(
    lake: Lake, table_format: Any, nothing: pa.DataType, words: pa.DataType, values: list[Any]
) -> None:
    def write(**files: pa.Array) -> Any:
        for name, column in files.items():
            sa.write_table(pa.table({"x": column}), f"s3://lake/t/{name}", format=table_format, client=lake.client)
        return sa.dataset("s3://lake/t/", format=table_format, client=lake.client)

    with pytest.raises(SchemaMismatchError, match=r"column 'x' is .*dictionary.* there, which does not become the"):
        write(a=pa.array([None], nothing), b=pa.array(values, words)).to_table()
    assert write(b=pa.array([None], words)).to_table().to_pydict() == {"x": [None, None]}
