"""What the counters say of each way to write and to read: requests, KMS calls, bytes, memory, where the time went."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import arrowseal.aio.pandas
import arrowseal.arrow
import arrowseal.pandas
import arrowseal.polars
from arrowseal import CSE, PLAIN, Client
from arrowseal.aio import AsyncClient
from arrowseal.transfer import TransferOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from arrowseal.counters import OperationRecord
    from arrowseal.local import LocalServers

PART = 5 * 2**20
DATA = os.urandom(3 * PART + 9)
PIECES = [DATA[begin : begin + 2**20] for begin in range(0, len(DATA), 2**20)]


@pytest.fixture
def client(local_servers: LocalServers) -> Client:
    return local_servers.client(transfer=TransferOptions(part_bytes=PART, concurrency=2))


def put_bytes(client: Client, url: str, encryption: Any) -> None:
    client.put(url, DATA, encryption=encryption)


def put_bytearray(client: Client, url: str, encryption: Any) -> None:
    client.put(url, bytearray(DATA), encryption=encryption)


def write_pieces(client: Client, url: str, encryption: Any) -> None:
    with client.open(url, "wb", encryption=encryption) as file:
        for piece in PIECES:
            file.write(piece)


def await_pieces(client: Client, url: str, encryption: Any) -> None:
    async def main() -> None:
        async with AsyncClient(client).open(url, "wb", encryption=encryption) as file:
            for piece in PIECES:
                await file.write(piece)

    asyncio.run(main())


def await_put(client: Client, url: str, encryption: Any) -> None:
    asyncio.run(AsyncClient(client).put(url, DATA, encryption=encryption))


def check_seconds(record: OperationRecord, *, sealed: bool) -> None:
    """Each section is there where there was such work, and none is longer than the whole."""
    sections = record.kms_seconds, record.crypto_seconds, record.s3_seconds, record.decode_seconds
    assert all(0 <= seconds <= record.wall_seconds for seconds in sections)
    assert record.s3_seconds > 0
    assert (record.kms_seconds > 0) == (record.kms_calls > 0)
    assert (record.crypto_seconds > 0) == sealed


@pytest.mark.parametrize("encryption", [CSE(), PLAIN], ids=lambda encryption: encryption.label)
@pytest.mark.parametrize("write", [put_bytes, put_bytearray, write_pieces, await_pieces, await_put])
def test_every_way_to_write_counts_the_same(
    client: Client, bucket: str, write: Callable[[Client, str, Any], None], encryption: Any
) -> None:
    write(client, f"s3://{bucket}/o.bin", encryption)
    (record,) = client.counters
    sealed = encryption is not PLAIN
    assert (record.operation, record.key, record.encryption) == ("put", "o.bin", encryption.label)
    assert (record.requests, record.kms_calls) == (1 + 4 + 1 + sealed, sealed), "create, four parts, complete, index"
    assert (record.retries, record.resumed_bytes, record.rows) == (0, 0, None)
    assert (record.plaintext_bytes, record.stored_bytes) == (len(DATA), len(DATA) + 16 * sealed)
    # Two parts on their way and the one that is filled or waits; what the caller holds is not ours.
    borrowed = not sealed and write in (put_bytes, await_put)
    assert record.peak_memory_bytes == 0 if borrowed else PART <= record.peak_memory_bytes <= 3 * PART + 16
    check_seconds(record, sealed=sealed)


@pytest.mark.parametrize("encryption", [CSE(), PLAIN], ids=lambda encryption: encryption.label)
def test_both_ways_to_read_count_the_same(client: Client, bucket: str, encryption: Any) -> None:
    url = f"s3://{bucket}/o.bin"
    client.put(url, DATA, encryption=encryption)
    client.counters.clear()
    client.get(url, encryption=encryption)
    asyncio.run(AsyncClient(client).get(url, encryption=encryption))
    first, again = client.counters
    sealed = encryption is not PLAIN
    assert (first.kms_calls, again.kms_calls) == (sealed, 0)
    for record in (first, again):
        assert record.requests >= 2
        assert record.peak_memory_bytes == record.stored_bytes == len(DATA) + 16 * sealed
        assert (record.plaintext_bytes, record.encryption) == (len(DATA), encryption.label)
        check_seconds(record, sealed=sealed)
    assert first.requests == again.requests


@pytest.mark.parametrize("size", [9, 2**20, len(DATA)])
def test_nothing_of_a_plain_read_counts_as_cryptography(client: Client, bucket: str, size: int) -> None:
    url = f"s3://{bucket}/o.bin"
    client.put(url, DATA[:size], encryption=PLAIN)
    client.counters.clear()
    client.get(url, allow_plaintext=True)
    with client.open(url, allow_plaintext=True) as file:
        file.read()
    with client.object(url, allow_plaintext=True) as parts:
        parts.read_ranges([(0, 4), (size // 2, size // 4 or 1)])
    assert {(record.encryption, record.crypto_seconds) for record in client.counters} == {("PLAIN", 0)}


def test_tables_count_their_rows_and_the_time_between_bytes_and_table(client: Client, bucket: str) -> None:
    url, frame = f"s3://{bucket}/t.parquet", pd.DataFrame({"a": np.random.default_rng(1).random(10**6)})

    async def main() -> None:
        await arrowseal.aio.pandas.to_parquet(frame, url, client=client)
        await arrowseal.aio.pandas.read_parquet(url, client=client)

    arrowseal.pandas.to_parquet(frame, url, client=client)
    arrowseal.pandas.read_parquet(url, client=client)
    asyncio.run(main())
    rows = list(client.counters)
    assert [record.operation for record in rows] == ["to_parquet", "read_parquet"] * 2
    for record in rows:
        assert (record.rows, record.file_type, record.encryption) == (10**6, "parquet", "CSE V3")
        assert record.stored_bytes == record.plaintext_bytes + 16 > PART
        assert record.decode_seconds > 0
        check_seconds(record, sealed=True)
    assert [record.kms_calls for record in rows] == [1, 1, 1, 1]


def test_a_file_says_how_long_it_is_and_a_stream_does_not(client: Client, bucket: str, tmp_path: Path) -> None:
    path, totals = tmp_path / "data", []
    path.write_bytes(DATA)
    with path.open("rb") as file:
        file.seek(9)
        client.put(f"s3://{bucket}/o", file, progress=lambda _, total, __: totals.append(total))
    assert set(totals) == {3 * PART + 16}
    totals.clear()
    with path.open("rb") as file:
        stream = iter(lambda: file.read(2**20), b"")
        unknown = type("Stream", (), {"read": lambda *_: next(stream, b"")})()
        client.put(f"s3://{bucket}/o", unknown, progress=lambda _, total, __: totals.append(total))
    assert set(totals) == {None}


def test_tables_tell_how_far_they_are_and_can_be_checked(client: Client, bucket: str) -> None:
    url, frame = f"s3://{bucket}/t.arrow", pd.DataFrame({"a": np.arange(10**6)})
    told: list[tuple[int, int | None]] = []

    def tell(done: int, total: int | None, _: object) -> None:
        told.append((done, total))

    arrowseal.pandas.to_feather(frame, url, compression="uncompressed", encryption=PLAIN, client=client, progress=tell)
    assert (told[0], told[-1][0] > PART) == ((0, None), True)
    told.clear()
    checked = arrowseal.arrow.read_table(url, encryption=PLAIN, verify_checksum=True, client=client, progress=tell)
    assert checked.num_rows == 10**6
    assert told[0] == (0, told[-1][0])
    assert arrowseal.polars.read_ipc(url, encryption=PLAIN, verify_checksum=True, client=client).height == 10**6
    written, first, second = client.counters
    assert min(first.crypto_seconds, second.crypto_seconds) > written.crypto_seconds == 0
