"""Encrypted objects as a file system of pyarrow: datasets, formats, files, and what it is equal to."""

from __future__ import annotations

import gc
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.feather
import pyarrow.fs
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import FileSelector
from seen import below, kinds, tamper

import arrowseal
from arrowseal import Client
from arrowseal.exceptions import (
    AuthenticationError,
    BucketNotFoundError,
    ConfigurationError,
    EncryptionContextError,
    NotEncryptedError,
    ObjectChangedError,
    ObjectNotFoundError,
)
from arrowseal.fs import SealedFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable

    from broken_servers import BrokenServers

TABLE = pa.table({"n": range(1000), "k": ["x", "y"] * 500, "text": [f"row {n}" for n in range(1000)]})


@pytest.fixture
def fs(resident: Client, servers: BrokenServers) -> SealedFileSystem:
    return SealedFileSystem(resident)


# Tables


def test_a_partitioned_dataset_is_written_and_read_back(fs: SealedFileSystem, lake: str) -> None:
    ds.write_dataset(
        TABLE, f"{lake}/t", filesystem=fs, format="parquet", partitioning=["k"], partitioning_flavor="hive"
    )
    dataset = ds.dataset(f"{lake}/t", filesystem=fs, partitioning="hive")
    assert dataset.count_rows() == 1000
    rows = dataset.scanner(columns=["n", "k"], filter=ds.field("k") == "y").to_reader().read_all()
    assert sorted(rows["n"].to_pylist()) == list(range(1, 1000, 2))
    assert below(fs, f"{lake}/t") == ["k=x/part-0.parquet", "k=y/part-0.parquet"]


def test_files_of_partitions_that_a_filter_leaves_out_are_not_opened(
    fs: SealedFileSystem, lake: str, servers: BrokenServers
) -> None:
    pq.write_to_dataset(TABLE, f"{lake}/t", filesystem=fs, partition_cols=["k"])
    dataset = ds.dataset(f"{lake}/t", filesystem=fs, partitioning="hive", schema=TABLE.schema)
    servers.s3.reset()
    assert dataset.scanner(filter=ds.field("k") == "y").to_reader().read_all().num_rows == 500
    assert all("k%3Dy" in seen.path or "k=y" in seen.path for seen in servers.s3.log)


@pytest.mark.parametrize("overwriting", ["delete_matching", "overwrite_or_ignore"])
def test_a_dataset_is_written_anew(fs: SealedFileSystem, lake: str, overwriting: str) -> None:
    for table in (TABLE, TABLE.slice(0, 10)):
        ds.write_dataset(
            table, f"{lake}/t", filesystem=fs, format="parquet", existing_data_behavior=overwriting, partitioning=["k"]
        )
    assert ds.dataset(f"{lake}/t", filesystem=fs).count_rows() == 10


WRITES: dict[str, Callable[[pa.Table, str, Any], object]] = {
    "parquet": lambda table, path, fs: pq.write_table(table, path, filesystem=fs),
    "feather": lambda table, path, fs: write_stream(fs, path, lambda file: pyarrow.feather.write_feather(table, file)),
    "csv": lambda table, path, fs: write_stream(fs, path, lambda file: pyarrow.csv.write_csv(table, file)),
    "csv.gz": lambda table, path, fs: write_stream(fs, path, lambda file: pyarrow.csv.write_csv(table, file)),
    "orc": lambda table, path, fs: write_stream(fs, path, lambda file: pyarrow.orc.write_table(table, file)),
}
READS: dict[str, Callable[[str, Any], pa.Table]] = {
    "parquet": lambda path, fs: pq.read_table(path, filesystem=fs, use_threads=False),
    "feather": lambda path, fs: pyarrow.feather.read_table(fs.open_input_file(path)),
    "csv": lambda path, fs: pyarrow.csv.read_csv(fs.open_input_stream(path)),
    "csv.gz": lambda path, fs: pyarrow.csv.read_csv(fs.open_input_stream(path)),
    "orc": lambda path, fs: pyarrow.orc.read_table(path, filesystem=fs),
}


def write_stream(fs: Any, path: str, write: Callable[[Any], object]) -> None:
    with fs.open_output_stream(path) as file:
        write(file)


