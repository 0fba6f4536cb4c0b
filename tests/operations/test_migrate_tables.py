"""CSV objects become Parquet objects: row by row the same, beside them, and over nothing that is there already."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from broken_bodies import Fault
from kills import Killed, dying_at

import arrowseal.arrow
from arrowseal import CSE, PLAIN, SSE_S3
from arrowseal.exceptions import ConfigurationError
from arrowseal.operations import migrate, migrated_tables

if TYPE_CHECKING:
    from arrowseal.encryption import Encryption
    from lake import Lake

CSV = b"n,name,x,day\n1,a,0.5,2013-01-01\n2,,nan,2013-01-02\n3,c,inf,\n"
URL = "s3://lake/a/t.csv"


def put(lake: Lake, content: bytes = CSV, key: str = "a/t.csv", **arguments: Any) -> None:
    lake.client.put(f"s3://lake/{key}", content, encryption=PLAIN, **arguments)


def test_a_table_is_the_same_as_parquet_and_the_csv_stays(lake: Lake) -> None:
    put(lake, s3_additional_kwargs={"Metadata": {"mine": "yes"}, "Tagging": "a=b", "CacheControl": "no-store"})
    (row,) = migrate(URL, format="parquet", client=lake.make_client(allow_plaintext=True)).results
    assert (row.state, row.target, row.after) == ("done", "s3://lake/a/t.parquet", "CSE V3")
    table = arrowseal.arrow.read_table("s3://lake/a/t.parquet", client=lake.client)
    assert table.equals(pa.csv.read_csv(pa.BufferReader(CSV)).cast(table.schema))
    headers = lake.s3.server.objects["/lake/a/t.parquet"].headers
    assert (headers["x-amz-meta-mine"], headers["x-amz-tagging"], headers["cache-control"]) == (
        "yes",
        "a=b",
        "no-store",
    )
    assert headers["content-type"] == "application/vnd.apache.parquet"
    assert lake.keys == ["a/t.csv", "a/t.parquet"]


def test_many_batches_become_few_row_groups_and_are_compared(lake: Lake) -> None:
    lines = b"n,text\n" + b"".join(b"%d,row %d\n" % (at, at) for at in range(200_000))
    put(lake, gzip.compress(lines, 1), "a/t.csv.gz")
    (row,) = migrate("s3://lake/a/t.csv.gz", format="parquet", client=lake.make_client(allow_plaintext=True)).results
    assert (row.state, row.target) == ("done", "s3://lake/a/t.parquet")
    table = arrowseal.arrow.read_table("s3://lake/a/t.parquet", client=lake.client)
    assert table.column("n").to_pylist() == list(range(200_000))


@pytest.mark.parametrize("rows", [0, migrated_tables._GROUP_ROWS])
def test_a_table_has_no_row_group_without_rows_unless_it_has_none_itself(lake: Lake, rows: int) -> None:
    put(lake, b"n\n" + b"1\n" * rows)
    assert migrate(URL, format="parquet", client=lake.make_client(allow_plaintext=True)).ok
    table = pq.ParquetFile(pa.BufferReader(bytes(lake.client.get("s3://lake/a/t.parquet"))))
    assert [table.metadata.row_group(at).num_rows for at in range(table.num_row_groups)] == [rows]
    assert table.schema_arrow.names == ["n"]


def test_what_belongs_to_the_csv_alone_does_not_go_along_nor_how_its_server_sealed_it(lake: Lake) -> None:
    sent = {"ContentEncoding": "identity", "ContentDisposition": "attachment", "ContentLanguage": "fr"}
    lake.client.put(URL, CSV, encryption=SSE_S3(), s3_additional_kwargs=sent)
    assert migrate(URL, format="parquet", client=lake.make_client(allow_plaintext=True)).ok
    headers = {name.lower() for name in lake.s3.server.objects["/lake/a/t.parquet"].headers}
    assert "content-language" in headers
    assert headers.isdisjoint({"content-encoding", "content-disposition", "x-amz-server-side-encryption"})


def test_the_csv_is_deleted_only_when_that_is_asked_for_and_only_after_the_comparison(lake: Lake) -> None:
    put(lake)
    client = lake.make_client(allow_plaintext=True)
    report = migrate(URL, format="parquet", client=client, delete_source=True)
    assert report.ok
    assert lake.keys == ["a/t.parquet"]


def test_a_run_that_is_to_delete_the_csv_does_so_after_one_that_was_not(lake: Lake) -> None:
    put(lake)
    client = lake.make_client(allow_plaintext=True)
    report = migrate(URL, format="parquet", client=client)
    again = migrate(URL, format="parquet", client=client, delete_source=True, resume=report)
    assert [row.reason for row in again.results if row.target] == ["the CSV object was deleted"]
    assert lake.keys == ["a/t.parquet"]


def test_a_csv_that_was_deleted_by_a_request_whose_answer_was_lost_is_done_and_so_is_what_belongs_to_it(
    lake: Lake,
) -> None:
    client = lake.make_client(instruction_files=True)
    client.put(URL, CSV, encryption=CSE(instruction_file=True))
    lost: list[str] = []

    def lose(method: str, path: str, headers: dict[str, str]) -> Fault | None:
        if method != "DELETE" or not path.endswith("/a/t.csv") or lost:
            return None
        lost.append(path)
        return Fault("lost-answer")

    lake.s3.rule = lose
    (row,) = migrate(URL, format="parquet", client=client, delete_source=True).results
    assert lost
    assert (row.state, row.reason) == ("done", "the CSV object was deleted")
    assert lake.keys == ["a/t.parquet"]


@pytest.mark.parametrize("changed", [b"something else", b"3,c,inf,\n4,c,inf,\n", b"3,d,inf,\n", b""])
def test_another_object_of_that_name_is_not_overwritten(lake: Lake, changed: bytes) -> None:
    put(lake)
    if changed == b"something else":
        lake.client.put("s3://lake/a/t.parquet", changed)
    else:
        other = pa.csv.read_csv(pa.BufferReader(CSV.replace(b"3,c,inf,\n", changed)))
        arrowseal.arrow.write_table(other, "s3://lake/a/t.parquet", client=lake.client)
    before = lake.s3.server.objects["/lake/a/t.parquet"]
    client = lake.make_client(allow_plaintext=True)
    (row,) = migrate(URL, format="parquet", client=client, delete_source=True).results
    assert row.state == "changed"
    assert "another object" in row.reason
    assert lake.s3.server.objects["/lake/a/t.parquet"] is before
    assert lake.keys == ["a/t.csv", "a/t.parquet"]


@pytest.mark.parametrize("there", [PLAIN, SSE_S3(), CSE(encryption_context={"team": "one"})], ids=str)
def test_a_table_of_the_same_rows_is_not_taken_for_ours_unless_it_is_protected_so(
    lake: Lake, there: Encryption
) -> None:
    lake.client.put(URL, CSV)
    table = pa.csv.read_csv(pa.BufferReader(CSV))
    arrowseal.arrow.write_table(table, "s3://lake/a/t.parquet", client=lake.client, encryption=there)
    (row,) = migrate(URL, format="parquet", client=lake.client, delete_source=True).results
    assert (row.state, "not CSE V3 as it would be written" in row.reason) == ("changed", True)
    assert lake.keys == ["a/t.csv", "a/t.parquet"]
    assert migrate(URL, to=there, format="parquet", client=lake.client, delete_source=True).ok
    assert lake.keys == ["a/t.parquet"]


@pytest.mark.parametrize("method", ["GET of the CSV", "HEAD of the table"])
def test_a_csv_that_is_overwritten_meanwhile_stays_and_no_table_of_what_it_was(lake: Lake, method: str) -> None:
    put(lake)
    put(lake, new := CSV.replace(b"1,a", b"1,z"), "new")
    overwrite_at(lake, "GET" if "GET" in method else "HEAD", "csv" if "CSV" in method else "parquet", "a/t.csv")
    client = lake.make_client(allow_plaintext=True)
    (row,) = migrate(URL, format="parquet", client=client, delete_source=True).results
    assert row.state == "changed"
    assert row.reason.startswith(URL)
    assert lake.keys == ["a/t.csv", "new"]
    lake.forget()
    assert migrate(URL, format="parquet", client=client, delete_source=True).ok
    table = arrowseal.arrow.read_table("s3://lake/a/t.parquet", client=lake.client)
    assert table.equals(pa.csv.read_csv(pa.BufferReader(new)).cast(table.schema))


def test_a_table_that_somebody_else_put_in_the_place_of_ours_stays(lake: Lake) -> None:
    put(lake)
    put(lake, b"no table", "new")
    overwrite_at(lake, "HEAD", "parquet", "a/t.parquet")
    client = lake.make_client(allow_plaintext=True)
    (row,) = migrate(URL, format="parquet", client=client, delete_source=True).results
    assert row.state == "failed"
    assert lake.keys == ["a/t.csv", "a/t.parquet", "new"]


def overwrite_at(lake: Lake, method: str, suffix: str, key: str) -> None:
    """Put the object `new` in another one's place when that is asked for."""

    def overwrite(asked: str, path: str, _: object) -> None:
        if asked == method and path.endswith(f"/a/t.{suffix}"):
            lake.s3.server.objects[f"/lake/{key}"] = lake.s3.server.objects["/lake/new"]

    lake.s3.rule = overwrite  # type: ignore[assignment]


