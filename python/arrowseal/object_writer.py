"""A file to write an object into: sealed and sent part by part while it is written, visible only when committed."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import threading
import warnings
import weakref
from typing import TYPE_CHECKING, Any, Final, Self

from arrowseal import _core
from arrowseal.encryption import CSE
from arrowseal.exceptions import SizeLimitError, UncommittedWriteError
from arrowseal.fork_lock import ForkLock
from arrowseal.outgoing import contiguous, read_piece
from arrowseal.suites import MAX_CONTENT_BYTES, V2
from arrowseal.writing import memory_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from typing_extensions import Buffer

    from arrowseal.counters import Operation
    from arrowseal.sealing import Sealing
    from arrowseal.upload import Upload
    from arrowseal.writing import PutResult, Target, Writer

_COLLECTOR_SECONDS: Final = 1.0
"""What a dropped writer delays whoever dropped it at most; its abort goes on."""


class ObjectWriter(io.RawIOBase):
    """A binary file, made by `Client.open`, whose content becomes an object when it is committed.

    As a context manager it commits at the end of the block, and aborts if the block raises. Outside of one, call
    `commit`; a writer that is closed or dropped uncommitted aborts, and says so. What is aborted leaves nothing behind.

    Content of one part (`TransferOptions.part_bytes`) goes with one request. Longer content is sealed part by part, GIL
    released, and up to `TransferOptions.concurrency` parts are on their way while the next one is filled. Memory: that
    many parts and one more, whatever the size. Calls from several threads wait for each other. Once parts are on their
    way, a forked child cannot go on with it: two contents would be sealed by one key stream.

    >>> with client.open("s3://lake/log.csv", "wb") as file:  # doctest: +SKIP
    ...     for line in lines:
    ...         file.write(line)
    """

    def __init__(
        self,
        writer: Writer,
        target: Target,
        counted: tuple[Operation, Callable[[], None]],
        expected: int | None = None,
    ) -> None:
        super().__init__()
        writer.check(target)
        self._writer = writer
        self._target = target
        self._operation, self._succeeded = counted
        self._limit = MAX_CONTENT_BYTES if isinstance(target.encryption, CSE) else None
        # Format V2 tells the length in its metadata, which goes before the first part.
        self._told = expected if isinstance(target.encryption, CSE) and target.encryption.format is V2 else None
        self._lock = ForkLock(threading.RLock)
        self._sealing: Sealing | None = None
        self._upload: Upload | None = None
        self._part: _core.PartBuffer | None = None
        self._room = 0
        self._offset = 0
        self._number = 1
        self._position = 0
        self._result: PutResult | None = None
        self._at_exit: weakref.finalize[..., ObjectWriter] | None = None
        self._process = os.getpid()

    @property
    def result(self) -> PutResult | None:
        """What the commit left in the bucket; None before it."""
        return self._result

    @property
    def url(self) -> str:
        """The URL of the object. Not `name`, which gzip would write into its header."""
        return str(self._target.location)

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, _: Any, /) -> int:
        """Raises `io.UnsupportedOperation`."""
        raise io.UnsupportedOperation(f"{self.url}: opened to write: mode 'rb' reads what was committed")

    def write(self, data: Buffer, /) -> int:
        """Take all of a contiguous buffer, which may be changed afterwards; returns its size in bytes.

        Raises:
            SizeLimitError: the format takes no more; the write is aborted.
            KmsError, StoreError, CredentialsError: a part could not be sealed or sent; the write is aborted.
            UncommittedWriteError: it was begun by the process that this one was forked from.
            ValueError: it was committed, aborted or closed.
        """
        content, size = contiguous(data)
        with self._lock:
            if self._part is not None and size <= self._room and not self.closed:
                # Parquet comes in some forty writes a row group, most of them of a few bytes.
                self._part.append(content)
                self._room -= size
                self._position += size
                return size
        with self._lock, self._aborting():
            self._check_open()
            if self._limit is not None and self._position + size > self._limit:
                raise SizeLimitError(f"{self.url}: one object takes {self._limit:,} bytes: write several")
            with memoryview(content) as view:
                self._take(view)
            self._position += size
        return size

    def commit(self) -> PutResult:
        """Make the object of all that was written, and close. Raises like `write`; then there is no object."""
        with self._lock:
            with self._aborting():
                self._check_open()
                self._result = self._commit()
                self._succeeded()
            self._end()  # before who waits goes on, and commits what is left: nothing
        return self._result

    def abort(self) -> None:
        """Give up what was written: no object, no parts. After a commit, or when repeated, it does nothing."""
        with self._lock:
            if self._upload is not None and self._result is None:
                self._upload.abort()
            self._end()

    def close(self) -> None:
        """Abort, unless it was committed.

        Raises `UncommittedWriteError` if that gives up something: content must not get lost silently, nor half of it
        become an object because a library closes its file while an exception is on its way.
        """
        if self.closed:
            return
        written = self._position
        self.abort()
        if written and self._result is None:  # by another thread, which this one waited for
            raise UncommittedWriteError(
                f"{self.url}: closed before commit(), so that its {written:,} bytes were given up: call commit(), or "
                "use the writer in a with statement"
            )

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.closed:
            return
        if kind is None:
            self.commit()
        else:
            self.abort()

    def __del__(self) -> None:
        if self.closed or not hasattr(self, "_at_exit"):  # refused when it was made
            return
        if self._position:
            warnings.warn(f"{self.url}: dropped before commit(): given up", ResourceWarning, stacklevel=2, source=self)
        _aside(self.abort)

    def __repr__(self) -> str:
        state = "committed" if self._result else "closed" if self.closed else "open"
        return f"<ObjectWriter {self.url}, {self._position:,} bytes, {state}>"

    def __reduce__(self) -> Any:
        raise TypeError("an ObjectWriter cannot be pickled: it holds a data key and an upload")

    def _take(self, view: memoryview) -> None:
        while len(view):
            if self._part is None:
                self._part = self._buffer()
            taken = self._part.append(view)
            self._room -= taken
            view = view[taken:]
            if len(view):
                self._send(last=False)

    def _buffer(self) -> _core.PartBuffer:
        length = self._writer.part_bytes(self._number)
        self._operation.hold(length)
        self._room = length
        if self._limit is not None:
            self._room = min(length, self._limit - self._offset)  # beyond it the long way refuses
        return _core.PartBuffer(length, plain=not isinstance(self._target.encryption, CSE))

    def _send(self, *, last: bool) -> None:
        """Seal what is filled, and send it while the next part is."""
        if self._sealing is None or self._upload is None:
            self._sealing, self._upload = self._begin(None)
        part, offset = self._part or self._buffer(), self._offset
        self._part = None
        self._operation.release(self._writer.part_bytes(self._number))
        self._offset += len(part)
        self._number += 1
        self._upload.send(self._sealing.part(offset, part, last=last))

    def _commit(self) -> PutResult:
        size = self._position
        if self._sealing is None or self._upload is None:
            self._sealing, upload = self._begin(size)
            written = upload.put(self._sealing.part(0, self._part or self._buffer(), last=True))
        else:
            if self._told not in (None, size):
                raise UncommittedWriteError(
                    f"{self.url}: the file had {self._told:,} bytes when its write began, as the metadata tells, and "
                    f"{size:,} were read of it: given up, since somebody changes it"
                )
            self._send(last=True)
            written = self._upload.complete()
            self._writer.publish_index(self._target, self._sealing, self._operation)
        return self._writer.result(self._target, self._sealing, written, size, self._operation)

    def _begin(self, size: int | None) -> tuple[Sealing, Upload]:
        sealing = self._writer.sealing(self._target, size, self._operation)
        told = self._told if size is None else size
        upload = self._writer.upload(self._target, sealing, self._operation, told, in_parts=size is None)
        if size is None:
            self._at_exit = weakref.finalize(self, _aside, upload.abort)  # in a cycle, it comes before __del__
        return sealing, upload

    @contextlib.contextmanager
    def _aborting(self) -> Iterator[None]:
        with memory_for(self._target.location):
            try:
                yield
            except BaseException:
                self.abort()
                raise

    def _check_open(self) -> None:
        if self.closed or self._result is not None:
            raise ValueError(f"{self.url}: this writer was " + ("committed" if self._result else "closed"))
        if self._sealing is not None and os.getpid() != self._process:
            raise UncommittedWriteError(
                f"{self.url}: the process that this one was forked from has begun to send it, and alone may go on: "
                "open it after the fork"
            )

    def _end(self) -> None:
        self._part = None
        self._operation.progress.close()
        if self._at_exit is not None:
            self._at_exit.detach()
        super().close()


def _aside(abort: Callable[[], None]) -> None:
    """Abort for the garbage collector, which comes at any moment: under any lock, and on any thread, those of the
    upload itself included. So another thread does it, and is waited for as long as that does no harm.
    """
    if not threading.main_thread().is_alive():  # the interpreter is ending: no lock is held, and no thread waited for
        abort()
        return
    thread = threading.Thread(target=abort, name="arrowseal-abort")
    try:
        thread.start()
    except RuntimeError:  # there are as many as this process may have: at its end none is needed
        atexit.register(abort)
        return
    thread.join(_COLLECTOR_SECONDS)


def fill(writer: ObjectWriter, file: Any) -> PutResult:
    """Write a binary file, from where it stands to its end, in pieces, and commit. Raises what the writer does, and
    `ConfigurationError` for a file in text mode.
    """
    with writer:
        while piece := read_piece(file):
            writer.write(piece)
        return writer.commit()