@pytest.mark.parametrize("extension", READS)
def test_each_format_is_written_and_read_back(fs: SealedFileSystem, lake: str, extension: str) -> None:
    path = f"{lake}/table.{extension}"
    WRITES[extension](TABLE, path, fs)
    assert READS[extension](path, fs).equals(TABLE)


@pytest.mark.parametrize("extension", READS)
@pytest.mark.parametrize("at", [0, 100, -1])
def test_a_changed_object_is_refused_in_each_format(
    fs: SealedFileSystem, lake: str, servers: BrokenServers, extension: str, at: int
) -> None:
    path = f"{lake}/table.{extension}"
    WRITES[extension](TABLE, path, fs)
    tamper(servers, path, at)
    with pytest.raises(AuthenticationError):
        READS[extension](path, fs)


def test_a_changed_object_of_a_dataset_is_refused(fs: SealedFileSystem, lake: str, servers: BrokenServers) -> None:
    for part in range(3):
        pq.write_table(TABLE, f"{lake}/t/{part}.parquet", filesystem=fs)
    dataset = ds.dataset(f"{lake}/t", filesystem=fs)
    tamper(servers, f"{lake}/t/1.parquet")
    # Not `to_reader`: pyarrow keeps the GIL while it starts the scan, and waits for ever for a thread that wants it to
    # tell of an error.
    with pytest.raises(AuthenticationError):
        dataset.to_table()


def test_a_changed_segment_of_an_indexed_object_is_refused_and_the_others_are_read(
    fs: SealedFileSystem, lake: str, servers: BrokenServers, resident: Client
) -> None:
    resident.put(f"s3://{lake}/big", bytes(4 * 2**20))
    resident.index(f"s3://{lake}/big")
    tamper(servers, f"{lake}/big", 2**20)
    with fs.open_input_file(f"{lake}/big") as file:
        file.seek(2 * 2**20)
        assert file.read(10) == bytes(10)
        file.seek(2**20 - 5)
        with pytest.raises(AuthenticationError):
            file.read(10)


def test_a_changed_index_is_refused_or_done_without(
    fs: SealedFileSystem, lake: str, servers: BrokenServers, resident: Client
) -> None:
    content = np.random.default_rng(1).bytes(2**20)
    resident.put(f"s3://{lake}/a", content)
    resident.index(f"s3://{lake}/a")
    index = f"{lake}/_arrowseal.a.index"
    whole, outcomes = servers.s3.server.objects["/" + index], set()
    for at in range(0, len(whole.body), 3):
        tamper(servers, index, at)
        try:
            with fs.open_input_file(f"{lake}/a") as file:
                outcomes.add("read" if file.read_at(100_000, 300_000) == content[300_000:400_000] else "wrong")
        except AuthenticationError:
            outcomes.add("refused")
        servers.s3.server.objects["/" + index] = whole
    assert outcomes == {"read", "refused"}


def test_an_object_that_is_overwritten_while_it_is_read_is_never_mixed(
    fs: SealedFileSystem, lake: str, resident: Client
) -> None:
    resident.put(f"s3://{lake}/a", bytes(4 * 2**20))
    resident.index(f"s3://{lake}/a")
    with fs.open_input_file(f"{lake}/a") as file:
        assert file.read(10) == bytes(10)
        resident.put(f"s3://{lake}/a", b"1" * 4 * 2**20)
        file.seek(2 * 2**20)
        with pytest.raises(ObjectChangedError):
            file.read(10)


def test_arrays_point_into_what_was_decrypted(fs: SealedFileSystem, lake: str) -> None:
    with fs.open_output_stream(f"{lake}/t.arrow") as file, pa.ipc.new_file(file, TABLE.schema) as writer:
        writer.write_table(TABLE)
    before = pa.total_allocated_bytes()
    with fs.open_input_file(f"{lake}/t.arrow") as file:
        table = pa.ipc.open_file(file).read_all()
    assert table.equals(TABLE)
    assert pa.total_allocated_bytes() - before < 1000  # its buffers are not Arrow's


