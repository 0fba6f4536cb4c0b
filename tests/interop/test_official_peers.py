"""The official Java and Go clients read what we write and we read what they write, of every keyring and storage.

Slow and asked for: `ARROWSEAL_TEST_OFFICIAL_PEERS=1 python -m pytest tests/interop/test_official_peers.py` on a machine
with a JDK and Maven, or with Go.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import arrowseal.arrow as sa
from arrowseal import CSE, V2, RawAesKeyring, RawRsaKeyring, TransferOptions
from arrowseal.operations import rewrap
from lake import trips
from official_peers import Peer, go_command, java_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal import Client
    from arrowseal.local import LocalServers

FORBID = "FORBID_ENCRYPT_ALLOW_DECRYPT"
SIZES = (0, 1, 15, 16, 17, 4096, 100_003)
CONTEXT = {"team": "weather", "quoted": 'a "b" \\ {}: ,'}
AES = bytes(range(32))
RSA, NEW_RSA = (
    rsa.generate_private_key(65537, 2048).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    for _ in range(2)
)
FORMATS = ("V3", "V2")
STORAGES = ("metadata", "instruction file")
PART = 5 * 2**20


@pytest.fixture(scope="module")
def java(pytestconfig: pytest.Config, local_servers: LocalServers) -> Iterator[Peer]:
    assert pytestconfig.cache is not None
    peer = Peer(java_command(pytestconfig.cache.mkdir("official-java-client")), local_servers)
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def go(pytestconfig: pytest.Config, local_servers: LocalServers) -> Iterator[Peer]:
    assert pytestconfig.cache is not None
    peer = Peer(go_command(pytestconfig.cache.mkdir("official-go-client")), local_servers)
    yield peer
    peer.close()


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def ours(servers: LocalServers, written: str, kind: str, **options: Any) -> Client:
    """A client of ours with the same key, which looks for instruction files."""
    if kind != "kms":
        keyring = RawAesKeyring(AES) if kind == "aes" else RawRsaKeyring(RSA)
        options |= {"kms_key_id": None, "keyring": keyring}
    if written == "V2":
        options |= {"format": V2, "commitment_policy": FORBID}
    return servers.client(instruction_files=True, **options)


def theirs(servers: LocalServers, written: str, kind: str, storage: str = "metadata") -> dict[str, Any]:
    """What their client is told for the same."""
    wrapping: str | bytes = {"kms": servers.kms_key_arn, "aes": AES, "rsa": RSA}[kind]
    return {"written": written, "kind": kind, "wrapping": wrapping, "storage": storage}


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("kind", ["kms", "aes", "rsa"])
@pytest.mark.parametrize("written", FORMATS)
def test_java_and_we_read_each_other_of_every_format_keyring_and_storage(
    java: Peer, local_servers: LocalServers, written: str, kind: str, storage: str
) -> None:
    client, how = ours(local_servers, written, kind), theirs(local_servers, written, kind, storage)
    bucket = local_servers.bucket
    for size in SIZES:
        data, key = content(size), f"java/{written}/{kind}/{storage}/{size}"
        encryption = CSE(instruction_file=storage == "instruction file")
        client.put(bucket=bucket, key=f"{key}/ours", data=data, encryption=encryption)
        assert java.get(f"{key}/ours", **how) == data
        java.put(f"{key}/theirs", data, **how)
        got = client.get(bucket=bucket, key=f"{key}/theirs")
        assert (got, got.encryption) == (data, f"CSE {written}")


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("target", ["kms", "aes", "rsa"])
@pytest.mark.parametrize("kind", ["kms", "aes", "rsa"])
@pytest.mark.parametrize("written", FORMATS)
def test_java_reads_under_the_new_key_what_was_rewrapped(
    java: Peer, local_servers: LocalServers, written: str, kind: str, target: str, storage: str
) -> None:
    client, how = ours(local_servers, written, kind), theirs(local_servers, written, kind, storage)
    new: Any = {
        "kms": str(local_servers.kms_client().create_key()["KeyMetadata"]["Arn"]),
        "aes": AES[::-1],
        "rsa": NEW_RSA,
    }
    to_key = {"kms": new["kms"], "aes": RawAesKeyring(new["aes"]), "rsa": RawRsaKeyring(new["rsa"])}[target]
    key = f"rewrapped/{written}/{kind}/{target}/{storage}"
    java.put(key, b"theirs", **how)
    report = rewrap(f"s3://{local_servers.bucket}/{key}", to_key=to_key, client=client)
    assert [row.state for row in report.results] == ["done"], report.results[0].reason
    told = theirs(local_servers, written, target, storage) | {"wrapping": new[target]}
    assert java.get(key, **told) == b"theirs"


@pytest.mark.parametrize("written", FORMATS)
def test_contexts_go_both_ways_with_java(java: Peer, local_servers: LocalServers, written: str) -> None:
    client = ours(local_servers, written, "kms", encryption_context=CONTEXT)
    how, bucket = theirs(local_servers, written, "kms"), local_servers.bucket
    client.put(bucket=bucket, key="context/ours", data=b"ours")
    assert java.get("context/ours", context=CONTEXT, **how) == b"ours"
    with pytest.raises(AssertionError, match="context"):
        java.get("context/ours", **how)
    java.put("context/theirs", b"theirs", context=CONTEXT, **how)
    assert client.get(bucket=bucket, key="context/theirs") == b"theirs"


@pytest.mark.parametrize("kind", ["kms", "aes", "rsa"])
@pytest.mark.parametrize("written", FORMATS)
def test_java_reads_ranges_of_what_we_write(java: Peer, local_servers: LocalServers, written: str, kind: str) -> None:
    data, key, how = content(1000), f"ranges/{written}/{kind}", theirs(local_servers, written, kind)
    ours(local_servers, written, kind).put(bucket=local_servers.bucket, key=key, data=data)
    for begin, end in ((0, 0), (20, 30), (50, 60), (990, 999), (16, 999), (999, 999)):
        assert java.range(key, f"bytes={begin}-{end}", **how) == data[begin : end + 1]


@pytest.mark.parametrize("written", FORMATS)
def test_java_reads_what_we_write_in_parts_and_our_ranges_read_what_java_wrote(
    java: Peer, local_servers: LocalServers, written: str
) -> None:
    data, how, bucket = content(2 * PART + 5), theirs(local_servers, written, "kms"), local_servers.bucket
    client = ours(local_servers, written, "kms", transfer=TransferOptions(part_bytes=PART))
    client.put(bucket=bucket, key=f"parts/{written}/ours", data=data)
    assert java.get(f"parts/{written}/ours", **how) == data
    java.put(f"parts/{written}/theirs", data, **how)
    client.index(bucket=bucket, key=f"parts/{written}/theirs")
    with client.object(bucket=bucket, key=f"parts/{written}/theirs") as opened:
        assert bytes(opened.read_at(PART - 7, 100)) == data[PART - 7 : PART + 93]


def test_java_reads_each_file_of_a_dataset_under_one_data_key_and_of_one_for_engines(
    java: Peer, local_servers: LocalServers
) -> None:
    for written, client in (("V3", local_servers.client()), ("V2", local_servers.client(interop="analytics"))):
        base = f"s3://{local_servers.bucket}/java-dataset/{written}"
        files = sa.write_dataset(trips(), base, partitioning=["year"], client=client).files
        for file in files:
            assert java.get(file.location.key, **theirs(local_servers, written, "kms")) == client.get(file.location)


@pytest.mark.parametrize("context", [{}, CONTEXT], ids=["no context", "context"])
@pytest.mark.parametrize("written", FORMATS)
def test_go_and_we_read_each_other(
    go: Peer, local_servers: LocalServers, written: str, context: dict[str, str]
) -> None:
    client = ours(local_servers, written, "kms", encryption_context=context)
    how, bucket = theirs(local_servers, written, "kms"), local_servers.bucket
    for size in SIZES:
        data, key = content(size), f"go/{written}/{len(context)}/{size}"
        client.put(bucket=bucket, key=f"{key}/ours", data=data)
        assert go.get(f"{key}/ours", context=context, **how) == data
        go.put(f"{key}/theirs", data, context=context, **how)
        got = client.get(bucket=bucket, key=f"{key}/theirs")
        assert (got, got.encryption) == (data, f"CSE {written}")
