"""Datasets of encrypted objects give what `pyarrow.dataset` gives of the plain files."""

from __future__ import annotations

import datetime as dt
import gzip
from decimal import Decimal
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
from arrowseal import ObjectLocation
from arrowseal.exceptions import (
    ColumnNotFoundError,
    ConfigurationError,
    LocationError,
    ObjectNotFoundError,
    SchemaMismatchError,
)
from arrowseal.tables.dataset_pieces import Asked, piece_reader
from arrowseal.tables.formats import TableFormat
from lake import Lake, pq_bytes
from memory_client import MemoryObject

if TYPE_CHECKING:
    from pathlib import Path


FILTERS: list[Any] = [
    None,
    pc.field("year") == 2013,
    pc.field("year").is_null(),
    pc.field("year").isin([2012, 2014]) & (pc.field("city") != "Paris"),
    pc.field("city") == "São Paulo",
    (pc.field("year") == 2013) & (pc.field("n") < 100),
    (pc.field("year") == 2013) | (pc.field("x") > 100),
    pc.field("x").is_null(),
    pc.field("n") > 10_000,
    pc.field("year") > 3000,
    pc.starts_with(pc.field("text"), "row 1") & (pc.field("city") == "a/b=c"),
    ~(pc.field("year") == 2013),
]


@pytest.mark.parametrize("columns", [None, ["text"], ["year", "n"], ["city"], [], {"twice": pc.field("n") * 2}])
@pytest.mark.parametrize("filter", FILTERS, ids=str)
def test_columns_and_filters_give_what_pyarrow_gives(
    both: tuple[sa.EncryptedDataset, ds.Dataset],
    columns: Any,
    filter: Any,  # noqa: A002
) -> None:
    ours, plain = both
    read, expected = ours.to_table(columns, filter), plain.to_table(columns, filter)
    assert read.schema == expected.schema
    assert read.num_rows == expected.num_rows
    assert read.equals(expected)
    assert ours.count_rows(filter) == expected.num_rows


def test_the_dataset_tells_what_pyarrows_tells(both: tuple[sa.EncryptedDataset, ds.Dataset], tmp_path: Path) -> None:
    ours, plain = both
    assert ours.schema == plain.schema
    assert ours.schema.metadata == plain.schema.metadata
    assert [url.removeprefix("s3://lake/trips/") for url in ours.files] == sorted(
        path.removeprefix(f"{tmp_path}/") for path in plain.files
    )
    assert ours.head(5).equals(plain.head(5))
    assert ours.scanner(["n"], pc.field("n") < 3).projected_schema == pa.schema([("n", pa.int64())])
    kept = ours.filter(pc.field("year") == 2013).filter(pc.field("n") < 50)
    assert kept.to_table().equals(plain.filter(pc.field("year") == 2013).filter(pc.field("n") < 50).to_table())
    assert len(kept.get_fragments()) == len(list(plain.get_fragments(pc.field("year") == 2013)))
    assert repr(ours) == f"<EncryptedDataset s3://lake/trips/, {len(plain.files)} files>"


def test_filters_may_be_tuples(both: tuple[sa.EncryptedDataset, ds.Dataset]) -> None:
    ours, plain = both
    tuples = [[("year", "=", 2013), ("n", "<", 100)], [("city", "in", ["Paris"])]]
    expected = plain.to_table(filter=pq.filters_to_expression(tuples))
    assert ours.to_table(filter=tuples).equals(expected)
    with pytest.raises(ConfigurationError, match="tuples"):
        ours.to_table(filter="year = 2013")


def test_a_partition_filter_sees_strings(lake: Lake, both: tuple[sa.EncryptedDataset, ds.Dataset]) -> None:
    seen: list[dict[str, str]] = []

    def accept(values: dict[str, str]) -> bool:
        seen.append(values)
        return values["year"] == "2013"

    chosen = sa.dataset("s3://lake/trips/", partition_filter=accept, client=lake.client)
    assert chosen.to_table().equals(both[1].to_table(filter=pc.field("year") == 2013))
    assert {"year": "2013", "city": "a/b=c"} in seen
    assert len(seen) == 16
    nothing = sa.dataset("s3://lake/trips/", partition_filter=lambda _: False, client=lake.client)
    assert nothing.to_table().equals(both[1].to_table().slice(0, 0))


