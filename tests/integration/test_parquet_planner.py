"""Parquet by ranges of encrypted objects: what is fetched, by a log of reads, and that results are the plain file's."""

from __future__ import annotations

import datetime as dt
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import polars.testing as plt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import arrowseal.arrow as sa
import arrowseal.pandas as spd
import arrowseal.polars as spl
from arrowseal import Client
from arrowseal.exceptions import ColumnNotFoundError, ObjectChangedError
from arrowseal.objects import EncryptedObject
from read_log import ReadLog

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS, GROUPS = 48_000, 16
A_GROUP = ROWS // GROUPS


def wide() -> pa.Table:
    """Forty columns of noise and three to filter by, of which every tenth row has nulls: 15 MB."""
    noise = np.random.default_rng(7)
    columns: dict[str, Any] = {f"c{number}": noise.random(ROWS) for number in range(40)}
    columns["n"] = pa.array([None if row % 10 == 3 else row for row in range(ROWS)])
    columns["text"] = pa.array([None if row % 10 == 3 else f"row {row:06}" for row in range(ROWS)], pa.large_string())
    columns["day"] = pa.array([row // A_GROUP for row in range(ROWS)], pa.int32()).cast(pa.date32())
    return pa.table(columns)


WIDE = wide()


@pytest.fixture(scope="module")
def content() -> bytes:
    sink = io.BytesIO()
    pq.write_table(WIDE, sink, row_group_size=A_GROUP, compression="none", use_dictionary=False)
    return sink.getvalue()


@pytest.fixture
def url(resident: Client, lake: str, content: bytes) -> str:
    resident.put(f"s3://{lake}/wide.parquet", content)
    return f"s3://{lake}/wide.parquet"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, resident: Client, url: str) -> ReadLog:
    log = ReadLog(monkeypatch, resident)
    log.clear()
    return log


def chunk_bytes(content: bytes, columns: list[str], groups: list[int]) -> int:
    """What columns take in row groups."""
    metadata = pq.read_metadata(io.BytesIO(content))
    return sum(
        metadata.row_group(group).column(WIDE.column_names.index(name)).total_compressed_size
        for group in groups
        for name in columns
    )


def before_the_footer(log: ReadLog, content: bytes) -> list[tuple[int, int]]:
    """The ranges of chunks that were asked for."""
    _, end = extent(content, GROUPS - 1)
    return [(offset, length) for offset, length in log.asked if offset + length <= end]


def extent(content: bytes, group: int) -> tuple[int, int]:
    """Where a row group lies."""
    metadata = pq.read_metadata(io.BytesIO(content))
    chunks = [metadata.row_group(group).column(at) for at in range(metadata.num_columns)]
    return chunks[0].data_page_offset, chunks[-1].data_page_offset + chunks[-1].total_compressed_size


TWO = ["c5", "c30"]
READ_TWO: dict[str, Callable[..., Any]] = {
    "arrow": lambda url, **keywords: sa.read_table(url, columns=TWO, **keywords),
    "pandas": lambda url, **keywords: spd.read_parquet(url, columns=TWO, **keywords),
    "polars": lambda url, **keywords: spl.read_parquet(url, columns=TWO, **keywords),
    "lazy": lambda url, **keywords: spl.scan_parquet(url, **keywords).select(TWO).collect(),
    "streaming": lambda url, **keywords: spl.scan_parquet(url, **keywords).select(TWO).collect(engine="streaming"),
    "scan": lambda url, **keywords: sa.scan(url, columns=TWO, **keywords).to_table(),
}


@pytest.mark.parametrize("face", READ_TWO)
def test_two_columns_of_forty_fetch_about_their_bytes(
    face: str, url: str, resident: Client, log: ReadLog, content: bytes
) -> None:
    read = READ_TWO[face](url, client=resident)
    chunks = chunk_bytes(content, TWO, list(range(GROUPS)))
    assert chunks <= sum(length for _, length in before_the_footer(log, content)) <= 1.01 * chunks
    # In segments of 64 KiB, of which a chunk of 24 KB touches one or two.
    assert log.fetched_bytes <= 2 * 2 * GROUPS * 2**16 < len(content) / 2
    assert pa.table(read).equals(WIDE.select(TWO)) or pl.DataFrame(read).equals(pl.DataFrame(WIDE.select(TWO)))


CONDITIONS: dict[str, tuple[Any, Any]] = {
    "number": ([("n", "==", 20_001)], pl.col("n") == 20_001),
    "text": ([("text", "==", "row 020001")], pl.col("text") == "row 020001"),
    "expression": ((pc.field("n") > 20_000) & (pc.field("n") < 20_002), pl.col("n").is_between(20_001, 20_001)),
    "in": ([("n", "in", [20_001])], pl.col("n").is_in([20_001])),
    "two": (
        [("n", "==", 20_001), ("day", "==", dt.date(1970, 1, 7))],
        (pl.col("n") == 20_001) & (pl.col("day") > dt.date(1970, 1, 6)),
    ),
}


POINTS = [(face, name) for face in ("arrow", "polars", "streaming", "scan") for name in CONDITIONS]


# To pandas it is pyarrow's own reader that reads, which makes nothing of statistics where there are nulls.
@pytest.mark.parametrize(("face", "condition"), [*POINTS, ("pandas", "two")])
def test_a_point_predicate_touches_one_row_group(
    face: str, condition: str, url: str, resident: Client, log: ReadLog, content: bytes
) -> None:
    filters, predicate = CONDITIONS[condition]
    group = 20_001 // A_GROUP
    match face:
        case "arrow":
            read = sa.read_table(url, columns=["c5"], filters=filters, client=resident)
        case "pandas":
            read = spd.read_parquet(url, columns=["c5"], filters=filters, client=resident)
        case "scan":
            read = sa.scan(url, columns=["c5"], filters=filters, client=resident).to_table()
        case _:
            lazy = spl.scan_parquet(url, client=resident).filter(predicate).select("c5")
            read = lazy.collect(engine="streaming" if face == "streaming" else "in-memory")
    assert pl.DataFrame(read)["c5"].to_list() == [WIDE["c5"][20_001].as_py()]
    begin, end = extent(content, group)
    chunks = before_the_footer(log, content)
    assert chunks
    assert all(begin <= offset and offset + length <= end for offset, length in chunks)
    assert sum(length for _, length in chunks) <= 1.01 * chunk_bytes(content, ["c5", "n", "text", "day"], [group])


SLICES: dict[str, tuple[int, int, list[int]]] = {
    "head": (0, 5, [0]),
    "tail": (-5, 5, [GROUPS - 1]),
    "middle": (7 * A_GROUP + 10, 20, [7]),
    "border": (7 * A_GROUP - 10, 20, [6, 7]),
}


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("name", SLICES)
def test_a_slice_touches_the_row_groups_that_it_lies_in(
    name: str, engine: Any, url: str, resident: Client, log: ReadLog, content: bytes
) -> None:
    offset, length, groups = SLICES[name]
    read = spl.scan_parquet(url, client=resident).select(TWO).slice(offset, length).collect(engine=engine)
    plt.assert_frame_equal(read, pl.DataFrame(WIDE.select(TWO)).slice(offset, length))
    assert sum(size for _, size in before_the_footer(log, content)) <= 1.01 * chunk_bytes(content, TWO, groups)


def test_rows_of_the_beginning_alone_touch_one_row_group(
    url: str, resident: Client, log: ReadLog, content: bytes
) -> None:
    read = spl.read_parquet(url, n_rows=5, client=resident)
    plt.assert_frame_equal(read, pl.DataFrame(WIDE).head(5))
    assert log.bytes <= 1.1 * chunk_bytes(content, WIDE.column_names, [0]) + 2**16


def test_a_table_without_columns_named_takes_the_plain_path(url: str, resident: Client, log: ReadLog) -> None:
    for read in (sa.read_table, spd.read_parquet, spl.read_parquet):
        read(url, client=resident)
    assert log.asked == []
    assert sa.read_table(url, client=resident).equals(WIDE)


def test_most_of_the_columns_are_fetched_as_one_range(url: str, resident: Client, log: ReadLog, content: bytes) -> None:
    most = [f"c{number}" for number in range(38)]
    assert sa.read_table(url, columns=most, client=resident).equals(WIDE.select(most))
    assert (0, len(content)) in log.asked
    assert before_the_footer(log, content) == []
    log.clear()
    half = [f"c{number}" for number in range(20)]
    assert sa.read_table(url, columns=half, client=resident).equals(WIDE.select(half))
    assert (0, len(content)) not in log.asked


def test_a_filter_that_no_row_group_fits_fetches_nothing_but_the_footer(
    url: str, resident: Client, log: ReadLog, content: bytes
) -> None:
    assert sa.read_table(url, filters=[("n", ">", 10**9)], client=resident).equals(WIDE.slice(0, 0))
    assert spl.scan_parquet(url, client=resident).filter(pl.col("n") < 0).collect().height == 0
    assert before_the_footer(log, content) == []
    assert log.fetched_bytes == 0, "the tail is what an object is opened with"


@pytest.mark.parametrize("unknown", [[], ["one"], ["one", "other"]], ids=str)
@pytest.mark.parametrize(
    "chosen",
    [
        (pc.field("one") > 0) | (pc.field("other") > 0),
        (pc.field("one") > 0) & (pc.field("other") > 0),
        (pc.field("one") <= 0) & (pc.field("other") > 0),
    ],
    ids=str,
)
def test_row_groups_of_nulls_and_such_without_statistics_lose_no_row_to_a_filter(
    resident: Client, lake: str, unknown: list[str], chosen: pc.Expression
) -> None:
    some = [[None, None], [1, None], [5, None], [None, -5], [2, 3]]
    pairs = [(one, other) for one in some for other in some]
    rows = pa.table(
        {
            "one": pa.array([value for one, _ in pairs for value in one], pa.int64()),
            "other": pa.array([value for _, other in pairs for value in other], pa.int64()),
            "wide": [bytes([at]) * 9000 for at in range(2 * len(pairs))],
        }
    )
    sink = io.BytesIO()
    known = [name for name in rows.column_names if name not in unknown]
    pq.write_table(rows, sink, row_group_size=2, write_statistics=known, compression="none", use_dictionary=False)
    resident.put(f"s3://{lake}/nulls.parquet", sink.getvalue())
    read = sa.read_table(f"s3://{lake}/nulls.parquet", columns=["one", "other"], filters=chosen, client=resident)
    assert read.equals(rows.select(["one", "other"]).filter(chosen))


def test_rows_are_numbered_and_counted_by_the_footer_alone(
    url: str, resident: Client, log: ReadLog, content: bytes
) -> None:
    numbered = spl.scan_parquet(url, client=resident).with_row_index("r")
    plt.assert_frame_equal(numbered.select("r").collect(), pl.DataFrame(WIDE).with_row_index("r").select("r"))
    assert numbered.select(pl.len()).collect().item() == ROWS
    assert before_the_footer(log, content) == []
    assert log.fetched_bytes == 0, "the tail is what an object is opened with"


@pytest.mark.parametrize("name", ["WAVE_BYTES", "TURN_BYTES"])
def test_row_groups_that_are_decoded_while_others_are_fetched_give_the_same(
    url: str, resident: Client, log: ReadLog, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(f"arrowseal.tables.parquet_decoding.{name}", 300_000)
    assert sa.read_table(url, columns=TWO, client=resident).equals(WIDE.select(TWO))
    assert sa.scan(url, client=resident).to_table().equals(WIDE)
    plt.assert_frame_equal(spl.scan_parquet(url, client=resident).collect(), pl.DataFrame(WIDE))


def test_a_footer_longer_than_the_tail_is_read(resident: Client, lake: str) -> None:
    table = pa.table({f"a column with a name that is not short, number {n}": [n] * 400 for n in range(200)})
    sa.write_table(table, f"s3://{lake}/a.parquet", row_group_size=4, compression="none", client=resident)
    name = table.column_names[77]
    assert sa.read_table(f"s3://{lake}/a.parquet", columns=[name], client=resident).equals(table.select([name]))


def test_an_object_that_is_overwritten_under_a_read_is_read_once_more(
    url: str, resident: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = WIDE.set_column(5, "c5", pa.array(np.zeros(ROWS)))
    read_ranges = EncryptedObject.read_ranges
    overwrites: list[pa.Table] = []

    def overwritten(source: EncryptedObject, ranges: Any) -> Any:
        if overwrites and len(ranges) > 1:
            sa.write_table(overwrites.pop(), url, row_group_size=A_GROUP, compression="none", client=resident)
        return read_ranges(source, ranges)

    monkeypatch.setattr(EncryptedObject, "read_ranges", overwritten)
    for face, read in READ_TWO.items():
        overwrites[:] = [other]
        assert pl.DataFrame(read(url, client=resident))["c5"].sum() == 0, face
        overwrites[:] = [WIDE]
        assert pl.DataFrame(read(url, client=resident))["c5"].sum() > 0, face
        overwrites[:] = [WIDE, other]
        with pytest.raises(ObjectChangedError):
            read(url, client=resident)


def test_a_column_that_is_not_there_is_named_after_the_footer_alone(
    url: str, resident: Client, log: ReadLog, content: bytes
) -> None:
    for read in (sa.read_table, spd.read_parquet, spl.read_parquet):
        with pytest.raises(ColumnNotFoundError, match="'zz'"):
            read(url, columns=["c1", "zz"], client=resident)
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        spl.scan_parquet(url, client=resident).select("zz").collect()
    assert before_the_footer(log, content) == []