def test_two_columns_of_many_are_read_by_their_ranges(
    fs: SealedFileSystem, lake: str, servers: BrokenServers, resident: Client
) -> None:
    wide = pa.table({f"c{at}": np.random.default_rng(at).random(50_000) for at in range(20)})
    pq.write_table(wide, f"{lake}/wide", filesystem=fs, compression="none", use_dictionary=False)
    resident.index(f"s3://{lake}/wide")
    servers.s3.reset()
    resident.counters.clear()
    read = pq.ParquetFile(f"{lake}/wide", filesystem=fs).read(columns=["c3", "c11"])
    assert read.equals(wide.select(["c3", "c11"]))
    del read
    gc.collect()
    fetched = [seen.headers["Range"] for seen in servers.s3.log if "_arrowseal" not in seen.path]
    spans = [[int(end or 0) for end in text.removeprefix("bytes=").split("-")] for text in fetched]
    size = fs.get_file_info(f"{lake}/wide").size
    assert sum(end - start if start else end for start, end in spans) < size / 5


# Files


def test_a_file_has_the_size_of_the_plaintext(fs: SealedFileSystem, lake: str, resident: Client) -> None:
    resident.put(f"s3://{lake}/a", b"0123456789")
    info, listed = fs.get_file_info(f"{lake}/a"), fs.get_file_info(FileSelector(lake))[0]
    assert (info.size, listed.size, info.path, listed.path) == (10, 10, f"{lake}/a", f"{lake}/a")
    assert info.mtime is not None
    with fs.open_input_file(f"{lake}/a") as file:
        assert (file.size(), file.read(3), file.tell()) == (10, b"012", 3)
        assert (file.read_buffer(9).to_pybytes(), file.read(1)) == (b"3456789", b"")
        assert file.read_at(2, 8) == b"89"


def test_a_listing_that_may_hold_plain_objects_leaves_sizes_open_and_a_look_tells_them(
    resident: Client, lake: str, servers: BrokenServers
) -> None:
    resident.put(f"s3://{lake}/plain", b"0123456789", encryption=arrowseal.PLAIN)
    resident.put(f"s3://{lake}/sealed", b"0123456789")
    fs = SealedFileSystem(resident, allow_plaintext=True)
    assert [info.size for info in fs.get_file_info(FileSelector(lake))] == [None, None]
    assert [info.size for info in fs.get_file_info([f"{lake}/plain", f"{lake}/sealed"])] == [10, 10]
    assert fs.open_input_stream(f"{lake}/plain").read() == b"0123456789"
    with pytest.raises(NotEncryptedError):
        SealedFileSystem(resident).open_input_file(f"{lake}/plain")


def test_a_file_stays_with_the_version_it_was_opened_on(fs: SealedFileSystem, lake: str, resident: Client) -> None:
    resident.put(f"s3://{lake}/a", b"first")
    with fs.open_input_file(f"{lake}/a") as file:
        resident.put(f"s3://{lake}/a", b"second one")
        assert file.size() == 5
        assert file.read() == b"first"
    assert fs.open_input_file(f"{lake}/a").read() == b"second one"


def test_an_object_that_grew_since_it_was_listed_is_read_whole(
    fs: SealedFileSystem, lake: str, resident: Client
) -> None:
    resident.put(f"s3://{lake}/a", b"1")
    assert fs.get_file_info(FileSelector(lake))[0].size == 1
    resident.put(f"s3://{lake}/a", b"12" * 2**20)
    assert fs.open_input_file(f"{lake}/a").size() == 2**21


def test_a_file_that_a_listing_named_is_one_request_if_it_is_small(
    fs: SealedFileSystem, lake: str, resident: Client, servers: BrokenServers
) -> None:
    resident.put(f"s3://{lake}/a", b"1")
    fs.get_file_info(FileSelector(lake))
    servers.s3.reset()
    assert fs.open_input_file(f"{lake}/a").read() == b"1"
    assert len(servers.s3.log) == 1


def test_the_content_type_of_a_stream_is_stored_and_what_s3_does_not_know_is_left_out(
    fs: SealedFileSystem, lake: str, resident: Client
) -> None:
    with fs.open_output_stream(f"{lake}/a", metadata={"Content-Type": "text/csv", "Rows": "3"}) as file:
        file.write(b"a,b")
    assert resident.head(f"s3://{lake}/a").content_type == "text/csv"


