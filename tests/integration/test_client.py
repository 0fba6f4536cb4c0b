"""Objects through the client: what is written, what comes back, and what both say about it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import arrowseal
from arrowseal import CSE, PLAIN, SSE_C, SSE_KMS, SSE_S3, Client, CommitmentPolicy, ObjectLocation
from arrowseal.exceptions import (
    ConfigurationError,
    NotEncryptedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreError,
)
from doubles import StrictKms, http_answer

if TYPE_CHECKING:
    from arrowseal.encryption import Encryption
    from arrowseal.local import LocalServers

CONTENT = os.urandom(3 * 2**20 + 7)
ARMS = [PLAIN, SSE_S3(), SSE_KMS()]


@pytest.mark.parametrize(
    "size", [0, 1, 15, 16, 17, 2**20 - 17, 2**20 - 16, 2**20 - 15, 2**20 - 8, 2**20 - 1, 2**20, 2**20 + 1]
)
@pytest.mark.parametrize("interop", [None, "analytics"])
def test_every_size_comes_back(local_servers: LocalServers, bucket: str, size: int, interop: str | None) -> None:
    client = local_servers.client(interop=interop)
    result = client.put(bucket=bucket, key="o", data=CONTENT[:size])
    assert (result.plaintext_bytes, result.stored_bytes) == (size, size + 16)
    content = client.get(bucket=bucket, key="o")
    assert len(content) == size
    assert content == CONTENT[:size]
    assert content.encryption == result.encryption == ("CSE V2" if interop else "CSE V3")


@pytest.mark.parametrize(
    "data",
    [
        bytearray(CONTENT),
        memoryview(CONTENT),
        np.frombuffer(CONTENT, np.uint8),
        pa.py_buffer(CONTENT),
        io.BytesIO(CONTENT),
    ],
    ids=lambda data: type(data).__name__,
)
def test_every_kind_of_buffer_and_a_binary_file_can_be_written(client: Client, bucket: str, data: Any) -> None:
    client.put(f"s3://{bucket}/o", data)
    assert client.get(f"s3://{bucket}/o") == CONTENT


def test_a_buffer_of_numbers_is_written_as_its_bytes(client: Client, bucket: str) -> None:
    numbers = np.arange(1000, dtype=np.float64)
    client.put(f"s3://{bucket}/o", numbers)
    assert np.array_equal(np.frombuffer(client.get(f"s3://{bucket}/o")), numbers)  # type: ignore[call-overload]


def test_what_was_read_can_be_written_again(client: Client, bucket: str) -> None:
    client.put(f"s3://{bucket}/o", CONTENT)
    client.put(f"s3://{bucket}/p", client.get(f"s3://{bucket}/o"))
    assert client.get(f"s3://{bucket}/p") == CONTENT


def test_the_buffer_is_read_only_and_wrapped_without_a_copy(client: Client, bucket: str) -> None:
    client.put(f"s3://{bucket}/o", CONTENT)
    content = client.get(f"s3://{bucket}/o")
    assert memoryview(content).readonly
    wrapped = pa.py_buffer(content)
    assert wrapped.address == np.frombuffer(content, np.uint8).ctypes.data  # type: ignore[call-overload]
    assert wrapped.address % 64 == 0
    assert not wrapped.is_mutable


@pytest.mark.parametrize(
    "data",
    [
        None,
        "text",
        7,
        io.StringIO("text"),
        np.eye(4)[:, 1],
        np.array([object()]),
        np.array(["2013-01-01"], "datetime64[D]"),
    ],
    ids=["None", "text", "number", "text file", "column", "objects", "dates"],
)
def test_what_is_no_buffer_is_refused_before_any_request(client: Client, data: Any) -> None:
    with pytest.raises(ConfigurationError):
        client.put("s3://no-such-bucket/o", data)
    assert len(client.counters) == 0


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.label)
def test_the_arms_without_client_side_encryption_are_stored_and_told_as_what_they_are(
    client: Client, bucket: str, raw_s3: Any, arm: Any
) -> None:
    assert client.put(bucket=bucket, key="o", data=CONTENT, encryption=arm).encryption == arm.label
    with pytest.raises(NotEncryptedError):
        client.get(bucket=bucket, key="o")
    plain = client.get(bucket=bucket, key="o", encryption=arm)
    assert isinstance(plain, arrowseal.UnauthenticatedBuffer)
    assert plain == CONTENT
    assert plain.encryption == "PLAIN"
    assert client.head(bucket=bucket, key="o", encryption=arm).encryption == arm.label
    assert raw_s3.get_object(Bucket=bucket, Key="o", **arm.read_arguments())["Body"].read() == CONTENT


def test_sse_c_is_read_with_its_key_only(seaweedfs_servers: LocalServers) -> None:
    client, arm, url = seaweedfs_servers.client(), SSE_C(b"k" * 32), f"s3://{seaweedfs_servers.bucket}/sse-c"
    assert client.put(url, CONTENT, encryption=arm).encryption == "SSE-C"
    assert client.head(url, encryption=arm).encryption == "SSE-C"
    assert client.get(url, encryption=arm) == CONTENT
    for other in (None, SSE_C(b"x" * 32)):
        with pytest.raises(StoreError):
            client.get(url, encryption=other, allow_plaintext=True)


def test_plaintext_is_allowed_by_client_or_by_call(local_servers: LocalServers, client: Client, bucket: str) -> None:
    client.put(bucket=bucket, key="o", data=b"plain", encryption=PLAIN)
    assert client.get(bucket=bucket, key="o", allow_plaintext=True) == b"plain"
    allowing = local_servers.client(allow_plaintext=True)
    assert allowing.get(bucket=bucket, key="o") == b"plain"
    with pytest.raises(NotEncryptedError):
        allowing.get(bucket=bucket, key="o", allow_plaintext=False)
    assert allowing.counters.to_arrow()["encryption"].to_pylist() == ["PLAIN"]


@pytest.mark.parametrize("arm", [None, PLAIN])
def test_an_empty_object_is_empty_by_every_way_to_read(
    local_servers: LocalServers, bucket: str, arm: Encryption | None
) -> None:
    client, url = local_servers.client(allow_plaintext=True), f"s3://{bucket}/o"
    client.put(url, b"", encryption=arm)
    assert client.get(url) == b""
    with client.object(url) as opened:
        assert opened.size == 0
        assert opened.read_ranges([(0, 0), (0, 5), (3, 1)]) == [b"", b"", b""]
    with client.open(url, "rb") as file:
        assert file.read() == b""


def test_a_client_that_allows_plaintext_needs_no_key_for_plain_objects(
    local_servers: LocalServers, client: Client, bucket: str
) -> None:
    client.put(bucket=bucket, key="o", data=b"plain", encryption=PLAIN)
    keyless = local_servers.client(kms_key_id=None, allow_plaintext=True)
    assert keyless.get(bucket=bucket, key="o") == b"plain"


def test_head_tells_the_encryption_and_the_key_only_once_it_is_known(
    local_servers: LocalServers, client: Client, bucket: str
) -> None:
    client.put(bucket=bucket, key="o", data=CONTENT, encryption_context={"team": "weather", "a": "b"})
    head = client.head(bucket=bucket, key="o")
    assert head.as_dict() | {"last_modified": None, "etag": ""} == {
        "bucket": bucket,
        "key": "o",
        "encryption": "CSE V3",
        "format": "V3",
        "suite": "ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY",
        "content_algorithm": "115",
        "wrap": "kms+context",
        "context_keys": ["a", "team"],
        "plaintext_bytes": len(CONTENT),
        "stored_bytes": len(CONTENT) + 16,
        "kms_key_arn": local_servers.kms_key_arn,
        "etag": "",
        "version_id": None,
        "last_modified": None,
        "content_type": "binary/octet-stream",
        "server_side": None,
        "server_side_key": None,
        "bucket_key": None,
    }
    stranger = local_servers.client()
    assert stranger.head(bucket=bucket, key="o").kms_key_arn is None
    stranger.get(bucket=bucket, key="o", encryption_context=arrowseal.ANY)
    assert stranger.head(bucket=bucket, key="o").kms_key_arn == local_servers.kms_key_arn
    assert head.to_pandas().loc[0, "context_keys"].tolist() == ["a", "team"]
    assert head.to_polars().shape == head.to_arrow().shape == (1, 18)
    assert "weather" not in head._repr_html_()


def test_listing_existing_copying_and_deleting(client: Client, bucket: str) -> None:
    for name in ("a/1", "a/2", "b"):
        client.put(bucket=bucket, key=name, data=b"x")
    assert [row.location.key for row in client.list(f"s3://{bucket}")] == ["a/1", "a/2", "b"]
    assert [row.location.key for row in client.list(f"s3://{bucket}/a/")] == ["a/1", "a/2"]
    one_level = client.list(f"s3://{bucket}", delimiter="/")
    assert {(row.location.key, row.is_prefix) for row in one_level} == {("a/", True), ("b", False)}
    client.copy(f"s3://{bucket}/b", f"s3://{bucket}/c ü")
    assert client.get(f"s3://{bucket}/c ü") == b"x"
    assert client.is_encrypted(f"s3://{bucket}/c ü")
    client.delete(f"s3://{bucket}/b")
    assert not client.exists(f"s3://{bucket}/b")
    client.delete(f"s3://{bucket}/b")
    assert client.exists(f"s3://{bucket}/c ü")


def test_listing_goes_past_the_first_page(local_servers: LocalServers, bucket: str) -> None:
    s3 = local_servers.s3_client()
    s3.meta.events.register("before-parameter-build.s3.ListObjectsV2", lambda params, **_: params.update(MaxKeys=2))
    client, names = local_servers.client(s3=s3), [f"{number}" for number in range(5)]
    for name in names:
        client.put(bucket=bucket, key=name, data=b"")
    assert [row.location.key for row in client.list(f"s3://{bucket}")] == names
    assert list(client.counters)[-1].requests == 3


def test_a_large_object_is_copied_in_parts_with_its_metadata(
    client: Client, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arrowseal import copying, store_boto3

    monkeypatch.setattr(store_boto3, "_COPY_LIMIT", 2**20)
    monkeypatch.setattr(copying, "COPIED_PART", 5 * 2**20)
    data = os.urandom(11 * 2**20)
    client.put(bucket=bucket, key="o", data=data, s3_additional_kwargs={"ContentType": "application/x-table"})
    client.copy(f"s3://{bucket}/o", f"s3://{bucket}/p")
    assert client.get(bucket=bucket, key="p") == data
    assert client.head(bucket=bucket, key="p").content_type == "application/x-table"


def test_arguments_for_s3_pass_through_and_reserved_ones_are_refused(client: Client, raw_s3: Any, bucket: str) -> None:
    given = {"Metadata": {"team": "weather"}, "ContentType": "text/csv", "Tagging": "a=b"}
    client.put(bucket=bucket, key="o", data=b"x", s3_additional_kwargs=given)
    stored = raw_s3.head_object(Bucket=bucket, Key="o")
    assert (stored["Metadata"]["team"], stored["ContentType"]) == ("weather", "text/csv")
    assert raw_s3.get_object_tagging(Bucket=bucket, Key="o")["TagSet"] == [{"Key": "a", "Value": "b"}]
    for reserved in (
        {"Body": b""},
        {"ContentMD5": "x"},
        {"ChecksumSHA256": "x"},
        {"ServerSideEncryption": "AES256"},
        {"SSEKMSKeyId": "x"},
        {"Metadata": {"X-Amz-C": "115"}},
        {"Metadata": {"x-amz-unencrypted-content-length": "1"}},
    ):
        with pytest.raises(ConfigurationError):
            client.put(bucket=bucket, key="o", data=b"x", s3_additional_kwargs=reserved)


@pytest.mark.parametrize(
    "given",
    [{"NoSuchArgument": 1}, {"Metadata": {"ort": "Zürich"}}, {"Metadata": {"a": 1}}, {"ContentType": 7}, "text/csv"],
    ids=str,
)
def test_arguments_that_s3_does_not_know_are_refused_before_kms_is_asked(raw_s3: Any, bucket: str, given: Any) -> None:
    kms = StrictKms()
    client = Client(kms.create_key(), s3=raw_s3, kms=kms)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        client.put(bucket=bucket, key="o", data=b"x", s3_additional_kwargs=given)
    assert kms.calls == []


def test_create_only_writes_fail_with_a_typed_error_when_the_object_is_there(client: Client, bucket: str) -> None:
    client.put(bucket=bucket, key="o", data=b"first")
    with pytest.raises(PreconditionFailedError):
        client.put(bucket=bucket, key="o", data=b"second", s3_additional_kwargs={"IfNoneMatch": "*"})
    assert client.get(bucket=bucket, key="o") == b"first"


def test_a_switch_that_is_text_admits_nothing(client: Client, raw_s3: Any, bucket: str) -> None:
    raw_s3.put_object(Bucket=bucket, Key="plain.csv", Body=b"a\n1\n")
    with pytest.raises(ConfigurationError, match="allow_plaintext= is True or False, not 'false'"):
        client.get(bucket=bucket, key="plain.csv", allow_plaintext="false")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="allow_plaintext="):
        arrowseal.pandas.read_csv(f"s3://{bucket}/plain.csv", client=client, allow_plaintext="no")  # type: ignore[arg-type]


def test_moving_an_object_onto_itself_leaves_it_and_one_that_is_not_there_is_told(client: Client, bucket: str) -> None:
    client.put(f"s3://{bucket}/o", b"content")
    client.move(f"s3://{bucket}/o", f"s3://{bucket}/o")
    assert client.get(f"s3://{bucket}/o") == b"content"
    with pytest.raises(ObjectNotFoundError, match="missing"):
        client.move(f"s3://{bucket}/missing", f"s3://{bucket}/missing")


def test_the_encryption_of_a_write_is_chosen_by_client_by_value_or_by_keyword(
    local_servers: LocalServers, bucket: str
) -> None:
    client = local_servers.client(
        commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT, format=arrowseal.V2, kms_key_id=None
    )
    key = local_servers.kms_key_arn
    result = client.put(bucket=bucket, key="o", data=b"x", encryption=CSE(key, encryption_context={"a": "b"}))
    assert result.encryption == "CSE V2"
    assert client.get(bucket=bucket, key="o", kms_key_id=key, encryption_context={"a": "b"}) == b"x"
    client.put(bucket=bucket, key="o", data=b"y", kms_key_id=key, encryption_context={"c": "d"})
    assert client.head(bucket=bucket, key="o").context_keys == ("c",)


@pytest.mark.parametrize(
    "arguments",
    [
        {"encryption": CSE("alias/a"), "kms_key_id": "alias/b"},
        {"encryption": CSE(encryption_context={"a": "b"}), "encryption_context": {"a": "b"}},
        {"encryption": PLAIN, "kms_key_id": "alias/b"},
        {"encryption": "cse"},
        {"encryption": CSE(format=arrowseal.V2)},
        {"encryption_context": {"a": "b" * 3000}},
        {"encryption_context": arrowseal.ANY},
    ],
    ids=lambda arguments: ",".join(arguments),
)
def test_contradictions_in_a_write_are_found_before_any_request(client: Client, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        client.put("s3://no-such-bucket/o", b"x", **arguments)
    assert all(record.requests == record.kms_calls == 0 for record in client.counters)


def test_v2_carries_its_plaintext_length_for_the_engines_that_look_at_it(
    local_servers: LocalServers, raw_s3: Any, bucket: str
) -> None:
    local_servers.client(interop="analytics").put(bucket=bucket, key="o", data=b"12345")
    stored = raw_s3.head_object(Bucket=bucket, Key="o")["Metadata"]
    assert stored["x-amz-unencrypted-content-length"] == "5"
    assert stored["x-amz-tag-len"] == "128"


def test_every_write_has_a_data_key_and_a_message_id_of_its_own(client: Client, raw_s3: Any, bucket: str) -> None:
    for key in ("o", "p"):
        client.put(bucket=bucket, key=key, data=CONTENT)
    first, second = (raw_s3.head_object(Bucket=bucket, Key=key)["Metadata"] for key in ("o", "p"))
    for name in ("x-amz-3", "x-amz-i", "x-amz-d"):
        assert first[name] != second[name]


def test_a_retried_write_sends_the_same_ciphertext(local_servers: LocalServers, bucket: str) -> None:
    s3, bodies = local_servers.s3_client(), []

    def lose_the_first_answer(request: Any, **_: Any) -> Any:
        body = request.body.read() if hasattr(request.body, "read") else request.body
        request.body.seek(0)
        bodies.append(bytes(body))
        return http_answer(request.url, 503) if len(bodies) == 1 else None

    s3.meta.events.register("before-send.s3.PutObject", lose_the_first_answer)
    client = local_servers.client(s3=s3)
    client.put(bucket=bucket, key="o", data=CONTENT)
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]
    assert client.get(bucket=bucket, key="o") == CONTENT


def test_one_client_serves_many_threads(client: Client, bucket: str) -> None:
    def round_trip(number: int) -> bool:
        data = os.urandom(number * 1000)
        client.put(bucket=bucket, key=f"o{number}", data=data)
        return client.get(bucket=bucket, key=f"o{number}") == data

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(round_trip, range(64)))
    assert len(client.counters) == 128


def test_a_client_goes_on_in_a_forked_child(local_servers: LocalServers, bucket: str) -> None:
    code = f"""
