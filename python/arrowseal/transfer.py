"""Moves the stored bytes of one object straight into memory of the core, in ranges at once, opened as they arrive.

The first request is a range already, and brings metadata, size and ETag: no HEAD. The other ranges follow side by
side, each with If-Match, each received into its place and opened there while it is in cache. A body that breaks off is
resumed at the byte it reached. Bytes leave only through `finish`, which proves the whole.
"""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from numbers import Integral
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from arrowseal import _core
from arrowseal.cancellation import cancellation
from arrowseal.etags import check_same, if_match
from arrowseal.exceptions import ConfigurationError, TransferError, UnavailableError
from arrowseal.in_flight import Ending, InFlight, enough_when_fast
from arrowseal.retries import STORE_RETRIES, RetryOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from typing_extensions import Buffer

    from arrowseal._core import Window
    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.retries import Budget
    from arrowseal.retrying import RetryingStore
    from arrowseal.store import Body, StoredObject

PIECE_BYTES: Final = 2**19
"""What is received and opened in one step: small enough to be in cache still, large enough that calls cost nothing."""

_BLOCK: Final = 16
_WORTH_A_LOOK: Final = 2**26
"""From here on it pays to see how fast a connection is."""
_LONGEST: Final = 8  # times part_bytes: the longest range
_MORE: Final = 4
"""Times `concurrency`: the most ranges in flight, which short ones are."""
_NEAR: Final = 0.003
"""Seconds to an answer's head below which a server is beside us: S3 takes some 20 ms."""

_UNCOUNTED: Final = contextlib.nullcontext()

Buffer_co = TypeVar("Buffer_co", covariant=True)


@dataclass(frozen=True)
class TransferOptions:
    """How objects are moved. Memory of a read: the object once, whatever these say.

    `part_bytes` is the first range of a read, which small objects end with: one connection to S3 moves some 90 MB/s, so
    that 8 MiB is a tenth of a second, in which a request's own time does not show. `concurrency` is how many ranges are
    in flight for one object: 8 of them fill some 700 MB/s. Ranges of large objects are up to 8 times as long, so that
    requests do not add up; a range that breaks is resumed, not repeated. Shorter ranges, as columns are made of, mostly
    wait: as many are in flight as make up the same bytes, up to 4 times as many.

    `publish_index`: whether what is written in parts gets a segment index beside it, 16 bytes for each 64 KiB, by which
    ranges of it are proven on their own. `max_unindexed_bytes`: up to this size an object that has none is held in
    memory as a whole when ranges of it are read. Raises `ConfigurationError` for values that cannot be.
    """

    part_bytes: int = 8 * 2**20
    concurrency: int = 8
    retries: RetryOptions = field(default=STORE_RETRIES)
    publish_index: bool = True
    max_unindexed_bytes: int = 2**30

    def __post_init__(self) -> None:
        numbers = self.part_bytes, self.concurrency, self.max_unindexed_bytes
        if not all(isinstance(number, Integral) for number in numbers):
            raise ConfigurationError("part_bytes, concurrency and max_unindexed_bytes are whole numbers")
        if not isinstance(self.retries, RetryOptions):
            raise ConfigurationError("retries is a RetryOptions")
        if self.max_unindexed_bytes < 0:
            raise ConfigurationError("max_unindexed_bytes is a number of bytes, 0 or more")
        if self.part_bytes < PIECE_BYTES or self.part_bytes % _BLOCK or self.concurrency < 1:
            raise ConfigurationError(
                f"part_bytes is a multiple of {_BLOCK}, {PIECE_BYTES:,} or more; concurrency is 1 or more"
            )

    def in_flight(self, longest: int) -> int:
        """How many ranges are asked for at once, of which the longest has so many bytes.

        >>> options = TransferOptions(concurrency=8)
        >>> [options.in_flight(longest << 20) for longest in (1, 4, 8, 64)]
        [32, 16, 8, 8]
        """
        of_the_bytes = self.concurrency * self.part_bytes // longest
        return min(max(of_the_bytes, self.concurrency), self.concurrency * _MORE)


