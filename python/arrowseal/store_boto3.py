"""The store over boto3: its credentials, endpoints, retries and checksums are the ones its users know."""

from __future__ import annotations

import contextlib
import io
import re
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final

from arrowseal.credentials import credentials_error
from arrowseal.exceptions import (
    ArrowSealError,
    BucketNotFoundError,
    ConfigurationError,
    CredentialsError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreAccessDeniedError,
    StoreError,
    StoreUnavailableError,
    TransferError,
)
from arrowseal.location import ObjectLocation
from arrowseal.store import Body, ListedObject, StoredObject
from arrowseal.wirelog import withheld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mypy_boto3_s3 import S3Client
    from typing_extensions import Buffer

    from arrowseal.counters import Operation

_COPY_LIMIT: Final = 5 * 2**30  # the largest object that one CopyObject copies
_COPY_PART: Final = 2**30
_CONTENT_RANGE: Final = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")
_SSE_LABELS: Final = {"AES256": "SSE-S3", "aws:kms": "SSE-KMS", "aws:kms:dsse": "SSE-KMS"}
_PASSING: Final = {"SlowDown", "RequestTimeout", "RequestTimeTooSkewed", "Throttling", "ThrottlingException"}
_ERRORS: Final[Mapping[str, tuple[type[ArrowSealError], str]]] = {
    "NoSuchKey": (ObjectNotFoundError, "no such object"),
    "NoSuchVersion": (ObjectNotFoundError, "no such version of the object"),
    "404": (ObjectNotFoundError, "no such object (or bucket)"),
    "405": (ObjectNotFoundError, "this version is a delete marker"),
    "MethodNotAllowed": (ObjectNotFoundError, "this version is a delete marker"),
    "NoSuchBucket": (BucketNotFoundError, "no such bucket"),
    "AccessDenied": (StoreAccessDeniedError, "access denied: the caller needs s3:{action} (and s3:ListBucket to tell "
                     "a missing object from a forbidden one)"),
    "403": (StoreAccessDeniedError, "access denied: the caller needs s3:{action} (and s3:ListBucket to tell a missing "
            "object from a forbidden one)"),
    "InvalidAccessKeyId": (CredentialsError, "the access key is not known to this server"),
    "SignatureDoesNotMatch": (CredentialsError, "the secret access key does not fit"),
    "ExpiredToken": (CredentialsError, "the credentials have expired: renew them"),
    "InvalidToken": (CredentialsError, "the session token is not accepted: renew the credentials"),
    "PreconditionFailed": (PreconditionFailedError, "the object is not, or no longer, the one named"),
    "412": (PreconditionFailedError, "the object is not, or no longer, the one named"),
}  # fmt: skip


