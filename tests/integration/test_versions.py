"""Versions of objects: read, looked at, copied and deleted by their id."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import pytest

from arrowseal import CSE, PLAIN, Client, ObjectLocation
from arrowseal.exceptions import AuthenticationError, ConfigurationError, ObjectNotFoundError
from arrowseal.segment_index import companion


@pytest.fixture
def versioned(raw_s3: Any, bucket: str) -> str:
    """The bucket, which keeps versions."""
    raw_s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def test_versions_are_read_by_their_id(client: Client, versioned: str) -> None:
    first = client.put(bucket=versioned, key="o", data=b"first")
    client.put(bucket=versioned, key="o", data=b"second")
    assert client.get(bucket=versioned, key="o") == b"second"
    assert client.get(bucket=versioned, key="o", version_id=first.version_id) == b"first"
    assert client.head(bucket=versioned, key="o", version_id=first.version_id).version_id == first.version_id
    client.put(bucket=versioned, key="o", data=b"third", encryption=PLAIN)
    assert client.is_encrypted(bucket=versioned, key="o", version_id=first.version_id)
    assert not client.is_encrypted(bucket=versioned, key="o")
    client.delete(bucket=versioned, key="o")
    assert client.exists(bucket=versioned, key="o", version_id=first.version_id)
    assert not client.exists(bucket=versioned, key="o")
    client.delete(bucket=versioned, key="o", version_id=first.version_id)
    assert not client.exists(bucket=versioned, key="o", version_id=first.version_id)


def test_an_old_version_needs_the_instruction_file_of_its_time_and_the_error_says_so(
    client: Client, raw_s3: Any, versioned: str
) -> None:
    url, file, looking = f"s3://{versioned}/o", "o.instruction", client.replace(instruction_files=True)
    first = looking.put(url, b"first", encryption=CSE(instruction_file=True))
    of_its_time = raw_s3.head_object(Bucket=versioned, Key=file)["VersionId"]
    looking.put(url, b"second", encryption=CSE(instruction_file=True))
    assert looking.get(url) == b"second"
    with pytest.raises(AuthenticationError, match="Of an old version: put the instruction file back that it was"):
        looking.get(url, version_id=first.version_id)
    source = {"Bucket": versioned, "Key": file, "VersionId": of_its_time}
    raw_s3.copy_object(Bucket=versioned, Key=file, CopySource=source)
    assert looking.get(url, version_id=first.version_id) == b"first"


def test_a_copy_of_an_old_version_has_its_metadata_and_no_index_of_another_one(
    client: Client, raw_s3: Any, versioned: str
) -> None:
    url, copy, index = f"s3://{versioned}/o", f"s3://{versioned}/copy", companion(ObjectLocation(versioned, "copy"))
    old, new = os.urandom(2**20), os.urandom(2**20)
    first = client.put(url, old, s3_additional_kwargs={"Metadata": {"team": "weather"}})
    second = client.put(url, new)
    client.index(url)
    client.copy(url, copy, version_id=second.version_id)
    assert client.get(copy) == new
    assert client.exists(index)
    client.copy(url, copy, version_id=first.version_id)
    assert client.get(copy) == old
    assert raw_s3.head_object(Bucket=versioned, Key="copy")["Metadata"]["team"] == "weather"
    assert not client.exists(index)
    client.delete(url)
    client.copy(url, copy, version_id=second.version_id)
    assert client.get(copy) == new
    with pytest.raises(ObjectNotFoundError, match=url):
        client.copy(url, copy)


def test_a_large_old_version_is_copied_in_parts_with_its_own_tags(
    client: Client, raw_s3: Any, versioned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = client.put(f"s3://{versioned}/o", b"old", s3_additional_kwargs={"Tagging": "a=1"})
    client.put(f"s3://{versioned}/o", b"newest", s3_additional_kwargs={"Tagging": "a=2"})
    monkeypatch.setattr("arrowseal.store_boto3._COPY_LIMIT", 0)
    client.copy(f"s3://{versioned}/o", f"s3://{versioned}/copy", version_id=first.version_id)
    assert client.get(f"s3://{versioned}/copy") == b"old"
    assert raw_s3.get_object_tagging(Bucket=versioned, Key="copy")["TagSet"] == [{"Key": "a", "Value": "1"}]


def test_an_empty_version_id_is_refused_before_any_request_as_it_would_name_the_latest(client: Client) -> None:
    nowhere = "s3://there-is-no-such-bucket/o"
    reads = (
        client.get,
        client.object,
        client.head,
        client.exists,
        client.is_encrypted,
        partial(client.open, mode="rb"),
        partial(client.copy, target="s3://there-is-no-such-bucket/copy"),
    )
    for call in (*reads, client.delete):
        with pytest.raises(ConfigurationError, match="version_id=''"):
            call(nowhere, version_id="")
