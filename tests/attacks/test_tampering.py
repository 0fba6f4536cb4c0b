"""Someone who can write the bucket, and cannot call KMS: nothing of what they change comes out."""

from __future__ import annotations

import base64
import os
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import arrowseal
from arrowseal import CSE, Client, CommitmentPolicy
from arrowseal.exceptions import (
    AuthenticationError,
    CommitmentPolicyError,
    EncryptionContextError,
    KmsKeyMismatchError,
    MetadataError,
    NotEncryptedError,
    SecurityError,
    SizeLimitError,
    UnsupportedFormatError,
)
from doubles import StrictKms

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrowseal.local import LocalServers

CONTENT = bytes(range(256)) * 16  # 4 KiB
ALLOWING = CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT


@pytest.fixture
def kms() -> StrictKms:
    return StrictKms()


@pytest.fixture
def strict(kms: StrictKms, raw_s3: Any) -> Client:
    """A client on moto's S3 and the strict KMS, with the default policy."""
    return Client(kms.create_key(), s3=raw_s3, kms=kms)  # type: ignore[arg-type]


@pytest.fixture
def v2_writer(kms: StrictKms, raw_s3: Any, strict: Client) -> Client:
    return Client(strict.options.kms_key_id, s3=raw_s3, kms=kms, interop="analytics")  # type: ignore[arg-type]


@pytest.fixture
def v2_reader(kms: StrictKms, raw_s3: Any, strict: Client) -> Client:
    return Client(strict.options.kms_key_id, s3=raw_s3, kms=kms, commitment_policy=ALLOWING)  # type: ignore[arg-type]


@pytest.fixture
def change(raw_s3: Any, bucket: str) -> Callable[..., None]:
    """Rewrites the object `o`: its body through a function, its metadata by name (None removes)."""

    def rewrite(body: Callable[[bytes], bytes] = bytes, **metadata: str | None) -> None:
        found = raw_s3.get_object(Bucket=bucket, Key="o")
        changed = found["Metadata"] | {"x-amz-" + name.replace("_", "-"): value for name, value in metadata.items()}
        kept = {name: value for name, value in changed.items() if value is not None}
        raw_s3.put_object(Bucket=bucket, Key="o", Body=body(found["Body"].read()), Metadata=kept)

    return rewrite


def flip(position: int, bit: int = 0) -> Callable[[bytes], bytes]:
    def flipped(body: bytes) -> bytes:
        changed = bytearray(body)
        changed[position] ^= 1 << bit
        return bytes(changed)

    return flipped


@pytest.mark.parametrize("position", [0, 1, 15, 16, 2047, 4095])
def test_a_flipped_bit_in_the_body_is_refused(
    strict: Client, bucket: str, change: Callable[..., None], position: int
) -> None:
    strict.put(bucket=bucket, key="o", data=CONTENT)
    change(flip(position, position % 8))
    with pytest.raises(AuthenticationError, match=f"s3://{bucket}/o"):
        strict.get(bucket=bucket, key="o")


@pytest.mark.parametrize("position", range(-16, 0))
def test_a_flipped_bit_in_the_tag_is_refused(
    strict: Client, bucket: str, change: Callable[..., None], position: int
) -> None:
    strict.put(bucket=bucket, key="o", data=CONTENT)
    change(flip(position, -position % 8))
    with pytest.raises(AuthenticationError):
        strict.get(bucket=bucket, key="o")


@pytest.mark.parametrize("kept", [4111, 4096, 4095, 2000, 32, 17, 16, 15, 1, 0])
def test_a_truncated_body_is_refused(strict: Client, bucket: str, change: Callable[..., None], kept: int) -> None:
    strict.put(bucket=bucket, key="o", data=CONTENT)
    change(lambda body: body[:kept])
    with pytest.raises(AuthenticationError):
        strict.get(bucket=bucket, key="o")


@pytest.mark.parametrize("added", [1, 15, 16, 64])
def test_an_extended_body_is_refused(strict: Client, bucket: str, change: Callable[..., None], added: int) -> None:
    strict.put(bucket=bucket, key="o", data=CONTENT)
    change(lambda body: body + bytes(added))
    with pytest.raises(AuthenticationError):
        strict.get(bucket=bucket, key="o")


