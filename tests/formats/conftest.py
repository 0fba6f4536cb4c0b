"""A bucket in memory, and keys of every kind."""

from __future__ import annotations

import pytest
from memory_store import Lake
from writers import Keys


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Lake:
    return Lake(monkeypatch)


@pytest.fixture(scope="session")
def keys() -> Keys:
    """One for all tests: an RSA key takes longer to make than most of them."""
    return Keys()
