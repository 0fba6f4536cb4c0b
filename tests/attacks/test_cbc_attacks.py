"""The bucket's writer as an oracle's user: what fails under AES-CBC and RSA PKCS#1 v1.5 fails in one way only."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

import pytest
from memory_store import Lake
from rows import CBC, ROWS, Row
from writers import Keys, Made, b64, cbc, write

from arrowseal import CommitmentPolicy, RawAesKeyring, RawRsaKeyring, TransferOptions
from arrowseal.exceptions import (
    AuthenticationError,
    KeyMismatchError,
    NoIndexError,
    SecurityError,
    UnsupportedFormatError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arrowseal import Client

ALLOWING = CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT
CBC_ROWS = [row for row in ROWS if row.content == CBC and row.storage == "metadata"]
V1_AES, V1_RSA = (next(row for row in CBC_ROWS if (row.format, row.wrap) == ("V1", wrap)) for wrap in ("AES", "RSA"))
each_row = pytest.mark.parametrize("row", CBC_ROWS, ids=str)
PROBES = int(os.environ.get("ARROWSEAL_TEST_PROBES", "4096"))
CONTENT = b"sixteen bytes ok" * 4  # a whole number of blocks: its padding is a block of its own


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Lake:
    return Lake(monkeypatch)


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


def reader(lake: Lake, keys: Keys, row: Row, **options: Any) -> Client:
    told: dict[str, Any] = {"commitment_policy": ALLOWING, "legacy": True, "keyring": keys.keyring(row.wrap)}
    return lake.client(keys.arn, kms=keys.kms, **told | options)


def outcome(client: Client, lake: Lake, body: bytes, metadata: dict[str, str]) -> Any:
    """None if the object opens, otherwise everything that whoever sees the error could tell."""
    try:
        client.get(lake.plant("o", body, metadata))
    except Exception as error:
        return type(error), str(error), error.args, error.__cause__, repr(error.__context__)
    return None


def outcomes(client: Client, lake: Lake, bodies: Iterable[bytes], metadata: dict[str, str]) -> list[Any]:
    return [outcome(client, lake, body, metadata) for body in bodies]


def test_probes_of_the_padding_end_in_one_error_or_in_none(lake: Lake, keys: Keys) -> None:
    """The last two bytes before the block of padding, all 65,536 of them with ARROWSEAL_TEST_PROBES=65536."""
    made = write(V1_AES, CONTENT, keys)
    client = reader(lake, keys, V1_AES)
    before, pair, after = made.body[:-18], made.body[-18:-16], made.body[-16:]
    step = 65_536 // PROBES
    probes = [(first, last) for first in range(pair[0] % step, 256, step) for last in range(256)]
    answers = outcomes(client, lake, (before + bytes(probe) + after for probe in probes), made.metadata)
    assert len(answers) == PROBES
    failures = {answer for answer in answers if answer is not None}
    assert len(failures) == 1
    assert failures.pop()[0] is AuthenticationError
    padding = [(16 ^ pair[0] ^ first, 16 ^ pair[1] ^ last) for first, last in probes]
    fits = [last == 1 or (first, last) in ((2, 2), (16, 16)) for first, last in padding]
    assert [answer is None for answer in answers] == fits


@each_row
def test_padding_length_key_and_iv_fail_alike(row: Row, lake: Lake, keys: Keys) -> None:
    made, other = write(row, CONTENT, keys), write(row, b"another object" * 9, keys)
    client = reader(lake, keys, row)
    changed = [made.body[:-1] + bytes([made.body[-1] ^ bit]) for bit in (1, 128)]
    cut = [made.body[:size] for size in (*range(17), 31, 33, len(made.body) - 16, len(made.body) - 1)]
    longer = [made.body + bytes(size) for size in (1, 15, 16, 17)]
    key = next(name for name in ("x-amz-key", "x-amz-key-v2") if name in made.metadata)
    data_key_of_another = made.metadata | {key: other.metadata[key], "x-amz-iv": other.metadata["x-amz-iv"]}
    answers = outcomes(client, lake, [*changed, *cut, *longer], made.metadata)
    answers += outcomes(client, lake, [made.body], data_key_of_another)
    # Of some 30 changes one or two may hit a padding: those open, to what nothing proves.
    failures = [answer for answer in answers if answer is not None]
    assert len(failures) >= len(answers) - 4
    assert len({answer[:4] for answer in failures}) == 1
    assert failures[0][0] is AuthenticationError


@pytest.mark.parametrize("padding", [b"\x00" * 16, b"\x11" * 16, b"\x01\x02", b"\xff" * 16, bytes(15) + b"\x20"])
def test_padding_that_pkcs7_does_not_know_fails(padding: bytes, lake: Lake, keys: Keys) -> None:
    data_key, iv = os.urandom(32), os.urandom(16)
    body = cbc(data_key, iv, (bytes(32) + padding)[-32:])
    metadata = {"x-amz-key": b64(keys.wrapped("AES", data_key, "", {})), "x-amz-iv": b64(iv), "x-amz-matdesc": "{}"}
    client = reader(lake, keys, V1_AES)
    assert outcome(client, lake, body, metadata)[0] is AuthenticationError
    assert outcome(client, lake, cbc(data_key, iv, bytes(12) + b"\x04" * 4), metadata) is None


@each_row
def test_every_size_around_a_block_opens(row: Row, lake: Lake, keys: Keys) -> None:
    client = reader(lake, keys, row)
    for size in (0, 1, 15, 16, 17, 31, 32, 33, 2**19 + 3):
        content = os.urandom(size)
        made = write(row, content, keys)
        assert client.get(lake.plant("o", made.body, made.metadata)) == content


@each_row
def test_a_long_object_opens_out_of_ranges_side_by_side(row: Row, lake: Lake, keys: Keys) -> None:
    content = os.urandom(3 * 2**20 + 5)
    made = write(row, content, keys)
    several = TransferOptions(part_bytes=2**19, concurrency=4, max_unindexed_bytes=2**20)
    client = reader(lake, keys, row, transfer=several)
    url = lake.plant("o", made.body, made.metadata)
    assert client.get(url) == content
    assert lake.store.calls["get"] >= 4
    with pytest.raises(NoIndexError, match="max_unindexed_bytes"):
        client.object(url)
    with client.replace(transfer=TransferOptions(part_bytes=2**19, concurrency=4)).object(url) as found:
        assert found.read_at(2**20, 100) == content[2**20 : 2**20 + 100]


def test_no_plaintext_and_no_key_is_in_the_error(lake: Lake, keys: Keys) -> None:
    made = write(V1_AES, b"canary of the plaintext" * 10, keys)
    answer = outcome(reader(lake, keys, V1_AES), lake, made.body[:-16], made.metadata)
    assert "canary" not in str(answer)
    assert keys.aes.hex() not in str(answer)


def pkcs1(keys: Keys, payload: bytes) -> bytes:
    """A ciphertext of a payload of the test's choice: textbook RSA."""
    numbers = keys.rsa.public_key().public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    return pow(int.from_bytes(payload.rjust(size, b"\0")), numbers.e, numbers.n).to_bytes(size)


