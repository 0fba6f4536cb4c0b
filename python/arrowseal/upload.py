"""Sends the bytes of one object: at once, or as parts side by side that become an object only when all are there.

Every part is sent until S3 has it, each time the same bytes. Whether a request whose answer was lost had its effect is
asked of the object itself, which carries a token of this write.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from concurrent.futures import FIRST_COMPLETED
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from arrowseal.cancellation import Cancellation, CancelledWork, also_cancelled_by, answered, cancellation, shielded
from arrowseal.exceptions import (
    ArrowSealError,
    ObjectExistsError,
    ObjectNotFoundError,
    PreconditionFailedError,
    UnavailableError,
    UploadNotFoundError,
)
from arrowseal.instruction_file import in_step
from arrowseal.outcomes import results, wait
from arrowseal.standby import Threads
from arrowseal.store import WrittenObject, warn_of_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from arrowseal.counters import Operation
    from arrowseal.instruction_file import Beside
    from arrowseal.location import ObjectLocation
    from arrowseal.retrying import RetryingStore
    from arrowseal.store import OpenUpload, Payload, StoredObject, StoredRange, WrittenPart

MIN_PART_BYTES: Final = 5 * 2**20
MAX_PARTS: Final = 10_000
MAX_PART_BYTES: Final = 5 * 2**30 - 16
"""S3 takes 5 GiB at once; the tag goes along with the last part."""
_PARTS_OF_ONE_SIZE: Final = 2_500
"""Then parts grow, since S3 takes 10,000: three times that many of 5 MiB make 75 GiB, which no message reaches."""
_PARTS_OF_ONE_DOUBLING: Final = 200
"""So that a plain stream may become as long as an object can be."""
_CLOCK_STEP: Final = timedelta(seconds=1)  # of the moments that some servers tell
_OF_HEADS: Final = {"RequestPayer", "ExpectedBucketOwner"}
_open_here: Final[set[str]] = set()
"""The ids of the uploads that this process has open."""


class Outgoing(NamedTuple):
    """What goes along with the bytes of an object."""

    metadata: Mapping[str, str]
    arguments: Mapping[str, Any]
    """Those of boto3's `put_object`."""
    token: tuple[str, str] | None
    """An entry of the metadata that no other write has."""
    beside: Beside | None = None
    """Its instruction file, or what ends that of an earlier object."""