def test_it_is_a_citizen_of_arrow_and_may_be_read_again(both: tuple[sa.EncryptedDataset, ds.Dataset]) -> None:
    ours, plain = both
    expected = plain.to_table()
    for _ in range(2):
        assert pa.table(ours).equals(expected)
    assert pl.DataFrame(ours).equals(pl.from_arrow(expected))
    if hasattr(pd.DataFrame, "from_arrow"):  # from pandas 3 on
        assert pd.DataFrame.from_arrow(ours)["n"].tolist() == expected["n"].to_pylist()
    assert duckdb.sql("select sum(n) from ours where year = 2013").fetchall() == (
        duckdb.sql("select sum(n) from expected where year = 2013").fetchall()
    )
    lazy = pl.scan_pyarrow_dataset(ours).filter(pl.col("year") == 2013).select("n", "city").collect()
    assert lazy.equals(pl.from_arrow(plain.to_table(["n", "city"], pc.field("year") == 2013)))
    assert pa.RecordBatchReader.from_stream(ours.scanner(["n"])).read_all().equals(plain.to_table(["n"]))


def test_batches_come_in_order_whatever_the_threads(both: tuple[sa.EncryptedDataset, ds.Dataset]) -> None:
    ours, plain = both
    for threads in (False, 2, True, 50):
        batches = list(ours.to_batches(batch_size=5, use_threads=threads))
        assert pa.Table.from_batches(batches).equals(plain.to_table())
        assert max(batch.num_rows for batch in batches) == 5


RICH = pa.table(
    {
        "time": pa.array([dt.datetime(2013, 1, 1, 5, 15, 0, 123456), None, dt.datetime(1969, 12, 31)]),
        "zone": pa.array([0, None, 1], pa.timestamp("us", tz="America/New_York")),
        "date": pa.array([dt.date(2013, 1, 1), None, dt.date(1, 1, 1)]),
        "kind": pa.array(["x", None, "y"]).dictionary_encode(),
        "small": pa.array([1, None, -3], pa.int8()),
        "money": pa.array([Decimal("1.10"), None, Decimal("-2.00")]),
        "data": pa.array([b"\x00\xff", None, b""]),
        "nested": pa.array([[{"a": [1, None]}], None, []]),
        "nothing": pa.nulls(3),
    }
)


@pytest.mark.parametrize("name", ["parquet", "arrow"])
def test_every_type_and_files_without_rows(lake: Lake, tmp_path: Path, name: str) -> None:
    for at, table in enumerate([RICH.slice(0, 0), RICH, RICH.slice(1, 1)]):
        write(table, tmp_path / f"{at}.{name}")
    lake.seal(tmp_path, "rich/")
    ours = sa.dataset("s3://lake/rich", client=lake.client)
    expected = ds.dataset(tmp_path, format="parquet" if name == "parquet" else "ipc").to_table()
    assert ours.to_table().equals(expected)
    assert ours.to_table(["money", "kind"]).equals(expected.select(["money", "kind"]))


def write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)


