"""Instruction files that are written anew, only over what was seen there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from arrowseal import instruction_file as instructions
from arrowseal.exceptions import (
    ConditionsIgnoredError,
    ObjectChangedError,
    ObjectNotFoundError,
    PreconditionFailedError,
)
from arrowseal.metadata import INSTRUCTION_FILE
from arrowseal.store import Payload
from arrowseal.upload import Outgoing, Upload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.operations.conditions import Conditions
    from arrowseal.retrying import RetryingStore
    from arrowseal.store import ObjectAttributes

FILE: Final = "instruction file"


@dataclass(frozen=True)
class Found:
    """An instruction file as it was seen."""

    attributes: ObjectAttributes
    entries: Mapping[str, str]


class InstructionFiles:
    """Those of the objects of a job; `suffix` is that of the files that objects are read with."""

    def __init__(self, store: RetryingStore, operation: Operation, conditions: Conditions, suffix: str) -> None:
        self.suffix = suffix
        self._store = store
        self._operation = operation
        self._conditions = conditions

    def look(self, location: ObjectLocation, suffix: str) -> Found | None:
        """The file of an object; None if there is none."""
        file = instructions.beside(location, suffix)
        if file is None:
            return None
        try:
            attributes = self._store.attributes(file, self._operation, arguments={})
        except ObjectNotFoundError:
            return None
        # Read after it was looked at: if it is another one by then, the condition of the write does not hold.
        entries = instructions.fetch(self._store, location, suffix, self._operation)
        return None if entries is None else Found(attributes, entries)

    def put(
        self,
        location: ObjectLocation,
        suffix: str,
        entries: Mapping[str, str],
        over: Found | None,
        *,
        unconditional: bool,
        grants: Mapping[str, str],
    ) -> None:
        """Write the file of an object over the one that was seen there, or where none was, with `grants` for its access
        control list. Raises `ObjectChangedError`, `ConditionsIgnoredError`, `StoreError`s, `CredentialsError`.
        """
        file = instructions.beside(location, suffix)
        if file is None:
            instructions.check_key(location, suffix)
            return
        if not unconditional and not self._conditions.honoured("put", file):
            raise ConditionsIgnoredError(
                f"{file}: its server ignores conditions on writes, so that what others write meanwhile could be "
                "overwritten unseen. If nobody else writes there, say unconditional=True"
            )
        content = instructions.render(entries)
        upload = Upload(self._store, file, self._operation, self._outgoing(over, grants), 1)
        try:
            upload.put(Payload(content))
        except PreconditionFailedError:
            # An attempt whose answer was lost may have been ours.
            if instructions.fetch(self._store, location, suffix, self._operation) != dict(entries):
                raise ObjectChangedError(f"{file}: written by somebody else meanwhile: it is left as it is") from None

    def _outgoing(self, over: Found | None, grants: Mapping[str, str]) -> Outgoing:
        if over is None:
            return Outgoing({INSTRUCTION_FILE: ""}, {"IfNoneMatch": "*"}, None)
        stored = over.attributes.stored
        kept: dict[str, Any] = dict(over.attributes.arguments)
        if tags := self._store.tags(stored.location, self._operation):
            kept["Tagging"] = tags
        return Outgoing(stored.metadata, kept | dict(grants) | {"IfMatch": f'"{stored.etag}"'}, None)
