"""Many objects under one data key: as KMS counts them, and as the official client reads them, one by one.

How many are written and how many of them it reads: ARROWSEAL_TEST_SHARED_OBJECTS and ARROWSEAL_TEST_OFFICIAL_READS,
1,000 and 30 drawn at random unless they are set.
"""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import Client
from memory_s3 import FaultyS3
from official_process import OfficialClient
from strict_kms_server import StrictKmsServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OBJECTS = int(os.environ.get("ARROWSEAL_TEST_SHARED_OBJECTS", "1000"))
READS = min(int(os.environ.get("ARROWSEAL_TEST_OFFICIAL_READS", "30")), OBJECTS)
REGION = "eu-west-1"
READERS = 2


@pytest.fixture
def servers() -> Iterator[tuple[FaultyS3, StrictKmsServer]]:
    """S3 and KMS behind HTTP."""
    s3, kms = FaultyS3(), StrictKmsServer()
    yield s3, kms
    s3.close()
    kms.close()


@pytest.fixture
def kms_key_arn(servers: tuple[FaultyS3, StrictKmsServer]) -> str:
    return servers[1].engine.create_key().arn


@pytest.fixture
def readers(
    servers: tuple[FaultyS3, StrictKmsServer], kms_key_arn: str, official_python: Path
) -> Iterator[list[OfficialClient]]:
    """Official clients, each in its own process."""
    s3, kms = servers
    environ = {"AWS_ACCESS_KEY_ID": "TESTS", "AWS_SECRET_ACCESS_KEY": "not checked", "AWS_DEFAULT_REGION": REGION}
    environ |= {"AWS_ENDPOINT_URL_S3": s3.endpoint, "AWS_ENDPOINT_URL_KMS": kms.endpoint}
    named: Any = SimpleNamespace(environ=environ, kms_key_arn=kms_key_arn, bucket="bucket")
    readers = [OfficialClient(official_python, named) for _ in range(READERS)]
    yield readers
    for reader in readers:
        reader.close()


def content(number: int) -> bytes:
    return b"%d:" % number + random.Random(number).randbytes(number % 100)


def test_many_objects_cost_two_kms_calls_at_most_and_each_is_read_alone_by_the_official_client(
    servers: tuple[FaultyS3, StrictKmsServer], kms_key_arn: str, readers: list[OfficialClient]
) -> None:
    import boto3

    s3, kms = servers
    session = boto3.Session("TESTS", "not checked", region_name=REGION)
    client = Client(kms_key_arn, session=session, endpoint_url=s3.endpoint, kms_endpoint_url=kms.endpoint)
    with client.data_key_reuse(), ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: client.put(f"s3://bucket/{number}", content(number)), range(OBJECTS)))
    assert {call.action for call in kms.engine.calls} == {"GenerateDataKey"}
    assert len(kms.engine.calls) <= 2
    assert len(s3.server.objects) == OBJECTS
    message_ids = {stored.headers["x-amz-meta-x-amz-i"] for stored in s3.server.objects.values()}
    assert len(message_ids) == OBJECTS

    kms.engine.calls.clear()
    numbers = random.sample(range(OBJECTS), READS)

    def read(turn: int) -> bool:
        return all(readers[turn].get(str(number)) == content(number) for number in numbers[turn::READERS])

    with ThreadPoolExecutor(READERS) as pool:
        assert all(pool.map(read, range(READERS)))
    assert [call.action for call in kms.engine.calls] == ["Decrypt"] * READS, "each of them for itself"
