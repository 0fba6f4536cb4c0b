"""The URL of one object as a column, as polars tells the path of a plain file."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.testing as plt
import pytest

import arrowseal.polars as spl
from arrowseal import using

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lake import Lake

ROWS = pl.DataFrame({"n": range(5), "city": ["a", "b", None, "d", "e"]})
SUFFIXES = ["parquet", "csv", "ndjson", "ipc"]
READS = [s for s in SUFFIXES if "include_file_paths" in inspect.signature(getattr(pl, f"read_{s}")).parameters]
COLUMNS = [None, "n", ["n"], ["file", "n"], ["file"], [2, 0], []]


@pytest.fixture(autouse=True)
def default(lake: Lake) -> Iterator[None]:
    """The client of the lake is the default one."""
    with using(lake.client):
        yield


def written(lake: Lake, tmp_path: Path, suffix: str) -> tuple[str, str]:
    """A path and a URL of the same table."""
    file = tmp_path / f"t.{suffix}"
    getattr(ROWS, f"write_{suffix}")(file)
    lake.client.put(f"s3://lake/t.{suffix}", file.read_bytes())
    lake.forget()
    return str(file), f"s3://lake/t.{suffix}"


def outcome(read: Callable[[], pl.DataFrame], path: str) -> Any:
    """What came, with `path` by a word of its own, or the kind of error."""
    try:
        found = read()
    except Exception as error:
        return type(error)
    return found.with_columns(pl.col("file").replace(path, "here")) if "file" in found.columns else found


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_scans_of_one_object_tell_its_url(lake: Lake, tmp_path: Path, suffix: str) -> None:
    path, url = written(lake, tmp_path, suffix)
    options: dict[str, Any] = {"include_file_paths": "file"}
    queries: list[Callable[[pl.LazyFrame], pl.LazyFrame]] = [
        lambda lazy: lazy,
        lambda lazy: lazy.select("file"),
        lambda lazy: lazy.filter(pl.col("n") > 2).select("file", "n"),
        lambda lazy: lazy.filter(pl.col("file").str.contains(r"t\.")).tail(2),
        lambda lazy: lazy.filter(pl.col("file") == "elsewhere"),
        lambda lazy: lazy.with_row_index().slice(1, 2),
        lambda lazy: lazy.select(pl.len()),
        lambda lazy: lazy.group_by("file").agg(pl.col("n").sum()),
    ]
    scans = [(getattr(spl, f"scan_{suffix}"), url), (getattr(pl, f"scan_{suffix}"), path)]
    for more in ({}, {"n_rows": 3}, {"row_index_name": "at"}, {"n_rows": 0}):
        ours, theirs = (scan(place, **options, **more) for scan, place in scans)
        assert ours.collect_schema() == theirs.collect_schema()
        for query in queries:
            for engine in ("in-memory", "streaming"):
                told: dict[str, Any] = {"engine": engine}
                found = outcome(lambda: query(ours).collect(**told), url)  # noqa: B023 - called at once
                plt.assert_frame_equal(found, outcome(lambda: query(theirs).collect(**told), path))  # noqa: B023


@pytest.mark.parametrize("more", [{}, {"row_index_name": "at", "row_index_offset": 7, "n_rows": 2}], ids=str)
@pytest.mark.parametrize(
    ("suffix", "columns"), [(suffix, one) for suffix in READS for one in (COLUMNS if suffix != "ndjson" else [None])]
)
def test_reads_of_one_object_tell_its_url_where_it_is_asked_for(
    lake: Lake, tmp_path: Path, suffix: str, columns: Any, more: dict[str, Any]
) -> None:
    path, url = written(lake, tmp_path, suffix)
    options = more | {"include_file_paths": "file"} | ({} if columns is None else {"columns": columns})
    found = outcome(lambda: getattr(spl, f"read_{suffix}")(url, **options), url)
    plt.assert_frame_equal(found, outcome(lambda: getattr(pl, f"read_{suffix}")(path, **options), path))
    bucket, _, key = url.removeprefix("s3://").partition("/")
    plt.assert_frame_equal(
        outcome(lambda: getattr(spl, f"read_{suffix}")(bucket=bucket, key=key, **options), url), found
    )


def test_no_chunk_is_fetched_for_the_url(lake: Lake, tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": range(300_000), "wide": [f"{at * 2654435761 % 2**32}" for at in range(300_000)]})
    spl.write_parquet(frame, "s3://lake/large.parquet")
    lake.forget()
    lazy = spl.scan_parquet("s3://lake/large.parquet", include_file_paths="file")
    assert lazy.select("n", "file").collect().width == 2
    fetched = [record.stored_bytes for record in lake.client.counters]
    assert spl.scan_parquet("s3://lake/large.parquet").select("n").collect().height == 300_000
    assert [record.stored_bytes for record in lake.client.counters][len(fetched) :] == fetched != []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_name_of_another_column_is_refused_as_polars_does(lake: Lake, tmp_path: Path, suffix: str) -> None:
    _, url = written(lake, tmp_path, suffix)
    with pytest.raises(pl.exceptions.DuplicateError, match="n"):
        getattr(spl, f"scan_{suffix}")(url, include_file_paths="n").collect()


@pytest.mark.parametrize("name", [5, ["file"], True], ids=str)
def test_what_is_no_name_is_refused_before_any_request(lake: Lake, tmp_path: Path, name: Any) -> None:
    _, url = written(lake, tmp_path, "parquet")
    for face in (spl.read_parquet, spl.scan_parquet):
        with pytest.raises(TypeError, match=r"_parquet\(\) takes the name of a column as include_file_paths="):
            face(url, include_file_paths=name)
    assert lake.s3.log == []
