"""The store over boto3: its credentials, endpoints, retries and checksums are the ones its users know."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from arrowseal.boto3_bodies import Boto3Body
from arrowseal.credentials import credentials_error
from arrowseal.etags import etag_of
from arrowseal.exceptions import (
    ArrowSealError,
    ConfigurationError,
    CredentialsError,
    ObjectNotFoundError,
    StoreError,
    StoreUnansweredError,
)
from arrowseal.location import ObjectLocation
from arrowseal.no_connection import no_connection, no_files, within
from arrowseal.s3_errors import RangeError, store_error
from arrowseal.store import COPY_LIMIT, NOTHING, Body, ListedObject, StoredObject, StoredRange, WrittenObject
from arrowseal.store_boto3_attributes import Boto3Attributes, stored_object
from arrowseal.store_boto3_uploads import answered, known, payload_arguments, written
from arrowseal.wirelog import withheld

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from mypy_boto3_s3 import S3Client

    from arrowseal.counters import Operation
    from arrowseal.store import Payload

ReadAction = Literal["GetObject", "HeadObject"]
Renew: TypeAlias = "Callable[[CredentialsError, float], None]"

_COPY_LIMIT: Final = COPY_LIMIT
_READING: Final = ("botocore.parsers", "urllib3.", "http.client", "arrowseal.store_lean")
"""The modules that read answers."""


class Boto3Store(Boto3Attributes):
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
        body = Boto3Body(location, answer["Body"])
        try:
            return stored_object(location, answer, byte_range), body
        except StoreError:
            body.close()
            raise

    def head(self, location: ObjectLocation, operation: Operation, *, arguments: Mapping[str, Any]) -> StoredObject:
        return stored_object(location, self.answer("HeadObject", location, operation, arguments))

    def answer(
        self, action: ReadAction, location: ObjectLocation, operation: Operation, arguments: Mapping[str, Any]
    ) -> Any:
        """The answer of boto3 to one request that reads, as a dict."""
        if action == "HeadObject":
            return self.headed(location, operation, arguments)
        named: Any = {"Bucket": location.bucket, "Key": location.key, **arguments}
        with self.request(location, operation, "GetObject", arguments) as s3:
            return s3.get_object(**named)

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
        payload: Payload | StoredRange,
        *,
        metadata: Mapping[str, str],
        arguments: Mapping[str, Any],
    ) -> WrittenObject:
        if isinstance(payload, StoredRange):
            return self._copied(location, operation, payload, metadata, arguments)
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
    ) -> bool:
        stored = self.head(source, operation, arguments=source_arguments)
        if stored.stored_bytes > _COPY_LIMIT:
            return False
        # Whatever is there by now, whole: only parts would have to be those of one version.
        origin = StoredRange(stored, 0, stored.stored_bytes, source_arguments).arguments
        del origin["CopySourceIfMatch"]
        try:
            with self.request(target, operation, "PutObject", {**arguments, **source_arguments}) as s3:
                s3.copy_object(Bucket=target.bucket, Key=target.key, MetadataDirective="COPY", **origin, **arguments)
        except ObjectNotFoundError:
            raise ObjectNotFoundError(f"{source}: deleted before it was copied to {target}") from None
        return True

    def _copied(
        self,
        target: ObjectLocation,
        operation: Operation,
        source: StoredRange,
        metadata: Mapping[str, str],
        arguments: Mapping[str, Any],
    ) -> WrittenObject:
        """A copy that has metadata and attributes of its own."""
        tagging: Any = {"TaggingDirective": "REPLACE"} if "Tagging" in arguments else {}
        with self.request(target, operation, "PutObject", {**arguments, **source.source_arguments}) as s3:
            answer: Any = s3.copy_object(
                Bucket=target.bucket,
                Key=target.key,
                Metadata=dict(metadata),
                MetadataDirective="REPLACE",
                **tagging,
                **source.arguments,
                **known(s3, "CopyObject", arguments),
            )
        etag = answered(answered(answer, "CopyObjectResult", target), "ETag", target)
        return WrittenObject(etag_of(etag), answer.get("VersionId"))

    def delete(self, location: ObjectLocation, operation: Operation, *, arguments: Mapping[str, Any]) -> None:
        # S3 has no error for one that is gone; other servers do, some only for one that goes at that moment.
        with (
            contextlib.suppress(ObjectNotFoundError),
            self.request(location, operation, "DeleteObject", arguments) as s3,
        ):
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
            ListedObject(ObjectLocation(bucket, row["Key"]), row["Size"], row["LastModified"], etag_of(row["ETag"]))
            for row in page.get("Contents", ())
        ]
        truncated = answered(page, "IsTruncated", ObjectLocation(bucket, prefix))
        return prefixes + objects, page["NextContinuationToken"] if truncated else None

    def request(
        self, location: ObjectLocation, operation: Operation, action: str, arguments: Mapping[str, Any]
    ) -> Boto3Request:
        """One request: counted, timed, its errors translated, its wire log withheld where it carries a key."""
        keyed = "SSECustomerKey" in arguments
        quiet = withheld(f"{location}: {action} with a customer key") if keyed else None
        operation.count_request()
        translate = partial(self._translated, location=location, action=action, begun=time.monotonic(), keyed=keyed)
        return Boto3Request(self._s3, translate, quiet, operation.timed("s3"))

    def _translated(
        self, error: Exception, location: ObjectLocation, action: str, begun: float, keyed: bool
    ) -> ArrowSealError | None:
        """The error of ours for one of botocore; None for any other."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError

        if unsent := credentials_error(error, str(location)):
            if isinstance(unsent, CredentialsError):
                self._renew(unsent, begun)
            return unsent
        if any(isinstance(one, RecursionError) for one in within(error)):
            # botocore asks where a bucket is when it is redirected, and again when that is.
            return StoreError(f"{location}: {action} failed: redirected without end. Is this the endpoint of an S3?")
        if isinstance(error, ClientError):
            answer: Any = error.response
            code, message = (str(answer.get("Error", {}).get(name, "")) for name in ("Code", "Message"))
            if error.operation_name == "CreateSession":  # which directory buckets of S3 Express have before all others
                action = error.operation_name
            said = answer.get("ResponseMetadata", {})
            status, date = said.get("HTTPStatusCode", 0), said.get("HTTPHeaders", {}).get("date")
            translated = store_error(code, status, message, location, action, date=date, keyed=keyed)
            if isinstance(translated, CredentialsError):
                self._renew(translated, begun)
            return translated
        if isinstance(error, BotoCoreError):
            if problem := no_connection(error):
                return StoreError(f"{location}: {action} failed: {problem}")
            return StoreUnansweredError(
                f"{location}: {action} failed ({type(error).__name__}): {error}{no_files(error)}"
            )
        of_answer = isinstance(error, (ValueError, LookupError)) and _of_an_answer(error)
        if of_answer or isinstance(error, (HTTPError, ResponseParserError)):
            # Where an answer that refuses breaks off itself, a date in one is none, or its XML is of an encoding that
            # nobody knows, botocore lets through what it stands on.
            return StoreUnansweredError(f"{location}: {action}: the answer broke off ({type(error).__name__})")
        return None


