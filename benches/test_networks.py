"""Large objects over 1 Gbit/s, near and 20 ms away: a proxy on loopback is the wire, to versitygw or SeaweedFS."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import PLAIN
from arrowseal.local.proxy import GIGABIT, Proxy
from interleaved import REPLAY, Arms, Seconds, measure, show
from servers import BUCKET, Endpoint

if TYPE_CHECKING:
    from arrowseal.local import LocalServers

MEBIBYTES = 256
ARMS = ["CSE V3", "PLAIN"]
pytestmark = [pytest.mark.full, pytest.mark.one_server]
_measured: dict[tuple[Endpoint, int, str], Seconds] = {}


def measured(endpoint: Endpoint, servers: LocalServers, latency_ms: int, operation: str) -> Seconds:
    """The seconds of both arms, measured once; answers are compared before the clock starts."""
    if (endpoint, latency_ms, operation) not in _measured:
        content = os.urandom(MEBIBYTES << 20)
        with Proxy(endpoint.url, latency_seconds=latency_ms / 1e3, bytes_per_second=GIGABIT) as proxy:
            client = endpoint._replace(url=proxy.endpoint).client(servers)
            cse, plain = (f"s3://{BUCKET}/{key}" for key in ("cse", "plain"))
            writes: Arms = {
                "CSE V3": lambda: client.put(cse, content),
                "PLAIN": lambda: client.put(plain, content, encryption=PLAIN),
            }
            reads: Arms = {
                "CSE V3": lambda: client.get(cse),
                "PLAIN": lambda: client.get(plain, allow_plaintext=True),
            }
            for name in ARMS:
                writes[name]()
                answer: Any = reads[name]()
                assert bytes(memoryview(answer)) == content
            arms = writes if operation == "put" else reads
            _measured[endpoint, latency_ms, operation] = measure(arms, rounds=7, warmup=0)
    return _measured[endpoint, latency_ms, operation]


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("operation", ["get", "put"])
@pytest.mark.parametrize("latency_ms", [0, 20])
@pytest.mark.benchmark(timer=REPLAY)
def test_networks(
    benchmark: Any,
    request: pytest.FixtureRequest,
    endpoint: Endpoint,
    servers: LocalServers,
    latency_ms: int,
    operation: str,
    arm: str,
) -> None:
    seconds = measured(endpoint, servers, latency_ms, operation)
    group = f"{operation} {MEBIBYTES} MiB over 1 Gbit/s, {latency_ms} ms, {request.node.callspec.params['endpoint']}"
    show(benchmark, group, seconds, arm, ["PLAIN"], MEBIBYTES << 20)
