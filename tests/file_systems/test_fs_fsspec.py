"""`s3cse://` as users of fsspec know file systems: found by its name, who it is, what it lists and remembers."""

from __future__ import annotations

import datetime as dt
import json
import pickle
import threading
import time
from typing import TYPE_CHECKING, Any

import fsspec
import fsspec.parquet
import numpy as np
import pyarrow as pa
import pyarrow.fs
import pytest
from broken_bodies import Fault
from seen import requests

import arrowseal
from arrowseal import CSE, PLAIN, Client, TransferOptions
from arrowseal.exceptions import (
    ConfigurationError,
    LocationError,
    NoKeyError,
    NotEncryptedError,
    StoreAccessDeniedError,
)
from arrowseal.fs import S3CseFileSystem

if TYPE_CHECKING:
    from pathlib import Path

    from broken_servers import BrokenServers

    from arrowseal.encryption import Encryption
    from arrowseal.local import LocalServers

TABLE = pa.table({"n": range(1000), "k": ["x", "y"] * 500})


@pytest.fixture
def fs(resident: Client, servers: BrokenServers) -> S3CseFileSystem:
    return S3CseFileSystem(client=resident)


# Who it is


def test_it_is_found_by_its_name(options: dict[str, Any], lake: str) -> None:
    fs, path = fsspec.url_to_fs(f"s3cse://{lake}/a", **options)
    assert isinstance(fs, S3CseFileSystem)
    assert path == f"{lake}/a"
    assert fs.unstrip_protocol(path) == f"s3cse://{lake}/a"
    assert fsspec.get_filesystem_class("s3cse") is S3CseFileSystem


def test_without_options_it_is_the_default_client_of_the_moment(resident: Client, lake: str) -> None:
    with arrowseal.using(resident):
        fs = fsspec.filesystem("s3cse")
        with fsspec.open(f"s3cse://{lake}/a", "wb") as file:
            file.write(b"1")
    assert fs.cat_file(f"{lake}/a") == b"1"
    with pytest.raises(NoKeyError):
        fsspec.filesystem("s3cse").cat_file(f"{lake}/a")


def test_it_is_equal_by_configuration_on_every_thread(options: dict[str, Any]) -> None:
    made: list[Any] = [fsspec.filesystem("s3cse", **options)]
    thread = threading.Thread(target=lambda: made.append(fsspec.filesystem("s3cse", **options)))
    thread.start()
    thread.join()
    one, other = made
    assert one == other
    assert hash(one) == hash(other)
    assert one._fs_token == other._fs_token
    assert one.__dask_tokenize__() == other.__dask_tokenize__()
    assert one.access.client is other.access.client
    changed = fsspec.filesystem("s3cse", **options | {"region_name": "us-east-1"})
    assert one != changed
    assert one._fs_token != changed._fs_token
    assert one != fsspec.filesystem("memory")


@pytest.mark.parametrize("travel", ["pickle", "json", "dict"])
def test_it_travels_by_reference(options: dict[str, Any], lake: str, travel: str) -> None:
    more = {"encryption_context": {"team": "a"}, "decrypt_key_ids": ("alias/old",), "format": "V3", "lane": "boto3"}
    fs = S3CseFileSystem(**options, **more, listings_expiry_time=5)
    fs.pipe_file(f"{lake}/a", b"1")
    if travel == "pickle":
        travelled = pickle.loads(pickle.dumps(fs))
    elif travel == "json":
        travelled = fsspec.AbstractFileSystem.from_json(fs.to_json())
    else:
        travelled = fsspec.AbstractFileSystem.from_dict(fs.to_dict())
    assert travelled == fs
    assert travelled.storage_options == fs.storage_options
    assert travelled.cat_file(f"{lake}/a") == b"1"


@pytest.mark.parametrize("travel", ["pickle", "json"])
def test_arguments_for_all_writes_hold_for_every_file_and_travel(
    options: dict[str, Any], lake: str, servers: BrokenServers, tmp_path: Path, travel: str
) -> None:
    told = S3CseFileSystem(**options, s3_additional_kwargs={"ContentType": "text/x", "Metadata": {"by": "etl"}})
    fs = pickle.loads(pickle.dumps(told)) if travel == "pickle" else fsspec.AbstractFileSystem.from_json(told.to_json())
    assert fs == told != S3CseFileSystem(**options)
    assert fs._fs_token == told._fs_token != S3CseFileSystem(**options)._fs_token
    (tmp_path / "a").write_bytes(b"1")
    fs.pipe_file(f"{lake}/piped", b"1")
    fs.put_file(str(tmp_path / "a"), f"{lake}/put")
    with fs.open(f"{lake}/opened", "w") as file:
        file.write("1")
    for name in ("piped", "put", "opened"):
        headers = servers.s3.server.objects[f"/{lake}/{name}"].headers
        assert (headers["content-type"], headers["x-amz-meta-by"]) == ("text/x", "etl")
    fs.pipe_file(f"{lake}/piped", b"1", s3_additional_kwargs={"ContentType": "text/y"})
    assert servers.s3.server.objects[f"/{lake}/piped"].headers["content-type"] == "text/y"