def part_bytes(part_bytes: int, number: int, size: int | None = None) -> int:
    """How long part `number` of an object is, from 1: a multiple of 16. All are alike where the size is known."""
    unit = min(max(part_bytes, MIN_PART_BYTES), MAX_PART_BYTES)
    if size is not None:
        return max(unit, -(-size // MAX_PARTS // 16) * 16)
    step, beyond = divmod(number - 1, _PARTS_OF_ONE_SIZE)
    last = MAX_PARTS // _PARTS_OF_ONE_SIZE - 1
    longer = 1 + step if step < last else 2 ** (2 + beyond // _PARTS_OF_ONE_DOUBLING)
    return min(unit * longer, MAX_PART_BYTES)


class Upload:
    """One write of one object. Not shared between threads, except for `abort`."""

    def __init__(
        self,
        store: RetryingStore,
        location: ObjectLocation,
        operation: Operation,
        outgoing: Outgoing,
        concurrency: int,
    ) -> None:
        self._store = store
        self._location = location
        self._operation = operation
        self._outgoing = outgoing
        self._concurrency = concurrency
        self._upload_id: str | None = None
        self._threads: Threads | None = None
        self._in_flight: set[Future[WrittenPart]] = set()
        self._parts: list[WrittenPart] = []
        self._sent = 0
        self._given_up = Cancellation()
        self._ending: threading.Thread | None = None
        self._lock = threading.Lock()
        self._unanswered: timedelta | None = None
        self._process = os.getpid()

    def put(self, payload: Payload | StoredRange) -> WrittenObject:
        """Write the object at once. Raises `StoreError`s, `CredentialsError`; then it was not written, unless the error
        says that no answer came.
        """

        def call() -> WrittenObject:
            return self._store.put(
                self._location,
                self._operation,
                payload,
                metadata=self._outgoing.metadata,
                arguments=self._outgoing.arguments,
            )

        cancellation().check()
        self._operation.hold(payload.own_bytes)
        try:
            written = self._with_beside(call)
        finally:
            self._operation.release(payload.own_bytes)
        self._operation.progress.advance(len(payload))
        return written

    def send(self, payload: Payload | StoredRange) -> None:
        """Send the next part, while those before it are on their way. Waits for one of them when there are too many, so
        that memory is bounded. Raises what any of them failed with.
        """
        cancellation().check()
        if self._upload_id is None or self._threads is None:
            self._threads = Threads(self._concurrency, "arrowseal-write", to_the_end=True).__enter__()
            self._upload_id = self._threads.submit(self._begin).result()
        self._operation.hold(payload.own_bytes)  # also while it waits
        self._collect(at_most=self._concurrency - 1)
        self._sent += 1
        self._in_flight.add(self._threads.submit(self._send, self._upload_id, self._sent, payload))

    def complete(self) -> WrittenObject:
        """Make the object of the parts that were sent. Raises like `put`."""
        self._collect(at_most=0)
        cancellation().check()  # what was called off while its last parts were on their way becomes no object
        upload_id = self._upload_id or ""
        self._give_up_unanswered(upload_id)

        def call() -> WrittenObject:
            return self._store.complete_upload(
                self._location, self._operation, upload_id, self._parts, arguments=self._outgoing.arguments
            )

        written = self._with_beside(call)
        self._finish(None)
        _open_here.discard(upload_id)
        return written

    def abort(self) -> None:
        """Give up what was sent so far; nothing of it stays. Warns where S3 does not confirm that, and never raises."""
        if os.getpid() != self._process:
            return  # a forked child leaves its parent's upload alone
        self._given_up.cancel()  # parts that are refused for now are not sent again
        if self._ending is not None and self._ending.ident is not None:
            return  # that goes on
        if self._threads is None or not threading.main_thread().is_alive():
            self._end()
            return
        # On a thread that Ctrl-C does not strike: who is impatient and strikes twice leaves nothing either. Waited for
        # by a lock: the interpreter forgets a thread whose `join` was interrupted.
        ended = threading.Lock()
        ended.acquire()
        raised: list[BaseException] = []

        def end() -> None:
            try:
                self._end()
            except BaseException as error:
                raised.append(error)
            finally:
                ended.release()

        self._ending = threading.Thread(target=end, name="arrowseal-abort")
        try:
            self._ending.start()
        except RuntimeError:  # there are as many threads as this process may have, or it is ending
            self._end()
            return
        ended.acquire()
        if raised:  # no error of ours, of which there is a warning: the thread would only mention it
            raise raised.pop()

    def _end(self) -> None:
        self._finish(CancelledWork)
        self._give_up()

    def _give_up(self) -> None:
        with self._lock:
            upload_id, self._upload_id = self._upload_id, None
        if upload_id is None:
            return
        try:
            with shielded():
                self._give_up_unanswered(upload_id)
                self._store.abort_upload(self._location, self._operation, upload_id, arguments=self._outgoing.arguments)
            _open_here.discard(upload_id)
        except ArrowSealError as error:
            warn_of_parts(self._location, upload_id, error)

    def _begin(self) -> str:
        since: float | None = None

        def call() -> str:
            nonlocal since
            asked = time.monotonic()
            try:
                return self._store.create_upload(
                    self._location,
                    self._operation,
                    metadata=self._outgoing.metadata,
                    arguments=self._outgoing.arguments,
                )
            except UnavailableError:
                since = asked if since is None else since
                raise

        # On a thread that Ctrl-C does not strike. Whatever was begun, `abort` finds its id here, also if who waits for
        # it was interrupted before there was anything to wait for. If it was interrupted while this thread was started,
        # `abort` knows nothing of it, and has been here already.
        self._upload_id = upload_id = self._store.repeat(self._operation, call)
        _open_here.add(upload_id)
        if since is not None:
            self._unanswered = timedelta(seconds=time.monotonic() - since) + _CLOCK_STEP
        if self._given_up.cancelled:
            self._give_up()
        return upload_id

    def _give_up_unanswered(self, upload_id: str) -> None:
        """Give up what attempts to begin left whose answers were lost, with the ids.

        Those are uploads of this object, from the seconds of these attempts by the server's own clock, that have no
        part by now and that this process does not have open. One that anything speaks against stays: it holds nothing.
        """
        if self._unanswered is None:
            return
        location, arguments = self._location, self._outgoing.arguments
        with contextlib.suppress(ArrowSealError):
            listed = self._store.list_uploads(location.bucket, location.key, self._operation, arguments=arguments)
            uploads = {upload.upload_id: upload for upload in listed if upload.location == location}
            ours = uploads[upload_id].initiated if upload_id in uploads else None
            for upload in uploads.values():
                if (
                    ours is not None
                    and ours - self._unanswered <= upload.initiated <= ours
                    and upload.upload_id not in _open_here
                ):
                    self._give_up_empty(upload)

    def _give_up_empty(self, upload: OpenUpload) -> None:
        with contextlib.suppress(UploadNotFoundError):
            arguments = self._outgoing.arguments
            if not self._store.has_parts(upload, self._operation, arguments=arguments):
                self._store.abort_upload(upload.location, self._operation, upload.upload_id, arguments=arguments)

    def _send(self, upload_id: str, number: int, payload: Payload | StoredRange) -> WrittenPart:
        try:
            with also_cancelled_by(self._given_up):
                cancellation().check()
                part = self._store.put_part(
                    self._location, self._operation, upload_id, number, payload, arguments=self._outgoing.arguments
                )
        finally:
            self._operation.release(payload.own_bytes)
        self._operation.progress.advance(len(payload))
        return part

    def _collect(self, *, at_most: int) -> None:
        while len(self._in_flight) > at_most:
            self._parts += results([*self._some_done()])

    def _some_done(self) -> set[Future[WrittenPart]]:
        done, self._in_flight = wait(self._in_flight, return_when=FIRST_COMPLETED)
        return done

    def _finish(self, kind: type[BaseException] | None) -> None:
        threads, self._threads = self._threads, None
        if threads is not None:
            # A part that arrives after the abort would stay: those on their way are waited for.
            threads.__exit__(kind, None, None)
            self._in_flight = set()

    def _with_beside(self, call: Callable[[], WrittenObject]) -> WrittenObject:
        """What `call` wrote, with its instruction file before it."""
        beside = self._outgoing.beside
        if beside is None:
            with answered():
                return self._settled(call)

        def together() -> WrittenObject:
            with answered(), in_step(beside, lambda: self._ours() is not None):
                return self._settled(call)

        # On a thread that Ctrl-C does not strike: S3 may take what was sent, and object and file would be of different
        # writes, neither of which anybody opens.
        with Threads(1, "arrowseal-write", to_the_end=True) as aside:
            return aside.submit(together).result()

    def _settled(self, call: Callable[[], WrittenObject]) -> WrittenObject:
        """What `call` wrote, now or in an attempt whose answer was lost."""
        try:
            return self._store.repeat(self._operation, call)
        except (PreconditionFailedError, UploadNotFoundError, UnavailableError) as error:
            # boto3 clients that were handed in repeat by themselves: our first attempt may be their second.
            with contextlib.suppress(ArrowSealError):
                written = self._ours()
                if written is not None:
                    return written
            if isinstance(error, PreconditionFailedError) and "IfNoneMatch" in self._outgoing.arguments:
                raise ObjectExistsError(f"{self._location}: it is there already, and was to be a new one") from None
            raise

    def _ours(self) -> WrittenObject | None:
        """The object, where it is seen to be that of this write. Raises `StoreError`s, `CredentialsError`."""
        if self._outgoing.token is None:
            return None
        name, value = self._outgoing.token
        with contextlib.suppress(ObjectNotFoundError):
            stored = self._head()
            if stored.metadata.get(name) == value:
                return WrittenObject(stored.etag, stored.version_id)
        return None

    def _head(self) -> StoredObject:
        arguments = {
            name: value
            for name, value in self._outgoing.arguments.items()
            if name.startswith("SSECustomer") or name in _OF_HEADS
        }
        return self._store.head(self._location, self._operation, arguments=arguments)