import os, arrowseal
client = arrowseal.Client({local_servers.kms_key_arn!r})
client.put("s3://{bucket}/o", b"before")
child = os.fork()
if child == 0:
    assert client.get("s3://{bucket}/o") == b"before"
    client.put("s3://{bucket}/p", b"in the child")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert client.get("s3://{bucket}/p") == b"in the child"
"""
    subprocess.run([sys.executable, "-c", code], env=os.environ | local_servers.environ, check=True, timeout=120)


def test_requests_and_kms_calls_are_counted(client: Client, bucket: str) -> None:
    client.put(bucket=bucket, key="o.csv", data=CONTENT)
    client.get(bucket=bucket, key="o.csv")
    put, get = client.counters
    assert (put.operation, get.operation) == ("put", "get")
    assert (put.requests, put.kms_calls, get.requests, get.kms_calls) == (1, 1, 1, 1)
    assert put.plaintext_bytes == get.plaintext_bytes == len(CONTENT)
    assert put.stored_bytes == get.stored_bytes == len(CONTENT) + 16
    assert put.peak_memory_bytes == get.peak_memory_bytes == len(CONTENT) + 16
    assert min(get.kms_seconds, get.s3_seconds, get.crypto_seconds) > 0
    assert get.file_type == "csv"


@pytest.mark.parametrize("servers", ["local_servers", "seaweedfs_servers"])
def test_uploads_that_nobody_finished_are_found_and_aborted(servers: str, request: pytest.FixtureRequest) -> None:
    running: LocalServers = request.getfixturevalue(servers)
    client, s3 = running.client(), running.s3_client()
    prefix = f"uploads-{uuid.uuid4().hex}"
    upload_id = s3.create_multipart_upload(Bucket=running.bucket, Key=f"{prefix}/a")["UploadId"]
    s3.upload_part(Bucket=running.bucket, Key=f"{prefix}/a", UploadId=upload_id, PartNumber=1, Body=b"a")
    (found,) = client.uploads(f"s3://{running.bucket}/{prefix}/")
    assert (found.location.key, found.upload_id) == (f"{prefix}/a", upload_id)
    assert found.initiated.tzinfo is not None
    for _ in range(2):  # one that is gone is no error
        client.abort_upload(found)
    assert client.uploads(f"s3://{running.bucket}/{prefix}/") == []
    assert [record.operation for record in client.counters] == ["uploads", "abort_upload", "abort_upload", "uploads"]


def test_a_read_tells_how_far_it_is_and_what_the_teller_raises_ends_it(client: Client, bucket: str) -> None:
    content = bytes(3_000_000)
    client.put(bucket=bucket, key="o", data=content)
    told: list[tuple[int, int | None, str]] = []
    assert client.get(bucket=bucket, key="o", progress=lambda *how_far: told.append(how_far)) == content
    done = [row[0] for row in told]
    assert done == sorted(done)
    assert (done[0], done[-1], len(done)) == (0, 3_000_016, 7)  # pieces of 512 KiB
    assert {row[1:] for row in told} == {(3_000_016, ObjectLocation(bucket, "o"))}

    def enough(done: int, _total: int | None, _location: ObjectLocation) -> None:
        if done:
            raise InterruptedError("enough")

    with pytest.raises(InterruptedError, match="enough"):
        client.get(bucket=bucket, key="o", progress=enough)
    with pytest.raises(ConfigurationError, match="progress= is True"):
        client.get(bucket=bucket, key="o", progress="yes")  # type: ignore[arg-type]


def test_a_write_tells_how_far_it_is_whichever_way_its_bytes_come(local_servers: LocalServers, bucket: str) -> None:
    content = bytes(12 * 2**20)
    told: list[tuple[int, int | None]] = []
    client = local_servers.client(progress=lambda done, total, _: told.append((done, total)))
    client.put(bucket=bucket, key="o", data=b"small")
    assert told == [(0, 21), (21, 21)]
    told.clear()
    client.put(bucket=bucket, key="o", data=content)
    assert (told[0], told[-1]) == ((0, len(content) + 16), (len(content) + 16, len(content) + 16))
    assert len(told) > 2
    told.clear()
    client.put(bucket=bucket, key="o", data=io.BytesIO(content))
    assert (told[0], told[-1]) == ((0, None), (len(content) + 16, None))
    told.clear()
    with client.open(bucket=bucket, key="o", mode="wb", progress=False) as file:
        file.write(b"small")
    assert told == []


def test_a_teller_that_raises_ends_a_write_in_parts_and_nothing_stays(client: Client, bucket: str) -> None:
    def enough(done: int, _total: int | None, _location: ObjectLocation) -> None:
        if done:
            raise InterruptedError("enough")

    with pytest.raises(InterruptedError, match="enough"):
        client.put(bucket=bucket, key="o", data=bytes(20 * 2**20), progress=enough)
    assert not client.exists(bucket=bucket, key="o")
    assert client.uploads(f"s3://{bucket}") == []
