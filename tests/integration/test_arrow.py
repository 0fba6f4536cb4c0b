"""Arrow tables through encrypted objects on embedded S3 and KMS, and objects of one face read by the others."""

from __future__ import annotations

import datetime as dt
import gc
import gzip
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pandas.testing as pdt
import polars as pl
import polars.testing as plt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import arrowseal.arrow as sa
import arrowseal.pandas as spd
import arrowseal.polars as spl
from arrowseal import PLAIN, Client
from arrowseal.exceptions import ColumnNotFoundError, ConfigurationError, NotEncryptedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def table() -> pa.Table:
    return pa.table(
        {"n": [1, 2, 3], "x": [0.5, None, -2.0], "text": ["a,b", "", 'quo"te é'], "yes": [True, None, False]}
    )


@pytest.fixture
def rich(table: pa.Table) -> pa.Table:
    """With what only Parquet and IPC carry."""
    columns = {
        "time": pa.array([dt.datetime(2013, 1, 1, 5, 15, 0, 123456), None, dt.datetime(1969, 12, 31)]),
        "zone": pa.array([0, None, 1], pa.timestamp("us", tz="America/New_York")),
        "date": pa.array([dt.date(2013, 1, 1), None, dt.date(1, 1, 1)]),
        "kind": pa.array(["x", None, "y"]).dictionary_encode(),
        "small": pa.array([1, None, -3], pa.int8()),
        "money": pa.array([Decimal("1.10"), None, Decimal("-2.00")]),
        "data": pa.array([b"\x00\xff", None, b""]),
        "nested": pa.array([[{"a": [1, None]}], None, []]),
    }
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.parquet", {}),
        ("a.pq", {"compression": "zstd", "row_group_size": 1}),
        ("a.arrow", {}),
        ("a.feather", {"compression": "lz4"}),
        ("a.ipc", {"compression": "zstd"}),
    ],
)
def test_binary_round_trip_of_every_type(
    client: Client, bucket: str, rich: pa.Table, name: str, options: dict[str, Any]
) -> None:
    sa.write_table(rich, f"s3://{bucket}/{name}", client=client, **options)
    read = sa.read_table(f"s3://{bucket}/{name}", client=client)
    assert read.schema == rich.schema
    assert read.to_pylist() == rich.to_pylist()
    picked = sa.read_table(f"s3://{bucket}/{name}", columns=["kind", "n"], client=client)
    assert picked.to_pylist() == rich.select(["kind", "n"]).to_pylist()


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "csv.zst", "csv.bz2", "json", "ndjson.gz", "jsonl"])
def test_text_round_trip(client: Client, bucket: str, table: pa.Table, suffix: str) -> None:
    sa.write_table(table, f"s3://{bucket}/a.{suffix}", client=client)
    assert sa.read_table(f"s3://{bucket}/a.{suffix}", client=client).equals(table)
    picked = sa.read_table(f"s3://{bucket}/a.{suffix}", columns=["yes", "n"], client=client)
    assert picked.equals(table.select(["yes", "n"]))


def test_json_carries_nested_values_times_and_no_nan(client: Client, bucket: str) -> None:
    table = pa.table(
        {
            "nested": [[{"a": [1.5, float("nan")]}], None],
            "time": [dt.datetime(2013, 1, 1, 5), None],
            "x": [float("inf"), 1.0],
            "kind": pa.array(["x", "y"]).dictionary_encode(),
        }
    )
    sa.write_table(table, f"s3://{bucket}/a.json", client=client)
    assert bytes(client.get(f"s3://{bucket}/a.json")).decode().splitlines() == [
        '{"nested": [{"a": [1.5, null]}], "time": "2013-01-01T05:00:00", "x": null, "kind": "x"}',
        '{"nested": null, "time": null, "x": 1.0, "kind": "y"}',
    ]
    assert sa.read_table(f"s3://{bucket}/a.json", client=client)["time"][0].as_py() == dt.datetime(2013, 1, 1, 5)