def test_arguments_that_are_not_the_callers_are_refused_when_it_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="SSECustomerKey"):
        S3CseFileSystem(**options, s3_additional_kwargs={"SSECustomerKey": "canary"})


def test_one_that_remembers_for_ever_travels_as_json_that_all_can_read(options: dict[str, Any]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    fs = S3CseFileSystem(**options, listings_expiry_time=None)
    json.loads(fs.to_json(), parse_constant=refuse)
    travelled = fsspec.AbstractFileSystem.from_json(fs.to_json())
    assert travelled.storage_options == fs.storage_options


def test_a_pickle_carries_what_json_has_no_form_for(options: dict[str, Any]) -> None:
    fs = S3CseFileSystem(**options, transfer=TransferOptions(part_bytes=2**20))
    assert pickle.loads(pickle.dumps(fs)).access.client.options.transfer.part_bytes == 2**20
    assert "transfer" not in fs.storage_options


def test_it_carries_and_shows_no_secret(options: dict[str, Any], servers: BrokenServers, lake: str) -> None:
    fs = S3CseFileSystem(**options)
    fs.pipe_file(f"{lake}/a", b"canary")
    fs.cat_file(f"{lake}/a")
    shown = [fs.to_json(), repr(fs), str(fs.to_dict()), json.dumps(fs.storage_options)]
    assert not [text for text in shown if "not checked" in text or "canary" in text]
    carried = pickle.dumps(fs)
    for secret in (b"not checked", b"canary", *servers.kms.engine.data_keys):
        assert secret not in carried


@pytest.mark.parametrize("name", ["key", "secret", "token", "anon", "session", "kms", "aws_access_key_id", "profile"])
def test_credentials_and_objects_are_no_options(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        S3CseFileSystem(**{name: "x"})


def test_a_client_and_options_together_are_refused(resident: Client) -> None:
    with pytest.raises(ConfigurationError, match="not both"):
        S3CseFileSystem(client=resident, kms_key_id="alias/a")
    with pytest.raises(ConfigurationError, match="takes an arrowseal"):
        S3CseFileSystem(client="alias/a")  # type: ignore[arg-type]


# What is there


def test_sizes_are_those_of_the_plaintext(fs: S3CseFileSystem, lake: str) -> None:
    for size in (0, 1, 15, 16, 17, 100_000):
        fs.pipe_file(f"{lake}/{size}", bytes(size))
        assert fs.info(f"s3cse://{lake}/{size}")["size"] == fs.size(f"{lake}/{size}") == size
    assert {info["name"]: info["size"] for info in fs.ls(lake)} == {
        f"{lake}/{size}": size for size in (0, 1, 15, 16, 17, 100_000)
    }
    assert fs.du(lake) == 100_049


def test_sizes_are_exact_where_plain_objects_are_read_too(resident: Client, lake: str, options: dict[str, Any]) -> None:
    resident.put(f"s3://{lake}/plain", b"0123456789", encryption=arrowseal.PLAIN)
    resident.put(f"s3://{lake}/sealed", b"0123456789")
    fs = S3CseFileSystem(**options, allow_plaintext=True)
    assert [info["size"] for info in fs.ls(lake)] == [None, None]
    assert [fs.size(path) for path in fs.ls(lake, detail=False)] == [10, 10]
    assert fs.cat_file(f"{lake}/plain", 2, 4) == b"23"


def test_what_was_just_found_out_is_not_asked_again(fs: S3CseFileSystem, lake: str, servers: BrokenServers) -> None:
    fs.pipe_file(f"{lake}/t/a", b"123")
    requests(servers)
    for _ in range(3):
        assert fs.info(f"{lake}/t/a")["size"] == 3
        assert fs.isfile(f"{lake}/t/a")
        assert fs.modified(f"{lake}/t/a").tzinfo is dt.UTC
    assert requests(servers) == ["HeadObject"]
    fs.invalidate_cache()
    assert fs.ls(f"{lake}/t", detail=False) == [f"{lake}/t/a"]
    assert fs.size(f"{lake}/t/a") == 3
    assert requests(servers) == ["ListObjectsV2"]
    fs.invalidate_cache(f"{lake}/t")
    with fs.open(f"{lake}/t/a") as file:
        assert (file.size, fs.size(f"{lake}/t/a"), file.info()) == (3, 3, fs.info(f"{lake}/t/a"))
    assert "HeadObject" not in requests(servers)


def test_what_was_found_out_is_forgotten_after_a_moment(resident: Client, lake: str, servers: BrokenServers) -> None:
    fs = S3CseFileSystem(client=resident, listings_expiry_time=0.05)
    resident.put(f"s3://{lake}/a", b"1")
    assert fs.size(f"{lake}/a") == 1
    resident.put(f"s3://{lake}/a", b"12")
    time.sleep(0.06)
    assert fs.size(f"{lake}/a") == 2
    never = S3CseFileSystem(client=resident, use_listings_cache=False)
    requests(servers)
    assert [never.size(f"{lake}/a") for _ in range(2)] == [2, 2]
    assert requests(servers) == ["HeadObject"] * 2


def test_who_asks_to_refresh_is_told_what_is_there_now(resident: Client, lake: str) -> None:
    fs = S3CseFileSystem(client=resident, listings_expiry_time=None)
    resident.put(f"s3://{lake}/a", b"1")
    assert fs.size(f"{lake}/a") == 1
    resident.put(f"s3://{lake}/a", b"12")
    assert fs.info(f"{lake}/a")["size"] == 1
    assert fs.info(f"{lake}/a", refresh=True)["size"] == 2


def test_what_it_does_itself_is_seen_at_once(fs: S3CseFileSystem, lake: str, tmp_path: Any) -> None:
    path = f"{lake}/t/a"
    assert not fs.exists(path)
    fs.pipe_file(path, b"1")
    assert fs.size(path) == 1
    with fs.open(path, "wb") as file:
        file.write(b"12")
    assert fs.size(path) == 2
    (tmp_path / "a").write_bytes(b"123")
    fs.put(str(tmp_path / "a"), path)
    assert fs.size(path) == 3
    fs.cp(path, f"{lake}/t/b")
    fs.mv(f"s3cse://{lake}/t/b", f"s3cse://{path}")
    assert fs.size(path) == 3
    assert not fs.exists(f"{lake}/t/b")
    fs.rm(f"s3cse://{path}")
    assert not fs.exists(path)
    assert not fs.isdir(f"{lake}/t")


def test_what_is_moved_onto_or_into_itself_stays(fs: S3CseFileSystem, lake: str) -> None:
    fs.pipe_file(f"{lake}/t/a", b"1")
    fs.mv(f"{lake}/t/a", f"s3cse://{lake}/t/a")
    fs.mv(f"{lake}/t/", f"s3cse://{lake}/t", recursive=True)
    with pytest.raises(ConfigurationError, match="into itself"):
        fs.mv(f"{lake}/t", f"{lake}/t/b", recursive=True)
    fs.mv(f"{lake}/t", f"{lake}/t2", recursive=True)
    assert fs.find(lake) == [f"{lake}/t2/a"]


@pytest.mark.parametrize("name", ["m[1].csv", "what?", "a*b"])
def test_a_file_whose_name_looks_like_a_pattern_is_moved_and_removed_and_no_other_one(
    fs: S3CseFileSystem, lake: str, name: str
) -> None:
    others = [f"{lake}/m1.csv", f"{lake}/whats", f"{lake}/aab"]
    for path in (*others, f"{lake}/{name}", f"{lake}/d/x"):
        fs.pipe_file(path, path.encode())
    fs.mv(f"{lake}/{name}", f"{lake}/other {name}")
    assert fs.cat_file(f"{lake}/other {name}") == f"{lake}/{name}".encode()
    fs.mv(f"{lake}/other {name}", f"{lake}/d")
    fs.mv(f"{lake}/d/other {name}", f"s3cse://{lake}/{name}")
    fs.rm(f"{lake}/{name}")
    assert fs.find(lake) == sorted([*others, f"{lake}/d/x"])
    matching = fs.glob(f"{lake}/{name}")
    fs.rm([f"s3cse://{lake}/{name}", f"{lake}/d/x"])
    assert fs.find(lake) == sorted(set(others) - set(matching))


def test_an_empty_version_id_is_not_taken_for_the_newest_version(fs: S3CseFileSystem, lake: str) -> None:
    fs.pipe_file(f"{lake}/a", b"1")
    for ask in (fs.info, fs.exists, fs.open, fs.cat_file):
        with pytest.raises(ConfigurationError, match="names no version"):
            ask(f"{lake}/a", version_id="")


def test_a_copy_of_an_old_version_is_of_that_one_onto_its_own_name_too(
    local_environ: dict[str, str], local_servers: LocalServers, raw_s3: Any, bucket: str
) -> None:
    raw_s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    fs, lake = S3CseFileSystem(kms_key_id=local_servers.kms_key_arn, skip_instance_cache=True), bucket
    fs.pipe_file(f"{lake}/a", b"old")
    old = fs.info(f"{lake}/a")["VersionId"]
    fs.pipe_file(f"{lake}/a", b"newest")
    fs.cp(f"{lake}/a", f"{lake}/b", version_id=old)
    assert fs.cat_file(f"{lake}/b") == b"old"
    fs.cp_file(f"{lake}/a", f"{lake}/a", version_id=old)
    assert fs.cat_file(f"{lake}/a") == b"old"
    with pytest.raises(ConfigurationError, match="names no version"):
        fs.cp_file(f"{lake}/a", f"{lake}/b", version_id="")


@pytest.mark.parametrize("arm", [PLAIN, CSE(encryption_context={"team": "w"})], ids=["PLAIN", "CSE under a context"])
def test_its_encryption_is_that_of_all_that_it_reads_and_writes(
    lake: str, resident: Client, travelling: Client, tmp_path: Path, arm: Encryption
) -> None:
    fs = S3CseFileSystem(client=resident, encryption=arm)
    (tmp_path / "local").write_bytes(b"1")
    fs.pipe_file(f"{lake}/piped", b"1")
    fs.put_file(str(tmp_path / "local"), f"{lake}/put")
    fs.touch(f"{lake}/touched")
    with fs.open(f"{lake}/written", "wb") as file:
        file.write(b"1")
    heads = [resident.head(f"s3://{path}") for path in fs.find(lake)]
    assert {(head.encryption, head.context_keys) for head in heads} == {
        ("PLAIN", ()) if arm is PLAIN else ("CSE V3", ("team",))
    }
    assert fs.cat(fs.find(lake)) == {
        f"{lake}/{name}": b"" if name == "touched" else b"1" for name in ("piped", "put", "touched", "written")
    }
    there = pickle.loads(pickle.dumps(S3CseFileSystem(client=travelling, encryption=arm)))
    assert there.cat_file(f"{lake}/piped") == b"1"


def test_what_is_told_to_file_systems_of_event_loops_is_passed_over(options: dict[str, Any], lake: str) -> None:
    fs, path = fsspec.core.url_to_fs(f"s3cse://{lake}/a", asynchronous=True, loop=None, batch_size=8, **options)
    fs.pipe_file(path, b"1")
    assert fs.cat_file(path) == b"1"
    assert fs == fsspec.filesystem("s3cse", **options)


def test_ranges_are_given_in_whatever_can_be_gone_through(fs: S3CseFileSystem, lake: str) -> None:
    fs.pipe_file(f"{lake}/a", bytes(range(100)))
    for kind in (tuple, np.array, iter):
        assert fs.cat_ranges([f"{lake}/a"] * 2, kind([1, 10]), kind([3, 12])) == [b"\x01\x02", b"\x0a\x0b"]


def test_files_are_found_by_what_their_paths_begin_with(fs: S3CseFileSystem, lake: str) -> None:
    for name in ("t/part-1", "t/part-2", "t/other"):
        fs.pipe_file(f"{lake}/{name}", b"1")
    assert fs.find(f"{lake}/t", prefix="part-") == [f"{lake}/t/part-1", f"{lake}/t/part-2"]


def test_an_object_too_short_to_be_sealed_has_no_size_and_is_refused(
    fs: S3CseFileSystem, lake: str, resident: Client
) -> None:
    resident.put(f"s3://{lake}/plain.csv", b"a,b\n1,2\n", encryption=PLAIN)
    (listed,) = fs.ls(lake)
    assert listed["size"] is None
    with pytest.raises(NotEncryptedError):
        fs.cat_file(listed["name"])


def test_content_is_never_older_than_the_opening(fs: S3CseFileSystem, lake: str, resident: Client) -> None:
    fs.pipe_file(f"{lake}/a", b"first")
    assert fs.cat_file(f"{lake}/a") == b"first"
    with fs.open(f"{lake}/a") as held:
        resident.put(f"s3://{lake}/a", b"the second")
        assert fs.open(f"{lake}/a").read() == b"the second"
        assert held.read() == b"first"


def test_a_new_directory_is_empty_and_known_to_nobody_else(
    fs: S3CseFileSystem, lake: str, servers: BrokenServers, resident: Client
) -> None:
    fs.mkdir(f"s3cse://{lake}/new")
    fs.makedirs(f"{lake}/other", exist_ok=True)
    assert requests(servers) == []
    assert fs.ls(f"s3cse://{lake}/new") == fs.ls(f"{lake}/other") == []
    assert fs.isdir(f"{lake}/new")
    other = S3CseFileSystem(client=resident)
    assert not other.exists(f"{lake}/new")
    with pytest.raises(FileNotFoundError):
        other.ls(f"{lake}/new")
    fs.rmdir(f"{lake}/new")
    assert not fs.exists(f"{lake}/new")


def test_trees_are_found_and_matched(fs: S3CseFileSystem, lake: str, servers: BrokenServers) -> None:
    keys = ["t/a=1/x.parquet", "t/a=1/y.csv", "t/a=2/b=1/x.parquet", "t/z.parquet", "top"]
    for key in keys:
        fs.pipe_file(f"{lake}/{key}", b"1")
    requests(servers)
    assert fs.find(lake) == [f"{lake}/{key}" for key in keys]
    assert requests(servers) == ["ListObjectsV2"]
    assert fs.glob(f"s3cse://{lake}/t/*/*.parquet") == [f"{lake}/t/a=1/x.parquet"]
    assert fs.glob(f"{lake}/t/**/*.parquet") == [f"{lake}/{key}" for key in keys if key.endswith("parquet")]
    assert fs.find(f"{lake}/t", maxdepth=1, withdirs=True) == [
        f"{lake}/t",
        f"{lake}/t/a=1",
        f"{lake}/t/a=2",
        f"{lake}/t/z.parquet",
    ]
    assert fs.find(f"{lake}/top") == [f"{lake}/top"]
    assert fs.find(f"{lake}/none") == fs.glob(f"{lake}/none/*") == []
    assert list(fs.walk(f"{lake}/t/a=2")) == [
        (f"{lake}/t/a=2", ["b=1"], []),
        (f"{lake}/t/a=2/b=1", [], ["x.parquet"]),
    ]
    fs.rm(f"{lake}/t", recursive=True)
    assert fs.find(lake) == [f"{lake}/top"]


def test_what_prevents_an_answer_is_raised(fs: S3CseFileSystem, lake: str, servers: BrokenServers) -> None:
    servers.s3.rule = lambda *_: Fault("status", 403, "AccessDenied")
    for asked in (fs.exists, fs.isfile, fs.isdir, fs.ls, fs.find, fs.open, fs.cat_file):
        with pytest.raises(PermissionError) as caught:
            asked(f"{lake}/a")
        assert isinstance(caught.value, StoreAccessDeniedError)


def test_what_is_not_there_is_a_missing_file(fs: S3CseFileSystem, lake: str) -> None:
    for asked in (fs.info, fs.ls, fs.open, fs.cat_file, fs.modified, fs.created, lambda path: fs.cp_file(path, path)):
        with pytest.raises(FileNotFoundError):
            asked(f"{lake}/a")
    with pytest.raises(LocationError):
        fs.ls("")


def test_an_access_point_is_a_directory_although_its_arn_has_a_slash(local_servers: LocalServers, bucket: str) -> None:
    def behind(params: dict[str, Any], **_: Any) -> dict[str, Any]:
        return params | {"Bucket": bucket}  # the bucket that the access point is one of

    s3 = local_servers.s3_client()
    s3.meta.events.register("provide-client-params.s3", behind)
    fs = S3CseFileSystem(client=local_servers.client(s3=s3))
    point = "arn:aws:s3:eu-west-1:111122223333:accesspoint/ap"
    fs.pipe({f"{point}/d/a": b"first", f"{point}/b": b"second"})
    assert fs.info(point)["type"] == fs.info(f"s3cse://{point}/d/")["type"] == "directory"
    assert [fs.isdir(point), fs.isfile(point), fs.isfile(f"{point}/b")] == [True, False, True]
    assert fs.find(point) == [f"{point}/b", f"{point}/d/a"]
    assert fs.ls(point, detail=False) == [f"{point}/b", f"{point}/d"]
    assert fs.cat(f"{point}/d/a") == b"first"
    fs.rm(point, recursive=True)
    assert fs.find(point) == []
