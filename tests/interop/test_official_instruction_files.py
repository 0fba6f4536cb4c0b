"""The official Python client, which only reads instruction files, reads those that we write, on every server."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import CSE, CommitmentPolicy, TransferOptions

if TYPE_CHECKING:
    from conftest import OfficialClient

PART = 5 * 2**20
WRITERS: dict[str, dict[str, Any]] = {
    "V3": {},
    "V2": {"format": "V2", "commitment_policy": CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT},
}


@pytest.mark.parametrize("size", [0, 1, 4096, 2 * PART + 1])
@pytest.mark.parametrize("written", WRITERS)
def test_the_official_client_reads_our_instruction_files(official: OfficialClient, written: str, size: int) -> None:
    bucket, key, data = official.servers.bucket, f"beside/{written}/{size}", random.Random(size).randbytes(size)
    transfer = TransferOptions(part_bytes=PART)
    ours = official.servers.client(instruction_files=True, transfer=transfer, **WRITERS[written])
    beside = CSE(instruction_file=True, encryption_context={"team": "weather"})
    ours.put(bucket=bucket, key=key, data=data, encryption=beside)
    stored = official.servers.s3_client().head_object(Bucket=bucket, Key=f"{key}.instruction")
    assert stored["Metadata"].get("x-amz-crypto-instr-file", "") == ""
    assert official.get(key, format=written, context={"team": "weather"}) == data
    assert ours.get(bucket=bucket, key=key, encryption_context={"team": "weather"}) == data
    ours.move(f"s3://{bucket}/{key}", f"s3://{bucket}/{key}-moved")
    assert official.get(f"{key}-moved", format=written, context={"team": "weather"}) == data
    ours.delete(bucket=bucket, key=f"{key}-moved")
    assert not [row for row in official.servers.client().list(f"s3://{bucket}/{key}") if "moved" in row.location.key]
