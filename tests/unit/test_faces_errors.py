"""Content that is not the table: which error it is, and that nothing of the content is in it."""

from __future__ import annotations

import functools
import io
import logging
import sys
import traceback
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import arrowseal.arrow
import arrowseal.pandas
import arrowseal.polars
from arrowseal.exceptions import ColumnNotFoundError, ConfigurationError, NotATableError
from arrowseal.tables.formats import TableFormat
from arrowseal.tables.refusal import empty_table
from memory_client import MemoryClient

CANARY = "canary-7f3a"
FRAME = pd.DataFrame({"a": [1, 2], "b": [CANARY, "x"]})


def bytes_of(method: str, **options: Any) -> bytes:
    sink = io.BytesIO()
    getattr(FRAME, method)(sink, **options)
    return sink.getvalue()


CSV = bytes_of("to_csv", index=False)
PARQUET = bytes_of("to_parquet")
FEATHER = bytes_of("to_feather")
JSON = bytes_of("to_json")
LINES = bytes_of("to_json", orient="records", lines=True)

READS: dict[str, tuple[Any, dict[str, Any], list[bytes]]] = {
    "pandas csv": (arrowseal.pandas.read_csv, {}, [b"", PARQUET, b"a\n1,2\n1,2,3\n" + CANARY.encode()]),
    "pandas csv by pyarrow": (arrowseal.pandas.read_csv, {"engine": "pyarrow"}, [b"", CSV + b"1,2," + CANARY.encode()]),
    "pandas csv of any separator": (arrowseal.pandas.read_csv, {"sep": None, "engine": "python"}, [b"", b"\n\n"]),
    "pandas csv as gzip": (arrowseal.pandas.read_csv, {"compression": "gzip"}, [CSV, CANARY.encode()]),
    "pandas csv as zip": (arrowseal.pandas.read_csv, {"compression": "zip"}, [CSV]),
    "pandas csv as xz": (arrowseal.pandas.read_csv, {"compression": "xz"}, [CSV]),
    "pandas csv as floats": (arrowseal.pandas.read_csv, {"dtype": float}, [CSV]),
    "pandas csv in ascii": (arrowseal.pandas.read_csv, {"encoding": "ascii"}, [f"a\n{CANARY}é\n".encode()]),
    "pandas parquet": (arrowseal.pandas.read_parquet, {}, [b"", CSV, PARQUET[:-1], PARQUET[:-9] + PARQUET[-8:]]),
    "pandas json": (arrowseal.pandas.read_json, {}, [b"", CSV, JSON[:-1], PARQUET]),
    "pandas json lines": (arrowseal.pandas.read_json, {"lines": True}, [CSV, LINES[:-3]]),
    "pandas json split": (arrowseal.pandas.read_json, {"orient": "split"}, [f'{{"{CANARY}": [1]}}'.encode()]),
    "pandas json table": (arrowseal.pandas.read_json, {"orient": "table"}, [JSON, b"[]"]),
    "pandas feather": (arrowseal.pandas.read_feather, {}, [b"", CSV, FEATHER[:-1]]),
    "polars csv": (arrowseal.polars.read_csv, {}, [b"", b"a\n\xff\n", b"a\n1,2\n" + CANARY.encode()]),
    "polars csv as integers": (arrowseal.polars.read_csv, {"schema_overrides": {"b": pl.Int64}}, [CSV]),
    "polars parquet": (arrowseal.polars.read_parquet, {}, [b"", CSV, PARQUET[:-1]]),
    "polars ipc": (arrowseal.polars.read_ipc, {}, [b"", CSV, FEATHER[:-1]]),
    "polars ndjson": (arrowseal.polars.read_ndjson, {}, [CSV, LINES[:-3]]),
    "arrow parquet": (arrowseal.arrow.read_table, {"format": "parquet"}, [b"", CSV, PARQUET[:-1]]),
    "arrow ipc": (arrowseal.arrow.read_table, {"format": "ipc"}, [b"", CSV, FEATHER[:-1]]),
    "arrow csv": (arrowseal.arrow.read_table, {"format": "csv"}, [b"", CSV + b"1,2," + CANARY.encode()]),
    "arrow json": (arrowseal.arrow.read_table, {"format": "json"}, [CSV, LINES[:-3]]),
}
CASES = [
    pytest.param(face, options, content, id=f"{name} {at}")
    for name, (face, options, contents) in READS.items()
    for at, content in enumerate(contents)
]


