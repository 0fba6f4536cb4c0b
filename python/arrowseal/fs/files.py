"""The files that libraries get: one to read, without a copy, and one to write, which knows when to commit."""

from __future__ import annotations

import io
import sys
import warnings
from typing import TYPE_CHECKING, Any

from arrowseal.fs.exit_guard import give_up, lent, wait_for
from arrowseal.object_reader import ObjectReader
from arrowseal.outgoing import contiguous

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Buffer

    from arrowseal.object_writer import ObjectWriter
    from arrowseal.objects import EncryptedObject


class InputFile(ObjectReader):
    """An object as pyarrow reads it: `read` gives a buffer, which Arrow's arrays then point into."""

    def __init__(self, source: EncryptedObject) -> None:
        super().__init__(source)
        wait_for(self)

    def read_buffer(self, size: int | None = -1, /) -> Buffer:
        return lent(super().read_buffer(size))

    def read(self, size: int | None = -1, /) -> Buffer:  # type: ignore[override]
        return self.read_buffer(size)


class OutputFile(io.RawIOBase):
    """A file over a writer for libraries that know one way to say that all is written: `close`.

    `close` commits, unless it is called because of an exception, by a `with` block that raised or while an exception is
    handled, or by a finalizer: that of a `pyarrow.parquet.ParquetWriter` that is dropped. Then what was written is
    given up, as it is by `discard`, when the file is dropped, and at the end of the interpreter. What was handled or
    finalized already when the file was opened does not count. With `autocommit=False`, it is `commit` that makes the
    object, after `close`: the transactions of fsspec.

    What nothing tells from the end of a file commits: pyarrow closes compressed streams when they are dropped, and
    libraries in C++ may close a file that they failed to write.
    """

    def __init__(
        self,
        writer: ObjectWriter,
        mode: str = "wb",
        *,
        autocommit: bool = True,
        committed: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__()
        self.mode = mode
        self._writer = writer
        self._autocommit = autocommit
        self._committed = committed
        self._handled_before = sys.exception()
        self._finalizing_before = _finalizing()
        self._dropped = False
        self._given_up = False
        give_up(self)

    @property
    def url(self) -> str:
        return self._writer.url

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._writer.tell()

    def write(self, data: Buffer, /) -> int:
        """Take all of a buffer. Raises what `ObjectWriter.write` does."""
        if self._given_up or self._dropped:
            return contiguous(data)[1]
        return self._writer.write(data)

    def commit(self) -> None:
        """Make the object of what was written; nothing, if that was given up. Raises as `ObjectWriter.commit` does."""
        if not self._given_up and not self._writer.closed:
            self._writer.commit()
            self._committed()
        super().close()

    def discard(self) -> None:
        """Give up what was written: there is no object then."""
        self.abandon()
        super().close()

    def abandon(self) -> None:
        """Give up what was written, and go on taking what nobody wants: last words of finalizers, when the interpreter
        ends.
        """
        self._given_up = True
        self._writer.abort()

    def close(self) -> None:
        """Commit, or because of an exception discard. Raises what `commit` does."""
        if self.closed:
            return
        failure, reason = sys.exception(), None
        if self._given_up:
            pass
        elif self._dropped or (_finalizing() and not self._finalizing_before):
            self._given_up = True  # the writer aborts when it is dropped in its turn: this may be under any lock
            reason = "because it was dropped"
        elif failure is not None and failure is not self._handled_before:
            self.abandon()
            reason = f"while {type(failure).__name__} is handled"
        elif self._autocommit:
            self.commit()
        super().close()
        if reason is not None:
            warnings.warn(f"{self.url}: closed {reason}: what was written is given up", RuntimeWarning, stacklevel=2)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def drop(self) -> None:
        """Give up what was written, for a finalizer: the writer aborts when it is dropped in its turn. Tells it, since
        libraries that leave the end of a file to its finalizer, as DuckDB does in EXPORT DATABASE, would not notice,
        nor whoever uses them.
        """
        if not (self.closed or self._given_up or self._writer.closed) and self._writer.tell():
            self._given_up = True
            message = f"{self.url}: dropped and not closed: what was written is given up"
            warnings.warn(message, RuntimeWarning, stacklevel=3)

    def __del__(self) -> None:
        """Not `close`, which `io.IOBase` does."""
        self.drop()

    def _dealloc_warn(self, _source: Any) -> None:
        # What a text layer calls that is dropped, before it closes what is below it.
        self._dropped = True


def _finalizing() -> bool:
    """Whether this is called by a finalizer in Python, `__del__`, directly or not."""
    frame = sys._getframe()  # noqa: SLF001 - the way to look at callers
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "__del__":
            return True
    return False
