"""The store over boto3 with a short way for reads and listings: a tenth of the code that a call of boto3 runs through.

A call of boto3 for a small object costs some 2 ms of CPU, most of it in validating, resolving and parsing anew what was
the same in the call before. Here botocore's signer signs, and the HTTP session of the boto3 client sends (its pool,
proxies, certificates and timeouts); where to is learnt from boto3's own first request for the bucket. Whatever does not
fit goes through boto3 itself: other arguments, other ways to sign, and answers that redirect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from arrowseal.location import ObjectLocation
from arrowseal.store_boto3 import Boto3Store
from arrowseal.store_lean_listing import page_of, page_url

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping

    from mypy_boto3_s3 import S3Client

    from arrowseal.counters import Operation
    from arrowseal.learnt_endpoints import BucketEndpoint, LearntEndpoints
    from arrowseal.store import ListedObject
    from arrowseal.store_boto3 import ReadAction, Renew

_HEADERS: Final = {"Range": "Range", "IfMatch": "If-Match", "ChecksumMode": "x-amz-checksum-mode"}
_CARRIED: Final = _HEADERS.keys() | {"VersionId"}
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

    def answer(
        self, action: ReadAction, location: ObjectLocation, operation: Operation, arguments: Mapping[str, Any]
    ) -> Any:
        endpoints = self._endpoints()
        endpoint = endpoints.of(location.bucket) if arguments.keys() <= _CARRIED else None
        if endpoint is not None:
            with self.request(location, operation, "GetObject", arguments) as s3:
                answer = _ask(s3, endpoint, endpoints.frozen_credentials(), action, location, arguments)
            if answer is not None:
                return answer
            endpoints.forget(location.bucket)
        with endpoints.learning(location):
            return super().answer(action, location, operation, arguments)

    def list_page(
        self, bucket: str, prefix: str, operation: Operation, *, delimiter: str | None, token: str | None
    ) -> tuple[list[ListedObject], str | None]:
        endpoints = self._endpoints()
        endpoint = endpoints.of(bucket)
        if endpoint is not None:
            url = page_url(endpoint, prefix, delimiter=delimiter, token=token)
            with self.request(ObjectLocation(bucket, prefix), operation, "ListBucket", {}) as s3:
                response = _response(s3, endpoint, endpoints.frozen_credentials(), "ListObjectsV2", url, {})
                page = None if response is None else page_of(bucket, response.content)
            if page is not None:
                return page
            endpoints.forget(bucket)
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
    body: None = None
    stream_output: bool = True


class _UnsignedPayload:
    """The one setting that the signer looks up: there is no payload."""

    s3: Final = {"payload_signing_enabled": False}


def _ask(
    s3: S3Client,
    endpoint: BucketEndpoint,
    credentials: Any,
    action: ReadAction,
    location: ObjectLocation,
    arguments: Mapping[str, Any],
) -> dict[str, Any] | None:
    """The answer in botocore's words; None if it is another server's to give. Raises `ClientError` for a refusal."""
    headers = {_HEADERS[name]: value for name, value in arguments.items() if name in _HEADERS}
    url = endpoint.url(location, arguments.get("VersionId"))
    response = _response(s3, endpoint, credentials, action, url, headers)
    if response is None:
        return None
    if action == "HeadObject":
        response.content  # noqa: B018 - there is none, and reading it gives the connection back
    return _in_botocores_words(response)


def _response(
    s3: S3Client, endpoint: BucketEndpoint, credentials: Any, action: str, url: str, headers: dict[str, str]
) -> Any:
    """What the server answers to a signed request; None if it is another one's to answer. Raises `ClientError` for a
    refusal.
    """
    from botocore.auth import S3SigV4Auth
    from botocore.exceptions import ClientError
    from botocore.parsers import RestXMLParser

    headers["User-Agent"] = endpoint.user_agent
    request: Any = _Request("HEAD" if action == "HeadObject" else "GET", url, headers)
    S3SigV4Auth(credentials, "s3", endpoint.region).add_auth(request)
    response = s3._endpoint.http_session.send(request)  # type: ignore[attr-defined]  # noqa: SLF001 - boto3's own pool
    if response.status_code < 300:
        return response
    body = response.content
    refusal = {"status_code": response.status_code, "headers": response.headers, "body": body}
    no_shape: Any = None
    parsed: Any = RestXMLParser().parse(refusal, no_shape)
    code = parsed["Error"].get("Code", "")
    if code in _ELSEWHERE or (code in _MAYBE_ELSEWHERE and (action == "HeadObject" or not body)):
        return None
    raise ClientError(parsed, action)


def _in_botocores_words(response: Any) -> dict[str, Any]:
    headers = response.raw.headers  # those of urllib3: to look into botocore's takes several times as long
    fields: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for name in headers:
        lower = name.lower()
        if lower.startswith(_METADATA):
            metadata[name[len(_METADATA) :]] = headers[name]
        else:
            fields[lower] = headers[name]
    answer: dict[str, Any] = {name: fields[header] for name, header in _ANSWERED.items() if header in fields}
    answer |= {"Metadata": metadata, "Body": response.raw, "LastModified": _date(fields.get("last-modified"))}
    if "content-length" in fields:
        answer["ContentLength"] = int(fields["content-length"])
    return answer


def _date(text: str | None) -> dt.datetime | None:
    try:
        return parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