@pytest.mark.parametrize(("face", "options", "content"), CASES)
def test_content_that_is_no_such_table_is_refused_without_quoting_it(
    face: Any, options: dict[str, Any], content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    client = MemoryClient(**{"dir/object": content})
    caplog.set_level(logging.DEBUG)
    with pytest.raises(NotATableError) as caught:
        face("s3://lake/dir/object", client=client, **options)
    message = str(caught.value)
    assert "s3://lake/dir/object" in message
    assert any(f"as {table_format.value} " in message for table_format in TableFormat)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert CANARY not in "".join(traceback.format_exception(caught.value)) + caplog.text
    assert len(client.counters) == 0


@pytest.mark.parametrize("kind", [pl.Int128, getattr(pl, "UInt128", pl.Int128)])
def test_integers_of_128_bits_are_told_where_pyarrow_would_have_to_know_them(kind: Any) -> None:
    frame = pl.DataFrame({"huge": pl.Series([1], dtype=kind)})
    parquet, ipc = io.BytesIO(), io.BytesIO()
    frame.write_parquet(parquet)
    frame.write_ipc(ipc)
    client = MemoryClient(parquet=parquet.getvalue(), ipc=ipc.getvalue())
    for face, name in (
        (arrowseal.pandas.read_parquet, "parquet"),
        (arrowseal.pandas.read_feather, "ipc"),
        (functools.partial(arrowseal.arrow.read_table, format="parquet"), "parquet"),
    ):
        told = f"s3://lake/{name} cannot be read as {name} here: .*128 bits.*arrowseal.polars reads"
        with pytest.raises(NotATableError, match=told):
            face(f"s3://lake/{name}", client=client)
    for write in (arrowseal.arrow.write_table, arrowseal.arrow.write_dataset):
        with pytest.raises(ConfigurationError, match=r"does not know, '_pl[iu]128': cast it"):
            write(frame, "s3://lake/t.parquet", client=client)
    assert arrowseal.polars.read_parquet("s3://lake/parquet", client=client).equals(frame)


def test_a_lazy_table_that_is_none_is_refused_when_it_is_collected() -> None:
    client = MemoryClient(object=CSV)
    lazy = arrowseal.polars.scan_parquet("s3://lake/object", client=client)
    assert client.calls == []
    with pytest.raises(NotATableError, match="s3://lake/object cannot be read as parquet") as caught:
        lazy.collect()
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_damage_that_shows_only_in_the_pages_is_refused_too() -> None:
    frame = pl.DataFrame({"a": list(range(10_000))})
    sink = io.BytesIO()
    frame.write_parquet(sink)
    damaged = bytearray(sink.getvalue())
    damaged[4:2000] = bytes(1996)
    client = MemoryClient(object=bytes(damaged))
    for face in (arrowseal.polars.read_parquet, arrowseal.pandas.read_parquet, arrowseal.arrow.read_table):
        options = {"format": "parquet"} if face is arrowseal.arrow.read_table else {}
        with pytest.raises(NotATableError):
            face("s3://lake/object", client=client, **options)
    with pytest.raises(NotATableError):
        arrowseal.polars.scan_parquet("s3://lake/object", client=client).collect()


@pytest.mark.parametrize(
    ("face", "content", "options"),
    [
        (arrowseal.pandas.read_csv, CSV, {"usecols": ["a", "zz"]}),
        (arrowseal.pandas.read_csv, CSV, {"usecols": ["a", "zz"], "engine": "pyarrow"}),
        (arrowseal.pandas.read_csv, CSV, {"index_col": "zz"}),
        (arrowseal.pandas.read_csv, CSV, {"parse_dates": ["zz"]}),
        (arrowseal.pandas.read_parquet, PARQUET, {"columns": ["a", "zz"]}),
        (arrowseal.pandas.read_feather, FEATHER, {"columns": ["a", "zz"]}),
        (arrowseal.polars.read_csv, CSV, {"columns": ["a", "zz"]}),
        (arrowseal.polars.read_parquet, PARQUET, {"columns": ["a", "zz"]}),
        (arrowseal.polars.read_ipc, FEATHER, {"columns": ["a", "zz"]}),
        (arrowseal.arrow.read_table, PARQUET, {"format": "parquet", "columns": ["a", "zz"]}),
        (arrowseal.arrow.read_table, FEATHER, {"format": "ipc", "columns": ["a", "zz"]}),
        (arrowseal.arrow.read_table, CSV, {"format": "csv", "columns": ["a", "zz"]}),
        (arrowseal.arrow.read_table, LINES, {"format": "json", "columns": ["a", "zz"]}),
    ],
)
def test_a_column_that_does_not_exist_is_named(face: Any, content: bytes, options: dict[str, Any]) -> None:
    client = MemoryClient(object=content)
    with pytest.raises(ColumnNotFoundError) as caught:
        face("s3://lake/object", client=client, **options)
    assert str(caught.value).startswith("s3://lake/object has no column 'zz'; asked for: ")
    assert "'b'" not in str(caught.value)  # what there is belongs to the content
    assert isinstance(caught.value, KeyError)
    assert caught.value.__context__ is None


def test_a_nested_field_that_does_not_exist_is_named_too() -> None:
    client = MemoryClient()
    table = pa.table({"a": [{"x": 1, "y": 2}], "b": [1]})
    arrowseal.arrow.write_table(table, "s3://lake/a.parquet", client=client)
    found = arrowseal.arrow.read_table("s3://lake/a.parquet", columns=["a.y"], client=client)
    assert found.to_pylist() == [{"a": {"y": 2}}]
    with pytest.raises(ColumnNotFoundError, match=r"no column 'a\.z'"):
        arrowseal.arrow.read_table("s3://lake/a.parquet", columns=["a.z"], client=client)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"engine": "bogus"}, "Unknown engine: bogus"), ({"on_bad_lines": "bogus"}, "Argument bogus is invalid")],
)
def test_a_wrong_value_of_an_argument_stays_the_error_of_the_library(options: dict[str, Any], message: str) -> None:
    client = MemoryClient(object=CSV)
    with pytest.raises(ValueError, match=message) as caught:
        arrowseal.pandas.read_csv("s3://lake/object", client=client, **options)
    assert type(caught.value) is ValueError


