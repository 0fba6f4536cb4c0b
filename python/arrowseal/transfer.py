"""Moves the stored bytes of one object straight into memory of the core, opened piece by piece as they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from arrowseal.exceptions import TransferError

if TYPE_CHECKING:
    from arrowseal._core import Window
    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.store import Body

PIECE_BYTES: Final = 2**20
"""One piece: small enough to be opened while it is still in cache, large enough that a call costs nothing."""

Buffer_co = TypeVar("Buffer_co", covariant=True)


class Receiver(Protocol[Buffer_co]):
    """What takes an object in: `_core.Opener` proves it, `_core.PlainReceiver` does not."""

    def window(self, offset: int, length: int, /) -> Window: ...
    def finish(self) -> Buffer_co: ...


def receive(
    body: Body, stored_bytes: int, receiver: Receiver[Buffer_co], location: ObjectLocation, operation: Operation
) -> Buffer_co:
    """All of a body through a receiver. Raises `TransferError` for one that ends early, and what `finish` raises."""
    for offset in range(0, stored_bytes, PIECE_BYTES):
        window = receiver.window(offset, min(PIECE_BYTES, stored_bytes - offset))
        with memoryview(window) as view, operation.timed("s3"):
            _fill(view, body, offset, stored_bytes, location)
        with operation.timed("crypto"):
            window.received()
    with operation.timed("crypto"):
        return receiver.finish()


def _fill(view: memoryview, body: Body, offset: int, stored_bytes: int, location: ObjectLocation) -> None:
    filled = 0
    while filled < len(view):
        with view[filled:] as rest:
            count = body.readinto(rest)
        if count == 0:
            raise TransferError(
                f"{location}: the body ended after {offset + filled:,} of {stored_bytes:,} bytes: read it again"
            )
        filled += count
