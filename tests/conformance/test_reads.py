"""A read brings the same object, the same bytes and the same error, whichever lane carries it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from conformance_servers import lane_over

from arrowseal import SSE_C
from arrowseal.counters import Operation
from arrowseal.exceptions import (
    ArrowSealError,
    BucketNotFoundError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreAccessDeniedError,
    StoreError,
    StoreUnansweredError,
)
from arrowseal.location import ObjectLocation
from arrowseal.s3_errors import RangeError
from doubles import http_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance_servers import Server

    from arrowseal.store import Store, StoredObject

LONG = os.urandom(3 * 2**20 + 7)
SEALED = {"x-amz-key-v2": "AAEC+/8="}
ODD_KEYS = [
    "sp ace",
    "plus+and=equals&",
    "percent%2Fencoded%",
    "ünïcode/日本語",
    "e\u0301 decomposed",
    "question?mark#hash",
    "tilde~'quote'(bracket)!*star",
    'double"quote<angle>{brace}|pipe^',
    "semi;colon:at@dollar$,",
    "back\\slash",
    "up/../stairs",
    "here/./there",
    "two//slashes",
    "/leading",
    "dots..in..name",
    "a" * 300 + "/" + "b" * 200,
]
DECOYS = ["stairs", "here/there", "two/slashes", "leading", "percent/encoded%", "plus and=equals&"]


@pytest.fixture(scope="module")
def put(s3: Any) -> Callable[..., Any]:
    """Writes an object that looks client-side encrypted: others are never obstore's to read."""

    def write(bucket: str, key: str, content: bytes, **arguments: Any) -> Any:
        metadata = SEALED | arguments.pop("Metadata", {})
        return s3.put_object(Bucket=bucket, Key=key, Body=content, Metadata=metadata, **arguments)

    return write


def read(
    store: Store, location: ObjectLocation, start: int = 0, end: int = 2**23, /, **arguments: Any
) -> tuple[StoredObject, bytes]:
    stored, body = store.get(location, Operation("get", location), byte_range=(start, end), arguments=arguments)
    content, piece = bytearray(), bytearray(300_000)
    while count := body.readinto(memoryview(piece)):
        content += piece[:count]
    body.close()
    return stored, bytes(content)


def outcome(store: Store, location: ObjectLocation) -> Any:
    """The bytes of an object, or the type of the error."""
    try:
        return read(store, location)[1]
    except ArrowSealError as error:
        return type(error)


def as_told_by(lane: str, stored: StoredObject) -> StoredObject:
    """What every lane tells. A checksum only comes to who asks for it; obstore hides how the server encrypts."""
    stored = dataclasses.replace(stored, crc32=None)
    return dataclasses.replace(stored, server_side=None, server_side_key=None) if lane == "obstore" else stored


@pytest.mark.parametrize("length", [0, 1, 10_000, 2**20, len(LONG)])
def test_a_read_brings_what_boto3_says_of_the_object_and_its_bytes(
    put: Callable[..., Any], store: Store, reference: Store, lane: str, bucket: str, length: int
) -> None:
    metadata = {"colour": "blue", "json": '{"a": "b c"}'}
    location = ObjectLocation(bucket, f"object-{length}")
    put(bucket, location.key, LONG[:length], Metadata=metadata, ContentType="text/csv; header=present")
    stored, content = read(store, location)
    expected, _ = read(reference, location)
    assert content == LONG[:length]
    assert stored.stored_bytes == length
    assert dict(stored.metadata) == metadata | SEALED
    assert as_told_by(lane, stored) == as_told_by(lane, expected)


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 10), (3, 7), (9, 10), (5, 4000), (0, 4000)])
def test_a_range_brings_its_bytes_and_the_size_of_the_whole(
    put: Callable[..., Any], store: Store, bucket: str, start: int, end: int
) -> None:
    put(bucket, "ten", b"0123456789")
    stored, content = read(store, ObjectLocation(bucket, "ten"), start, end)
    assert content == b"0123456789"[start:end]
    assert (stored.stored_bytes, stored.ranged) == (10, True)


