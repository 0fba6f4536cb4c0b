"""Lazy frames of polars over many objects that are too long to be held: some are read at a time."""

from __future__ import annotations

import gzip
import io
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.testing as plt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import arrowseal.polars as spl
from arrowseal.exceptions import AuthenticationError, NotATableError
from arrowseal.tables import lazy_groups
from arrowseal.tables.lazy_groups import LazyGroups

if TYPE_CHECKING:
    from collections.abc import Callable

    from broken_servers import BrokenServers

    from arrowseal import Client
    from arrowseal.tables.table_object import TableObject

FILES, ROWS = 24, 3_000
ZSTD = pa.Codec("zstd")
FRAMES = [
    pl.DataFrame(
        {
            "n": range(at * ROWS, (at + 1) * ROWS),
            "text": [None if n % 5 == 0 else f'line {n},\n"two"' for n in range(ROWS)],
            "x": [n / 7 for n in range(ROWS)],
        }
    )
    for at in range(FILES)
]
KINDS: dict[str, tuple[Callable[..., pl.LazyFrame], Callable[..., pl.LazyFrame], Callable[..., object]]] = {
    "csv": (spl.scan_csv, pl.scan_csv, pl.DataFrame.write_csv),
    "ndjson": (spl.scan_ndjson, pl.scan_ndjson, pl.DataFrame.write_ndjson),
    "arrow": (spl.scan_ipc, pl.scan_ipc, pl.DataFrame.write_ipc),
}
QUERIES: list[Callable[[pl.LazyFrame], pl.LazyFrame]] = [
    lambda frame: frame,
    lambda frame: frame.select("x", "n"),
    lambda frame: frame.head(3),
    lambda frame: frame.head(ROWS + 1).select("text"),
    lambda frame: frame.tail(3),
    lambda frame: frame.slice(FILES * ROWS // 2, 2 * ROWS),
    lambda frame: frame.slice(-3 * ROWS, ROWS + 5),
    lambda frame: frame.slice(FILES * ROWS - 2, 5),
    lambda frame: frame.filter(pl.col("n") % ROWS == 1),
    lambda frame: frame.filter(pl.col("text").str.contains("99,")).head(2),
    lambda frame: frame.select(pl.len()),
    lambda frame: frame.select(pl.col("x").sum(), pl.col("n").max()),
    lambda frame: frame.with_row_index().filter(pl.col("n") == 40_000),
]


def written(frame: pl.DataFrame, suffix: str) -> bytes:
    sink = io.BytesIO()
    KINDS[suffix][2](frame, sink)
    return sink.getvalue()


CONTENTS = {suffix: [written(frame, suffix) for frame in FRAMES] for suffix in KINDS}
LONGEST = {suffix: max(map(len, contents)) for suffix, contents in CONTENTS.items()}


@pytest.fixture(autouse=True)
def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHORT_BYTES", "HELD_BYTES", "FEW_BYTES"):
        monkeypatch.setattr(lazy_groups, name, 1)
    monkeypatch.setattr(lazy_groups, "GROUP_BYTES", 3 * max(LONGEST.values()))
    monkeypatch.setattr(lazy_groups, "HEAD_BYTES", 2_000)


@pytest.fixture
def url(resident: Client, lake: str) -> Callable[[str], str]:
    """The URL of the prefix of the objects of a kind, which are written."""

    def put(suffix: str) -> str:
        for at, content in enumerate(CONTENTS[suffix]):
            resident.put(f"s3://{lake}/many/{at:02}.{suffix}", content)
        resident.counters.clear()
        return f"s3://{lake}/many/"

    return put


def fetched(client: Client) -> int:
    """How many objects were read whole."""
    return sum(record.operation == "get" for record in client.counters)


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("suffix", KINDS)
def test_queries_answer_as_over_the_plain_files(resident: Client, url: Any, suffix: str, engine: Any) -> None:
    ours, plain, _ = KINDS[suffix]
    there, whole = url(suffix), plain(CONTENTS[suffix]).collect()
    for query in QUERIES:
        plt.assert_frame_equal(
            query(ours(there, client=resident)).collect(engine=engine), query(whole.lazy()).collect()
        )


@pytest.mark.parametrize("suffix", KINDS)
def test_rows_are_counted_and_limited_as_by_polars(resident: Client, url: Any, suffix: str) -> None:
    ours, plain, _ = KINDS[suffix]
    arguments = {"n_rows": 2 * ROWS + 1, "row_index_name": "row", "row_index_offset": 7}
    lazy = ours(url(suffix), client=resident, **arguments)
    assert lazy.collect_schema() == plain(CONTENTS[suffix], **arguments).collect_schema()
    plt.assert_frame_equal(lazy.collect(), plain(CONTENTS[suffix], **arguments).collect())


@pytest.mark.parametrize("suffix", KINDS)
def test_no_more_objects_are_fetched_than_the_first_rows_lie_in(resident: Client, url: Any, suffix: str) -> None:
    lazy = KINDS[suffix][0](url(suffix), client=resident)
    assert lazy.collect_schema() == FRAMES[0].schema
    assert fetched(resident) == 0
    assert lazy.head(ROWS + 1).collect().height == ROWS + 1
    assert fetched(resident) == 2


@pytest.mark.parametrize("suffix", ["csv", "ndjson"])
def test_the_first_few_rows_take_the_beginnings_alone(resident: Client, url: Any, suffix: str) -> None:
    there = url(suffix)
    plt.assert_frame_equal(KINDS[suffix][0](there, client=resident).head(5).collect(), FRAMES[0].head(5))
    assert fetched(resident) == 0


@pytest.mark.parametrize("suffix", KINDS)
def test_some_objects_are_held_at_a_time(
    resident: Client, url: Any, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    scanned = LazyGroups.scanned

    def spy(lazy: LazyGroups, contents: list[bytes]) -> pl.LazyFrame:
        held.append(sum(map(len, contents)))
        return scanned(lazy, contents)

    monkeypatch.setattr(LazyGroups, "scanned", spy)
    assert KINDS[suffix][0](url(suffix), client=resident).select(pl.col("n").sum()).collect().item() > 0
    assert len(held) > FILES // 4
    assert max(held) < 3 * max(LONGEST.values()) + 10 * 2_000 * 4
    assert fetched(resident) == FILES


def test_beginnings_of_long_objects_are_looked_at_one_after_the_other(
    resident: Client, url: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way: list[object] = []
    seen: list[int] = []
    head = LazyGroups._head

    def spy(lazy: LazyGroups, each: TableObject) -> object:
        under_way.append(each)
        seen.append(len(under_way))
        try:
            return head(lazy, each)
        finally:
            under_way.remove(each)

    monkeypatch.setattr(LazyGroups, "_head", spy)
    assert spl.scan_csv(url("csv"), client=resident).collect_schema() == FRAMES[0].schema
    assert seen == [1] * 10


@pytest.mark.parametrize("suffix", KINDS)
def test_objects_that_are_named_are_read_without_a_listing(resident: Client, url: Any, suffix: str) -> None:
    there = url(suffix)
    names = [f"{there}{at:02}.{suffix}" for at in (5, 3, 5)]
    lazy = KINDS[suffix][0](names, client=resident)
    plain = KINDS[suffix][1]([CONTENTS[suffix][at] for at in (5, 3, 5)])
    plt.assert_frame_equal(lazy.collect(), plain.collect())


@pytest.mark.parametrize(
    "arguments",
    [
        {"try_parse_dates": True},
        {"infer_schema_length": None},
        {"infer_schema_length": 0},
        {"infer_schema_files": 1},
        {"schema_overrides": {"n": pl.String}},
        {"new_columns": ["a", "b", "c"]},
        {"with_column_names": lambda names: [name * 2 for name in names]},
        {"has_header": False},
        {"null_values": {"x": "0.0"}},
        {"comment_prefix": "#"},
        {"skip_rows": 1, "has_header": False},
        {"quote_char": None, "truncate_ragged_lines": True, "ignore_errors": True},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_the_arguments_of_polars_mean_what_they_mean_there(
    resident: Client, url: Any, arguments: dict[str, Any]
) -> None:
    ours = spl.scan_csv(url("csv"), client=resident, **arguments)
    plain = pl.scan_csv(CONTENTS["csv"], **arguments)
    assert ours.collect_schema() == plain.collect_schema()
    plt.assert_frame_equal(ours.collect(), plain.collect())


@pytest.mark.parametrize(
    ("compressed", "members"),
    [(gzip.compress, 1), (gzip.compress, 3), (zlib.compress, 1), (ZSTD.compress, 1), (ZSTD.compress, 3)],
)
def test_beginnings_of_compressed_texts_are_inflated(
    resident: Client, lake: str, compressed: Callable[[bytes], Any], members: int
) -> None:
    for at, content in enumerate(CONTENTS["csv"]):
        cuts = [len(content) * member // members for member in range(members + 1)]
        pieces = [content[begin:end] for begin, end in pairwise(cuts)]
        resident.put(f"s3://{lake}/many/{at:02}.csv.z", b"".join(bytes(compressed(piece)) for piece in pieces))
    resident.counters.clear()
    lazy = spl.scan_csv(f"s3://{lake}/many/*", client=resident)
    plt.assert_frame_equal(lazy.head(20).collect(), FRAMES[0].head(20))
    assert fetched(resident) == 0
    plt.assert_frame_equal(lazy.collect(), pl.concat(FRAMES))


def test_a_beginning_that_only_looks_compressed_leaves_the_word_to_polars(resident: Client, lake: str) -> None:
    resident.put(f"s3://{lake}/many/0.csv", b"x^,b\n" + b"1,2\n" * 2_000)
    with pytest.raises(NotATableError, match=r"0\.csv"):
        spl.scan_csv(f"s3://{lake}/many/", client=resident).collect()


@pytest.mark.parametrize("suffix", KINDS)
def test_a_later_object_of_another_schema_is_refused_in_the_words_of_polars(
    resident: Client, url: Any, suffix: str
) -> None:
    ours, plain, _ = KINDS[suffix]
    there, other = url(suffix), written(FRAMES[20].with_columns(pl.lit("x").alias("n")), suffix)
    resident.put(f"{there}20.{suffix}", other)
    contents = [other if at == 20 else content for at, content in enumerate(CONTENTS[suffix])]
    with pytest.raises(pl.exceptions.PolarsError) as refused:
        plain(contents).collect()
    with pytest.raises(type(refused.value)):
        ours(there, client=resident).collect()


@pytest.mark.parametrize("suffix", KINDS)
def test_a_later_object_that_is_no_table_is_named_without_its_content(resident: Client, url: Any, suffix: str) -> None:
    there = url(suffix)
    resident.put(f"{there}20.{suffix}", CONTENTS[suffix][20][:-40].rstrip(b"\n") + b'\n"secret",{]\n')
    lazy = KINDS[suffix][0](there, client=resident)
    plt.assert_frame_equal(lazy.head(10).collect(), FRAMES[0].head(10))
    with pytest.raises(NotATableError, match=f"20.{suffix}") as raised:
        lazy.collect()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("suffix", KINDS)
def test_no_row_of_an_object_that_was_changed_is_given_out(
    resident: Client, servers_here: BrokenServers, url: Any, suffix: str
) -> None:
    there = url(suffix)
    key = f"{there.removeprefix('s3:/')}20.{suffix}"
    stored = servers_here.s3.server.objects[key]
    changed = stored.body[:100] + bytes([stored.body[100] ^ 1]) + stored.body[101:]
    servers_here.s3.server.objects[key] = stored._replace(body=changed)
    with pytest.raises(AuthenticationError, match=f"20.{suffix}"):
        KINDS[suffix][0](there, client=resident).collect()


def test_types_are_those_of_all_beginnings_also_for_the_first(resident: Client, lake: str) -> None:
    texts = [b"a\n7\n7\nx\n", b"a\n"]
    for at, text in enumerate(texts):
        resident.put(f"s3://{lake}/many/{at}.csv", text)
    lazy = spl.scan_csv(f"s3://{lake}/many/", client=resident, infer_schema_length=2)
    plt.assert_frame_equal(lazy.collect(), pl.scan_csv(texts, infer_schema_length=2).collect())
    assert lazy.head(3).collect()["a"].to_list() == ["7", "7", "x"]


def fields() -> st.SearchStrategy[str]:
    return st.sampled_from(["", "x", "7", "2.5", "é", '"a,b"', '"two\nlines"', '"say ""hi"""', '""', " ", "#", "NA"])


@st.composite
def texts(draw: st.DrawFn) -> tuple[list[bytes], dict[str, Any]]:
    """Files of CSV whose columns have different types, some without rows, and arguments to read them."""
    columns = draw(st.integers(1, 3))
    names = ",".join(["a", "b b", '"c,d"'][:columns])
    row = st.lists(fields(), min_size=columns, max_size=columns).map(",".join)
    rows = st.lists(st.one_of(row, row, row, st.just("")), max_size=12)
    files = [
        "\n".join([names, *draw(rows)]) + draw(st.sampled_from(["", "\n"])) for _ in range(draw(st.integers(1, 14)))
    ]
    arguments: dict[str, Any] = {}
    if draw(st.booleans()):
        arguments["infer_schema_length"] = draw(st.integers(0, 4))
    if draw(st.booleans()):
        arguments["infer_schema_files"] = draw(st.integers(1, 12))
    if draw(st.booleans()):
        arguments["null_values"] = ["NA", "7"]
    arguments["infer_schema"] = draw(st.booleans())
    return [file.encode() for file in files], arguments


@given(texts(), st.integers(8, 60), st.integers(1, 400), st.integers(0, 40), st.integers(1, 40))
def test_however_objects_are_grouped_the_rows_are_those_of_all(
    resident: Client, files: tuple[list[bytes], dict[str, Any]], head: int, group: int, begin: int, length: int
) -> None:
    contents, arguments = files
    try:
        plain = pl.scan_csv(contents, **arguments).collect()
    except pl.exceptions.PolarsError:
        return
    names = [f"s3://bucket/grouped/{at:02}.csv" for at in range(len(contents))]
    for name, content in zip(names, contents, strict=True):
        resident.put(name, content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lazy_groups, "HEAD_BYTES", head)
        patch.setattr(lazy_groups, "GROUP_BYTES", group)
        patch.setattr(lazy_groups, "FEW_BYTES", group)
        lazy = spl.scan_csv(names, client=resident, **arguments)
        assert lazy.collect_schema() == plain.schema
        plt.assert_frame_equal(lazy.collect(), plain)
        plt.assert_frame_equal(lazy.slice(begin, length).collect(), plain.slice(begin, length))
        plt.assert_frame_equal(lazy.tail(length).collect(), plain.tail(length))
        assert lazy.select(pl.len()).collect().item() == len(plain)
