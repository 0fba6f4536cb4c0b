"""What datasets ask for, how they fail, and what is left under way: every request is seen by an S3 in memory."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from broken_bodies import Fault

import arrowseal.arrow as sa
import arrowseal.pandas as spd
import arrowseal.polars as spl
from arrowseal import PLAIN, Client, ObjectLocation, TransferOptions
from arrowseal.exceptions import (
    AuthenticationError,
    ColumnNotFoundError,
    ConfigurationError,
    LocationError,
    NotATableError,
    NotEncryptedError,
    ObjectNotFoundError,
    SchemaMismatchError,
    StoreError,
)
from lake import Lake, pq_bytes, trips

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from arrowseal.local import LocalServers


def test_what_a_filter_on_partitions_leaves_out_is_never_asked_for(
    both: tuple[sa.EncryptedDataset, ds.Dataset], lake: Lake
) -> None:
    ours = both[0]
    assert lake.asked("ListObjectsV2") == ["/lake"] or len(lake.asked("ListObjectsV2")) == 1
    assert lake.asked("GetObject") == []
    chosen = pc.field("year") == 2013
    assert len(ours.get_fragments(chosen)) == 8
    assert lake.asked("GetObject") == []
    ours.replace_schema(both[1].schema).to_table(filter=chosen)
    assert len(lake.asked("GetObject")) == 8
    assert all("/year=2013/" in key for key in lake.asked("GetObject"))
    assert lake.asked("HeadObject") == []


def test_a_small_file_is_one_request_and_the_schema_one_more(
    both: tuple[sa.EncryptedDataset, ds.Dataset], lake: Lake
) -> None:
    ours = both[0]
    ours.to_table()
    assert sorted(lake.asked("GetObject")) == sorted(
        [ours.files[0].removeprefix("s3://lake/"), *(url.removeprefix("s3://lake/") for url in ours.files)]
    )
    lake.forget()
    ours.to_table()
    assert len(lake.s3.log) == len(ours.files)


def test_a_filter_on_other_columns_as_well_asks_for_the_schema_and_for_partitions_that_may_fit(
    both: tuple[sa.EncryptedDataset, ds.Dataset], lake: Lake
) -> None:
    ours = both[0]
    ours.to_table(filter=(pc.field("year") == 2014) & (pc.field("n") < 10))
    assert len(lake.asked("GetObject")) == 1 + 8
    assert sum("/year=2014/" not in key for key in lake.asked("GetObject")) == 1


def test_head_without_columns_has_no_more_rows_than_there_are(
    both: tuple[sa.EncryptedDataset, ds.Dataset],
) -> None:
    ours, plain = both
    for count in (0, 3, plain.count_rows() + 1):
        assert ours.head(count, columns=[]).num_rows == plain.head(count, columns=[]).num_rows


@pytest.mark.parametrize("listed", [True, False])
def test_a_filter_on_rows_of_large_files_fetches_little_of_them_whichever_their_schemas(
    lake: Lake, listed: bool
) -> None:
    for at in range(2):
        rows = pa.table({"n": range(at * 1000, at * 1000 + 1000), "wide": [os.urandom(9000) for _ in range(1000)]})
        lake.put({f"t/{at}.parquet": pq_bytes(rows, row_group_size=100, use_dictionary=False)})
    source = "s3://lake/t/" if listed else ["s3://lake/t/0.parquet", "s3://lake/t/1.parquet"]
    lake.forget()
    few = spd.read_parquet(source, columns=["n"], filters=[("n", ">=", 1995)], client=lake.client)
    assert few["n"].tolist() == [1995, 1996, 1997, 1998, 1999]
    assert sum(lake.client.counters.summary()["plaintext_bytes"].to_pylist()) < 2**20


def test_a_filter_on_rows_and_partitions_asks_for_no_files_of_others_but_the_first(lake: Lake) -> None:
    sa.write_dataset(trips(), "s3://lake/t", partitioning=["year", "city"], client=lake.client)
    lake.forget()
    read = spd.read_parquet("s3://lake/t/", filters=[("year", "=", 2014), ("n", "<", 100)], client=lake.client)
    assert set(read["n"]) == {n for n in range(100) if n % 4 == 2}
    assert {key.split("/")[1] for key in lake.asked("GetObject")} == {"year=2014", lake.keys[0].split("/")[1]}


@pytest.mark.parametrize("columns", [None, ["n", "extra"]])
def test_a_column_that_only_files_of_other_partitions_have_is_null_beside_a_filter_on_rows(
    lake: Lake, columns: list[str] | None
) -> None:
    for year, more in [(2012, {}), (2013, {"extra": ["x"]}), (2014, {})]:
        lake.put({f"t/year={year}/a.parquet": pq_bytes(pa.table({"n": [year], **more}))})
    of_year: Any = [("year", "=", 2014), ("n", ">", 0)]
    read = spd.read_parquet("s3://lake/t/", columns=columns, filters=of_year, client=lake.client)
    assert read["n"].tolist() == [2014]
    assert columns is None or read["extra"].isna().tolist() == [True]
    gone = spd.read_parquet("s3://lake/t/", filters=[*of_year, ("extra", "=", "x")], client=lake.client)
    assert len(gone) == 0
    with pytest.raises(ColumnNotFoundError, match="nothing"):
        spd.read_parquet("s3://lake/t/", filters=[*of_year, ("nothing", "=", "x")], client=lake.client)


def test_head_asks_for_one_file_if_that_is_enough(both: tuple[sa.EncryptedDataset, ds.Dataset], lake: Lake) -> None:
    ours = both[0].replace_schema(both[1].schema)
    assert ours.head(3).num_rows == 3
    assert len(lake.asked("GetObject")) == 1
    lake.forget()
    assert ours.head(20, use_threads=2).num_rows == 20
    assert 2 <= len(lake.asked("GetObject")) <= 12
    assert ours.head(0).schema == ours.schema
    assert ours.head(1000).num_rows == 400


def large_files(lake: Lake) -> int:
    """Two of ten row groups each; how many bytes are stored."""
    for at in range(2):
        rows = pa.table({"n": range(at * 1000, at * 1000 + 1000), "wide": [os.urandom(9000) for _ in range(1000)]})
        lake.put({f"t/{at}.parquet": pq_bytes(rows, row_group_size=100, use_dictionary=False)})
        lake.client.index(f"s3://lake/t/{at}.parquet")
    lake.forget()
    return sum(len(stored.body) for stored in lake.s3.server.objects.values())


FIRST_ROWS: dict[str, Callable[[Client], list[int]]] = {
    "arrow": lambda client: sa.dataset("s3://lake/t/", client=client).head(120)["n"].to_pylist(),
    "polars": lambda client: spl.scan_parquet("s3://lake/t/", client=client).head(120).collect()["n"].to_list(),
    "n_rows": lambda client: spl.read_parquet("s3://lake/t/", n_rows=120, client=client)["n"].to_list(),
}


@pytest.mark.parametrize("face", FIRST_ROWS)
def test_the_first_rows_fetch_the_row_groups_that_hold_them(lake: Lake, face: str) -> None:
    stored = large_files(lake)
    assert FIRST_ROWS[face](lake.client) == [*range(120)]
    fetched = sum(row.stored_bytes for row in lake.client.counters)
    assert stored / 20 < fetched < stored / 5


def test_first_rows_that_end_in_another_file_are_all_there(lake: Lake) -> None:
    large_files(lake)
    lazy, found = spl.scan_parquet("s3://lake/t/", client=lake.client), sa.dataset("s3://lake/t/", client=lake.client)
    for begin, end in ((0, 0), (0, 100), (950, 1050), (1150, 1151), (1999, 3000), (2000, 2001)):
        numbers = [*range(begin, min(end, 2000))]
        assert lazy.select("n").slice(begin, end - begin).collect()["n"].to_list() == numbers
        assert found.head(end, ["n"])["n"].to_pylist()[begin:] == numbers
    passed = found.head(3, ["n"], filter=pc.field("n") > 700)
    assert passed["n"].to_pylist() == [701, 702, 703]


def test_reads_that_end_early_leave_their_rows_in_the_counters(lake: Lake) -> None:
    large_files(lake)
    batches = sa.dataset("s3://lake/t/", client=lake.client).to_batches(["n"])
    next(batches)
    batches.close()
    stream = sa.scan("s3://lake/t/0.parquet", columns=["n"], client=lake.client).to_reader()
    stream.read_next_batch()
    del stream
    counted = {row.operation: row.stored_bytes for row in lake.client.counters}
    assert counted["dataset"] > 0
    assert counted["scan"] > 0


def test_several_threads_read_one_dataset(both: tuple[sa.EncryptedDataset, ds.Dataset]) -> None:
    ours, plain = both
    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda _: ours.to_table(), range(8)))
    assert all(table.equals(plain.to_table()) for table in tables)


def test_an_iterator_that_is_closed_asks_for_no_more(lake: Lake, both: tuple[sa.EncryptedDataset, ds.Dataset]) -> None:
    batches = both[0].to_batches(use_threads=2)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    seen = len(lake.s3.log)
    assert seen < 30
    threading.Event().wait(0.2)
    assert len(lake.s3.log) <= seen + 2, "one for each thread may still be on its way to the server"


def test_large_files_are_read_by_their_row_groups(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 300_000
    wide = pa.table({"n": range(rows), "noise": [f"{at * 2654435761 % 2**32:08x}" * 8 for at in range(rows)]})
    pq.write_table(wide, tmp_path / "a.parquet", row_group_size=30_000)
    lake.seal(tmp_path, "large/")
    lake.client.index("s3://lake/large/a.parquet")
    lake.forget()
    client = lake.make_client(transfer=TransferOptions(part_bytes=2**19))
    ours = sa.dataset("s3://lake/large/", client=client)
    assert ours.to_table(filter=pc.field("n") == 150_001, columns=["n"])["n"].to_pylist() == [150_001]
    assert sum(row.stored_bytes for row in client.counters) < (tmp_path / "a.parquet").stat().st_size / 20
    monkeypatch.setattr("arrowseal.tables.parquet_decoding.WAVE_BYTES", 2**20)
    pieces = [batch.num_rows for batch in ours.to_batches(batch_size=rows)]
    assert sum(pieces) == rows
    assert max(pieces) <= 60_000


def test_columns_that_do_not_fit_are_named_and_their_values_are_not(lake: Lake) -> None:
    lake.put(
        {
            "t/1.parquet": pq_bytes(pa.table({"n": [1]})),
            "t/2.parquet": pq_bytes(pa.table({"n": ["a secret"]})),
        }
    )
    with pytest.raises(SchemaMismatchError, match=r"t/2\.parquet: column 'n' is string") as refused:
        sa.dataset("s3://lake/t/", client=lake.client).to_table()
    assert "secret" not in str(refused.value)
    assert refused.value.__context__ is None
    with pytest.raises(SchemaMismatchError, match="schema="):
        _ = (
            sa.dataset("s3://lake/t/", unify_schemas=True, schema=None, client=lake.client).schema
            if not _unifies()
            else _raise()
        )


def _unifies() -> bool:
    try:
        pa.unify_schemas(
            [pa.schema([("n", pa.int64())]), pa.schema([("n", pa.string())])], promote_options="permissive"
        )
    except pa.ArrowException:
        return False
    return True


def _raise() -> None:
    raise SchemaMismatchError("schema=")


def test_text_that_does_not_fit_is_refused_without_its_words(lake: Lake) -> None:
    lake.put({"t/1.csv": b"n\n1\n", "t/2.csv": b"n\nsecret\n"})
    with pytest.raises(NotATableError, match=r"t/2\.csv") as refused:
        sa.dataset("s3://lake/t/", client=lake.client).to_table()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "ndjson", "ndjson.zst"])
def test_large_text_is_read_in_blocks(lake: Lake, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arrowseal.tables.dataset_pieces.AT_ONCE_BYTES", 2**14)
    rows = pa.table({"n": range(20_000), "text": [f"row {at}" for at in range(20_000)]})
    for at in range(2):
        sa.write_table(rows.slice(at * 10_000, 10_000), f"s3://lake/t/{at}.{suffix}", client=lake.client)
    ours = sa.dataset("s3://lake/t/", client=lake.client)
    batches = list(ours.to_batches())
    assert len(batches) > 10
    assert pa.Table.from_batches(batches).equals(rows)
    assert ours.to_table(["text"], pc.field("n") >= 19_999)["text"].to_pylist() == ["row 19999"]


def test_what_cannot_be_is_refused_before_any_request(lake: Lake) -> None:
    with pytest.raises(LocationError):
        sa.dataset("/local/path", client=lake.client)
    with pytest.raises(LocationError):
        sa.dataset([], client=lake.client)
    with pytest.raises(ConfigurationError, match="use_threads"):
        sa.dataset("s3://lake/t/", use_threads=0, client=lake.client)
    with pytest.raises(ConfigurationError, match="Client"):
        sa.dataset("s3://lake/t/", client=object())  # type: ignore[arg-type]
    for partitioning in (3, "other", ["k", 3], b"hive", {"k": 1}):
        with pytest.raises(ConfigurationError, match="partitioning="):
            sa.dataset("s3://lake/t/", partitioning=partitioning, client=lake.client)
    assert lake.s3.log == []


def test_what_cannot_be_is_refused_before_a_file_is_opened(lake: Lake) -> None:
    lake.put({"t/k=1/a.parquet": pq_bytes(pa.table({"n": [1]})), "t/k=1/b.parquet": b""})
    lake.forget()
    with pytest.raises(ObjectNotFoundError, match="s3://lake/nothing"):
        sa.dataset("s3://lake/nothing/", client=lake.client)
    with pytest.raises(TypeError, match="no_such_option"):
        sa.dataset("s3://lake/t/", no_such_option=1, client=lake.client)
    with pytest.raises(ConfigurationError, match="partitioning"):
        sa.dataset("s3://lake/t/", partitioning="year", client=lake.client)
    schema = pa.schema([("k", pa.int8())])
    with pytest.raises(ConfigurationError, match="version_id"):
        sa.dataset("s3://lake/t/", version_id="1", client=lake.client)
    strict = ds.partitioning(schema, dictionaries=None)
    with pytest.raises(ConfigurationError, match="does not fit the partitioning"):
        sa.dataset("s3://lake/t/", partitioning=strict, client=lake.client)
    for kind in (pa.decimal128(3, 2), pa.string_view()):  # which pyarrow has no values of for a text
        with pytest.raises(ConfigurationError, match="does not read from text"):
            sa.dataset("s3://lake/t/", schema=pa.schema([("k", kind)]), client=lake.client)
    assert lake.asked("GetObject") == []


def test_a_file_that_fails_is_named_and_fails_in_its_turn(lake: Lake) -> None:
    lake.put({f"t/{at:02}.parquet": pq_bytes(pa.table({"n": [at]})) for at in range(30)})
    stored = lake.s3.server.objects["/lake/t/20.parquet"]
    lake.s3.server.objects["/lake/t/20.parquet"] = stored._replace(body=stored.body[:-1] + b"\x00")
    batches = sa.dataset("s3://lake/t/", client=lake.client).to_batches()
    for at in range(20):
        assert next(batches)["n"].to_pylist() == [at]
    with pytest.raises(AuthenticationError, match=r"t/20\.parquet"):
        next(batches)
    lake.s3.server.objects["/lake/t/20.parquet"] = lake.s3.server.objects["/lake/t/00.parquet"]._replace(headers={})
    with pytest.raises(NotEncryptedError, match=r"t/20\.parquet"):
        sa.dataset("s3://lake/t/", client=lake.client).to_table()


def test_a_request_that_fails_for_good_ends_the_read(lake: Lake) -> None:
    lake.put({f"t/{at}.parquet": pq_bytes(pa.table({"n": [at]})) for at in range(5)})
    lake.s3.rule = lambda _, path, __: Fault("status", 403, "AccessDenied") if "3.parquet" in path else None
    with pytest.raises(PermissionError, match=r"t/3\.parquet") as refused:
        sa.dataset("s3://lake/t/", client=lake.client).to_table()
    assert isinstance(refused.value, StoreError)
    lake.s3.reset()


def test_plain_files_when_they_are_allowed(lake: Lake) -> None:
    lake.put({"t/1.parquet": pq_bytes(pa.table({"n": [1]}))}, encryption=PLAIN)
    lake.put({"t/2.parquet": pq_bytes(pa.table({"n": [2]}))})
    with pytest.raises(NotEncryptedError):
        sa.dataset("s3://lake/t/", client=lake.client).to_table()
    read = sa.dataset("s3://lake/t/", allow_plaintext=True, client=lake.client).to_table()
    assert read["n"].to_pylist() == [1, 2]


def test_a_read_is_one_operation_and_one_progress(lake: Lake) -> None:
    lake.put({f"t/{at}.parquet": pq_bytes(pa.table({"n": [at]})) for at in range(5)})
    lake.forget()
    told: list[tuple[int, int | None, str]] = []

    def tell(done: int, total: int | None, location: ObjectLocation) -> None:
        told.append((done, total, str(location)))

    ours = sa.dataset("s3://lake/t/", progress=tell, schema=pa.schema([("n", pa.int64())]), client=lake.client)
    stored = sum(len(stored.body) for stored in lake.s3.server.objects.values())
    lake.client.counters.clear()
    ours.to_table()
    (row,) = lake.client.counters
    assert (row.operation, row.key, row.rows, row.requests, row.kms_calls) == ("dataset", "t/", 5, 5, 5)
    assert (row.file_type, row.encryption, row.stored_bytes) == ("parquet", "CSE V3", stored)
    assert told[0] == (0, stored, "s3://lake/t/")
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert told[-1] == (stored, stored, "s3://lake/t/")


def test_versions_are_read(client: Client, raw_s3: Any, bucket: str) -> None:
    raw_s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = client.put(f"s3://{bucket}/t/a.parquet", pq_bytes(pa.table({"n": [1]})))
    client.put(f"s3://{bucket}/t/a.parquet", pq_bytes(pa.table({"n": [2]})))
    client.put(f"s3://{bucket}/t/b.parquet", pq_bytes(pa.table({"n": [3]})))
    versions = {f"s3://{bucket}/t/a.parquet": first.version_id}
    read = sa.dataset(f"s3://{bucket}/t/", version_id=versions, client=client).to_table()  # type: ignore[arg-type]
    assert read["n"].to_pylist() == [1, 3]
    one = sa.dataset(f"s3://{bucket}/t/a.parquet", version_id=first.version_id, client=client).to_table()
    assert one["n"].to_pylist() == [1]
    with pytest.raises(ConfigurationError, match=r"t/c\.parquet, which is no object of the dataset"):
        sa.dataset(f"s3://{bucket}/t/", version_id={f"s3://{bucket}/t/c.parquet": "1"}, client=client)
    for empty in ("", {f"s3://{bucket}/t/a.parquet": ""}):  # what a missing field of a frame gives
        with pytest.raises(ConfigurationError, match="version_id=''"):
            sa.dataset(f"s3://{bucket}/t/a.parquet", version_id=empty, client=client).to_table()


def test_it_travels_by_reference(local_servers: LocalServers, local_environ: dict[str, str], bucket: str) -> None:
    client = Client(local_servers.kms_key_arn)
    client.put(f"s3://{bucket}/t/k=1/a.parquet", pq_bytes(pa.table({"n": [1]})))
    ours = sa.dataset(f"s3://{bucket}/t/", client=client).filter(pc.field("k") == 1)
    assert ours.schema.names == ["n", "k"]
    there = pickle.loads(pickle.dumps(ours))
    assert there.files == ours.files
    assert there.to_table().equals(ours.to_table())


ABANDONED = """
import sys, arrowseal.arrow as sa
from arrowseal import Client
batches = sa.dataset(sys.argv[1], client=Client(sys.argv[2])).to_batches()
next(batches)
print("left in the midst", flush=True)
"""


def test_a_process_ends_while_a_read_is_under_way(
    local_servers: LocalServers, local_environ: dict[str, str], bucket: str
) -> None:
    client = Client(local_servers.kms_key_arn)
    for at in range(20):
        client.put(f"s3://{bucket}/t/{at}.parquet", pq_bytes(pa.table({"n": [at]})))
    ended = subprocess.run(
        [sys.executable, "-c", ABANDONED, f"s3://{bucket}/t/", local_servers.kms_key_arn],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "left in the midst\n", "")
