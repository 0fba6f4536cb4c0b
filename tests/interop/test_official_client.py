"""What we write the official Python client reads, and the other way round: formats, sizes, contexts, keys, servers."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from arrowseal import CSE, V2, V3, Client, CommitmentPolicy, TransferOptions

if TYPE_CHECKING:
    from arrowseal.binding import Binding
    from conftest import OfficialClient

PART = 5 * 2**20
SIZES = [0, 1, 15, 16, 17, 4096, 2**20 - 1, 2**20, 2**20 + 1, 5 * 2**20 + 3]
CONTEXTS: list[dict[str, str]] = [{}, {"team": "weather", "a": 'quoted "value" \\ and {}'}]
KEYS = ["plain.bin", "räume/größe → 語 🌊.parquet", "a b+c%20d&e=f'g(h)~.csv"]
WRITERS = {V3: {}, V2: {"format": V2, "commitment_policy": CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT}}
READING = CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def writer(official: OfficialClient, written: object) -> Client:
    return official.servers.client(**WRITERS[written])  # type: ignore[index]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("written", ["V3", "V2"])
def test_the_official_client_reads_what_we_write(official: OfficialClient, written: str, size: int) -> None:
    key, data = f"ours/{written}/{size}", content(size)
    ours = writer(official, V3 if written == "V3" else V2)
    ours.put(bucket=official.servers.bucket, key=key, data=data)
    assert official.get(key, format=written, context={}) == data


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("written", ["V3", "V2"])
def test_we_read_what_the_official_client_writes(official: OfficialClient, written: str, size: int) -> None:
    key, data = f"theirs/{written}/{size}", content(size)
    official.put(key, data, format=written, context={})
    ours = official.servers.client(commitment_policy=READING)
    got = ours.get(bucket=official.servers.bucket, key=key)
    assert got == data
    assert got.encryption == f"CSE {written}"


@pytest.mark.parametrize("written", ["V3", "V2"])
@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("key", KEYS)
def test_contexts_and_odd_keys_of_objects_go_both_ways(
    official: OfficialClient, written: str, context: dict[str, str], key: str
) -> None:
    bucket, data = official.servers.bucket, content(1000)
    ours = writer(official, V3 if written == "V3" else V2)
    ours.put(bucket=bucket, key=key, data=data, encryption=CSE(encryption_context=context))
    assert official.get(key, format=written, context=context) == data
    official.put(key, data[::-1], format=written, context=context)
    reader = official.servers.client(commitment_policy=READING, encryption_context=context)
    assert reader.get(bucket=bucket, key=key) == data[::-1]


@pytest.mark.parametrize(("binding", "place"), [("object", "2013/bound.csv"), ("prefix", "2013/")])
def test_an_object_that_is_bound_to_its_place_goes_both_ways_where_the_entry_is_given(
    official: OfficialClient, binding: Binding, place: str
) -> None:
    bucket, data, key = official.servers.bucket, content(1000), "2013/bound.csv"
    entry = {"arrowseal:location": f"s3://{bucket}/{place}"}
    ours = official.servers.client(bind_location=binding)
    ours.put(bucket=bucket, key=key, data=data)
    assert official.get(key, context=entry) == data
    official.put(key, data[::-1], context=entry)
    assert ours.get(bucket=bucket, key=key) == data[::-1]


@pytest.mark.parametrize("written", ["V3", "V2"])
def test_a_non_ascii_context_is_stored_as_ascii_and_read_back_on_every_server(
    official: OfficialClient, written: str
) -> None:
    """The official Python client takes no such context, neither on writes nor on reads; Java and Go do."""
    context, data = {"ort": "Zürich → 語"}, content(100)
    ours = writer(official, V3 if written == "V3" else V2)
    ours.put(bucket=official.servers.bucket, key="context", data=data, encryption_context=context)
    assert ours.get(bucket=official.servers.bucket, key="context", encryption_context=context) == data
    stored = official.servers.s3_client().head_object(Bucket=official.servers.bucket, Key="context")["Metadata"]
    assert all(value.isascii() and not value.startswith("=?") for value in stored.values())


@pytest.mark.parametrize("written", ["V3", "V2"])
def test_we_read_what_the_official_client_uploads_in_parts(official: OfficialClient, written: str) -> None:
    data = content(17 * 2**20 + 5)
    official.put("in-parts", data, action="upload", format=written, context={})
    ours = official.servers.client(commitment_policy=READING)
    assert ours.get(bucket=official.servers.bucket, key="in-parts") == data


@pytest.mark.parametrize("size", [PART - 16, PART - 1, PART, PART + 1, 2 * PART - 16, 2 * PART, 2 * PART + 1])
@pytest.mark.parametrize("written", ["V3", "V2"])
def test_the_official_client_reads_our_parts_whatever_their_borders(
    official: OfficialClient, written: str, size: int
) -> None:
    key, data = f"parts/{written}/{size}", content(size)
    small_parts = TransferOptions(part_bytes=PART)
    ours = official.servers.client(**WRITERS[V3 if written == "V3" else V2], transfer=small_parts)  # type: ignore[arg-type]
    with ours.open(f"s3://{official.servers.bucket}/{key}", "wb") as file:
        file.write(data)
    assert official.get(key, format=written, context={}) == data


@pytest.mark.parametrize("part_bytes", [8 * 2**20, 128 * 2**20], ids=["in parts", "at once"])
def test_the_official_client_reads_100_mebibytes(official: OfficialClient, part_bytes: int) -> None:
    data = content(100 * 2**20)
    ours = official.servers.client(transfer=TransferOptions(part_bytes=part_bytes))
    ours.put(bucket=official.servers.bucket, key="large", data=data)
    assert official.get("large", format="V3", context={}) == data
