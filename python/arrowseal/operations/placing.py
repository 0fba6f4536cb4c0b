"""Puts stored bytes at a place, with metadata and attributes of their own, over what was seen there only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from arrowseal.copying import COPIED_PART, copied_ranges
from arrowseal.exceptions import ConditionsIgnoredError, ObjectChangedError, PreconditionFailedError
from arrowseal.store import COPY_LIMIT, Payload, StoredRange
from arrowseal.transfer import Transfer
from arrowseal.upload import Outgoing, Upload, part_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.operations.conditions import Conditions
    from arrowseal.retrying import RetryingStore
    from arrowseal.store import StoredObject, WrittenObject
    from arrowseal.transfer import TransferOptions

COPIED, COPIED_IN_PARTS, SENT = "copied", "copied in parts", "sent again"
"""How bytes get to their place: inside the server, or through here, still sealed."""
_AT_ONCE: Final = 2**28
"""What is held in memory to be sent at once where a server honours conditions only then, as moto does."""


@dataclass(frozen=True, kw_only=True)
class Placing:
    """What is to be put where. `metadata` is the user metadata, `arguments` are those of boto3's `put_object`; with
    `Tagging` among them tags are these, otherwise those of a source that is copied at once.
    """

    source: StoredObject
    target: ObjectLocation
    there: str
    """The ETag of what lies at the target."""
    metadata: Mapping[str, str]
    arguments: Mapping[str, Any]
    token: tuple[str, str]
    """An entry of the metadata that the object has when this was done, and did not have before."""


class Placer:
    """Places objects under conditions that their server honours.

    A copy inside the server if it honours conditions on copies; otherwise the bytes go through here, as they are
    stored, if it honours those on writes; otherwise it refuses, or with `unconditional` looks right before it copies.
    """

    def __init__(
        self,
        store: RetryingStore,
        operation: Operation,
        conditions: Conditions,
        transfer: TransferOptions,
        *,
        copy_limit: int = COPY_LIMIT,
        unconditional: bool = False,
    ) -> None:
        self._store = store
        self._operation = operation
        self._conditions = conditions
        self._transfer = transfer
        self._copy_limit = copy_limit
        self.unconditional = unconditional

    def way(self, size: int, target: ObjectLocation) -> str:
        """How an object of that size gets to its place. Raises `ConditionsIgnoredError`, and what trying raises."""
        honoured = self._conditions.honoured
        at_once = size <= self._copy_limit
        if honoured("copy", target) and (at_once or honoured("parts", target)):
            return COPIED if at_once else COPIED_IN_PARTS
        if self._sent_in_parts(size, target) or (size <= _AT_ONCE and honoured("put", target)):
            return SENT
        if self.unconditional:
            return COPIED if at_once else COPIED_IN_PARTS
        raise ConditionsIgnoredError(
            f"{target}: its server ignores conditions on writes, so that what others write meanwhile could be "
            "overwritten unseen. If nobody else writes there, say unconditional=True"
        )

    def place(self, placing: Placing) -> tuple[WrittenObject, str]:
        """Do it, at one moment: before it the target is what it was, after it what it shall be. Also returns the way.

        Raises `ObjectChangedError` if source or target are others by now; `StoreError`s, `CredentialsError`.
        """
        way = self.way(placing.source.stored_bytes, placing.target)
        if self.unconditional:
            self._look(placing)
        try:
            return (self._sent(placing) if way == SENT else self._copied(placing, way)), way
        except PreconditionFailedError:
            raise ObjectChangedError(
                f"{placing.target}: overwritten or deleted meanwhile: it is left as it is"
            ) from None

    def _look(self, placing: Placing) -> None:
        if self._store.head(placing.target, self._operation, arguments={}).etag != placing.there:
            raise ObjectChangedError(f"{placing.target}: overwritten meanwhile: it is left as it is")

    def _upload(self, placing: Placing, **more: Any) -> Upload:
        arguments = {**placing.arguments, "IfMatch": f'"{placing.there}"', **more}
        outgoing = Outgoing(placing.metadata, arguments, placing.token)
        return Upload(self._store, placing.target, self._operation, outgoing, self._transfer.concurrency)

    def _copied(self, placing: Placing, way: str) -> WrittenObject:
        source = placing.source
        if way == COPIED:
            return self._upload(placing).put(StoredRange.whole(source))
        tags = {}
        if "Tagging" not in placing.arguments and (tagging := self._store.tags(source.location, self._operation)):
            tags = {"Tagging": tagging}
        ranges = copied_ranges(source.stored_bytes, min(COPIED_PART, self._copy_limit))
        return self._in_parts(
            self._upload(placing, ChecksumAlgorithm=None, **tags),
            (StoredRange(source, begin, end) for begin, end in ranges),
        )

    def _sent(self, placing: Placing) -> WrittenObject:
        source = placing.source
        tags = {}
        if "Tagging" not in placing.arguments and (tagging := self._store.tags(source.location, self._operation)):
            tags = {"Tagging": tagging}
        in_parts = self._sent_in_parts(source.stored_bytes, placing.target)
        size = source.stored_bytes
        ranges = [*copied_ranges(size, self._transfer.part_bytes)] if in_parts and size else [(0, size)]
        upload, payloads = self._upload(placing, **tags), self._fetched(source, ranges)
        return upload.put(next(payloads)) if len(ranges) == 1 else self._in_parts(upload, payloads)

    def _in_parts(self, upload: Upload, payloads: Iterator[Any]) -> WrittenObject:
        try:
            for payload in payloads:
                upload.send(payload)
            return upload.complete()
        except BaseException:
            upload.abort()
            raise

    def _fetched(self, source: StoredObject, ranges: list[tuple[int, int]]) -> Iterator[Payload]:
        """Stored bytes of exactly this version, a part at a time."""
        transfer = Transfer(self._store, source.location, {}, self._operation, self._transfer)
        transfer.stored = source
        for begin, end in ranges:
            budget, content = self._store.budget(), None
            while content is None and begin < end:
                content = transfer.at_once(begin, end, None, budget)
            yield Payload(bytes(content or b""))

    def _sent_in_parts(self, size: int, target: ObjectLocation) -> bool:
        """Whether bytes that go through here go in parts: if they are many, and the server honours conditions then."""
        long = size > part_bytes(self._transfer.part_bytes, 1, size)
        return long and self._conditions.honoured("parts", target)