def test_no_padding_of_rsa_is_told_from_another(lake: Lake, keys: Keys) -> None:
    """Bleichenbacher: ciphertexts of every kind, and one answer."""
    made, client, size = write(V1_RSA, CONTENT, keys), reader(lake, keys, V1_RSA), 256
    filler, key = b"\x01" * 205, os.urandom(32)
    assert len(filler) == size - 3 - 48
    payloads = [
        b"\x00\x02" + b"\x07" * (size - 35) + b"\x00" + key,  # fits, and is another data key
        b"\x00\x01" + b"\xff" * (size - 35) + b"\x00" + key,  # a signature's padding
        b"\x00\x02" + b"\x07" * (size - 2),  # nothing ends the padding
        b"\x00\x02" + b"\x07" * 4 + b"\x00" + b"\x07" * (size - 7),  # ends too early
        b"\x00\x02" + b"\x07" * (size - 3) + b"\x00",  # an empty data key
        b"\x00\x02" + b"\x07" * (size - 19) + b"\x00" + key[:16],  # half of one
        b"\x00\x02" + b"\x07" * (size - 36) + b"\x00" + key + b"!",  # one byte too many
        b"\x00\x03" + b"\x07" * (size - 35) + b"\x00" + key,
        b"\x02",
        b"\x00",
    ]
    wrapped = [pkcs1(keys, payload) for payload in payloads] + [
        os.urandom(size)[1:].rjust(size, b"\0") for _ in range(240)
    ]
    answers = {outcome(client, lake, made.body, made.metadata | {"x-amz-key": b64(one)}) for one in wrapped}
    opened = answers & {None}  # a random data key finds padding by chance, once in some 256: to what nothing proves
    failures = answers - opened
    assert len(failures) == 1
    assert failures.pop()[0] is AuthenticationError