def test_what_names_hide_is_not_read(lake: Lake) -> None:
    table = pq_bytes(pa.table({"n": [1]}))
    lake.put(
        dict.fromkeys(
            ("t/a.parquet", "t/_b.parquet", "t/.c.parquet", "t/_d/e.parquet", "t/_k=1/e.parquet", "t/f/.g/h.parquet"),
            table,
        )
    )
    lake.client._store.put  # noqa: B018 - a marker of a directory has no name that the client would take
    lake.s3.server.objects["/lake/t/folder/"] = lake.s3.server.objects["/lake/t/a.parquet"]
    assert sa.dataset("s3://lake/t/", client=lake.client).files == ["s3://lake/t/a.parquet"]
    chosen = sa.dataset("s3://lake/t/", ignore_prefixes=["."], client=lake.client).files
    assert chosen == [f"s3://lake/t/{name}.parquet" for name in ("_b", "_d/e", "_k=1/e", "a")]
    one = sa.dataset("s3://lake/t/", ignore_prefixes="_d", client=lake.client).files
    assert one == sa.dataset("s3://lake/t/", ignore_prefixes=["_d"], client=lake.client).files
    assert [url.removeprefix("s3://lake/t/") for url in one] == [
        ".c.parquet",
        "_b.parquet",
        "_k=1/e.parquet",
        "a.parquet",
        "f/.g/h.parquet",
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("s3://lake/t/", ["t/a/1.parquet", "t/a/2.csv", "t/ab/3.parquet", "t/b/c/4.parquet"]),
        ("s3://lake/t", ["t/a/1.parquet", "t/a/2.csv", "t/ab/3.parquet", "t/b/c/4.parquet"]),
        ("s3://lake/t/a", ["t/a/1.parquet", "t/a/2.csv"]),
        ("s3://lake/t/a/1.parquet", ["t/a/1.parquet"]),
        ("s3://lake/t/*/*.parquet", ["t/a/1.parquet", "t/ab/3.parquet"]),
        ("s3://lake/t/**/*.parquet", ["t/a/1.parquet", "t/ab/3.parquet", "t/b/c/4.parquet"]),
        ("s3://lake/t/**", ["t/a/1.parquet", "t/a/2.csv", "t/ab/3.parquet", "t/b/c/4.parquet"]),
        ("s3://lake/t/a*/?.parquet", ["t/a/1.parquet", "t/ab/3.parquet"]),
        ("s3://lake/t/[!b]*/[12].*", ["t/a/1.parquet", "t/a/2.csv"]),
        (["s3://lake/t/b/c/4.parquet", "s3://lake/t/a/1.parquet"], ["t/b/c/4.parquet", "t/a/1.parquet"]),
        (["s3://lake/t/b/", "s3://lake/t/*/1.*", "s3://lake/t/a/1.parquet"], ["t/b/c/4.parquet", "t/a/1.parquet"]),
        (["s3://lake/t/a/1.parquet", "s3://lake/t/a/1.parquet"], ["t/a/1.parquet", "t/a/1.parquet"]),
        (
            ["s3://lake/t/a/", "s3://lake/t/**", "s3://lake/t/a/2.csv", "s3://lake/t/a/2.csv"],
            ["t/a/1.parquet", "t/a/2.csv", "t/ab/3.parquet", "t/b/c/4.parquet", "t/a/2.csv"],
        ),
        (ObjectLocation("lake", "t/b/"), ["t/b/c/4.parquet"]),
    ],
)
def test_prefixes_patterns_and_lists(lake: Lake, source: Any, expected: list[str]) -> None:
    lake.put(dict.fromkeys(("t/a/1.parquet", "t/a/2.csv", "t/ab/3.parquet", "t/b/c/4.parquet", "t2/5.parquet"), b""))
    found = sa.dataset(source, client=lake.client)
    assert found.files == [f"s3://lake/{key}" for key in expected]


LOGS = {
    "Delta": "_delta_log/00000000000000000000.json",
    "Hudi": ".hoodie/hoodie.properties",
    "Iceberg": "metadata/00000-0a1b.metadata.json",
}


@pytest.mark.parametrize("source", ["s3://lake/t/**/*.parquet", "s3://lake/t/x/**/*.parquet", "s3://lake/"])
@pytest.mark.parametrize("kind", LOGS)
def test_files_of_a_table_with_a_log_are_read_with_a_warning_that_names_it(lake: Lake, kind: str, source: str) -> None:
    lake.put(dict.fromkeys(("t/x/y=1/a.parquet", "t/x/y=2/b.parquet"), pq_bytes(pa.table({"n": [1]}))))
    lake.put({f"t/x/{LOGS[kind]}": b"{}"})
    with pytest.warns(RuntimeWarning, match=f"the {kind} table s3://lake/t/x has a log"):
        found = sa.dataset(source, path_suffix=".parquet", client=lake.client)
    assert found.to_table().to_pydict() == {"n": [1, 1], "y": [1, 2]}


