"""What was asked of encrypted objects, and what was fetched for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arrowseal.objects import EncryptedObject

if TYPE_CHECKING:
    import pytest

    from arrowseal import Client


class ReadLog:
    """The ranges that were asked of all objects, as `(offset, length)`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
        self.asked: list[tuple[int, int]] = []
        self._client = client
        read_ranges = EncryptedObject.read_ranges

        def spy(source: EncryptedObject, ranges: Any) -> Any:
            self.asked.extend(ranges)
            return read_ranges(source, ranges)

        monkeypatch.setattr(EncryptedObject, "read_ranges", spy)

    def clear(self) -> None:
        self.asked.clear()
        self._client.counters.clear()

    @property
    def bytes(self) -> int:
        """How much was asked for."""
        return sum(length for _, length in self.asked)

    @property
    def fetched_bytes(self) -> int:
        """How much came, in whole segments and without what an object was opened with."""
        return sum(record.stored_bytes for record in self._client.counters)
