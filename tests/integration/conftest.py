"""An S3 and a KMS in this process, for tests that look at many ranges, and a client on them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from broken_servers import BrokenServers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal import Client


@pytest.fixture(scope="session")
def servers_here() -> Iterator[BrokenServers]:
    """One S3 and one KMS for all tests."""
    servers = BrokenServers()
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def resident(servers_here: BrokenServers) -> Client:
    """A client that all tests share: to make its boto3 clients takes longer than most of them. It writes in parts of
    1 MiB, so that longer objects have a segment index.
    """
    return servers_here.client()


@pytest.fixture
def lake(servers_here: BrokenServers) -> str:
    """A bucket that nothing is in."""
    servers_here.s3.reset()
    return f"lake-{secrets.token_hex(4)}"
