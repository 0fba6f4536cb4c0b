"""Writes, uploads in parts, listings, copies and deletions: whichever lane carries the reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from arrowseal.counters import Operation
from arrowseal.exceptions import PreconditionFailedError
from arrowseal.location import ObjectLocation
from arrowseal.store import Payload, StoredRange

if TYPE_CHECKING:
    from conformance_servers import Server

    from arrowseal.store import Store, WrittenObject

PART = 5 * 2**20


def operation(location: ObjectLocation) -> Operation:
    return Operation("put", location)


def put(store: Store, location: ObjectLocation, content: bytes, **arguments: Any) -> WrittenObject:
    return store.put(location, operation(location), Payload(content), metadata={"a": "b"}, arguments=arguments)


def test_what_is_written_is_there_with_its_metadata(s3: Any, store: Store, bucket: str) -> None:
    location = ObjectLocation(bucket, "written/ünder a+key%2F")
    written = put(store, location, b"content", ContentType="text/csv")
    answer = s3.get_object(Bucket=bucket, Key=location.key)
    assert (answer["Body"].read(), answer["Metadata"], answer["ContentType"]) == (b"content", {"a": "b"}, "text/csv")
    assert answer["ETag"].strip('"') == written.etag
    assert put(store, ObjectLocation(bucket, "empty"), b"").etag


def test_create_only_and_compare_and_swap(server: Server, store: Store, bucket: str) -> None:
    location = ObjectLocation(bucket, "once")
    first = put(store, location, b"first", IfNoneMatch="*")
    with pytest.raises(PreconditionFailedError):
        put(store, location, b"again", IfNoneMatch="*")
    second = put(store, location, b"second", IfMatch=f'"{first.etag}"')
    with pytest.raises(PreconditionFailedError):
        put(store, location, b"third", IfMatch=f'"{first.etag}"')
    assert store.head(location, operation(location), arguments={}).etag == second.etag


def test_parts_become_an_object_in_their_order(s3: Any, store: Store, fresh_bucket: str) -> None:
    location = ObjectLocation(fresh_bucket, "in/parts")
    contents = {1: b"a" * PART, 2: b"b" * 1000}
    upload_id = store.create_upload(location, operation(location), metadata={"a": "b"}, arguments={})
    open_ones, after = store.list_uploads_page(fresh_bucket, "in/", operation(location), after=None)
    assert ([upload.upload_id for upload in open_ones], after) == ([upload_id], None)
    parts = [
        store.put_part(location, operation(location), upload_id, number, Payload(contents[number]), arguments={})
        for number in (2, 1)
    ]
    store.complete_upload(location, operation(location), upload_id, parts, arguments={})
    answer = s3.get_object(Bucket=fresh_bucket, Key=location.key)
    assert answer["Body"].read() == contents[1] + contents[2]
    assert answer["Metadata"] == {"a": "b"}
    assert store.list_uploads_page(fresh_bucket, "", operation(location), after=None) == ([], None)


def test_an_aborted_upload_is_gone(store: Store, fresh_bucket: str) -> None:
    location = ObjectLocation(fresh_bucket, "given-up")
    upload_id = store.create_upload(location, operation(location), metadata={}, arguments={})
    store.put_part(location, operation(location), upload_id, 1, Payload(b"part"), arguments={})
    store.abort_upload(location, operation(location), upload_id)
    store.abort_upload(location, operation(location), upload_id)
    assert store.list_uploads_page(fresh_bucket, "", operation(location), after=None) == ([], None)


def test_a_listing_shows_objects_and_with_a_delimiter_one_level(s3: Any, store: Store, fresh_bucket: str) -> None:
    for key in ("a", "d/1", "d/2", "e/f/3"):
        s3.put_object(Bucket=fresh_bucket, Key=key, Body=b"12345")
    whole = operation(ObjectLocation(fresh_bucket, ""))
    rows, token = store.list_page(fresh_bucket, "", whole, delimiter=None, token=None)
    assert ([(row.location.key, row.stored_bytes) for row in rows if row.stored_bytes], token) == (
        [("a", 5), ("d/1", 5), ("d/2", 5), ("e/f/3", 5)],
        None,
    )
    level, _ = store.list_page(fresh_bucket, "", whole, delimiter="/", token=None)
    assert {row.location.key: row.is_prefix for row in level} == {"a": False, "d/": True, "e/": True}


def test_a_second_listing_says_what_boto3_says_of_whatever_keys(
    server: Server, s3: Any, store: Store, fresh_bucket: str
) -> None:
    for key in ("plain", "a b+c%2F&=#?.csv", "d/ünder 🙂", "d/x=1/y", "<e>&amp;", "f~(1)!'*"):
        s3.put_object(Bucket=fresh_bucket, Key=key, Body=key.encode())
    boto3s = server.store("boto3 as it is")
    whole = operation(ObjectLocation(fresh_bucket, ""))
    for prefix in ("", "d/", "d", "a b+", "nothing"):
        for delimiter in (None, "/"):
            asked = {"delimiter": delimiter, "token": None}
            expected = boto3s.list_page(fresh_bucket, prefix, whole, **asked)
            assert [store.list_page(fresh_bucket, prefix, whole, **asked) for _ in range(2)] == [expected] * 2
    assert whole.requests == 3 * 10


def test_copies_keep_metadata_and_deletions_are_silent(s3: Any, store: Store, fresh_bucket: str) -> None:
    source, target = ObjectLocation(fresh_bucket, "from"), ObjectLocation(fresh_bucket, "to/here")
    put(store, source, b"content")
    store.copy(source, target, operation(target))
    assert s3.head_object(Bucket=fresh_bucket, Key=target.key)["Metadata"] == {"a": "b"}
    for _ in range(2):
        store.delete(source, operation(source), arguments={})
    rows, _ = store.list_page(fresh_bucket, "from", operation(source), delimiter=None, token=None)
    assert rows == []


HEADERS = {
    "ContentType": "text/csv",
    "CacheControl": "no-store",
    "ContentLanguage": "de",
    "ContentEncoding": "identity",
}


def test_a_copy_in_place_has_the_metadata_and_headers_that_it_is_given_and_its_tags_stay(
    s3: Any, store: Store, fresh_bucket: str
) -> None:
    location = ObjectLocation(fresh_bucket, "in/place ü+")
    written = put(store, location, b"content", **HEADERS, Tagging="team=weather&empty=")
    before = store.attributes(location, operation(location), arguments={})
    assert {name: before.arguments[name] for name in HEADERS} == HEADERS
    assert store.tags(location, operation(location)) in ("team=weather&empty=", "empty=&team=weather")
    assert store.grants(location, operation(location)) == {}
    copied = store.put(
        location,
        operation(location),
        StoredRange.whole(before.stored),
        metadata={"c": "d"},
        arguments=before.arguments,
    )
    after = store.attributes(location, operation(location), arguments={})
    assert copied.etag == written.etag == after.stored.etag
    assert after.stored.metadata == {"c": "d"}
    assert dict(after.arguments) == dict(before.arguments)
    assert s3.get_object(Bucket=fresh_bucket, Key=location.key)["Body"].read() == b"content"
    assert "team=weather" in store.tags(location, operation(location))


def test_an_object_is_copied_in_parts_with_all_that_is_given(s3: Any, store: Store, fresh_bucket: str) -> None:
    location = ObjectLocation(fresh_bucket, "large")
    content = b"a" * PART + b"b" * 1000
    put(store, location, content, **HEADERS)
    before = store.attributes(location, operation(location), arguments={})
    arguments = {**before.arguments, "ChecksumAlgorithm": None}
    upload_id = store.create_upload(location, operation(location), metadata={"c": "d"}, arguments=arguments)
    parts = [
        store.put_part(
            location,
            operation(location),
            upload_id,
            number,
            StoredRange(before.stored, begin, end),
            arguments=before.arguments,
        )
        for number, (begin, end) in enumerate([(0, PART), (PART, len(content))], 1)
    ]
    store.complete_upload(location, operation(location), upload_id, parts, arguments={})
    after = store.attributes(location, operation(location), arguments={})
    assert s3.get_object(Bucket=fresh_bucket, Key=location.key)["Body"].read() == content
    assert after.stored.metadata == {"c": "d"}
    assert {name: after.arguments[name] for name in HEADERS} == HEADERS