def test_files_of_a_table_with_a_log_that_are_named_are_read_as_they_are(
    lake: Lake, recwarn: pytest.WarningsRecorder
) -> None:
    lake.put({"t/a.parquet": pq_bytes(pa.table({"n": [1]})), f"t/{LOGS['Delta']}": b"{}"})
    lake.put({"t/not_delta_log/b.parquet": b"", "t/metadata/c.json": b"", "t/hoodie/d.parquet": b""})
    assert sa.dataset(["s3://lake/t/a.parquet"], client=lake.client).to_table().num_rows == 1
    lake.client.delete(f"s3://lake/t/{LOGS['Delta']}")
    assert len(sa.dataset("s3://lake/t/", format="parquet", client=lake.client).files) == 4
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_a_file_that_is_named_twice_is_read_twice_as_by_pyarrow(lake: Lake, tmp_path: Path) -> None:
    write(pa.table({"n": [1, 2]}), tmp_path / "a.parquet")
    lake.seal(tmp_path, "t/")
    ours = sa.dataset(["s3://lake/t/a.parquet"] * 2, client=lake.client).to_table()
    assert ours.equals(ds.dataset([tmp_path / "a.parquet"] * 2).to_table())


def test_a_pattern_that_is_none_is_refused(lake: Lake) -> None:
    with pytest.raises(LocationError, match=r"y=\[z-a\].*no pattern"):
        sa.dataset("s3://lake/t/y=[z-a]/*", client=lake.client)


def test_a_location_is_no_pattern(lake: Lake) -> None:
    lake.put({"t/[a]*.parquet": pq_bytes(pa.table({"n": [1]})), "t/ab.parquet": b""})
    found = sa.dataset([ObjectLocation("lake", "t/[a]*.parquet")], client=lake.client)
    assert found.to_table()["n"].to_pylist() == [1]


def test_files_are_chosen_by_suffix_and_time(lake: Lake) -> None:
    lake.put({f"t/{name}": b"" for name in ("a.parquet", "b.snappy.parquet", "c.csv")})

    def chosen(**options: Any) -> list[str]:
        return [url.rpartition("/")[2] for url in sa.dataset("s3://lake/t/", client=lake.client, **options).files]

    assert chosen(path_suffix=".parquet") == ["a.parquet", "b.snappy.parquet"]
    assert chosen(path_ignore_suffix=[".csv", ".snappy.parquet"]) == ["a.parquet"]
    stored = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)  # what the S3 in memory says of all
    assert len(chosen(last_modified_begin=stored, last_modified_end=stored)) == 3
    with pytest.raises(ObjectNotFoundError):
        chosen(last_modified_begin=stored + dt.timedelta(seconds=1))
    with pytest.raises(ConfigurationError, match="time zone"):
        chosen(last_modified_end=dt.datetime(2026, 1, 1))


@pytest.mark.parametrize("flavor", ["hive", None])
@pytest.mark.parametrize("filter_", [None, pc.field("m") == "01"])
def test_paths_are_read_as_the_types_of_the_schema_that_is_given(
    lake: Lake, tmp_path: Path, flavor: str | None, filter_: pc.Expression | None
) -> None:
    table = pa.table({"m": ["01", "02", "10"], "x": [1, 2, 3]})
    ds.write_dataset(table, tmp_path, format="parquet", partitioning=["m"], partitioning_flavor=flavor)
    lake.seal(tmp_path, "t/")
    schema = pa.schema([("x", pa.int64()), ("m", pa.string())])
    ours = sa.dataset("s3://lake/t/", schema=schema, partitioning=flavor or ["m"], client=lake.client)
    theirs = ds.dataset(tmp_path, schema=schema, partitioning=ds.partitioning(schema.remove(0), flavor=flavor))
    assert ours.to_table(filter=filter_).equals(theirs.to_table(filter=filter_))
    assert ours.to_table(filter=filter_)["m"].to_pylist()[0] == "01"


def test_paths_that_were_read_as_something_else_do_not_become_what_another_schema_says(
    lake: Lake, tmp_path: Path
) -> None:
    ds.write_dataset(
        pa.table({"m": ["01"], "x": [1]}), tmp_path, format="parquet", partitioning=["m"], partitioning_flavor="hive"
    )
    lake.seal(tmp_path, "t/")
    found = sa.dataset("s3://lake/t/", client=lake.client)
    with pytest.raises(SchemaMismatchError, match="where the dataset is made"):
        found.replace_schema(pa.schema([("x", pa.int64()), ("m", pa.string())])).to_table()


