"""Copies of objects inside S3: at once, and of those that are too large for that part by part, several side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from arrowseal.exceptions import ObjectChangedError, ObjectNotFoundError, PreconditionFailedError, StoreError
from arrowseal.store import HEADERS, StoredRange, WrittenObject
from arrowseal.upload import Outgoing, Upload, part_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.retrying import RetryingStore
    from arrowseal.store import StoredObject

COPIED_PART: Final = 2**29
"""What one request copies: seconds of a server's work, which is what a fault costs."""


def copy_object(
    store: RetryingStore,
    source: ObjectLocation,
    target: ObjectLocation,
    operation: Operation,
    concurrency: int,
    *,
    arguments: Mapping[str, Any],
    source_arguments: Mapping[str, Any],
) -> None:
    """Copy an object with its metadata, headers and tags; arguments as those of `Store.copy`. A copy in parts becomes
    an object when all are there, and leaves nothing otherwise.

    Raises `ObjectNotFoundError` for a source that is not there, `ObjectChangedError` for one that was overwritten while
    its parts were copied; other `StoreError`s, `CredentialsError`.
    """
    if store.copy(source, target, operation, arguments=arguments, source_arguments=source_arguments):
        return
    try:
        _copy_in_parts(store, source, target, operation, concurrency, arguments, source_arguments)
    except ObjectNotFoundError:
        raise ObjectNotFoundError(f"{source}: deleted before it was copied to {target}") from None
    except PreconditionFailedError:
        raise ObjectChangedError(f"{source}: overwritten while it was copied to {target}: copy it again") from None


def copied_ranges(size: int, longest: int) -> Iterator[tuple[int, int]]:
    """Where an object of that size is cut to be copied in parts of at most so many bytes, or as many more as S3's limit
    of their number makes them.
    """
    length = part_bytes(longest, 1, size)
    return ((begin, min(begin + length, size)) for begin in range(0, size, length))


def _copy_in_parts(
    store: RetryingStore,
    source: ObjectLocation,
    target: ObjectLocation,
    operation: Operation,
    concurrency: int,
    arguments: Mapping[str, Any],
    source_arguments: Mapping[str, Any],
) -> None:
    # Such a copy keeps nothing of its source, so all is given again.
    kept = store.attributes(source, operation, arguments=source_arguments)
    given = {name: value for name, value in kept.arguments.items() if name in HEADERS}
    if kept.tags:
        given["Tagging"] = store.tags(source, operation, source_arguments.get("VersionId"))
    outgoing = Outgoing(kept.stored.metadata, {**given, **arguments, "ChecksumAlgorithm": None}, None)
    upload = _LargeCopy(store, target, operation, outgoing, concurrency, kept.stored)
    try:
        for begin, end in copied_ranges(kept.stored.stored_bytes, COPIED_PART):
            upload.send(StoredRange(kept.stored, begin, end, source_arguments))
        upload.complete()
    except BaseException:
        upload.abort()
        raise


class _LargeCopy(Upload):
    """Its metadata are those of its source, without a token. What tells that it was made is what was not there before:
    an object of that size with these metadata.
    """

    def __init__(
        self,
        store: RetryingStore,
        target: ObjectLocation,
        operation: Operation,
        outgoing: Outgoing,
        concurrency: int,
        source: StoredObject,
    ) -> None:
        super().__init__(store, target, operation, outgoing, concurrency)
        self._source = source
        self._before = self._etag()

    def _etag(self) -> str | None:
        """That of what lies there, empty where there is nothing; None if that cannot be told."""
        try:
            return self._head().etag
        except ObjectNotFoundError:
            return ""
        except StoreError:
            return None

    def _ours(self) -> WrittenObject | None:
        there = self._head()
        is_new = self._before is not None and there.etag != self._before
        if is_new and (there.stored_bytes, there.metadata) == (self._source.stored_bytes, self._source.metadata):
            return WrittenObject(there.etag, there.version_id)
        return None
