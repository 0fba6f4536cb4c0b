"""A client whose objects are bytes in a dict: what the faces do, without S3, KMS and cryptography."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

from arrowseal.counters import Counters


class MemoryClient:
    """`get` and `open` as the faces call them. `calls` has the name, location and keywords of each."""

    def __init__(self, **objects: bytes) -> None:
        self.counters = Counters()
        self.objects: dict[str, bytes] = dict(objects)
        self.calls: list[tuple[str, str, dict[str, Any]]] = []

    def get(self, location: Any, **keywords: Any) -> bytes:
        self.calls.append(("get", str(location), keywords))
        with self.counters.operation("get", location) as operation:
            operation.requests += 1
        return self.objects[location.key]

    def open(self, location: Any, **keywords: Any) -> MemoryWriter:
        return MemoryWriter(self, location, keywords)


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