def test_the_format_that_is_named_wins_over_the_key(client: Client, bucket: str, table: pa.Table) -> None:
    sa.write_table(table, f"s3://{bucket}/a.csv", format="feather", client=client)
    assert bytes(client.get(f"s3://{bucket}/a.csv")).startswith(b"ARROW1")
    assert sa.read_table(f"s3://{bucket}/a.csv", format="arrow", client=client).equals(table)


def test_the_options_of_pyarrow_work(client: Client, bucket: str, table: pa.Table) -> None:
    sa.write_table(table, f"s3://{bucket}/a.csv", delimiter=";", include_header=False, client=client)
    read = sa.read_table(
        f"s3://{bucket}/a.csv",
        parse_options=pa.csv.ParseOptions(delimiter=";"),
        read_options=pa.csv.ReadOptions(column_names=table.column_names),
        client=client,
    )
    assert read.equals(table)
    sa.write_table(table, f"s3://{bucket}/a.parquet", client=client, use_dictionary=False)
    read = sa.read_table(f"s3://{bucket}/a.parquet", read_dictionary=["text"], use_threads=False, client=client)
    assert pa.types.is_dictionary(read.schema.field("text").type)


WRITER_OPTIONS: list[dict[str, Any]] = [
    {"coerce_timestamps": "ms"},
    {"coerce_timestamps": "ms", "allow_truncated_timestamps": True, "version": "1.0"},
    {"data_page_size": 100, "write_page_index": True},
    {"use_deprecated_int96_timestamps": True},
]


@pytest.mark.parametrize("options", WRITER_OPTIONS, ids=str)
def test_parquet_is_written_with_the_options_of_pyarrows_own_function(
    client: Client, bucket: str, options: dict[str, Any]
) -> None:
    table = pa.table({"n": range(1000), "time": pa.array(range(0, 10**6, 10**3), pa.timestamp("us"))})
    plain = pa.BufferOutputStream()
    pq.write_table(table, plain, **options)
    sa.write_table(table, f"s3://{bucket}/a.parquet", client=client, **options)
    assert bytes(client.get(f"s3://{bucket}/a.parquet")) == plain.getvalue().to_pybytes()
    sa.write_dataset(table, f"s3://{bucket}/arrow", file_options=options, client=client)
    spd.to_parquet(table.to_pandas(), f"s3://{bucket}/pandas", dataset=True, client=client, **options)
    for name in ("arrow", "pandas"):
        [entry] = client.list(f"s3://{bucket}/{name}/")
        written = pq.read_table(pa.BufferReader(client.get(entry.location)))
        assert written.replace_schema_metadata().equals(pq.read_table(pa.BufferReader(plain.getvalue())))


