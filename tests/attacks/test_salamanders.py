"""One body that opens under two data keys (AWS-2025-032): a thousand of them, and a commitment that each breaks on.

Whoever makes an object can make such a body, and then swap the encrypted data key, most easily in an instruction file.
"""

from __future__ import annotations

import hmac
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from memory_store import Lake
from writers import b64

from arrowseal import CommitmentPolicy, RawAesKeyring
from arrowseal.exceptions import AuthenticationError, CommitmentPolicyError

if TYPE_CHECKING:
    from arrowseal import Client

PAIRS = 1000
ALLOWING = CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT
WRAPPING_KEY = os.urandom(32)
POLYNOMIAL = 1 << 128 | 0b10000111


def times(x: int, y: int) -> int:
    """The product of two elements of GCM's field, whose bits are numbered from the left."""
    product = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return product


def inverse(x: int) -> int:
    """One over an element: Euclid's algorithm over polynomials."""
    low, high = int(f"{x:0128b}"[::-1], 2), POLYNOMIAL
    by_low, by_high = 1, 0
    while low != 1:
        if low.bit_length() < high.bit_length():
            low, high, by_low, by_high = high, low, by_high, by_low
        shift = low.bit_length() - high.bit_length()
        low, by_low = low ^ high << shift, by_low ^ by_high << shift
    while by_low.bit_length() > 128:
        by_low ^= POLYNOMIAL << by_low.bit_length() - 129
    return int(f"{by_low:0128b}"[::-1], 2)


def salamander(first: bytes, second: bytes, iv: bytes, additional: bytes) -> bytes:
    """An AES-GCM message of two blocks under two keys: its second block makes the tags equal."""
    block, bound = int.from_bytes(os.urandom(16)), int.from_bytes(additional.ljust(16, b"\0"))
    lengths = 8 * len(additional) << 64 | 2 * 128

    def parts(key: bytes) -> tuple[int, int]:
        """What a key makes of everything but the second block, and what it multiplies that one with."""
        encrypt = Cipher(AES(key), ECB()).encryptor().update
        h, mask = int.from_bytes(encrypt(bytes(16))), int.from_bytes(encrypt(iv + b"\0\0\0\1"))
        square = times(h, h)
        head = times(bound, h) ^ block if additional else block
        return times(times(head, h), square) ^ times(lengths, h) ^ mask, square

    (rest, square), (other_rest, other_square) = parts(first), parts(second)
    solved = times(rest ^ other_rest, inverse(square ^ other_square))
    tag = rest ^ times(solved, square)
    return b"".join(part.to_bytes(16) for part in (block, solved, tag))


@dataclass
class Pair:
    """A body, and for each of two data keys what an object says and what it opens to."""

    body: bytes
    objects: list[dict[str, str]]
    contents: list[bytes]


def v3_pair() -> Pair:
    message_id, data_keys = os.urandom(28), [os.urandom(32), os.urandom(32)]
    extracted = [hmac.digest(message_id, data_key, "sha512") for data_key in data_keys]
    content_keys = [hmac.digest(one, b"\x00\x73DERIVEKEY\x01", "sha512")[:32] for one in extracted]
    body = salamander(content_keys[0], content_keys[1], b"\x01" * 12, b"\x00\x73")
    objects = [
        {
            "x-amz-c": "115",
            "x-amz-3": wrapped(data_key, b"115"),
            "x-amz-w": "02",
            "x-amz-d": b64(hmac.digest(one, b"\x00\x73COMMITKEY\x01", "sha512")[:28]),
            "x-amz-i": b64(message_id),
        }
        for data_key, one in zip(data_keys, extracted, strict=True)
    ]
    return Pair(body, objects, [AESGCM(key).decrypt(b"\x01" * 12, body, b"\x00\x73") for key in content_keys])


