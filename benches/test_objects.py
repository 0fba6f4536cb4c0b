"""What client-side encryption costs an object: put and get, CSE V3 and V2 against PLAIN, interleaved."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from interleaved import REPLAY, Seconds, measure, show
from protections import ARMS, protections

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrowseal.local import LocalServers
    from servers import Endpoint

SIZES = {"10 KB": 10_000, "1 MB": 1_000_000, "16 MB": 16_000_000, "64 MB": 64_000_000, "1 GB": 1_000_000_000}
FULL = ["64 MB", "1 GB"]
pytestmark = pytest.mark.one_server
_measured: dict[tuple[str, str], Seconds] = {}


def measured(endpoint: Endpoint, servers: LocalServers, operation: str, size: str, rounds: int) -> Seconds:
    """The seconds of all arms of one comparison, measured once; answers are checked before the clock starts."""
    if (operation, size) not in _measured:
        content = os.urandom(SIZES[size])
        arms: dict[str, Callable[[], object]] = {}
        for arm in protections(endpoint, servers):
            url, how = arm.url(size), {"encryption": arm.encryption}
            arm.client.put(url, content, **how)
            assert arm.client.get(url, allow_plaintext=True) == content, arm.name
            if operation == "put":
                arms[arm.name] = partial(arm.client.put, url, content, **how)
            else:
                arms[arm.name] = partial(arm.client.get, url, allow_plaintext=True)
        _measured[operation, size] = measure(arms, rounds=rounds, warmup=0 if SIZES[size] >= 10**9 else 2)
    return _measured[operation, size]


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize(
    "size", [pytest.param(size, marks=pytest.mark.full) if size in FULL else size for size in SIZES]
)
@pytest.mark.parametrize("operation", ["put", "get"])
@pytest.mark.benchmark(timer=REPLAY, disable_gc=False)
def test_objects(
    benchmark: Any,
    endpoint: Endpoint,
    servers: LocalServers,
    rounds: Callable[[int], int],
    operation: str,
    size: str,
    arm: str,
) -> None:
    many = 31 if SIZES[size] < 10_000_000 else 9 if SIZES[size] < 10**9 else 7
    seconds = measured(endpoint, servers, operation, size, rounds(many))
    show(benchmark, f"{operation} {size}", seconds, arm, ["PLAIN"], SIZES[size])
