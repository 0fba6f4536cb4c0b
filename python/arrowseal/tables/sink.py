"""What table libraries write into: the file of an object, which only its owner commits."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import Buffer


class Writable(Protocol):
    """`arrowseal.object_writer.ObjectWriter`, as far as a sink needs it."""

    def write(self, data: Buffer, /) -> int: ...


class Sink(io.RawIOBase):
    """A binary file over a writer, which stays open when a library closes the sink: several close what they write into
    also when they fail, and half a table must not become an object.
    """

    def __init__(self, writer: Writable) -> None:
        super().__init__()
        self._writer = writer
        self._position = 0
        self.failure: Exception | None = None
        """What the writer raised first: libraries that close what they write into write on."""

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        # Text layers ask when they are put on top, and only then write the byte order mark of UTF-16.
        return self._position == 0

    def tell(self) -> int:
        return self._position

    def write(self, data: Buffer, /) -> int:
        try:
            taken = self._writer.write(data)
        except Exception as error:
            self.failure = self.failure or error
            raise
        self._position += taken
        return taken


@contextlib.contextmanager
def told_as_raised(sinks: Sequence[Sink]) -> Iterator[None]:
    """A block in which a library writes into sinks: what a writer raised is what comes of it. polars would tell of it
    by an error of its own, which no `except` for those of ours catches; pandas by that of a writer that was closed.
    """
    try:
        yield
    except Exception:
        failure = next((sink.failure for sink in sinks if sink.failure is not None), None)
        if failure is None:
            raise
        try:
            raise failure from None
        finally:
            del failure  # or its traceback, which holds this frame, would hold itself
    finally:
        for sink in sinks:
            sink.failure = None  # likewise
