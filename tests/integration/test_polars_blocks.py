"""Lazy frames of polars over objects that are too long to be held: text block by block, IPC by columns and batches."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import polars.testing as plt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import arrowseal.polars as spl
from arrowseal.exceptions import AuthenticationError, NotATableError
from arrowseal.objects import EncryptedObject
from arrowseal.tables import lazy_ipc, lazy_text
from read_log import ReadLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broken_servers import BrokenServers

    from arrowseal import Client

ROWS, BATCH = 100_000, 5_000
BLOCK = 2**18
FRAME = pl.DataFrame(
    {
        "n": range(ROWS),
        "half": [n // 2 for n in range(ROWS)],
        "text": [None if n % 5 == 0 else f'line {n},\n"two"' for n in range(ROWS)],
        "x": [n / 7 for n in range(ROWS)],
    }
)
QUERIES: list[Callable[[pl.LazyFrame], pl.LazyFrame]] = [
    lambda frame: frame,
    lambda frame: frame.select("text"),
    lambda frame: frame.select("x", "n"),
    lambda frame: frame.head(3),
    lambda frame: frame.tail(3),
    lambda frame: frame.slice(ROWS // 2, 7_000).select("text"),
    lambda frame: frame.slice(-ROWS // 2, 7_000),
    lambda frame: frame.slice(-2 * ROWS, ROWS + 5),
    lambda frame: frame.slice(ROWS - 2, 5),
    lambda frame: frame.slice(ROWS + 2, 5),
    lambda frame: frame.filter(pl.col("n") > ROWS - 10).select("half", "text"),
    lambda frame: frame.filter(pl.col("text").str.contains("99,")).head(2),
    lambda frame: frame.head(ROWS - 1).filter(pl.col("text").is_null()).tail(2),
    lambda frame: frame.select(pl.len()),
    lambda frame: frame.select(pl.col("x").sum(), pl.col("n").max()),
    lambda frame: frame.with_row_index().filter(pl.col("half") == 40_000),
    lambda frame: frame.with_row_index().slice(ROWS - 3, 5).select("index"),
]


class Kind(NamedTuple):
    """A format, its scans here and in polars, and how the frame becomes a file of it."""

    ours: Callable[..., pl.LazyFrame]
    plain: Callable[..., pl.LazyFrame]
    write: Callable[..., object]
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed

    def content(self) -> bytes:
        sink = io.BytesIO()
        self.write(FRAME, sink, **self.options)
        return sink.getvalue()


KINDS = {
    "csv": Kind(spl.scan_csv, pl.scan_csv, pl.DataFrame.write_csv),
    "ndjson": Kind(spl.scan_ndjson, pl.scan_ndjson, pl.DataFrame.write_ndjson),
    "arrow": Kind(spl.scan_ipc, pl.scan_ipc, pl.DataFrame.write_ipc, {"record_batch_size": BATCH}),
}
CONTENTS = {suffix: kind.content() for suffix, kind in KINDS.items()}
PLAIN = {suffix: kind.plain(CONTENTS[suffix]).collect() for suffix, kind in KINDS.items()}


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy_text, "SHORT_BYTES", BLOCK)
    monkeypatch.setattr(lazy_text, "HELD_BYTES", BLOCK)
    monkeypatch.setattr(lazy_text, "BLOCK_BYTES", BLOCK)
    monkeypatch.setattr(lazy_ipc, "HELD_BYTES", BLOCK)
    monkeypatch.setattr(lazy_ipc, "AT_A_TIME_BYTES", BLOCK)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, resident: Client) -> ReadLog:
    return ReadLog(monkeypatch, resident)


@pytest.fixture
def url(resident: Client, lake: str) -> Callable[[str], str]:
    """The URL of the object of a kind, which is written."""

    def written(suffix: str) -> str:
        resident.put(f"s3://{lake}/t.{suffix}", CONTENTS[suffix])
        resident.index(f"s3://{lake}/t.{suffix}")
        resident.counters.clear()
        return f"s3://{lake}/t.{suffix}"

    return written


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("suffix", KINDS)
def test_queries_answer_as_over_the_plain_file(resident: Client, url: Any, suffix: str, engine: Any) -> None:
    there = url(suffix)
    for query in QUERIES:
        ours = query(KINDS[suffix].ours(there, client=resident)).collect(engine=engine)
        plt.assert_frame_equal(ours, query(PLAIN[suffix].lazy()).collect())


@pytest.mark.parametrize("suffix", KINDS)
def test_rows_are_counted_and_limited_as_by_polars(resident: Client, url: Any, suffix: str) -> None:
    arguments = {"n_rows": ROWS - 1, "row_index_name": "row", "row_index_offset": 7}
    ours = KINDS[suffix].ours(url(suffix), client=resident, **arguments)
    plain = KINDS[suffix].plain(CONTENTS[suffix], **arguments)
    assert ours.collect_schema() == plain.collect_schema()
    plt.assert_frame_equal(ours.tail(3).collect(), plain.collect().tail(3))


@pytest.mark.parametrize("suffix", ["csv", "ndjson"])
def test_the_first_rows_of_a_text_take_its_first_block(resident: Client, url: Any, log: ReadLog, suffix: str) -> None:
    lazy = KINDS[suffix].ours(url(suffix), client=resident)
    assert lazy.collect_schema() == PLAIN[suffix].schema
    assert lazy.head(5).collect().height == 5
    assert BLOCK <= log.fetched_bytes <= 2 * BLOCK < len(CONTENTS[suffix]) // 8


def test_a_column_of_ipc_takes_its_share(resident: Client, url: Any, log: ReadLog) -> None:
    lazy = spl.scan_ipc(url("arrow"), client=resident)
    assert lazy.select(pl.col("n").sum()).collect().item() == ROWS * (ROWS - 1) // 2
    assert log.fetched_bytes < len(CONTENTS["arrow"]) // 2


def test_a_slice_of_ipc_takes_the_batches_that_it_lies_in(resident: Client, url: Any, log: ReadLog) -> None:
    lazy = spl.scan_ipc(url("arrow"), client=resident)
    assert lazy.select(pl.len()).collect().item() == ROWS
    described = log.fetched_bytes
    log.clear()
    plt.assert_frame_equal(lazy.slice(3 * BATCH - 2, 4).collect(), FRAME.slice(3 * BATCH - 2, 4))
    assert log.fetched_bytes - described < 4 * len(CONTENTS["arrow"]) * BATCH // ROWS


@pytest.mark.parametrize(
    "arguments",
    [
        {"try_parse_dates": True},
        {"infer_schema_length": None},
        {"infer_schema_length": 0},
        {"schema_overrides": {"n": pl.String}},
        {"new_columns": ["a", "b", "c", "d"]},
        {"has_header": False, "skip_rows": 1},
        {"has_header": False},
        {"null_values": {"half": "7"}},
        {"comment_prefix": "#"},
        {"quote_char": None, "truncate_ragged_lines": True, "ignore_errors": True},
    ],
    ids=str,
)
def test_the_arguments_of_polars_mean_what_they_mean_there(
    resident: Client, url: Any, arguments: dict[str, Any]
) -> None:
    ours = spl.scan_csv(url("csv"), client=resident, **arguments)
    plain = pl.scan_csv(CONTENTS["csv"], **arguments)
    assert ours.collect_schema() == plain.collect_schema()
    plt.assert_frame_equal(ours.collect(), plain.collect())


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_text_that_is_compressed_is_inflated_as_a_whole(resident: Client, lake: str, compression: str) -> None:
    sink = io.BytesIO()
    FRAME.write_csv(sink, compression=compression, check_extension=False)  # type: ignore[call-overload]
    resident.put(f"s3://{lake}/t.csv", sink.getvalue())
    plt.assert_frame_equal(spl.scan_csv(f"s3://{lake}/t.csv", client=resident).collect(), FRAME)


@pytest.mark.parametrize("lines", [["1"] * 600_000 + ["x"], ["1" * 18] * 110 + ["x"] + ["1" * 18] * 90_000], ids=len)
def test_types_are_those_of_as_many_rows_as_polars_looks_at(resident: Client, lake: str, lines: list[str]) -> None:
    text = "\n".join(["a", *lines]).encode()
    resident.put(f"s3://{lake}/t.csv", text)
    resident.index(f"s3://{lake}/t.csv")
    for looked_at in (100, 120, 50_000):
        ours = spl.scan_csv(f"s3://{lake}/t.csv", client=resident, infer_schema_length=looked_at)
        assert ours.collect_schema() == pl.scan_csv(text, infer_schema_length=looked_at).collect_schema()


@pytest.mark.parametrize("suffix", KINDS)
def test_no_row_of_a_segment_that_was_changed_is_given_out(
    resident: Client, servers_here: BrokenServers, url: Any, suffix: str
) -> None:
    there = url(suffix)
    stored = servers_here.s3.server.objects[there.removeprefix("s3:/")]
    at = len(stored.body) * 31 // 48
    changed = stored.body[:at] + bytes([stored.body[at] ^ 1]) + stored.body[at + 1 :]
    servers_here.s3.server.objects[there.removeprefix("s3:/")] = stored._replace(body=changed)
    lazy = KINDS[suffix].ours(there, client=resident)
    plt.assert_frame_equal(lazy.head(10).collect(), PLAIN[suffix].head(10))
    with pytest.raises(AuthenticationError, match=f"t.{suffix}"):
        lazy.collect()


@pytest.mark.parametrize("suffix", ["csv", "ndjson"])
def test_a_later_block_that_is_no_table_is_told_without_its_content(resident: Client, lake: str, suffix: str) -> None:
    there, secret = f"s3://{lake}/t.{suffix}", b'\n"secret",{]\n'
    resident.put(there, CONTENTS[suffix].rstrip(b"\n") + secret)
    resident.index(there)
    with pytest.raises(NotATableError) as raised:
        KINDS[suffix].ours(there, client=resident).collect()
    assert "secret" not in str(raised.value)
    assert there in str(raised.value)


def fields() -> st.SearchStrategy[str]:
    return st.sampled_from(["", "x", "7", "é", "a,b", "two\nlines", 'say "hi"', '"', '""', "\r\n", " ", "#", "'", "NA"])


@st.composite
def texts(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """CSV with quotes, empty lines and lines that are too short, and arguments to read it."""
    arguments: dict[str, Any] = {}
    separator = draw(st.sampled_from([",", ";", "\t"]))
    if separator != ",":
        arguments["separator"] = separator
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    columns = draw(st.integers(1, 3))
    rows = draw(st.lists(st.lists(fields(), min_size=columns, max_size=columns), min_size=4, max_size=40))
    names = draw(st.permutations(["a", "b b", "c,d"]))[:columns]
    lines = [
        separator.join(f'"{field.replace(chr(34), 2 * chr(34))}"' if field != "x" else field for field in row)
        for row in [names, *rows]
    ]
    for at in draw(st.lists(st.integers(3, len(lines)), max_size=3)):
        lines.insert(at, draw(st.sampled_from(["", "x"])))
    if draw(st.booleans()):
        arguments["infer_schema_length"] = draw(st.integers(0, 4))
    if draw(st.booleans()):
        arguments["null_values"] = ["NA", "7"]
    arguments["infer_schema"] = draw(st.booleans())
    return (line_end.join(lines) + draw(st.sampled_from(["", line_end]))).encode(), arguments


@pytest.fixture(scope="module")
def of_ranges() -> Iterator[pytest.MonkeyPatch]:
    """Short objects are read by ranges too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EncryptedObject, "in_memory", False)
        yield patch