def test_v2_objects_are_proven_as_well(
    v2_writer: Client, v2_reader: Client, bucket: str, change: Callable[..., None]
) -> None:
    v2_writer.put(bucket=bucket, key="o", data=CONTENT)
    assert v2_reader.get(bucket=bucket, key="o") == CONTENT
    for damage in (flip(0), flip(-1), lambda body: body[:-1]):
        v2_writer.put(bucket=bucket, key="o", data=CONTENT)
        change(damage)
        with pytest.raises(AuthenticationError):
            v2_reader.get(bucket=bucket, key="o")


def test_a_commitment_that_does_not_fit_is_refused_before_the_body_is_opened(
    strict: Client, bucket: str, change: Callable[..., None]
) -> None:
    strict.put(bucket=bucket, key="o", data=CONTENT)
    change(d=base64.b64encode(secrets.token_bytes(28)).decode())
    with pytest.raises(AuthenticationError) as of_commitment:
        strict.get(bucket=bucket, key="o")
    strict.put(bucket=bucket, key="o", data=CONTENT)
    change(flip(0))
    with pytest.raises(AuthenticationError) as of_tag:
        strict.get(bucket=bucket, key="o")
    assert str(of_commitment.value) == str(of_tag.value), "the cause must not be told"


def test_a_changed_message_id_is_refused(strict: Client, bucket: str, change: Callable[..., None]) -> None:
    strict.put(bucket=bucket, key="o", data=CONTENT)
    change(i=base64.b64encode(secrets.token_bytes(28)).decode())
    with pytest.raises(AuthenticationError):
        strict.get(bucket=bucket, key="o")


def test_a_changed_iv_of_v2_is_refused(
    v2_writer: Client, v2_reader: Client, bucket: str, change: Callable[..., None]
) -> None:
    v2_writer.put(bucket=bucket, key="o", data=CONTENT)
    change(iv=base64.b64encode(secrets.token_bytes(12)).decode())
    with pytest.raises(AuthenticationError):
        v2_reader.get(bucket=bucket, key="o")


def test_every_changed_character_of_the_metadata_is_refused(
    strict: Client, raw_s3: Any, bucket: str, change: Callable[..., None]
) -> None:
    strict.put(bucket=bucket, key="o", data=b"", encryption_context={"team": "weather"})
    original = raw_s3.head_object(Bucket=bucket, Key="o")["Metadata"]
    assert strict.get(bucket=bucket, key="o", encryption_context={"team": "weather"}) == b""
    for name, value in original.items():
        for position in range(0, len(value), 7):
            for other in "A9":
                if value[position] == other:
                    continue
                changed = value[:position] + other + value[position + 1 :]
                change(**{name.removeprefix("x-amz-").replace("-", "_"): changed})
                with pytest.raises((SecurityError, KmsKeyMismatchError)):
                    strict.get(bucket=bucket, key="o", encryption_context={"team": "weather"})
        change(**{name.removeprefix("x-amz-").replace("-", "_"): value})


@pytest.mark.parametrize("name", ["c", "3", "w", "d", "i"])
def test_missing_metadata_is_refused_before_kms_is_asked(
    strict: Client, kms: StrictKms, bucket: str, change: Callable[..., None], name: str
) -> None:
    strict.put(bucket=bucket, key="o", data=CONTENT)
    asked = len(kms.calls)
    change(**{name: None})
    with pytest.raises(MetadataError):
        strict.get(bucket=bucket, key="o")
    assert len(kms.calls) == asked


def test_a_plain_object_in_place_of_an_encrypted_one_is_refused(strict: Client, raw_s3: Any, bucket: str) -> None:
    raw_s3.put_object(Bucket=bucket, Key="o", Body=CONTENT)
    with pytest.raises(NotEncryptedError, match="allow_plaintext=True"):
        strict.get(bucket=bucket, key="o")


def test_v2_under_the_default_policy_is_refused_before_kms_is_asked(
    strict: Client, v2_writer: Client, kms: StrictKms, bucket: str
) -> None:
    v2_writer.put(bucket=bucket, key="o", data=CONTENT)
    asked = len(kms.calls)
    with pytest.raises(CommitmentPolicyError, match="REQUIRE_ENCRYPT_ALLOW_DECRYPT"):
        strict.get(bucket=bucket, key="o")
    assert len(kms.calls) == asked


