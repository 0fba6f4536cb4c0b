"""Records of CloudTrail about KMS: from files, and what each of them says.

A record says who asked KMS for what, under which key and encryption context, and nothing of plaintext or ciphertext.
Where an object lives is known from the context alone: S3 puts `aws:s3:arn` into it for SSE-KMS (the object, or with a
bucket key the bucket), and a client of this library its own entry where the location is bound (`bind_location=`).

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html,
https://docs.aws.amazon.com/kms/latest/developerguide/understanding-kms-entries.html.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from arrowseal.binding import LOCATION_NAME
from arrowseal.exceptions import ConfigurationError, LocationError
from arrowseal.location import locate_prefix

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

APIS: Final = ("GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "Decrypt", "ReEncrypt")
"""What is read of all that CloudTrail records about KMS."""
CSE, SSE_KMS, BUCKET_KEY, OTHER = "CSE", "SSE-KMS", "SSE-KMS, bucket key", "other"

_MOST_BYTES: Final = 2**30  # of one file; CloudTrail's have some 50 MB at most
_PIECE_BYTES: Final = 2**20
_SUFFIXES: Final = (".json", ".json.gz", ".jsonl", ".jsonl.gz")
_CEK_ALGORITHM, _LEGACY_KEY, _S3_ARN = "aws:x-amz-cek-alg", "kms_cmk_id", "aws:s3:arn"
_BUCKET_ARN: Final = re.compile(
    r"arn:[^:]+:s3:(?:::([^/]+)(?:/(.*))?|[^:]+:[^:]+:accesspoint/([^/]+)(?:/object/(.*))?)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class KmsEvent:
    """One call of KMS, as CloudTrail tells it. What a record leaves out is None."""

    time: dt.datetime
    api: str
    caller: str
    """The ARN of the role or user; of a caller in another account its account; of a service its name."""
    via: str | None
    """The AWS service that called on behalf of the caller: `fas.s3.amazonaws.com` for SSE-KMS."""
    kms_key: str | None
    """An ARN, unless the record has only what was asked for. The source key of a ReEncrypt."""
    kind: str
    """`"CSE"`, `"SSE-KMS"`, `"SSE-KMS, bucket key"`, or `"other"`: no object of S3, as far as the context tells."""
    bucket: str | None
    key: str | None
    """The key of the object, or where only a prefix is bound that prefix, which ends in a slash."""
    error: str | None
    """The error code of a call that was refused."""


def records(paths: Iterable[str | os.PathLike[str]]) -> Iterator[dict[str, Any]]:
    """The records in files of CloudTrail, and in all such files below directories: `{"Records": [...]}`, the answer of
    LookupEvents, a list, or a record a line; `.gz` or not. Digest files are passed over.

    Raises `ConfigurationError` for a file that is none of these, `OSError` for one that cannot be read.
    """
    for given in paths:
        path = Path(given)
        if path.is_dir():
            found = sorted(each for each in path.rglob("*") if each.name.endswith(_SUFFIXES) and each.is_file())
            if not found:
                raise ConfigurationError(f"{path}: no file below it ends in {', '.join(_SUFFIXES)}")
            for each in found:
                yield from _in_file(each)
        else:
            yield from _in_file(path)


def _in_file(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if zipped else path.open("rb") as content:
            text = _read(content, path)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ConfigurationError(f"{path}: the gzip file is damaged, or was cut off") from None
    try:
        documents = [json.loads(text)]
    except ValueError:
        try:
            documents = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            documents = []
    if not documents:
        raise ConfigurationError(f"{path}: not the JSON of CloudTrail")
    for document in documents:
        yield from _in_document(document, path)


def _read(content: BinaryIO | gzip.GzipFile, path: Path) -> bytes:
    """All of a file, within bounds; a read of so many bytes at once would take that memory first."""
    text = bytearray()
    while piece := content.read(_PIECE_BYTES):
        text += piece
        if len(text) > _MOST_BYTES:
            raise ConfigurationError(f"{path}: more than {_MOST_BYTES:,} bytes: no file that CloudTrail delivered")
    return bytes(text)


def _in_document(document: Any, path: Path) -> Iterator[dict[str, Any]]:
    match document:
        case {"Records": list(found)}:
            yield from (record for record in found if isinstance(record, dict))
        case {"Events": list(found)}:
            yield from (looked_up(event) for event in found if isinstance(event, dict))
        case {"digestStartTime": _} | {"digestPublicKeyFingerprint": _}:
            return
        case {"eventSource": _}:
            yield document
        case list():
            yield from (record for record in document if isinstance(record, dict))
        case _:
            raise ConfigurationError(f'{path}: no records of CloudTrail: {{"Records": [...]}} is expected')


def looked_up(event: dict[str, Any]) -> dict[str, Any]:
    """The record in an event of LookupEvents, which has it as text; an empty one if it has none."""
    try:
        record = json.loads(event.get("CloudTrailEvent") or "{}")
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def kms_events(found: Iterable[dict[str, Any]]) -> Iterator[KmsEvent]:
    """The calls of `APIS` among records, each once: CloudTrail may deliver a record twice, and tells a call across
    accounts in both (`sharedEventID`).
    """
    seen: set[str] = set()
    for record in found:
        if record.get("eventSource") != "kms.amazonaws.com" or record.get("eventName") not in APIS:
            continue
        names = {str(record[name]) for name in ("eventID", "sharedEventID") if record.get(name)}
        if names & seen:
            continue
        seen |= names
        time = _time(record.get("eventTime"))
        if time is not None:
            yield _event(record, time)


def _event(record: dict[str, Any], time: dt.datetime) -> KmsEvent:
    identity = _dict(record.get("userIdentity"))
    asked = _dict(record.get("requestParameters"))
    context = _dict(asked.get("encryptionContext") or asked.get("sourceEncryptionContext"))
    kind, bucket, key = _object(context)
    return KmsEvent(
        time=time,
        api=str(record["eventName"]),
        caller=_caller(identity),
        via=_text(identity.get("invokedBy")),
        kms_key=_kms_key(record, asked),
        kind=kind,
        bucket=bucket,
        key=key,
        error=_text(record.get("errorCode")),
    )


def _caller(identity: dict[str, Any]) -> str:
    issuer = _dict(_dict(identity.get("sessionContext")).get("sessionIssuer"))
    arn = _text(issuer.get("arn")) or _text(identity.get("arn"))
    if arn:
        return arn
    service = _text(identity.get("invokedBy"))
    if identity.get("type") == "AWSService" and service:
        return service
    account = _text(identity.get("accountId"))
    return f"account {account}" if account else service or _text(identity.get("principalId")) or "unknown"


def _kms_key(record: dict[str, Any], asked: dict[str, Any]) -> str | None:
    """The first key that was used; what was asked for where the call was refused before one was."""
    found = record.get("resources")
    for resource in found if isinstance(found, list) else ():
        arn = _text(_dict(resource).get("ARN")) or _text(_dict(resource).get("arn"))
        if arn and ":kms:" in arn and ":key/" in arn:
            return arn
    return _text(asked.get("keyId")) or _text(asked.get("sourceKeyId")) or _text(asked.get("destinationKeyId"))


def _object(context: dict[str, Any]) -> tuple[str, str | None, str | None]:
    """The kind of a call, and the bucket and key of the object, as far as its encryption context tells."""
    sealed = _CEK_ALGORITHM in context or _LEGACY_KEY in context or LOCATION_NAME in context
    bound = _text(context.get(LOCATION_NAME))
    if bound:
        try:
            place = locate_prefix(bound)
        except LocationError:
            pass
        else:
            return CSE, place.bucket, place.key
    match = _BUCKET_ARN.fullmatch(_text(context.get(_S3_ARN)) or "")
    bucket, key = (match[1] or match[3], match[2] or match[4] or None) if match else (None, None)
    if sealed:
        return CSE, bucket, key
    return (OTHER if bucket is None else SSE_KMS if key else BUCKET_KEY), bucket, key


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _time(value: Any) -> dt.datetime | None:
    try:
        moment = dt.datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
