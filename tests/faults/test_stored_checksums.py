"""Objects without client-side encryption, compared with the checksum that the server has of them."""

from __future__ import annotations

import base64
import os
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import Fault
from fault_rules import on

from arrowseal import PLAIN, SSE_C
from arrowseal.exceptions import ChecksumMismatchError, NoChecksumError, ObjectChangedError
from arrowseal.transfer import PIECE_BYTES, TransferOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from broken_bodies import FaultProxy

    from arrowseal import Client
    from arrowseal.local import LocalServers

PART = 5 * 2**20
CHECKED: dict[str, Any] = {"allow_plaintext": True, "verify_checksum": True}


def crc32(content: bytes) -> str:
    """As S3 writes it."""
    return base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES + 1, 2 * PART + 7])
@pytest.mark.parametrize("servers", ["local_servers", "seaweedfs_servers"])
def test_what_is_written_here_at_once_or_in_parts_can_be_checked(
    request: pytest.FixtureRequest, servers: str, size: int
) -> None:
    there: LocalServers = request.getfixturevalue(servers)
    client = there.client(transfer=TransferOptions(part_bytes=PART))
    key, data = f"checked-{size}", os.urandom(size)
    url = f"s3://{there.bucket}/{key}"
    client.put(url, data, encryption=PLAIN)
    head = there.s3_client().head_object(Bucket=there.bucket, Key=key, ChecksumMode="ENABLED")
    assert head["ChecksumCRC32"] == crc32(data)
    assert client.get(url, allow_plaintext=True) == data
    assert client.get(url, **CHECKED) == data
    _, raw, checked = client.counters
    if size:  # an empty object is not asked for in one way only
        assert checked.requests == raw.requests + 1, "the question for the checksum"
    assert checked.crypto_seconds > 0


def test_an_object_under_a_key_of_the_caller_is_asked_for_with_it(seaweedfs_servers: LocalServers) -> None:
    client, arm, url = seaweedfs_servers.client(), SSE_C(b"k" * 32), f"s3://{seaweedfs_servers.bucket}/checked-sse-c"
    client.put(url, b"content", encryption=arm)
    assert client.get(url, encryption=arm, verify_checksum=True) == b"content"


@pytest.mark.parametrize("start", [0, 2**20])
def test_bytes_that_were_damaged_on_their_way_are_read_once_more(
    through_proxy: Callable[..., Client], proxy: FaultProxy, bucket: str, start: int
) -> None:
    client, url, data = through_proxy(), f"s3://{bucket}/o", os.urandom(3 * 2**20)
    client.put(url, data, encryption=PLAIN)
    proxy.rule = on("GetObject", Fault("flip", 1000), start=start)
    assert client.get(url, **CHECKED) == data
    assert list(client.counters)[-1].retries == 1
    proxy.rule = on("GetObject", Fault("flip", 1000), start=start)
    assert client.get(url, allow_plaintext=True) != data, "raw is raw"


def test_bytes_that_are_not_those_of_the_stored_checksum_are_refused(
    through_proxy: Callable[..., Client], proxy: FaultProxy, bucket: str
) -> None:
    client, url, data = through_proxy(), f"s3://{bucket}/o", os.urandom(2**20)
    client.put(url, data, encryption=PLAIN)
    proxy.rule = on("GetObject", Fault("flip", 1000), times=2)
    with pytest.raises(ChecksumMismatchError, match=f"^{url}: ") as caught:
        client.get(url, **CHECKED)
    assert f"stored is {crc32(data)}" in str(caught.value)
    assert len(client.counters) == 1, "the put"


@pytest.mark.parametrize("algorithm", [None, "SHA256", "CRC32 of parts"])
def test_an_object_without_a_checksum_that_can_be_compared_is_refused_before_it_is_read(
    seaweedfs_servers: LocalServers, algorithm: str | None
) -> None:
    s3, named = seaweedfs_servers.s3_client(), {"Bucket": seaweedfs_servers.bucket, "Key": f"unchecked-{algorithm}"}
    if algorithm == "CRC32 of parts":
        upload = named | {"UploadId": s3.create_multipart_upload(**named, ChecksumAlgorithm="CRC32")["UploadId"]}
        part = s3.upload_part(**upload, PartNumber=1, Body=b"content", ChecksumAlgorithm="CRC32")
        parts = [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}]
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    elif algorithm is None:
        s3.meta.config.request_checksum_calculation = "when_required"
        s3.put_object(**named, Body=b"content")
    else:
        s3.put_object(**named, Body=b"content", ChecksumAlgorithm=algorithm)
    client, url = seaweedfs_servers.client(), f"s3://{named['Bucket']}/{named['Key']}"
    with pytest.raises(NoChecksumError, match="no CRC32 of the whole object"):
        client.get(url, **CHECKED)
    assert client.get(url, allow_plaintext=True) == b"content"


def test_the_checksum_of_another_object_is_not_compared(
    through_proxy: Callable[..., Client], proxy: FaultProxy, raw_s3: Any, bucket: str
) -> None:
    client, url = through_proxy(), f"s3://{bucket}/o"
    client.put(url, b"first", encryption=PLAIN)

    def overwrites(method: str, *_: object) -> None:
        if method == "HEAD":
            raw_s3.put_object(Bucket=bucket, Key="o", Body=os.urandom(5))

    proxy.rule = overwrites
    with pytest.raises(ObjectChangedError):
        client.get(url, **CHECKED)


def test_what_is_sealed_is_proven_by_its_tag_and_nothing_is_asked_for(client: Client, bucket: str) -> None:
    client.put(f"s3://{bucket}/o", b"content")
    assert client.get(f"s3://{bucket}/o", verify_checksum=True) == b"content"
    assert [record.requests for record in client.counters] == [1, 1]
