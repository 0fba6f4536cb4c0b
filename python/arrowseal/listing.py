"""What a listing does not tell: HEAD requests side by side, one for each object."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from arrowseal.exceptions import (
    BucketNotFoundError,
    MetadataError,
    ObjectNotFoundError,
    StoreAccessDeniedError,
    StoreError,
    UnavailableError,
)
from arrowseal.head import encryption_label
from arrowseal.standby import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.metadata import EncryptedMetadata
    from arrowseal.retrying import RetryingStore
    from arrowseal.store import ListedObject, StoredObject

Claimed: TypeAlias = "Callable[[StoredObject, Operation], EncryptedMetadata | None]"
"""Gives what an object says of its encryption: `Reader.claimed`."""
_BATCH: Final = 1000  # asked for at a time: a bucket may have millions
MALFORMED = "CSE, malformed"
"""The label of an object whose encryption metadata makes no sense."""


def heads(
    store: RetryingStore,
    locations: Sequence[ObjectLocation],
    operation: Operation,
    threads: int,
    versions: Sequence[str | None] | None = None,
) -> Iterator[StoredObject | None]:
    """The HEAD of each object, or of the given version of each, in their order; None for one that is gone, and for one
    of SSE-C, of which S3 tells nothing without its key. Raises `StoreAccessDeniedError`, `UnavailableError`,
    `CredentialsError`.
    """

    def ask(location: ObjectLocation, version: str | None) -> StoredObject | None:
        try:
            return store.head(location, operation, arguments={"VersionId": version} if version else {})
        except (StoreAccessDeniedError, BucketNotFoundError, UnavailableError):
            raise
        except (ObjectNotFoundError, StoreError):
            return None

    named = versions or [None] * len(locations)
    with Threads(max(1, min(threads, len(locations))), "arrowseal-head") as beside:
        for begin in range(0, len(locations), _BATCH):
            batch = slice(begin, begin + _BATCH)
            asked = [beside.submit(ask, *which) for which in zip(locations[batch], named[batch], strict=True)]
            asked.reverse()
            while asked:
                yield asked.pop().result()


def told(
    store: RetryingStore, rows: Iterable[ListedObject], operation: Operation, threads: int, claimed: Claimed
) -> list[ListedObject]:
    """The rows of a listing with the encryption of each object, as its metadata (by `claimed`) and the server claim."""
    listed = list(rows)
    places = [index for index, row in enumerate(listed) if not row.is_prefix]
    answers = heads(store, [listed[index].location for index in places], operation, threads)
    for index, stored in zip(places, answers, strict=True):
        if stored is not None:
            listed[index] = replace(
                listed[index],
                encryption=_label(stored, operation, claimed),
                server_side=stored.server_side,
                server_side_key=stored.server_side_key,
                bucket_key=stored.bucket_key,
            )
    return listed


def _label(stored: StoredObject, operation: Operation, claimed: Claimed) -> str:
    try:
        return encryption_label(stored, claimed(stored, operation))
    except (MetadataError, ObjectNotFoundError):  # its instruction file is gone
        return MALFORMED
