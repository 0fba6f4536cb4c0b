"""How an object is opened for reads of its ranges: the first requests, and what proves a range.

The first answer is the object's tail with its metadata, size and ETag; its segment index comes beside it, without
waiting. With an index each range is proven by the segments it lies in. Without one, the whole is fetched and proven by
its tag, and held; what is larger than may be held is refused, or looked at once as a whole (`two_passes`): that proves
the tag and keeps what proves each segment when it is fetched again, since an ETag is a claim and proves nothing.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from arrowseal import _core
from arrowseal.exceptions import (
    AuthenticationError,
    NoIndexError,
    NotEncryptedError,
    ObjectChangedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    UnsupportedFormatError,
)
from arrowseal.head import encryption_label
from arrowseal.objects import EncryptedObject, PlainRanges, UnauthenticatedRanges
from arrowseal.outcomes import results
from arrowseal.reading import LargerError
from arrowseal.segment_index import fetch_index, publish_index
from arrowseal.standby import Threads
from arrowseal.suites import TAG_BYTES
from arrowseal.transfer import PIECE_BYTES, Download, Transfer, exactly

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.metadata import EncryptedMetadata
    from arrowseal.objects import Content, RangeOpener
    from arrowseal.reading import Reader, ReadRequest, Unlocked
    from arrowseal.store import Body, StoredObject
    from arrowseal.transfer import TransferOptions

TAIL_BYTES: Final = 2**18 + TAG_BYTES
"""The first request: the footer of a Parquet object with some thousand column chunks, or a small object whole."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a call asked for besides the object itself."""

    unauthenticated: bool = False
    two_passes: bool = False
    size_hint: int | None = None
    """The stored size, from a listing: an object that comes with one request is asked for whole, without an index."""


def open_object(
    reader: Reader,
    request: ReadRequest,
    operation: Operation,
    opening: Opening,
    options: TransferOptions,
    finished: Callable[[], None],
) -> EncryptedObject:
    """The object, pinned to the version that is there. Raises what `Client.object` does."""
    if opening.size_hint is not None and opening.size_hint <= options.part_bytes and not opening.unauthenticated:
        with contextlib.suppress(LargerError):  # than it was when it was listed
            return _whole(reader, request, operation, finished, most=options.part_bytes)
    with Threads(1) as beside:
        index = []
        if not opening.unauthenticated:
            index.append(beside.submit(fetch_index, reader.store, request.location, operation, request.arguments))
        transfer = Transfer(reader.store, request.location, request.arguments, operation, options)
        stored, tail = reader.store.repeat(operation, lambda: _tail(transfer))
        encrypted = reader.admit(stored, request.rules, operation)
        operation.encryption = encryption_label(stored, encrypted)
        if not stored.ranged or stored.stored_bytes <= TAIL_BYTES:
            return _whole(reader, request, operation, finished, (stored, tail, encrypted))
        transfer.stored = stored
        if encrypted is None:
            return _plain(transfer, tail, finished)
        if encrypted.cbc:
            _check_held(stored, options)
            return _whole(reader, request, operation, finished)
        unlocked = reader.unlock(stored, encrypted, request, operation)
        if opening.unauthenticated:
            return _unauthenticated(transfer, unlocked, finished)
        [found] = results(index)
    opener = None
    if found is not None:
        with unlocked.authenticating():
            opener = _core.SegmentOpener.from_index(*unlocked.of_core, found)
    if opener is None:
        if stored.stored_bytes - TAG_BYTES <= options.max_unindexed_bytes:
            return _whole(reader, request, operation, finished)
        if not opening.two_passes:
            raise _no_index(request, stored, options)
        opener = survey(transfer, unlocked)
    try:
        return _by_segments(transfer, opener, tail, unlocked, finished)
    except AuthenticationError:
        operation.count_retry()
    # Once more from the wire: bits may flip on their way, those of the index too.
    with _Pinned(request.location), unlocked.authenticating():
        stored, tail = reader.store.repeat(operation, lambda: _tail(transfer, stored.etag))
        found = fetch_index(reader.store, request.location, operation, request.arguments) if found else None
        opener = _core.SegmentOpener.from_index(*unlocked.of_core, found) if found else opener
    return _by_segments(transfer, opener or survey(transfer, unlocked), tail, unlocked, finished)


def _no_index(request: ReadRequest, stored: StoredObject, options: TransferOptions) -> NoIndexError:
    makes, and_version = "client.index(url) makes one", ""
    if "VersionId" in request.arguments:
        # There is one place beside an object, for all its versions.
        makes, and_version = "client.index(url) makes one of the newest version only", ", version_id=..."
    return NoIndexError(
        f"{request.location}: no segment index of it lies beside it, and its {stored.stored_bytes:,} bytes are "
        f"more than the {options.max_unindexed_bytes:,} that are held in memory without one. "
        f"{makes}, TransferOptions(max_unindexed_bytes=) raises the bound, "
        f"client.open(url, 'rb'{and_version}) reads in two passes, and unauthenticated_ranges=True reads unproven bytes"
    )


def _check_held(stored: StoredObject, options: TransferOptions) -> None:
    """AES-CBC has nothing that would tell of a range what its padding tells of the whole, which is little: it is held,
    and not looked at twice.
    """
    if stored.stored_bytes > options.max_unindexed_bytes:
        raise NoIndexError(
            f"{stored.location}: AES-CBC is read as a whole, and its {stored.stored_bytes:,} bytes are more than the "
            f"{options.max_unindexed_bytes:,} that are held in memory: raise TransferOptions(max_unindexed_bytes=)"
        )