@pytest.mark.parametrize("name", ["where", "schema", "filesystem", "options", "tabel"])
def test_where_parquet_goes_is_no_option_of_its_writer(client: Client, bucket: str, name: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
        sa.write_table(pa.table({"n": [1]}), f"s3://{bucket}/a.parquet", client=client, **{name: None})
    assert len(client.counters) == 0


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.csv", "a.json"])
def test_tables_without_rows(client: Client, bucket: str, table: pa.Table, name: str) -> None:
    sa.write_table(table.slice(0, 0), f"s3://{bucket}/{name}", client=client)
    read = sa.read_table(f"s3://{bucket}/{name}", client=client)
    assert read.num_rows == 0
    assert read.column_names == ([] if name == "a.json" else table.column_names)


SOURCES: list[Callable[[pa.Table], Any]] = [
    lambda table: table,
    lambda table: table.to_batches()[0],
    lambda table: table.to_reader(),
    lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
    lambda table: pl.from_arrow(table),
    lambda table: OnlyAStream(table),
]


class OnlyAStream:
    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.csv.gz", "a.ndjson"])
def test_anything_that_speaks_arrow_is_written(
    client: Client, bucket: str, table: pa.Table, source: Callable[[pa.Table], Any], name: str
) -> None:
    sa.write_table(source(table), f"s3://{bucket}/{name}", client=client)
    assert sa.read_table(f"s3://{bucket}/{name}", client=client).to_pylist() == table.to_pylist()


def test_views_of_polars_become_types_that_every_reader_knows(client: Client, bucket: str) -> None:
    frame = pl.DataFrame(
        {"s": ["a", None], "b": [b"1", b"2"], "l": [["x"], []], "r": [{"k": "v"}, None]},
        schema_overrides={"l": pl.List(pl.String)},
    ).with_columns(c=pl.Series(["x", "y"], dtype=pl.Categorical), e=pl.Series(["x", None], dtype=pl.Enum(["x"])))
    for name in ("a.parquet", "a.arrow"):
        sa.write_table(frame, f"s3://{bucket}/{name}", client=client)
        read = sa.read_table(f"s3://{bucket}/{name}", client=client)
        assert "view" not in str(read.schema)
        assert read.to_pylist() == frame.to_dicts()


def test_lists_of_nothing_but_nulls_are_written_beside_views_of_polars(client: Client, bucket: str) -> None:
    frame = pl.DataFrame({"s": ["a", "b", "c"], "l": [[None, None], [], [None, None]]})
    sa.write_table(frame, f"s3://{bucket}/a.parquet", client=client)
    assert sa.read_table(f"s3://{bucket}/a.parquet", client=client).to_pylist() == frame.to_dicts()
    sa.write_dataset([frame, frame], f"s3://{bucket}/parted/", partitioning=["s"], client=client)
    read = sa.dataset(f"s3://{bucket}/parted/", client=client).to_table(["s", "l"])
    assert sorted(read.to_pylist(), key=str) == sorted(2 * frame.to_dicts(), key=str)


def test_columns_of_uncompressed_ipc_lie_in_the_proven_buffer(
    client: Client, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"n": np.arange(100_000), "x": np.random.default_rng(1).random(100_000)})
    url = f"s3://{bucket}/a.arrow"
    sa.write_table(table, url, client=client)
    addresses: list[tuple[int, int]] = []

    get = client.get

    def spy(*args: Any, **kwargs: Any) -> Any:
        content = get(*args, **kwargs)
        address = pa.py_buffer(content).address
        addresses.append((address, address + len(content)))
        return content

    monkeypatch.setattr(client, "get", spy)
    read = sa.read_table(url, client=client)
    ((begin, end),) = addresses
    for name in ("n", "x"):
        for chunk in read[name].chunks:
            data = chunk.buffers()[1]
            assert begin <= data.address
            assert data.address + data.size <= end
    gc.collect()
    assert read.equals(table)  # which keeps the memory alive


def test_reading_allocates_no_second_copy_of_the_content(client: Client, bucket: str) -> None:
    table = pa.table({"n": np.arange(1_000_000)})
    sa.write_table(table, f"s3://{bucket}/a.arrow", client=client)
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    read = sa.read_table(f"s3://{bucket}/a.arrow", client=client)
    assert pool.bytes_allocated() - before < 100_000
    assert read.equals(table)


def test_plain_objects_are_read_where_they_are_allowed(
    client: Client, bucket: str, table: pa.Table, raw_s3: Any
) -> None:
    url = f"s3://{bucket}/a.csv.gz"
    sa.write_table(table, url, encryption=PLAIN, client=client)
    assert gzip.decompress(raw_s3.get_object(Bucket=bucket, Key="a.csv.gz")["Body"].read()).startswith(b'"n","x"')
    with pytest.raises(NotEncryptedError):
        sa.read_table(url, client=client)
    assert sa.read_table(url, allow_plaintext=True, client=client).equals(table)


def test_each_call_is_one_row_of_the_counters(client: Client, bucket: str, table: pa.Table) -> None:
    sa.write_table(table, f"s3://{bucket}/a.parquet", client=client)
    sa.read_table(f"s3://{bucket}/a.parquet", client=client)
    assert [(record.operation, record.file_type, record.rows, record.requests) for record in client.counters] == [
        ("write_table", "parquet", 3, 1),
        ("read_table", "parquet", 3, 1),
    ]


