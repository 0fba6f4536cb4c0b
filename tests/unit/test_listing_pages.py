"""A page of a listing as the short way reads it."""

from __future__ import annotations

import datetime as dt

import pytest

from arrowseal.learnt_endpoints import BucketEndpoint
from arrowseal.location import ObjectLocation
from arrowseal.store import ListedObject
from arrowseal.store_lean_listing import page_of, page_url

ROW = (
    "<Contents><Key>a%2Bb+c</Key><LastModified>2013-01-01T05:00:00.000Z</LastModified>"
    "<ETag>&quot;e1&quot;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass></Contents>"
)
AT = dt.datetime(2013, 1, 1, 5, tzinfo=dt.UTC)


def answer(*nodes: str, truncated: str = "<IsTruncated>false</IsTruncated>") -> bytes:
    whole = "".join((truncated, *nodes))
    return f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{whole}</ListBucketResult>'.encode()


def test_rows_are_read_with_and_without_a_namespace_and_decoded_where_the_answer_says_so() -> None:
    encoded = answer("<EncodingType>url</EncodingType>", ROW)
    for content in (encoded, encoded.replace(b' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"', b"")):
        assert page_of("lake", content) == ([ListedObject(ObjectLocation("lake", "a+b c"), 7, AT, "e1")], None)
    rows, _ = page_of("lake", answer(ROW)) or ([], None)
    assert [row.location.key for row in rows] == ["a%2Bb+c"]


def test_prefixes_come_first_and_a_page_that_is_cut_names_the_next() -> None:
    levels = "<CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>e/</Prefix></CommonPrefixes>"
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t+/=</NextContinuationToken>"
    rows, token = page_of("lake", answer(ROW, levels, truncated=more)) or ([], None)
    assert [(row.location.key, row.is_prefix) for row in rows] == [("d/", True), ("e/", True), ("a%2Bb+c", False)]
    assert token == "t+/="


@pytest.mark.parametrize(
    "content",
    [
        b"",
        answer(ROW)[:-9],
        answer(ROW, truncated=""),
        answer(ROW, truncated="<IsTruncated>true</IsTruncated>"),
        answer(ROW.replace("<Size>7</Size>", "<Size>many</Size>")),
        answer(ROW.replace("<Size>7</Size>", "")),
        answer(ROW.replace("2013-01-01T05:00:00.000Z", "Tue, 01 Jan 2013 05:00:00 GMT")),
        answer(ROW.replace("2013-01-01T05:00:00.000Z", "2013-01-01T05:00:00.000")),
        b"<?xml version='1.0' encoding='ETF-8'?>" + answer(ROW),
    ],
    ids=[
        "empty",
        "cut off",
        "without an end",
        "without a token",
        "size",
        "no size",
        "another time",
        "a local time",
        "encoding",
    ],
)
def test_what_is_not_read_here_is_left_to_boto3(content: bytes) -> None:
    assert page_of("lake", content) is None


def test_a_page_is_asked_for_below_the_bucket_or_at_its_host() -> None:
    path, host = "http://127.0.0.1:9000/lake", "https://lake.s3.eu-central-1.amazonaws.com"
    urls = [
        page_url(BucketEndpoint(base, "r", "agent"), "d/a b+", delimiter="/", token="t+/=") for base in (path, host)
    ]
    query = "continuation-token=t%2B%2F%3D&delimiter=%2F&encoding-type=url&list-type=2&prefix=d%2Fa%20b%2B"
    assert urls == [f"{path}?{query}", f"{host}/?{query}"]