class Boto3Store:
    """`Store` over a boto3 S3 client, made by `s3` when the first request is due. Safe to share between threads."""

    def __init__(self, s3: Callable[[], S3Client]) -> None:
        self._s3 = s3

    def get(
        self,
        location: ObjectLocation,
        operation: Operation,
        *,
        byte_range: tuple[int, int],
        arguments: Mapping[str, Any],
    ) -> tuple[StoredObject, Body]:
        start, end = byte_range
        try:
            answer = self._get(location, operation, {"Range": f"bytes={start}-{end - 1}"} | dict(arguments))
        except _RangeError:
            if start > 0:
                raise
            # No range of an empty object can be satisfied.
            answer = self._get(location, operation, arguments)
        return _stored_object(location, answer), _Boto3Body(location, answer["Body"])

    def _get(self, location: ObjectLocation, operation: Operation, arguments: Mapping[str, Any]) -> Any:
        with self._request(location, operation, "GetObject", arguments) as s3:
            return s3.get_object(Bucket=location.bucket, Key=location.key, **arguments)

    def head(self, location: ObjectLocation, operation: Operation, *, arguments: Mapping[str, Any]) -> StoredObject:
        with self._request(location, operation, "GetObject", arguments) as s3:
            answer = s3.head_object(Bucket=location.bucket, Key=location.key, **arguments)
        return _stored_object(location, answer)

    def check_put(self, location: ObjectLocation, *, metadata: Mapping[str, str], arguments: Mapping[str, Any]) -> None:
        from botocore.validate import ParamValidator

        shape: Any = self._s3().meta.service_model.operation_model("PutObject").input_shape
        named = {"Bucket": location.bucket, "Key": location.key, "Metadata": dict(metadata)}
        report = ParamValidator().validate(named | dict(arguments), shape)
        if report.has_errors():
            raise ConfigurationError(f"{location}: S3 does not take these arguments: {report.generate_report()}")

    def put(
        self,
        location: ObjectLocation,
        operation: Operation,
        content: Buffer,
        *,
        metadata: Mapping[str, str],
        arguments: Mapping[str, Any],
    ) -> tuple[str, str | None]:
        body: Any = _Upload(memoryview(content))
        with self._request(location, operation, "PutObject", arguments) as s3:
            answer: Any = s3.put_object(
                Bucket=location.bucket,
                Key=location.key,
                Body=body,
                Metadata=dict(metadata),
                **arguments,
            )
        return answer["ETag"].strip('"'), answer.get("VersionId")

    def copy(self, source: ObjectLocation, target: ObjectLocation, operation: Operation) -> None:
        stored = self.head(source, operation, arguments={})
        origin: Any = {"Bucket": source.bucket, "Key": source.key}
        if stored.stored_bytes > _COPY_LIMIT:
            self._copy_in_parts(stored, origin, target, operation)
            return
        with self._request(target, operation, "PutObject", {}) as s3:
            s3.copy_object(
                Bucket=target.bucket,
                Key=target.key,
                CopySource=origin,
                CopySourceIfMatch=stored.etag,
                MetadataDirective="COPY",
            )

    def _copy_in_parts(self, stored: StoredObject, origin: Any, target: ObjectLocation, operation: Operation) -> None:
        """As CopyObject, for what is too large for it: UploadPartCopy keeps no metadata, so it is given again."""
        named: Any = {"Bucket": target.bucket, "Key": target.key}
        given: Any = {"ContentType": stored.content_type} if stored.content_type else {}
        with self._request(target, operation, "PutObject", {}) as s3:
            upload_id = s3.create_multipart_upload(**named, Metadata=dict(stored.metadata), **given)["UploadId"]
        try:
            parts: Any = []
            for number, start in enumerate(range(0, stored.stored_bytes, _COPY_PART), 1):
                end = min(start + _COPY_PART, stored.stored_bytes) - 1
                with self._request(target, operation, "PutObject", {}) as s3:
                    part: Any = s3.upload_part_copy(
                        **named,
                        UploadId=upload_id,
                        PartNumber=number,
                        CopySource=origin,
                        CopySourceRange=f"bytes={start}-{end}",
                        CopySourceIfMatch=stored.etag,
                    )
                parts.append({"PartNumber": number, "ETag": part["CopyPartResult"]["ETag"]})
            with self._request(target, operation, "PutObject", {}) as s3:
                s3.complete_multipart_upload(**named, UploadId=upload_id, MultipartUpload={"Parts": parts})
        except BaseException:
            with self._request(target, operation, "AbortMultipartUpload", {}) as s3:
                s3.abort_multipart_upload(**named, UploadId=upload_id)
            raise

    def delete(self, location: ObjectLocation, operation: Operation, *, arguments: Mapping[str, Any]) -> None:
        with self._request(location, operation, "DeleteObject", arguments) as s3:
            s3.delete_object(Bucket=location.bucket, Key=location.key, **arguments)

    def list(
        self, bucket: str, prefix: str, operation: Operation, *, delimiter: str | None = None
    ) -> Iterator[ListedObject]:
        arguments: Any = {"Bucket": bucket, "Prefix": prefix} | ({"Delimiter": delimiter} if delimiter else {})
        while True:
            with self._request(ObjectLocation(bucket, prefix), operation, "ListBucket", {}) as s3:
                page: Any = s3.list_objects_v2(**arguments)
            for row in page.get("CommonPrefixes", ()):
                yield ListedObject(ObjectLocation(bucket, row["Prefix"]), is_prefix=True)
            for row in page.get("Contents", ()):
                yield ListedObject(
                    ObjectLocation(bucket, row["Key"]), row["Size"], row["LastModified"], row["ETag"].strip('"')
                )
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    @contextlib.contextmanager
    def _request(
        self, location: ObjectLocation, operation: Operation, action: str, arguments: Mapping[str, Any]
    ) -> Iterator[S3Client]:
        """One request: counted, timed, its errors translated, its wire log withheld where it carries a key."""
        from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError, UnsupportedS3ArnError

        quiet = withheld(f"{location}: {action} with a customer key") if "SSECustomerKey" in arguments else None
        operation.requests += 1
        try:
            with quiet or contextlib.nullcontext(), operation.timed("s3"):
                yield self._s3()
        except ClientError as error:
            raise _translate(error, location, action) from None
        except (ParamValidationError, UnsupportedS3ArnError) as error:
            raise ConfigurationError(f"{location}: S3 does not take this: {error}") from None
        except BotoCoreError as error:
            raise credentials_error(error, str(location)) or StoreUnavailableError(
                f"{location}: {action} failed ({type(error).__name__}): {error}"
            ) from None


