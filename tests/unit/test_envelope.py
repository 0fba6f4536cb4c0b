"""Every gate of a decrypt, one test each: what is refused on metadata alone, and which switch the error names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arrowseal import ANY, CommitmentPolicy
from arrowseal.envelope import ReadRules, admit
from arrowseal.exceptions import (
    AuthenticationError,
    CommitmentPolicyError,
    EncryptionContextError,
    MetadataError,
    NotEncryptedError,
    SizeLimitError,
    UnsupportedFormatError,
)
from arrowseal.location import ObjectLocation
from arrowseal.suites import MAX_CONTENT_BYTES
from specimens import b64, v2, v3

HERE = ObjectLocation("lake", "flights.parquet")
STRICT = ReadRules(
    commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT,
    allow_plaintext=False,
    encryption_context={},
    max_plaintext_bytes=MAX_CONTENT_BYTES,
    wraps=frozenset({"kms+context"}),
)
ALLOWING = replace(STRICT, commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT)


def test_a_v3_object_under_the_expected_context_is_admitted() -> None:
    admitted = admit(HERE, v3(), 16, STRICT)
    assert admitted is not None
    assert admitted.format == "V3"


def test_a_plain_object_is_refused_unless_plaintext_is_allowed() -> None:
    with pytest.raises(NotEncryptedError, match="allow_plaintext=True"):
        admit(HERE, {"team": "weather"}, 5, STRICT)
    assert admit(HERE, {}, 5, replace(STRICT, allow_plaintext=True)) is None


def test_allowing_plaintext_does_not_relax_anything_for_encrypted_objects() -> None:
    with pytest.raises(CommitmentPolicyError):
        admit(HERE, v2(), 16, replace(STRICT, allow_plaintext=True))


def test_v2_is_refused_by_the_commitment_policy_which_the_error_names() -> None:
    with pytest.raises(CommitmentPolicyError, match="REQUIRE_ENCRYPT_ALLOW_DECRYPT"):
        admit(HERE, v2(), 16, STRICT)
    for policy in CommitmentPolicy:
        if policy is not CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT:
            assert admit(HERE, v2(), 16, replace(STRICT, commitment_policy=policy)) is not None


@pytest.mark.parametrize(
    ("metadata", "word"),
    [
        ({"x-amz-key": b64(48), "x-amz-iv": b64(16), "x-amz-matdesc": "{}"}, "V1"),
        (v2(cek_alg="AES/CBC/PKCS5Padding", iv=b64(16), wrap_alg="kms", tag_len=None), "CBC"),
        (v2(wrap_alg="kms"), "kms"),
        (v2(wrap_alg="AESWrap"), "AESWrap"),
        (v2(wrap_alg="RSA/ECB/OAEPWithSHA-256AndMGF1Padding"), "OAEP"),
        (v2(wrap_alg="AES/GCM"), "raw key"),
        (v3(w="22"), "raw key"),
        ({"x-amz-c": "115", "x-amz-d": b64(28), "x-amz-i": b64(28)}, "instruction file"),
        ({"x-amz-unencrypted-content-length": "5"}, "instruction file"),
    ],
)
@pytest.mark.parametrize("rules", [ALLOWING, replace(ALLOWING, allow_plaintext=True, encryption_context=ANY)])
def test_known_formats_that_are_not_read_are_refused_by_name(
    metadata: dict[str, str], word: str, rules: ReadRules
) -> None:
    with pytest.raises(UnsupportedFormatError, match=word):
        admit(HERE, metadata, 64, rules)


def test_a_wrapping_algorithm_that_the_keyring_does_not_unwrap_is_refused() -> None:
    with pytest.raises(UnsupportedFormatError, match="keyring"):
        admit(HERE, v3(), 16, replace(STRICT, wraps=frozenset({"AES/GCM"})))


@pytest.mark.parametrize("context", ["{}", '{"aws:x-amz-cek-alg":"AES/GCM/NoPadding"}', '{"aws:x-amz-cek-alg":""}'])
def test_a_context_that_does_not_bind_the_content_algorithm_is_refused_even_when_any_context_is_accepted(
    context: str,
) -> None:
    with pytest.raises(MetadataError, match="bind"):
        admit(HERE, v3(t=context), 16, replace(STRICT, encryption_context=ANY))


STORED = '{"aws:x-amz-cek-alg":"115","team":"weather"}'


def test_the_stored_context_must_equal_the_expected_one() -> None:
    assert admit(HERE, v3(t=STORED), 16, replace(STRICT, encryption_context={"team": "weather"})) is not None
    for expected in ({}, {"team": "sea"}, {"team": "weather", "a": "b"}, {"Team": "weather"}):
        with pytest.raises(EncryptionContextError, match=r"arrowseal\.ANY"):
            admit(HERE, v3(t=STORED), 16, replace(STRICT, encryption_context=expected))
    with pytest.raises(EncryptionContextError):
        admit(HERE, v3(), 16, replace(STRICT, encryption_context={"team": "weather"}))


def test_any_accepts_every_context() -> None:
    assert admit(HERE, v3(t=STORED), 16, replace(STRICT, encryption_context=ANY)) is not None


def test_no_error_about_contexts_shows_a_value() -> None:
    with pytest.raises(EncryptionContextError) as caught:
        admit(HERE, v3(t=STORED), 16, replace(STRICT, encryption_context={"team": "confidential"}))
    assert "weather" not in str(caught.value)
    assert "confidential" not in str(caught.value)


def test_content_beyond_the_limit_of_the_client_is_refused_and_the_limit_itself_is_not() -> None:
    limited = replace(STRICT, max_plaintext_bytes=1000)
    assert admit(HERE, v3(), 1016, limited) is not None
    with pytest.raises(SizeLimitError, match="max_plaintext_bytes"):
        admit(HERE, v3(), 1017, limited)
    with pytest.raises(SizeLimitError):
        admit(HERE, {}, 1001, replace(limited, allow_plaintext=True))


def test_content_beyond_the_limit_of_the_format_is_refused_and_the_limit_itself_is_not() -> None:
    assert admit(HERE, v3(), MAX_CONTENT_BYTES + 16, STRICT) is not None
    with pytest.raises(SizeLimitError, match="format"):
        admit(HERE, v3(), MAX_CONTENT_BYTES + 17, replace(STRICT, max_plaintext_bytes=2**40))


@pytest.mark.parametrize("stored_bytes", [0, 1, 15])
def test_a_body_shorter_than_its_tag_is_refused(stored_bytes: int) -> None:
    with pytest.raises(AuthenticationError, match="truncated"):
        admit(HERE, v3(), stored_bytes, STRICT)


def test_every_refusal_names_the_object() -> None:
    for metadata in ({}, v2(), v2(wrap_alg="kms"), v3(c="116"), v3(t=STORED)):
        with pytest.raises((NotEncryptedError, CommitmentPolicyError, UnsupportedFormatError, MetadataError,
                            EncryptionContextError), match=r"s3://lake/flights\.parquet"):  # fmt: skip
            admit(HERE, metadata, 16, STRICT)
