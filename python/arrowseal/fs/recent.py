"""What was seen a moment ago, so that a library that asks several times in a row costs one request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arrowseal.fs.tree import Entry

_MOST: Final = 100_000


class Recent:
    """Entries by their paths, the newest ones. Safe to share between threads, without a lock that a fork could copy
    while it is held: each step is one of a dict.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, Entry]] = {}

    def get(self, path: str, seconds: float) -> Entry | None:
        """The entry at a path, if it was seen within so many seconds."""
        seen = self._seen.get(path)
        return seen[1] if seen is not None and time.monotonic() - seen[0] < seconds else None

    def keep(self, entries: Iterable[Entry]) -> None:
        """These were seen just now. Files of unknown size are left out: there is more to find out."""
        now = time.monotonic()
        for entry in entries:
            if entry.is_directory or entry.size is not None:
                self._seen.pop(entry.path, None)  # the newest are at the end
                self._seen[entry.path] = now, entry
        if len(self._seen) > _MOST:
            for path in list(self._seen)[: len(self._seen) - _MOST * 9 // 10]:
                self._seen.pop(path, None)

    def forget(self, path: str) -> None:
        """A path was written or deleted: forget it, and the directories that it is in."""
        while path:
            self._seen.pop(path, None)
            path = path.rpartition("/")[0]

    def forget_all(self, below: str = "") -> None:
        """Forget all, or all that is below a directory."""
        for path in list(self._seen):
            if not below or path.startswith(below + "/"):
                self._seen.pop(path, None)
