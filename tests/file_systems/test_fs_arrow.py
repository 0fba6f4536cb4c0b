"""Encrypted objects as a file system of pyarrow: datasets, files, directories, and when a file becomes an object."""

from __future__ import annotations

import gc
import pickle
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.feather
import pyarrow.fs
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from broken_bodies import Fault
from pyarrow.fs import FileSelector, FileType

import arrowseal
from arrowseal import Client
from arrowseal.exceptions import (
    AuthenticationError,
    BucketNotFoundError,
    ConfigurationError,
    DirectoryKeyError,
    EncryptionContextError,
    LocationError,
    NotEncryptedError,
    ObjectNotFoundError,
    StoreAccessDeniedError,
)
from arrowseal.fs import SealedFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable

    from broken_servers import BrokenServers

TABLE = pa.table({"n": range(1000), "k": ["x", "y"] * 500, "text": [f"row {n}" for n in range(1000)]})


@pytest.fixture
def fs(resident: Client, servers: BrokenServers) -> SealedFileSystem:
    return SealedFileSystem(resident)


def kinds(fs: SealedFileSystem, *paths: str) -> list[str]:
    return [info.type.name for info in fs.get_file_info(list(paths))]


def below(fs: SealedFileSystem, path: str) -> list[str]:
    """The files, by their paths in it."""
    infos = fs.get_file_info(FileSelector(path, recursive=True))
    return sorted(info.path.removeprefix(path + "/") for info in infos if info.type is FileType.File)


def tamper(servers: BrokenServers, path: str, at: int = 100) -> None:
    """Flip a bit of what is stored."""
    stored = servers.s3.server.objects["/" + path]
    body = bytearray(stored.body)
    body[at] ^= 1
    servers.s3.server.objects["/" + path] = stored._replace(body=bytes(body))


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
    with pytest.raises(AuthenticationError):
        dataset.scanner().to_reader().read_all()


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
    import numpy as np

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


# When a file becomes an object


class Unfortunate(Exception):  # noqa: N818
    """What happens in a test."""


def raise_in_stream(fs: SealedFileSystem, path: str) -> None:
    with fs.open_output_stream(path) as file:
        file.write(b"half")
        raise Unfortunate


def raise_in_parquet_writer(fs: SealedFileSystem, path: str) -> None:
    with pq.ParquetWriter(path, TABLE.schema, filesystem=fs) as writer:
        writer.write_table(TABLE)
        raise Unfortunate


def raise_in_compressed_stream(fs: SealedFileSystem, path: str) -> None:
    with fs.open_output_stream(path, compression="gzip") as file:
        file.write(b"half")
        raise Unfortunate


def raise_in_dataset(fs: SealedFileSystem, path: str) -> None:
    def batches() -> Any:
        yield TABLE.to_batches()[0]
        raise Unfortunate

    reader = pa.RecordBatchReader.from_batches(TABLE.schema, batches())
    ds.write_dataset(reader, path, filesystem=fs, format="parquet", basename_template="{i}.parquet")


def write_with_an_unknown_option(fs: SealedFileSystem, path: str) -> None:
    pq.write_table(TABLE, path, filesystem=fs, compression="none such")


def write_what_the_format_does_not_take(fs: SealedFileSystem, path: str) -> None:
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    pq.write_table(pa.table({"a": union}), path, filesystem=fs)


def drop_a_stream(fs: SealedFileSystem, path: str) -> None:
    file = fs.open_output_stream(path)
    file.write(b"half")
    del file
    gc.collect()
    raise Unfortunate


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(
    "failing",
    [
        raise_in_stream,
        raise_in_parquet_writer,
        raise_in_compressed_stream,
        raise_in_dataset,
        write_with_an_unknown_option,
        write_what_the_format_does_not_take,
        drop_a_stream,
    ],
)
def test_what_fails_leaves_no_object(
    fs: SealedFileSystem, lake: str, servers: BrokenServers, failing: Callable[[SealedFileSystem, str], None]
) -> None:
    with pytest.raises((Unfortunate, pa.ArrowException)):
        failing(fs, f"{lake}/a")
    gc.collect()
    assert [path for path in servers.s3.server.objects if path.startswith(f"/{lake}/")] == []
    assert not servers.s3.server.open_uploads


