"""A server that answers ranges without telling of how much they are: part of an object is never taken for all of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import Fault

from arrowseal import PLAIN
from arrowseal.exceptions import StoreError, TransferError

if TYPE_CHECKING:
    from broken_servers import BrokenServers

    from arrowseal import Client

URL = "s3://lake/object"
ARMS = pytest.mark.parametrize("arm", [None, PLAIN], ids=["sealed", "plain"])
CONTENT = os.urandom(2**21 + 7)


@pytest.fixture(params=["auto", "boto3"])
def client(servers: BrokenServers, request: pytest.FixtureRequest) -> Client:
    client = servers.client(lane=request.param, allow_plaintext=True)
    client.put("s3://lake/first", b"first")
    assert client.get("s3://lake/first") == b"first"  # the short way from now on
    return client


def read_range(client: Client) -> bytes:
    with client.object(URL) as opened:
        return bytes(opened.read_at(5, 3))


@ARMS
def test_a_range_of_an_object_whose_size_is_left_open_is_refused_with_the_reason(
    servers: BrokenServers, client: Client, arm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.put(URL, CONTENT, encryption=arm)
    monkeypatch.setattr(servers.s3.server, "tells_sizes", False)
    for read in (client.get, lambda _: read_range(client)):
        with pytest.raises(StoreError, match=rf"^{URL}: the server does not tell the size of the object") as refused:
            read(URL)
        assert not isinstance(refused.value, TransferError)


@ARMS
def test_an_object_that_comes_whole_is_read_whether_its_size_is_told_or_not(
    servers: BrokenServers, client: Client, arm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.put(URL, b"small content", encryption=arm)
    monkeypatch.setattr(servers.s3.server, "tells_sizes", False)
    assert client.get(URL) == b"small content"
    assert read_range(client) == b" co"


@ARMS
def test_a_part_of_an_object_that_does_not_say_so_is_not_the_object(
    servers: BrokenServers, client: Client, arm: Any
) -> None:
    client.put(URL, CONTENT, encryption=arm)
    servers.s3.rule = lambda method, *_: Fault("drop", code="Content-Range") if method == "GET" else None
    for read in (client.get, lambda _: read_range(client)):
        with pytest.raises(TransferError, match=f"^{URL}: the server does not tell which range it sent"):
            read(URL)
