"""A client whose objects are bytes in a dict: what the faces do, without S3, KMS and cryptography."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from arrowseal.counters import Counters


class MemoryClient:
    """`get` and `put` as the faces call them. `calls` has the name, location and keywords of each."""

    def __init__(self, **objects: bytes) -> None:
        self.counters = Counters()
        self.objects: dict[str, bytes] = dict(objects)
        self.calls: list[tuple[str, str, dict[str, Any]]] = []

    def get(self, location: Any, **keywords: Any) -> bytes:
        self.calls.append(("get", str(location), keywords))
        with self.counters.operation("get", location) as operation:
            operation.requests += 1
        return self.objects[location.key]

    def put(self, location: Any, data: Any, **keywords: Any) -> Any:
        self.calls.append(("put", str(location), keywords))
        with self.counters.operation("put", location) as operation:
            operation.requests += 1
        self.objects[location.key] = bytes(data)
        return SimpleNamespace(location=location)
