"""The narrow protocol of S3 requests that everything above stands on, and the values that cross it."""

from __future__ import annotations

import base64
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from arrowseal import _core

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from typing_extensions import Buffer

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation


NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
"""No arguments."""
COPY_LIMIT: Final = 5 * 2**30
"""The largest object that one CopyObject copies."""
HEADERS: Final = (
    "ContentType",
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "Expires",
)
"""The headers that S3 takes with an object and gives back with it."""


@dataclass(slots=True)  # not frozen, which takes four times as long, for each object that is read
class StoredObject:
    """What S3 says of an object: all of it the server's claim, as it was. `metadata` is the user metadata."""

    location: ObjectLocation
    metadata: Mapping[str, str] = field(repr=False)
    stored_bytes: int
    etag: str
    version_id: str | None = None
    last_modified: dt.datetime | None = None
    content_type: str | None = None
    server_side: str | None = None
    """`"SSE-S3"`, `"SSE-KMS"`, `"SSE-C"`, or None where the server names no encryption of its own."""
    server_side_key: str | None = None
    """The KMS key of SSE-KMS."""
    bucket_key: bool | None = None
    """Whether the data key of SSE-KMS is that of an S3 Bucket Key; None for everything else."""
    ranged: bool = False
    """Whether the answer carried a part of the body only."""
    crc32: str | None = None
    """The CRC32 that is stored, as S3 writes it: of the whole object in the answer to a HEAD with `ChecksumMode`, of
    the bytes that come with the answer to a GET. None for checksums of parts and those of other kinds.
    """


