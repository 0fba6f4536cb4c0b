"""A fault proxy before the embedded S3, and clients that go through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import FaultProxy

from arrowseal import Client, RetryOptions, TransferOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arrowseal.local import LocalServers

PART = 2**20


@pytest.fixture(scope="session")
def listening_proxy(local_servers: LocalServers) -> Iterator[FaultProxy]:
    """One proxy for all tests."""
    proxy = FaultProxy(local_servers.s3_endpoint)
    yield proxy
    proxy.close()


@pytest.fixture
def proxy(listening_proxy: FaultProxy) -> FaultProxy:
    """The proxy, passing everything through until its `rule` is set."""
    listening_proxy.reset()
    return listening_proxy


@pytest.fixture(scope="session")
def proxied_s3(local_servers: LocalServers, listening_proxy: FaultProxy) -> Any:
    """A boto3 client that reaches S3 through the proxy, with its own retries off."""
    from botocore.config import Config

    config = Config(read_timeout=2, connect_timeout=2, retries={"mode": "standard", "total_max_attempts": 1})
    return local_servers.session().client("s3", endpoint_url=listening_proxy.endpoint, config=config)


@pytest.fixture
def client(local_servers: LocalServers, raw_s3: Any, raw_kms: Any) -> Client:
    """A client on moto itself. It shares its boto3 clients with the other tests: making them takes longer than most."""
    return local_servers.client(s3=raw_s3, kms=raw_kms)


@pytest.fixture
def through_proxy(
    local_servers: LocalServers, proxied_s3: Any, raw_kms: Any, proxy: FaultProxy
) -> Callable[..., Client]:
    """Makes clients that reach S3 through the proxy, in parts of 1 MiB on reads and 5 MiB on writes."""
    retries = RetryOptions(attempts=4, base_seconds=0.001, cap_seconds=0.01)

    def make(**options: Any) -> Client:
        transfer = TransferOptions(part_bytes=PART, concurrency=6, retries=retries)
        return local_servers.client(s3=proxied_s3, kms=raw_kms, **({"transfer": transfer} | options))

    return make
