"""A real S3 server for all benchmarks: moto loads whole objects for each request and measures itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from arrowseal.local import LocalServers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def servers() -> Iterator[LocalServers]:
    """SeaweedFS for S3, moto for KMS, both on loopback."""
    with LocalServers(s3="seaweedfs") as servers:
        yield servers