def test_a_long_range_in_the_middle_brings_its_bytes(put: Callable[..., Any], store: Store, bucket: str) -> None:
    put(bucket, "long", LONG)
    assert read(store, ObjectLocation(bucket, "long"), 1000, 2_500_000)[1] == LONG[1000:2_500_000]


def test_a_body_may_be_closed_before_its_end(put: Callable[..., Any], store: Store, bucket: str) -> None:
    put(bucket, "long", LONG)
    location = ObjectLocation(bucket, "long")
    _, body = store.get(location, Operation("get", location), byte_range=(0, 2**23), arguments={})
    head = bytearray(1000)
    body.readinto(memoryview(head))
    body.close()
    assert head == LONG[:1000]
    assert read(store, location, 0, 10)[1] == LONG[:10]


def test_a_range_behind_the_end_is_a_range_error(put: Callable[..., Any], store: Store, bucket: str) -> None:
    put(bucket, "ten", b"0123456789")
    with pytest.raises(RangeError):
        read(store, ObjectLocation(bucket, "ten"), 10, 20)


@pytest.fixture(scope="module")
def odd_objects(s3: Any, put: Callable[..., Any], reference: Store) -> tuple[str, dict[str, Any]]:
    """A bucket with an object for each odd key that the server takes, decoys beside them; what boto3 finds there."""
    bucket = f"bucket-{secrets.token_hex(6)}"
    s3.create_bucket(Bucket=bucket)
    for key in ["learnt", *DECOYS, *ODD_KEYS]:
        with contextlib.suppress(s3.exceptions.ClientError):  # versitygw keeps objects in files, and cannot keep all
            put(bucket, key, key.encode())
    return bucket, {key: outcome(reference, ObjectLocation(bucket, key)) for key in ODD_KEYS}


@pytest.mark.parametrize("key", ODD_KEYS)
def test_a_key_names_the_object_that_it_names_for_boto3(
    store: Store, odd_objects: tuple[str, dict[str, Any]], key: str
) -> None:
    bucket, expected = odd_objects
    assert outcome(store, ObjectLocation(bucket, "learnt")) == b"learnt"
    assert outcome(store, ObjectLocation(bucket, key)) == expected[key]


def test_a_missing_object_and_a_missing_bucket_are_told_apart(store: Store, bucket: str) -> None:
    with pytest.raises(ObjectNotFoundError, match="no such object"):
        read(store, ObjectLocation(bucket, "nothing"))
    with pytest.raises(BucketNotFoundError, match="no such bucket"):
        read(store, ObjectLocation("bucket-that-is-not", "nothing"))


def test_a_bucket_that_goes_is_missing_from_then_on(
    s3: Any, put: Callable[..., Any], store: Store, fresh_bucket: str
) -> None:
    put(fresh_bucket, "key", b"content")
    location = ObjectLocation(fresh_bucket, "key")
    assert read(store, location)[1] == b"content"
    s3.delete_object(Bucket=fresh_bucket, Key="key")
    s3.delete_bucket(Bucket=fresh_bucket)
    with pytest.raises(BucketNotFoundError):
        read(store, location)


def test_if_match_admits_the_named_object_and_no_other(put: Callable[..., Any], store: Store, bucket: str) -> None:
    etag = put(bucket, "matched", b"one")["ETag"]
    location = ObjectLocation(bucket, "matched")
    assert read(store, location, IfMatch=etag)[1] == b"one"
    put(bucket, "matched", b"two")
    with pytest.raises(PreconditionFailedError):
        read(store, location, IfMatch=etag)


def test_a_version_is_read_by_its_id(
    s3: Any, put: Callable[..., Any], server: Server, store: Store, fresh_bucket: str
) -> None:
    if server.name == "versitygw":
        return  # keeps versions only in a folder that it was given at its start
    s3.put_bucket_versioning(Bucket=fresh_bucket, VersioningConfiguration={"Status": "Enabled"})
    first = put(fresh_bucket, "kept", b"first")["VersionId"]
    second = put(fresh_bucket, "kept", b"second")["VersionId"]
    location = ObjectLocation(fresh_bucket, "kept")
    for version, content in ((second, b"second"), (first, b"first"), (second, b"second")):
        stored, found = read(store, location, VersionId=version)
        assert (stored.version_id, found) == (version, content)
    assert read(store, location)[1] == b"second"
    with pytest.raises((ObjectNotFoundError, StoreError)):
        read(store, location, VersionId="0123456789abcdef0123456789abcdef")


