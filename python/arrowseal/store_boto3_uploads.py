"""Multipart uploads over boto3: part by part, and part by part copied inside the server."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from arrowseal.boto3_bodies import PayloadBody
from arrowseal.etags import etag_of
from arrowseal.exceptions import TransferError, UploadNotFoundError
from arrowseal.location import ObjectLocation
from arrowseal.store import NOTHING, OpenUpload, StoredRange, WrittenObject, WrittenPart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_s3 import S3Client

    from arrowseal.counters import Operation
    from arrowseal.store import Payload


class Boto3Uploads:
    """The multipart half of `Boto3Store`."""

    def request(
        self, location: ObjectLocation, operation: Operation, action: str, arguments: Mapping[str, Any]
    ) -> contextlib.AbstractContextManager[S3Client]:
        """One request; see `Boto3Store`."""
        raise NotImplementedError

    def create_upload(
        self,
        location: ObjectLocation,
        operation: Operation,
        *,
        metadata: Mapping[str, str],
        arguments: Mapping[str, Any],
    ) -> str:
        with self.request(location, operation, "PutObject", arguments) as s3:
            # boto3 sends a checksum with each part even if none was announced, which some servers then refuse. Of the
            # whole object, which any reader can check; by default it is one of the parts' checksums.
            algorithm = arguments.get("ChecksumAlgorithm", "CRC32") if sends_checksums(s3) else None
            checksum: Any = {"ChecksumAlgorithm": algorithm, "ChecksumType": "FULL_OBJECT"} if algorithm else {}
            rest = {name: value for name, value in arguments.items() if name != "ChecksumAlgorithm"}
            answer = s3.create_multipart_upload(
                Bucket=location.bucket,
                Key=location.key,
                Metadata=dict(metadata),
                **known(s3, "CreateMultipartUpload", checksum),
                **known(s3, "CreateMultipartUpload", rest),
            )
        return str(answered(answer, "UploadId", location))

    def put_part(
        self,
        location: ObjectLocation,
        operation: Operation,
        upload_id: str,
        number: int,
        payload: Payload | StoredRange,
        *,
        arguments: Mapping[str, Any],
    ) -> WrittenPart:
        if isinstance(payload, StoredRange):
            return self._copy_part(location, operation, upload_id, number, payload, arguments)
        with self.request(location, operation, "PutObject", arguments) as s3:
            content = payload_arguments(s3, payload)
            answer: Any = s3.upload_part(
                Bucket=location.bucket,
                Key=location.key,
                UploadId=upload_id,
                PartNumber=number,
                **content,
                **known(s3, "UploadPart", arguments),
            )
        return WrittenPart(number, answered(answer, "ETag", location), content.get("ChecksumCRC32"))

    def complete_upload(
        self,
        location: ObjectLocation,
        operation: Operation,
        upload_id: str,
        parts: Sequence[WrittenPart],
        *,
        arguments: Mapping[str, Any],
    ) -> WrittenObject:
        named: Any = [
            {"PartNumber": part.number, "ETag": part.etag} | ({"ChecksumCRC32": part.crc32} if part.crc32 else {})
            for part in sorted(parts, key=lambda part: part.number)
        ]
        with self.request(location, operation, "PutObject", arguments) as s3:
            answer: Any = s3.complete_multipart_upload(
                Bucket=location.bucket,
                Key=location.key,
                UploadId=upload_id,
                MultipartUpload={"Parts": named},
                **known(s3, "CompleteMultipartUpload", arguments),
            )
        return written(answer, location)

    def abort_upload(
        self,
        location: ObjectLocation,
        operation: Operation,
        upload_id: str,
        *,
        arguments: Mapping[str, Any] = NOTHING,
    ) -> None:
        with (
            contextlib.suppress(UploadNotFoundError),
            self.request(location, operation, "AbortMultipartUpload", arguments) as s3,
        ):
            more = known(s3, "AbortMultipartUpload", arguments)
            s3.abort_multipart_upload(Bucket=location.bucket, Key=location.key, UploadId=upload_id, **more)

    def list_uploads_page(
        self,
        bucket: str,
        prefix: str,
        operation: Operation,
        *,
        after: OpenUpload | None,
        arguments: Mapping[str, Any] = NOTHING,
    ) -> tuple[list[OpenUpload], OpenUpload | None]:
        markers: Any = {} if after is None else {"KeyMarker": after.location.key, "UploadIdMarker": after.upload_id}
        with self.request(ObjectLocation(bucket, prefix), operation, "ListBucketMultipartUploads", arguments) as s3:
            more = known(s3, "ListMultipartUploads", arguments)
            page: Any = s3.list_multipart_uploads(Bucket=bucket, Prefix=prefix, **markers, **more)
        uploads = [
            OpenUpload(ObjectLocation(bucket, row["Key"]), row["UploadId"], row["Initiated"])
            for row in page.get("Uploads", ())
        ]
        truncated = answered(page, "IsTruncated", ObjectLocation(bucket, prefix))
        return uploads, uploads[-1] if truncated and uploads else None

    def has_parts(self, upload: OpenUpload, operation: Operation, *, arguments: Mapping[str, Any] = NOTHING) -> bool:
        location = upload.location
        named: Any = {"Bucket": location.bucket, "Key": location.key, "UploadId": upload.upload_id, "MaxParts": 1}
        with self.request(location, operation, "ListMultipartUploadParts", arguments) as s3:
            answer: Any = s3.list_parts(**named, **known(s3, "ListParts", arguments))
        answered(answer, "IsTruncated", location)  # or it broke off, and says nothing
        return bool(answer.get("Parts"))

    def _copy_part(
        self,
        location: ObjectLocation,
        operation: Operation,
        upload_id: str,
        number: int,
        source: StoredRange,
        arguments: Mapping[str, Any],
    ) -> WrittenPart:
        with self.request(location, operation, "PutObject", {**arguments, **source.source_arguments}) as s3:
            answer: Any = s3.upload_part_copy(
                Bucket=location.bucket,
                Key=location.key,
                UploadId=upload_id,
                PartNumber=number,
                CopySourceRange=f"bytes={source.begin}-{source.end - 1}",
                **source.arguments,
                **known(s3, "UploadPartCopy", arguments),
            )
        part = answered(answer, "CopyPartResult", location)
        return WrittenPart(number, answered(part, "ETag", location), part.get("ChecksumCRC32"))


def sends_checksums(s3: S3Client) -> bool:
    """Whether the client's configuration wants checksums where S3 does not insist on them."""
    return getattr(s3.meta.config, "request_checksum_calculation", None) != "when_required"


def payload_arguments(s3: S3Client, payload: Payload) -> dict[str, Any]:
    """A body, and its checksum so that botocore computes none."""
    # Named as well as given: some servers store only what was named.
    checksum = {"ChecksumAlgorithm": "CRC32", "ChecksumCRC32": payload.crc32} if sends_checksums(s3) else {}
    return {"Body": PayloadBody(payload.view)} | checksum


def answered(answer: Any, name: str, location: ObjectLocation) -> Any:
    """What every answer of its kind says. Raises `TransferError` if it does not: for botocore, an answer that broke off
    at its first byte is one without content, and a listing then an empty one.
    """
    if name not in answer:
        raise TransferError(f"{location}: the answer has no {name}: it broke off")
    return answer[name]


def written(answer: Any, location: ObjectLocation) -> WrittenObject:
    """What an answer says of the object that was written."""
    return WrittenObject(etag_of(answered(answer, "ETag", location)), answer.get("VersionId"))


def known(s3: S3Client, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those arguments of a PutObject that another action takes too."""
    shape: Any = s3.meta.service_model.operation_model(action).input_shape
    return {name: value for name, value in arguments.items() if name in shape.members}
