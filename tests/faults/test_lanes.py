"""Faults under both short ways of reading: boto3's signer alone, and obstore. A fault costs a retry."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import Fault, FaultProxy

from arrowseal import Client, RetryOptions, TransferOptions
from arrowseal.exceptions import AuthenticationError, MetadataError, ObjectNotFoundError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrowseal.local import LocalServers

SMALL, LONG = os.urandom(10_000), os.urandom(700_000)
FAULTS = {
    "503": Fault("status", 503),
    "500": Fault("status", 500, "InternalError"),
    "reset before": Fault("reset-before"),
    "close before": Fault("close-before"),
    "lost answer": Fault("lost-answer"),
    "truncated": Fault("truncate", 5_000),
    "truncated at once": Fault("truncate", 0),
    "reset": Fault("reset", 5_000),
    "stalled": Fault("stall", 5_000),
    "flipped": Fault("flip", 4_000),
    "shortened": Fault("shorten", 5_000),
}
ODD = {
    "chunked": Fault("chunked"),
    "no length": Fault("no-length"),
    "no ETag": Fault("drop", code="ETag"),
    "no date": Fault("drop", code="Last-Modified"),
    "no range": Fault("drop", code="Content-Range"),
}


@pytest.fixture(params=["boto3", "obstore"])
def warm(
    request: pytest.FixtureRequest, local_servers: LocalServers, impatient_session: Any, raw_kms: Any, proxy: FaultProxy
) -> Client:
    """A client that has read an object before, so that it reads the short way now."""
    retries = RetryOptions(attempts=4, base_seconds=0.001, cap_seconds=0.01)
    client = Client(
        local_servers.kms_key_arn,
        session=impatient_session,
        kms=raw_kms,
        endpoint_url=proxy.endpoint,
        lane=request.param,
        transfer=TransferOptions(part_bytes=2**20, concurrency=2, retries=retries),
    )
    for name, content in (("first", b"first"), ("small", SMALL), ("long", LONG)):
        client.put(f"s3://{local_servers.bucket}/lanes/{name}", content)
    client.get(f"s3://{local_servers.bucket}/lanes/first")
    client.counters.clear()
    proxy.log.clear()
    return client


def once(fault: Fault) -> Callable[..., Fault | None]:
    left = [fault]
    return lambda method, *_: left.pop() if method == "GET" and left else None


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize(("key", "content"), [("small", SMALL), ("long", LONG)], ids=["small", "long"])
def test_a_fault_is_overcome(
    warm: Client, proxy: FaultProxy, local_servers: LocalServers, name: str, key: str, content: bytes
) -> None:
    proxy.rule = once(FAULTS[name])
    assert warm.get(f"s3://{local_servers.bucket}/lanes/{key}") == content
    assert len(proxy.struck) == 1
    assert 2 <= proxy.count("GET") <= 3


@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_is_read(warm: Client, proxy: FaultProxy, local_servers: LocalServers, name: str) -> None:
    proxy.rule = lambda method, *_: ODD[name] if method == "GET" else None
    assert warm.get(f"s3://{local_servers.bucket}/lanes/small") == SMALL


def test_a_compressed_body_is_not_the_object(warm: Client, proxy: FaultProxy, local_servers: LocalServers) -> None:
    proxy.rule = lambda method, *_: Fault("gzip") if method == "GET" else None
    with pytest.raises(AuthenticationError, match="lanes/small"):
        warm.get(f"s3://{local_servers.bucket}/lanes/small")


def test_a_compressed_refusal_is_the_one_that_its_status_says(
    warm: Client, proxy: FaultProxy, local_servers: LocalServers
) -> None:
    proxy.rule = lambda *_: Fault("gzip")
    with pytest.raises(ObjectNotFoundError):
        warm.get(f"s3://{local_servers.bucket}/lanes/{secrets.token_hex(4)}")
    assert proxy.count("GET") <= 2


def test_headers_that_come_twice_are_one_or_none(warm: Client, proxy: FaultProxy, local_servers: LocalServers) -> None:
    proxy.rule = lambda method, *_: Fault("duplicate") if method == "GET" else None
    url = f"s3://{local_servers.bucket}/lanes/small"
    if warm.options.lane == "obstore":
        assert warm.get(url) == SMALL
    else:
        with pytest.raises(MetadataError):
            warm.get(url)


def test_an_outage_ends_within_the_budget(warm: Client, proxy: FaultProxy, local_servers: LocalServers) -> None:
    proxy.rule = lambda *_: Fault("status", 503)
    with pytest.raises(StoreUnavailableError):
        warm.get(f"s3://{local_servers.bucket}/lanes/small")
    assert proxy.count("GET") == 4


def test_a_missing_object_costs_one_request(warm: Client, proxy: FaultProxy, local_servers: LocalServers) -> None:
    with pytest.raises(ObjectNotFoundError):
        warm.get(f"s3://{local_servers.bucket}/lanes/{secrets.token_hex(4)}")
    assert proxy.count("GET") == 1


def test_expired_credentials_are_looked_for_anew(warm: Client, proxy: FaultProxy, local_servers: LocalServers) -> None:
    proxy.rule = once(Fault("status", 400, "ExpiredToken"))
    assert warm.get(f"s3://{local_servers.bucket}/lanes/small") == SMALL
