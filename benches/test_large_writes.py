"""Writing one large object: CSE V3 against PLAIN through the same pipeline, and against boto3's `upload_fileobj`.

boto3 writes the same bytes unencrypted. What a client spends on a byte is measured against a server that discards what
it gets, beside the official client, which sends one encrypted object in one request.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import PLAIN
from interleaved import REPLAY, Arms, Seconds, cpu_seconds, measure, show
from peers import upload
from servers import BUCKET, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrowseal.local import LocalServers
    from official_process import OfficialClient

MEBIBYTES = [256, pytest.param(1024, marks=pytest.mark.one_server)]
pytestmark = pytest.mark.full
ARMS = ["CSE V3", "PLAIN", "boto3 upload_fileobj"]
CPU_ARMS = ["CSE V3", "PLAIN", "boto3 upload_fileobj", "official client"]
_measured: dict[tuple[Endpoint, int], Seconds] = {}


def writers(endpoint: Endpoint, servers: LocalServers, content: bytes) -> Arms:
    """The arms that run in this process."""
    client = endpoint.client(servers)
    return {
        "CSE V3": lambda: client.put(f"s3://{BUCKET}/cse", content),
        "PLAIN": lambda: client.put(f"s3://{BUCKET}/plain", content, encryption=PLAIN),
        "boto3 upload_fileobj": upload(endpoint, "boto3", content),
    }


def measured(endpoint: Endpoint, mebibytes: int, servers: LocalServers) -> Seconds:
    """The seconds of all arms for one size, measured once; what the warm-up wrote is read back."""
    if (endpoint, mebibytes) not in _measured:
        content = os.urandom(mebibytes << 20)
        arms, client = writers(endpoint, servers, content), endpoint.client(servers)
        for write in arms.values():
            write()
        for key in ("cse", "plain", "boto3"):
            assert bytes(client.get(f"s3://{BUCKET}/{key}", allow_plaintext=True)) == content, key
        _measured[endpoint, mebibytes] = measure(arms, rounds=7, warmup=0)
    return _measured[endpoint, mebibytes]


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("mebibytes", MEBIBYTES)
@pytest.mark.benchmark(timer=REPLAY)
def test_large_writes(
    benchmark: Any,
    request: pytest.FixtureRequest,
    endpoint: Endpoint,
    servers: LocalServers,
    mebibytes: int,
    arm: str,
) -> None:
    seconds = measured(endpoint, mebibytes, servers)
    group = f"put {mebibytes} MiB, {request.node.callspec.params['endpoint']}"
    show(benchmark, group, seconds, arm, ["PLAIN", "boto3 upload_fileobj"], mebibytes << 20)


@pytest.mark.parametrize("arm", CPU_ARMS)
@pytest.mark.benchmark(timer=REPLAY)
def test_cpu_of_writes(
    benchmark: Any,
    discarding_endpoint: Endpoint,
    servers: LocalServers,
    official: Callable[[Endpoint], OfficialClient],
    arm: str,
) -> None:
    size = 256 << 20
    if (discarding_endpoint, 256) not in _measured:
        peer = official(discarding_endpoint)
        arms = writers(discarding_endpoint, servers, os.urandom(size))
        arms = dict(arms) | {"official client": lambda: peer.measured_put("official", size, bucket=BUCKET)}
        _measured[discarding_endpoint, 256] = measure(arms, rounds=7, warmup=1, reading=cpu_seconds)
    seconds = _measured[discarding_endpoint, 256]
    show(benchmark, "client CPU of put 256 MiB, discarded", seconds, arm, ["PLAIN", "official client"])
    benchmark.extra_info["ns/byte"] = round(sorted(seconds[arm])[3] * 1e9 / size, 3)
