"""What table libraries write into: the file of an object, which only its owner commits."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
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

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        # Text layers ask when they are put on top, and only then write the byte order mark of UTF-16.
        return self._position == 0

    def tell(self) -> int:
        return self._position

    def write(self, data: Buffer, /) -> int:
        taken = self._writer.write(data)
        self._position += taken
        return taken
