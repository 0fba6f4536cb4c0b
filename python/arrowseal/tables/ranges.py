"""Where table files are read from: an object of which ranges are fetched, or content that is here already."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, Protocol, Self

import pyarrow as pa

from arrowseal.fs import exit_guard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from typing_extensions import Buffer

TAIL_BYTES: Final = 64 * 1024
"""Arrow's own choice, and longer than most footers."""
MOST_WASTED: Final = 8 * 1024
"""Two ranges that are no further apart are fetched as one: so does Arrow when it reads ahead."""

_PIECE_BYTES: Final = 4 * 2**20


class Ranges(Protocol):
    """`arrowseal.objects.EncryptedObject`, as far as readers of tables need it."""

    @property
    def size(self) -> int: ...

    @property
    def in_memory(self) -> bool: ...

    def read_at(self, offset: int, length: int, /) -> Buffer: ...

    def read_ranges(self, ranges: Sequence[tuple[int, int]], /) -> Sequence[Buffer]: ...

    def read_in_turn(self, batches: Sequence[Sequence[tuple[int, int]]], /) -> Iterator[Sequence[Buffer]]: ...


class Content:
    """Content that is in memory, as `Ranges`. Reads are views."""

    in_memory: Final = True

    def __init__(self, content: Buffer) -> None:
        self._view = memoryview(content)
        self.size: Final = len(self._view)

    def read_at(self, offset: int, length: int, /) -> Buffer:
        return self._view[offset : offset + length]

    def read_ranges(self, ranges: Sequence[tuple[int, int]], /) -> list[Buffer]:
        return [self.read_at(offset, length) for offset, length in ranges]

    def read_in_turn(self, batches: Sequence[Sequence[tuple[int, int]]], /) -> Iterator[list[Buffer]]:
        return map(self.read_ranges, batches)


def whole_bytes(source: Ranges) -> bytes:
    """All of it, for who takes nothing else. Copied once: in pieces, of which few lie in several buffers."""
    if source.in_memory:
        return bytes(source.read_at(0, source.size))
    return b"".join(source.read_ranges([(at, _PIECE_BYTES) for at in range(0, source.size, _PIECE_BYTES)]))


def whole_file(source: Ranges) -> pa.NativeFile:
    """All of it as a file of Arrow: reads are views of one buffer."""
    return pa.BufferReader(pa.py_buffer(exit_guard.lent(source.read_at(0, source.size))))


def tail_of(source: Ranges) -> Fetched:
    """Its last 64 KiB, where formats keep their footers; all of what is in memory."""
    begin = 0 if source.in_memory else max(0, source.size - TAIL_BYTES)
    return Fetched(source, [(begin, source.size - begin)])


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in order, those that touch or nearly do as one.

    >>> merged([(100_000, 10), (0, 100), (200, 100)])
    [(0, 300), (100000, 10)]
    """
    found: list[tuple[int, int]] = []
    for offset, length in sorted(ranges):
        if found and offset <= sum(found[-1]) + MOST_WASTED:
            begin, before = found[-1]
            found[-1] = begin, max(before, offset + length - begin)
        else:
            found.append((offset, length))
    return found


class Fetched:
    """What was fetched of a source. Raises what the source does, when it is made and when its files are read."""

    def __init__(
        self, source: Ranges, ranges: Iterable[tuple[int, int]], pieces: Sequence[Buffer] | None = None
    ) -> None:
        wanted = merged(ranges)
        self.source: Final = source
        self._starts = [offset for offset, _ in wanted]
        if pieces is None:
            pieces = source.read_ranges(wanted) if wanted else []
        self._pieces = [memoryview(piece) for piece in pieces]

    @classmethod
    def in_turn(cls, source: Ranges, batches: Sequence[Iterable[tuple[int, int]]]) -> Iterator[Self]:
        """What is fetched for each batch of ranges, as soon as it is there, while the next ones are on their way."""
        wanted = [merged(ranges) for ranges in batches]
        for ranges, pieces in zip(wanted, source.read_in_turn(wanted), strict=True):
            yield cls(source, ranges, pieces)

    def read_at(self, offset: int, length: int) -> Buffer:
        """A view of what is here, otherwise from the source."""
        at = bisect_right(self._starts, offset) - 1
        if at >= 0:
            begin = offset - self._starts[at]
            piece = self._pieces[at]
            if begin + length <= len(piece):
                return piece[begin : begin + length]
        return self.source.read_at(offset, length)

    def pieces(self) -> list[tuple[int, Buffer]]:
        """What is here: offsets and views."""
        return list(zip(self._starts, self._pieces, strict=True))

    @property
    def in_one(self) -> bool:
        """Whether all of the source is here, in one piece."""
        return self._starts == [0] and len(self._pieces[0]) == self.source.size

    def file(self) -> pa.NativeFile:
        """A file of its own position over it."""
        if self.in_one:
            return pa.BufferReader(pa.py_buffer(exit_guard.lent(self._pieces[0])))
        file = _File(self)
        exit_guard.wait_for(file)
        return pa.PythonFile(file, mode="r")


class _File:
    """What `pyarrow.PythonFile` calls, one call at a time: `read_buffer` is not copied."""

    def __init__(self, fetched: Fetched) -> None:
        self._fetched = fetched
        self._size = fetched.source.size
        self._position = 0
        self.closed = False

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = (0, self._position, self._size)[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read_buffer(self, length: int) -> Buffer:
        length = max(0, min(length, self._size - self._position))
        content = self._fetched.read_at(self._position, length)
        self._position += length
        return exit_guard.lent(content)

    read = read_buffer

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def flush(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        self.closed = True
