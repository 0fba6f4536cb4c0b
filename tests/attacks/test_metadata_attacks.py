"""The bucket's writer against the metadata: nothing is opened under rules that the object chose for itself."""

from __future__ import annotations

import base64
import itertools
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

import arrowseal
from arrowseal import Client, CommitmentPolicy
from arrowseal.exceptions import (
    AuthenticationError,
    EncryptionContextError,
    KmsKeyMismatchError,
    MetadataError,
    SecurityError,
    SizeLimitError,
    UnsupportedFormatError,
)
from arrowseal.metadata import parse
from doubles import StrictKms

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT = b"plaintext of the victim " * 20
TEAM = {"team": "weather"}


class Victim:
    """One object `o`, its readers under two policies, and what an attacker makes of it."""

    def __init__(self, raw_s3: Any, bucket: str) -> None:
        self.s3, self.bucket, self.kms = raw_s3, bucket, StrictKms()
        key = self.kms.create_key()
        parts: Any = {"s3": raw_s3, "kms": self.kms}
        self.strict = Client(key, **parts)
        self.lenient = Client(key, commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT, **parts)
        self.v2_writer = Client(key, format="V2", commitment_policy="FORBID_ENCRYPT_ALLOW_DECRYPT", **parts)

    def stored(self) -> tuple[bytes, dict[str, str]]:
        found = self.s3.get_object(Bucket=self.bucket, Key="o")
        return found["Body"].read(), found["Metadata"]

    def plant(self, body: bytes, metadata: dict[str, str]) -> None:
        self.s3.put_object(Bucket=self.bucket, Key="o", Body=body, Metadata=metadata)

    def refused(self, expected: type[Exception], client: Client, **options: Any) -> None:
        """The read raises, and KMS was not asked."""
        asked = len(self.kms.calls)
        with pytest.raises(expected):
            client.get(bucket=self.bucket, key="o", **options)
        assert len(self.kms.calls) == asked


@pytest.fixture
def victim(raw_s3: Any, bucket: str) -> Victim:
    return Victim(raw_s3, bucket)


ALGORITHMS = ["AES/GCM/NoPadding", "AES/CBC/PKCS5Padding", "AES/CBC/PKCS7Padding", "AES/CTR/NoPadding", "115", "0x0072"]


@pytest.mark.parametrize("algorithm", ALGORITHMS[1:])
def test_another_content_algorithm_in_the_metadata_is_refused(victim: Victim, algorithm: str) -> None:
    victim.v2_writer.put(bucket=victim.bucket, key="o", data=CONTENT)
    body, metadata = victim.stored()
    for bound in ALGORITHMS:
        matdesc = json.dumps({"aws:x-amz-cek-alg": bound})
        victim.plant(body, metadata | {"x-amz-cek-alg": algorithm, "x-amz-matdesc": matdesc})
        for client in (victim.strict, victim.lenient):
            victim.refused(SecurityError, client)


@pytest.mark.parametrize("algorithm", ["0115", "114", "113", "115 ", "\u0661\u0661\u0665", "AES/GCM/NoPadding", ""])
def test_another_spelling_of_the_content_algorithm_of_v3_is_refused(victim: Victim, algorithm: str) -> None:
    victim.strict.put(bucket=victim.bucket, key="o", data=CONTENT)
    body, metadata = victim.stored()
    with pytest.raises(MetadataError):
        parse(metadata | {"x-amz-c": algorithm})
    if algorithm.isascii() and algorithm == algorithm.strip():  # what HTTP carries as it is
        victim.plant(body, metadata | {"x-amz-c": algorithm})
        victim.refused(MetadataError, victim.strict)


