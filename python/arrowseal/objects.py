"""An object with random access: pinned to one version of it, every byte proven before it is handed out."""

from __future__ import annotations

import contextlib
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from functools import partial
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeAlias

from arrowseal import _core
from arrowseal.exceptions import AuthenticationError, ObjectChangedError, ObjectNotFoundError, PreconditionFailedError
from arrowseal.fork_lock import ForkLock
from arrowseal.in_flight import Ending
from arrowseal.store import AT_ONCE_BYTES
from arrowseal.transfer import PIECE_BYTES

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from types import TracebackType

    from arrowseal.location import ObjectLocation
    from arrowseal.store import StoredObject
    from arrowseal.transfer import Receiver, Transfer

Content: TypeAlias = "_core.PlaintextBuffer | _core.UnauthenticatedBuffer"
Range: TypeAlias = tuple[int, int]
"""Begin and end."""

HOLE_BYTES: Final = 2**16
"""Ranges that are no farther apart are one request: fetching what lies between takes less time than asking twice."""
HELD_BYTES: Final = 32 * 2**20
"""What an object keeps at most of what it has fetched, besides its tail: who reads in small steps, or a footer twice,
asks once."""


class RangeOpener(Protocol):
    """What takes ranges of an object in: each proven, or by a type that says that it is not."""

    @property
    def segment_bytes(self) -> int:
        """Ranges begin and end at multiples of it, or with the content."""

    def range(self, offset: int, length: int, /) -> Receiver[Content]: ...


class PlainRanges:
    """Ranges of an object that is not client-side encrypted."""

    segment_bytes = 16

    def range(self, offset: int, length: int, /) -> Receiver[Content]:
        return _core.PlainReceiver(length, offset=offset)


class UnauthenticatedRanges:
    """Ranges that are decrypted and not proven."""

    segment_bytes = 16

    def __init__(self, opener: _core.UnauthenticatedOpener) -> None:
        self.range: Callable[[int, int], Receiver[Content]] = opener.range


