"""Compaction keeps every row: new files are proven before old ones go, what cannot be finished is left as it was."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from broken_bodies import Fault
from fault_rules import on

import arrowseal.arrow as sa
from arrowseal import PLAIN, ObjectLocation
from arrowseal.exceptions import (
    AuthenticationError,
    ConfigurationError,
    DatasetWriteError,
    NotEncryptedError,
    ObjectNotFoundError,
)
from arrowseal.location import COMPACTING
from arrowseal.operations import compact
from arrowseal.operations.compaction_manifest import Manifest, Manifests, Replacement
from arrowseal.operations.compaction_plan import planned
from arrowseal.tables.dataset_listing import Found
from lake import Lake, pq_bytes, trips

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def small_files(lake: Lake) -> pa.Table:
    """400 rows in 8 files for each of 4 partitions."""
    sa.write_dataset(
        trips(), "s3://lake/t", partitioning=["year"], max_rows_per_file=13, client=lake.client, mode="append"
    )
    rows = sa.dataset("s3://lake/t", client=lake.client).to_table()
    lake.forget()
    return rows


def rows(lake: Lake) -> pa.Table:
    return sa.dataset("s3://lake/t", client=lake.client).to_table()


def test_many_files_become_one_for_each_partition(lake: Lake, small_files: pa.Table) -> None:
    report = compact("s3://lake/t", client=lake.client)
    assert repr(report) == "<CompactionReport: 32 files into 4 (4 done)>"
    assert len(lake.keys) == 4
    assert rows(lake).equals(small_files)
    frame = report.to_pandas()
    assert frame["rows"].sum() == 400
    assert set(frame["state"]) == {"done"}
    assert sorted(frame["path"]) == [f"s3://lake/{key}" for key in lake.keys]
    assert sum(len(sources) for sources in frame["sources"]) == 32
    assert report.to_polars().height == 4
    assert compact("s3://lake/t", client=lake.client).merges == ()
    assert repr(compact("s3://lake/t", client=lake.client)) == "<CompactionReport: 0 files into 0 (nothing to do)>"


def test_each_new_file_is_read_back_before_its_sources_go(lake: Lake, small_files: pa.Table) -> None:
    compact("s3://lake/t", client=lake.client, use_threads=False)
    for key in lake.keys:
        directory = key.rpartition("/")[0]
        order = [
            seen.operation
            for seen in lake.s3.log
            if seen.path.split("?")[0].replace("%3D", "=").startswith(f"/lake/{directory}/")
            and COMPACTING not in seen.path
        ]
        put = order.index("PutObject")
        assert "DeleteObject" not in order[: put + 2]
        assert order[put + 1] == "GetObject"
        assert order.count("DeleteObject") == 8


def test_a_dry_run_tells_and_does_nothing(lake: Lake, small_files: pa.Table) -> None:
    before = dict(lake.s3.server.objects)
    report = compact("s3://lake/t/", dry_run=True, client=lake.client)
    assert repr(report) == "<CompactionReport: 32 files into 4 (4 planned)>"
    assert report.to_arrow()["rows"].to_pylist() == [None] * 4
    assert lake.s3.server.objects == before
    assert {seen.operation for seen in lake.s3.log} == {"ListObjectsV2"}


def test_files_add_up_to_the_target_in_the_order_of_their_keys() -> None:
    def found(key: str, size: int) -> Found:
        return Found(ObjectLocation("lake", key), key, size)

    files = [found(f"t/{at}.parquet", size) for at, size in enumerate([40, 40, 40, 100, 20, 30, 90])]
    files += [found("t/a/0.parquet", 10), found("t/a/1.csv", 10), found("t/a/2.csv.gz", 10), found("t/a/3.csv", 10)]
    merges = planned(files, 100)
    assert [[source.path for source in merge.sources] for merge in merges] == [
        ["t/0.parquet", "t/1.parquet"],
        ["t/2.parquet", "t/4.parquet", "t/5.parquet"],
        ["t/a/1.csv", "t/a/3.csv"],
    ]
    assert [merge.target.key.rpartition("/")[0] for merge in merges] == ["t", "t", "t/a"]
    assert merges[2].target.suffixes == [".csv"]


def test_values_of_partitions_in_the_names_of_files_are_kept(lake: Lake) -> None:
    table = pa.table({"year": [2012, 2013, 2013, None], "city": ["Rome", "Rome", "Paris", "Paris"], "n": range(4)})
    parted = ds.partitioning(pa.schema([("city", pa.string()), ("year", pa.int64())]), flavor="filename")
    for _ in range(2):
        sa.write_dataset(table, "s3://lake/t", partitioning=parted, mode="append", client=lake.client)

    def read() -> pa.Table:
        read = sa.dataset("s3://lake/t", partitioning=parted, client=lake.client).to_table()
        return read.sort_by([("n", "ascending")]).select(["city", "year", "n"])

    before = read()
    assert compact("s3://lake/t", client=lake.client).merges
    assert len(lake.keys) == 4
    assert read().equals(before)
    assert before["year"].null_count == 2


def test_names_with_underscores_are_joined_where_they_say_nothing(lake: Lake) -> None:
    content = pq_bytes(pa.table({"n": [1]}))
    lake.put({f"{place}{at}_0.parquet": content for place in ("t/", "u/year=2013/") for at in range(2)})
    assert compact("s3://lake/t", client=lake.client).merges == ()
    with pytest.raises(ConfigurationError, match="partitioning_flavor"):
        compact("s3://lake/t", partitioning_flavor="none", client=lake.client)  # type: ignore[arg-type]
    assert len(compact("s3://lake/u", client=lake.client).merges) == 1
    assert len(compact("s3://lake/t", partitioning_flavor="directory", client=lake.client).merges) == 1
    assert len(lake.keys) == 2


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "ndjson", "arrow", "orc"])
def test_other_formats_are_compacted_too(lake: Lake, suffix: str) -> None:
    table = trips(30).select(["n", "text"])
    for at in range(3):
        sa.write_table(table.slice(at * 10, 10), f"s3://lake/t/{at}.{suffix}", client=lake.client)
    compact("s3://lake/t", client=lake.client)
    assert len(lake.keys) == 1
    assert lake.keys[0].endswith(suffix.replace("ndjson", "json"))
    assert rows(lake).equals(table)


def test_columns_of_all_files_are_kept(lake: Lake) -> None:
    lake.put(
        {
            "t/1.parquet": pq_bytes(pa.table({"a": pa.array([1], pa.int32())})),
            "t/2.parquet": pq_bytes(pa.table({"b": ["x"], "a": pa.array([2**40])})),
        }
    )
    compact("s3://lake/t", client=lake.client)
    assert rows(lake).to_pylist() == [{"a": 1, "b": None}, {"a": 2**40, "b": "x"}]


def test_what_is_streamed_is_the_same(lake: Lake, small_files: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arrowseal.operations.compaction_files._AT_ONCE_BYTES", 0)
    compact("s3://lake/t", client=lake.client)
    assert len(lake.keys) == 4
    assert rows(lake).equals(small_files)


def test_categories_of_polars_within_structs_are_merged_a_few_rows_at_a_time(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    polars = pytest.importorskip("polars")
    monkeypatch.setattr("arrowseal.operations.compaction_files._AT_ONCE_BYTES", 0)
    kind = polars.Struct({"c": polars.Categorical})
    for name in "ab":
        sink = io.BytesIO()
        polars.DataFrame({"s": [{"c": f"{name}{n}"} for n in range(5)]}, schema={"s": kind}).write_ipc(sink)
        lake.put({f"t/{name}.arrow": sink.getvalue()})
    compact("s3://lake/t/", client=lake.client)
    assert len(lake.keys) == 1
    found = sa.dataset("s3://lake/t/", format="ipc", client=lake.client).to_table()["s"].to_pylist()
    assert found == [{"c": f"{name}{n}"} for name in "ab" for n in range(5)]


def test_one_data_key_serves_all_new_files(lake: Lake, small_files: pa.Table) -> None:
    compact("s3://lake/t", client=lake.client)
    assert lake.kms_calls("GenerateDataKey") == 1
    listing, row = lake.client.counters
    assert listing.operation == "list"
    assert (row.operation, row.key, row.rows) == ("compact", "t/", 400)


def test_a_source_that_is_overwritten_meanwhile_leaves_everything(lake: Lake, small_files: pa.Table) -> None:
    victim = next(key for key in lake.keys if "2013" in key)
    other = lake.s3.server.objects[f"/lake/{next(key for key in lake.keys if '2012' in key)}"]

    def overwrite(method: str, path: str, _: object) -> None:
        if method == "PUT" and "2013" in path:
            lake.s3.server.objects[f"/lake/{victim}"] = other

    lake.s3.rule = overwrite  # type: ignore[assignment]
    report = compact("s3://lake/t", client=lake.client)
    lake.s3.reset()
    states = {str(merge.target).split("/")[4]: merge.state for merge in report.merges}
    assert states["year=2013"] == "changed"
    assert sorted(states.values()) == ["changed", "done", "done", "done"]
    assert sum("year=2013" in key for key in lake.keys) == 8
    assert rows(lake).num_rows == 400


def broken(method: str, part: str, count: int = 0) -> Callable[..., Fault | None]:
    """Every request of a method for a path fails, after the first `count`."""
    seen = 0

    def rule(asked: str, path: str, _: object) -> Fault | None:
        nonlocal seen
        if asked != method or part not in path:
            return None
        seen += 1
        return Fault("status", 403, "AccessDenied") if seen > count else None

    return rule


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_what_fails_leaves_every_row_once_and_a_second_run_goes_on(
    lake: Lake, small_files: pa.Table, method: str
) -> None:
    lake.s3.rule = broken(method, "2013/")
    with pytest.raises(DatasetWriteError) as stopped:
        compact("s3://lake/t", client=lake.client)
    lake.s3.reset()
    assert isinstance(stopped.value.__cause__, PermissionError)
    assert stopped.value.left == ()
    assert all(file.location.key in lake.keys for file in stopped.value.written)
    assert rows(lake).sort_by("n").equals(small_files.sort_by("n"))
    compact("s3://lake/t", client=lake.client)
    assert len(lake.keys) == 4
    assert rows(lake).sort_by("n").equals(small_files.sort_by("n"))


@pytest.mark.parametrize("after", [0, 3])
def test_sources_that_cannot_be_deleted_are_named_and_a_second_run_deletes_them(
    lake: Lake, small_files: pa.Table, after: int
) -> None:
    lake.s3.rule = broken("DELETE", "2013/", after)
    with pytest.raises(DatasetWriteError, match=r"A second run deletes what \.left names") as stopped:
        compact("s3://lake/t", client=lake.client)
    lake.s3.reset()
    assert len(stopped.value.left) == 8 - after
    assert {location.key for location in stopped.value.left} < set(lake.keys)
    assert set(rows(lake)["n"].to_pylist()) == set(range(400))
    compact("s3://lake/t", client=lake.client)
    assert len(lake.keys) == 4
    assert rows(lake).sort_by("n").equals(small_files.sort_by("n"))


def test_a_new_file_that_does_not_read_back_is_taken_back(lake: Lake, small_files: pa.Table) -> None:
    old = set(lake.keys)

    def damage(method: str, path: str, _: object) -> Fault | None:
        name = path.rpartition("/")[2].partition("?")[0]
        fresh = name.endswith(".parquet") and not any(key.endswith(name) for key in old)
        return Fault("flip", 30) if method == "GET" and "2013" in path and fresh else None

    lake.s3.rule = damage
    with pytest.raises(DatasetWriteError) as stopped:
        compact("s3://lake/t", client=lake.client)
    lake.s3.reset()
    assert isinstance(stopped.value.__cause__, AuthenticationError)
    assert sum("2013" in key for key in lake.keys) == 8
    assert rows(lake).sort_by("n").equals(small_files.sort_by("n"))


def test_notes_of_a_run_whose_body_ends_early_are_asked_for_again(lake: Lake) -> None:
    client = lake.client.replace(lane="boto3")
    notes = ObjectLocation("lake", f"t/{COMPACTING}")
    with client.counters.operation("compact", notes) as operation:
        manifests = Manifests(client._store, operation, {})
        manifest = Manifest("run", "writing", (Replacement("new", {"old": "etag"}),))
        manifests.create(notes, manifest)
        assert manifests.read(notes) is not None  # and how the bucket is asked is known
        lake.s3.rule = on("GetObject", Fault("truncate", 20))
        held = manifests.read(notes)
    assert held is not None
    assert held.manifest == manifest


def test_plain_sources_have_to_be_allowed_and_become_sealed(lake: Lake) -> None:
    lake.put({f"t/{at}.parquet": pq_bytes(pa.table({"n": [at]})) for at in range(3)}, encryption=PLAIN)
    with pytest.raises(DatasetWriteError) as stopped:
        compact("s3://lake/t", client=lake.client)
    assert isinstance(stopped.value.__cause__, NotEncryptedError)
    compact("s3://lake/t", allow_plaintext=True, client=lake.client)
    assert len(lake.keys) == 1
    assert rows(lake)["n"].to_pylist() == [0, 1, 2]


def test_hidden_files_are_left_alone(lake: Lake, small_files: pa.Table) -> None:
    lake.put({"t/_SUCCESS": b"", "t/_b.parquet": b"", "t/year=2013/.c.parquet": b""})
    compact("s3://lake/t", client=lake.client)
    assert {"t/_SUCCESS", "t/_b.parquet", "t/year=2013/.c.parquet"} <= set(lake.keys)
    assert rows(lake).filter(pc.field("year") == 2013).num_rows == 100


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("log", ["_delta_log/0.json", ".hoodie/hoodie.properties", "metadata/v1.metadata.json"])
def test_a_table_with_a_log_that_names_its_files_is_refused(
    lake: Lake, small_files: pa.Table, log: str, dry_run: bool
) -> None:
    lake.put({f"t/{log}": b"{}"})
    keys = lake.keys
    with pytest.raises(ConfigurationError, match=r"table s3://lake/t has a log that names its files"):
        compact("s3://lake/", dry_run=dry_run, client=lake.client)
    assert lake.keys == keys


@pytest.mark.parametrize("log", ["_delta_log/0.json", ".hoodie/hoodie.properties", "metadata/v1.metadata.json"])
@pytest.mark.parametrize("above", ["t/", ""])
def test_so_is_a_part_of_such_a_table(lake: Lake, small_files: pa.Table, above: str, log: str) -> None:
    lake.put({above + log: b"{}"})
    keys = lake.keys
    with pytest.raises(ConfigurationError, match=rf"s3://lake/t/year=2013/: .* table s3://lake/{above[:-1]} has a log"):
        compact("s3://lake/t/year=2013", client=lake.client)
    assert lake.keys == keys


@pytest.mark.parametrize("at", ["_metadata", "t/_metadata", "t/year=2013/_metadata"])
def test_files_that_a_summary_names_are_not_taken_away_from_under_it(
    lake: Lake, small_files: pa.Table, at: str
) -> None:
    lake.put({at: b"", "t/_common_metadata": b""})
    keys = lake.keys
    with pytest.raises(ConfigurationError, match=f"s3://lake/{at} names the row groups .* delete it"):
        compact("s3://lake/t", client=lake.client)
    assert lake.keys == keys
    lake.client.delete(f"s3://lake/{at}")
    assert compact("s3://lake/t", client=lake.client).merges


def test_directories_above_that_may_not_be_listed_stop_nothing(lake: Lake, small_files: pa.Table) -> None:
    denied = Fault("status", 403, "AccessDenied")
    lake.s3.rule = lambda _, path, __: None if "prefix=t" in path or "list-type" not in path else denied
    assert compact("s3://lake/t", client=lake.client).merges


def test_what_cannot_be_is_refused_before_any_object_is_touched(lake: Lake, small_files: pa.Table) -> None:
    with pytest.raises(ConfigurationError, match="target_bytes"):
        compact("s3://lake/t", target_bytes=0, client=lake.client)
    with pytest.raises(ObjectNotFoundError):
        compact("s3://lake/nothing", client=lake.client)
    with pytest.raises(TypeError, match="no_such_option"):
        compact("s3://lake/t", file_options={"no_such_option": 1}, client=lake.client)
    with pytest.raises(ConfigurationError):
        compact("s3://lake/t", encryption="CSE", client=lake.client)  # type: ignore[arg-type]
    assert {seen.operation for seen in lake.s3.log} == {"ListObjectsV2"}
