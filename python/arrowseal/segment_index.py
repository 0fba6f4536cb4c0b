"""The segment index beside an object: where it lies, how it comes and goes. Its bytes are the core's business.

An index is a companion object, hidden from table engines by the underscore that its name begins with (Spark, Hive,
Athena and Arrow skip such names), and no object of the formats: other clients neither see nor need it. It is masked by
a key of the object's own, so that it may be read by anyone; whatever is in it, nothing is handed out that it does not
prove.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from arrowseal.exceptions import ObjectNotFoundError, StoreAccessDeniedError
from arrowseal.location import INDEX_BEFORE, INDEX_BEHIND, MAX_KEY_BYTES, ObjectLocation
from arrowseal.outgoing import shared_arguments
from arrowseal.store import Payload
from arrowseal.transfer import exactly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal.counters import Operation
    from arrowseal.retrying import RetryingStore

_LONGEST: Final = 64 + 16 * 2**21  # of 64 GiB in segments of 32 KiB


def companion(location: ObjectLocation) -> ObjectLocation | None:
    """Where the index of an object lies; None where the key is so long that it has none.

    The equals sign, which Spark takes for a partition, and the percent sign are encoded.

    >>> str(companion(ObjectLocation("lake", "year=2013/a=b.parquet")))
    's3://lake/year=2013/_arrowseal.a%3Db.parquet.index'
    """
    name = location.name.replace("%", "%25").replace("=", "%3D")
    key = location.key[: len(location.key) - len(location.name)] + INDEX_BEFORE + name + INDEX_BEHIND
    return ObjectLocation(location.bucket, key) if len(key.encode()) <= MAX_KEY_BYTES else None


def fetch_index(
    store: RetryingStore, location: ObjectLocation, operation: Operation, arguments: Mapping[str, Any]
) -> bytes | None:
    """The bytes beside an object that may be its index; None if nothing is there, or nothing that may be read."""
    beside = companion(location)
    if beside is None:
        return None
    shared = shared_arguments(arguments)

    def call() -> bytes | None:
        stored, body = store.get(beside, operation, byte_range=(0, _LONGEST), arguments=shared)
        try:
            if stored.stored_bytes > _LONGEST:
                return None
            with operation.timed("s3"):
                return bytes(exactly(body, stored.stored_bytes, beside))
        finally:
            body.close()

    try:
        return store.repeat(operation, call)
    except (ObjectNotFoundError, StoreAccessDeniedError):
        return None


def publish_index(
    store: RetryingStore, location: ObjectLocation, index: bytes, operation: Operation, arguments: Mapping[str, Any]
) -> None:
    """Put an index beside its object. Raises `StoreError`s and `CredentialsError`."""
    beside = companion(location)
    if beside is None:
        return
    shared = shared_arguments(arguments)
    payload = Payload(index)
    store.repeat(operation, lambda: store.put(beside, operation, payload, metadata={}, arguments=shared))


def copy_index(
    store: RetryingStore,
    source: ObjectLocation,
    target: ObjectLocation,
    operation: Operation,
    arguments: Mapping[str, Any],
) -> None:
    """Take the index of an object along, if it has one. A target whose own is left behind has one that fits no more."""
    origin, goal = companion(source), companion(target)
    if origin is None or goal is None:
        return
    shared = shared_arguments(arguments)
    try:
        store.copy(origin, goal, operation, arguments=shared)
    except (ObjectNotFoundError, StoreAccessDeniedError):
        return


def delete_index(store: RetryingStore, location: ObjectLocation, operation: Operation) -> None:
    """Delete the index of an object. Looked for first: a versioned bucket marks also what never was as deleted."""
    beside = companion(location)
    if beside is None:
        return
    try:
        store.head(beside, operation, arguments={})
    except (ObjectNotFoundError, StoreAccessDeniedError):
        return
    store.delete(beside, operation, arguments={})
