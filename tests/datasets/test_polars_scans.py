"""Lazy scans of many CSV, JSON lines and IPC objects: as polars scans the plain files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import polars.testing as plt
import pytest

import arrowseal.polars as spl
from arrowseal import using
from arrowseal.exceptions import AuthenticationError, ConfigurationError, NotATableError, ObjectNotFoundError
from arrowseal.tables import lazy_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lake import Lake


class Kind(NamedTuple):
    """A format, its functions here and in polars, and how a frame becomes a file of it."""

    suffix: str
    ours: Callable[..., pl.LazyFrame]
    plain: Callable[..., pl.LazyFrame]
    write: Callable[[pl.DataFrame, io.BytesIO], object]


KINDS = [
    Kind("csv", spl.scan_csv, pl.scan_csv, pl.DataFrame.write_csv),
    Kind("ndjson", spl.scan_ndjson, pl.scan_ndjson, pl.DataFrame.write_ndjson),
    Kind("ipc", spl.scan_ipc, pl.scan_ipc, pl.DataFrame.write_ipc),
]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.suffix)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def here(lake: Lake, tmp_path: Path, kind: Kind) -> Iterator[Path]:
    """A directory of plain files, and the same ones in the lake; its client is the default one."""
    directory = tmp_path / "t"
    for number, name in enumerate(("b", "a", "c/d")):
        rows = range(10 * number, 10 * number + 10)
        frame = pl.DataFrame({"n": rows, "city": [f"{name} {n}" if n % 3 else None for n in rows]})
        sink = io.BytesIO()
        kind.write(frame, sink)
        file = directory / f"{name}.{kind.suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(sink.getvalue())
    lake.seal(directory, "t/")
    lake.forget()
    with using(lake.client):
        yield directory


def same(ours: pl.LazyFrame, plain: pl.LazyFrame) -> None:
    assert ours.collect_schema() == plain.collect_schema()
    plt.assert_frame_equal(ours.collect(), plain.collect())


@pytest.mark.parametrize("pattern", ["*.{}", "**/*.{}", "[b-d]*.{}"])
def test_a_pattern_is_what_polars_finds_for_it(lake: Lake, here: Path, kind: Kind, pattern: str) -> None:
    name = pattern.format(kind.suffix)
    same(kind.ours(f"s3://lake/t/{name}"), kind.plain(here / name))


def test_a_prefix_is_all_that_is_below_it(lake: Lake, here: Path, kind: Kind) -> None:
    same(kind.ours("s3://lake/t/"), kind.plain(here))
    same(kind.ours("s3://lake/t", dataset=True), kind.plain(here))


def test_a_list_keeps_its_order_and_what_it_names_twice(lake: Lake, here: Path, kind: Kind) -> None:
    names = [f"{name}.{kind.suffix}" for name in ("b", "c/d", "b")]
    same(kind.ours([f"s3://lake/t/{name}" for name in names]), kind.plain([here / name for name in names]))


@pytest.mark.parametrize(
    "arguments",
    [{"n_rows": 13}, {"row_index_name": "i", "row_index_offset": 5}, {"n_rows": 13, "row_index_name": "i"}],
    ids=str,
)
def test_rows_are_counted_over_all_of_them(lake: Lake, here: Path, kind: Kind, arguments: dict[str, Any]) -> None:
    name = f"*.{kind.suffix}"
    same(kind.ours(f"s3://lake/t/{name}", **arguments), kind.plain(here / name, **arguments))


def test_a_query_is_polars_own(lake: Lake, here: Path, kind: Kind) -> None:
    name = f"*.{kind.suffix}"

    def query(frame: pl.LazyFrame) -> pl.LazyFrame:
        return frame.filter(pl.col("n") > 5).select("city", (pl.col("n") * 2).alias("twice")).slice(2, 9)

    same(query(kind.ours(f"s3://lake/t/{name}")), query(kind.plain(here / name)))
    count = kind.ours(f"s3://lake/t/{name}").select(pl.len()).collect().item()
    assert count == kind.plain(here / name).select(pl.len()).collect().item() == 20


def test_nothing_is_fetched_before_the_query_and_each_object_once_for_it(lake: Lake, here: Path, kind: Kind) -> None:
    lake.forget()
    frame = kind.ours("s3://lake/t/")
    assert lake.asked("GetObject") == []
    assert len(frame.collect()) == 30
    assert sorted(lake.asked("GetObject")) == sorted(f"t/{name}.{kind.suffix}" for name in ("a", "b", "c/d"))


def test_one_that_was_changed_is_refused_by_its_name(lake: Lake, here: Path, kind: Kind) -> None:
    path = f"/lake/t/a.{kind.suffix}"
    stored = lake.s3.server.objects[path]
    lake.s3.server.objects[path] = stored._replace(body=stored.body[:-1] + bytes([stored.body[-1] ^ 1]))
    with pytest.raises(AuthenticationError, match=rf"t/a\.{kind.suffix}"):
        kind.ours("s3://lake/t/").collect()


def test_one_that_is_no_table_is_named(lake: Lake, here: Path, kind: Kind) -> None:
    lake.client.put(f"s3://lake/t/a2.{kind.suffix}", b"n,city\n1,more,than,two\n")
    with pytest.raises(NotATableError, match=rf"t/a2\.{kind.suffix}"):
        kind.ours("s3://lake/t/").collect()


@pytest.mark.parametrize("limit", [None, 0], ids=["at once", "some at a time"])
def test_files_without_content_are_left_out_unless_they_are_listed(
    lake: Lake, here: Path, kind: Kind, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SHORT_BYTES", "HELD_BYTES", "GROUP_BYTES") if limit is not None else ():
        monkeypatch.setattr(lazy_groups, name, limit)
    for name in ("0", "1", "aa", "c/e"):
        (here / f"{name}.{kind.suffix}").touch()
    lake.seal(here, "t/")
    for query in (lambda lazy: lazy, lambda lazy: lazy.tail(3), lambda lazy: lazy.head(13).select("city")):
        same(query(kind.ours("s3://lake/t/")), query(kind.plain(here)))
        same(query(kind.ours(f"s3://lake/t/*.{kind.suffix}")), query(kind.plain(here / f"*.{kind.suffix}")))
    with pytest.raises(NotATableError, match=rf"t/0\.{kind.suffix}"):
        kind.ours([f"s3://lake/t/0.{kind.suffix}", f"s3://lake/t/a.{kind.suffix}"]).collect()
    with pytest.raises(NotATableError, match=r"t/c/e\."):
        kind.ours(f"s3://lake/t/**/e.{kind.suffix}").collect()


def test_what_finds_nothing_says_so(lake: Lake, here: Path, kind: Kind) -> None:
    with pytest.raises(ObjectNotFoundError, match="no objects of a dataset"):
        kind.ours("s3://lake/t/*.other")


@pytest.mark.parametrize("name", ["include_file_paths", "version_id"])
def test_what_is_said_of_one_object_is_refused_for_many(lake: Lake, here: Path, kind: Kind, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"takes no {name}= for many objects"):
        kind.ours("s3://lake/t/", **{name: "x"})


def test_columns_of_paths_are_refused_where_polars_would_read_them(lake: Lake, here: Path, kind: Kind) -> None:
    lake.client.copy(f"s3://lake/t/a.{kind.suffix}", f"s3://lake/h/year=2013/a.{kind.suffix}")
    if kind.suffix != "ipc":
        assert kind.ours("s3://lake/h/").collect().columns == ["n", "city"]
        return
    with pytest.raises(ConfigurationError, match="hive_partitioning=False"):
        kind.ours("s3://lake/h/")
    assert kind.ours("s3://lake/h/", hive_partitioning=False).collect().columns == ["n", "city"]
    with pytest.raises(ConfigurationError, match="takes no hive_partitioning= for many objects"):
        kind.ours("s3://lake/h/", hive_partitioning=True)


def test_to_read_them_at_once_is_to_collect_their_scan(lake: Lake, here: Path, kind: Kind) -> None:
    read, plain = getattr(spl, f"read_{kind.suffix}"), getattr(pl, f"read_{kind.suffix}")
    name = f"*.{kind.suffix}"
    plt.assert_frame_equal(read(f"s3://lake/t/{name}"), plain(here / name))
    plt.assert_frame_equal(read("s3://lake/t/", n_rows=13), kind.plain(here, n_rows=13).collect())
    listed = [f"s3://lake/t/{name}.{kind.suffix}" for name in ("b", "a")]
    numbered = {"row_index_name": "i", "row_index_offset": 5}
    plt.assert_frame_equal(read(listed, **numbered), kind.ours(listed, **numbered).collect())
    lake.client.put(f"s3://lake/t/none.{kind.suffix}", b"n,city\n1,more,than,two\n")
    with pytest.raises(NotATableError, match=r"s3://lake/t/none"):
        read(f"s3://lake/t/{name}")


@pytest.mark.parametrize("columns", [["city"], ["city", "n"], [1], "n"], ids=str)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.suffix != "ndjson"], ids=lambda kind: kind.suffix)
def test_columns_of_many_are_those_that_polars_reads(lake: Lake, here: Path, kind: Kind, columns: Any) -> None:
    read, plain = getattr(spl, f"read_{kind.suffix}"), getattr(pl, f"read_{kind.suffix}")
    name, numbered = f"*.{kind.suffix}", {"row_index_name": "i"}
    plt.assert_frame_equal(read(f"s3://lake/t/{name}", columns=columns), plain(here / name, columns=columns))
    ours = read(f"s3://lake/t/{name}", columns=columns, **numbered)
    plt.assert_frame_equal(ours, plain(here / name, columns=columns, **numbered))
    with pytest.raises(ConfigurationError, match="takes no use_pyarrow= for many objects"):
        read(f"s3://lake/t/{name}", use_pyarrow=True)


def test_a_read_of_many_has_one_progress(lake: Lake, here: Path, kind: Kind) -> None:
    stored = sum(len(stored.body) for stored in lake.s3.server.objects.values())
    told: list[tuple[int, int | None, str]] = []

    def tell(done: int, total: int | None, location: object) -> None:
        told.append((done, total, str(location)))

    assert kind.ours("s3://lake/t/", progress=tell).collect().height == 30
    assert (told[0], told[-1]) == ((0, None, "s3://lake/t/"), (stored, None, "s3://lake/t/"))
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    lake.forget()
    with pytest.raises(ConfigurationError, match="progress= is True, False, or a function"):
        kind.ours("s3://lake/t/", progress="yes")
    assert lake.s3.log == []