def make_index(reader: Reader, request: ReadRequest, operation: Operation, options: TransferOptions) -> None:
    """Read an object as a whole, and put its index beside it. Raises what `Client.index` does."""
    stored = reader.store.head(request.location, operation, arguments=request.arguments)
    encrypted = reader.admit(stored, request.rules, operation)
    operation.encryption = encryption_label(stored, encrypted)
    if encrypted is None:
        raise NotEncryptedError(f"{request.location}: not client-side encrypted: nothing proves its ranges")
    if encrypted.cbc:
        raise UnsupportedFormatError(
            f"{request.location}: AES-CBC has no index, since nothing proves its content: write it again in format V3"
        )
    unlocked = reader.unlock(stored, encrypted, request, operation)
    transfer = Transfer(reader.store, request.location, request.arguments, operation, options)
    transfer.stored = stored
    opener = survey(transfer, unlocked)
    operation.plaintext_bytes += stored.stored_bytes - TAG_BYTES
    operation.stored_bytes += stored.stored_bytes
    publish_index(reader.store, request.location, opener.index(), operation, request.arguments)


def survey(transfer: Transfer, unlocked: Unlocked) -> _core.SegmentOpener:
    """Look at the whole object once, and keep what proves its segments. Memory: a piece for each connection.

    Raises `AuthenticationError` if the tag does not fit, also when read once more; `ObjectChangedError`.
    """
    # Borders of ranges are those of segments.
    options = replace(transfer.options, part_bytes=transfer.options.part_bytes // PIECE_BYTES * PIECE_BYTES)

    def once() -> _core.SegmentOpener:
        receiver = _core.Survey(*unlocked.of_core)
        download = Download(
            transfer.store, transfer.location, transfer.arguments, transfer.operation, options, transfer.stored
        )
        with contextlib.closing(download):
            return download.receive(receiver)

    with _Pinned(transfer.location), unlocked.authenticating():
        try:
            return once()
        except AuthenticationError:
            transfer.operation.count_retry()
        return once()


class _Pinned:
    """Requests for the version that was there first; another one is an `ObjectChangedError`."""

    def __init__(self, location: ObjectLocation) -> None:
        self._location = location

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, (PreconditionFailedError, ObjectNotFoundError)):
            message = f"{self._location}: overwritten or deleted while it was opened: open it again"
            raise ObjectChangedError(message) from None


def _tail(transfer: Transfer, etag: str | None = None) -> tuple[StoredObject, bytes]:
    stored, body = transfer.request(-TAIL_BYTES, 0, etag)
    return stored, _taken(transfer, stored, body)


def _taken(transfer: Transfer, stored: StoredObject, body: Body) -> bytes:
    """All of the tail. Raises `TransferError` where it breaks off."""
    size = min(stored.stored_bytes, TAIL_BYTES)
    try:
        if not stored.ranged and stored.stored_bytes > size:
            return b""  # a server that knows no ranges
        with transfer.operation.timed("s3"):
            return bytes(exactly(body, size, transfer.location))
    finally:
        body.close()


def _whole(
    reader: Reader,
    request: ReadRequest,
    operation: Operation,
    finished: Callable[[], None],
    arrived: tuple[StoredObject, bytes, EncryptedMetadata | None] | None = None,
    most: int | None = None,
) -> EncryptedObject:
    """An object that is held in memory, proven by its tag: as it has arrived, or fetched now."""
    if arrived is not None and len(arrived[1]) == arrived[0].stored_bytes:
        stored, content, kms_key_arn = reader.opened(request, *arrived, operation)
    else:
        stored, content, kms_key_arn = reader.whole(request, operation, most=most)
    labels = operation.encryption or content.encryption, lambda: kms_key_arn
    return EncryptedObject(stored, len(content), labels, None, (0, content), finished)


def _plain(transfer: Transfer, tail: bytes, finished: Callable[[], None]) -> EncryptedObject:
    stored = transfer.stored
    begin = -(-(stored.stored_bytes - len(tail)) // 16) * 16
    ranges = PlainRanges()
    held = ranges.range(begin, stored.stored_bytes - begin).receive(tail[begin - stored.stored_bytes :])
    labels = transfer.operation.encryption or "PLAIN", lambda: None
    return EncryptedObject(stored, stored.stored_bytes, labels, (ranges, transfer), (begin, held), finished)


def _unauthenticated(transfer: Transfer, unlocked: Unlocked, finished: Callable[[], None]) -> EncryptedObject:
    with unlocked.authenticating():
        ranges = UnauthenticatedRanges(_core.UnauthenticatedOpener(*unlocked.of_core))
    size = transfer.stored.stored_bytes - TAG_BYTES
    labels = f"{transfer.operation.encryption}, unauthenticated", lambda: unlocked.kms_key_arn
    nothing: Content = ranges.range(0, 0).finish()
    return EncryptedObject(transfer.stored, size, labels, (ranges, transfer), (0, nothing), finished)


def _by_segments(
    transfer: Transfer,
    opener: RangeOpener,
    tail: bytes,
    unlocked: Unlocked,
    finished: Callable[[], None],
) -> EncryptedObject:
    stored, step = transfer.stored, opener.segment_bytes
    size, tail_begin = stored.stored_bytes - TAG_BYTES, stored.stored_bytes - len(tail)
    begin = min(-(-tail_begin // step) * step, size // step * step)
    labels = transfer.operation.encryption or "", lambda: unlocked.kms_key_arn
    held: tuple[int, Content] = size, opener.range(size, 0).finish()
    if tail_begin <= begin < size:
        with unlocked.authenticating():
            held = begin, opener.range(begin, size - begin).receive(tail[begin - tail_begin : size - tail_begin])
    return EncryptedObject(stored, size, labels, (opener, transfer), held, finished)