@given(texts(), st.integers(30, 300), st.sampled_from([0, 2**20]))
def test_wherever_blocks_end_the_rows_are_those_of_the_whole(
    resident: Client, of_ranges: pytest.MonkeyPatch, text: tuple[bytes, dict[str, Any]], block: int, held: int
) -> None:
    content, arguments = text
    of_ranges.setattr(lazy_text, "SHORT_BYTES", 0)
    of_ranges.setattr(lazy_text, "HELD_BYTES", held)
    of_ranges.setattr(lazy_text, "BLOCK_BYTES", block)
    try:
        plain = pl.scan_csv(content, **arguments).collect()
    except pl.exceptions.PolarsError:
        return
    resident.put("s3://bucket/cut.csv", content)
    plt.assert_frame_equal(spl.scan_csv("s3://bucket/cut.csv", client=resident, **arguments).collect(), plain)


def test_batches_of_another_writer_are_counted_too(resident: Client, lake: str) -> None:
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(use_legacy_format=True, metadata_version=pa.ipc.MetadataVersion.V4)
    table = FRAME.select("n", "x").to_arrow()
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=BATCH)
    resident.put(f"s3://{lake}/t.arrow", sink.getvalue())
    resident.index(f"s3://{lake}/t.arrow")
    lazy = spl.scan_ipc(f"s3://{lake}/t.arrow", client=resident)
    assert lazy.select(pl.len()).collect().item() == ROWS
    plt.assert_frame_equal(lazy.slice(BATCH + 1, 2).collect(), FRAME.select("n", "x").slice(BATCH + 1, 2))
