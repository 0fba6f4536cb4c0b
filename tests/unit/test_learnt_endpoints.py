"""What a request of boto3 has to look like for the next ones to be made like it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from arrowseal.learnt_endpoints import BucketEndpoint, LearntEndpoints
from arrowseal.location import ObjectLocation

if TYPE_CHECKING:
    from collections.abc import Callable

WHERE = ObjectLocation("lake", "dir/a b")
URL = "http://lake.example/dir/a%20b"
SIGNED = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature=00"
HEADERS = {"Authorization": SIGNED, "User-Agent": b"tests", "x-amz-meta-any": "thing"}


def learnt(url: str, headers: dict[str, Any], register: Callable[..., None] | None = None) -> BucketEndpoint | None:
    """What is known of the bucket after a call that sent one request."""
    s3 = boto3.Session("AKIA", "secret", region_name="eu-west-1").client("s3")
    if register is not None:
        s3.meta.events.register("before-send.s3.GetObject", register)
    frozen = SimpleNamespace(access_key="AKIA")
    endpoints = LearntEndpoints(s3, lambda: SimpleNamespace(get_frozen_credentials=lambda: frozen))
    with endpoints.learning(WHERE):
        s3.meta.events.emit("before-send.s3.GetObject", request=SimpleNamespace(url=url, headers=headers))
    return endpoints.of("lake")


@pytest.mark.parametrize("url", [URL, URL + "?versionId=1"])
def test_a_signed_request_for_the_object_shows_where_its_bucket_is(url: str) -> None:
    assert learnt(url, HEADERS) == BucketEndpoint("http://lake.example", "eu-west-1", "tests")


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        (URL, {"User-Agent": "tests"}),
        (URL, HEADERS | {"Authorization": SIGNED.replace("/s3/", "/s3express/")}),
        (URL, HEADERS | {"Authorization": SIGNED.replace("AKIA", "AKIB")}),
        (URL, HEADERS | {"x-amz-request-payer": "requester"}),
        ("http://lake.example/dir/another", HEADERS),
    ],
    ids=["anonymous", "of another service", "of somebody else", "with an unknown header", "for another object"],
)
def test_of_any_other_request_nothing_is_learnt(url: str, headers: dict[str, Any]) -> None:
    assert learnt(url, headers) is None


def test_where_somebody_else_is_to_see_the_requests_nothing_is_learnt() -> None:
    assert learnt(URL, HEADERS, lambda **_: None) is None
