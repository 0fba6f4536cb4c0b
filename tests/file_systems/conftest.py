"""Servers in this process for tests that send many requests, and a client that travels by reference."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from broken_servers import BrokenServers

from arrowseal import Client

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def listening_servers() -> Iterator[BrokenServers]:
    """One S3 and one KMS for all tests."""
    servers = BrokenServers()
    yield servers
    servers.close()


@pytest.fixture
def servers(listening_servers: BrokenServers, monkeypatch: pytest.MonkeyPatch) -> BrokenServers:
    """The servers, with nothing in their logs, and credentials for them in the environment."""
    listening_servers.s3.reset()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "TESTS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not checked")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return listening_servers


@pytest.fixture(scope="session")
def resident(listening_servers: BrokenServers) -> Client:
    """A client that all tests share: to make its boto3 clients takes longer than most of them."""
    return listening_servers.client()


@pytest.fixture
def lake(servers: BrokenServers) -> str:
    """A bucket that nothing is in."""
    return f"lake-{secrets.token_hex(4)}"


@pytest.fixture
def options(servers: BrokenServers) -> dict[str, str]:
    """The options of a client on the servers: references, no objects."""
    return {
        "kms_key_id": servers.key.arn,
        "endpoint_url": servers.s3.endpoint,
        "kms_endpoint_url": servers.kms.endpoint,
        "region_name": "eu-west-1",
    }


@pytest.fixture
def travelling(options: dict[str, str]) -> Client:
    """A client that can be pickled."""
    return Client(**options)  # type: ignore[arg-type]
