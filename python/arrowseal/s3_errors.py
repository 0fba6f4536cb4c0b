"""What the error codes of S3 mean, as exceptions that name the object and the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from arrowseal.exceptions import (
    ArrowSealError,
    BucketNotFoundError,
    CredentialsError,
    ExpiredCredentialsError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreAccessDeniedError,
    StoreError,
    StoreUnavailableError,
    TransferError,
    UploadNotFoundError,
)
from arrowseal.server_clock import S3_REFUSES_SECONDS, clock_skew, seconds_ahead

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal.location import ObjectLocation

# The client that sent the request is fine, the server busy. BadDigest: the bytes were damaged on their way.
_PASSING: Final = {
    "SlowDown",
    "RequestTimeout",
    "RequestTimeoutException",
    "PriorRequestNotComplete",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestLimitExceeded",
    "TooManyRequests",
    "TooManyRequestsException",
    "InternalError",
    "ServiceUnavailable",
    "OperationAborted",
    "ConditionalRequestConflict",
    "BadDigest",
    "IncompleteBody",
}
PASSING_STATUSES: Final = {408, 429}
"""Those below 500 that pass: too slow, and too often. Other servers than AWS's, and balancers before them, say so."""
_CHECKSUMS: Final = {"NotImplemented", "MissingContentMD5", "XAmzContentSHA256Mismatch", "MissingContentLength"}
_AND_LIST: Final = " (and s3:ListBucket to tell a missing object from a forbidden one)"
_ERRORS: Final[Mapping[str, tuple[type[ArrowSealError], str]]] = {
    "NoSuchKey": (ObjectNotFoundError, "no such object"),
    "NoSuchVersion": (ObjectNotFoundError, "no such version of the object"),
    "404": (ObjectNotFoundError, "no such object (or bucket)"),
    "405": (ObjectNotFoundError, "this version is a delete marker"),
    "MethodNotAllowed": (ObjectNotFoundError, "this version is a delete marker"),
    "NoSuchBucket": (BucketNotFoundError, "no such bucket"),
    "AccessDenied": (StoreAccessDeniedError, "access denied: the caller needs {action}{and_list}"),
    "403": (StoreAccessDeniedError, "access denied: the caller needs {action}{and_list}"),
    "InvalidAccessKeyId": (CredentialsError, "the access key is not known to this server"),
    "SignatureDoesNotMatch": (CredentialsError, "the secret access key does not fit"),
    "ExpiredToken": (ExpiredCredentialsError, "the credentials have expired: renew them"),
    "ExpiredTokenException": (ExpiredCredentialsError, "the credentials have expired: renew them"),
    "TokenRefreshRequired": (ExpiredCredentialsError, "the credentials have expired: renew them"),
    "RequestExpired": (ExpiredCredentialsError, "the credentials have expired: renew them"),
    "NoSuchUpload": (UploadNotFoundError, "the multipart upload is gone: it was completed, aborted or swept"),
    "InvalidToken": (CredentialsError, "the session token is not accepted: renew the credentials"),
    "PreconditionFailed": (PreconditionFailedError, "the object is not, or no longer, the one named"),
    "412": (PreconditionFailedError, "the object is not, or no longer, the one named"),
}  # fmt: skip


_NAME_ITS_KEY: Final = (
    "Where it is under an SSE-C key, name that: encryption=SSE_C(key) of a read, source_encryption= of a copy; "
    "--customer-key and --source-customer-key on the command line"
)
_ANOTHER_KEY: Final = ". Servers answer so too where the object is under another SSE-C key than the one that was given"
_OF_READS: Final = {"404", "405", "MethodNotAllowed"}
"""What they say, they say to reads. To a write or a deletion they come of what takes none, or is no S3 at all."""
_OF_MARKERS: Final = _OF_READS - {"404"}
"""Of these also to a listing, and all else that is not of one object."""


class RangeError(TransferError):
    """The range lies behind the end of the object."""


class UnexplainedError(StoreError):
    """A request is refused as a bad one, and no code says why."""


def store_error(
    code: str,
    status: int,
    message: str,
    location: ObjectLocation,
    action: str,
    *,
    date: str | None = None,
    keyed: bool = False,
) -> ArrowSealError:
    """The exception for an answer that refuses: its error code, HTTP status and message, and its `Date` header; `keyed`
    if an SSE-C key was sent.
    """
    ahead = seconds_ahead(date)
    # The answer to a HEAD has no body, and so no code.
    if code == "RequestTimeTooSkewed" or (code == "403" and abs(ahead) >= S3_REFUSES_SECONDS):
        return clock_skew(str(location), ahead)
    if status == 416:
        return RangeError(f"{location}: the object ends before the range that was asked for")
    elsewhere = code in _OF_MARKERS and not action.startswith("GetObject")
    if code in _ERRORS and not elsewhere and not (code in _OF_READS and action in ("PutObject", "DeleteObject")):
        kind, text = _ERRORS[code]
        and_list = "" if action.startswith(("ListBucket", "CreateSession")) else _AND_LIST
        permission = "s3express:CreateSession" if action == "CreateSession" else f"s3:{action}"
        hint = _ANOTHER_KEY if keyed and kind is StoreAccessDeniedError else ""
        return kind(f"{location}: {text.format(action=permission, and_list=and_list)}{hint}")
    if code == "400":
        return UnexplainedError(f"{location}: {action} failed (400): {message}")
    if status == 400 and not keyed and action == "GetObject" and "server side encryption" in message.lower():
        return StoreError(f"{location}: {action} failed ({code}): {message.rstrip('.')}. {_NAME_ITS_KEY}")
    if code in _CHECKSUMS:
        return StoreError(
            f"{location}: {action} failed ({code}): {message}. If this server knows no checksums, set "
            'request_checksum_calculation="when_required" in the boto3 configuration (or '
            "AWS_REQUEST_CHECKSUM_CALCULATION=when_required)"
        )
    if status >= 500 or status in PASSING_STATUSES or code in _PASSING:
        return StoreUnavailableError(f"{location}: {action} failed ({code or status}): S3 throttles or is down")
    return StoreError(f"{location}: {action} failed ({code or status or 'unknown error'}): {message}")
