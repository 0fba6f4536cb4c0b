"""10,000 objects of 10 KB under one data key: both lanes, CSE V3 against PLAIN, boto3 and obstore by themselves.

The lane of the arms with obstore is what a client takes that has it: obstore for reads beside others. Each round of
each arm reads the next 250 objects, each whole, from one thread or from eight. Each thread has its share: to hand
objects over one by one takes a third of the time that the fastest arms take to read them. Plain objects, of which there
are fewer, go over boto3 in either lane: encryption alone is compared in the rows of that one.
"""

from __future__ import annotations

import itertools
import os
import statistics
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import PLAIN
from interleaved import REPLAY, Arms, Seconds, measure, show
from peers import obstore_store
from servers import BUCKET, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arrowseal.local import LocalServers

pytestmark = pytest.mark.full
OBJECTS, PLAIN_OBJECTS, ROUND, SIZE = 10_000, 2_000, 250, 10_000
ARMS = ["CSE V3, obstore", "PLAIN, obstore", "CSE V3, boto3", "PLAIN, boto3", "boto3 itself", "obstore itself"]
_written: dict[Endpoint, bytes] = {}
_measured: dict[tuple[Endpoint, int], Seconds] = {}


def written(endpoint: Endpoint, servers: LocalServers) -> bytes:
    """The content of the objects, which are written once for a server."""
    if endpoint not in _written:
        client, content = endpoint.client(servers), os.urandom(SIZE)
        with client.data_key_reuse(), ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: client.put(f"s3://{BUCKET}/small/cse/{name}", content), range(OBJECTS)))
            plain = range(PLAIN_OBJECTS)
            list(
                pool.map(lambda name: client.put(f"s3://{BUCKET}/small/plain/{name}", content, encryption=PLAIN), plain)
            )
        _written[endpoint] = content
    return _written[endpoint]


def readers(endpoint: Endpoint, servers: LocalServers) -> dict[str, Callable[[int], Any]]:
    """Ways to read the object of a number into memory."""
    import obstore

    s3, store = endpoint.s3(), obstore_store(endpoint)
    fast, lean = endpoint.client(servers), endpoint.client(servers, lane="boto3")
    return {
        "CSE V3, obstore": lambda name: fast.get(f"s3://{BUCKET}/small/cse/{name}"),
        "PLAIN, obstore": lambda name: fast.get(f"s3://{BUCKET}/small/plain/{name}", allow_plaintext=True),
        "CSE V3, boto3": lambda name: lean.get(f"s3://{BUCKET}/small/cse/{name}"),
        "PLAIN, boto3": lambda name: lean.get(f"s3://{BUCKET}/small/plain/{name}", allow_plaintext=True),
        "boto3 itself": lambda name: s3.get_object(Bucket=BUCKET, Key=f"small/plain/{name}")["Body"].read(),
        "obstore itself": lambda name: obstore.get(store, f"small/plain/{name}").bytes(),
    }


def measured(endpoint: Endpoint, threads: int, servers: LocalServers) -> Seconds:
    """The seconds of all arms, measured once; an answer of each is checked before the clock starts."""
    if (endpoint, threads) not in _measured:
        content = written(endpoint, servers)
        encrypted, plain = (itertools.cycle(range(0, there, ROUND)) for there in (OBJECTS, PLAIN_OBJECTS))
        with ThreadPoolExecutor(threads) as pool:

            def next_few(read: Callable[[int], Any], numbers: Iterator[int]) -> None:
                start = next(numbers)

                def share(first: int) -> None:
                    for number in range(first, start + ROUND, threads):
                        read(number)

                for _ in pool.map(share, range(start, start + threads)):
                    pass

            arms: dict[str, Callable[[], object]] = {}
            for name, read in readers(endpoint, servers).items():
                assert bytes(memoryview(read(7))) == content, name
                arms[name] = partial(next_few, read, encrypted if name.startswith("CSE") else plain)
            in_turn: Arms = arms
            _measured[endpoint, threads] = measure(in_turn, rounds=7, warmup=1)
    return _measured[endpoint, threads]


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.benchmark(timer=REPLAY)
def test_small_objects(
    benchmark: Any, request: pytest.FixtureRequest, endpoint: Endpoint, servers: LocalServers, threads: int, arm: str
) -> None:
    seconds = measured(endpoint, threads, servers)
    benchmark.extra_info["objects/s"] = round(ROUND / statistics.median(seconds[arm]))
    group = f"get {ROUND} objects of 10 KB, {threads} threads, {request.node.callspec.params['endpoint']}"
    show(benchmark, group, seconds, arm, ["boto3 itself", "CSE V3, obstore", "CSE V3, boto3"])