def test_objects_are_not_appended_to(fs: SealedFileSystem, lake: str) -> None:
    with pytest.raises(NotImplementedError, match="not appended to"):
        fs.open_append_stream(f"{lake}/a")


# What it is


def test_it_is_equal_by_configuration_and_pickles_by_reference(options: dict[str, Any], lake: str) -> None:
    fs, same = SealedFileSystem(Client(**options)), SealedFileSystem(Client(**options))
    assert fs == same
    assert fs.equals(same)
    assert hash(fs) == hash(same)
    assert fs != SealedFileSystem(Client(**options | {"region_name": "us-east-1"}))
    assert fs != SealedFileSystem(Client(**options), encryption_context={"team": "a"})
    assert fs != pyarrow.fs.LocalFileSystem()
    travelled = pickle.loads(pickle.dumps(fs))
    assert travelled == fs
    assert isinstance(travelled, SealedFileSystem)
    wrapped = pyarrow.fs.SubTreeFileSystem(lake, fs).base_fs
    assert wrapped == fs
    assert pickle.loads(pickle.dumps(wrapped)) == fs
    assert fs.type_name == "py::s3cse"


def test_a_dataset_pickles_with_its_file_system(options: dict[str, Any], lake: str, servers: BrokenServers) -> None:
    fs = SealedFileSystem(Client(**options))
    pq.write_table(TABLE, f"{lake}/t/1.parquet", filesystem=fs)
    dataset = pickle.loads(pickle.dumps(ds.dataset(f"{lake}/t", filesystem=fs)))
    assert dataset.count_rows() == 1000


def test_one_of_a_client_that_holds_objects_equals_its_like_and_cannot_be_pickled(resident: Client) -> None:
    assert SealedFileSystem(resident) == SealedFileSystem(resident)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(SealedFileSystem(resident))


def test_the_default_client_is_that_of_the_moment(resident: Client, lake: str, servers: BrokenServers) -> None:
    with arrowseal.using(resident):
        fs = SealedFileSystem()
    pq.write_table(TABLE, f"{lake}/t.parquet", filesystem=fs)
    assert fs == SealedFileSystem(resident)
    with pytest.raises(ConfigurationError, match="takes an arrowseal"):
        SealedFileSystem("alias/tables")  # type: ignore[arg-type]


def test_keywords_hold_for_every_file(resident: Client, lake: str, servers: BrokenServers) -> None:
    fs = SealedFileSystem(
        resident, encryption_context={"team": "a"}, s3_additional_kwargs={"Metadata": {"owner": "me"}}
    )
    with fs.open_output_stream(f"{lake}/a") as file:
        file.write(b"1")
    assert fs.open_input_file(f"{lake}/a").read() == b"1"
    assert resident.head(f"s3://{lake}/a").context_keys == ("team",)
    assert servers.s3.server.objects[f"/{lake}/a"].headers["x-amz-meta-owner"] == "me"
    with pytest.raises(EncryptionContextError):
        SealedFileSystem(resident).open_input_file(f"{lake}/a")


def test_it_shows_no_secret(resident: Client) -> None:
    shown = repr(SealedFileSystem(resident, encryption_context={"team": "canary"}))
    assert "canary" not in shown
    assert "not checked" not in shown


def test_it_works_on_a_server_of_others(client: Client, bucket: str) -> None:
    fs = SealedFileSystem(client)
    pq.write_to_dataset(TABLE, f"{bucket}/t", filesystem=fs, partition_cols=["k"])
    assert ds.dataset(f"{bucket}/t", filesystem=fs, partitioning="hive").count_rows() == 1000
    fs.move(f"{bucket}/t/k=x", f"{bucket}/t/k=z")
    assert {info.base_name for info in fs.get_file_info(FileSelector(f"{bucket}/t"))} == {"k=y", "k=z"}
    fs.delete_dir(f"{bucket}/t")
    assert kinds(fs, f"{bucket}/t", bucket, "no-such-bucket", "no-such-bucket/a") == [
        "NotFound",
        "Directory",
        "NotFound",
        "NotFound",
    ]
    with pytest.raises(BucketNotFoundError):
        fs.get_file_info(FileSelector("no-such-bucket/a"))
    with pytest.raises(ObjectNotFoundError):
        fs.open_input_file(f"{bucket}/a")