def test_v3_headers_on_a_v2_object_do_not_pass_the_policy(
    strict: Client, v2_writer: Client, bucket: str, change: Callable[..., None]
) -> None:
    v2_writer.put(bucket=bucket, key="o", data=CONTENT)
    change(c="115", w="12")
    with pytest.raises(MetadataError):
        strict.get(bucket=bucket, key="o")


def test_another_context_is_refused_before_kms_is_asked(strict: Client, kms: StrictKms, bucket: str) -> None:
    strict.put(bucket=bucket, key="o", data=CONTENT, encryption=CSE(encryption_context={"team": "weather"}))
    asked = len(kms.calls)
    for context in (None, {}, {"team": "sea"}):
        with pytest.raises(EncryptionContextError):
            strict.get(bucket=bucket, key="o", encryption_context=context)
    assert len(kms.calls) == asked
    assert strict.get(bucket=bucket, key="o", encryption_context=arrowseal.ANY) == CONTENT


def test_a_stored_context_that_was_edited_is_refused_by_kms(
    strict: Client, bucket: str, change: Callable[..., None]
) -> None:
    strict.put(bucket=bucket, key="o", data=CONTENT, encryption_context={"team": "weather"})
    change(t='{"team":"sea","aws:x-amz-cek-alg":"115"}')
    with pytest.raises(KmsKeyMismatchError):
        strict.get(bucket=bucket, key="o", encryption_context={"team": "sea"})


def test_a_data_key_wrapped_under_the_attackers_kms_key_is_refused(
    strict: Client, kms: StrictKms, raw_s3: Any, bucket: str
) -> None:
    rogue = Client(kms.create_key(), s3=raw_s3, kms=kms)  # type: ignore[arg-type]
    rogue.put(bucket=bucket, key="o", data=b"planted")
    with pytest.raises(KmsKeyMismatchError):
        strict.get(bucket=bucket, key="o")
    assert {arguments["KeyId"] for action, arguments in kms.calls if action == "Decrypt"} == {strict.options.kms_key_id}


def salamander(first: bytes, second: bytes, iv: bytes) -> bytes:
    """One AES-GCM message of three blocks that opens under two keys: its last block solves for one tag under both."""
    one, two = AESGCM(first), AESGCM(second)

    def times(x: int, y: int) -> int:
        z = 0
        for bit in range(127, -1, -1):
            z ^= y if (x >> bit) & 1 else 0
            y = (y >> 1) ^ (0xE1 << 120 if y & 1 else 0)
        return z

    def power(x: int, exponent: int) -> int:
        result = 1 << 127
        while exponent:
            result = times(result, x) if exponent & 1 else result
            x, exponent = times(x, x), exponent >> 1
        return result

    def parts(key: bytes) -> tuple[int, int]:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        encrypt = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update
        return int.from_bytes(encrypt(bytes(16))), int.from_bytes(encrypt(iv + b"\0\0\0\1"))

    (h1, mask1), (h2, mask2) = parts(first), parts(second)
    block = int.from_bytes(os.urandom(16))
    lengths = 2 * 128  # bits of two ciphertext blocks, no associated data
    known = times(block, power(h1, 3) ^ power(h2, 3)) ^ times(lengths, h1 ^ h2) ^ mask1 ^ mask2
    solved = times(known, power(power(h1, 2) ^ power(h2, 2), 2**128 - 2))
    body = block.to_bytes(16) + solved.to_bytes(16)
    tag = times(block, power(h1, 3)) ^ times(solved, power(h1, 2)) ^ times(lengths, h1) ^ mask1
    sealed = body + tag.to_bytes(16)
    one.decrypt(iv, sealed, None)
    two.decrypt(iv, sealed, None)
    return sealed