@pytest.mark.parametrize("columns", [None, [], ["A"], ["b"], ["b", "A"]])
@pytest.mark.parametrize("filter_", [pc.field(0) < 2, pc.field("A") > pc.field(0)])
def test_a_filter_by_position_means_the_columns_of_the_dataset(
    lake: Lake, tmp_path: Path, columns: list[str] | None, filter_: pc.Expression
) -> None:
    write(pa.table({"a": range(10), "A": [*range(10)][::-1], "b": [*"abcdefghij"]}), tmp_path / "1.parquet")
    lake.seal(tmp_path, "t/")
    ours = sa.dataset("s3://lake/t/", client=lake.client).to_table(columns=columns, filter=filter_)
    assert ours.equals(ds.dataset(tmp_path).to_table(columns=columns, filter=filter_))


def test_columns_that_a_file_lacks_are_null_and_others_are_left_out_as_in_pyarrow(lake: Lake, tmp_path: Path) -> None:
    write(pa.table({"a": pa.array([1], pa.int64()), "b": ["x"]}), tmp_path / "1.parquet")
    write(pa.table({"c": [True], "a": pa.array([2], pa.int32())}), tmp_path / "2.parquet")
    lake.seal(tmp_path, "t/")
    ours = sa.dataset("s3://lake/t/", client=lake.client)
    assert ours.to_table().equals(ds.dataset(tmp_path).to_table())
    assert ours.to_table().to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    schema = pa.schema([("c", pa.bool_()), ("a", pa.float64()), ("d", pa.string())])
    given = sa.dataset("s3://lake/t/", schema=schema, client=lake.client)
    assert given.to_table().equals(ds.dataset(tmp_path, schema=schema).to_table())
    assert given.to_table(filter=pc.field("d").is_null() & (pc.field("a") > 1)).num_rows == 1


@pytest.mark.parametrize("inspected", [False, True])
def test_schemas_are_unified_when_asked_for(lake: Lake, inspected: bool) -> None:
    lake.put(
        {
            "t/k=1/a.parquet": pq_bytes(pa.table({"a": pa.array([1], pa.int32()), "b": ["x"]})),
            "t/k=2/b.parquet": pq_bytes(pa.table({"a": pa.array([2**40]), "c": [0.5]})),
            "t/k=3/c.parquet": pq_bytes(pa.table({"a": pa.array([1.5])})),
        }
    )
    expected = pa.table(
        {"a": [1.0, 2.0**40, 1.5], "b": ["x", None, None], "c": [None, 0.5, None], "k": pa.array([1, 2, 3], pa.int32())}
    )

    def unified() -> sa.EncryptedDataset:
        lake.forget()
        chosen = sa.dataset("s3://lake/t/", unify_schemas=True, client=lake.client)
        if inspected:
            assert chosen.schema == expected.schema
        return chosen

    assert unified().to_table().equals(expected)
    assert len(lake.asked("GetObject")) == (6 if inspected else 3)
    assert unified().to_table(["c", "k"]).equals(expected.select(["c", "k"]))
    assert unified().to_table(filter=pc.field("k") == 2)["c"].to_pylist() == [0.5]
    assert unified().to_table(["a"], pc.field("c").is_null() & (pc.field("k") > 1))["a"].to_pylist() == [1.5]
    assert pa.table(unified()).equals(expected)
    with pytest.raises(ColumnNotFoundError, match="'z'"):
        unified().to_table(["z"])


def test_partition_columns_replace_those_of_files(lake: Lake) -> None:
    lake.put({"t/k=2/a.parquet": pq_bytes(pa.table({"k": ["from the file"], "n": [1]}))})
    assert sa.dataset("s3://lake/t/", client=lake.client).to_table().to_pylist() == [{"n": 1, "k": 2}]


