"""A fault proxy before the embedded S3, and clients that go through it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import FaultProxy
from broken_servers import BrokenServers
from children import Children

from arrowseal import Client, RetryOptions, TransferOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from children import Run

    from arrowseal.local import LocalServers

PART = 2**20
LANE = os.environ.get("ARROWSEAL_TEST_LANE", "obstore")
"""What carries the requests of clients that make their S3 client themselves."""


@pytest.fixture(scope="module")
def listening() -> Iterator[BrokenServers]:
    """An S3 in memory and a strict KMS, for the tests of one file."""
    servers = BrokenServers()
    yield servers
    servers.close()


@pytest.fixture
def servers(listening: BrokenServers) -> BrokenServers:
    """Servers without faults, objects and uploads so far."""
    listening.s3.reset()
    listening.kms_proxy.reset()
    listening.s3.server.objects.clear()
    listening.s3.server.open_uploads.clear()
    return listening


@pytest.fixture
def run(servers: BrokenServers) -> Iterator[Run]:
    """Starts a child process in which `client` is a client on the servers."""
    children = Children(servers)
    yield children.run
    children.end()


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
def impatient_session(local_servers: LocalServers) -> Any:
    """A boto3 session whose clients wait two seconds for an answer, and bypass any proxy of the environment."""
    import botocore.config

    session = local_servers.session()
    given = session._session.get_default_client_config()
    quick = botocore.config.Config(read_timeout=2, connect_timeout=2)
    session._session.set_default_client_config(given.merge(quick))
    return session


@pytest.fixture(scope="session")
def proxied_s3(impatient_session: Any, listening_proxy: FaultProxy) -> Any:
    """A boto3 client that reaches S3 through the proxy, with its own retries off."""
    from botocore.config import Config

    config = Config(retries={"mode": "standard", "total_max_attempts": 1})
    return impatient_session.client("s3", endpoint_url=listening_proxy.endpoint, config=config)


@pytest.fixture
def client(local_servers: LocalServers, raw_s3: Any, raw_kms: Any) -> Client:
    """A client on moto itself. It shares its boto3 clients with the other tests: making them takes longer than most."""
    return Client(local_servers.kms_key_arn, s3=raw_s3, kms=raw_kms)


@pytest.fixture(params=["own", "given"])
def lane(request: pytest.FixtureRequest) -> str:
    """Whether a client makes its S3 client itself, which takes a shorter way, or is given one."""
    return str(request.param)


@pytest.fixture
def s3_through_proxy(lane: str, impatient_session: Any, proxied_s3: Any, listening_proxy: FaultProxy) -> dict[str, Any]:
    """The options of a client that reaches S3 through the proxy."""
    if lane == "given":
        return {"s3": proxied_s3}
    return {"session": impatient_session, "endpoint_url": listening_proxy.endpoint, "lane": LANE}


@pytest.fixture
def through_proxy(
    local_servers: LocalServers, s3_through_proxy: dict[str, Any], raw_kms: Any, proxy: FaultProxy
) -> Callable[..., Client]:
    """Makes clients that reach S3 through the proxy, in parts of 1 MiB on reads and 5 MiB on writes."""
    retries = RetryOptions(attempts=4, base_seconds=0.001, cap_seconds=0.01)

    def make(**options: Any) -> Client:
        transfer = TransferOptions(part_bytes=PART, concurrency=6, retries=retries)
        named = {"kms_key_id": local_servers.kms_key_arn, "kms": raw_kms, "transfer": transfer}
        return Client(**(named | s3_through_proxy | options))

    return make
