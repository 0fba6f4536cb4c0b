"""HEAD requests side by side: in order, however many, and with the error that all would have."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal.counters import Operation
from arrowseal.exceptions import ObjectNotFoundError, StoreAccessDeniedError, StoreError
from arrowseal.listing import heads
from arrowseal.location import ObjectLocation
from arrowseal.store import StoredObject

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACES = [ObjectLocation("lake", str(number)) for number in range(2_500)]


class Store:
    """Answers HEAD requests; those of some keys fail."""

    def __init__(self, failing: dict[str, Exception] | None = None) -> None:
        self._failing = failing or {}
        self._lock = threading.Lock()
        self.asked: list[tuple[str, str | None]] = []

    def head(self, location: ObjectLocation, _: Operation, *, arguments: Mapping[str, Any]) -> StoredObject:
        with self._lock:
            self.asked.append((location.key, arguments.get("VersionId")))
        if location.key in self._failing:
            raise self._failing[location.key]
        return StoredObject(location, {}, 0, "etag")


def ask(store: Any, places: list[ObjectLocation], versions: list[str | None] | None = None) -> list[Any]:
    return list(heads(store, places, Operation("list", places[0]), 8, versions))


def test_answers_come_in_the_order_of_the_objects() -> None:
    found = ask(Store(), PLACES)
    assert [stored.location for stored in found] == PLACES


def test_what_is_gone_or_not_told_is_none() -> None:
    failing = {"1": ObjectNotFoundError("gone"), "2": StoreError("400: a customer key")}
    found = ask(Store(failing), PLACES[:4])
    assert [stored is None for stored in found] == [False, True, True, False]


def test_a_denial_ends_it_and_not_all_are_asked() -> None:
    store = Store({"0": StoreAccessDeniedError("denied")})
    with pytest.raises(StoreAccessDeniedError):
        ask(store, PLACES)
    assert len(store.asked) <= 1_000


def test_versions_are_asked_for_by_their_ids() -> None:
    store = Store()
    ask(store, PLACES[:2], ["v1", None])
    assert sorted(store.asked) == [("0", "v1"), ("1", None)]
