"""Servers that ask for patience in other words than S3's, and such that send everybody elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import Fault
from fault_rules import always, in_turn

from arrowseal.exceptions import StoreError, StoreUnavailableError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from broken_servers import BrokenServers

    from arrowseal import Client

URL = "s3://bucket/o"
CONTENT = os.urandom(9 * 2**20)

CALLS: dict[str, Callable[[Client], object]] = {
    "get": lambda client: client.get(URL),
    "put": lambda client: client.put(URL, b"new"),
    "put in parts": lambda client: client.put(URL, CONTENT),
    "head": lambda client: client.head(URL),
    "list": lambda client: client.list("s3://bucket/"),
    "copy": lambda client: client.copy(URL, "s3://bucket/other"),
}
PATIENCE = [
    Fault("status", 429, "TooManyRequests"),
    Fault("status", 408, "RequestTimeout"),
    Fault("status", 429, "429"),
    Fault("status", 400, "RequestThrottled"),
    Fault("status", 400, "RequestLimitExceeded"),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", PATIENCE, ids=lambda fault: f"{fault.at}-{fault.code}")
def test_who_is_asked_for_patience_asks_again(servers: BrokenServers, fault: Fault, call: str) -> None:
    if fault.at == 400 and call in ("head", "copy"):
        pytest.skip("the answer to a HEAD has no code")
    client = servers.client()
    client.put(URL, b"before")
    client.get(URL)
    servers.s3.rule = in_turn([fault, fault])
    CALLS[call](client)
    assert len(servers.s3.struck) == 2
    assert not servers.s3.server.open_uploads


@pytest.mark.parametrize("lane", ["boto3", "obstore"])
def test_a_server_that_throttles_is_not_asked_twice_as_often_by_a_lane(servers: BrokenServers, lane: Any) -> None:
    client = servers.client(lane=lane)
    client.put(URL, b"before")
    for _ in range(3):
        client.get(URL)
    servers.s3.reset()
    servers.s3.rule = always("GetObject", PATIENCE[0])
    with pytest.raises(StoreUnavailableError, match=f"{URL}.*TooManyRequests.*throttles"):
        client.get(URL)
    assert servers.s3.count("GetObject") == client.options.transfer.retries.attempts


@pytest.mark.parametrize("call", CALLS)
def test_who_is_redirected_without_end_is_told_of_the_endpoint(servers: BrokenServers, call: str) -> None:
    servers.s3.rule = lambda *_: Fault("status", 302, "302")
    with pytest.raises(StoreError, match=r"s3://bucket/.*redirected without end.*endpoint") as refused:
        CALLS[call](servers.client())
    assert not isinstance(refused.value, UnavailableError)
