"""A client whose objects are bytes in a dict: what the faces do, without S3, KMS and cryptography."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, Self

from arrowseal.counters import Counters


class MemoryClient:
    """`get`, `object` and `open` as the faces call them. `calls` has the name, location and keywords of each, `ranges`
    what was read of objects.
    """

    def __init__(self, **objects: bytes) -> None:
        self.counters = Counters()
        self.objects: dict[str, bytes] = dict(objects)
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.ranges: list[tuple[int, int]] = []

    def get(self, location: Any, **keywords: Any) -> bytes:
        self.calls.append(("get", str(location), keywords))
        with self.counters.operation("get", location) as operation:
            operation.requests += 1
        return self.objects[location.key]

    def object(self, location: Any, *, counted: Any = None, **keywords: Any) -> MemoryObject:
        self.calls.append(("object", str(location), keywords))
        if counted is not None:
            counted.requests += 1
        return MemoryObject(self.objects[location.key], self.ranges)

    def open(self, location: Any, mode: str = "wb", **keywords: Any) -> MemoryWriter:
        return MemoryWriter(self, location, keywords)


class MemoryObject:
    """Its ranges are read as those of an `EncryptedObject` whose content is elsewhere."""

    in_memory = False

    def __init__(self, content: bytes, log: list[tuple[int, int]]) -> None:
        self._content = memoryview(content)
        self._log = log
        self.size = len(content)

    def read_at(self, offset: int, length: int) -> memoryview:
        return self.read_ranges([(offset, length)])[0]

    def read_ranges(self, ranges: Any) -> list[memoryview]:
        self._log.extend(ranges)
        return [self._content[offset : offset + length] for offset, length in ranges]

    def read_in_turn(self, batches: Any) -> Any:
        return map(self.read_ranges, batches)

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class MemoryWriter(io.BytesIO):
    """Its content becomes an object, and a call of "put", when it is committed."""

    def __init__(self, client: MemoryClient, location: Any, keywords: dict[str, Any]) -> None:
        super().__init__()
        self._client, self._location, self._keywords = client, location, keywords

    def commit(self) -> Any:
        client, location = self._client, self._location
        client.calls.append(("put", str(location), self._keywords))
        with client.counters.operation("put", location) as operation:
            operation.requests += 1
        client.objects[location.key] = self.getvalue()
        return SimpleNamespace(location=location)
