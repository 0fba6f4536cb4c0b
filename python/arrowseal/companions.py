"""What lies beside an object and belongs to it: its segment index and its instruction file. Copied along, deleted with
it, and shown in no listing.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from arrowseal import instruction_file
from arrowseal.exceptions import StoreError
from arrowseal.location import COMPACTING
from arrowseal.segment_index import copy_index, delete_index

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.retrying import RetryingStore


def belongs_to_another(location: ObjectLocation, suffix: str | None) -> bool:
    """Whether this is a segment index, what a compaction notes down, or an instruction file by that suffix."""
    if location.is_index or location.name == COMPACTING:
        return True
    return instruction_file.is_instruction_file(location, suffix)


@contextlib.contextmanager
def copied_along(
    store: RetryingStore,
    source: ObjectLocation,
    target: ObjectLocation,
    suffix: str | None,
    operation: Operation,
    arguments: Mapping[str, Any],
    version_id: str | None = None,
) -> Iterator[None]:
    """What belongs to an object goes where the block copies the object: its instruction file before it, and taken back
    if the block raises, its index after it. There is one index for all versions, that of the newest: a copy of another
    one has none. Raises `LocationError` before any request where the target's key is that of
    an instruction file; `StoreError`s, `CredentialsError`.
    """
    beside = None
    if suffix is not None:
        instruction_file.check_key(target, suffix)
        beside = instruction_file.of_copy(store, source, target, suffix, operation, arguments)
    with instruction_file.in_step(beside):
        yield
    if version_id is None or _is_newest(store, source, version_id, operation):
        copy_index(store, source, target, operation, arguments)
    else:
        delete_index(store, target, operation)


def _is_newest(store: RetryingStore, location: ObjectLocation, version_id: str, operation: Operation) -> bool:
    try:
        return store.head(location, operation, arguments={}).version_id == version_id
    except StoreError:
        return False  # deleted, or not to be looked at without its customer key: without an index nothing is wrong


def delete_along(store: RetryingStore, location: ObjectLocation, suffix: str | None, operation: Operation) -> None:
    """Delete what belongs to an object that was deleted. Raises `StoreError`s, `CredentialsError`."""
    if suffix is not None:
        instruction_file.remove(store, location, suffix, operation)
    delete_index(store, location, operation)
