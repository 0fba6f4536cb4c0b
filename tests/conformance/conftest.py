"""Every lane of the store protocol on every server at hand: moto, SeaweedFS, and versitygw where it is on the PATH."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from conformance_servers import LANES, SERVERS, Server

from arrowseal.counters import Operation
from arrowseal.location import ObjectLocation
from servers import REGION, versitygw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal.store import Store


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if request.param == "versitygw":
        with versitygw(tmp_path_factory.mktemp("versitygw")) as started:

            def session() -> boto3.Session:
                return boto3.Session(started.access_key, started.secret_key, region_name=REGION)

            yield Server("versitygw", started.url, session)
        return
    servers = request.getfixturevalue({"moto": "local_servers", "seaweedfs": "seaweedfs_servers"}[request.param])
    yield Server(request.param, servers.s3_endpoint, servers.session)


@pytest.fixture(scope="session")
def s3(server: Server) -> Any:
    """A plain boto3 client on the server: writes what is read, and says what is right."""
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    return server.session().client("s3", endpoint_url=server.endpoint, config=config)


@pytest.fixture(scope="session", params=LANES)
def lane(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def store(server: Server, lane: str) -> Store:
    """The store under test. It lives as long as the server, so that it has learnt and pooled what it may."""
    return server.store(lane)


@pytest.fixture(scope="session")
def reference(server: Server) -> Store:
    """boto3 as it is, which every lane must agree with."""
    return server.store("boto3 as it is")


@pytest.fixture
def fresh_bucket(s3: Any) -> str:
    """The name of a fresh, empty bucket."""
    name = f"bucket-{secrets.token_hex(6)}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def bucket(s3: Any, server: Server, lane: str, store: Store) -> str:
    """A bucket that the lane has read from before, so that it knows its endpoint."""
    name = f"bucket-{secrets.token_hex(6)}"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="first", Body=b"first", Metadata={"x-amz-key-v2": "AAEC"})
    location = ObjectLocation(name, "first")
    _, body = store.get(location, Operation("get", location), byte_range=(0, 100), arguments={})
    assert body.readinto(memoryview(bytearray(100))) == 5
    body.close()
    return name
