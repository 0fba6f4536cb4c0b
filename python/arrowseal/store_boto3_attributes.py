"""What boto3's answers say of an object: size and encryption, and everything else that a copy has to say again."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from arrowseal.etags import etag_of
from arrowseal.exceptions import StoreError, TransferError
from arrowseal.location import version_arguments
from arrowseal.s3_errors import RangeError, UnexplainedError
from arrowseal.store import HEADERS, ObjectAttributes, StoredObject, in_lower_case
from arrowseal.store_boto3_uploads import Boto3Uploads, answered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+)")
_PARTIAL: Final = 206
_SSE_LABELS: Final = {"AES256": "SSE-S3", "aws:kms": "SSE-KMS", "aws:kms:dsse": "SSE-KMS"}
_ATTRIBUTES: Final = (
    *HEADERS,
    "StorageClass",
    "ServerSideEncryption",
    "SSEKMSKeyId",
    "BucketKeyEnabled",
    "WebsiteRedirectLocation",
    "ObjectLockLegalHoldStatus",
)
_GRANTS: Final = {
    "FULL_CONTROL": "GrantFullControl",
    "READ": "GrantRead",
    "READ_ACP": "GrantReadACP",
    "WRITE_ACP": "GrantWriteACP",
}
_NO_ACLS: Final = {"NotImplemented", "MethodNotAllowed", "AccessControlListNotSupported"}


class Boto3Attributes(Boto3Uploads):
    """The part of `Boto3Store` that asks what belongs to an object."""

    def attributes(
        self, location: ObjectLocation, operation: Operation, *, arguments: Mapping[str, Any]
    ) -> ObjectAttributes:
        answer = self.headed(location, operation, {"ChecksumMode": "ENABLED", **arguments})
        kept = {name: answer[name] for name in _ATTRIBUTES if answer.get(name) not in (None, "")}
        until = answer.get("ObjectLockRetainUntilDate")
        if until is not None and until > dt.datetime.now(dt.UTC):  # S3 takes no date that is past
            kept |= {"ObjectLockMode": answer["ObjectLockMode"], "ObjectLockRetainUntilDate": until}
        checksums = {
            name: value
            for name, value in answer.items()
            if name.startswith("Checksum") and name != "ChecksumType" and value
        }
        return ObjectAttributes(stored_object(location, answer), kept, checksums, answer.get("TagCount") or 0)

    def headed(self, location: ObjectLocation, operation: Operation, arguments: Mapping[str, Any]) -> Any:
        """The answer of boto3 to a HEAD, as a dict."""
        named: Any = {"Bucket": location.bucket, "Key": location.key, **arguments}
        try:
            with self.request(location, operation, "GetObject", arguments) as s3:
                return s3.head_object(**named)
        except UnexplainedError:
            # The answer to a HEAD has no body that would say why, be it expired credentials: that to a GET has.
            with contextlib.suppress(RangeError), self.request(location, operation, "GetObject", arguments) as s3:
                s3.get_object(**named, Range="bytes=0-0")["Body"].close()
        # It was answered, so botocore knows the bucket's Region by now, which some servers tell in a body only.
        with self.request(location, operation, "GetObject", arguments) as s3:
            return s3.head_object(**named)

    def tags(self, location: ObjectLocation, operation: Operation, version_id: str | None = None) -> str:
        version: Any = version_arguments(version_id)
        with self.request(location, operation, "GetObjectTagging", {}) as s3:
            answer: Any = s3.get_object_tagging(Bucket=location.bucket, Key=location.key, **version)
        return urlencode([(tag["Key"], tag["Value"]) for tag in answered(answer, "TagSet", location)])

    def grants(self, location: ObjectLocation, operation: Operation) -> dict[str, str]:
        from botocore.exceptions import ClientError

        with self.request(location, operation, "GetObjectAcl", {}) as s3:
            try:
                answer: Any = s3.get_object_acl(Bucket=location.bucket, Key=location.key)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in _NO_ACLS:
                    raise
                return {}
        owner = answer.get("Owner", {}).get("ID")
        given = [(grant["Permission"], grant["Grantee"]) for grant in answer.get("Grants", ())]
        if all(permission == "FULL_CONTROL" and grantee.get("ID") == owner for permission, grantee in given):
            return {}
        listed: dict[str, list[str]] = {}
        for permission, grantee in given:
            if permission in _GRANTS:
                who = f'uri="{grantee["URI"]}"' if "URI" in grantee else f'id="{grantee.get("ID", "")}"'
                listed.setdefault(_GRANTS[permission], []).append(who)
        return {name: ", ".join(grantees) for name, grantees in listed.items()}


def stored_object(location: ObjectLocation, answer: Any, asked: tuple[int, int] | None = None) -> StoredObject:
    """The headers of a GET, of the range `asked` (as `Store.get` has it), or HEAD. Raises `TransferError` if no length
    is announced, or another range than that, `StoreError` for a part of an object without the size of the whole: that
    was taken for all there is.
    """
    told = answer.get("ContentRange") or ""
    content_range = _CONTENT_RANGE.fullmatch(told)
    stored_bytes = int(content_range[2]) if content_range else answer.get("ContentLength")
    if stored_bytes is None:
        raise TransferError(f"{location}: the server announced no length")
    start, end = asked or (0, -1)
    if content_range is not None and int(content_range[1]) != (start if start >= 0 else max(0, stored_bytes + start)):
        # Nothing else tells where the bytes of a plain object belong.
        raise TransferError(f"{location}: the server answered another range than was asked for ({told})")
    if content_range is None and stored_bytes == (end - start if start >= 0 else -start):  # what is shorter is all
        if told:
            raise StoreError(
                f"{location}: the server does not tell the size of the object with a range of it (Content-Range: "
                f"{told}): ask S3 itself, without what stands before it (endpoint_url=)"
            )
        if answer.get("ResponseMetadata", {}).get("HTTPStatusCode") == _PARTIAL:
            raise TransferError(f"{location}: the server does not tell which range it sent, nor of how much")
    label = "SSE-C" if answer.get("SSECustomerAlgorithm") else _SSE_LABELS.get(answer.get("ServerSideEncryption", ""))
    return StoredObject(
        location=location,
        metadata=in_lower_case(answer.get("Metadata", {})),
        stored_bytes=stored_bytes,
        etag=etag_of(answer.get("ETag", "")),
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
