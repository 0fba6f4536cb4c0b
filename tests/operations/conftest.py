"""A lake in memory with an old and a new key, on which jobs are run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lake import Lake

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def one_lake() -> Iterator[Lake]:
    lake = Lake()
    yield lake
    lake.close()


@pytest.fixture
def lake(one_lake: Lake) -> Lake:
    """An empty one, whose server honours all conditions."""
    one_lake.empty()
    one_lake.s3.server.ignored.clear()
    one_lake.client = one_lake.make_client()
    return one_lake


@pytest.fixture
def new_key(lake: Lake) -> str:
    return lake.kms.create_key()