@pytest.mark.parametrize("wrap", ["kms", "AESWrap", "AES/GCM", "RSA-OAEP-SHA1", "kms+Context", "12", ""])
def test_a_wrapping_algorithm_that_compares_no_context_is_refused(victim: Victim, wrap: str) -> None:
    victim.v2_writer.put(bucket=victim.bucket, key="o", data=CONTENT, encryption_context=TEAM)
    body, metadata = victim.stored()
    victim.plant(body, metadata | {"x-amz-wrap-alg": wrap})
    for options in ({"encryption_context": TEAM}, {"encryption_context": arrowseal.ANY}, {}):
        victim.refused((UnsupportedFormatError, MetadataError), victim.lenient, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrap", ["02", "22", "kms", "kms+context", "012", "1", ""])
def test_another_wrapping_code_in_v3_is_refused(victim: Victim, wrap: str) -> None:
    victim.strict.put(bucket=victim.bucket, key="o", data=CONTENT, encryption_context=TEAM)
    body, metadata = victim.stored()
    victim.plant(body, metadata | {"x-amz-w": wrap, "x-amz-m": metadata["x-amz-t"]})
    victim.refused((UnsupportedFormatError, MetadataError), victim.strict, encryption_context=TEAM)  # type: ignore[arg-type]


@pytest.mark.parametrize("length", ["96", "32", "0", "-128", "0128", "129", "128.0", "one", "16"])
def test_a_shorter_tag_is_never_agreed_to(victim: Victim, length: str) -> None:
    victim.v2_writer.put(bucket=victim.bucket, key="o", data=CONTENT)
    body, metadata = victim.stored()
    victim.plant(body, metadata | {"x-amz-tag-len": length})
    victim.refused(MetadataError, victim.lenient)


def test_a_context_moved_between_objects_is_refused(victim: Victim) -> None:
    victim.strict.put(bucket=victim.bucket, key="o", data=b"of the sea", encryption_context={"team": "sea"})
    sea = victim.stored()
    victim.strict.put(bucket=victim.bucket, key="o", data=CONTENT, encryption_context=TEAM)
    body, metadata = victim.stored()
    victim.plant(*sea)
    victim.refused(EncryptionContextError, victim.strict, encryption_context=TEAM)
    victim.plant(sea[0], sea[1] | {"x-amz-t": metadata["x-amz-t"]})
    with pytest.raises(KmsKeyMismatchError):
        victim.strict.get(bucket=victim.bucket, key="o", encryption_context=TEAM)
    for name in ("x-amz-3", "x-amz-i", "x-amz-d"):
        victim.plant(body, metadata | {name: sea[1][name]})
        with pytest.raises((KmsKeyMismatchError, AuthenticationError)):
            victim.strict.get(bucket=victim.bucket, key="o", encryption_context=TEAM)


@pytest.mark.parametrize(
    "context",
    [
        '{"team":"weather","team":"weather","aws:x-amz-cek-alg":"115"}',
        '{"team":["weather"],"aws:x-amz-cek-alg":"115"}',
        '{"team":1,"aws:x-amz-cek-alg":"115"}',
        '{"team":null,"aws:x-amz-cek-alg":"115"}',
        '[["team","weather"]]',
        '"team"',
        "{",
        "[" * 1500,
        '{"team":"weather"}',
        '{"team":"weather","aws:x-amz-cek-alg":"115","aws:x-amz-cek-alg":"115"}',
        "=?UTF-8?B?e30=?= trailing",
        "=?UTF-8?X?e30=?=",
    ],
)
def test_a_context_that_is_no_flat_object_of_strings_is_refused(victim: Victim, context: str) -> None:
    victim.strict.put(bucket=victim.bucket, key="o", data=CONTENT, encryption_context=TEAM)
    body, metadata = victim.stored()
    victim.plant(body, metadata | {"x-amz-t": context})
    victim.refused(SecurityError, victim.strict, encryption_context=TEAM)
    victim.refused(SecurityError, victim.strict, encryption_context=arrowseal.ANY)


def lax(value: str) -> list[str]:
    """Spellings of base64 that lenient decoders take for the same bytes."""
    raw = base64.b64decode(value)
    spellings = [value + "=", value[:10] + " " + value[10:], value + "!", "=" + value, value[:-1]]
    if value.endswith("="):
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        stripped = value.rstrip("=")
        stray = alphabet[alphabet.index(stripped[-1]) ^ 1]  # the last bit is padding and ignored by lenient decoders
        spellings += [stripped, stripped[:-1] + stray + "=" * (len(value) - len(stripped))]
    if (url := base64.urlsafe_b64encode(raw).decode()) != value:
        spellings.append(url)
    return spellings


@pytest.mark.parametrize("name", ["x-amz-3", "x-amz-d", "x-amz-i"])
def test_a_lax_spelling_of_base64_is_refused(victim: Victim, name: str) -> None:
    victim.strict.put(bucket=victim.bucket, key="o", data=CONTENT)
    body, metadata = victim.stored()
    for spelling in lax(metadata[name]):
        victim.plant(body, metadata | {name: spelling})
        victim.refused(MetadataError, victim.strict)


@pytest.mark.parametrize("name", ["x-amz-d", "x-amz-i"])
@pytest.mark.parametrize("size", [0, 12, 27, 29, 32])
def test_an_identifier_or_commitment_of_another_length_is_refused(victim: Victim, name: str, size: int) -> None:
    victim.strict.put(bucket=victim.bucket, key="o", data=CONTENT)
    body, metadata = victim.stored()
    victim.plant(body, metadata | {name: base64.b64encode(os.urandom(size)).decode()})
    victim.refused(MetadataError, victim.strict)


def test_every_cut_and_many_extensions_of_a_small_object_are_refused(victim: Victim) -> None:
    victim.strict.put(bucket=victim.bucket, key="o", data=CONTENT[:48])
    body, metadata = victim.stored()
    other = os.urandom(16)
    changed = [body[:length] for length in range(len(body))]
    changed += [body + bytes(length) for length in range(1, 33)] + [body + body, body[:-16] + other, body[16:]]
    for damaged in changed:
        victim.plant(damaged, metadata)
        with pytest.raises(AuthenticationError):
            victim.strict.get(bucket=victim.bucket, key="o")


@pytest.mark.parametrize("claimed", ["0", "17179869184", "-1", "many", str(2**80)])
def test_a_claimed_plaintext_length_decides_nothing(victim: Victim, claimed: str) -> None:
    victim.v2_writer.put(bucket=victim.bucket, key="o", data=CONTENT)
    body, metadata = victim.stored()
    victim.plant(body, metadata | {"x-amz-unencrypted-content-length": claimed})
    assert victim.lenient.get(bucket=victim.bucket, key="o") == CONTENT
    assert victim.lenient.head(bucket=victim.bucket, key="o").plaintext_bytes == len(CONTENT)


def test_mixed_names_of_two_formats_are_refused(victim: Victim) -> None:
    victim.v2_writer.put(bucket=victim.bucket, key="o", data=CONTENT)
    body, v2 = victim.stored()
    victim.strict.put(bucket=victim.bucket, key="o", data=CONTENT)
    v3 = victim.stored()[1]
    extras = [name for name in v2 if name != "x-amz-unencrypted-content-length"]
    for size in (1, 2, len(extras)):
        for chosen in itertools.combinations(extras, size):
            victim.plant(body, v3 | {name: v2[name] for name in chosen})
            victim.refused(MetadataError, victim.lenient, allow_plaintext=True)


def test_a_plain_object_beyond_the_limit_is_refused_too(victim: Victim, change_limit: Callable[[int], Client]) -> None:
    victim.plant(CONTENT, {})
    victim.refused(SizeLimitError, change_limit(len(CONTENT) - 1), allow_plaintext=True)
    assert change_limit(len(CONTENT)).get(bucket=victim.bucket, key="o", allow_plaintext=True) == CONTENT


@pytest.fixture
def change_limit(victim: Victim) -> Callable[[int], Client]:
    parts: Any = {"s3": victim.s3, "kms": victim.kms}
    return lambda limit: Client(victim.strict.options.kms_key_id, max_plaintext_bytes=limit, **parts)


def go_style(metadata: dict[str, str]) -> dict[str, str]:
    """Names as HTTP libraries that canonicalise headers hand them out: `X-Amz-Key-V2`."""
    return {name.title(): value for name, value in metadata.items()}


@pytest.mark.parametrize(
    "written_by",
    [
        pytest.param(go_style, id="names in the case of headers"),
        pytest.param(
            lambda metadata: {
                name: value for name, value in metadata.items() if name != "x-amz-unencrypted-content-length"
            },
            id="without the plaintext length",
        ),
        pytest.param(
            lambda metadata: {name: value for name, value in metadata.items() if name != "x-amz-tag-len"},
            id="without the tag length",
        ),
        pytest.param(
            lambda metadata: (
                metadata | {"x-amz-matdesc": '{ "aws:x-amz-cek-alg" : "AES/GCM/NoPadding" , "team":"weather" }'}
            ),
            id="another order and spaces",
        ),
    ],
)
def test_v2_objects_of_other_writers_are_read(
    victim: Victim, written_by: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    victim.v2_writer.put(bucket=victim.bucket, key="o", data=CONTENT, encryption_context=TEAM)
    body, metadata = victim.stored()
    victim.plant(body, written_by(metadata))
    assert victim.lenient.get(bucket=victim.bucket, key="o", encryption_context=TEAM) == CONTENT


def test_v3_objects_with_an_empty_material_description_are_read(victim: Victim) -> None:
    victim.strict.put(bucket=victim.bucket, key="o", data=CONTENT, encryption_context=TEAM)
    body, metadata = victim.stored()
    for empty in ("", "{}", "null"):
        victim.plant(body, metadata | {"x-amz-m": empty})
        assert victim.strict.get(bucket=victim.bucket, key="o", encryption_context=TEAM) == CONTENT


def test_a_v2_object_without_a_description_binds_no_algorithm_and_is_refused(victim: Victim) -> None:
    victim.v2_writer.put(bucket=victim.bucket, key="o", data=CONTENT)
    body, metadata = victim.stored()
    del metadata["x-amz-matdesc"]
    victim.plant(body, metadata)
    victim.refused(MetadataError, victim.lenient)


def test_a_context_that_s3_returned_as_encoded_words_is_read_and_compared(victim: Victim) -> None:
    context = {"équipe": "météo 日本"}
    victim.v2_writer.put(bucket=victim.bucket, key="o", data=CONTENT, encryption_context=context)
    body, metadata = victim.stored()
    raw = json.dumps(json.loads(metadata["x-amz-matdesc"]), ensure_ascii=False)
    twice = base64.b64encode(raw.encode().decode("latin-1").encode()).decode()
    victim.plant(body, metadata | {"x-amz-matdesc": f"=?UTF-8?B?{twice}?="})
    assert victim.lenient.get(bucket=victim.bucket, key="o", encryption_context=context) == CONTENT
    victim.refused(EncryptionContextError, victim.lenient, encryption_context={"équipe": "sea"})
