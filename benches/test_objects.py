"""What client-side encryption costs an object: put and get, CSE V3 and V2 against PLAIN, interleaved."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import CSE, PLAIN, V2, V3, CommitmentPolicy
from interleaved import REPLAY, Seconds, measure, show

if TYPE_CHECKING:
    from arrowseal.local import LocalServers

SIZES = {"10 KB": 10_000, "1 MB": 1_000_000, "16 MB": 16_000_000, "64 MB": 64_000_000}
ARMS = {"PLAIN": PLAIN, "CSE V2": CSE(format=V2), "CSE V3": CSE(format=V3)}
_measured: dict[tuple[str, str], Seconds] = {}


def measured(servers: LocalServers, operation: str, size: str) -> Seconds:
    """The seconds of all arms of one comparison, measured once; answers are checked before the clock starts."""
    if (operation, size) not in _measured:
        policies = {
            "CSE V2": CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT,
            "CSE V3": CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT,
        }
        content = os.urandom(SIZES[size])
        arms = {}
        for name, encryption in ARMS.items():
            policy = policies.get(name)
            client = servers.client(commitment_policy=policy, format=V2 if name == "CSE V2" else V3)
            url = f"s3://{servers.bucket}/{name}/{size}"
            client.put(url, content, encryption=encryption)
            assert client.get(url, allow_plaintext=True) == content
            if operation == "put":
                arms[name] = lambda client=client, url=url, arm=encryption: client.put(url, content, encryption=arm)
            else:
                arms[name] = lambda client=client, url=url: client.get(url, allow_plaintext=True)
        _measured[operation, size] = measure(arms, rounds=9 if SIZES[size] > 10_000_000 else 31)
    return _measured[operation, size]


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("operation", ["put", "get"])
@pytest.mark.benchmark(timer=REPLAY, disable_gc=False)
def test_objects(benchmark: Any, servers: LocalServers, operation: str, size: str, arm: str) -> None:
    seconds = measured(servers, operation, size)
    show(benchmark, f"{operation} {size}", seconds, arm, ["PLAIN"], SIZES[size])
