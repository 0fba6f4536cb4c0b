"""The narrow protocol of S3 requests that everything above stands on, and the values that cross it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping

    from typing_extensions import Buffer

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What S3 says of an object: all of it the server's claim. `metadata` is the user metadata."""

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
    ranged: bool = False
    """Whether the answer carried a part of the body only."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """A row of a listing: an object, or with a delimiter a common prefix (`is_prefix`, no size)."""

    location: ObjectLocation
    stored_bytes: int = 0
    last_modified: dt.datetime | None = None
    etag: str = ""
    is_prefix: bool = False


class Body(Protocol):
    """The bytes of an object on their way in, read once and in order."""

    def readinto(self, target: memoryview, /) -> int:
        """Receive up to `len(target)` bytes; 0 at the end. Raises `TransferError` when the connection fails."""

    def close(self) -> None:
        """Give the connection back, or end it if bytes are left."""


class Store(Protocol):
    """S3, or what speaks like it. Errors are `StoreError`s and `CredentialsError`; each call counts its requests."""

    def get(
        self,
        location: ObjectLocation,
        operation: Operation,
        *,
        byte_range: tuple[int, int],
        arguments: Mapping[str, Any],
    ) -> tuple[StoredObject, Body]:
        """Start one GET of the stored bytes `[start, end)`; the caller closes the body.

        Where the object ends earlier the body does too, an empty object has an empty one, and a server that knows no
        ranges answers the whole (`ranged` is False then).
        """

    def head(self, location: ObjectLocation, operation: Operation, *, arguments: Mapping[str, Any]) -> StoredObject:
        """The object's metadata alone."""

    def check_put(self, location: ObjectLocation, *, metadata: Mapping[str, str], arguments: Mapping[str, Any]) -> None:
        """Raise `ConfigurationError` for arguments of a write that S3 does not know. No request."""

    def put(
        self,
        location: ObjectLocation,
        operation: Operation,
        content: Buffer,
        *,
        metadata: Mapping[str, str],
        arguments: Mapping[str, Any],
    ) -> tuple[str, str | None]:
        """Write an object at once; a retry sends the same bytes. Returns ETag and version id."""

    def copy(self, source: ObjectLocation, target: ObjectLocation, operation: Operation) -> None:
        """Copy inside the server, with metadata."""

    def delete(self, location: ObjectLocation, operation: Operation, *, arguments: Mapping[str, Any]) -> None:
        """Delete an object; one that does not exist is no error."""

    def list(
        self, bucket: str, prefix: str, operation: Operation, *, delimiter: str | None = None
    ) -> Iterator[ListedObject]:
        """Every object under a prefix, in the server's order."""
