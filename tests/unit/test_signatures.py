"""Signatures of requests to S3: valid by the arithmetic of Signature Version 4, shared by the ranges of an object."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials

from arrowseal import signatures
from arrowseal.signatures import Signatures

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = ReadOnlyCredentials("AKIAFIRST", "first-secret", None)
SECOND = ReadOnlyCredentials("AKIAFIRST", "first-secret", "a-session")
URL = "http://lake.example/trips.parquet"
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/]+/(\d{8})/([a-z0-9-]+)/s3/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)


@dataclass
class Asked:
    """A request as botocore's signer looks at it."""

    headers: dict[str, str]
    url: str = URL
    method: str = "GET"
    params: None = None
    body: None = None
    stream_output: bool = True
    context: dict[str, Any] = field(
        default_factory=lambda: {"client_config": Config(s3={"payload_signing_enabled": False})}
    )


def ranged(first: int, etag: str = "9b2c", **more: Any) -> Asked:
    return Asked({"Range": f"bytes={first}-{first + 9}", "If-Match": f'"{etag}"', "User-Agent": "tests"}, **more)


def signed(kept: Signatures, request: Asked) -> Asked:
    kept.sign(request, "us-east-1")
    return request


def is_valid(request: Asked, secret: str) -> bool:
    """Whether a server that knows the secret takes it, computed by the steps of the documentation."""
    told = AUTHORIZATION.fullmatch(request.headers["Authorization"])
    assert told is not None
    date, region, names, signature = told.groups()
    fields = {name.lower(): value for name, value in request.headers.items()} | {"host": urlsplit(request.url).netloc}
    lines = [f"{name}:{fields[name]}\n" for name in names.split(";")]
    parts = urlsplit(request.url)
    payload = fields["x-amz-content-sha256"]
    canonical = "\n".join([request.method, parts.path, parts.query, "".join(lines), names, payload])
    scope = f"{date}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", fields["x-amz-date"], scope, digest])
    key = f"AWS4{secret}".encode()
    for step in (date, region, "s3", "aws4_request", text):
        key = hmac.digest(key, step.encode(), "sha256")
    return key.hex() == signature


def names_signed(request: Asked) -> list[str]:
    told = AUTHORIZATION.fullmatch(request.headers["Authorization"])
    assert told is not None
    return told[3].split(";")


@pytest.mark.parametrize("credentials", [FIRST, SECOND], ids=["key", "session"])
def test_ranges_of_one_object_share_a_signature_that_a_server_takes(credentials: ReadOnlyCredentials) -> None:
    kept = Signatures(lambda: credentials)
    one, other = signed(kept, ranged(0)), signed(kept, ranged(10))
    assert (one.headers["Range"], other.headers["Range"]) == ("bytes=0-9", "bytes=10-19")
    assert one.headers["Authorization"] == other.headers["Authorization"]
    assert is_valid(one, "first-secret")
    assert is_valid(other, "first-secret")
    assert not is_valid(other, "another-secret")
    assert other.headers.get("X-Amz-Security-Token") == credentials.token
    assert "range" not in names_signed(other)
    assert {"host", "if-match", "x-amz-content-sha256", "x-amz-date"} <= set(names_signed(other))


def test_a_range_that_names_no_version_of_its_object_is_signed_itself() -> None:
    request = signed(Signatures(lambda: FIRST), Asked({"Range": "bytes=0-9"}))
    assert "range" in names_signed(request)
    assert is_valid(request, "first-secret")


@pytest.mark.parametrize(
    "other",
    [
        lambda: ranged(10, etag="another"),
        lambda: ranged(10, url=f"{URL}?versionId=v2"),
        lambda: ranged(10, url="http://lake.example/others.parquet"),
        lambda: ranged(10, method="HEAD"),
        lambda: Asked({**ranged(10).headers, "x-amz-checksum-mode": "ENABLED"}),
    ],
    ids=["etag", "version", "key", "method", "header"],
)
def test_what_differs_in_more_than_its_range_has_a_signature_of_its_own(other: Callable[[], Asked]) -> None:
    kept = Signatures(lambda: FIRST)
    first, second = signed(kept, ranged(0)), signed(kept, other())
    assert first.headers["Authorization"] != second.headers["Authorization"]
    assert is_valid(second, "first-secret")


def test_credentials_that_were_refreshed_sign_anew() -> None:
    credentials = [FIRST]
    kept = Signatures(lambda: credentials[-1])
    signed(kept, ranged(0))
    credentials.append(SECOND)
    request = signed(kept, ranged(10))
    assert request.headers["X-Amz-Security-Token"] == "a-session"
    assert is_valid(request, "first-secret")


def test_a_signature_serves_for_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    made: list[object] = []
    monkeypatch.setattr(signatures.time, "monotonic", lambda: now[0])
    kept = Signatures(lambda: FIRST)
    monkeypatch.setattr("botocore.auth.S3SigV4Auth.add_auth", lambda _, request: made.append(request))
    for seconds in (0, 9.9, 10.1, 19):
        now[0] = 1000.0 + seconds
        kept.sign(ranged(0), "us-east-1")
    assert len(made) == 2


def test_signatures_of_many_objects_do_not_pile_up() -> None:
    kept = Signatures(lambda: FIRST)
    for number in range(1000):
        signed(kept, ranged(0, etag=str(number)))
    assert len(kept._signed) <= 64
    assert "secret" not in repr(kept)