def ranges(size: int, options: TransferOptions, *, ranged: bool = True) -> list[tuple[int, int]]:
    """What the first answer to a read carries, and the rest in the order in which it is asked for.

    Shares are equal, in as few turns of all connections as possible, so that they end together: a range left over would
    move alone. Who receives the first answer, which is short, goes on with the rest of that share. The last one takes
    along what is less than a piece, which mostly is the tag.

    >>> [(start >> 20, end >> 20) for start, end in ranges(100 << 20, TransferOptions(concurrency=4))]
    [(0, 8), (25, 50), (50, 75), (75, 100), (8, 25)]
    """
    part, workers = options.part_bytes, options.concurrency
    if not ranged or size <= part:
        return [(0, size)]
    turns = max(1, round(size / (workers * part * _LONGEST)))
    share = max(part, -(-(size - _BLOCK) // (turns * workers * PIECE_BYTES)) * PIECE_BYTES)
    starts = range(0, max(size - PIECE_BYTES, 1) + 1, share)
    shares = [*pairwise([*starts, size])]
    first_end = shares[0][1]
    rest = [(part, first_end)] if part < first_end else []
    return [(0, part), *shares[1:workers], *rest, *shares[workers:]]


def exactly(body: Body, size: int, location: ObjectLocation) -> Buffer:
    """That many bytes of a body in one piece. Raises `TransferError` where it ends before."""
    content = body.take(size)
    taken = len(memoryview(content))
    if taken < size:
        raise TransferError(f"{location}: the body ended after {taken:,} of {size:,} bytes")
    return content


class Receiver(Protocol[Buffer_co]):
    """What takes an object in: `_core.Opener` proves it, `_core.PlainReceiver` does not."""

    def window(self, offset: int, length: int, /) -> Window: ...
    def receive(self, content: Buffer, /) -> Buffer_co: ...
    def finish(self) -> Buffer_co: ...


class Transfer:
    """Ranges of one stored object on their way in, all of the version that `stored` names."""

    stored: StoredObject

    def __init__(
        self,
        store: RetryingStore,
        location: ObjectLocation,
        arguments: Mapping[str, Any],
        operation: Operation,
        options: TransferOptions,
    ) -> None:
        self.store = store
        self.location = location
        self.arguments = arguments
        self.operation = operation
        self.options = options
        self._answered = math.inf  # seconds to the head of an answer, at best
        self._moved = 0  # by all threads, which may forget a piece of each other: enough to see how fast they are

    def request(self, start: int, end: int, etag: str | None) -> tuple[StoredObject, Body]:
        """Start a GET of `[start, end)` of the object with that ETag. A negative start counts from the end."""
        arguments = dict(self.arguments) | (if_match(etag) if etag else {})
        asked = time.monotonic()
        answer, body = self.store.get(self.location, self.operation, byte_range=(start, end), arguments=arguments)
        self._answered = min(self._answered, time.monotonic() - asked)
        try:
            check_same(answer, etag or answer.etag)
        except BaseException:
            body.close()
            raise
        return answer, body

    def at_once(
        self, start: int, end: int, body: Body | None, budget: Budget, ending: Ending | None = None
    ) -> Buffer | None:
        """A short range in one piece; None after its body broke off: then it is received like a long one."""
        cancellation().check()
        source = body
        try:
            with self.operation.timed("s3"):
                if source is None:
                    source = self.matching(start, end)
                if ending is not None:  # a small object is one request, beside no others
                    ending.receives(source)
                content = exactly(source, end - start, self.location)
            budget.progressed()
        except UnavailableError as error:
            if ending is not None and ending.said:
                raise
            budget.pause(error)
            self.operation.count_retry()
            return None
        finally:
            if source is not None:
                if ending is not None:
                    ending.left(source)
                source.close()
        self.operation.progress.advance(end - start)
        return content

    def matching(self, start: int, end: int) -> Body:
        """The body of that range of the version that was there first."""
        answer, body = self.request(start, end, self.stored.etag)
        if answer.stored_bytes != self.stored.stored_bytes or not answer.ranged:
            body.close()
            raise TransferError(f"{self.location}: the server answered another range than was asked for")
        return body

    def flight(self, tasks: int, longest: int, *, in_turn: bool = False) -> InFlight:
        """A block for that many tasks, each for a range of up to that length, as many of them at once as there may be
        connections: no more than `concurrency` if what comes first is wanted first, of a server that answers at once.
        More of them would share what it and this machine can do, and all end together, with nothing to decode before.
        """
        near = in_turn and longest >= PIECE_BYTES and self._answered < _NEAR
        return InFlight(min(self.options.concurrency if near else self.options.in_flight(longest), tasks))

    def opening(self, receiver: Receiver[Any]) -> AbstractContextManager[object]:
        """Counts the block as cryptography, unless the content is plain: that is put into place, and no more."""
        return _UNCOUNTED if isinstance(receiver, _core.PlainReceiver) else self.operation.timed("crypto")

    def part(
        self,
        receiver: Receiver[Any],
        asked: tuple[int, int],
        body: Body | None = None,
        budget: Budget | None = None,
        piece_bytes: int = PIECE_BYTES,
        ending: Ending | None = None,
    ) -> None:
        """Receive one range, resumed where it breaks off for as long as the budget lasts."""
        start, end = asked
        opening = self.opening(receiver)
        source = _Source(self, start, end, body, budget or self.store.budget(), ending or Ending())
        with contextlib.closing(source):
            for offset in range(start, end, piece_bytes):
                if source.ending.said:
                    return
                cancellation().check()
                window = receiver.window(offset, min(piece_bytes, end - offset))
                with memoryview(window) as view:
                    source.fill(view)
                with opening:
                    window.received()
                self._moved += len(window)
                self.operation.progress.advance(min(piece_bytes, end - offset))


class Download(Transfer):
    """One read of one whole object: the answer to the first request, and where the others go."""

    def __init__(
        self,
        store: RetryingStore,
        location: ObjectLocation,
        arguments: Mapping[str, Any],
        operation: Operation,
        options: TransferOptions,
        expected: StoredObject | None = None,
    ) -> None:
        """`expected`: what was answered before, of which this has to be."""
        super().__init__(store, location, arguments, operation, options)
        self._first: Body | None
        self._budget = store.budget()
        first = partial(self._begun, expected)
        self.stored, self._first = store.repeat(operation, first, self._budget)

    def _begun(self, expected: StoredObject | None) -> tuple[StoredObject, Body]:
        answer, body = self.request(0, self.options.part_bytes, expected.etag if expected else None)
        if expected is not None and answer.stored_bytes != expected.stored_bytes:
            body.close()
            raise TransferError(
                f"{self.location}: its {expected.stored_bytes:,} bytes are {answer.stored_bytes:,} by now, under one "
                "ETag: what stands before the store mixes its versions, or somebody changed it in the store"
            )
        return answer, body

    def close(self) -> None:
        """Give up what is left of the first body."""
        if self._first is not None:
            self._first.close()
            self._first = None

    def receive(self, receiver: Receiver[Buffer_co]) -> Buffer_co:
        """The whole object through a receiver. Raises `StoreError`s, and what `finish` does."""
        size = self.stored.stored_bytes
        self.operation.progress.begin(size)
        first_body = self._first
        if first_body is not None and 0 < size <= min(first_body.at_once_bytes, self.options.part_bytes):
            body, self._first = self._first, None
            content = self.at_once(0, size, body, self._budget)
            if content is not None:
                with self.opening(receiver):
                    return receiver.receive(content)
        first, *others = ranges(size, self.options, ranged=self.stored.ranged)
        if not others:
            self.part(receiver, first, self._first, self._budget)
        else:
            self._several(receiver, first, others)
        with self.opening(receiver):
            return receiver.finish()

    def _several(self, receiver: Receiver[Any], first: tuple[int, int], others: list[tuple[int, int]]) -> None:
        """The first range, and the others beside it unless the connection is so fast that they would be in its way."""

        def received(asked: tuple[int, int], body: Body | None = None) -> Callable[[Ending], None]:
            return lambda ending: self.part(receiver, asked, body, ending=ending)

        size, few = self.stored.stored_bytes, enough_when_fast()
        with self.flight(1 + len(others), size) as flight:
            most = flight.most
            if size < _WORTH_A_LOOK or few >= most:
                flight.start([received(first, self._first), *map(received, others)], most)
                return
            flight.start([received(first, self._first)], 1)
            if not flight.keep_pace(lambda: self._moved):
                flight.start(map(received, others), most - 1)
                return
            longer = ranges(size, replace(self.options, concurrency=few))[1:]
            flight.start(map(received, longer), few)
            if not flight.keep_pace(lambda: self._moved):
                flight.start([], most - few)


class _Source:
    """The bytes of one part, over as many requests as it takes."""

    def __init__(
        self, transfer: Transfer, start: int, end: int, body: Body | None, budget: Budget, ending: Ending
    ) -> None:
        self._transfer = transfer
        self._position = start
        self._begun = start
        self._end = end
        self._body = body
        self._budget = budget
        self.ending = ending
        if body is not None:
            ending.receives(body)

    def close(self) -> None:
        if self._body is not None:
            self.ending.left(self._body)
            self._body.close()
            self._body = None

    def fill(self, view: memoryview) -> None:
        """Receive exactly `len(view)` bytes."""
        filled, operation = 0, self._transfer.operation
        while filled < len(view):
            try:
                with operation.timed("s3"), view[filled:] as rest:
                    count = self._open().readinto(rest)
                if count == 0:
                    raise TransferError(
                        f"{self._transfer.location}: the body ended after {self._position:,} of "
                        f"{self._transfer.stored.stored_bytes:,} bytes"
                    )
            except UnavailableError as error:
                self.close()
                if self.ending.said:
                    raise  # another range has failed, or who waits for them was interrupted: it is not asked again
                self._budget.pause(error)
                operation.count_retry(self._position - self._begun)
                self._begun = self._position
            else:
                filled += count
                self._position += count
        # A whole piece, not a byte: a connection that drips and breaks must not be resumed for ever.
        self._budget.progressed()

    def _open(self) -> Body:
        if self._body is None:
            self._body = self._transfer.matching(self._position, self._end)
            self.ending.receives(self._body)
        return self._body