# One face writes, the others read: the frame that all of them carry, cell by cell.

SHARED = {
    "n": [1, 2, 3],
    "x": [0.5, None, -2.25],
    "text": ["a,b", "tab\t", 'quo"te é'],
    "yes": [True, False, True],
}
WRITERS: dict[str, dict[str, Callable[..., Any]]] = {
    "pandas": {
        "parquet": lambda url, client: spd.to_parquet(pd.DataFrame(SHARED), url, client=client),
        "feather": lambda url, client: spd.to_feather(pd.DataFrame(SHARED), url, client=client),
        "csv": lambda url, client: spd.to_csv(pd.DataFrame(SHARED), url, index=False, client=client),
        "csv.gz": lambda url, client: spd.to_csv(pd.DataFrame(SHARED), url, index=False, client=client),
        "ndjson": lambda url, client: spd.to_json(
            pd.DataFrame(SHARED), url, orient="records", lines=True, client=client
        ),
    },
    "polars": {
        "parquet": lambda url, client: spl.write_parquet(pl.DataFrame(SHARED), url, client=client),
        "feather": lambda url, client: spl.write_ipc(pl.DataFrame(SHARED), url, client=client),
        "csv": lambda url, client: spl.write_csv(pl.DataFrame(SHARED), url, client=client),
        "csv.gz": lambda url, client: spl.write_csv(pl.DataFrame(SHARED), url, compression="gzip", client=client),
        "ndjson": lambda url, client: spl.write_ndjson(pl.DataFrame(SHARED), url, client=client),
    },
    "arrow": dict.fromkeys(
        ("parquet", "feather", "csv", "csv.gz", "ndjson"),
        lambda url, client: sa.write_table(pa.table(SHARED), url, client=client),
    ),
}
PANDAS_READERS = {
    "parquet": spd.read_parquet,
    "feather": spd.read_feather,
    "csv": spd.read_csv,
    "csv.gz": spd.read_csv,
    "ndjson": lambda url, client: spd.read_json(url, lines=True, client=client),
}
POLARS_READERS = {
    "parquet": spl.read_parquet,
    "feather": spl.read_ipc,
    "csv": spl.read_csv,
    "csv.gz": spl.read_csv,
    "ndjson": spl.read_ndjson,
}


@pytest.mark.parametrize("suffix", ["parquet", "feather", "csv", "csv.gz", "ndjson"])
@pytest.mark.parametrize("writer", list(WRITERS))
def test_what_one_face_writes_the_others_read(client: Client, bucket: str, writer: str, suffix: str) -> None:
    url = f"s3://{bucket}/a.{suffix}"
    WRITERS[writer][suffix](url, client=client)
    pdt.assert_frame_equal(PANDAS_READERS[suffix](url, client=client), pd.DataFrame(SHARED))
    plt.assert_frame_equal(POLARS_READERS[suffix](url, client=client), pl.DataFrame(SHARED))
    assert sa.read_table(url, client=client).to_pydict() == SHARED


def test_parquet_files_are_ordinary_ones(client: Client, bucket: str, rich: pa.Table) -> None:
    sa.write_table(rich, f"s3://{bucket}/a.parquet", client=client)
    assert pq.ParquetFile(pa.BufferReader(client.get(f"s3://{bucket}/a.parquet"))).read().equals(rich)


@pytest.mark.parametrize("filters", [[("n", ">", 1)], [[("n", "==", 2)], [("n", "==", 3)]], pc.field("n") > 1])
def test_filters_of_pyarrow_choose_the_rows(client: Client, bucket: str, table: pa.Table, filters: Any) -> None:
    sa.write_table(table, f"s3://{bucket}/a.parquet", client=client)
    read = sa.read_table(f"s3://{bucket}/a.parquet", columns=["x"], filters=filters, client=client)
    assert read.to_pydict() == {"x": [None, -2.0]}


