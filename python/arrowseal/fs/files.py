"""The files that libraries get: one to read, without a copy, and one to write, which knows when to commit."""

from __future__ import annotations

import io
import sys
import warnings
from typing import TYPE_CHECKING, Any

from arrowseal.exceptions import ObjectExistsError, PreconditionFailedError
from arrowseal.fs.exit_guard import watch
from arrowseal.object_reader import ObjectReader

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
        watch(self)

    def read(self, size: int | None = -1, /) -> Buffer:  # type: ignore[override]
        return self.read_buffer(size)


class OutputFile(io.RawIOBase):
    """A file over a writer for libraries that know one way to say that all is written: `close`.

    `close` commits, unless it is called because of an exception: by a `with` block that raised, or while an exception
    is handled that was not when the file was opened. Then what was written is given up, as it is by `discard`, and when
    the file is dropped. With `autocommit=False`, it is `commit` that makes the object, after `close`: the transactions
    of fsspec.

    pyarrow closes some streams when they are dropped (compressed ones), and libraries in C++ may close a file that they
    failed to write: these commit, since nothing tells them from the end of a file.
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
        self._dropped = False

    @property
    def url(self) -> str:
        return self._writer.url

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._writer.tell()

    def write(self, data: Buffer, /) -> int:
        """Take all of a buffer. Raises what `ObjectWriter.write` does."""
        return self._writer.write(data)

    def commit(self) -> None:
        """Make the object of what was written; nothing, if that was given up. Raises what `ObjectWriter.commit` does,
        and `ObjectExistsError` where the file was to be a new one.
        """
        if not self._writer.closed:
            try:
                self._writer.commit()
            except PreconditionFailedError as error:
                if self.mode != "xb":
                    raise
                raise ObjectExistsError(str(error)) from None
            self._committed()
        super().close()

    def discard(self) -> None:
        """Give up what was written: there is no object then."""
        self._writer.abort()
        super().close()

    def close(self) -> None:
        """Commit, or because of an exception discard. Raises what `commit` does."""
        if self.closed:
            return
        failure = sys.exception()
        if self._dropped:
            self.discard()
        elif failure is not None and failure is not self._handled_before:
            self.discard()
            warnings.warn(
                f"{self.url}: closed while {type(failure).__name__} is handled: what was written is given up",
                RuntimeWarning,
                stacklevel=2,
            )
        elif self._autocommit:
            self.commit()
        else:
            super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        """Not `close`, which `io.IOBase` does: the writer aborts when it is dropped."""

    def _dealloc_warn(self, _source: Any) -> None:
        # What a text layer calls that is dropped, before it closes what is below it.
        self._dropped = True
