"""fsspec's own abstract suites on `s3cse://`: copying, getting, putting, opening, piping, and paths of every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fsspec.tests import abstract

from arrowseal.fs import S3CseFileSystem

if TYPE_CHECKING:
    from arrowseal import Client


class Fixtures(abstract.AbstractFixtures):
    @pytest.fixture
    def fs(self, resident: Client) -> S3CseFileSystem:
        return S3CseFileSystem(client=resident)

    @pytest.fixture
    def fs_path(self, lake: str) -> str:
        return f"{lake}/abstract"


class TestCopy(abstract.AbstractCopyTests, Fixtures):
    """Inside the bucket."""


class TestGet(abstract.AbstractGetTests, Fixtures):
    """From the bucket to files."""


class TestPut(abstract.AbstractPutTests, Fixtures):
    """From files to the bucket."""


class TestOpen(abstract.AbstractOpenTests, Fixtures):
    """Exclusive creation."""


class TestPipe(abstract.AbstractPipeTests, Fixtures):
    """Exclusive creation in one call."""
