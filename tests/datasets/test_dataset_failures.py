"""What is there already, and what is left when a dataset is not written to its end: whole files, and a list of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from broken_bodies import Fault

import arrowseal.arrow as sa
from arrowseal import Client, ObjectLocation
from arrowseal.exceptions import (
    ConfigurationError,
    DatasetWriteError,
    LocationError,
    NoKeyError,
    ObjectExistsError,
    StoreError,
)
from lake import Lake, named, trips

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_what_is_there_is_not_written_over_unless_it_is_said(lake: Lake) -> None:
    sa.write_dataset(trips(), "s3://lake/t/", partitioning=["year"], client=lake.client)
    before = dict(lake.s3.server.objects)
    with pytest.raises(ObjectExistsError, match="mode="):
        sa.write_dataset(trips(), "s3://lake/t/", partitioning=["year"], client=lake.client)
    assert lake.s3.server.objects == before
    sa.write_dataset(trips(), "s3://lake/t/year", client=lake.client)  # another prefix that begins alike


def test_two_writers_of_one_name_do_not_mix(lake: Lake) -> None:
    def beside(method: str, path: str, _: object) -> None:
        if method == "PUT" and "intruder" not in path:  # after the prefix was looked at
            lake.s3.server.objects.setdefault("/lake/t/part-0.parquet", other)

    lake.put({"intruder": b"x"})
    other = lake.s3.server.objects["/lake/intruder"]
    lake.s3.rule = beside  # type: ignore[assignment]
    with pytest.raises(DatasetWriteError) as stopped:
        sa.write_dataset(trips(), "s3://lake/t", client=lake.client)
    assert stopped.value.written == ()
    assert lake.s3.server.objects["/lake/t/part-0.parquet"] == other


def test_append_adds_files_of_other_names(lake: Lake) -> None:
    for _ in range(2):
        sa.write_dataset(trips(), "s3://lake/t", partitioning=["year"], mode="append", client=lake.client)
    assert len(lake.keys) == 8
    assert sa.dataset("s3://lake/t", client=lake.client).count_rows() == 800


def test_overwrite_deletes_everything_of_before_and_only_after_all_is_there(lake: Lake) -> None:
    sa.write_dataset(trips(), "s3://lake/t", partitioning=["city"], client=lake.client)
    lake.put({"t/notes.txt": b"", "t2/other": b""})
    old = [key for key in lake.keys if key.startswith("t/")]
    lake.forget()
    written = sa.write_dataset(trips(), "s3://lake/t", partitioning=["year"], mode="overwrite", client=lake.client)
    assert sorted(location.key for location in written.deleted) == old
    order = [seen.operation for seen in lake.s3.log if seen.operation in ("PutObject", "DeleteObject")]
    assert order == sorted(order, reverse=True)
    assert set(lake.keys) == {path.removeprefix("s3://lake/") for path in written.paths} | {"t2/other"}


@pytest.mark.parametrize("how", [{"mode": "overwrite_partitions"}, {"existing_data_behavior": "delete_matching"}])
def test_overwritten_partitions_are_those_that_are_written(lake: Lake, how: dict[str, Any]) -> None:
    sa.write_dataset(trips(), "s3://lake/t", partitioning=["year"], client=lake.client)
    chosen = trips().filter(pc.field("year") == 2013).slice(0, 3)
    written = sa.write_dataset(chosen, "s3://lake/t", partitioning=["year"], client=lake.client, **how)
    assert [location.key for location in written.deleted] == ["t/year=2013/part-0.parquet"]
    counts = {
        year: sa.dataset("s3://lake/t", client=lake.client).count_rows(pc.field("year") == year)
        for year in (2012, 2013)
    }
    assert counts == {2012: 100, 2013: 3}


@pytest.mark.parametrize(
    ("flavor", "values", "others"),
    [
        ("hive", pa.array(["New York", "a:b", None]), ["k=New York", "k=a:b", "k=__HIVE_DEFAULT_PARTITION__"]),
        ("hive", pa.array([1]), ["k=01", "k=1"]),
        ("hive", pa.array([1.0]), ["k=1.0"]),
        ("hive", pa.array([1], pa.timestamp("ns")), ["k=1970-01-01 00:00:00.000000001"]),
        ("hive", pa.array([10**6], pa.timestamp("us")), ["k=1970-01-01 00:00:01.000000000", "k=1970-01-01 00:00:01"]),
        ("hive", pa.array([1], pa.timestamp("s", "UTC")), ["k=1970-01-01 00:00:01.000+00:00"]),
        ("directory", pa.array(["New York"]), ["New%20York"]),
    ],
    ids=["text", "numbers", "floats", "nanoseconds", "microseconds", "zones", "bare values"],
)
def test_overwritten_partitions_are_those_of_the_same_values_however_others_spell_them(
    lake: Lake, flavor: str, values: pa.Array, others: list[str]
) -> None:
    lake.put({f"t/{directory}/{name}": b"" for directory in others for name in ("a.parquet", "b/c.parquet")})
    kept = ["k=01x", "k=02", "k=1970-01-01 00:00:00.000000002", "k=new york", "_temporary/k=1", "x/k=01", "New york"]
    lake.put({f"t/{directory}/kept.parquet": b"" for directory in kept} | {"t/kept.parquet": b""})
    rows = pa.table({"k": values, "n": range(len(values))})
    parted: dict[str, Any] = {"partitioning": ["k"], "partitioning_flavor": flavor}
    written = sa.write_dataset(rows, "s3://lake/t", mode="overwrite_partitions", client=lake.client, **parted)
    assert {location.key.split("/")[1] for location in written.deleted} == set(others)
    assert len(written.deleted) == 2 * len(others)
    assert sum(key.endswith("kept.parquet") for key in lake.keys) == len(kept) + 1


def test_overwritten_partitions_of_file_names_are_those_that_are_written(lake: Lake) -> None:
    parted: dict[str, Any] = {"partitioning": ["year", "city"], "partitioning_flavor": "filename"}
    rows = pa.table({"year": [2012, 2013, 2013, 2013], "city": ["Rome", "Paris", "Rome", None], "n": range(4)})
    sa.write_dataset(rows, "s3://lake/t", client=lake.client, **parted)
    lake.put({"t/notes.txt": b""})
    for values, gone in [((2013, "Rome"), "2013_Rome_"), ((2013, None), "2013_")]:
        before = set(lake.keys)
        new = pa.table({"year": [values[0]], "city": pa.array([values[1]], pa.string()), "n": [9]})
        written = sa.write_dataset(new, "s3://lake/t", mode="overwrite_partitions", client=lake.client, **parted)
        assert [location.key for location in written.deleted] == [f"t/{gone}part-0.parquet"]
        assert before - set(lake.keys) == {f"t/{gone}part-0.parquet"}


def test_a_value_with_a_slash_begins_no_name_of_a_file_since_it_would_be_read_as_another(lake: Lake) -> None:
    rows = pa.table({"city": ["Rome", "Rome/Tivoli"], "n": [1, 2]})
    parted: dict[str, Any] = {"partitioning": ["city"], "partitioning_flavor": "filename"}
    with pytest.raises(DatasetWriteError, match="value with a slash") as failed:
        sa.write_dataset(rows, "s3://lake/t", client=lake.client, **parted)
    assert lake.keys == [file.location.key for file in failed.value.written]


@pytest.mark.parametrize(
    ("flavor", "text"),
    [("directory", text) for text in ("Rome/Tivoli", "", "..", "Rome%2FTivoli", "Rome\0", "_Rome", ".Rome")]
    + [("filename", text) for text in ("Rome_Tivoli", ".Rome", "_Rome")]
    + [("filename", ""), ("hive", "Rome\0")],
)
def test_a_text_that_its_path_would_not_give_back_is_refused_since_no_file_holds_it(
    lake: Lake, flavor: str, text: str
) -> None:
    rows = pa.table({"city": [text], "n": [1]})
    parted: dict[str, Any] = {"partitioning": ["city"], "partitioning_flavor": flavor}
    with pytest.raises(DatasetWriteError, match="a value of 'city' would be another one"):
        sa.write_dataset(rows, "s3://lake/t", client=lake.client, **parted)
    assert lake.keys == []


@pytest.mark.parametrize("flavor", ["hive", "filename", None])
@pytest.mark.parametrize(
    ("values", "kind"),
    [(["1", "secret"], pa.int32()), ([1, 200_000], pa.int16()), ([1.5], pa.int64())],
    ids=["text", "range", "fraction"],
)
def test_a_value_that_is_none_of_the_type_of_its_partitioning_is_told_and_not_quoted(
    lake: Lake, values: list[Any], kind: pa.DataType, flavor: str | None
) -> None:
    rows = pa.table({"k": values, "n": range(len(values))})
    parted = ds.partitioning(pa.schema([("j", pa.int64()), ("k", kind)]), flavor=flavor)
    with pytest.raises(DatasetWriteError, match=f"'k': {rows['k'].type}, not {kind}") as failed:
        sa.write_dataset(rows.append_column("j", rows["n"]), "s3://lake/t", partitioning=parted, client=lake.client)
    assert "secret" not in str(failed.value)
    assert isinstance(failed.value.__cause__, ConfigurationError)


def test_bytes_that_are_no_text_make_no_directory(lake: Lake) -> None:
    rows = pa.table({"k": [b"\xff"], "n": [1]})
    parted: dict[str, Any] = {"partitioning": ["k"], "partitioning_flavor": "directory"}
    with pytest.raises(DatasetWriteError, match="a partition has no path"):
        sa.write_dataset(rows, "s3://lake/t", client=lake.client, **parted)


def test_a_column_that_is_there_twice_parts_no_table(lake: Lake) -> None:
    rows = pa.table([[1], [2], [3]], names=["k", "k", "n"])
    with pytest.raises(ConfigurationError, match="several columns 'k'"):
        sa.write_dataset(rows, "s3://lake/t", partitioning=["k"], client=lake.client)


@pytest.mark.parametrize("kind", [pa.int64(), pa.string()])
def test_a_null_that_would_begin_a_name_which_readers_pass_over_is_refused(lake: Lake, kind: pa.DataType) -> None:
    rows = pa.table({"city": pa.array([None], kind), "n": [1]})
    parted: dict[str, Any] = {"partitioning": ["city"], "partitioning_flavor": "filename"}
    with pytest.raises(DatasetWriteError, match="a value of 'city' would be another one, or none"):
        sa.write_dataset(rows, "s3://lake/t", client=lake.client, **parted)
    assert lake.keys == []


@pytest.mark.parametrize("flavor", ["directory", "hive"])
def test_texts_of_paths_come_back_as_they_were(lake: Lake, flavor: str) -> None:
    texts = ["a b", "São Paulo", "a=b", "%", "+", "it's", '"', "#?&", "1", "nan", None]
    texts += ["", "a/b", "%2F", ".", "__HIVE"] if flavor == "hive" else []
    rows = pa.table({"city": texts, "n": range(len(texts))})
    parted: dict[str, Any] = {"partitioning": ["city"], "partitioning_flavor": flavor}
    sa.write_dataset(rows, "s3://lake/t", client=lake.client, **parted)
    kinds = ds.partitioning(pa.schema([("city", pa.string())]), flavor="hive" if flavor == "hive" else None)
    read = sa.dataset("s3://lake/t", partitioning=kinds, client=lake.client).to_table(columns=["city", "n"])
    assert read.sort_by("n").equals(rows)


def test_overwritten_partitions_of_bare_values_leave_those_whose_paths_are_longer(lake: Lake) -> None:
    parted: dict[str, Any] = {"partitioning": ["year", "city"], "partitioning_flavor": "directory"}
    rows = pa.table({"year": [2012, 2013, 2013], "city": ["Rome", "Paris", None], "n": range(3)})
    sa.write_dataset(rows, "s3://lake/t", client=lake.client, **parted)
    before = set(lake.keys)
    new = pa.table({"year": [2013], "city": pa.array([None], pa.string()), "n": [9]})
    written = sa.write_dataset(new, "s3://lake/t", mode="overwrite_partitions", client=lake.client, **parted)
    assert [location.key for location in written.deleted] == ["t/2013/part-0.parquet"]
    assert before - set(lake.keys) == {"t/2013/part-0.parquet"}


def test_files_of_the_same_names_are_replaced_when_it_is_said(lake: Lake) -> None:
    lake.put({"t/part-0.parquet": b"", "t/other.parquet": b""})
    sa.write_dataset(trips(), "s3://lake/t", existing_data_behavior="overwrite_or_ignore", client=lake.client)
    assert lake.keys == ["t/other.parquet", "t/part-0.parquet"]
    assert sa.dataset("s3://lake/t/part-0.parquet", client=lake.client).count_rows() == 400


def test_a_run_that_fails_in_the_middle_leaves_whole_files_and_lists_them(lake: Lake) -> None:
    sa.write_dataset(trips(10), "s3://lake/t/old", client=lake.client)
    rows = pa.table({"k": range(60), "n": range(60)})

    def broken(method: str, path: str, _: object) -> Fault | None:
        return Fault("status", 403, "AccessDenied") if method == "PUT" and "40/" in path else None

    lake.s3.rule = broken
    with pytest.raises(DatasetWriteError, match="whole files") as stopped:
        sa.write_dataset(rows, "s3://lake/t", partitioning=["k"], mode="overwrite", client=lake.client)
    lake.s3.reset()
    error = stopped.value
    assert isinstance(error.__cause__, PermissionError)
    assert "k=40" in str(error)
    new = [key for key in lake.keys if not key.startswith("t/old")]
    assert sorted(file.path for file in error.written) == [f"s3://lake/{key}" for key in new]
    assert 0 < len(new) < 60
    assert "t/old/part-0.parquet" in lake.keys  # nothing was deleted
    assert error.left == ()
    assert lake.s3.server.open_uploads == {}
    for file in error.written:
        assert sa.read_table(file.path, client=lake.client).num_rows == file.rows == 1


def test_a_source_that_fails_leaves_whole_files_and_is_the_cause(lake: Lake) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        for at in range(10):
            yield pa.record_batch({"n": [at] * 10})
        raise RuntimeError("the source is gone: secret")

    with pytest.raises(DatasetWriteError) as stopped:
        sa.write_dataset(
            batches(), "s3://lake/t", schema=pa.schema([("n", pa.int64())]), max_rows_per_file=25, client=lake.client
        )
    assert isinstance(stopped.value.__cause__, RuntimeError)
    assert "secret" not in str(stopped.value)
    assert [file.rows for file in stopped.value.written] == [25] * len(lake.keys)
    assert lake.keys == [file.location.key for file in stopped.value.written]
    assert lake.s3.server.open_uploads == {}


def test_large_files_that_are_under_way_are_aborted(lake: Lake) -> None:
    client = lake.make_client()
    noise = pa.table({"n": [f"{at * 2654435761 % 2**64:016x}" for at in range(700_000)]})

    def batches() -> Iterator[pa.RecordBatch]:
        yield from noise.to_batches(max_chunksize=100_000)
        while not lake.s3.server.open_uploads:
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sa.write_dataset(
            batches(),
            "s3://lake/t",
            schema=noise.schema,
            max_rows_per_group=100_000,
            file_options={"compression": "none", "use_dictionary": False},
            client=client,
        )
    assert lake.keys == []
    assert lake.s3.server.open_uploads == {}
    assert lake.s3.server.uploads != {}


def test_what_could_not_be_deleted_is_named(lake: Lake) -> None:
    sa.write_dataset(trips(), "s3://lake/t", partitioning=["year"], client=lake.client)

    def broken(method: str, path: str, _: object) -> Fault | None:
        return Fault("status", 403, "AccessDenied") if method == "DELETE" and "2013" in path else None

    lake.s3.rule = broken
    with pytest.raises(DatasetWriteError, match="still there") as stopped:
        sa.write_dataset(trips(10), "s3://lake/t", mode="overwrite", client=lake.client)
    lake.s3.reset()
    assert ObjectLocation("lake", "t/year=2013/part-0.parquet") in stopped.value.left
    assert [file.rows for file in stopped.value.written] == [10]
    assert isinstance(stopped.value.__cause__, StoreError)
    assert set(lake.keys) == {stopped.value.written[0].location.key} | {left.key for left in stopped.value.left}


def test_a_visitor_that_fails_ends_the_run(lake: Lake) -> None:
    def visit(_: object) -> None:
        raise ValueError("not this one")

    with pytest.raises(DatasetWriteError) as stopped:
        sa.write_dataset(trips(), "s3://lake/t", file_visitor=visit, client=lake.client)
    assert isinstance(stopped.value.__cause__, ValueError)
    assert [file.location.key for file in stopped.value.written] == lake.keys


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"format": "xls"}, ConfigurationError),
        ({"partitioning": ["nothing"]}, ConfigurationError),
        ({"partitioning": ["n", "x", "text", "year", "city"]}, ConfigurationError),
        ({"partitioning": ["year"], "partitioning_flavor": "deep"}, ConfigurationError),
        ({"partitioning": ds.partitioning(flavor="hive")}, ConfigurationError),
        ({"mode": "w"}, ConfigurationError),
        ({"existing_data_behavior": "replace"}, ConfigurationError),
        ({"mode": "append", "existing_data_behavior": "error"}, ConfigurationError),
        ({"basename_template": "part.parquet"}, ConfigurationError),
        ({"basename_template": "{i}/{i}"}, ConfigurationError),
        ({"max_rows_per_file": -1}, ConfigurationError),
        ({"max_open_files": 0}, ConfigurationError),
        ({"use_threads": 0}, ConfigurationError),
        ({"file_options": {"no_such_option": 1}}, TypeError),
        ({"progress": "yes"}, ConfigurationError),
        ({"encryption": "CSE"}, ConfigurationError),
        ({"s3_additional_kwargs": {"Body": b""}}, ConfigurationError),
        ({"schema": pa.schema([("z", pa.int8())])}, ConfigurationError),
    ],
    ids=named,
)
def test_what_cannot_be_is_refused_before_any_request(
    lake: Lake, options: dict[str, Any], expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        sa.write_dataset(trips(), "s3://lake/t", client=lake.client, **options)
    assert lake.s3.log == []
    assert lake.kms.calls == []


def test_more_that_is_refused_before_any_request(lake: Lake) -> None:
    for data in ({"n": [1]}, "table", 7, pl.LazyFrame({"n": [1]}), pa.array([1])):
        with pytest.raises(ConfigurationError):
            sa.write_dataset(data, "s3://lake/t", client=lake.client)
    with pytest.raises(LocationError):
        sa.write_dataset(trips(), "a/local/path", client=lake.client)
    nested = pa.table({"k": [[1]], "n": [1]})
    with pytest.raises(ConfigurationError, match="part of a path"):
        sa.write_dataset(nested, "s3://lake/t", partitioning=["k"], client=lake.client)
    assert lake.s3.log == []


def test_a_client_without_a_key_sends_nothing(lake: Lake) -> None:
    with pytest.raises(NoKeyError):
        sa.write_dataset(trips(), "s3://lake/t", client=Client(endpoint_url=lake.s3.endpoint, region_name="eu-west-1"))
    assert lake.s3.log == []


def test_too_many_partitions_are_a_mistake(lake: Lake) -> None:
    rows = pa.table({"k": range(50), "n": range(50)})
    with pytest.raises(DatasetWriteError, match="max_partitions=20"):
        sa.write_dataset(rows, "s3://lake/t", partitioning=["k"], max_partitions=20, client=lake.client)
