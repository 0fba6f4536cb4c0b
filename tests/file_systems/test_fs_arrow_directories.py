"""Directories as pyarrow knows them over prefixes: listed, made, moved and deleted, indexes going along unseen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from broken_bodies import Fault
from pyarrow.fs import FileSelector
from seen import below, keys, kinds, requests

from arrowseal.exceptions import (
    BucketNotFoundError,
    ConfigurationError,
    DirectoryKeyError,
    LocationError,
    ObjectNotFoundError,
    StoreAccessDeniedError,
)
from arrowseal.fs import SealedFileSystem

if TYPE_CHECKING:
    from broken_servers import BrokenServers

    from arrowseal import Client

TABLE = pa.table({"n": range(1000)})


@pytest.fixture
def fs(resident: Client, servers: BrokenServers) -> SealedFileSystem:
    return SealedFileSystem(resident)


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


def test_markers_of_other_tools_are_directories(
    fs: SealedFileSystem, lake: str, servers: BrokenServers, resident: Client
) -> None:
    resident.put(f"s3://{lake}/a/1", b"1")
    whole = servers.s3.server.objects[f"/{lake}/a/1"]
    for marker in ("a/", "a/empty/", "b/"):
        servers.s3.server.objects[f"/{lake}/{marker}"] = whole._replace(body=b"")
    assert kinds(fs, f"{lake}/a", f"{lake}/a/empty", f"{lake}/b") == ["Directory"] * 3
    assert fs.get_file_info(FileSelector(f"{lake}/b")) == []
    deep = fs.get_file_info(FileSelector(lake, recursive=True))
    assert sorted(info.path for info in deep) == [f"{lake}/a", f"{lake}/a/1", f"{lake}/a/empty", f"{lake}/b"]
    assert below(fs, lake) == ["a/1"]


def test_segment_indexes_are_not_shown(
    fs: SealedFileSystem, lake: str, resident: Client, servers: BrokenServers
) -> None:
    resident.put(f"s3://{lake}/t/a", b"0" * 2**20)
    resident.index(f"s3://{lake}/t/a")
    assert keys(servers, lake) == ["t/_arrowseal.a.index", "t/a"]
    assert below(fs, lake) == ["t/a"]
    assert [info.path for info in fs.get_file_info(FileSelector(f"{lake}/t"))] == [f"{lake}/t/a"]


def test_segment_indexes_go_where_their_objects_go(
    fs: SealedFileSystem, lake: str, resident: Client, servers: BrokenServers
) -> None:
    resident.put(f"s3://{lake}/t/a", b"0" * 2**20)
    resident.index(f"s3://{lake}/t/a")
    fs.move(f"{lake}/t", f"{lake}/u")
    assert keys(servers, lake) == ["u/_arrowseal.a.index", "u/a"]
    fs.delete_dir(f"{lake}/u")
    assert keys(servers, lake) == []


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


def test_in_a_bucket_that_is_not_there_nothing_is_found(
    fs: SealedFileSystem, lake: str, servers: BrokenServers, resident: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(location: object, **_: object) -> None:
        raise BucketNotFoundError(f"{location}: no such bucket")

    servers.s3.rule = lambda *_: Fault("status", 404, "NoSuchBucket")
    monkeypatch.setattr(resident, "head", missing)  # some servers tell it of a HEAD too
    assert kinds(fs, lake, f"{lake}/a") == ["NotFound", "NotFound"]
    for path in (lake, f"{lake}/a"):
        assert fs.get_file_info(FileSelector(path, allow_not_found=True)) == []
        fs.delete_dir_contents(path, missing_dir_ok=True)
        with pytest.raises(BucketNotFoundError):
            fs.get_file_info(FileSelector(path))


def test_a_file_that_is_copied_onto_itself_stays_and_s3_which_refuses_that_is_not_asked(
    fs: SealedFileSystem, lake: str, resident: Client, servers: BrokenServers
) -> None:
    resident.put(f"s3://{lake}/a", b"1")
    requests(servers)
    fs.copy_file(f"{lake}/a", f"s3cse://{lake}/a")
    assert requests(servers) == ["HeadObject"]
    assert bytes(resident.get(f"s3://{lake}/a")) == b"1"
    with pytest.raises(ObjectNotFoundError):
        fs.copy_file(f"{lake}/b", f"{lake}/b")


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


def test_a_directory_that_is_moved_onto_or_into_itself_stays(fs: SealedFileSystem, lake: str, resident: Client) -> None:
    for key in ("a/1", "a/b/2", "ab/3"):
        resident.put(f"s3://{lake}/{key}", b"")
    fs.move(f"{lake}/a", f"s3cse://{lake}/a/")
    for inside in ("a/new", "a/b/2"):
        with pytest.raises(ConfigurationError, match="into itself"):
            fs.move(f"{lake}/a", f"{lake}/{inside}")
    assert below(fs, lake) == ["a/1", "a/b/2", "ab/3"]
    fs.move(f"{lake}/a", f"{lake}/ab2")
    assert below(fs, lake) == ["ab/3", "ab2/1", "ab2/b/2"]


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