def _of_an_answer(error: Exception) -> bool:
    """Whether reading an answer raised it: hooks on the caller's session raise what they like, which is to be seen."""
    modules = (frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__))
    return any(module.startswith(_READING) for module in modules)


class Boto3Request:
    """The block of `Boto3Store.request`. A class: the frames of a generator and the error that it replaces would hold
    each other, from Python 3.12 on.
    """

    __slots__ = ("_quiet", "_s3", "_timed", "_translate")

    def __init__(
        self,
        s3: Callable[[], S3Client],
        translate: Callable[[Exception], ArrowSealError | None],
        quiet: AbstractContextManager[None] | None,
        timed: AbstractContextManager[None],
    ) -> None:
        self._s3 = s3
        self._translate = translate
        self._quiet = quiet
        self._timed = timed

    def __enter__(self) -> S3Client:
        if self._quiet is not None:
            self._quiet.__enter__()
        self._timed.__enter__()
        try:
            return self._s3()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._timed.__exit__(None, None, None)
        if self._quiet is not None:
            self._quiet.__exit__(None, None, None)
        if not isinstance(error, Exception) or isinstance(error, ArrowSealError):
            return
        translated = self._translate(error)
        if translated is not None:
            try:
                raise translated from None
            finally:
                del translated  # or its traceback, which holds this frame, would hold itself
