"""A server whose ETags are weak, `W/"..."`: no `If-Match` fits those, and each answer says whose it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import PLAIN
from arrowseal.exceptions import ObjectChangedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broken_servers import BrokenServers

    from arrowseal import Client

URL = "s3://lake/big"
CONTENT = os.urandom(9 * 2**20 + 7)
ARMS = pytest.mark.parametrize("arm", [None, PLAIN], ids=["sealed", "plain"])


@pytest.fixture
def weak(servers: BrokenServers) -> Iterator[BrokenServers]:
    servers.s3.server.weak = True
    yield servers
    servers.s3.server.weak = False


@pytest.fixture(params=["auto", "boto3"])
def client(weak: BrokenServers, request: pytest.FixtureRequest) -> Client:
    return weak.client(lane=request.param, allow_plaintext=True)


@ARMS
def test_large_objects_with_weak_etags_are_read_whole_and_by_ranges(client: Client, arm: Any) -> None:
    client.put(URL, CONTENT, encryption=arm)
    assert client.get(URL) == CONTENT
    with client.object(URL) as big:
        assert bytes(big.read_at(5, 3)) == CONTENT[5:8]
    assert big.etag.startswith('W/"')
    assert big.etag == client.head(URL).etag == f'W/"{client.list(URL)[0].etag}"'
    with client.open(URL) as file:
        assert file.read() == CONTENT


@ARMS
def test_an_object_with_weak_etags_that_is_overwritten_under_its_reader_is_not_mixed(client: Client, arm: Any) -> None:
    client.put(URL, CONTENT, encryption=arm)
    with client.object(URL) as big:
        client.put(URL, CONTENT[::-1], encryption=arm)
        with pytest.raises(ObjectChangedError, match="overwritten or deleted since it was opened"):
            big.read_at(5, 3)
