"""Where boto3 sends the requests for a bucket, and how it signs them: learnt from its own, not worked out anew.

Addressing styles, Regions, access points, FIPS, dual stack, custom endpoints and redirects are botocore's business, and
all of it shows in a request that it is about to send. What is signed in any other way than by SigV4 headers for the
service `s3` (anonymous requests, S3 Express, SigV4A, Outposts), or carries headers that are not known here, is not
learnt, and stays with boto3.
"""

from __future__ import annotations

import contextlib
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from arrowseal.idle_connections import IdleConnections
from arrowseal.signatures import Signatures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client

    from arrowseal.location import ObjectLocation

_SIGNED: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([a-z0-9-]+)/s3/aws4_request, .*")
_KNOWN_HEADERS: Final = {
    "amz-sdk-invocation-id",
    "amz-sdk-request",
    "authorization",
    "content-length",
    "content-type",
    "expect",
    "if-match",
    "if-none-match",
    "range",
    "user-agent",
    "x-amz-checksum-crc32",
    "x-amz-checksum-mode",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-security-token",
}
_NOBODY: Final = ("botocore.", "boto3.")


@dataclass(frozen=True, slots=True)
class BucketEndpoint:
    """Where the objects of a bucket are asked for."""

    base: str
    """The URL up to the key, without the slash before it."""
    region: str
    """The Region that signatures are for."""
    user_agent: str

    def url(self, location: ObjectLocation, version_id: str | None) -> str:
        """The URL of an object, quoted as botocore does."""
        query = f"?versionId={quote(version_id, safe='-._~')}" if version_id else ""
        return f"{self.base}/{_quoted(location.key)}{query}"


class LearntEndpoints:
    """What one boto3 client showed of the buckets that were asked for. Safe to share between threads.

    `credentials` gives those of the client's session. Where event handlers that are not botocore's own listen to the
    client, nothing is learnt: they are to see every request.
    """

    def __init__(self, s3: S3Client, credentials: Callable[[], Any]) -> None:
        self.s3 = s3
        self.idle: Final = IdleConnections(s3)
        self.signatures: Final = Signatures(self.frozen_credentials)
        self._credentials = credentials
        self._endpoints: dict[str, BucketEndpoint | None] = {}
        self._local = threading.local()
        self.learns = not _has_foreign_hooks(s3)
        if self.learns:
            for action in ("GetObject", "HeadObject", "ListObjectsV2", "PutObject"):
                # Last of all: what anybody else did to the request is in it, and who answers in S3's place is before.
                s3.meta.events.register_last(f"before-send.s3.{action}", self._sent)

    def of(self, bucket: str) -> BucketEndpoint | None:
        """The endpoint of a bucket, if one was learnt."""
        return self._endpoints.get(bucket)

    def forget(self, bucket: str) -> None:
        """The server says that it is another one: learn it anew."""
        self._endpoints.pop(bucket, None)

    def frozen_credentials(self) -> Any:
        """The credentials of this moment, refreshed by botocore where they are of that kind."""
        return self._credentials().get_frozen_credentials()

    @contextlib.contextmanager
    def learning(self, location: ObjectLocation) -> Iterator[None]:
        """A call of boto3 for that object, or without a key for the bucket, whose last request, when the call succeeds,
        shows the endpoint.
        """
        if not self.learns or location.bucket in self._endpoints:
            yield
            return
        sent: list[tuple[str, dict[str, Any]]] = []
        self._local.sent = sent
        try:
            yield
        finally:
            self._local.sent = None
        if sent:
            with contextlib.suppress(Exception):  # a refresh of credentials that fails after the call did not
                self._endpoints[location.bucket] = self._endpoint(location, *sent[-1])

    def _sent(self, request: Any, **_: Any) -> None:
        sent = getattr(self._local, "sent", None)
        if sent is not None:
            sent.append((request.url, dict(request.headers)))

    def _endpoint(self, location: ObjectLocation, url: str, headers: dict[str, Any]) -> BucketEndpoint | None:
        fields = {name.lower(): _text(value) for name, value in headers.items()}
        signed = _SIGNED.fullmatch(fields.get("authorization", ""))
        path, suffix = url.partition("?")[0], "/" + _quoted(location.key)
        if not location.key:
            path = path.rstrip("/") + suffix
        unknown = {name for name in fields.keys() - _KNOWN_HEADERS if not name.startswith("x-amz-meta-")}
        if signed is None or unknown or not path.endswith(suffix):
            return None
        credentials = self.frozen_credentials()
        if signed[1] != credentials.access_key:
            return None
        return BucketEndpoint(path.removesuffix(suffix), signed[2], fields.get("user-agent", ""))


def _quoted(key: str) -> str:
    return quote(key, safe="/~")


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _has_foreign_hooks(s3: S3Client) -> bool:
    """Whether anybody but botocore and boto3 listens to the events of a client, or it cannot be told."""
    try:
        nodes = [s3.meta.events._emitter._handlers._root]  # type: ignore[attr-defined]  # noqa: SLF001 - no other way
        while nodes:
            node = nodes.pop()
            nodes += node["children"].values()
            handlers = node["values"]
            for handler in (*handlers.first, *handlers.middle, *handlers.last) if handlers else ():
                if not str(getattr(handler, "__module__", "")).startswith(_NOBODY):
                    return True
    except (AttributeError, KeyError, TypeError):
        return True
    return False
