"""The files of `s3cse://` that are fsspec's own kind: one to read, and one that compresses what is written."""

from __future__ import annotations

import codecs
import io
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from fsspec.spec import AbstractBufferedFile

from arrowseal.exceptions import ObjectChangedError
from arrowseal.fork_lock import ForkLock
from arrowseal.fs.exit_guard import wait_for
from arrowseal.object_reader import ObjectReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Buffer

    from arrowseal.fs.files import OutputFile
    from arrowseal.fs.fsspec import S3CseFileSystem
    from arrowseal.objects import EncryptedObject

_LINES: Final = 2**16
"""What is read at a time in search of the end of a line."""

_MARKED: Final = {"utf-16", "utf-32"}
"""Encodings of texts that begin with a byte order mark. `io.TextIOWrapper` leaves it out over a file without seek."""


class SealedBufferedFile(AbstractBufferedFile):  # type: ignore[misc]
    """An object as fsspec's users read it: `read` gives `bytes`, `read_buffer` the same without a copy, for pyarrow.

    The cache is `"none"` unless another is asked for: the object below keeps what it verified, and fetches ahead of who
    reads from front to back.
    """

    loc: int

    def __init__(
        self,
        fs: S3CseFileSystem,
        path: str,
        source: EncryptedObject,
        *,
        block_size: int | None = None,
        cache_type: str = "none",
        cache_options: dict[str, Any] | None = None,
        **keywords: Any,
    ) -> None:
        self._reader = ObjectReader(source)
        self._lock = ForkLock(RLock)
        self._line_start, self._lines = 0, b""
        options = dict(cache_options or {})
        if cache_type == "parts":  # fsspec.parquet's, which otherwise makes up zeros for what it was not given
            options["strict"] = True
        if source.version_id is not None:  # a pickled file goes on in the same version
            keywords["version_id"] = source.version_id
        super().__init__(
            fs,
            path,
            "rb",
            block_size or "default",
            cache_type=cache_type,
            cache_options=options,
            size=source.size,
            **keywords,
        )
        wait_for(self)

    @property
    def etag(self) -> str:
        """That of the version that is read."""
        return self._reader.object.etag

    def _fetch_range(self, start: int, end: int) -> bytes:
        with self._lock:
            self._reader.seek(start)
            return self._reader.read(end - start)

    def read_buffer(self, size: int = -1) -> Buffer:
        """The next `size` bytes, fewer at the end only, without a copy where no cache of fsspec's is between."""
        if self.cache is None or self.cache.name != "none":
            content: bytes = self.read(size)
            return content
        with self._lock:
            self._reader.seek(self.loc)
            content_at_hand = self._reader.read_buffer(size)
            self.loc = self._reader.tell()
        return content_at_hand

    def readline(self, size: int | None = -1) -> bytes:
        """The bytes up to the next end of a line, and with it."""
        most = self.size - self.loc if size is None or size < 0 else size
        pieces = []
        while most > 0:
            begin = self.loc - self._line_start
            if not 0 <= begin < len(self._lines):
                self._line_start, begin = self.loc, 0
                self._lines = self._peek()
            if not self._lines:
                break
            end = self._lines.find(b"\n", begin) + 1
            piece = self._lines[begin : end or None][:most]
            pieces.append(piece)
            most -= len(piece)
            self.loc += len(piece)
            if piece.endswith(b"\n"):
                break
        return b"".join(pieces)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """The lines from here on: none at the end, where fsspec gives an empty one; with a `hint`, of about so many
        bytes.
        """
        return io.IOBase.readlines(self, -1 if hint is None else hint)

    def _peek(self) -> bytes:
        before: int = self.loc
        try:
            content: bytes = self.read(_LINES)
        finally:
            self.loc = before
        return content

    def close(self) -> None:
        super().close()
        self._reader.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (*super().__reduce__(), self.etag)


def _reopened(opening: Callable[..., SealedBufferedFile], arguments: tuple[Any, ...], etag: str) -> SealedBufferedFile:
    """The file of a pickle, where it was: of the same content, also in a bucket without versions."""
    file = opening(*arguments)
    if file.etag != etag:
        file.close()
        raise ObjectChangedError(f"s3://{file.path}: overwritten since this file of it was pickled: open it again")
    return file


class CompressedFile(io.RawIOBase):
    """What compresses into a file and closes both: the codecs that fsspec knows leave the file below them open."""

    def __init__(self, codec: Any, below: OutputFile) -> None:
        super().__init__()
        self._codec = codec
        self._below = below

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        taken: int = self._codec.write(data)
        return taken

    def close(self) -> None:
        """As `OutputFile.close`: commits, or because of an exception discards."""
        if self.closed:
            return
        self._codec.close()
        self._below.close()
        super().close()

    def discard(self) -> None:
        with suppress(Exception):  # its last words are given up as well
            self._codec.close()
        self._below.discard()
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        """Not `close`. At once: from Python 3.12 on gzip is in a cycle, and writes when that is collected."""
        self._below.drop()

    def _dealloc_warn(self, source: Any) -> None:
        self._below._dealloc_warn(source)  # noqa: SLF001 - passed on to what asks for it


def text_into(file: Any, encoding: str | None = None, **keywords: Any) -> io.TextIOWrapper:
    """A new file as one to write text into, with the byte order mark that readers of its encoding want."""
    text = io.TextIOWrapper(file, encoding=encoding, **keywords)
    if codecs.lookup(text.encoding).name in _MARKED:
        file.write("".encode(text.encoding))
    return text
