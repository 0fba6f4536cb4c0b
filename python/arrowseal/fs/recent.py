"""What was found out a moment ago, so that a library that asks several times in a row costs one request."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arrowseal.fs.tree import Entry

_MOST: Final = 100_000


class Recent:
    """Entries by their paths, for `seconds` after they were seen. Safe to share between threads."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: dict[str, tuple[float, Entry]] = {}
        self._lock = threading.Lock()

    def get(self, path: str) -> Entry | None:
        """The entry at a path, if it was seen lately."""
        with self._lock:
            seen = self._seen.get(path)
        return seen[1] if seen is not None and time.monotonic() - seen[0] <= self._seconds else None

    def keep(self, entries: Iterable[Entry]) -> None:
        """These were seen just now. Files of unknown size are left out: there is more to find out."""
        now = time.monotonic()
        with self._lock:
            for entry in entries:
                if entry.is_directory or entry.size is not None:
                    self._seen.pop(entry.path, None)  # the newest are at the end
                    self._seen[entry.path] = now, entry
            while len(self._seen) > _MOST:
                del self._seen[next(iter(self._seen))]

    def forget(self, path: str | None = None) -> None:
        """Something was done to a path: forget it, the directories it is in, and what is in it. Or forget all."""
        with self._lock:
            if path is None:
                self._seen.clear()
                return
            gone = [seen for seen in self._seen if seen == path or seen.startswith(path + "/")]
            while path:
                gone.append(path)
                path = path.rpartition("/")[0]
            for name in gone:
                self._seen.pop(name, None)
