"""More work than the other side takes: memory stays bounded, connections fit the threads."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from broken_bodies import operation_of
from broken_servers import BrokenServers

from arrowseal import TransferOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal import Client

MIB = 2**20
PART = 5 * MIB


@pytest.fixture(scope="module")
def servers() -> Iterator[BrokenServers]:
    servers = BrokenServers()
    yield servers
    servers.close()


@pytest.mark.parametrize("lane", ["boto3", "obstore"])
def test_as_many_threads_as_there_are_get_connections_without_a_warning(
    servers: BrokenServers, caplog: pytest.LogCaptureFixture, lane: str
) -> None:
    client: Client = servers.client(lane=lane)
    content = os.urandom(4 * MIB)
    client.put("s3://bucket/o", content)
    caplog.set_level(logging.WARNING)
    with ThreadPoolExecutor(24) as pool:
        assert all(pool.map(lambda _: client.get("s3://bucket/o") == content, range(48)))
        list(pool.map(lambda number: client.put(f"s3://bucket/{number}", b"x"), range(48)))
    assert not [record for record in caplog.records if record.name.startswith(("urllib3", "botocore"))]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_writer_waits_for_a_server_that_takes_nothing_and_holds_no_more_than_its_parts(
    servers: BrokenServers, concurrency: int
) -> None:
    arrived, goes_on = threading.Semaphore(0), threading.Event()

    def hold(method: str, path: str, headers: dict[str, str]) -> None:
        if operation_of(method, path, headers) == "UploadPart":
            arrived.release()
            goes_on.wait(60)

    client: Client = servers.client(read_timeout=60)
    client = type(client)(
        servers.key.arn,
        s3=servers.s3.client(),
        kms=servers.kms.client(),
        transfer=TransferOptions(part_bytes=PART, concurrency=concurrency),
    )
    servers.s3.reset()
    servers.s3.rule = hold
    taken: list[int] = []

    def write() -> None:
        with client.open("s3://bucket/o", "wb") as file:
            for _ in range(8 * 5):
                taken.append(file.write(bytes(MIB)))

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(concurrency):
        assert arrived.acquire(timeout=30)
    # The parts that are held, one that is sealed and waits, and one that is filled.
    assert not arrived.acquire(timeout=0.3)
    assert sum(taken) <= (concurrency + 2) * PART
    goes_on.set()
    writer.join(60)
    servers.s3.reset()
    assert sum(taken) == 40 * MIB
    record = list(client.counters)[-1]
    assert record.peak_memory_bytes <= (concurrency + 2) * PART + MIB
    assert client.get("s3://bucket/o") == bytes(40 * MIB)
