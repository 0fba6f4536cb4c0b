"""Where a migration writes an object before it takes its place, and how nothing is left there."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from arrowseal.exceptions import ObjectNotFoundError, StoreAccessDeniedError
from arrowseal.location import INDEX_BEFORE, INDEX_BEHIND, MAX_KEY_BYTES, ObjectLocation
from arrowseal.segment_index import companion, delete_index

if TYPE_CHECKING:
    from arrowseal.counters import Operation
    from arrowseal.retrying import RetryingStore

_OF_INDEX: Final = len(INDEX_BEFORE + INDEX_BEHIND)
_MOST_VERSIONS: Final = 16
"""Of one staged object: one for each run that was killed, and the last. Older ones stay, but under no name."""


def staging_of(location: ObjectLocation) -> ObjectLocation:
    """Where an object is written before it takes its place: hidden from table engines, as its segment index is.

    >>> str(staging_of(ObjectLocation("lake", "2013/flights.csv")))
    's3://lake/2013/_arrowseal.flights.csv.migrating'
    """
    directory = location.key[: len(location.key) - len(location.name)]
    staging = ObjectLocation(location.bucket, f"{directory}_arrowseal.{location.name}.migrating")
    # Too long for itself or its index: a name that every run finds again, for this key alone.
    if companion(staging) is None:
        key = hashlib.sha256(location.key.encode()).hexdigest()[:32]
        staging = beside(location, f"_arrowseal.{key}.migrating", room=_OF_INDEX)
    return staging


def beside(location: ObjectLocation, name: str, *, room: int = 0) -> ObjectLocation:
    """An object of that name in the directory of another one; in the nearest directory above it, if any, where its key
    is no longer than S3 takes, with `room` bytes to spare.
    """
    directory = location.key[: len(location.key) - len(location.name)]
    while directory and len((directory + name).encode()) + room > MAX_KEY_BYTES:
        directory = directory[: directory[:-1].rfind("/") + 1]
    return ObjectLocation(location.bucket, directory + name)


def remove_staged(store: RetryingStore, staging: ObjectLocation, operation: Operation, *, versioned: bool) -> None:
    """Delete a staged object and its segment index; in a versioned bucket in all their versions, which nobody would
    look for and somebody would pay for. Where versions may not be deleted, or are locked, they stay.
    """
    # The object last: as long as it is there, a later run finds what is left.
    if not versioned:
        delete_index(store, staging, operation)
        store.delete(staging, operation, arguments={})
        return
    for place in (companion(staging), staging):
        if place is not None:
            _remove_versions(store, place, operation)


def _remove_versions(store: RetryingStore, place: ObjectLocation, operation: Operation) -> None:
    try:
        for _ in range(_MOST_VERSIONS):
            version = store.head(place, operation, arguments={}).version_id
            store.delete(place, operation, arguments={"VersionId": version} if version else {})
    except ObjectNotFoundError:
        return
    except StoreAccessDeniedError:
        pass
    store.delete(place, operation, arguments={})  # whatever stays, nobody shall find it under its name