def test_a_table_that_ends_where_a_piece_of_the_comparison_ends_is_not_taken_for_the_whole(lake: Lake) -> None:
    rows = migrated_tables._COMPARED_ROWS
    put(lake, b"n\n" + b"1\n" * (rows + 1))
    arrowseal.arrow.write_table(pa.table({"n": [1] * rows}), "s3://lake/a/t.parquet", client=lake.client)
    (row,) = migrate(URL, format="parquet", client=lake.make_client(allow_plaintext=True), delete_source=True).results
    assert row.state == "changed"
    assert lake.keys == ["a/t.csv", "a/t.parquet"]


def test_what_is_no_table_in_one_pass_is_told_without_its_content_and_stays(lake: Lake) -> None:
    put(lake, b"n\n" + b"1\n" * 600_000 + b"secret\n")
    (row,) = migrate(URL, format="parquet", client=lake.make_client(allow_plaintext=True)).results
    assert row.state == "failed"
    assert "csv_options=" in row.reason
    assert "secret" not in row.reason
    assert lake.keys == ["a/t.csv"]


def test_a_table_that_no_reader_of_parquet_would_read_for_a_name_twice_is_told_and_the_others_are_done(
    lake: Lake,
) -> None:
    put(lake, b"secret,b,secret\n1,x,0.5\n", "a/1.csv")
    put(lake, key="a/2.csv")
    client = lake.make_client(allow_plaintext=True)
    first, second = migrate("s3://lake/a/", format="parquet", client=client, delete_source=True).results
    assert (first.state, second.state) == ("failed", "done")
    assert "more than once" in first.reason
    assert "secret" not in first.reason
    assert lake.keys == ["a/1.csv", "a/2.parquet"]
    named = {"read_options": pa.csv.ReadOptions(column_names=["a", "b", "c"], skip_rows=1)}
    assert migrate("s3://lake/a/1.csv", format="parquet", client=client, csv_options=named).ok
    assert arrowseal.arrow.read_table("s3://lake/a/1.parquet", client=lake.client).column_names == ["a", "b", "c"]


