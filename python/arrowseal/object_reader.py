"""A file to read an object from: random access and proven bytes, fetched ahead of who reads from front to back."""

from __future__ import annotations

import io
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from arrowseal.cancellation import Cancellation, CancelledWork, cancellation, join
from arrowseal.fork_lock import ForkLock
from arrowseal.outcomes import results

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from arrowseal.objects import EncryptedObject

_FIRST_AHEAD: Final = 2**20
_MOST_AHEAD: Final = 32 * 2**20
"""Of these two are held: what is read, and what comes next. Eight connections fill it within half a second."""


class ObjectReader(io.RawIOBase):
    """A binary file, made by `Client.open`, over an `EncryptedObject`. Every byte it gives was proven first.

    Reads that follow each other are served from ahead: 1 MiB at first, doubled up to 32 MiB while it goes on. Memory:
    twice that at most, besides what the object holds. `read` gives `bytes`; `read_buffer` the same without a copy, as
    pyarrow asks for it. One position a file: calls from several threads wait for each other.

    >>> with client.open("s3://lake/log.csv", "rb") as file:  # doctest: +SKIP
    ...     file.seek(-100, io.SEEK_END)
    ...     tail = file.read()
    """

    def __init__(self, source: EncryptedObject) -> None:
        super().__init__()
        self.object: Final = source
        """What it reads; closed with the file."""
        self._lock = ForkLock(threading.RLock)
        self._position = 0
        self._ahead = _Ahead(source)

    @property
    def size(self) -> int:
        """Bytes of plaintext."""
        return self.object.size

    @property
    def url(self) -> str:
        return str(self.object.location)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._check_open()
        with self._lock:
            starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}
            if whence not in starts:
                raise ValueError(f"{self.url}: whence is 0 for the start, 1 for here or 2 for the end, not {whence!r}")
            start = starts[whence]
            if start + offset < 0:
                raise ValueError(f"{self.url}: there is nothing before the start: {start + offset}")
            self._position = start + offset
            return self._position

    def read_buffer(self, size: int | None = -1, /) -> Buffer:
        """The next `size` bytes, fewer at the end only, without a copy. Raises what `EncryptedObject.read_at` does."""
        self._check_open()
        with self._lock:
            left = max(0, self.size - self._position)
            wanted = left if size is None or size < 0 else min(size, left)
            content = self._ahead.read(self._position, wanted)
            self._position += wanted
            return content

    def read(self, size: int | None = -1, /) -> bytes:
        return bytes(self.read_buffer(size))

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, target: Any, /) -> int:
        with memoryview(target).cast("B") as view:
            content = self.read_buffer(len(view))
            with memoryview(content) as source:
                view[: len(source)] = source
                return len(source)

    def write(self, _: Any, /) -> int:
        """Raises `io.UnsupportedOperation`."""
        raise io.UnsupportedOperation(f"{self.url}: opened to read: mode 'wb' writes it anew")

    def close(self) -> None:
        if not self.closed:
            self._ahead.close()
            self.object.close()
        super().close()

    def __repr__(self) -> str:
        return f"<ObjectReader {self.url}, {'closed' if self.closed else f'at {self._position:,} of {self.size:,}'}>"

    def __reduce__(self) -> Any:
        raise TypeError("an ObjectReader cannot be pickled: open the object where it is read")

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"{self.url}: this file was closed")


class _Ahead:
    """What comes next, fetched while the bytes before it are in use. Not for several threads at once."""

    def __init__(self, source: EncryptedObject) -> None:
        self._source = source
        self._begin = 0
        self._content: Buffer = b""
        self._next: tuple[int, list[Future[Buffer]]] | None = None
        self._expected = -1
        self._step = _FIRST_AHEAD
        self._pool: ThreadPoolExecutor | None = None
        self._called_off = Cancellation()
        self._process = os.getpid()

    def read(self, offset: int, length: int) -> Buffer:
        if self._process != os.getpid():  # a forked child has none of the threads, and waits for them in vain
            self._process, self._pool, self._called_off = os.getpid(), None, Cancellation()
            self._drop()
        follows = offset == self._expected
        self._expected = offset + length
        if length == 0:
            return b""
        if self._source.in_memory or length >= _MOST_AHEAD:
            return self._source.read_at(offset, length)
        held = self._held(offset, length)
        if held is not None:
            return held
        if not follows:
            self._drop()
            return self._source.read_at(offset, length)
        try:
            return self._following(offset, length)
        except CancelledWork:
            cancellation().check()
            raise ValueError(f"{self._source.location}: this file was closed while it was read") from None
        except BaseException:  # if it is an interrupt, nobody waits for what was begun beside it
            self._call_off()
            raise

    def _following(self, offset: int, length: int) -> Buffer:
        if self._take_next(offset):
            held = self._held(offset, length)
            if held is not None:
                return held
        self._fill(offset, length)
        return memoryview(self._content)[:length]

    def close(self) -> None:
        self._call_off()
        if self._pool is not None:
            # Not waited for: the collector may close a file on the very thread that fetches ahead for it.
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _held(self, offset: int, length: int) -> Buffer | None:
        start = offset - self._begin
        with memoryview(self._content) as view:
            if start >= 0 and start + length <= len(view):
                return memoryview(self._content)[start : start + length]
        return None

    def _take_next(self, offset: int) -> bool:
        """Go on to what was fetched ahead, if that is where the reader is now."""
        if self._next is None:
            return False
        begin, fetched = self._next
        left = self._begin + len(memoryview(self._content)) - offset
        self._next = None
        if offset < self._begin or left < 0 or begin != self._begin + len(memoryview(self._content)):
            return False
        [ahead] = results(fetched)
        rest = memoryview(self._content)[len(memoryview(self._content)) - left :] if left else None
        self._begin = begin - left
        self._content = ahead if rest is None else b"".join((rest, memoryview(ahead)))
        self._look_ahead()
        return True

    def _fill(self, offset: int, length: int) -> None:
        self._begin = offset
        self._content = self._source.read_at(offset, max(length, self._step))
        self._look_ahead()

    def _look_ahead(self) -> None:
        begin = self._begin + len(memoryview(self._content))
        if begin >= self._source.size:
            return
        self._step = min(2 * self._step, _MOST_AHEAD)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="arrowseal-ahead")
        context = copy_context()
        context.run(join, self._called_off)
        try:
            self._next = begin, [self._pool.submit(context.run, self._source.read_at, begin, self._step)]
        except RuntimeError:  # no thread is to be had: what comes next is read when it is asked for
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        except BaseException:
            self.close()  # interrupted while it starts its thread, a pool ends that only when it is shut down
            raise

    def _drop(self) -> None:
        self._content, self._next, self._step = b"", None, _FIRST_AHEAD

    def _call_off(self) -> None:
        """What is on its way is not wanted any more."""
        self._drop()
        called_off, self._called_off = self._called_off, Cancellation()
        called_off.cancel()