def test_a_customer_key_goes_with_the_read(
    s3: Any, put: Callable[..., Any], server: Server, lane: str, bucket: str
) -> None:
    connections, sent = server.connections(), []
    store = lane_over(connections, lane)
    put(bucket, "plain", b"plain")
    assert read(store, ObjectLocation(bucket, "plain"))[1] == b"plain"
    connections.s3().meta.events.register(
        "before-send.s3.GetObject", lambda request, **_: sent.append(request.headers) or http_answer(request.url, 404)
    )
    with pytest.raises(ObjectNotFoundError):
        read(store, ObjectLocation(bucket, "keyed"), **SSE_C(bytes(32)).read_arguments())
    assert [headers["x-amz-server-side-encryption-customer-algorithm"] for headers in sent] == [b"AES256"]


def test_a_head_tells_what_a_read_tells(put: Callable[..., Any], store: Store, lane: str, bucket: str) -> None:
    put(bucket, "headed", b"content", Metadata={"a": "b"}, ContentType="text/plain")
    location = ObjectLocation(bucket, "headed")
    headed = store.head(location, Operation("head", location), arguments={})
    stored, _ = read(store, location)
    assert dataclasses.replace(as_told_by(lane, headed), ranged=True) == as_told_by(lane, stored)
    with pytest.raises(ObjectNotFoundError):
        store.head(ObjectLocation(bucket, "nothing"), Operation("head", location), arguments={})


def test_credentials_that_the_server_does_not_know_are_refused_alike(
    put: Callable[..., Any], server: Server, lane: str, bucket: str
) -> None:
    import boto3

    if server.name == "moto":
        return  # checks no signature
    right = server.session().get_credentials()
    assert right is not None
    put(bucket, "guarded", b"content")
    stranger = boto3.Session(right.access_key, "wrong" * 8, region_name="us-east-1")
    refusals = []
    for lanes in ("boto3 as it is", lane):
        with pytest.raises((ArrowSealError, StoreAccessDeniedError)) as refused:
            read(server.store(lanes, stranger), ObjectLocation(bucket, "guarded"))
        refusals.append(type(refused.value))
    assert refusals[0] is refusals[1]


def test_a_closed_port_is_an_error_that_may_pass(server: Server, lane: str) -> None:
    closed = server._replace(endpoint="http://127.0.0.1:9")
    with pytest.raises(StoreUnansweredError):
        read(closed.store(lane), ObjectLocation("bucket", "key"))


def test_once_a_bucket_is_known_its_reads_take_the_short_way(
    put: Callable[..., Any], server: Server, lane: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, "often", b"content")
    location, connections = ObjectLocation(bucket, "often"), server.connections()
    store, operation = lane_over(connections, lane), Operation("get", ObjectLocation(bucket, "often"))
    s3, asked = connections.s3(), []
    get_object = s3.get_object
    monkeypatch.setattr(s3, "get_object", lambda **arguments: asked.append(arguments) or get_object(**arguments))
    for _ in range(5):
        _, body = store.get(location, operation, byte_range=(0, 100), arguments={})
        assert body.readinto(memoryview(bytearray(100))) == 7
        body.close()
    assert len(asked) == (5 if lane == "boto3 as it is" else 1)
    assert operation.requests == 5


def test_a_plain_object_beside_sealed_ones_says_how_the_server_encrypts_it(
    s3: Any, put: Callable[..., Any], store: Store, reference: Store, bucket: str
) -> None:
    put(bucket, "mixed/sealed", b"sealed")
    s3.put_object(Bucket=bucket, Key="mixed/plain", Body=b"plain", Metadata={"a": "b"})
    for key in ("sealed", "plain", "plain", "sealed", "sealed", "plain"):
        location = ObjectLocation(bucket, f"mixed/{key}")
        stored, content = read(store, location)
        assert content == key.encode()
        if key == "plain":
            assert as_told_by("boto3", stored) == as_told_by("boto3", read(reference, location)[0])