@pytest.mark.parametrize("name", ["parquet", "arrow", "orc", "csv", "json"])
def test_a_partition_column_that_files_have_too_is_what_the_path_says_whatever_else_is_read(
    lake: Lake, name: str
) -> None:
    for year in (2012, 2013):
        table = pa.table({"k": pa.array([0, 0], pa.int64()), "n": [1, 2]})
        sa.write_table(table, f"s3://lake/t/k={year}/a.{name}", client=lake.client)
    ours = sa.dataset("s3://lake/t/", client=lake.client)
    for columns in (None, ["n", "k"], ["k"]):
        assert ours.to_table(columns)["k"].to_pylist() == [2012, 2012, 2013, 2013]
        assert ours.to_table(columns, pc.field("k") > 2012)["k"].to_pylist() == [2013, 2013]
        assert ours.to_table(columns, (pc.field("k") > 2012) | (pc.field("n") > 5))["k"].to_pylist() == [2013, 2013]


@pytest.mark.parametrize("other", [{}, {"k": [0]}, {"k": ["text"]}], ids=str)
@pytest.mark.parametrize("condition", [None, pc.field("k") > 2010, pc.field("n") > 0], ids=str)
def test_unified_columns_are_the_same_whether_the_schema_was_looked_at_before(
    lake: Lake, other: dict[str, Any], condition: pc.Expression | None
) -> None:
    files = {"t/k=2012/a.parquet": pa.table({"k": pa.array([0], pa.int64()), "n": [1]})}
    files["t/k=2013/a.parquet"] = pa.table({"n": [2.5], **other, "m": [True]})
    lake.put({key: pq_bytes(table) for key, table in files.items()})
    for columns in (None, ["k"], ["m", "k"], {"later": pc.field("k") + 1}):
        fresh, asked = (sa.dataset("s3://lake/t/", unify_schemas=True, client=lake.client) for _ in range(2))
        assert asked.schema.names == ["k", "n", "m"]
        found = fresh.to_table(columns, condition)
        assert found.equals(asked.to_table(columns, condition))
        assert found.num_rows == 2


def test_where_paths_begin(lake: Lake) -> None:
    lake.put({"t/a=1/b=2/x.parquet": pq_bytes(pa.table({"n": [1]}))})

    def row(source: Any, **options: Any) -> dict[str, Any]:
        found: dict[str, Any] = sa.dataset(source, client=lake.client, **options).to_table().to_pylist()[0]
        return found

    assert row("s3://lake/t/") == {"n": 1, "a": 1, "b": 2}
    assert row("s3://lake/t/a=1/") == {"n": 1, "b": 2}
    assert row("s3://lake/t/a=*/b=2/*") == {"n": 1, "a": 1, "b": 2}
    assert row(["s3://lake/t/a=1/b=2/x.parquet"]) == {"n": 1, "a": 1, "b": 2}
    assert row("s3://lake/t/a=1/b=2/x.parquet") == {"n": 1, "a": 1, "b": 2}
    assert row("s3://lake/t/a=1/b=2/x.parquet", partitioning=["t", "a"]) == {"n": 1, "t": "t", "a": "a=1"}
    assert row("s3://lake/t/a=1/b=2/x.parquet", partition_base_dir="t/a=1") == {"n": 1, "b": 2}
    assert row("s3://lake/t/a=1/b=2/x.parquet", partitioning=None) == {"n": 1}
    lake.put({"u/7_x.parquet": pq_bytes(pa.table({"n": [1]}))})
    named = ds.partitioning(pa.schema([("c", pa.int8())]), flavor="filename")
    assert row("s3://lake/u/7_x.parquet", partitioning=named) == {"n": 1, "c": 7}
    assert row("s3://lake/t/a=1/", partition_base_dir="s3://lake/t") == {"n": 1, "a": 1, "b": 2}
    assert row("s3://lake/t/", partition_base_dir="t/a=1/") == {"n": 1, "b": 2}


CSV = {"t/1.csv": b"n,text\n1,a\n2,\n", "t/2.csv": b"text,n\nc,3\n", "t/3.csv": b"n\n4\n"}


