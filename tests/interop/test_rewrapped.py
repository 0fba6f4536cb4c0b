"""After a rewrap or a migration the official Python client reads with the key that it is given, and that alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import PLAIN, V2, CommitmentPolicy, TransferOptions
from arrowseal.operations import migrate, rewrap

if TYPE_CHECKING:
    from official_process import OfficialClient

CONTENTS = {"small": b"content", "empty": b"", "parts": os.urandom(5 * 2**20 + 3)}
TAGS = [{"Key": "team", "Value": "weather"}]


@pytest.fixture
def new_key(raw_kms: Any, official: OfficialClient) -> str:
    return str(official.servers.kms_client().create_key()["KeyMetadata"]["Arn"])


@pytest.mark.parametrize("written", ["V3", "V2"])
@pytest.mark.parametrize("by", ["them", "us"])
def test_the_official_client_reads_under_the_new_key_alone(
    official: OfficialClient, new_key: str, written: str, by: str
) -> None:
    servers, prefix = official.servers, f"rewrapped/{written}/{by}/"
    policy = CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT
    if written == "V2":
        policy = CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
    ours = servers.client(commitment_policy=policy, format=written, transfer=TransferOptions(part_bytes=5 * 2**20))
    s3 = servers.s3_client()
    before = {}
    for name, content in CONTENTS.items():
        if by == "us":
            ours.put(bucket=servers.bucket, key=prefix + name, data=content)
        else:
            official.put(prefix + name, content, format=written)
        before[name] = s3.get_object(Bucket=servers.bucket, Key=prefix + name)
        before[name]["Body"] = before[name]["Body"].read()
    report = rewrap(f"s3://{servers.bucket}/{prefix}", to_key=new_key, client=ours)
    assert [row.state for row in report.results] == ["done"] * 3, [row.reason for row in report.results]
    for name, content in CONTENTS.items():
        assert official.get(prefix + name, format=written, kms_key_id=new_key) == content
        with pytest.raises(AssertionError):
            official.get(prefix + name, format=written, kms_key_id=servers.kms_key_arn)
        after = s3.get_object(Bucket=servers.bucket, Key=prefix + name)
        assert after["Body"].read() == before[name]["Body"]
        assert after["ContentType"] == before[name]["ContentType"]
        if name != "parts":
            assert after["ETag"] == before[name]["ETag"]


def test_the_official_client_reads_what_was_migrated(official: OfficialClient) -> None:
    servers, prefix = official.servers, "migrated/"
    ours = servers.client(allow_plaintext=True, commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT)
    v2 = servers.client(commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT, format=V2)
    for name, content in CONTENTS.items():
        ours.put(bucket=servers.bucket, key=f"{prefix}plain/{name}", data=content, encryption=PLAIN)
        v2.put(bucket=servers.bucket, key=f"{prefix}v2/{name}", data=content)
    report = migrate(f"s3://{servers.bucket}/{prefix}", client=ours)
    assert report.count("done") == 6, [row.reason for row in report.results]
    for name, content in CONTENTS.items():
        assert official.get(f"{prefix}plain/{name}") == official.get(f"{prefix}v2/{name}") == content