def test_exceptions_of_functions_that_the_caller_passed_in_are_the_callers() -> None:
    class MineError(Exception):
        pass

    def convert(_: str) -> None:
        raise MineError

    with pytest.raises(MineError):
        arrowseal.pandas.read_csv("s3://lake/object", converters={"a": convert}, client=MemoryClient(object=CSV))


def test_an_object_that_is_not_there_is_not_called_a_bad_table() -> None:
    with pytest.raises(KeyError) as caught:
        arrowseal.pandas.read_csv("s3://lake/object", client=MemoryClient())
    assert type(caught.value) is KeyError  # the client's own error, whatever it is


def test_nothing_is_put_when_the_table_cannot_be_written() -> None:
    client = MemoryClient()
    frame = pd.DataFrame({"a": [object()]})
    with pytest.raises(pa.ArrowException):
        arrowseal.pandas.to_parquet(frame, "s3://lake/a.parquet", client=client)
    with pytest.raises(TypeError, match="JSON has no values of type bytes"):
        arrowseal.arrow.write_table(pa.table({"a": [b"1"]}), "s3://lake/a.json", client=client)
    assert client.calls == []
    assert len(client.counters) == 0


@pytest.mark.parametrize("name", ["a", "a.gz", "a.xlsx", "a.parquet.bak"])
def test_a_name_that_says_no_format_asks_for_one(name: str) -> None:
    client = MemoryClient()
    with pytest.raises(ConfigurationError, match=r"says no table format: give format="):
        arrowseal.arrow.read_table(f"s3://lake/{name}", client=client)
    with pytest.raises(ConfigurationError, match="'xlsx' is not a table format"):
        arrowseal.arrow.read_table(f"s3://lake/{name}", format="xlsx", client=client)
    with pytest.raises(ConfigurationError, match="no text compressed as xz"):
        arrowseal.arrow.read_table("s3://lake/a.csv.xz", client=client)
    assert client.calls == []


@pytest.mark.parametrize("table_format", list(TableFormat))
def test_the_table_that_errors_are_compared_with_is_a_valid_one(table_format: TableFormat) -> None:
    client = MemoryClient(object=empty_table(table_format))
    table = arrowseal.arrow.read_table("s3://lake/object", format=table_format, client=client)
    assert table.num_rows <= 1
    assert table.num_columns <= 1


def test_an_extension_that_denies_the_compression_is_refused_as_polars_does() -> None:
    client = MemoryClient()
    frame = pl.DataFrame({"a": [1]})
    for name, options in (("a.csv.gz", {}), ("a.csv", {"compression": "gzip"}), ("a.csv.zst", {"compression": "gzip"})):
        with pytest.raises(ConfigurationError, match="which its extension does not say"):
            arrowseal.polars.write_csv(frame, f"s3://lake/{name}", client=client, **options)
    assert client.calls == []
    arrowseal.polars.write_csv(frame, "s3://lake/a.csv", compression="gzip", check_extension=False, client=client)
    assert client.objects["a.csv"].startswith(b"\x1f\x8b")


def test_before_polars_21_a_scan_works_and_names_the_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars.lazyframe.resolver", None)
    client = MemoryClient(table=PARQUET, text=CSV)
    lazy = arrowseal.polars.scan_parquet("s3://lake/table", client=client).filter(pl.col("a") > 1).select("a")
    assert client.calls == []
    assert lazy.collect()["a"].to_list() == [2]
    with pytest.raises(pl.exceptions.ComputeError, match="NotATableError: the content of s3://lake/text"):
        arrowseal.polars.scan_parquet("s3://lake/text", client=client).collect()


def test_what_is_no_client_is_refused_by_every_face() -> None:
    for read in (arrowseal.pandas.read_csv, arrowseal.polars.scan_parquet, arrowseal.arrow.read_table):
        with pytest.raises(ConfigurationError, match="not str"):
            read("s3://lake/a.csv", client="alias/tables")
