"""The end of the interpreter: files that are being written are given up, and pyarrow's threads get a moment.

Arrow's pools let go of file systems, files and buffers a moment after the call that used them returned. A thread that
does so while the interpreter ends takes the process down ("terminate called without an active exception"), since it
cannot get the GIL any more: open upstream as apache/arrow #50482, #34314, #36389. So the interpreter waits until no
file of ours is held, nor what was read of it, and a moment longer for what cannot be seen. That was found by trying,
and proves nothing.
"""

from __future__ import annotations

import atexit
import time
import weakref
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from typing_extensions import Buffer

_TURNS: Final = 16
_TURN_SECONDS: Final = 0.002
"""What pool threads get after the last file was let go of: they need the GIL once for each object that they hold. Many
short turns: where processors are taken, each of them takes longer, for this thread too.
"""
_MOST_SECONDS: Final = 0.1
"""Files that the program itself still holds are not waited for any longer."""

_reading: dict[int, weakref.ref[Any]] = {}
_writing: dict[int, weakref.ref[Any]] = {}
_registered = False


def wait_for(file: Any) -> None:
    """At the end of the interpreter, wait for a file that is read."""
    _watch(_reading, file)


def lent(content: Buffer) -> memoryview:
    """A view of content for a library's threads: the end of the interpreter waits until they have let go of it. Theirs
    may be the last hand on it, long after the file is gone.
    """
    view = memoryview(content)
    wait_for(view)
    return view


class Work:
    """Work of a library's thread on what is ours: the end of the interpreter waits while somebody holds on to this, and
    a moment longer, also when it is gone already.
    """

    def __init__(self) -> None:
        wait_for(self)


def give_up(file: Any) -> None:
    """At the end of the interpreter, `abandon` a file that is still being written."""
    _watch(_writing, file)


def _watch(files: dict[int, weakref.ref[Any]], file: Any) -> None:
    global _registered
    key = id(file)
    files[key] = weakref.ref(file, lambda _: files.pop(key, None))
    if not _registered:  # two threads may both come here: then the wait is longer
        _registered = True
        atexit.register(_end)


def _end() -> None:
    for reference in list(_writing.values()):
        file = reference()
        if file is not None:
            file.abandon()

    deadline = time.monotonic() + _MOST_SECONDS
    while len(_reading) and time.monotonic() < deadline:
        time.sleep(_TURN_SECONDS)
    for _ in range(_TURNS):
        time.sleep(_TURN_SECONDS)
