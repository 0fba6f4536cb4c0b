"""Local files that appear whole or not at all: whoever finds half of one, a cache of fsspec say, takes it for all."""

from __future__ import annotations

import secrets
import stat
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of the one at a path when the block does not raise; directories are made for
    it. A link is followed; a device or pipe is written to as it is.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Names have 255 bytes, of which a character may take four.
    partial = path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            if path.exists():  # before the first byte: the old file may be its owner's alone
                partial.chmod(stat.S_IMODE(path.stat().st_mode))
            yield file
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
