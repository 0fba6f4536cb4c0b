"""Buckets seen as directories and files: prefixes and objects, with sizes of plaintext."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from arrowseal.exceptions import BucketNotFoundError, ObjectExistsError, ObjectNotFoundError
from arrowseal.fs.access import bare, is_below_a_bucket, location_of, prefix_of
from arrowseal.fs.files import OutputFile
from arrowseal.fs.recent import Recent
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
_HINT_SECONDS: Final = 60.0
"""How long a size helps to decide how an object is asked for. It need not be right."""


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
    """What is where, and where things go. Safe to share between threads.

    Answers are of this moment, and what was seen is noted in `recent`: for `lately`, and for the first request to a
    file that a listing named, which may take a small object whole.

    A listing tells the size that is stored, and not whether an object is encrypted. Whatever is read here carries a tag
    of 16 bytes; so without `allow_plaintext`, the size of what can be read is the stored one less 16, and what is
    shorter has none: a file of 0 bytes would be passed over, where it has to be refused. With it a listing leaves sizes
    open, and `entry` asks for the object's metadata.

    S3 has no directories. One that was made and is empty is remembered here, and nowhere else. Objects whose keys end
    in `/`, by which other tools mark directories, are taken for that, and left alone.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        self.recent = Recent()
        self._made: dict[str, None] = {}  # in the order they were made; no lock, as in Recent

    def lately(self, path: str, seconds: float) -> Entry | None:
        """What `entry` gives, or what was seen within so many seconds."""
        return self.recent.get(bare(path), seconds) or self.entry(path)

    def entry(self, path: str) -> Entry | None:
        """What is at a path, an object before a directory; None for nothing. One request, for directories two."""
        path = bare(path)
        found = self._file(path) if is_below_a_bucket(path) else None
        if found is None and self._is_directory(path):
            found = Entry(path, is_directory=True)
        self.recent.keep([found] if found else [])
        return found

    def version(self, path: str, version_id: str) -> Entry | None:
        """A version of a file, as it is; None if there is none of that id."""
        return self._file(bare(path), version_id)

    def _file(self, path: str, version_id: str | None = None) -> Entry | None:
        try:
            head = self.access.client.head(location_of(path), version_id=version_id, **self.access.head_keywords())
        except (ObjectNotFoundError, BucketNotFoundError):  # some servers tell a HEAD which of the two
            return None
        return Entry(path, False, head.plaintext_bytes, head.last_modified, head.etag, head.version_id)

    def _is_directory(self, path: str) -> bool:
        try:
            return not path or self.children(path) is not None
        except BucketNotFoundError:
            return False

    def children(self, path: str) -> list[Entry] | None:
        """What is directly in a directory; None if there is no such directory. Raises `BucketNotFoundError`."""
        path, prefix = bare(path), prefix_of(path)
        rows = self.access.client.list(prefix, delimiter="/")
        if not rows and prefix.key and path not in self._made:
            return None
        found = [entry for entry in map(self._listed, rows) if entry.path != path]
        self.recent.keep(found)
        return found

    def below(self, path: str, depth: int | None = None) -> list[Entry] | None:
        """What is in a directory and the directories in it, `depth` levels down or all; None if there is no such one.

        All levels take one listing. For some of them, each directory is listed, several at a time: there may be much
        more below.
        """
        if depth is not None:
            return self._levels(path, depth)
        path, prefix = bare(path), prefix_of(path)
        rows = self.access.client.list(prefix)
        if not rows and prefix.key and path not in self._made:
            return None
        listed = [entry for entry in map(self._listed, rows) if entry.path != path]
        files = [entry for entry in listed if not entry.is_directory]
        directories = _parents(listed, path) | {entry.path for entry in listed if entry.is_directory}
        found = [*(Entry(directory, is_directory=True) for directory in sorted(directories)), *files]
        self.recent.keep(found)
        return found

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

    def open(self, path: str, **keywords: Any) -> EncryptedObject:
        """The object at a path, without an index also if it is large: by two passes then. Raises what `Client.object`
        does.
        """
        seen = self.recent.get(bare(path), _HINT_SECONDS)
        hint = None if seen is None or seen.size is None or self.access.plain else seen.size + _TAG_BYTES
        source = self.access.source(path, **{"size_hint": hint, "two_passes": True} | keywords)
        if keywords.get("version_id") is None:
            self.recent.keep([Entry.of(source)])
        return source

    def create(self, path: str, mode: str = "wb", *, autocommit: bool = True, **keywords: Any) -> OutputFile:
        """A file that becomes the object at a path. Raises what `Client.open` does; for mode `"xb"` also
        `ObjectExistsError`.
        """
        if mode == "xb" and self.entry(path) is not None:
            raise ObjectExistsError(f"s3://{bare(path)}: it is there already, and was to be a new one")
        writer = self.access.writer(path, mode, **keywords)
        return OutputFile(writer, mode, autocommit=autocommit, committed=lambda: self.recent.forget(bare(path)))

    def delete(self, path: str) -> None:
        """Delete a file. One that does not exist is no error, as in S3."""
        self.access.client.delete(location_of(path))
        self.recent.forget(bare(path))

    def copy(self, source: str, target: str, version_id: str | None = None) -> None:
        """Copy a file inside S3, or a version of it: it stays sealed. Onto itself nothing is done, which S3 refuses.
        Raises what `Client.copy` does.
        """
        origin, goal, keywords = location_of(source), location_of(target), self.access.copy_keywords()
        if version_id is not None:
            keywords = {**keywords, "version_id": version_id}
        if origin == goal and not keywords:
            self.access.client.head(origin)  # it has to be there
            return
        self.access.client.copy(origin, goal, **keywords)
        self.recent.forget(bare(target))

    def move(self, source: str, target: str) -> None:
        """Copy a file inside S3, then delete it where it was. Raises what `Client.move` does."""
        self.access.client.move(location_of(source), location_of(target), **self.access.copy_keywords())
        self.recent.forget(bare(source))
        self.recent.forget(bare(target))

    def make_directory(self, path: str) -> None:
        """Remember a directory that nothing is in."""
        self._made[bare(path)] = None
        for made in list(self._made)[: max(0, len(self._made) - _MADE)]:
            self._made.pop(made, None)

    def forget_directory(self, path: str) -> None:
        """No longer remember a directory, nor those in it."""
        gone = bare(path)
        for made in list(self._made):
            if made == gone or made.startswith(gone + "/"):
                self._made.pop(made, None)
        self.recent.forget(gone)

    def _listed(self, row: ListedObject) -> Entry:
        path = f"{row.location.bucket}/{row.location.key}"
        if row.is_prefix or path.endswith("/"):
            return Entry(path.rstrip("/"), is_directory=True)
        readable = not self.access.plain and row.stored_bytes >= _TAG_BYTES
        size = row.stored_bytes - _TAG_BYTES if readable else None
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
