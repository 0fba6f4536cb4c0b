"""Where an object lives: `s3://bucket/key` as a checked value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from arrowseal.exceptions import ConfigurationError, DirectoryKeyError, LocationError

Url: TypeAlias = "str | ObjectLocation"

_BUCKET = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}|arn:aws[a-z-]*:s3[a-z-]*:[^/]*:(?:outpost[/:][^/]+[/:])?accesspoint[/:][^/]+"
)
_URL = re.compile(r"s3://(arn:[^/]*:(?:outpost/[^/]+/)?accesspoint/[^/]+|[^/]*)(?:/(.*))?", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SUFFIX = re.compile(r"[.][A-Za-z0-9._-]{1,63}")
MAX_KEY_BYTES = 1024  # the limit of S3, in UTF-8
INSTRUCTION_SUFFIX = ".instruction"
"""What every client appends to an object's key to name its instruction file, unless told otherwise."""
INDEX_BEFORE, INDEX_BEHIND = "_arrowseal.", ".index"
"""What the name of a segment index begins and ends with."""
COMPACTING = "_arrowseal.compacting"
"""The name of what a compaction notes down in each directory while it is at work there."""


@dataclass(frozen=True, slots=True)
class ObjectLocation:
    """A bucket and a key. `str()` gives the `s3://` URL."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def name(self) -> str:
        """The last component of the key."""
        return self.key.rsplit("/", 1)[-1]

    @property
    def is_index(self) -> bool:
        """Whether this is where the segment index of another object lies."""
        return self.key.endswith(INDEX_BEHIND) and self.name.startswith(INDEX_BEFORE)

    @property
    def suffixes(self) -> list[str]:
        """The extensions of the name in lower case: `['.csv', '.gz']` for `flights.csv.gz`."""
        return ["." + part.lower() for part in self.name.lstrip(".").split(".")[1:]]


def locate(url: Url | None = None, *, bucket: str | None = None, key: str | None = None) -> ObjectLocation:
    """The location of one object, from an `s3://bucket/key` URL or from `bucket` and `key`.

    Nothing in a key is special: `?`, `#`, `%` and spaces are characters of the key, as in boto3. Raises `LocationError`
    for anything that names no object, and `DirectoryKeyError` for a key that is empty or ends in `/`.

    >>> locate("s3://tables/2013/flights.csv.gz").suffixes
    ['.csv', '.gz']
    >>> locate(bucket="tables", key="a b#1.parquet")
    ObjectLocation(bucket='tables', key='a b#1.parquet')
    """
    location = locate_prefix(url, bucket=bucket, key=key)
    if not location.key or location.key.endswith("/"):
        raise DirectoryKeyError(
            f"{location} names a prefix, not an object: give the key of one object, or list the prefix with Client.list"
        )
    return location


def locate_prefix(url: Url | None = None, *, bucket: str | None = None, key: str | None = None) -> ObjectLocation:
    """Like `locate`, for a bucket or a prefix: the key may be empty or end in `/`."""
    if isinstance(url, ObjectLocation):
        if bucket is not None or key is not None:
            raise LocationError("give either a location, or bucket= and key=, not both")
        return url
    if url is None:
        if bucket is None or key is None:
            raise LocationError("no object named: give an s3://bucket/key URL, or bucket= and key=")
        if not isinstance(bucket, str) or not isinstance(key, str):
            raise LocationError("bucket= and key= are strings")
    else:
        if bucket is not None or key is not None:
            raise LocationError("give either an s3:// URL, or bucket= and key=, not both")
        if not isinstance(url, str):
            raise LocationError(f"an s3://bucket/key URL is expected, not {type(url).__name__}")
        match = _URL.fullmatch(url)
        if match is None:
            raise LocationError(f"{url!r} is not an s3://bucket/key URL: arrowseal reads and writes S3 objects")
        bucket, key = match[1], match[2] or ""
    if not _BUCKET.fullmatch(bucket):
        raise LocationError(f"{bucket!r} is not the name of a bucket, nor the ARN of an access point")
    if _CONTROL.search(key):
        raise LocationError(f"the key {key!r} contains control characters")
    return check_key(ObjectLocation(bucket, key))


def check_key(location: ObjectLocation) -> ObjectLocation:
    """The location itself. Raises `LocationError` if S3 can have no such key: it is too long, or no UTF-8, as names of
    files may be.
    """
    try:
        too_long = len(location.key.encode()) > MAX_KEY_BYTES
    except UnicodeEncodeError:
        raise LocationError(f"the key {location.key!r} cannot be written as UTF-8") from None
    if too_long:
        raise LocationError(f"the key is longer than {MAX_KEY_BYTES} bytes of UTF-8")
    return location


def version_arguments(version_id: str | None) -> dict[str, str]:
    """The argument of boto3 for a call about one version of an object, none for None.

    Raises `ConfigurationError` for an empty id: that is what an empty field of a frame gives, and it would name the
    object itself, to be deleted perhaps.

    >>> version_arguments("3sL4kqtJ")
    {'VersionId': '3sL4kqtJ'}
    """
    if version_id is None:
        return {}
    if not isinstance(version_id, str) or not version_id or not version_id.isascii():
        raise ConfigurationError(
            f"version_id={version_id!r} names no version: give the id of one, or leave it out for the latest"
        )
    return {"VersionId": version_id}


def check_suffix(instruction_files: bool | str) -> str | None:
    """The suffix that `instruction_files=` says: None for False, `".instruction"` for True, or a suffix of one's own.

    Raises `ConfigurationError` for anything else.
    """
    if isinstance(instruction_files, bool):
        return INSTRUCTION_SUFFIX if instruction_files else None
    if not isinstance(instruction_files, str) or not _SUFFIX.fullmatch(instruction_files):
        raise ConfigurationError(
            f"instruction_files={instruction_files!r} is not known: True, False, or a suffix such as '.instruction-2': "
            "a dot, then letters, digits, dots, dashes and underscores"
        )
    return instruction_files
