"""Which conditions on writes a server honours. Some take them and ignore them, so it is tried, once for each bucket."""

from __future__ import annotations

import secrets
import threading
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from arrowseal.cancellation import shielded
from arrowseal.exceptions import ArrowSealError, PreconditionFailedError, StoreAccessDeniedError, UnavailableError
from arrowseal.operations.staging import beside
from arrowseal.store import Payload, StoredRange
from arrowseal.upload import Outgoing, Upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.retrying import RetryingStore
    from arrowseal.store import WrittenObject

Kind = Literal["copy", "put", "parts"]
"""Writes: a copy inside the server, an object that is sent at once, one that is made of parts."""

AN_OTHER: Final = f'"{0:032x}"'
"""The ETag of no object."""
_CONTENT: Final = b"made by arrowseal to see whether conditions are honoured; to be deleted"


class Conditions:
    """What the servers of buckets were found to do. Safe to share between threads: each thing is tried once."""

    def __init__(self, store: RetryingStore, operation: Operation) -> None:
        self._store = store
        self._operation = operation
        self._found: dict[tuple[str, Kind], bool] = {}
        self._lock = threading.Lock()

    def honoured(self, kind: Kind, target: ObjectLocation) -> bool:
        """Whether a write of that kind in the bucket of `target` fails if its condition does not hold. Tried with an
        object beside `target`, which is deleted again, in all its versions unless these are locked; one that may not be
        deleted is a warning.

        Raises `StoreError`s (no right to write there), `CredentialsError`.
        """
        with self._lock:
            known = self._found.get((target.bucket, kind))
            if known is None:
                known = self._found[target.bucket, kind] = self._tried(kind, target)
            return known

    def _tried(self, kind: Kind, target: ObjectLocation) -> bool:
        probe = beside(target, f"_arrowseal.{secrets.token_hex(8)}.probe")
        written: list[WrittenObject] = []
        try:
            written.append(self._upload(probe, {}).put(Payload(_CONTENT)))
            if kind == "copy":
                stored = self._store.head(probe, self._operation, arguments={})
                # One that does not look at its source may not look at its target when it matters.
                elsewhere = StoredRange(replace(stored, etag=AN_OTHER.strip('"')), 0, stored.stored_bytes)
                here = {"IfMatch": f'"{stored.etag}"'}
                return self._refused(lambda: self._upload(probe, here).put(elsewhere), written) and self._refused(
                    lambda: self._upload(probe, {"IfMatch": AN_OTHER}).put(StoredRange.whole(stored)), written
                )
            if kind == "put":
                return self._refused(lambda: self._upload(probe, {"IfMatch": AN_OTHER}).put(Payload(_CONTENT)), written)
            return self._refused(lambda: self._in_parts(probe), written)
        finally:
            with shielded():
                self._delete(probe, written)

    def _in_parts(self, probe: ObjectLocation) -> WrittenObject:
        upload = self._upload(probe, {"IfMatch": AN_OTHER})
        try:
            upload.send(Payload(_CONTENT))
            return upload.complete()
        finally:
            upload.abort()

    def _refused(self, write: Callable[[], WrittenObject], written: list[WrittenObject]) -> bool:
        try:
            written.append(write())
        except PreconditionFailedError:
            return True
        except (StoreAccessDeniedError, UnavailableError):
            raise
        except ArrowSealError:
            return False  # a server that does not know what it was asked
        return False

    def _upload(self, probe: ObjectLocation, arguments: dict[str, str]) -> Upload:
        outgoing = Outgoing({"probe": secrets.token_hex(4)}, arguments, None)
        return Upload(self._store, probe, self._operation, outgoing, 1)

    def _delete(self, probe: ObjectLocation, written: list[WrittenObject]) -> None:
        versions = {each.version_id for each in written} - {None, "null"}
        try:
            try:
                for version in versions:
                    self._store.delete(probe, self._operation, arguments={"VersionId": version})
            except StoreAccessDeniedError:
                versions = set()  # they may be locked: then nobody shall see them
            if not versions:
                self._store.delete(probe, self._operation, arguments={})
        except StoreAccessDeniedError as error:
            warnings.warn(
                f"{probe}: made to see whether conditions are honoured; it stays, as it may not be deleted: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