def test_a_filter_on_a_column_that_is_not_there_names_it(client: Client, bucket: str, table: pa.Table) -> None:
    url = f"s3://{bucket}/a.parquet"
    sa.write_table(table, url, client=client)
    for read in (sa.read_table, spd.read_parquet):
        with pytest.raises(ColumnNotFoundError, match="'missing'"):
            read(url, filters=[("missing", ">", 1)], client=client)


def test_filters_with_a_field_of_a_nested_column_are_refused(client: Client, bucket: str) -> None:
    url = f"s3://{bucket}/a.parquet"
    sa.write_table(pa.table({"n": [1], "r": [{"k": 1}]}), url, client=client)
    with pytest.raises(ConfigurationError, match=r"'r\.k' is a field"):
        sa.read_table(url, columns=["r.k"], filters=[("n", "==", 1)], client=client)


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson"])
def test_columns_of_text_are_names_and_not_positions(client: Client, bucket: str, table: pa.Table, name: str) -> None:
    url = f"s3://{bucket}/{name}"
    sa.write_table(table, url, client=client)
    with pytest.raises(ColumnNotFoundError):
        sa.read_table(url, columns=[0], client=client)  # type: ignore[list-item]


def test_json_refuses_columns_that_share_a_name_instead_of_losing_one(client: Client, bucket: str) -> None:
    twins = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(ConfigurationError, match="share one"):
        sa.write_table(twins, f"s3://{bucket}/a.ndjson", client=client)
    assert not client.exists(f"s3://{bucket}/a.ndjson")


def test_maps_are_objects_in_json(client: Client, bucket: str) -> None:
    maps = pa.table({"m": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64()))})
    sa.write_table(maps, f"s3://{bucket}/a.ndjson", client=client)
    read = sa.read_table(f"s3://{bucket}/a.ndjson", client=client)
    assert read.to_pylist() == [{"m": {"k": 1}}, {"m": None}]


COLUMNS = [pa.array([1]), pa.chunked_array([[1]]), pl.Series("n", [1])]
if hasattr(pd.Series, "__arrow_c_stream__"):  # from pandas 3 on
    COLUMNS.append(pd.Series([1], name="n"))


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: f"{type(column).__module__}.{type(column).__name__}")
def test_a_column_is_no_table(client: Client, bucket: str, column: Any) -> None:
    with pytest.raises(ConfigurationError, match="not a column of type int64: give it a name"):
        sa.write_table(column, f"s3://{bucket}/a.parquet", client=client)
    for data in (column, [column]):
        with pytest.raises(ConfigurationError, match="not a column of type int64: give it a name"):
            sa.write_dataset(data, f"s3://{bucket}/d", client=client)
    assert len(client.counters) == 0


@pytest.mark.parametrize("column", [pa.array([{"n": 1}]), pl.Series([{"n": 1}])], ids=["pyarrow", "polars"])
def test_a_column_of_structs_is_a_table(client: Client, bucket: str, column: Any) -> None:
    sa.write_table(column, f"s3://{bucket}/a.parquet", client=client)
    assert sa.read_table(f"s3://{bucket}/a.parquet", client=client).to_pydict() == {"n": [1]}


def test_a_stream_that_fails_in_its_rows_fails_with_its_own_error(client: Client, bucket: str) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        raise pa.ArrowInvalid("no more")
        yield

    reader = pa.RecordBatchReader.from_batches(pa.schema({"n": pa.int64()}), batches())
    with pytest.raises(pa.ArrowInvalid, match="no more"):
        sa.write_table(OnlyAStream(reader), f"s3://{bucket}/a.parquet", client=client)
    assert not client.exists(f"s3://{bucket}/a.parquet")


def test_a_format_that_is_no_word_is_refused(client: Client, bucket: str) -> None:
    with pytest.raises(ConfigurationError, match="not a table format"):
        sa.read_table(f"s3://{bucket}/a", format=3, client=client)  # type: ignore[arg-type]
