"""What a compaction notes down in a directory while it is at work there, so that whoever comes next can finish or undo
it: names and ETags, no content. Each change of it is one conditional write, which only one of several runs can win.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from arrowseal.exceptions import NotATableError, ObjectChangedError, ObjectNotFoundError, PreconditionFailedError
from arrowseal.outgoing import shared_arguments
from arrowseal.store import Payload
from arrowseal.transfer import exactly
from arrowseal.upload import Outgoing, Upload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.retrying import RetryingStore

Phase = Literal["writing", "deleting"]
"""While new files are written nothing of them counts; as soon as sources are deleted, the new files do."""

_LONGEST: Final = 2**28
_MARK: Final = "arrowseal-compaction"
"""The entry of the metadata that tells one write from another."""


@dataclass(frozen=True)
class Replacement:
    """A new file and those that it replaces, all of one directory and by their names."""

    target: str
    sources: Mapping[str, str]
    """Their ETags."""
    etag: str = ""
    """Of the target, once it is there."""


@dataclass(frozen=True)
class Manifest:
    """What one run does in one directory."""

    run: str
    """A token that no other run has."""
    phase: Phase
    replacements: tuple[Replacement, ...]

    def render(self) -> bytes:
        """As JSON."""
        rows = [{"target": one.target, "etag": one.etag, "sources": dict(one.sources)} for one in self.replacements]
        return json.dumps({"run": self.run, "state": self.phase, "merges": rows}).encode()

    @classmethod
    def parse(cls, content: bytes) -> Manifest:
        """Raises `ValueError` for what is none. Names stay within their directory, whoever wrote them."""
        try:
            told = json.loads(content)
            rows = tuple(Replacement(row["target"], dict(row["sources"]), row["etag"]) for row in told["merges"])
            run, phase = told["run"], told["state"]
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError from error
        texts = [text for row in rows for text in (row.target, row.etag, *row.sources, *row.sources.values())]
        names = [name for row in rows for name in (row.target, *row.sources)]
        if phase not in ("writing", "deleting") or not all(isinstance(text, str) for text in (run, *texts)):
            raise ValueError
        if not all(names) or any("/" in name for name in names):
            raise ValueError
        return cls(run, phase, rows)


@dataclass(frozen=True)
class Held:
    """A manifest as it lies there."""

    manifest: Manifest
    etag: str


class Manifests:
    """Those of one run of `compact`. Safe to share between threads."""

    def __init__(self, store: RetryingStore, operation: Operation, arguments: Mapping[str, Any]) -> None:
        self._store = store
        self._operation = operation
        self._arguments = shared_arguments(arguments)

    def read(self, location: ObjectLocation) -> Held | None:
        """The one that is there; None for none. Raises `NotATableError` for anything else, `StoreError`s."""

        def call() -> tuple[str, bytes]:
            stored, body = self._store.get(location, self._operation, byte_range=(0, _LONGEST), arguments={})
            try:
                return stored.etag, bytes(exactly(body, min(stored.stored_bytes, _LONGEST), location))
            finally:
                body.close()

        try:
            etag, content = self._store.repeat(self._operation, call)
        except ObjectNotFoundError:
            return None
        try:
            return Held(Manifest.parse(content), etag)
        except ValueError:
            raise NotATableError(
                f"{location}: not what a compaction notes down about its work, and nothing beside it was touched: "
                "delete it if nobody needs it"
            ) from None

    def create(self, location: ObjectLocation, manifest: Manifest) -> Held:
        """Write one where none is. Raises `ObjectChangedError` if there is one by now, `StoreError`s."""
        return self._put(location, manifest, {"IfNoneMatch": "*"})

    def check(self, location: ObjectLocation, held: Held) -> None:
        """Raise `ObjectChangedError` if it is another one or gone by now. Raises `StoreError`s."""
        now = self.read(location)
        if now is None or now.etag != held.etag:
            raise _taken(location)

    def replace(self, location: ObjectLocation, manifest: Manifest, before: Held) -> Held:
        """Write one over that which was seen there. Raises `ObjectChangedError` if it is another one or gone by now.

        It is looked at first: there are servers that ignore conditions on writes.
        """
        self.check(location, before)
        return self._put(location, manifest, {"IfMatch": f'"{before.etag}"'})

    def remove(self, location: ObjectLocation, held: Held) -> None:
        """Delete the one that was seen there; another one stays. Raises `StoreError`s."""
        with suppress(PreconditionFailedError):
            self._store.delete(location, self._operation, arguments={"IfMatch": f'"{held.etag}"'})

    def _put(self, location: ObjectLocation, manifest: Manifest, condition: Mapping[str, str]) -> Held:
        token = _MARK, secrets.token_hex(16)
        outgoing = Outgoing(dict([token]), {**self._arguments, **condition}, token)
        upload = Upload(self._store, location, self._operation, outgoing, 1)
        try:
            return Held(manifest, upload.put(Payload(manifest.render())).etag)
        except (PreconditionFailedError, ObjectNotFoundError):
            # An attempt whose answer was lost may have been ours.
            now = self.read(location)
            if now is None or now.manifest != manifest:
                raise _taken(location) from None
            return now


def _taken(location: ObjectLocation) -> ObjectChangedError:
    return ObjectChangedError(f"{location}: written by another compaction meanwhile")
