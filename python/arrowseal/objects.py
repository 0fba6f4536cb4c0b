"""An object with random access: pinned to one version of it, every byte proven before it is handed out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Buffer

    from arrowseal.location import ObjectLocation
    from arrowseal.store import StoredObject


class EncryptedObject:
    """An object to read ranges of, made by `Client.object`. Immutable, and pinned to the version that was there first.

    Safe to share between threads. Use it as a context manager, or `close` it.

    >>> with client.object("s3://lake/trips.parquet") as trips:  # doctest: +SKIP
    ...     magic = trips.read_at(trips.size - 4, 4)
    """

    in_memory = True
    """Whether all of it is held: reads then cost nothing."""

    def __init__(self, stored: StoredObject, content: Buffer, encryption: str, kms_key_arn: str | None) -> None:
        self._stored = stored
        self._content = memoryview(content)
        self.encryption = encryption
        """How it is protected: `"CSE V3"`, `"PLAIN"`, ..."""
        self.kms_key_arn = kms_key_arn
        """The key that unwrapped its data key; None for a plain object."""
        self.size = len(self._content)
        """Bytes of plaintext."""

    @property
    def location(self) -> ObjectLocation:
        return self._stored.location

    @property
    def etag(self) -> str:
        return self._stored.etag

    @property
    def version_id(self) -> str | None:
        return self._stored.version_id

    @property
    def last_modified(self) -> dt.datetime | None:
        return self._stored.last_modified

    @property
    def stored_bytes(self) -> int:
        return self._stored.stored_bytes

    def read_at(self, offset: int, length: int) -> Buffer:
        """The bytes from `offset` on, `length` of them or as many as there are: a read-only buffer."""
        return self.read_ranges([(offset, length)])[0]

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[Buffer]:
        """The bytes of each `(offset, length)`, in the order of the ranges.

        Raises:
            ObjectChangedError: it was overwritten or deleted since it was opened.
            AuthenticationError: a range does not authenticate; nothing of any range is handed out.
            ValueError: a negative offset or length.
        """
        if any(offset < 0 or length < 0 for offset, length in ranges):
            message = "a range has an offset and a length, neither negative"
            raise ValueError(message)
        return [self._content[offset : offset + length] for offset, length in ranges]

    def close(self) -> None:
        """Let go of what it holds. Buffers that were handed out stay."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<EncryptedObject {self.location}, {self.encryption}, {self.size:,} bytes>"

    def __reduce__(self) -> Any:
        raise TypeError("an EncryptedObject cannot be pickled: it holds a data key")
