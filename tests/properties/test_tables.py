"""Any table that Arrow can hold comes back from any format that carries it, through every face."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pandas.testing as pdt
import polars as pl
import polars.testing as plt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import arrowseal.arrow
import arrowseal.pandas
import arrowseal.polars
from arrowseal.exceptions import ArrowSealError, NotATableError
from memory_client import MemoryClient

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
CELLS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint8(): st.integers(0, 255),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): TEXT,
    pa.binary(): st.binary(max_size=8),
    pa.timestamp("us"): st.integers(-(2**50), 2**50),
    pa.timestamp("us", tz="UTC"): st.integers(-(2**50), 2**50),
    pa.date32(): st.integers(-700_000, 2_900_000),
    pa.list_(pa.int64()): st.lists(st.integers(-5, 5), max_size=3),
    pa.struct([("a", pa.int64()), ("b", pa.string())]): st.fixed_dictionaries({"a": st.integers(0, 9), "b": TEXT}),
    pa.dictionary(pa.int32(), pa.string()): st.sampled_from(["x", "y", "z"]),
}


@st.composite
def tables(draw: st.DrawFn, kinds: list[pa.DataType] | None = None) -> pa.Table:
    rows = draw(st.integers(0, 12))
    drawn = draw(st.lists(st.sampled_from(kinds or list(CELLS)), min_size=1, max_size=4))
    names = draw(st.lists(TEXT.filter(bool), min_size=len(drawn), max_size=len(drawn), unique=True))
    arrays = []
    for kind in drawn:
        cells = st.one_of(st.none(), CELLS[kind])
        values = draw(st.lists(cells, min_size=rows, max_size=rows))
        arrays.append(
            pa.array(values).cast(pa.string()).dictionary_encode()
            if pa.types.is_dictionary(kind)
            else pa.array(values, kind)
        )
    return pa.table(arrays, names=names)


@given(table=tables(), name=st.sampled_from(["a.parquet", "a.arrow", "a.feather"]), chunks=st.integers(1, 5))
def test_arrow_tables_come_back_from_binary_formats(table: pa.Table, name: str, chunks: int) -> None:
    client = MemoryClient()
    chunked = pa.concat_tables([table.slice(at, chunks) for at in range(0, table.num_rows, chunks)] or [table])
    arrowseal.arrow.write_table(chunked, f"s3://lake/{name}", client=client)
    read = arrowseal.arrow.read_table(f"s3://lake/{name}", client=client)
    assert read.schema == table.schema
    assert read.to_pylist() == table.to_pylist()


@given(table=tables([pa.int64(), pa.float64(), pa.bool_(), pa.string(), pa.list_(pa.int64())]))
def test_arrow_tables_come_back_from_json_lines(table: pa.Table) -> None:
    client = MemoryClient()
    arrowseal.arrow.write_table(table, "s3://lake/a.ndjson.gz", client=client)
    read = arrowseal.arrow.read_table("s3://lake/a.ndjson.gz", client=client)
    assert read.num_rows == table.num_rows
    if table.num_rows:
        expected = [
            {
                key: None if isinstance(value, float) and abs(value) == float("inf") else value
                for key, value in row.items()
            }
            for row in table.to_pylist()
        ]
        strings = {field.name for field in table.schema if field.type == pa.string()}
        # pyarrow takes text that looks like a time for one.
        for got, wanted in zip(read.to_pylist(), expected, strict=True):
            assert {k: v for k, v in got.items() if k not in strings} == {
                k: v for k, v in wanted.items() if k not in strings
            }


@given(table=tables())
def test_polars_frames_come_back(table: pa.Table) -> None:
    client = MemoryClient()
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    arrowseal.polars.write_parquet(frame, "s3://lake/a.parquet", client=client)
    arrowseal.polars.write_ipc(frame, "s3://lake/a.arrow", client=client)
    plt.assert_frame_equal(arrowseal.polars.read_parquet("s3://lake/a.parquet", client=client), frame)
    plt.assert_frame_equal(arrowseal.polars.scan_parquet("s3://lake/a.parquet", client=client).collect(), frame)
    plt.assert_frame_equal(arrowseal.polars.read_ipc("s3://lake/a.arrow", client=client), frame)


@given(table=tables())
def test_pandas_frames_come_back_as_pandas_itself_brings_them(table: pa.Table) -> None:
    client = MemoryClient()
    frame = table.to_pandas()
    for name in ("parquet", "feather"):
        sink = io.BytesIO()
        getattr(frame, f"to_{name}")(sink)
        getattr(arrowseal.pandas, f"to_{name}")(frame, f"s3://lake/a.{name}", client=client)
        read = getattr(arrowseal.pandas, f"read_{name}")(f"s3://lake/a.{name}", client=client)
        pdt.assert_frame_equal(read, getattr(pd, f"read_{name}")(sink))


FACES = {
    "a.parquet": [arrowseal.pandas.read_parquet, arrowseal.polars.read_parquet, arrowseal.arrow.read_table],
    "a.arrow": [arrowseal.pandas.read_feather, arrowseal.polars.read_ipc, arrowseal.arrow.read_table],
    "a.csv": [arrowseal.pandas.read_csv, arrowseal.polars.read_csv, arrowseal.arrow.read_table],
    "a.ndjson": [arrowseal.pandas.read_json, arrowseal.polars.read_ndjson, arrowseal.arrow.read_table],
}


@pytest.mark.parametrize(("name", "face"), [(name, face) for name, faces in FACES.items() for face in faces])
@settings(max_examples=60)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_table_or_refused_as_none(name: str, face: Any, content: bytes) -> None:
    try:
        face(f"s3://lake/{name}", client=MemoryClient(**{name: content}))
    except ArrowSealError as error:
        assert type(error) is NotATableError  # noqa: PT017 - most contents raise, some are tables


@settings(max_examples=60)
@given(at=st.integers(0, 10_000), length=st.integers(1, 40))
def test_a_damaged_parquet_file_is_a_table_or_refused_as_none(at: int, length: int) -> None:
    sink = io.BytesIO()
    pd.DataFrame({"n": range(50), "text": [str(n) for n in range(50)]}).to_parquet(sink)
    damaged = bytearray(sink.getvalue())
    at %= len(damaged)
    damaged[at : at + length] = bytes(len(damaged[at : at + length]))
    for face in FACES["a.parquet"]:
        try:
            face("s3://lake/a.parquet", client=MemoryClient(**{"a.parquet": bytes(damaged)}))
        except ArrowSealError as error:
            assert type(error) is NotATableError  # noqa: PT017
