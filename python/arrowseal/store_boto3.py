"""The store over boto3: its credentials, endpoints, retries and checksums are the ones its users know."""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from arrowseal.boto3_bodies import Boto3Body
from arrowseal.credentials import credentials_error
from arrowseal.exceptions import (
    ArrowSealError,
    ConfigurationError,
    CredentialsError,
    StoreUnansweredError,
    TransferError,
)
from arrowseal.location import ObjectLocation
from arrowseal.s3_errors import RangeError, store_error
from arrowseal.store import NOTHING, Body, ListedObject, StoredObject, WrittenObject
from arrowseal.store_boto3_uploads import Boto3Uploads, answered, as_source, payload_arguments, written
from arrowseal.wirelog import withheld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mypy_boto3_s3 import S3Client

    from arrowseal.counters import Operation
    from arrowseal.store import Payload

ReadAction = Literal["GetObject", "HeadObject"]
Renew: TypeAlias = "Callable[[CredentialsError, float], None]"

_COPY_LIMIT: Final = 5 * 2**30  # the largest object that one CopyObject copies
_CONTENT_RANGE: Final = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")
_SSE_LABELS: Final = {"AES256": "SSE-S3", "aws:kms": "SSE-KMS", "aws:kms:dsse": "SSE-KMS"}