def test_one_body_under_two_data_keys_opens_to_nothing_under_the_default_policy(
    strict: Client, v2_reader: Client, kms: StrictKms, raw_s3: Any, bucket: str
) -> None:
    keys, iv = [os.urandom(32), os.urandom(32)], os.urandom(12)
    body = salamander(*keys, iv)
    context = {"aws:x-amz-cek-alg": "AES/GCM/NoPadding"}
    seen = set()
    for data_key in keys:
        wrapped = kms.wrap(str(strict.options.kms_key_id), data_key, context)
        metadata = {
            "x-amz-key-v2": base64.b64encode(wrapped).decode(),
            "x-amz-iv": base64.b64encode(iv).decode(),
            "x-amz-cek-alg": "AES/GCM/NoPadding",
            "x-amz-wrap-alg": "kms+context",
            "x-amz-matdesc": '{"aws:x-amz-cek-alg":"AES/GCM/NoPadding"}',
            "x-amz-tag-len": "128",
        }
        raw_s3.put_object(Bucket=bucket, Key="o", Body=body, Metadata=metadata)
        with pytest.raises(CommitmentPolicyError):
            strict.get(bucket=bucket, key="o")
        seen.add(bytes(v2_reader.get(bucket=bucket, key="o")))
    assert len(seen) == 2, "format V2 cannot tell: this is why the default policy refuses it"


def test_a_v3_object_with_another_data_key_is_refused_by_its_commitment(
    strict: Client, kms: StrictKms, bucket: str, change: Callable[..., None]
) -> None:
    strict.put(bucket=bucket, key="o", data=CONTENT)
    rogue = kms.wrap(str(strict.options.kms_key_id), os.urandom(32), {"aws:x-amz-cek-alg": "115"})
    change(**{"3": base64.b64encode(rogue).decode()})
    with pytest.raises(AuthenticationError):
        strict.get(bucket=bucket, key="o")


def test_objects_of_old_formats_are_refused_by_name(strict: Client, raw_s3: Any, bucket: str) -> None:
    key = base64.b64encode(bytes(48)).decode()
    v1 = {"x-amz-key": key, "x-amz-iv": base64.b64encode(bytes(16)).decode(), "x-amz-matdesc": "{}"}
    raw_s3.put_object(Bucket=bucket, Key="o", Body=bytes(16), Metadata=v1)
    with pytest.raises(UnsupportedFormatError, match="V1"):
        strict.get(bucket=bucket, key="o")


def test_an_object_with_an_instruction_file_is_not_taken_for_a_plain_one(
    strict: Client, raw_s3: Any, bucket: str
) -> None:
    raw_s3.put_object(Bucket=bucket, Key="o", Body=bytes(32))
    raw_s3.put_object(Bucket=bucket, Key="o.instruction", Body=b"{}")
    assert strict.is_encrypted(bucket=bucket, key="o")
    with pytest.raises(UnsupportedFormatError, match="instruction file"):
        strict.get(bucket=bucket, key="o")


def test_an_object_beyond_the_size_limit_is_refused_before_kms_is_asked(
    kms: StrictKms, raw_s3: Any, strict: Client, bucket: str
) -> None:
    strict.put(bucket=bucket, key="o", data=CONTENT)
    limited = Client(
        strict.options.kms_key_id,
        s3=raw_s3,
        kms=kms,  # type: ignore[arg-type]
        max_plaintext_bytes=len(CONTENT) - 1,
    )
    asked = len(kms.calls)
    with pytest.raises(SizeLimitError, match="max_plaintext_bytes"):
        limited.get(bucket=bucket, key="o")
    assert len(kms.calls) == asked


def test_no_header_of_a_write_is_a_function_of_the_plaintext(
    local_servers: LocalServers, kms: StrictKms, bucket: str
) -> None:
    import hashlib
    import zlib

    sent: list[Any] = []
    s3 = local_servers.s3_client()
    s3.meta.events.register("before-send.s3.PutObject", lambda request, **_: sent.append(dict(request.headers)))
    spied = Client(kms.create_key(), s3=s3, kms=kms)  # type: ignore[arg-type]
    spied.put(bucket=bucket, key="o", data=CONTENT)
    digests = [hashlib.new(name, CONTENT).digest() for name in ("md5", "sha1", "sha256", "sha512")]
    digests.append(zlib.crc32(CONTENT).to_bytes(4))
    text = repr(sent)
    assert "x-amz-meta-x-amz-3" in text
    for digest in digests:
        assert digest.hex() not in text
        assert base64.b64encode(digest).decode() not in text