@pytest.mark.parametrize("options", ["file_options", "csv_options"])
def test_options_that_pyarrow_does_not_have_are_refused_before_any_request(lake: Lake, options: str) -> None:
    put(lake)
    lake.forget()
    with pytest.raises(ConfigurationError, match="nonsense"):
        migrate(URL, format="parquet", client=lake.client, **{options: {"nonsense": 1}})
    assert lake.s3.log == []


def test_an_error_of_a_library_over_one_object_is_its_row_and_the_others_are_done(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("a/1.csv", "a/2.csv", "a/3.csv"):
        put(lake, key=key)
    compare = migrated_tables.MigratedTables._compare

    def stumble(self: Any, stored: Any, target: Any) -> None:
        if target.key == "a/2.parquet":
            raise KeyError("the secret value")
        compare(self, stored, target)

    monkeypatch.setattr(migrated_tables.MigratedTables, "_compare", stumble)
    report = migrate("s3://lake/a/", format="parquet", client=lake.make_client(allow_plaintext=True))
    assert [row.state for row in report.results] == ["done", "failed", "done"]
    assert "s3://lake/a/2.csv: KeyError" in report.results[1].reason
    assert "secret" not in report.results[1].reason
    assert lake.keys == ["a/1.csv", "a/1.parquet", "a/2.csv", "a/3.csv", "a/3.parquet"]


def test_other_objects_of_the_prefix_are_migrated_as_they_are(lake: Lake) -> None:
    put(lake)
    put(lake, b"\x00bytes", "a/blob")
    report = migrate("s3://lake/a/", format="parquet", client=lake.make_client(allow_plaintext=True))
    assert [(row.state, row.target) for row in report.results] == [("done", None), ("done", "s3://lake/a/t.parquet")]
    assert lake.client.get("s3://lake/a/blob") == b"\x00bytes"


def test_killed_at_any_request_the_csv_or_the_table_is_there_and_a_second_run_finishes(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lake)
    before, at = dict(lake.s3.server.objects), 0
    expected = pa.csv.read_csv(pa.BufferReader(CSV))
    while True:
        lake.s3.server.objects = dict(before)
        dying_at(monkeypatch, at)
        try:
            given: dict[str, Any] = {"format": "parquet", "delete_source": True}
            migrate(URL, client=lake.make_client(allow_plaintext=True), concurrency=1, **given)
        except Killed:
            at += 1 if os.environ.get("ARROWSEAL_TEST_KILLS") else 3
        else:
            break
        finally:
            dying_at(monkeypatch, None)
        if "a/t.csv" in lake.keys:
            assert migrate(URL, client=lake.make_client(allow_plaintext=True), **given).ok, f"at {at}"
        table = arrowseal.arrow.read_table("s3://lake/a/t.parquet", client=lake.client)
        assert table.equals(expected.cast(table.schema)), f"at {at}"
        assert lake.keys == ["a/t.parquet"]
    assert at > 10
