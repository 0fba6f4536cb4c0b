"""What names the files of a directory one by one, and would be wrong about them after a compaction: logs of tables and
summaries of Parquet files, below a prefix and in the directories above it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from arrowseal.exceptions import ConfigurationError, StoreAccessDeniedError
from arrowseal.tables.dataset_listing import table_with_log

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.retrying import RetryingStore
    from arrowseal.store import ListedObject

_SUMMARY: Final = "_metadata"
"""The row groups of all files of a directory, which dask, pyarrow and fastparquet write and go by."""
_BEGINNINGS: Final = ("_", ".hoodie", "metadata/")
"""How the keys begin, below a directory, of what names its files."""


def refuse_named_files(
    base: ObjectLocation, rows: Sequence[ListedObject], store: RetryingStore, operation: Operation
) -> None:
    """Raise `ConfigurationError` if one of these objects below `base`, or one in a directory above, names files.

    Three listings for each directory above; one that may not be listed is taken for one without.
    """
    _refuse(base, (row.location for row in rows))
    for directory in _above(base.key):
        for beginning in _BEGINNINGS:
            with suppress(StoreAccessDeniedError):
                listed = store.list(base.bucket, directory + beginning, operation, delimiter="/")
                _refuse(base, (row.location for row in listed))


def _refuse(base: ObjectLocation, there: Iterable[ObjectLocation]) -> None:
    locations = list(there)
    table = table_with_log(locations)
    if table is not None:
        raise ConfigurationError(
            f"{base}: {table} has a log that names its files: these would be gone, and rows that were deleted "
            "there back. Nothing was done: compact it by what writes it"
        )
    for location in locations:
        if location.name == _SUMMARY:
            raise ConfigurationError(
                f"{base}: {location} names the row groups of its files: who reads by it would find them gone. Nothing "
                "was done: delete it, and write it anew afterwards if it is needed"
            )


def _above(key: str) -> Iterator[str]:
    """The directories above one, the nearest first; the bucket's own is empty.

    >>> list(_above("a/b/"))
    ['a/', '']
    """
    while key:
        key = key[: key.rstrip("/").rfind("/") + 1]
        yield key
