"""The store over boto3 with a short way for reads, listings and small writes: a tenth of the code of a call of boto3.

A call of boto3 for a small object costs some 2 ms of CPU, most of it in validating, resolving and parsing anew what was
the same in the call before. Here botocore's signer signs, and the request goes over an idle connection of the boto3
client, or where there is none through its HTTP session (pool, proxies, certificates and timeouts); where to is learnt
from boto3's own first request for the bucket. Whatever does not fit goes through boto3 itself: other arguments, other
ways to sign, and answers that redirect.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from arrowseal.boto3_bodies import PayloadBody
from arrowseal.idle_connections import Answer
from arrowseal.location import ObjectLocation
from arrowseal.store import StoredRange
from arrowseal.store_boto3 import Boto3Store
from arrowseal.store_boto3_uploads import sends_checksums, written
from arrowseal.store_lean_listing import page_of, page_url

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping

    from mypy_boto3_s3 import S3Client

    from arrowseal.counters import Operation
    from arrowseal.learnt_endpoints import BucketEndpoint, LearntEndpoints
    from arrowseal.store import ListedObject, Payload, WrittenObject
    from arrowseal.store_boto3 import ReadAction, Renew

_HEADERS: Final = {"Range": "Range", "IfMatch": "If-Match", "ChecksumMode": "x-amz-checksum-mode"}
_CARRIED: Final = _HEADERS.keys() | {"VersionId"}
_WRITE_HEADERS: Final = {"IfMatch": "If-Match", "IfNoneMatch": "If-None-Match", "ContentType": "Content-Type"}
_SHORT_WRITE: Final = 2**20  # a longer body asks the server first whether it is welcome
_PRINTABLE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_METADATA_NAME: Final = re.compile(r"[a-z0-9._-]+")
_ANSWERED: Final = {
    "ContentRange": "content-range",
    "ETag": "etag",
    "VersionId": "x-amz-version-id",
    "ContentType": "content-type",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSECustomerAlgorithm": "x-amz-server-side-encryption-customer-algorithm",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "BucketKeyEnabled": "x-amz-server-side-encryption-bucket-key-enabled",
    "ChecksumCRC32": "x-amz-checksum-crc32",
    "ChecksumType": "x-amz-checksum-type",
}
_METADATA: Final = "x-amz-meta-"
# botocore follows these to another Region or host.
_ELSEWHERE: Final = {"301", "307", "308", "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed"}
_MAYBE_ELSEWHERE: Final = {"400", "IllegalLocationConstraintException"}


class LeanStore(Boto3Store):
    """`Boto3Store` over a client that nobody but this library uses; see the module. Safe to share between threads."""

    def __init__(self, endpoints: Callable[[], LearntEndpoints], renew: Renew = lambda *_: None) -> None:
        super().__init__(lambda: endpoints().s3, renew)
        self._endpoints = endpoints
        self._reads_listings = True

    def answer(
        self, action: ReadAction, location: ObjectLocation, operation: Operation, arguments: Mapping[str, Any]
    ) -> Any:
        endpoints = self._endpoints()
        endpoint = endpoints.of(location.bucket) if arguments.keys() <= _CARRIED else None
        if endpoint is not None:
            with self.request(location, operation, "GetObject", arguments) as s3:
                answer = _ask(s3, endpoint, endpoints, action, location, arguments)
            if answer is not None:
                return answer
            endpoints.forget(location.bucket)
        with endpoints.learning(location):
            return super().answer(action, location, operation, arguments)

    def put(
        self,
        location: ObjectLocation,
        operation: Operation,
        payload: Payload | StoredRange,
        *,
        metadata: Mapping[str, str],
        arguments: Mapping[str, Any],
    ) -> WrittenObject:
        if isinstance(payload, StoredRange) or not _is_short_write(payload, metadata, arguments):
            return super().put(location, operation, payload, metadata=metadata, arguments=arguments)
        endpoints = self._endpoints()
        endpoint = endpoints.of(location.bucket)
        if endpoint is not None:
            with self.request(location, operation, "PutObject", arguments) as s3:
                request = _write(s3, endpoint, location, payload, metadata, arguments)
                response = _response(s3, endpoint, endpoints, "PutObject", request)
                if response is not None:
                    _content(response, request)  # there is none, and reading it gives the connection back
                    return written(_in_botocores_words(response), location)
            endpoints.forget(location.bucket)
        with endpoints.learning(location):
            return super().put(location, operation, payload, metadata=metadata, arguments=arguments)

    def list_page(
        self, bucket: str, prefix: str, operation: Operation, *, delimiter: str | None, token: str | None
    ) -> tuple[list[ListedObject], str | None]:
        endpoints = self._endpoints()
        endpoint = endpoints.of(bucket) if self._reads_listings else None
        if endpoint is not None:
            url = page_url(endpoint, prefix, delimiter=delimiter, token=token)
            with self.request(ObjectLocation(bucket, prefix), operation, "ListBucket", {}) as s3:
                request = _Request("GET", url, {})
                response = _response(s3, endpoint, endpoints, "ListObjectsV2", request)
                page = None if response is None else page_of(bucket, _content(response, request))
            if page is not None:
                return page
            if response is None:
                endpoints.forget(bucket)
            else:
                self._reads_listings = False  # a server with words of its own, which are not to be asked for twice
        with endpoints.learning(ObjectLocation(bucket, "")):
            return super().list_page(bucket, prefix, operation, delimiter=delimiter, token=token)


@dataclass(slots=True)
class _Request:
    """A request as botocore's signer and its HTTP session look at it."""

    method: str
    url: str
    headers: dict[str, str]
    context: dict[str, Any] = field(default_factory=lambda: {"client_config": _UnsignedPayload})
    params: None = None
    body: PayloadBody | None = None
    stream_output: bool = True


