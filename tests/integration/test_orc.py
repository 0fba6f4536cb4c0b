"""ORC and IPC by ranges of encrypted objects: tables come back, and columns fetch about their bytes."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pandas.testing as pdt
import polars as pl
import polars.testing as plt
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import orc

import arrowseal.arrow as sa
import arrowseal.pandas as spd
import arrowseal.polars as spl
from arrowseal import Client
from arrowseal.exceptions import ColumnNotFoundError, NotATableError
from arrowseal.objects import EncryptedObject
from arrowseal.tables.dataset_files import Wanted
from read_log import ReadLog

ROWS = 40_000
RICH = pa.table(
    {
        "n": pa.array([None if n % 3 == 0 else n for n in range(ROWS)], pa.int64()),
        "x": np.random.default_rng(1).random(ROWS),
        "text": pa.array([None if n % 5 == 0 else f"té {n}" for n in range(ROWS)], pa.string()),
        "money": pa.array([Decimal(n) / 100 for n in range(ROWS)], pa.decimal128(12, 2)),
        "time": pa.array(list(range(ROWS)), pa.timestamp("ns")),
        "day": pa.array(list(range(ROWS)), pa.date32()),
        "yes": pa.array([n % 2 == 0 for n in range(ROWS)], pa.bool_()),
        "data": pa.array([bytes([n % 256]) for n in range(ROWS)], pa.binary()),
        "list": pa.array([[n, None] for n in range(ROWS)], pa.list_(pa.int64())),
        "struct": pa.array([{"a": n, "b": str(n)} for n in range(ROWS)]),
        "kind": pa.array(["xyz"[n % 3] for n in range(ROWS)]).dictionary_encode(),
    }
)
NOISE = pa.table({f"c{number}": np.random.default_rng(number).random(ROWS) for number in range(40)})


@pytest.fixture(params=["a.orc", "a.arrow"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def plain(name: str, table: pa.Table) -> pa.Table:
    """What the format makes of a table."""
    if name.endswith("arrow"):
        return table
    sink = io.BytesIO()
    at = table.schema.get_field_index("kind")
    if at >= 0:
        table = table.set_column(at, "kind", table["kind"].cast(pa.string()))
    orc.write_table(table, sink)
    return orc.ORCFile(pa.BufferReader(sink.getvalue())).read()


@pytest.mark.parametrize("rows", [0, 1, ROWS])
def test_tables_of_every_type_come_back_whole_and_by_columns(name: str, rows: int, resident: Client, lake: str) -> None:
    url, table = f"s3://{lake}/{name}", RICH.slice(0, rows)
    sa.write_table(table, url, client=resident)
    expected = plain(name, table)
    assert sa.read_table(url, client=resident).to_pydict() == expected.to_pydict()
    for columns in [[each] for each in table.column_names] + [["yes", "n"], table.column_names[::-1]]:
        read = sa.read_table(url, columns=columns, client=resident)
        assert read.schema.names == columns
        assert read.cast(expected.select(columns).schema).equals(expected.select(columns))


def test_two_columns_of_forty_fetch_about_their_bytes(
    name: str, resident: Client, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3://{lake}/{name}"
    written = sa.write_table(NOISE, url, client=resident)
    log = ReadLog(monkeypatch, resident)
    log.clear()
    assert sa.read_table(url, columns=["c30", "c5"], client=resident).equals(NOISE.select(["c30", "c5"]))
    two = NOISE.select(["c30", "c5"]).nbytes
    assert two <= log.bytes <= 1.2 * two + 2**17
    log.clear()
    read: Any = spd.read_orc if name.endswith("orc") else spd.read_feather
    pdt.assert_frame_equal(read(url, columns=["c5", "c30"], client=resident), NOISE.select(["c5", "c30"]).to_pandas())
    assert log.fetched_bytes < written.plaintext_bytes / 2
    if name.endswith("arrow"):
        log.clear()
        frame = spl.read_ipc(url, columns=["c30", "c5"], n_rows=7, client=resident)
        plt.assert_frame_equal(frame, pl.DataFrame(NOISE.select(["c30", "c5"])).head(7))
        assert log.fetched_bytes < written.plaintext_bytes / 4


def write_in_pieces(table: pa.Table, url: str, client: Client) -> None:
    """In stripes or record batches of some hundred rows."""
    options = {"stripe_size": 2**16} if url.endswith("orc") else {}
    sa.write_table(pa.Table.from_batches(table.to_batches(2000)), url, client=client, **options)


@pytest.mark.parametrize("made", [False, True])
def test_columns_that_lie_side_by_side_in_a_dataset_fetch_about_their_bytes(
    name: str, resident: Client, lake: str, made: bool
) -> None:
    options = {"stripe_size": 2**21} if name.endswith("orc") else {}
    few = NOISE.select(NOISE.column_names[:14])
    sa.write_table(pa.concat_tables([few] * 4), f"s3://{lake}/{name}", client=resident, **options)
    found = sa.dataset(f"s3://{lake}/", client=resident)
    assert found.schema.equals(few.schema)
    resident.counters.clear()
    columns = {each: pc.field(each) for each in ("c0", "c1", "c2")}
    read = found.to_table(columns if made else [*columns])
    assert read.equals(pa.concat_tables([few.select([*columns])] * 4))
    assert sum(record.stored_bytes for record in resident.counters) < 1.5 * read.nbytes


def test_a_large_file_of_a_dataset_is_read_in_pieces(
    name: str, resident: Client, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_in_pieces(NOISE, f"s3://{lake}/{name}", resident)
    found = sa.dataset(f"s3://{lake}/", client=resident)
    pieces: list[int] = []
    finished = Wanted.finished

    def counting(wanted: Wanted, table: pa.Table, *others: Any) -> pa.Table:
        pieces.append(table.num_rows)
        return finished(wanted, table, *others)

    monkeypatch.setattr(Wanted, "finished", counting)
    assert found.to_table().equals(NOISE)
    assert max(pieces) < ROWS / 5


def test_orc_in_many_stripes_keeps_its_order(resident: Client, lake: str) -> None:
    url = f"s3://{lake}/a.orc"
    sa.write_table(NOISE, url, stripe_size=2**16, client=resident)
    assert sa.read_table(url, columns=["c7"], client=resident).equals(NOISE.select(["c7"]))
    assert orc.ORCFile(pa.BufferReader(resident.get(url))).nstripes > 8


STRUCT = pa.struct([("a", pa.int64()), ("b", pa.string())])
INNER = [None, {"a": 1, "b": "1"}, {"a": None, "b": "2"}, None, {"a": 4, "b": None}, {"a": 5, "b": "5"}]
STRUCTS = {
    "struct": pa.array(INNER, STRUCT),
    "in a struct": pa.array([{"s": one, "n": 7} for one in INNER], pa.struct([("s", STRUCT), ("n", pa.int8())])),
    "in a list": pa.array([[{"s": one}, None] for one in INNER], pa.list_(pa.struct([("s", STRUCT)]))),
    "in a map": pa.array([[("k", {"s": one})] for one in INNER], pa.map_(pa.string(), pa.struct([("s", STRUCT)]))),
    "with a list": pa.array([None if one is None else {"l": [one["a"]]} for one in INNER]),
}


@pytest.mark.parametrize("column", STRUCTS.values(), ids=STRUCTS)
def test_structs_with_nulls_come_back_from_orc_be_they_parts_of_others_or_not(
    column: pa.Array, resident: Client, lake: str
) -> None:
    whole = pa.table({"x": column, "n": range(len(column))})
    for rows in (whole, whole.slice(1), whole.slice(2, 3), pa.concat_tables([whole.slice(4), whole])):
        sa.write_table(rows, f"s3://{lake}/a.orc", client=resident)
        assert sa.read_table(f"s3://{lake}/a.orc", client=resident).to_pylist() == rows.to_pylist()
    # Chunks of one column part those of the others, where a table goes through a stream.
    parted = pa.table({"x": column, "n": pa.chunked_array([[0, 1], [2, 3, 4, 5]])})
    sa.write_table(parted, f"s3://{lake}/a.orc", client=resident)
    assert sa.read_table(f"s3://{lake}/a.orc", client=resident).to_pylist() == parted.to_pylist()
    sa.write_dataset(whole, f"s3://{lake}/d", format="orc", max_rows_per_group=2, max_rows_per_file=4, client=resident)
    assert sa.dataset(f"s3://{lake}/d", client=resident).to_table().to_pylist() == whole.to_pylist()


@pytest.mark.parametrize("column", STRUCTS.values(), ids=STRUCTS)
def test_frames_whose_columns_are_arrows_come_back_from_orc_also_where_they_are_parts_of_others(
    column: pa.Array, resident: Client, lake: str
) -> None:
    frame = pa.table({"x": column, "n": range(len(column))}).to_pandas(types_mapper=pd.ArrowDtype)
    for rows in (frame, frame.iloc[1:], frame.iloc[2:5], pd.concat([frame.iloc[4:], frame])):
        rows = rows.reset_index(drop=True)
        as_given = pa.Table.from_pandas(rows).to_pylist()
        spd.to_orc(rows, f"s3://{lake}/a.orc", client=resident)
        assert sa.read_table(f"s3://{lake}/a.orc", client=resident).to_pylist() == as_given
        assert pa.Table.from_pandas(rows).to_pylist() == as_given  # the caller's frame is as it was


def test_datasets_of_orc_hold_the_values_of_categories_as_single_files_do(resident: Client, lake: str) -> None:
    table = pa.table({"kind": pa.array(["a", None, "b", "a"]).dictionary_encode(), "n": range(4)})
    sa.write_dataset(table, f"s3://{lake}/d", format="orc", max_rows_per_group=2, max_rows_per_file=3, client=resident)
    read = sa.dataset(f"s3://{lake}/d", client=resident).to_table()
    assert read.equals(pa.table({"kind": ["a", None, "b", "a"], "n": range(4)}))


def test_ipc_in_many_batches_keeps_its_order_and_its_dictionaries(resident: Client, lake: str) -> None:
    url, sink = f"s3://{lake}/a.arrow", pa.BufferOutputStream()
    kinds = pa.array(["x", "y", None, "z"] * 10_000).dictionary_encode()
    table = pa.table({"kind": kinds, **{name: NOISE[name] for name in NOISE.column_names}})
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table, max_chunksize=1000)
    resident.put(url, sink.getvalue())
    assert sa.read_table(url, columns=["c3", "kind"], client=resident).equals(table.select(["c3", "kind"]))
    frame = spd.read_feather(url, columns=["kind", "c3"], client=resident)
    pdt.assert_frame_equal(frame, table.select(["kind", "c3"]).to_pandas())


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(
    "columns", [["c2"], ("c2", "c1"), ["c10", "c2"], ["c2", "c1", "c2"], [0], [1, 2], [], (), None], ids=str
)
def test_pandas_finds_the_columns_of_feather_that_it_finds_in_the_plain_file(
    columns: Any, in_memory: bool, resident: Client, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_memory:  # a small object as if it were not held
        monkeypatch.setattr(EncryptedObject, "in_memory", False)
    content = io.BytesIO()
    NOISE.slice(0, 1000).to_pandas().to_feather(content)
    resident.put(f"s3://{lake}/a.feather", content.getvalue())
    read = spd.read_feather(f"s3://{lake}/a.feather", columns=columns, client=resident)
    pdt.assert_frame_equal(read, pd.read_feather(content, columns=columns))


def test_pandas_writes_and_reads_orc(resident: Client, lake: str) -> None:
    frame = pd.DataFrame({"n": [1, 2, 3], "x": [0.5, None, -2.0], "text": ["a", None, "é"]})
    result = spd.to_orc(frame, f"s3://{lake}/a.orc", index=False, client=resident)
    assert result.encryption == "CSE V3"
    pdt.assert_frame_equal(spd.read_orc(f"s3://{lake}/a.orc", client=resident), frame)
    read = spd.read_orc(f"s3://{lake}/a.orc", columns=["x"], dtype_backend="pyarrow", client=resident)
    assert str(read["x"].dtype) == "double[pyarrow]"


def test_a_field_of_a_struct_of_orc(resident: Client, lake: str) -> None:
    sa.write_table(RICH.select(["n", "struct"]), f"s3://{lake}/a.orc", client=resident)
    read = sa.read_table(f"s3://{lake}/a.orc", columns=["struct.a"], client=resident)
    assert read["struct"][7].as_py() == {"a": 7}
    sa.write_table(RICH.select(["n", "struct"]).slice(0, 0), f"s3://{lake}/no_rows.orc", client=resident)
    for columns in (["struct.a"], ["n", "struct.a"], ["struct.a", "struct", "n"], []):
        nothing = sa.read_table(f"s3://{lake}/no_rows.orc", columns=columns, client=resident)
        assert nothing.schema == sa.read_table(f"s3://{lake}/a.orc", columns=columns, client=resident).schema


def test_what_is_not_there_or_no_such_table_is_named(name: str, resident: Client, lake: str) -> None:
    url = f"s3://{lake}/{name}"
    sa.write_table(NOISE, url, client=resident)
    reads: list[Any] = [sa.read_table, spd.read_orc if name.endswith("orc") else spd.read_feather]
    for read in reads:
        with pytest.raises(ColumnNotFoundError, match="'zz'"):
            read(url, columns=["c1", "zz"], client=resident)
    resident.put(url, b"neither this nor that" * 10)
    for read in reads:
        for columns in (None, ["c1"]):
            with pytest.raises(NotATableError):
                read(url, columns=columns, client=resident)
    with pytest.raises(TypeError, match="unexpected keyword"):
        sa.read_table(url, client=resident, separatorr=";")