def test_a_stream_that_an_exception_closes_says_that_it_was_given_up(fs: SealedFileSystem, lake: str) -> None:
    with pytest.warns(RuntimeWarning, match=f"s3://{lake}/a: closed while Unfortunate"), suppress(Unfortunate):
        raise_in_stream(fs, f"{lake}/a")


def test_a_stream_that_is_opened_and_closed_while_an_exception_is_handled_is_committed(
    fs: SealedFileSystem, lake: str
) -> None:
    try:
        raise Unfortunate
    except Unfortunate:
        with fs.open_output_stream(f"{lake}/a") as file:
            file.write(b"a report of it")
    assert fs.open_input_file(f"{lake}/a").read() == b"a report of it"


def test_nothing_is_visible_before_the_end_and_all_of_it_after(
    fs: SealedFileSystem, lake: str, servers: BrokenServers
) -> None:
    with fs.open_output_stream(f"{lake}/a") as file:
        for _ in range(3):
            file.write(bytes(4 * 2**20))
        assert kinds(fs, f"{lake}/a") == ["NotFound"]
    assert fs.get_file_info(f"{lake}/a").size == 12 * 2**20


# Directories


def test_prefixes_are_directories(fs: SealedFileSystem, lake: str, resident: Client) -> None:
    for key in ("a/b/1", "a/2", "ab", "a.b"):
        resident.put(f"s3://{lake}/{key}", b"")
    paths = [lake, f"{lake}/a", f"{lake}/a/", f"{lake}/a/b/1", f"{lake}/b", ""]
    assert kinds(fs, *paths) == ["Directory", "Directory", "Directory", "File", "NotFound", "Directory"]
    infos = fs.get_file_info(FileSelector(f"{lake}/a"))
    assert [(info.path, info.type.name) for info in infos] == [(f"{lake}/a/b", "Directory"), (f"{lake}/a/2", "File")]
    deep = fs.get_file_info(FileSelector(f"{lake}/a/", recursive=True))
    assert {info.path: info.type.name for info in deep} == {
        f"{lake}/a/b": "Directory",
        f"{lake}/a/b/1": "File",
        f"{lake}/a/2": "File",
    }


def test_segment_indexes_are_not_shown(
    fs: SealedFileSystem, lake: str, resident: Client, servers: BrokenServers
) -> None:
    resident.put(f"s3://{lake}/t/a", b"0" * 2**20)
    resident.index(f"s3://{lake}/t/a")
    assert f"/{lake}/t/_arrowseal.a.index" in servers.s3.server.objects
    assert below(fs, lake) == ["t/a"]
    assert [info.path for info in fs.get_file_info(FileSelector(f"{lake}/t"))] == [f"{lake}/t/a"]


def test_segment_indexes_go_where_their_objects_go(
    fs: SealedFileSystem, lake: str, resident: Client, servers: BrokenServers
) -> None:
    resident.put(f"s3://{lake}/t/a", b"0" * 2**20)
    resident.index(f"s3://{lake}/t/a")
    fs.move(f"{lake}/t", f"{lake}/u")
    assert {path for path in servers.s3.server.objects if lake in path} == {
        f"/{lake}/u/a",
        f"/{lake}/u/_arrowseal.a.index",
    }
    fs.delete_dir(f"{lake}/u")
    assert not [path for path in servers.s3.server.objects if lake in path]


def test_what_is_not_there_is_a_missing_file(fs: SealedFileSystem, lake: str) -> None:
    for missing in (
        lambda: fs.open_input_file(f"{lake}/a"),
        lambda: fs.delete_file(f"{lake}/a"),
        lambda: fs.move(f"{lake}/a", f"{lake}/b"),
        lambda: fs.copy_file(f"{lake}/a", f"{lake}/b"),
        lambda: fs.delete_dir(f"{lake}/a"),
        lambda: fs.delete_dir_contents(f"{lake}/a"),
        lambda: fs.get_file_info(FileSelector(f"{lake}/a")),
        lambda: ds.dataset(f"{lake}/a", filesystem=fs),
    ):
        with pytest.raises(FileNotFoundError):
            missing()
    assert fs.get_file_info(FileSelector(f"{lake}/a", allow_not_found=True)) == []
    fs.delete_dir_contents(f"{lake}/a", missing_dir_ok=True)