class _UnsignedPayload:
    """The one setting that the signer looks up for a read: there is no payload."""

    s3: Final = {"payload_signing_enabled": False}


def _ask(
    s3: S3Client,
    endpoint: BucketEndpoint,
    endpoints: LearntEndpoints,
    action: ReadAction,
    location: ObjectLocation,
    arguments: Mapping[str, Any],
) -> dict[str, Any] | None:
    """The answer in botocore's words; None if it is another server's to give. Raises `ClientError` for a refusal."""
    headers = {_HEADERS[name]: value for name, value in arguments.items() if name in _HEADERS}
    url = endpoint.url(location, arguments.get("VersionId"))
    request = _Request("HEAD" if action == "HeadObject" else "GET", url, headers)
    response = _response(s3, endpoint, endpoints, action, request)
    if response is None:
        return None
    if action == "HeadObject":
        _content(response, request)  # there is none, and reading it gives the connection back
    return _in_botocores_words(response)


def _is_short_write(payload: Payload, metadata: Mapping[str, str], arguments: Mapping[str, Any]) -> bool:
    """Whether it is a write whose headers are sure to be what botocore would make of them."""
    values = [*metadata.values(), *arguments.values()]
    return (
        len(payload) <= _SHORT_WRITE
        and arguments.keys() <= _WRITE_HEADERS.keys()
        and all(map(_METADATA_NAME.fullmatch, metadata))
        and all(isinstance(value, str) and _PRINTABLE.fullmatch(value) for value in values)
    )


def _write(
    s3: S3Client,
    endpoint: BucketEndpoint,
    location: ObjectLocation,
    payload: Payload,
    metadata: Mapping[str, str],
    arguments: Mapping[str, Any],
) -> _Request:
    headers = {_METADATA + name: value for name, value in metadata.items()}
    headers |= {_WRITE_HEADERS[name]: value for name, value in arguments.items()}
    headers["Content-Length"] = str(len(payload))
    if sends_checksums(s3):
        headers |= {"x-amz-sdk-checksum-algorithm": "CRC32", "x-amz-checksum-crc32": payload.crc32}
    # By its settings the signer decides whether to sign the body too.
    context = {"client_config": s3.meta.config}
    return _Request("PUT", endpoint.url(location, None), headers, context, body=PayloadBody(payload.view))


def _response(
    s3: S3Client, endpoint: BucketEndpoint, endpoints: LearntEndpoints, action: str, request: _Request
) -> Answer | Any:
    """What the server answers to a signed request, ours or one of botocore; None if it is another server's to answer.
    Raises `ClientError` for a refusal.
    """
    request.headers["User-Agent"] = endpoint.user_agent
    endpoints.signatures.sign(request, endpoint.region)
    response: Any = endpoints.idle.send(request, endpoint.base)
    if response is None:
        response = s3._endpoint.http_session.send(request)  # type: ignore[attr-defined]  # noqa: SLF001 - boto3's own pool
    if response.status_code < 300:
        return response
    _refused(response, action, request)
    return None


def _content(response: Answer | Any, request: _Request) -> bytes:
    content: bytes = response.content(request.url) if isinstance(response, Answer) else response.content
    return content


def _refused(response: Answer | Any, action: str, request: _Request) -> None:
    """Raise what botocore does for a refusal; return if it is another server's to answer."""
    from botocore.awsrequest import HeadersDict
    from botocore.exceptions import ClientError
    from botocore.parsers import RestXMLParser

    body = _content(response, request)
    headers = HeadersDict(response.fields) if isinstance(response, Answer) else response.headers
    no_shape: Any = None
    refusal = {"status_code": response.status_code, "headers": headers, "body": body}
    parsed: Any = RestXMLParser().parse(refusal, no_shape)
    code = parsed["Error"].get("Code", "")
    if code in _ELSEWHERE or (code in _MAYBE_ELSEWHERE and (action == "HeadObject" or not body)):
        return
    raise ClientError(parsed, action)


def _in_botocores_words(response: Answer | Any) -> dict[str, Any]:
    found: dict[str, str] = {}
    metadata: dict[str, str] = {}
    body = response if isinstance(response, Answer) else response.raw
    # Of botocore's answers those of urllib3: to look into its own takes several times as long.
    for name, value in body.fields if isinstance(body, Answer) else body.headers.items():
        lower = name.lower()
        names, known = (metadata, name[len(_METADATA) :]) if lower.startswith(_METADATA) else (found, lower)
        names[known] = f"{names[known]}, {value}" if known in names else value
    answer: dict[str, Any] = {name: found[header] for name, header in _ANSWERED.items() if header in found}
    answer |= {"Metadata": metadata, "Body": body, "LastModified": _date(found.get("last-modified"))}
    answer["ResponseMetadata"] = {"HTTPStatusCode": response.status_code}
    length, *others = {value.strip() for value in found.get("content-length", "").split(",")}
    if not others and length.isascii() and length.isdigit():  # said once, or the same again (RFC 9110, 8.6)
        answer["ContentLength"] = int(length)
    return answer


@functools.lru_cache(64)  # the ranges of an object all say the same
def _date(text: str | None) -> dt.datetime | None:
    try:
        return parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