class EncryptedObject:
    """An object to read ranges of, made by `Client.object`. Immutable, and pinned to the version that was there first.

    Safe to share between threads. Use it as a context manager, or `close` it. Memory: besides what it hands out, its
    tail and the ranges that it read last, 32 MiB at most; the whole of an object that has no segment index.

    >>> with client.object("s3://lake/trips.parquet") as trips:  # doctest: +SKIP
    ...     magic = trips.read_at(trips.size - 4, 4)
    """

    def __init__(
        self,
        stored: StoredObject,
        size: int,
        labels: tuple[str, Callable[[], str | None]],
        ranges: tuple[RangeOpener, Transfer] | None,
        held: tuple[int, Content],
        finished: Callable[[], None] = lambda: None,
    ) -> None:
        self._stored = stored
        self.size: Final = size
        """Bytes of plaintext."""
        self.encryption: Final = labels[0]
        """How it is protected: `"CSE V3"`, `"PLAIN"`, ..."""
        self._key_arn = labels[1]
        self._ranges = ranges
        self._held = _Held(*held)
        self._finished = finished
        self.failure: Exception | None = None
        """What a read raised last, for who reads through a library that tells of it by an error of its own."""

    @property
    def location(self) -> ObjectLocation:
        return self._stored.location

    @property
    def kms_key_arn(self) -> str | None:
        """The KMS key that unwrapped its data key; None for a raw key, and a plain object."""
        return self._key_arn()

    @property
    def etag(self) -> str:
        return self._stored.etag

    @property
    def version_id(self) -> str | None:
        return self._stored.version_id

    @property
    def last_modified(self) -> dt.datetime | None:
        return self._stored.last_modified

    @property
    def stored_bytes(self) -> int:
        return self._stored.stored_bytes

    @property
    def in_memory(self) -> bool:
        """Whether all of it is held: reads then cost nothing."""
        return self._ranges is None

    def read_at(self, offset: int, length: int) -> Content:
        """The bytes from `offset` on, `length` of them or as many as there are: a read-only buffer, proven."""
        return self.read_ranges([(offset, length)])[0]

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[Content]:
        """The bytes of each `(offset, length)`, fewer at the end of the object, in the order of the ranges.

        What is not held is fetched side by side, widened to segments; ranges that are close together are one request,
        long ones several. Opening releases the GIL. Buffers of one request share memory.

        Raises:
            ObjectChangedError: it was overwritten or deleted since it was opened.
            AuthenticationError: a range does not authenticate, also when read once more; nothing is handed out.
            StoreError, CredentialsError: a request failed.
            ValueError: a negative offset or length.
        """
        try:
            [contents] = self.read_in_turn([ranges])
        except Exception as error:
            self.failure = error
            raise
        return contents

    def read_in_turn(self, batches: Sequence[Sequence[tuple[int, int]]]) -> Iterator[list[Content]]:
        """The bytes of several `read_ranges`, each as soon as it is there, and proven, while the next are on their way.

        All are in flight from the first one on: whoever stops to iterate ends the rest. Raises what `read_ranges` does.
        """
        if any(offset < 0 or length < 0 for ranges in batches for offset, length in ranges):
            message = "a range has an offset and a length, neither negative"
            raise ValueError(message)
        bounds = [
            [(min(offset, self.size), min(offset + length, self.size)) for offset, length in ranges]
            for ranges in batches
        ]
        return self._in_turn(bounds)

    def _in_turn(self, batches: list[list[Range]]) -> Iterator[list[Content]]:
        extents = self._held.extents()
        if self._ranges is None:
            reached = _reached(extents)
            for wanted in batches:
                yield [_cut(begin, end, extents, reached) for begin, end in wanted]
            return
        opener, transfer = self._ranges
        runs = _runs(chain.from_iterable(batches), extents, opener.segment_bytes, self.size)
        lasts = [max((end for _, end in wanted), default=0) for wanted in batches]
        # How many of the runs have to be there for each batch.
        turns = [*accumulate((bisect_left(runs, (last, 0)) for last in lasts), max)]
        fetched: list[tuple[int, Content]] = []
        with contextlib.closing(self._fetched(runs, turns, opener, transfer)) as arriving:
            for wanted in batches:
                fetched += [(runs[number][0], content) for number, content in enumerate(next(arriving), len(fetched))]
                if len(fetched) == len(runs):
                    self._held.keep(fetched)
                there = sorted([*extents, *fetched], key=lambda extent: extent[0])
                reached = _reached(there)
                yield [_cut(begin, end, there, reached) for begin, end in wanted]

    def close(self) -> None:
        """Let go of what it holds. Buffers that were handed out stay; reading from it fetches anew."""
        finished, self._finished = self._finished, lambda: None
        finished()
        self.failure = None  # its traceback holds this object
        if self._ranges is not None:
            self._held.keep([], most=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<EncryptedObject {self.location}, {self.encryption}, {self.size:,} bytes>"

    def __reduce__(self) -> Any:
        raise TypeError("an EncryptedObject cannot be pickled: it holds a data key")

    def _fetched(
        self, runs: list[Range], turns: list[int], opener: RangeOpener, transfer: Transfer
    ) -> Generator[list[Content]]:
        """The runs in their order, for each turn as many as make up its number with those before."""
        # Closed, not dropped, when they are enough: what is raised while they end, Ctrl-C say, would be swallowed.
        done = arrived = 0
        try:
            try:
                with contextlib.closing(_received(runs, turns, opener, transfer)) as received:
                    for contents in received:
                        done, arrived = done + 1, arrived + len(contents)
                        yield self._counted(contents, transfer)
            except AuthenticationError:
                # Once more from the wire: bytes may flip on their way.
                transfer.operation.count_retry()
                left = [turn - arrived for turn in turns[done:]]
                with contextlib.closing(_received(runs[arrived:], left, opener, transfer)) as received:
                    for contents in received:
                        yield self._counted(contents, transfer)
        except AuthenticationError:
            known = f" (data key from {self.kms_key_arn})" if self.kms_key_arn else ""
            raise AuthenticationError(
                f"{self.location}{known}: a range does not authenticate. The object was "
                "changed, or the index beside it: get() tells which, and client.index() makes a new index"
            ) from None
        except (PreconditionFailedError, ObjectNotFoundError):
            raise ObjectChangedError(
                f"{self.location}: overwritten or deleted since it was opened: open it again"
            ) from None

    def _counted(self, contents: list[Content], transfer: Transfer) -> list[Content]:
        received = sum(map(len, contents))
        transfer.operation.stored_bytes += received
        transfer.operation.plaintext_bytes += received
        return contents


def _received(runs: list[Range], turns: list[int], opener: RangeOpener, transfer: Transfer) -> Generator[list[Content]]:
    """The runs, in as many requests as it takes, all side by side: for each turn those that make up its number."""
    piece = max(PIECE_BYTES, opener.segment_bytes)
    share = max(transfer.options.part_bytes // piece, 1) * piece
    receivers = [opener.range(begin, end - begin) for begin, end in runs]
    short: dict[int, Content] = {}
    missing: list[int] = []
    lock = threading.Lock()

    def at_once(number: int, part: Range, ending: Ending) -> None:
        begin, end = part
        content = transfer.at_once(begin, end, None, transfer.store.budget(), ending)
        if content is None:
            transfer.part(receivers[number], part, piece_bytes=piece, ending=ending)
        else:
            with transfer.opening(receivers[number]):
                short[number] = receivers[number].receive(content)
        missing[number] = 0

    def in_parts(number: int, part: Range, ending: Ending) -> None:
        transfer.part(receivers[number], part, piece_bytes=piece, ending=ending)
        with lock:
            missing[number] -= 1

    tasks: list[Callable[[Ending], object]] = []
    for number, (begin, end) in enumerate(runs):
        at_most = min(AT_ONCE_BYTES, share)
        parts = [(begin, end)] if end - begin <= at_most else [*pairwise([*range(begin, end, share), end])]
        tasks += [partial(at_once if end - begin <= at_most else in_parts, number, part) for part in parts]
        missing.append(len(parts))

    def contents(first: int, last: int) -> list[Content]:
        return [short[number] if number in short else receivers[number].finish() for number in range(first, last)]

    if len(tasks) < 2:
        for task in tasks:
            task(Ending())
        for before, turn in pairwise([0, *turns]):
            yield contents(before, turn)
        return
    there = 0

    def ready(turn: int) -> bool:
        nonlocal there
        while there < turn and not missing[there]:
            there += 1
        return there == turn

    longest = min(share, max(end - begin for begin, end in runs))
    with transfer.flight(len(tasks), longest, in_turn=len(turns) > 1) as flight:
        flight.start(tasks, flight.most)
        for before, turn in pairwise([0, *turns]):
            if not flight.wait_until(partial(ready, turn)):
                break
            yield contents(before, turn)


class _Held:
    """What is held of the content: the tail for good, of the rest what was used last."""

    def __init__(self, begin: int, tail: Content) -> None:
        self._tail = begin, tail
        self._others: OrderedDict[Range, Content] = OrderedDict()
        self._bytes = 0  # of the others
        self._lock = ForkLock()

    def extents(self) -> list[tuple[int, Content]]:
        """All of it, by where it begins."""
        with self._lock:
            extents = [(begin, content) for (begin, _), content in self._others.items()]
        return sorted([*extents, self._tail], key=lambda extent: extent[0])

    def keep(self, fetched: Iterable[tuple[int, Content]], most: int = HELD_BYTES) -> None:
        """Hold what was fetched, and let go of what was fetched the longest ago."""
        with self._lock:
            for begin, content in fetched:
                where = begin, begin + len(content)
                self._bytes += 0 if where in self._others else len(content)
                self._others[where] = content
            while self._others and self._bytes > most:
                (begin, end), _ = self._others.popitem(last=False)
                self._bytes -= end - begin


def _runs(wanted: Iterable[Range], extents: list[tuple[int, Content]], segment_bytes: int, size: int) -> list[Range]:
    """What has to be fetched: widened to segments, without what is held, and close ranges as one."""
    missing: list[Range] = []
    starts, reached = [start for start, _ in extents], _reached(extents)
    for begin, end in wanted:
        at = begin
        for index in range(bisect_right(reached, at), len(extents)):
            start, content = extents[index]
            if start > at or at >= end:
                break
            at = max(at, min(end, start + len(content)))
        for index in reversed(range(bisect_left(starts, end))):
            start, content = extents[index]
            if at >= end or start + len(content) < end:
                break
            end = max(at, min(end, start))
        if at < end:
            missing.append((at, end))
    runs: list[Range] = []
    for begin, end in sorted(missing):
        begin = begin // segment_bytes * segment_bytes
        end = min(-(-end // segment_bytes) * segment_bytes, size)
        if runs and begin <= runs[-1][1] + HOLE_BYTES:
            runs[-1] = runs[-1][0], max(end, runs[-1][1])
        else:
            runs.append((begin, end))
    return runs


def _reached(extents: list[tuple[int, Content]]) -> list[int]:
    """How far each extent and those before it reach: a search begins where that is beyond what is looked for. Thousands
    of ranges that each went through thousands of extents took longer than their requests.
    """
    return list(accumulate((start + len(content) for start, content in extents), max))


def _cut(begin: int, end: int, extents: list[tuple[int, Content]], reached: list[int]) -> Content:
    """`[begin, end)` out of extents that cover it: a slice of one, or a copy out of several."""
    pieces: list[Any] = []
    for index in range(min(bisect_right(reached, begin), len(extents) - 1), len(extents)):
        start, content = extents[index]
        if start <= begin < start + len(content) or (begin == end and not pieces):
            length = min(end, start + len(content)) - begin if begin < end else 0
            pieces.append(content.slice(begin - start if length else 0, length))
            begin += length
            if begin >= end:
                break
    first: Content = pieces[0]
    return first if len(pieces) == 1 else pieces[0].joined(pieces[1:])