def in_lower_case(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """User metadata by names in lower case, as S3 stores them, since what was written is looked for by its name: MinIO
    and others answer as HTTP libraries write headers, `X-Amz-Key-V2`. Names that differ in case alone stay as they are,
    for whoever refuses them.
    """
    if "".join(metadata).islower():
        return metadata
    lowered = {name.lower(): value for name, value in metadata.items()}
    return lowered if len(lowered) == len(metadata) else metadata


@dataclass(frozen=True, slots=True)
class ListedObject:
    """A row of a listing: an object, or with a delimiter a common prefix (`is_prefix`, no size)."""

    location: ObjectLocation
    stored_bytes: int = 0
    last_modified: dt.datetime | None = None
    etag: str = ""
    is_prefix: bool = False
    encryption: str | None = None
    """As `ObjectHead.encryption`, where it was asked for (`Client.list(url, encryption=True)`) and the server tells."""
    server_side: str | None = None
    """Likewise, and the two below: what the server does on its own, also with an object that is encrypted before."""
    server_side_key: str | None = None
    bucket_key: bool | None = None


class Payload:
    """Bytes on their way out: the same ones, with the same checksum, however often they are sent.

    They are `content[begin:end]`, without a copy, of a buffer that nobody can change.
    """

    def __init__(
        self,
        content: bytes | _core.SealedBuffer | _core.UnauthenticatedBuffer | _core.PlaintextBuffer,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        self._content = content
        self._begin = begin
        self._end = len(content) if end is None else end

    def __len__(self) -> int:
        return self._end - self._begin

    @property
    def own_bytes(self) -> int:
        """How many of them lie in memory of the core, and not in the caller's."""
        return 0 if isinstance(self._content, bytes) else len(self)

    @property
    def view(self) -> memoryview:
        """The bytes themselves, read-only."""
        return memoryview(self._content)[self._begin : self._end]

    @cached_property
    def crc32(self) -> str:
        """CRC32 as S3 writes it. Computed when first asked for, GIL released."""
        return base64.b64encode(_core.crc32(self._content, self._begin, self._end).to_bytes(4, "big")).decode()


@dataclass(frozen=True, slots=True)
class StoredRange:
    """Bytes that S3 has already: what a write copies there instead of sending them. They are `[begin, end)` of
    `source`, and of no other version of it; `source_arguments` are what a read of it has to say.
    """

    source: StoredObject
    begin: int
    end: int
    source_arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    own_bytes: ClassVar[int] = 0

    @classmethod
    def whole(cls, source: StoredObject) -> StoredRange:
        """All of an object."""
        return cls(source, 0, source.stored_bytes)

    def __len__(self) -> int:
        return self.end - self.begin

    @property
    def arguments(self) -> dict[str, Any]:
        """How a copy names its source."""
        origin = {"Bucket": self.source.location.bucket, "Key": self.source.location.key}
        origin |= {name: value for name, value in self.source_arguments.items() if name == "VersionId"}
        keys = {
            f"CopySource{name}": key for name, key in self.source_arguments.items() if name.startswith("SSECustomer")
        }
        return {"CopySource": origin, "CopySourceIfMatch": f'"{self.source.etag}"'} | keys


@dataclass(frozen=True, slots=True)
class ObjectAttributes:
    """An object with what belongs to it besides its bytes and its user metadata, and does not go along with a copy that
    replaces metadata. Tags and access control list are asked for apart.
    """

    stored: StoredObject
    arguments: Mapping[str, Any] = field(repr=False)
    """As arguments of boto3's `put_object`: content type and other headers, storage class, server-side encryption,
    website redirect, object lock.
    """
    checksums: Mapping[str, str]
    """Those that are stored, by the names of boto3."""
    tags: int = 0


@dataclass(frozen=True, slots=True)
class WrittenObject:
    """What S3 says of an object that it just took."""

    etag: str
    version_id: str | None


@dataclass(frozen=True, slots=True)
class WrittenPart:
    """A part that S3 took, as it wants it named when the upload is completed."""

    number: int
    etag: str
    crc32: str | None


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """A multipart upload that was neither completed nor aborted: its parts are stored and paid for, and no reader sees
    them.
    """

    location: ObjectLocation
    upload_id: str
    initiated: dt.datetime


def warn_of_parts(location: ObjectLocation, upload_id: str, error: Exception) -> None:
    """Warn of an upload that could not be given up, and say what removes it."""
    warnings.warn(
        f"{location}: the parts of the upload {upload_id} may still be stored ({error}). "
        "`arrowseal uploads --abort` or a lifecycle rule of the bucket removes them",
        ResourceWarning,
        stacklevel=3,
    )


AT_ONCE_BYTES: Final = 2**18
"""Up to this length most bodies are better taken in one piece than received in steps into their place."""


class Body(Protocol):
    """The bytes of an object on their way in, read once and in order."""

    at_once_bytes: ClassVar[int]
    """That length for bodies of this kind."""

    def readinto(self, target: memoryview, /) -> int:
        """Receive up to `len(target)` bytes; 0 at the end. Raises `TransferError` when the connection fails."""

    def take(self, size: int, /) -> Buffer:
        """The next `size` bytes in one piece, fewer at the end: for bodies so small that a place of their own costs
        more than a copy. Raises like `readinto`.
        """

    def interrupt(self) -> None:
        """From another thread, before `close`: who waits for bytes waits no more, where the connection can be reached,
        and gets a `TransferError` or the end.
        """

    def close(self) -> None:
        """Give the connection back, or end it if bytes are left."""


class Store(Protocol):
    """S3, or what speaks like it. Errors are `StoreError`s and `CredentialsError`; each call counts its requests.

    A call is one attempt: who calls has the budget for others. `arguments` are those of boto3's `get_object` or
    `put_object`; the calls of a multipart upload take from the latter what each of them knows.
    """

    def get(
        self,
        location: ObjectLocation,
        operation: Operation,
        *,
        byte_range: tuple[int, int],
        arguments: Mapping[str, Any],
    ) -> tuple[StoredObject, Body]:
        """Start one GET of the stored bytes `[start, end)`, or with a negative start of the last ones, as many as it
        says (`end` is 0 then); the caller closes the body.

        Where the object ends earlier the body does too, an empty object has an empty one, and a server that knows no
        ranges answers the whole (`ranged` is False then).
        """

    def head(self, location: ObjectLocation, operation: Operation, *, arguments: Mapping[str, Any]) -> StoredObject:
        """The object's metadata alone."""

    def attributes(
        self, location: ObjectLocation, operation: Operation, *, arguments: Mapping[str, Any]
    ) -> ObjectAttributes:
        """What `head` says, and all else that a HEAD tells."""

    def tags(self, location: ObjectLocation, operation: Operation, version_id: str | None = None) -> str:
        """The tags of an object as the argument `Tagging` has them; empty where there are none."""

    def grants(self, location: ObjectLocation, operation: Operation) -> dict[str, str]:
        """The access control list of an object as the arguments `Grant...`; empty where it is the owner's alone, and of
        servers that know none.
        """

    def check_put(self, location: ObjectLocation, *, metadata: Mapping[str, str], arguments: Mapping[str, Any]) -> None:
        """Raise `ConfigurationError` for arguments of a write that S3 does not know. No request."""

    def put(
        self,
        location: ObjectLocation,
        operation: Operation,
        payload: Payload | StoredRange,
        *,
        metadata: Mapping[str, str],
        arguments: Mapping[str, Any],
    ) -> WrittenObject:
        """Write an object at once. A `StoredRange` is all of an object of 5 GiB at most, and copied inside the server:
        its tags go along unless `arguments` have others, metadata and attributes are those given here.
        """

    def create_upload(
        self,
        location: ObjectLocation,
        operation: Operation,
        *,
        metadata: Mapping[str, str],
        arguments: Mapping[str, Any],
    ) -> str:
        """Begin a multipart upload; returns its id. `ChecksumAlgorithm=None` asks for no checksum of the whole: for
        copies, whose parts some servers count in wrongly. Amazon S3 then stores one of its own, CRC64NVME.
        """

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
        """Send a part, or have it copied, numbered from 1. All but the last have 5 MiB at least."""

    def complete_upload(
        self,
        location: ObjectLocation,
        operation: Operation,
        upload_id: str,
        parts: Sequence[WrittenPart],
        *,
        arguments: Mapping[str, Any],
    ) -> WrittenObject:
        """Make an object of the parts. Raises `UploadNotFoundError` for an upload that was completed or aborted."""

    def abort_upload(
        self,
        location: ObjectLocation,
        operation: Operation,
        upload_id: str,
        *,
        arguments: Mapping[str, Any] = NOTHING,
    ) -> None:
        """Give an upload up and its parts back; one that is gone is no error."""

    def list_uploads_page(
        self,
        bucket: str,
        prefix: str,
        operation: Operation,
        *,
        after: OpenUpload | None,
        arguments: Mapping[str, Any] = NOTHING,
    ) -> tuple[list[OpenUpload], OpenUpload | None]:
        """Up to 1,000 uploads under a prefix that are still open, and what to give as `after` for those that follow."""

    def has_parts(self, upload: OpenUpload, operation: Operation, *, arguments: Mapping[str, Any] = NOTHING) -> bool:
        """Whether any part of an open upload is stored."""

    def copy(
        self,
        source: ObjectLocation,
        target: ObjectLocation,
        operation: Operation,
        *,
        arguments: Mapping[str, Any] = NOTHING,
        source_arguments: Mapping[str, Any] = NOTHING,
    ) -> bool:
        """Copy inside the server, with metadata. `arguments` say how the server encrypts the copy, `source_arguments`,
        those of a read, what it needs to read the source, and which version of it. False where the source is longer
        than `COPY_LIMIT`: nothing was done then.
        """

    def delete(self, location: ObjectLocation, operation: Operation, *, arguments: Mapping[str, Any]) -> None:
        """Delete an object; one that does not exist is no error."""

    def list_page(
        self, bucket: str, prefix: str, operation: Operation, *, delimiter: str | None, token: str | None
    ) -> tuple[list[ListedObject], str | None]:
        """Up to 1,000 objects under a prefix, in the server's order, and the token of those that follow."""