def test_csv_files_have_the_types_of_the_first(lake: Lake, tmp_path: Path) -> None:
    lake.put(CSV)
    for key, content in CSV.items():
        (tmp_path / key.rpartition("/")[2]).write_bytes(content)
    ours, plain = sa.dataset("s3://lake/t/", client=lake.client), ds.dataset(tmp_path, format="csv")
    assert ours.to_table().equals(plain.to_table())
    assert ours.to_table(["text"], pc.field("n") > 1).equals(plain.to_table(["text"], filter=pc.field("n") > 1))
    assert ours.count_rows() == 4


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_csv_files_without_rows_have_columns_that_are_unified(lake: Lake, suffix: str) -> None:
    for at, text in enumerate((b"n\n1\n", b"n,later\n")):
        lake.put({f"t/{at}.{suffix}": gzip.compress(text) if suffix.endswith(".gz") else text})
    ours = sa.dataset("s3://lake/t/", unify_schemas=True, client=lake.client)
    assert ours.to_table().to_pylist() == [{"n": 1, "later": None}]
    assert ours.to_table(["later"]).schema == pa.schema([("later", pa.null())])


@pytest.mark.parametrize("filter_", [None, pc.field("k") > 0, pc.field("n") > 0], ids=str)
@pytest.mark.parametrize(
    ("suffix", "texts", "values"),
    [
        ("csv", ["n,v\n1,x\n", "n,v\n2,\n"], ["x", ""]),
        ("csv", ["n,v\n1,\n", "n,v\n2,x\n"], ["", "x"]),
        ("csv", ["n,v\n1,0.5\n", f"n,v\n2,{2**53 + 1}\n"], [0.5, 2.0**53]),
        (
            "json",
            ['{"n": 1, "v": {"a": 1}}\n', '{"n": 2, "v": {"b": 2}}\n'],
            [{"a": 1, "b": None}, {"a": None, "b": 2}],
        ),
    ],
    ids=["empty", "first empty", "numbers", "objects"],
)
def test_text_is_parsed_as_what_it_is_among_all_files_whether_the_schema_was_looked_at_before(
    lake: Lake, suffix: str, texts: list[str], values: list[Any], filter_: pc.Expression | None
) -> None:
    for at, text in enumerate(texts, 1):
        lake.put({f"t/k={at}/a.{suffix}": text.encode()})
    fresh, asked = (sa.dataset("s3://lake/t/", unify_schemas=True, client=lake.client) for _ in range(2))
    assert asked.schema.names == ["n", "v", "k"]
    for columns in (None, ["v"]):
        assert fresh.to_table(columns, filter_)["v"].to_pylist() == values
        assert fresh.to_table(columns, filter_).equals(asked.to_table(columns, filter_))


def test_files_without_a_name_that_says_the_format_need_one(lake: Lake) -> None:
    lake.put({"t/000000_0": pq_bytes(pa.table({"n": [1]}))})
    with pytest.raises(ConfigurationError, match="format="):
        sa.dataset("s3://lake/t/", client=lake.client)
    assert sa.dataset("s3://lake/t/", format="parquet", client=lake.client).to_table().num_rows == 1


def test_columns_that_are_not_there_are_named(both: tuple[sa.EncryptedDataset, ds.Dataset]) -> None:
    with pytest.raises(ColumnNotFoundError, match="'z'"):
        both[0].to_table(["z"])
    with pytest.raises(ColumnNotFoundError, match="z"):
        both[0].to_table(filter=pc.field("z") == 1)


def test_rows_of_nan_are_not_left_out_by_statistics_which_do_not_count_them() -> None:
    table = pa.table({"x": [1.0, float("nan"), 1.0, 1.0], "n": [0, 1, 2, 3]})
    x = pc.field("x")
    reader = piece_reader(TableFormat.PARQUET, ObjectLocation("lake", "t.parquet"), {})

    def read(condition: pc.Expression) -> list[int]:
        source = MemoryObject(pq_bytes(table, row_group_size=2), [])
        asked = Asked(None, table.schema, condition, table.schema, pc.scalar(True))
        return pa.concat_tables(reader.pieces(source, asked)).filter(condition)["n"].to_pylist()

    for condition in (x != 1.0, ~(x == 1.0), x.is_nan()):
        assert read(condition) == [1], condition