@pytest.mark.parametrize("legacy", [False, "content", "wrapping"])
def test_without_the_switch_no_key_is_touched(legacy: Any, lake: Lake, keys: Keys) -> None:
    """One message for whatever stands where the encrypted data key does."""
    made = write(V1_RSA, CONTENT, keys)
    client = reader(
        lake, keys, V1_RSA, legacy=legacy, keyring=RawRsaKeyring(lambda: pytest.fail("a key was asked for"))
    )
    wrapped = [
        made.metadata["x-amz-key"],
        b64(os.urandom(256)),
        b64(bytes(256)),
        b64(b"\xff" * 256),
        b64(os.urandom(512)),
    ]
    answers = {outcome(client, lake, made.body, made.metadata | {"x-amz-key": one})[:4] for one in wrapped}
    assert len(answers) == 1
    assert next(iter(answers))[0] is UnsupportedFormatError


def test_an_aes_key_that_is_not_the_one_is_a_key_mismatch_and_says_nothing_else(lake: Lake, keys: Keys) -> None:
    made = write(V1_AES, CONTENT, keys)
    other = reader(lake, keys, V1_AES, keyring=RawAesKeyring(os.urandom(32)))
    own = reader(lake, keys, V1_AES)
    wrapped = [b64(os.urandom(48)) for _ in range(50)] + [b64(bytes(48))]
    kinds = {outcome(own, lake, made.body, made.metadata | {"x-amz-key": one})[:4] for one in wrapped}
    assert {kind for kind, *_ in kinds} == {KeyMismatchError}
    assert len(kinds) == 1
    assert outcome(other, lake, made.body, made.metadata)[0] is KeyMismatchError


def test_ranges_of_cbc_are_those_of_the_whole_or_nothing(lake: Lake, keys: Keys) -> None:
    content = os.urandom(2**19)
    for row in CBC_ROWS:
        made = write(row, content, keys)
        url, client = lake.plant("o", made.body, made.metadata), reader(lake, keys, row)
        with client.object(url) as found:
            assert found.in_memory
            assert found.read_ranges([(7, 100), (len(content) - 3, 10)]) == [content[7:107], content[-3:]]
        with client.object(url, unauthenticated_ranges=True) as found:
            assert found.read_at(0, 9) == content[:9]
        broken = lake.plant("broken", made.body[:-16], made.metadata)
        for way in ({}, {"unauthenticated_ranges": True}, {"two_passes": True}):
            with pytest.raises(SecurityError):
                client.object(broken, **way)
        with pytest.raises(UnsupportedFormatError, match="AES-CBC has no index"):
            client.index(url)


def test_a_made_up_object_proves_that_cbc_proves_nothing(lake: Lake, keys: Keys) -> None:
    """Why it is an `UnauthenticatedBuffer`: the first block is whoever writes the bucket to choose."""
    made = write(V1_AES, b"pay 100 to alice", keys)
    target = bytes(a ^ b for a, b in zip(b"pay 100 to alice", b"pay 999 to mallo", strict=True))
    iv = bytes(a ^ b for a, b in zip(base64.b64decode(made.metadata["x-amz-iv"]), target, strict=True))
    forged = Made(made.body, made.metadata | {"x-amz-iv": b64(iv)})
    got = reader(lake, keys, V1_AES).get(lake.plant("o", forged.body, forged.metadata))
    assert got == b"pay 999 to mallo"
    assert type(got).__name__ == "UnauthenticatedBuffer"