def test_what_may_not_be_read_is_a_permission_error(
    fs: SealedFileSystem, lake: str, resident: Client, servers: BrokenServers
) -> None:
    resident.put(f"s3://{lake}/a", b"1")
    servers.s3.rule = lambda *_: Fault("status", 403, "AccessDenied")
    for refused in (lambda: fs.open_input_file(f"{lake}/a"), lambda: fs.get_file_info(f"{lake}/a")):
        with pytest.raises(PermissionError) as caught:
            refused()
        assert isinstance(caught.value, StoreAccessDeniedError)


def test_a_directory_is_made_emptied_and_deleted(fs: SealedFileSystem, lake: str, servers: BrokenServers) -> None:
    fs.create_dir(f"{lake}/a/b")
    assert servers.s3.log == []
    assert kinds(fs, f"{lake}/a/b", f"{lake}/a") == ["Directory", "Directory"]
    assert fs.get_file_info(FileSelector(f"{lake}/a/b")) == []
    for name in ("1", "2", "c/3"):
        with fs.open_output_stream(f"{lake}/a/b/{name}") as file:
            file.write(b"1")
    fs.delete_dir_contents(f"{lake}/a/b")
    assert (kinds(fs, f"{lake}/a/b"), below(fs, f"{lake}/a/b")) == (["Directory"], [])
    fs.delete_dir(f"{lake}/a")
    assert kinds(fs, f"{lake}/a/b", f"{lake}/a") == ["NotFound", "NotFound"]


def test_the_contents_of_all_buckets_are_not_deleted(fs: SealedFileSystem) -> None:
    with pytest.raises(ConfigurationError, match="all buckets"):
        fs.delete_dir_contents("/", accept_root_dir=True)


def test_files_and_directories_are_moved_and_copied(fs: SealedFileSystem, lake: str, resident: Client) -> None:
    for key in ("a/1", "a/b/2"):
        resident.put(f"s3://{lake}/{key}", key.encode())
    fs.copy_file(f"{lake}/a/1", f"{lake}/copy")
    fs.move(f"{lake}/a/1", f"{lake}/a/one")
    fs.move(f"{lake}/a", f"{lake}/z")
    assert below(fs, lake) == ["copy", "z/b/2", "z/one"]
    assert fs.open_input_file(f"{lake}/z/one").read() == b"a/1"
    resident.put(f"s3://{lake}/full/1", b"")
    with pytest.raises(ConfigurationError, match="not empty"):
        fs.move(f"{lake}/z", f"{lake}/full")
    fs.delete_file(f"{lake}/copy")
    assert kinds(fs, f"{lake}/copy") == ["NotFound"]


def test_files_are_copied_between_file_systems(fs: SealedFileSystem, lake: str, tmp_path: Any) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"1" * 100_000)
    local = pyarrow.fs.LocalFileSystem()
    pyarrow.fs.copy_files(str(tmp_path / "in"), f"{lake}/in", source_filesystem=local, destination_filesystem=fs)
    pyarrow.fs.copy_files(f"{lake}/in", str(tmp_path / "out"), source_filesystem=fs, destination_filesystem=local)
    assert (tmp_path / "out" / "a").read_bytes() == b"1" * 100_000


def test_paths_may_be_urls_and_end_in_slashes(fs: SealedFileSystem, lake: str) -> None:
    assert [fs.normalize_path(path) for path in (f"s3://{lake}/a/", f"s3cse://{lake}/a", f"{lake}/a")] == [
        f"{lake}/a"
    ] * 3
    pq.write_table(TABLE, f"s3cse://{lake}/t.parquet", filesystem=fs)
    assert pq.read_table(f"s3://{lake}/t.parquet", filesystem=fs, use_threads=False).equals(TABLE)


def test_what_names_no_object_is_refused_before_a_request(
    fs: SealedFileSystem, lake: str, servers: BrokenServers
) -> None:
    for path, error in (
        (lake, DirectoryKeyError),
        (f"{lake}/a/", DirectoryKeyError),
        ("Not a bucket!/a", LocationError),
    ):
        with pytest.raises(error):
            fs.open_output_stream(path)
    assert servers.s3.log == []


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
