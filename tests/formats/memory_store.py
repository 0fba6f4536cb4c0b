"""Objects in a dict behind the store protocol: reads and writes of a client without boto3 and without HTTP."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from arrowseal import Client
from arrowseal.exceptions import ObjectNotFoundError, PreconditionFailedError, UploadNotFoundError
from arrowseal.location import ObjectLocation
from arrowseal.store import ListedObject, StoredObject, WrittenObject, WrittenPart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pytest

BUCKET = "lake"
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class MemoryBody:
    """The bytes of an answer."""

    at_once_bytes: ClassVar[int] = 2**18

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)

    def readinto(self, target: memoryview, /) -> int:
        size = min(len(target), len(self._content))
        target[:size] = self._content[:size]
        self._content = self._content[size:]
        return size

    def take(self, size: int, /) -> bytes:
        taken = bytes(self._content[:size])
        self._content = self._content[size:]
        return taken

    def close(self) -> None:
        """Nothing is open."""


class MemoryStore:
    """One bucket. `objects` has (body, metadata) by key; `calls` counts requests by name; `taken` is how many bytes of
    bodies were handed out; `fail` is called with the name and key of each request that writes, and may raise; so is
    `answer` of those that write an object and of HEADs, when all was done.
    """

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.calls: Counter[str] = Counter()
        self.taken = 0
        self.fail: Callable[[str, str], None] = lambda *_: None
        self.answer: Callable[[str, str], None] = lambda *_: None
        self._uploads: dict[str, tuple[str, dict[str, str], dict[int, bytes]]] = {}

    def get(
        self, location: ObjectLocation, operation: Any, *, byte_range: tuple[int, int], arguments: Mapping[str, Any]
    ) -> tuple[StoredObject, MemoryBody]:
        self.calls["get"] += 1
        stored, body = self._found(location, arguments)
        begin, end = byte_range
        content = body[begin:] if begin < 0 else body[begin:end]
        self.taken += len(content)
        return stored, MemoryBody(content)

    def head(self, location: ObjectLocation, operation: Any, *, arguments: Mapping[str, Any]) -> StoredObject:
        self.calls["head"] += 1
        stored, _ = self._found(location, arguments)
        self.answer("head", location.key)
        return stored

    def check_put(self, location: ObjectLocation, *, metadata: Mapping[str, str], arguments: Mapping[str, Any]) -> None:
        """Everything is taken."""

    def put(
        self,
        location: ObjectLocation,
        operation: Any,
        payload: Any,
        *,
        metadata: Mapping[str, str],
        arguments: Mapping[str, Any],
    ) -> WrittenObject:
        self.calls["put"] += 1
        written = self._write("put", location.key, bytes(payload.view), dict(metadata), arguments)
        self.answer("put", location.key)
        return written

    def create_upload(
        self, location: ObjectLocation, operation: Any, *, metadata: Mapping[str, str], arguments: Mapping[str, Any]
    ) -> str:
        self.fail("create_upload", location.key)
        upload_id = uuid.uuid4().hex  # as on S3, no other upload's anywhere
        self._uploads[upload_id] = location.key, dict(metadata), {}
        return upload_id

    def put_part(
        self,
        location: ObjectLocation,
        operation: Any,
        upload_id: str,
        number: int,
        payload: Any,
        *,
        arguments: Mapping[str, Any],
    ) -> WrittenPart:
        self.fail("put_part", location.key)
        self._uploads[upload_id][2][number] = bytes(payload.view)
        return WrittenPart(number, str(number), None)

    def complete_upload(
        self,
        location: ObjectLocation,
        operation: Any,
        upload_id: str,
        parts: Sequence[WrittenPart],
        *,
        arguments: Mapping[str, Any],
    ) -> WrittenObject:
        if upload_id not in self._uploads:
            raise UploadNotFoundError(f"{location}: completed or aborted")
        key, metadata, bodies = self._uploads[upload_id]
        body = b"".join(bodies[number] for number in sorted(bodies))
        written = self._write("complete_upload", key, body, metadata, arguments)
        del self._uploads[upload_id]
        self.answer("complete_upload", key)
        return written

    def abort_upload(
        self, location: ObjectLocation, operation: Any, upload_id: str, *, arguments: Mapping[str, Any]
    ) -> None:
        self._uploads.pop(upload_id, None)

    def list_uploads_page(
        self, bucket: str, prefix: str, operation: Any, *, after: Any, arguments: Mapping[str, Any]
    ) -> tuple[list[Any], None]:
        return [], None

    def copy(
        self,
        source: ObjectLocation,
        target: ObjectLocation,
        operation: Any,
        *,
        arguments: Mapping[str, Any] | None = None,
        source_arguments: Mapping[str, Any] | None = None,
    ) -> bool:
        self.calls["copy"] += 1
        _, body = self._found(source, {})
        self._write("copy", target.key, body, self.objects[source.key][1], {})
        return True

    def delete(self, location: ObjectLocation, operation: Any, *, arguments: Mapping[str, Any]) -> None:
        self.calls["delete"] += 1
        self.fail("delete", location.key)
        self.objects.pop(location.key, None)

    def list_page(
        self, bucket: str, prefix: str, operation: Any, *, delimiter: str | None, token: str | None
    ) -> tuple[list[ListedObject], None]:
        keys = sorted(key for key in self.objects if key.startswith(prefix))
        rows = [ListedObject(ObjectLocation(bucket, key), len(self.objects[key][0]), NOW, etag="e") for key in keys]
        return rows, None

    def _found(self, location: ObjectLocation, arguments: Mapping[str, Any]) -> tuple[StoredObject, bytes]:
        if location.key not in self.objects:
            raise ObjectNotFoundError(f"{location}: no such object")
        body, metadata = self.objects[location.key]
        etag = hashlib.blake2b(body, digest_size=8).hexdigest()
        if arguments.get("IfMatch", etag).strip('"') != etag:
            raise PreconditionFailedError(f"{location}: another one")
        return StoredObject(location, metadata, len(body), etag, last_modified=NOW, ranged=True), body

    def _write(
        self, name: str, key: str, body: bytes, metadata: dict[str, str], arguments: Mapping[str, Any]
    ) -> WrittenObject:
        self.fail(name, key)
        if arguments.get("IfNoneMatch") == "*" and key in self.objects:
            raise PreconditionFailedError(f"{key}: is there")
        self.objects[key] = body, metadata
        return WrittenObject(hashlib.blake2b(body, digest_size=8).hexdigest(), None)


class Lake:
    """A bucket in memory and clients of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = MemoryStore()
        monkeypatch.setattr("arrowseal.configured.store_of", lambda *_: self.store)

    def client(self, *key: str, **options: Any) -> Client:
        return Client(*key, **options)

    def plant(self, key: str, body: bytes, metadata: Mapping[str, str], file: bytes | None = None) -> str:
        """Put an object, and its instruction file if it has one, as somebody else would; returns its URL."""
        self.store.objects[key] = body, dict(metadata)
        self.store.objects.pop(key + ".instruction", None)
        if file is not None:
            self.store.objects[key + ".instruction"] = file, {}
        return f"s3://{BUCKET}/{key}"


def unavailable(when: str, key: str) -> Callable[[str, str], None]:
    """A `fail` of one request that is refused for good."""

    def fail(name: str, of: str) -> None:
        if (name, of) == (when, key):
            message = f"{of}: refused by the test"
            raise PreconditionFailedError(message)

    return fail
