"""Under the decorators of moto, by which much code over boto3 is tested: all goes to the mocks, whichever the lane."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import boto3
import pandas as pd
import pytest
from botocore import handlers

import arrowseal.pandas
from arrowseal import PLAIN, Client, TransferOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

REGION = "eu-west-1"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A KMS key of the mocks, where there is a bucket too. Their import puts a hook on every client that is made from
    then on, which then takes no short way: all other tests are without it.
    """
    from moto import mock_aws
    from moto.core.models import botocore_stubber

    hook = "before-send", botocore_stubber
    handlers.BUILTIN_HANDLERS[:] = [each for each in handlers.BUILTIN_HANDLERS if each != hook]
    monkeypatch.setattr(handlers, "BUILTIN_HANDLERS", [*handlers.BUILTIN_HANDLERS, hook])
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with mock_aws():
        boto3.client("s3", region_name=REGION).create_bucket(
            Bucket="lake", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        yield boto3.client("kms", region_name=REGION).create_key()["KeyMetadata"]["Arn"]


@pytest.mark.parametrize("lane", ["auto", "boto3", "given"])
def test_objects_and_tables_are_written_and_read(key: str, lane: Any) -> None:
    given: dict[str, Any] = {"region_name": REGION, "lane": lane}
    if lane == "given":
        given = {name: boto3.client(name, region_name=REGION) for name in ("s3", "kms")}
    client = Client(key, transfer=TransferOptions(part_bytes=5 * 2**20), **given)
    for content in (b"", b"short", os.urandom(11 * 2**20)):
        client.put("s3://lake/o", content)
        for _ in range(3):
            assert client.get("s3://lake/o") == content
    client.put("s3://lake/plain", b"plain", encryption=PLAIN)
    assert client.get("s3://lake/plain", allow_plaintext=True) == b"plain"
    frame = pd.DataFrame({"a": range(10)})
    arrowseal.pandas.to_parquet(frame, "s3://lake/t.parquet", client=client)
    assert arrowseal.pandas.read_parquet("s3://lake/t.parquet", client=client).equals(frame)
    client.copy("s3://lake/o", "s3://lake/other")
    assert {row.location.key for row in client.list("s3://lake/")} >= {"o", "other", "plain", "t.parquet"}
    client.delete("s3://lake/other")
    assert not client.exists("s3://lake/other")