def v2_pair() -> Pair:
    iv, data_keys = os.urandom(12), [os.urandom(32), os.urandom(32)]
    body = salamander(data_keys[0], data_keys[1], iv, b"")
    common = {"x-amz-iv": b64(iv), "x-amz-cek-alg": "AES/GCM/NoPadding", "x-amz-wrap-alg": "AES/GCM"}
    objects = [common | {"x-amz-key-v2": wrapped(data_key, b"AES/GCM/NoPadding")} for data_key in data_keys]
    return Pair(body, objects, [AESGCM(key).decrypt(iv, body, None) for key in data_keys])


def wrapped(data_key: bytes, algorithm: bytes) -> str:
    nonce = os.urandom(12)
    return b64(nonce + AESGCM(WRAPPING_KEY).encrypt(nonce, data_key, algorithm))


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Lake:
    return Lake(monkeypatch)


def reader(lake: Lake, **options: Any) -> Client:
    return lake.client(keyring=RawAesKeyring(WRAPPING_KEY), instruction_files=True, **options)


def beside(lake: Lake, body: bytes, fields: dict[str, str]) -> str:
    """The object with its data key in an instruction file."""
    stays = {name: value for name, value in fields.items() if name in ("x-amz-c", "x-amz-d", "x-amz-i")}
    file = {name: value for name, value in fields.items() if name not in stays}
    return lake.plant("o", body, stays, json.dumps(file).encode())


def test_a_thousand_v3_bodies_open_under_the_data_key_that_they_commit_to_and_no_other(lake: Lake) -> None:
    client = reader(lake)
    for number in range(PAIRS):
        pair = v3_pair()
        assert pair.contents[0] != pair.contents[1]
        one, other = pair.objects
        swapped = one | {"x-amz-3": other["x-amz-3"]}
        url = beside(lake, pair.body, swapped) if number % 2 else lake.plant("o", pair.body, swapped)
        with pytest.raises(AuthenticationError):
            client.get(url)
        if number < 10:  # each is what it says otherwise
            for fields, content in zip(pair.objects, pair.contents, strict=True):
                assert client.get(lake.plant("o", pair.body, fields)) == content
                assert client.get(beside(lake, pair.body, fields)) == content


def test_no_way_of_reading_opens_such_a_body(lake: Lake) -> None:
    client, pair = reader(lake), v3_pair()
    url = beside(lake, pair.body, pair.objects[0] | {"x-amz-3": pair.objects[1]["x-amz-3"]})
    ways: list[Any] = [client.get, client.object, lambda url: client.open(url, "rb"), client.index]
    ways.append(lambda url: client.object(url, unauthenticated_ranges=True).read_at(0, 16))
    for read in ways:
        with pytest.raises(AuthenticationError):
            read(url)


def test_the_commitment_is_compared_before_the_body_is_opened(lake: Lake) -> None:
    client, pair = reader(lake), v3_pair()
    url = lake.plant("o", pair.body[:-1] + b"!", pair.objects[0] | {"x-amz-3": pair.objects[1]["x-amz-3"]})
    with pytest.raises(AuthenticationError) as caught:
        client.get(url)
    with pytest.raises(AuthenticationError) as again:
        client.get(lake.plant("o", pair.body, pair.objects[0] | {"x-amz-3": pair.objects[1]["x-amz-3"]}))
    assert str(caught.value) == str(again.value)


def test_v2_bodies_are_refused_by_the_default_policy_and_one_that_is_allowed_opens_twice(
    lake: Lake,
) -> None:
    strict, lenient = reader(lake), reader(lake, commitment_policy=ALLOWING)
    for number in range(PAIRS // 10):  # it is the format that is refused, whatever the body
        pair = v2_pair()
        for fields in pair.objects:
            url = beside(lake, pair.body, fields) if number % 2 else lake.plant("o", pair.body, fields)
            with pytest.raises(CommitmentPolicyError):
                strict.get(url)
        if number < 10:
            # Format V2 cannot tell: this is why the default policy refuses it.
            seen = {bytes(lenient.get(beside(lake, pair.body, fields))) for fields in pair.objects}
            assert seen == set(pair.contents)
            assert len(seen) == 2
