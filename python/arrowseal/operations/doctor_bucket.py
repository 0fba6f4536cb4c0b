"""Which requests on a bucket the caller may make. What may be refused is asked so that nothing is left either way.

A deletion is tried on what is not there, and an upload that never was is aborted: S3 checks permissions first, and says
that nothing is there only to who may do it. An object is written only after it is known that it can be deleted.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any, Final

from arrowseal.exceptions import ArrowSealError, ServiceError

if TYPE_CHECKING:
    from arrowseal.location import ObjectLocation
    from arrowseal.operations.diagnosis import Examination

_GONE: Final = ("NoSuchKey", "404", "NoSuchVersion")
_NO_UPLOAD: Final = ("NoSuchUpload", "404", "NoSuchKey")
_UPLOAD_ID: Final = "arrowseal-doctor-none"


def examine_bucket(examination: Examination, place: ObjectLocation) -> None:
    """Look at a bucket, and at what may be done under a prefix."""
    s3: Any = examination.services.s3
    named: dict[str, Any] = {"Bucket": place.bucket}
    if not _bucket(examination, place.bucket):
        return
    examination.ask(
        "s3:ListBucket",
        lambda: s3.list_objects_v2(Prefix=place.key, MaxKeys=1, **named),
        detail="lists; tells missing objects from forbidden ones",
    )
    directory = place.key[: place.key.rfind("/") + 1]
    key = f"{directory}_arrowseal-doctor-{secrets.token_hex(8)}"
    versioned = _versioned(examination, place.bucket)
    deletes = _may_delete(examination, named | {"Key": key}, versioned=versioned)
    examination.ask(
        "s3:AbortMultipartUpload",
        lambda: s3.abort_multipart_upload(Key=key, UploadId=_UPLOAD_ID, **named),
        detail="failed writes leave no parts",
        needed=examination.writes,
        fine=_NO_UPLOAD,
    )
    if deletes:
        _throwaway(examination, named | {"Key": key})
    else:
        _upload_of_nothing(examination, named | {"Key": key})
        _may_get(examination, named | {"Key": key})


def _bucket(examination: Examination, bucket: str) -> bool:
    """Whether there is such a bucket, and where."""
    services = examination.services
    try:
        answer = services.ask("bucket", lambda: services.s3.head_bucket(Bucket=bucket))
    except ServiceError as error:
        if error.code in ("404", "NoSuchBucket"):
            examination.note("bucket", "missing", f"s3://{bucket} does not exist", "create it, or check its name")
            return False
        if error.code not in ("403", "AccessDenied"):
            examination.note("bucket", "missing", str(error), "check its name, its Region and the endpoint")
            return False
        examination.note("bucket", "not checked", f"s3://{bucket} may not be looked at (HeadBucket)", needed=False)
        return True
    except ArrowSealError as error:
        examination.note("bucket", "missing", str(error))
        return False
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = headers.get("x-amz-bucket-region")
    ours = services.s3.meta.region_name
    elsewhere = bool(region) and region != ours
    detail = f"s3://{bucket}" + (f" in {region}" if region else "")
    if elsewhere:
        detail += f", the client is set to {ours}: requests are redirected, and KMS is asked in {ours}"
    examination.note("bucket", "ok", detail)
    return True


def _versioned(examination: Examination, bucket: str) -> bool:
    """Whether deletions leave something; where nobody tells, they may."""
    services = examination.services
    try:
        answer = services.ask("versioning", lambda: services.s3.get_bucket_versioning(Bucket=bucket))
    except ServiceError as error:
        return not error.unknown_here
    return answer.get("Status") in ("Enabled", "Suspended")


def _may_delete(examination: Examination, named: dict[str, Any], *, versioned: bool) -> bool:
    s3: Any = examination.services.s3
    if not versioned:
        examination.ask(
            "s3:DeleteObject", lambda: s3.delete_object(**named), detail="deletes", needed=False, fine=_GONE
        )
        return examination.found.outcome("s3:DeleteObject") == "ok"
    examination.ask(
        "s3:DeleteObjectVersion",
        lambda: s3.delete_object(VersionId="null", **named),
        detail="deletes versions for good",
        needed=False,
        fine=(*_GONE, "InvalidArgument"),
    )
    return examination.found.outcome("s3:DeleteObjectVersion") == "ok"


def _throwaway(examination: Examination, named: dict[str, Any]) -> None:
    """Write an object, look at it, and delete it again, whatever comes between."""
    services = examination.services
    s3: Any = services.s3
    answer: Any = None
    try:
        answer = examination.ask(
            "s3:PutObject",
            lambda: s3.put_object(Body=b"arrowseal doctor", **named),
            detail="writes",
            way_out="allow s3:PutObject; if it is allowed, the policy of the bucket demands something, such as an "
            "encryption (`arrowseal bucket show`)",
            needed=examination.writes,
        )
        _may_get(examination, named)
        if answer is not None:
            tags = {"TagSet": [{"Key": "made-by", "Value": "arrowseal-doctor"}]}
            examination.ask(
                "s3:PutObjectTagging",
                lambda: s3.put_object_tagging(Tagging=tags, **named),
                detail="keeps tags in copies and rewraps",
                needed=False,
            )
    finally:
        version = (answer or {}).get("VersionId")
        told = {"VersionId": version} if version else {}
        try:
            services.ask("deletion", lambda: s3.delete_object(**named, **told))
        except ArrowSealError as error:
            examination.note(
                "cleaning up",
                "missing",
                str(error),
                f"delete s3://{named['Bucket']}/{named['Key']} by hand",
                needed=answer is not None,
            )


def _upload_of_nothing(examination: Examination, named: dict[str, Any]) -> None:
    """Where no object could be deleted again: to begin an upload takes s3:PutObject, and aborted it leaves nothing."""
    services, needed = examination.services, examination.writes
    s3: Any = services.s3
    if examination.found.outcome("s3:AbortMultipartUpload") != "ok":
        reason = "what could be neither deleted nor aborted again is not written"
        examination.note("s3:PutObject", "not checked", reason, needed=needed)
        return
    begun = examination.ask(
        "s3:PutObject", lambda: s3.create_multipart_upload(**named), detail="begins uploads", needed=needed
    )
    if begun is not None:
        services.ask("abort", lambda: s3.abort_multipart_upload(UploadId=begun["UploadId"], **named))


def _may_get(examination: Examination, named: dict[str, Any]) -> None:
    s3: Any = examination.services.s3

    def get() -> None:
        with contextlib.closing(s3.get_object(**named)["Body"]) as body:
            body.read()

    needed = examination.reads
    lists = examination.found.outcome("s3:ListBucket") == "ok"
    examination.ask("s3:GetObject", get, detail="reads", needed=needed, fine=_GONE if lists else ())
