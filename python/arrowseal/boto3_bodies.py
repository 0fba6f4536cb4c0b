"""Bodies of botocore's requests and answers, without copies on the way."""

from __future__ import annotations

import io
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, ClassVar, Final

from arrowseal.awaited_answers import shut
from arrowseal.cancellation import Awaited
from arrowseal.exceptions import TransferError
from arrowseal.idle_connections import Answer
from arrowseal.store import AT_ONCE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from arrowseal.location import ObjectLocation

_SENT_AT_ONCE: Final = 2**20


class Boto3Body:
    """A body of botocore, of urllib3 below it, or of an idle connection, received into memory that the caller owns.

    Where the connection's own `readinto` can be reached, bytes go from the socket into that memory without passing
    through `bytes` of urllib3 and the checksum of botocore: ranges carry no checksum, and content has its tag.
    """

    at_once_bytes: ClassVar[int] = AT_ONCE_BYTES

    def __init__(self, location: ObjectLocation, body: Any) -> None:
        self._location = location
        self._body = body
        self._raw: Any = getattr(body, "_raw_stream", body)
        self._direct: Any = getattr(self._raw, "_fp", None)
        if not (hasattr(self._direct, "readinto") and hasattr(self._raw, "release_conn")):
            self._direct = None
        self._source = self._direct or body

    def readinto(self, target: memoryview, /) -> int:
        return int(self._received(self._source.readinto, target))

    def take(self, size: int, /) -> Buffer:
        content: Buffer = self._received(self._source.read, size)
        return content

    def _received(self, receive: Callable[[Any], Any], wanted: Any) -> Any:
        try:
            with Awaited(self.interrupt):
                return receive(wanted)
        except _breaks() as error:
            raise TransferError(f"{self._location}: the body broke off ({type(error).__name__})") from None

    def interrupt(self) -> None:
        if isinstance(self._body, Answer):
            self._body.interrupt()
            return
        received = getattr(self._direct, "fp", None)  # None at the end of the body
        connection = getattr(getattr(received, "raw", None), "_sock", None)
        if connection is not None:
            shut(connection)

    def close(self) -> None:
        if self._direct is not None and self._direct.isclosed():
            self._raw.release_conn()  # read to its end: the connection serves the next request
        else:
            self._body.close()


def _breaks() -> tuple[type[Exception], ...]:
    """What a body breaks off with."""
    from botocore.exceptions import BotoCoreError
    from urllib3.exceptions import HTTPError

    return BotoCoreError, HTTPError, HTTPException, OSError, ValueError


class PayloadBody(io.RawIOBase):
    """Memory as the body of a request: read in slices without a copy, sent again from the start on a retry.

    A class of its own so that no log prints it: botocore's debug log shows `bytes` bodies whole.
    """

    def __init__(self, view: memoryview) -> None:
        self._view = view.cast("B") if view.nbytes else memoryview(b"")
        self._position = 0

    def __len__(self) -> int:
        return len(self._view)

    def read(self, size: int | None = -1, /) -> Any:
        if size is None or size < 0:
            # Nobody who sends it, but who answers in place of a server, as moto's mocks do: they go by the type.
            rest, self._position = bytes(self._view[self._position :]), len(self._view)
            return rest
        # More than was asked for, which who sends bodies takes as well: http.client asks for 16 KiB, and every piece is
        # a system call of its own.
        piece = self._view[self._position : self._position + max(size, _SENT_AT_ONCE)]
        self._position += len(piece)
        return piece

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._view)}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
