"""Ten thousand files for a handful of KMS calls, each of which the official client reads alone.

By default a few hundred, and a dozen official reads drawn at random: `ARROWSEAL_TEST_FILES=10000` writes and reads as
many in some minutes, `ARROWSEAL_TEST_OFFICIAL_READS=10000` gives all of them to the official client as well.
"""

from __future__ import annotations

import io
import os
import random
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import arrowseal.arrow as sa
from official_process import OfficialClient, official_environment
from strict_kms_server import StrictKmsServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lake import Lake

FILES = int(os.environ.get("ARROWSEAL_TEST_FILES", "500"))
READS = min(int(os.environ.get("ARROWSEAL_TEST_OFFICIAL_READS", "12")), FILES)
READERS = 2
PARTITIONS = 100
PAGE = 1000
"""Objects of one answer to a listing."""


@pytest.fixture
def kms_server(lake: Lake) -> Iterator[StrictKmsServer]:
    """The lake's KMS behind HTTP: what it counts is what came in there."""
    server = StrictKmsServer(lake.kms.engine)
    yield server
    server.close()


@pytest.fixture
def readers(lake: Lake, kms_server: StrictKmsServer, pytestconfig: pytest.Config) -> Iterator[list[OfficialClient]]:
    """Official clients, each in its own process."""
    assert pytestconfig.cache is not None
    python = official_environment(pytestconfig.cache.mkdir("official-client-environment"))
    environ = {"AWS_ACCESS_KEY_ID": "TESTS", "AWS_SECRET_ACCESS_KEY": "not checked", "AWS_DEFAULT_REGION": "eu-west-1"}
    environ |= {"AWS_ENDPOINT_URL_S3": lake.s3.endpoint, "AWS_ENDPOINT_URL_KMS": kms_server.endpoint}
    named: Any = SimpleNamespace(environ=environ, kms_key_arn=lake.key_arn, bucket="lake")
    readers = [OfficialClient(python, named) for _ in range(READERS)]
    yield readers
    for reader in readers:
        reader.close()


def test_many_small_files_take_few_kms_calls_and_each_is_read_alone_by_the_official_client(
    lake: Lake, kms_server: StrictKmsServer, readers: list[OfficialClient]
) -> None:
    rows = pa.table({"k": [at % PARTITIONS for at in range(FILES)], "n": range(FILES)})
    written = sa.write_dataset(
        rows.to_reader(max_chunksize=1000),
        "s3://lake/t",
        partitioning=["k"],
        max_rows_per_file=1,
        client=lake.make_client(kms=kms_server.client()),
    )
    assert len(written.files) == len(lake.keys) == FILES
    assert lake.kms_calls("GenerateDataKey") == len(lake.kms.calls) <= 10
    assert len(lake.asked("PutObject")) == FILES

    lake.forget()
    reader = lake.make_client(kms=kms_server.client())
    read = sa.dataset("s3://lake/t", client=reader)
    assert read.to_table().sort_by("n").equals(pa.table({"n": rows["n"], "k": rows["k"].cast(pa.int32())}))
    assert lake.kms_calls("Decrypt") == len(lake.kms.calls) <= 10
    assert len(lake.asked("GetObject")) == FILES + 1  # the first one for the schema as well
    assert len(lake.asked("ListObjectsV2")) == -(-FILES // PAGE)
    assert len(lake.s3.log) == len(lake.asked("GetObject")) + len(lake.asked("ListObjectsV2"))

    lake.forget()
    assert read.to_table(filter=pc.field("k") == 7).num_rows == FILES // PARTITIONS
    assert len(lake.asked("GetObject")) == FILES // PARTITIONS

    messages = [stored.headers["x-amz-meta-x-amz-i"] for stored in lake.s3.server.objects.values()]
    assert len(set(messages)) == FILES

    lake.forget()
    drawn = random.Random(FILES).sample(list(written.files), READS)

    def official(turn: int) -> list[int]:
        """The rows that an official client finds in its share of the files, each of which it opens for itself."""
        return [
            number
            for file in drawn[turn::READERS]
            for number in pq.read_table(io.BytesIO(readers[turn].get(file.location.key)))["n"].to_pylist()
        ]

    with ThreadPoolExecutor(READERS) as pool:
        found = [number for share in pool.map(official, range(READERS)) for number in share]
    assert len(found) == len(set(found)) == READS
    assert {number % PARTITIONS for number in found} == {file.partition_values["k"] for file in drawn}
    assert lake.kms_calls("Decrypt") == READS, "each of them for itself"