class Boto3Store(Boto3Uploads):
    """`Store` over a boto3 S3 client, made by `s3` when the first request is due. Safe to share between threads.

    `renew` is called when S3 does not accept credentials or clock, before the request is tried again: with the error,
    and when the request was begun.
    """

    def __init__(self, s3: Callable[[], S3Client], renew: Renew = lambda *_: None) -> None:
        self._s3 = s3
        self._renew = renew

    def get(
        self,
        location: ObjectLocation,
        operation: Operation,
        *,
        byte_range: tuple[int, int],
        arguments: Mapping[str, Any],
    ) -> tuple[StoredObject, Body]:
        start, end = byte_range
        asked = {"Range": f"bytes={start}-{end - 1}" if start >= 0 else f"bytes={start}"}
        try:
            answer = self.answer("GetObject", location, operation, asked | dict(arguments))
        except RangeError:
            if start > 0:
                raise
            # No range of an empty object can be satisfied.
            answer = self.answer("GetObject", location, operation, arguments)
        return _stored_object(location, answer), Boto3Body(location, answer["Body"])

    def head(self, location: ObjectLocation, operation: Operation, *, arguments: Mapping[str, Any]) -> StoredObject:
        return _stored_object(location, self.answer("HeadObject", location, operation, arguments))

    def answer(
        self, action: ReadAction, location: ObjectLocation, operation: Operation, arguments: Mapping[str, Any]
    ) -> Any:
        """The answer of boto3 to one request that reads, as a dict."""
        named: Any = {"Bucket": location.bucket, "Key": location.key, **arguments}
        with self.request(location, operation, "GetObject", arguments) as s3:
            return s3.get_object(**named) if action == "GetObject" else s3.head_object(**named)

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
        payload: Payload,
        *,
        metadata: Mapping[str, str],
        arguments: Mapping[str, Any],
    ) -> WrittenObject:
        with self.request(location, operation, "PutObject", arguments) as s3:
            answer: Any = s3.put_object(
                Bucket=location.bucket,
                Key=location.key,
                Metadata=dict(metadata),
                **payload_arguments(s3, payload),
                **arguments,
            )
        return written(answer, location)

    def copy(
        self,
        source: ObjectLocation,
        target: ObjectLocation,
        operation: Operation,
        *,
        arguments: Mapping[str, Any] = NOTHING,
        source_arguments: Mapping[str, Any] = NOTHING,
    ) -> None:
        stored = self.head(source, operation, arguments=source_arguments)
        origin: Any = {"Bucket": source.bucket, "Key": source.key}
        if stored.stored_bytes > _COPY_LIMIT:
            self.copy_in_parts(stored, target, operation, arguments=arguments, source_arguments=source_arguments)
            return
        customer_key: Any = as_source(source_arguments)
        with self.request(target, operation, "PutObject", {**arguments, **source_arguments}) as s3:
            s3.copy_object(
                Bucket=target.bucket,
                Key=target.key,
                CopySource=origin,
                CopySourceIfMatch=stored.etag,
                MetadataDirective="COPY",
                **customer_key,
                **arguments,
            )

    def delete(self, location: ObjectLocation, operation: Operation, *, arguments: Mapping[str, Any]) -> None:
        with self.request(location, operation, "DeleteObject", arguments) as s3:
            s3.delete_object(Bucket=location.bucket, Key=location.key, **arguments)

    def list_page(
        self, bucket: str, prefix: str, operation: Operation, *, delimiter: str | None, token: str | None
    ) -> tuple[list[ListedObject], str | None]:
        given = {"Delimiter": delimiter, "ContinuationToken": token}
        arguments: Any = {name: value for name, value in given.items() if value is not None}
        with self.request(ObjectLocation(bucket, prefix), operation, "ListBucket", {}) as s3:
            page: Any = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, **arguments)
        prefixes = [
            ListedObject(ObjectLocation(bucket, row["Prefix"]), is_prefix=True)
            for row in page.get("CommonPrefixes", ())
        ]
        objects = [
            ListedObject(ObjectLocation(bucket, row["Key"]), row["Size"], row["LastModified"], row["ETag"].strip('"'))
            for row in page.get("Contents", ())
        ]
        truncated = answered(page, "IsTruncated", ObjectLocation(bucket, prefix))
        return prefixes + objects, page["NextContinuationToken"] if truncated else None

    @contextlib.contextmanager
    def request(
        self, location: ObjectLocation, operation: Operation, action: str, arguments: Mapping[str, Any]
    ) -> Iterator[S3Client]:
        """One request: counted, timed, its errors translated, its wire log withheld where it carries a key."""
        from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError, UnsupportedS3ArnError
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError

        quiet = withheld(f"{location}: {action} with a customer key") if "SSECustomerKey" in arguments else None
        operation.requests += 1
        begun = time.monotonic()
        try:
            with quiet or contextlib.nullcontext(), operation.timed("s3"):
                yield self._s3()
        except ClientError as error:
            answer = error.response
            code, message = (str(answer.get("Error", {}).get(name, "")) for name in ("Code", "Message"))
            said = answer.get("ResponseMetadata", {})
            status, date = said.get("HTTPStatusCode", 0), said.get("HTTPHeaders", {}).get("date")
            translated = store_error(code, status, message, location, action, date=date)
            if isinstance(translated, CredentialsError):
                self._renew(translated, begun)
            raise translated from None
        except (ParamValidationError, UnsupportedS3ArnError) as error:
            raise ConfigurationError(f"{location}: S3 does not take this: {error}") from None
        except BotoCoreError as error:
            raise credentials_error(error, str(location)) or StoreUnansweredError(
                f"{location}: {action} failed ({type(error).__name__}): {error}"
            ) from None
        except ArrowSealError:
            raise
        except (HTTPError, ResponseParserError, ValueError) as error:
            # Where an answer that refuses breaks off itself, or a date in one is none, botocore lets through what it
            # stands on.
            raise StoreUnansweredError(f"{location}: {action}: the answer broke off ({type(error).__name__})") from None


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
        bucket_key=_yes(answer.get("BucketKeyEnabled")) if label == "SSE-KMS" else None,
        ranged=content_range is not None,
        crc32=_crc32(answer),
    )


def _yes(value: Any) -> bool:
    """A boolean of an answer, which is text where it is that of a header."""
    return str(value).lower() == "true"


def _crc32(answer: Any) -> str | None:
    """The CRC32 of an answer, unless it is a checksum of the checksums of parts."""
    checksum: str | None = answer.get("ChecksumCRC32")
    composite = checksum is None or "-" in checksum or answer.get("ChecksumType") == "COMPOSITE"
    return None if composite else checksum