def _stored_object(location: ObjectLocation, answer: Any) -> StoredObject:
    """The headers of a GET or HEAD. Raises `TransferError` if no length is announced."""
    content_range = _CONTENT_RANGE.fullmatch(answer.get("ContentRange") or "")
    stored_bytes = int(content_range[1]) if content_range else answer.get("ContentLength")
    if stored_bytes is None:
        raise TransferError(f"{location}: the server announced no length")
    label = "SSE-C" if answer.get("SSECustomerAlgorithm") else _SSE_LABELS.get(answer.get("ServerSideEncryption", ""))
    return StoredObject(
        location=location,
        metadata=answer.get("Metadata", {}),
        stored_bytes=stored_bytes,
        etag=answer.get("ETag", "").strip('"'),
        version_id=answer.get("VersionId"),
        last_modified=answer.get("LastModified"),
        content_type=answer.get("ContentType"),
        server_side=label,
        server_side_key=answer.get("SSEKMSKeyId"),
        ranged=content_range is not None,
    )


class _Boto3Body:
    """A botocore body, received into memory that the caller owns.

    Where the connection's own `readinto` can be reached, bytes go from the socket into that memory without passing
    through `bytes` of urllib3 and the checksum of botocore: ranges carry no checksum, and content has its tag.
    """

    def __init__(self, location: ObjectLocation, body: Any) -> None:
        self._location = location
        self._body = body
        self._raw: Any = getattr(body, "_raw_stream", None)
        self._direct: Any = getattr(self._raw, "_fp", None)
        if not (hasattr(self._direct, "readinto") and hasattr(self._raw, "release_conn")):
            self._direct = None
        self._readinto = (self._direct or body).readinto

    def readinto(self, target: memoryview, /) -> int:
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        try:
            return int(self._readinto(target))
        except (BotoCoreError, HTTPError, HTTPException, OSError, ValueError) as error:
            raise TransferError(f"{self._location}: the body broke off ({type(error).__name__})") from None

    def close(self) -> None:
        if self._direct is not None and self._direct.isclosed():
            self._raw.release_conn()  # read to its end: the connection serves the next request
        else:
            self._body.close()


class _Upload(io.RawIOBase):
    """Memory as the body of a request: read in slices without a copy, sent again from the start on a retry.

    A class of its own so that no log prints it: botocore's debug log shows `bytes` bodies whole.
    """

    def __init__(self, view: memoryview) -> None:
        self._view = view.cast("B") if view.nbytes else memoryview(b"")
        self._position = 0

    def __len__(self) -> int:
        return len(self._view)

    def read(self, size: int | None = -1, /) -> Any:
        end = len(self._view) if size is None or size < 0 else self._position + size
        piece = self._view[self._position : end]
        self._position += len(piece)
        return piece

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._view)}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


class _RangeError(TransferError):
    """The range lies behind the end of the object."""


def _translate(error: Any, location: ObjectLocation, action: str) -> ArrowSealError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status == 416:
        return _RangeError(f"{location}: the object ends before the range that was asked for")
    if status >= 500 or code in _PASSING:
        return StoreUnavailableError(f"{location}: {action} failed ({code or status}): S3 throttles or is down")
    if code in _ERRORS:
        kind, text = _ERRORS[code]
        return kind(f"{location}: {text.format(action=action)}")
    message = error.response.get("Error", {}).get("Message", "")
    return StoreError(f"{location}: {action} failed ({code or 'unknown error'}): {message}")
