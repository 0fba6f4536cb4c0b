"""Reading one large object: CSE V3 against PLAIN through the same pipeline, and against what reads objects today.

PLAIN and the peers read the same bytes unencrypted. PLAIN is raw: not checked against a stored checksum; boto3 checks
the one that the server sends. The official client reads an encrypted object, in an environment of its own.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import PLAIN
from interleaved import REPLAY, Arms, Seconds, measure, show
from peers import READERS, readers
from servers import BUCKET, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrowseal.local import LocalServers
    from official_process import OfficialClient

MEBIBYTES = [256, pytest.param(1024, marks=pytest.mark.one_server)]
pytestmark = pytest.mark.full
ARMS = ["CSE V3", "PLAIN", *READERS, "official client", "PLAIN + 1.15 one-shot"]
_measured: dict[tuple[Endpoint, int], Seconds] = {}


def measured(
    endpoint: Endpoint,
    mebibytes: int,
    servers: LocalServers,
    official: Callable[[Endpoint], OfficialClient],
    one_shot: Callable[[int], float],
) -> Seconds:
    """The seconds of all arms for one size, measured once; every answer is compared before the clock starts."""
    if (endpoint, mebibytes) in _measured:
        return _measured[endpoint, mebibytes]
    client, content = endpoint.client(servers), os.urandom(mebibytes << 20)
    client.put(f"s3://{BUCKET}/cse", content)
    client.put(f"s3://{BUCKET}/plain", content, encryption=PLAIN)
    peer = official(endpoint)
    arms: Arms = {
        "CSE V3": lambda: client.get(f"s3://{BUCKET}/cse"),
        "PLAIN": lambda: client.get(f"s3://{BUCKET}/plain", allow_plaintext=True),
    } | readers(endpoint, "plain")
    for name, read in arms.items():
        answer: Any = read()
        assert bytes(memoryview(answer)) == content, name
        del answer
    assert peer.measured_get("cse", bucket=BUCKET, digest=True)["sha256"] == hashlib.sha256(content).hexdigest()
    opened: list[float] = []
    arms = dict(arms) | {
        "official client": lambda: peer.measured_get("cse", bucket=BUCKET),
        "one-shot": lambda: opened.append(one_shot(mebibytes << 20)),
    }
    seconds = measure(arms, rounds=7, warmup=1)
    del seconds["one-shot"]
    seconds["PLAIN + 1.15 one-shot"] = [
        plain + 1.15 * crypto for plain, crypto in zip(seconds["PLAIN"], opened[-7:], strict=True)
    ]
    return _measured.setdefault((endpoint, mebibytes), seconds)


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("mebibytes", MEBIBYTES)
@pytest.mark.benchmark(timer=REPLAY)
def test_large_reads(
    benchmark: Any,
    request: pytest.FixtureRequest,
    endpoint: Endpoint,
    servers: LocalServers,
    official: Callable[[Endpoint], OfficialClient],
    one_shot: Callable[[int], float],
    mebibytes: int,
    arm: str,
) -> None:
    seconds = measured(endpoint, mebibytes, servers, official, one_shot)
    if arm not in seconds:
        pytest.skip(f"{arm} is not installed")
    group = f"get {mebibytes} MiB, {request.node.callspec.params['endpoint']}"
    show(benchmark, group, seconds, arm, ["PLAIN", "CSE V3"], mebibytes << 20)
