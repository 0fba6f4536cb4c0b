"""A bucket seen as directories and files: prefixes and objects, with sizes of plaintext."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from arrowseal.exceptions import BucketNotFoundError, ObjectNotFoundError
from arrowseal.fs.access import bare, location_of, prefix_of
from arrowseal.fs.side_by_side import side_by_side
from arrowseal.suites import V3

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from arrowseal.fs.access import Access
    from arrowseal.objects import EncryptedObject
    from arrowseal.store import ListedObject

_TAG_BYTES: Final = V3.suite.tag_bytes
_MADE: Final = 10_000
"""Directories that are remembered although nothing is in them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a directory. `size` is None where only a request for this one file would tell."""

    path: str
    is_directory: bool = False
    size: int | None = None
    modified: dt.datetime | None = None
    etag: str = ""
    version_id: str | None = None

    @classmethod
    def of(cls, source: EncryptedObject) -> Entry:
        """The file that was opened: no claim, but what is read."""
        where = source.location
        path = f"{where.bucket}/{where.key}"
        return cls(path, False, source.size, source.last_modified, source.etag, source.version_id)


class Tree:
    """Looks, and no cache: every answer is of this moment. Safe to share between threads.

    A listing tells the size that is stored, and not whether an object is encrypted. Whatever is read here carries a tag
    of 16 bytes; so without `allow_plaintext`, the size of what can be read is the stored one less 16. With it a listing
    leaves sizes open, and `entry` asks for the object's metadata.

    S3 has no directories. One that was made and is empty is remembered here, and nowhere else.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._made: dict[str, None] = {}
        self._lock = threading.Lock()

    def entry(self, path: str) -> Entry | None:
        """What is at a path, an object before a directory; None for nothing. One request, for directories two."""
        path = bare(path)
        if not path:
            return Entry("", is_directory=True)
        if "/" in path:
            location = location_of(path)
            try:
                head = self._access.client.head(location, **self._access.head_keywords())
            except ObjectNotFoundError:
                pass
            else:
                return Entry(path, False, head.plaintext_bytes, head.last_modified, head.etag, head.version_id)
        try:
            return None if self.children(path) is None else Entry(path, is_directory=True)
        except BucketNotFoundError:
            return None

    def children(self, path: str) -> list[Entry] | None:
        """What is directly in a directory; None if there is no such directory. Raises `BucketNotFoundError`."""
        path, prefix = bare(path), prefix_of(path)
        rows = self._access.client.list(prefix, delimiter="/")
        if not rows and prefix.key and not self.is_made(path):
            return None
        return [entry for entry in map(self._listed, rows) if entry.path != path]

    def below(self, path: str, depth: int | None = None) -> list[Entry] | None:
        """What is in a directory and the directories in it, `depth` levels down or all; None if there is no such one.

        All levels take one listing. For some of them, each directory is listed, several at a time: there may be much
        more below.
        """
        if depth is not None:
            return self._levels(path, depth)
        path, prefix = bare(path), prefix_of(path)
        rows = self._access.client.list(prefix)
        if not rows and prefix.key and not self.is_made(path):
            return None
        files = [self._listed(row) for row in rows if not row.location.key.endswith("/")]
        markers = [self._listed(row) for row in rows if row.location.key.endswith("/")]
        directories = _parents([*files, *markers], path) | {entry.path for entry in markers if entry.path != path}
        return [*(Entry(directory, is_directory=True) for directory in sorted(directories)), *files]

    def _levels(self, path: str, depth: int) -> list[Entry] | None:
        first = self.children(path)
        if first is None:
            return None
        found, level = list(first), first
        for _ in range(depth - 1):
            inner = side_by_side(self.children, (entry.path for entry in level if entry.is_directory))
            level = [entry for entries in inner for entry in entries or ()]
            found += level
        return found

    def make(self, path: str) -> None:
        """Remember a directory that nothing is in."""
        with self._lock:
            self._made[bare(path)] = None
            while len(self._made) > _MADE:
                del self._made[next(iter(self._made))]

    def forget(self, path: str) -> None:
        """No longer remember a directory, nor those in it."""
        gone = bare(path)
        with self._lock:
            for made in [made for made in self._made if made == gone or made.startswith(gone + "/")]:
                del self._made[made]

    def is_made(self, path: str) -> bool:
        """Whether a directory is remembered."""
        return path in self._made

    def delete(self, entries: Iterable[Entry]) -> None:
        """Delete those entries that are files, several at a time."""
        paths = [entry.path for entry in entries if not entry.is_directory]
        side_by_side(lambda path: self._access.client.delete(location_of(path)), paths)

    def move(self, source: str, target: str) -> None:
        """Copy a file inside S3, then delete it where it was. Raises what `Client.copy` does."""
        self._access.client.copy(location_of(source), location_of(target))
        self._access.client.delete(location_of(source))

    def _listed(self, row: ListedObject) -> Entry:
        path = f"{row.location.bucket}/{row.location.key}"
        if row.is_prefix or path.endswith("/"):
            return Entry(path.rstrip("/"), is_directory=True)
        size = None if self._access.plain else max(0, row.stored_bytes - _TAG_BYTES)
        return Entry(path, False, size, row.last_modified, row.etag)


def _parents(entries: Iterable[Entry], root: str) -> set[str]:
    """The directories between a root and what is below it."""
    found: set[str] = set()
    for entry in entries:
        parent = entry.path.rpartition("/")[0].rstrip("/")
        while len(parent) > len(root) and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0].rstrip("/")
    return found
