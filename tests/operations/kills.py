"""A process that is killed at a given request, played by a store that does nothing more from then on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from arrowseal.retrying import RetryingStore

if TYPE_CHECKING:
    import pytest

_REQUESTS = {
    "get",
    "head",
    "attributes",
    "tags",
    "grants",
    "put",
    "create_upload",
    "put_part",
    "complete_upload",
    "abort_upload",
    "list_page",
    "list_uploads_page",
    "has_parts",
    "copy",
    "delete",
}


made_as_ever = RetryingStore.__init__


class Killed(BaseException):
    """The end of the process: no request comes after it, whatever cleans up."""


class DyingStore:
    """A store that dies with its call number `at`: half of them before the request is sent, half after it was done."""

    def __init__(self, store: Any, at: int) -> None:
        self._store = store
        self._left = at
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in _REQUESTS:
            return method

        def call(*arguments: Any, **keywords: Any) -> Any:
            with self._lock:
                self._left -= 1
                left = self._left
            if left < -1:
                raise Killed
            if left == -1:
                raise Killed  # not sent
            answer = method(*arguments, **keywords)
            if left == 0 and self._after:
                with self._lock:
                    self._left = -2
                raise Killed  # done, and nobody knows
            return answer

        return call

    _after = False

    @classmethod
    def make(cls, store: Any, at: int) -> DyingStore:
        """The one for a number of a sequence in which both ends of each request come."""
        dying = cls(store, at // 2 + at % 2)
        dying._after = at % 2 == 1
        return dying


def dying_at(monkeypatch: pytest.MonkeyPatch, at: int | None) -> None:
    """Clients that are made from now on die at that point; None for those that live."""

    def made(self: RetryingStore, store: Any, options: Any) -> None:
        made_as_ever(self, store if at is None else DyingStore.make(store, at), options)

    monkeypatch.setattr(RetryingStore, "__init__", made)
