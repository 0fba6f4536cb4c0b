"""A file in memory that has only some of its bytes, for libraries that read nothing but real files or all bytes.

It is an anonymous file of Linux (`memfd_create`): no name, no disk, closed on exec, and gone when its last reader is.
What was not fetched reads as zeros, which is no page of Parquet: a library that looks there fails, and does not err.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from arrowseal.tables.ranges import Fetched


def is_available() -> bool:
    """Whether there are such files here."""
    return hasattr(os, "memfd_create")


@contextmanager
def sparse_file(fetched: Fetched, *more: tuple[int, Buffer]) -> Iterator[BinaryIO]:
    """What was fetched, and more pieces, each in its place in a file of the size of their source. Copies them once."""
    with os.fdopen(os.memfd_create("arrowseal"), "rb") as file:
        os.ftruncate(file.fileno(), fetched.source.size)
        for offset, piece in (*fetched.pieces(), *more):
            _write(file.fileno(), memoryview(piece), offset)
        yield file


def _write(descriptor: int, piece: memoryview, offset: int) -> None:
    while piece:  # one call takes 2 GiB at most
        written = os.pwrite(descriptor, piece, offset)
        offset += written
        piece = piece[written:]
