"""Every gate of a decrypt, one test each: what is refused on metadata alone, and which switch the error names."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from arrowseal import ANY, CommitmentPolicy
from arrowseal.envelope import ReadRules, admit, cbc_failure
from arrowseal.exceptions import (
    AuthenticationError,
    CommitmentPolicyError,
    EncryptionContextError,
    MetadataError,
    NotEncryptedError,
    SizeLimitError,
    UnsupportedFormatError,
)
from arrowseal.legacy import LEGACY_WRAPS, LegacyWord, check_legacy
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


V1_AES = {"x-amz-key": b64(48), "x-amz-iv": b64(16), "x-amz-matdesc": "{}"}
V1_RSA = V1_AES | {"x-amz-key": b64(256)}
KMS = v2(wrap_alg="kms", matdesc='{"kms_cmk_id":"a"}')
CBC = v2(
    cek_alg="AES/CBC/PKCS5Padding", iv=b64(16), tag_len=None, matdesc='{"aws:x-amz-cek-alg":"AES/CBC/PKCS5Padding"}'
)
KMS_CBC = v2(cek_alg="AES/CBC/PKCS7Padding", iv=b64(16), tag_len=None, wrap_alg="kms", matdesc="{}")
AES_WRAP = v2(wrap_alg="AESWrap", key_v2=b64(40))
OAEP_256 = v2(wrap_alg="RSA/ECB/OAEPWithSHA-256AndMGF1Padding")
ALL_WRAPS = frozenset({"kms+context", "AES/GCM", "RSA-OAEP-SHA1"}) | LEGACY_WRAPS
LEGACY = [
    (V1_AES, {"content", "wrapping"}),
    (V1_RSA, {"content", "wrapping"}),
    (KMS_CBC, {"content", "wrapping"}),
    (CBC, {"content"}),
    (KMS, {"wrapping"}),
    (AES_WRAP, {"wrapping"}),
    (OAEP_256, {"wrapping"}),
]


@pytest.mark.parametrize(("metadata", "words"), LEGACY)
def test_legacy_is_admitted_by_exactly_its_words_and_the_policy_and_refused_by_their_names(
    metadata: dict[str, str], words: set[str]
) -> None:
    switch = "legacy=True" if len(words) > 1 else f"legacy={next(iter(words))!r}"
    for given in (set(), {"content"}, {"wrapping"}, {"content", "wrapping"}):
        rules = replace(ALLOWING, legacy=frozenset(given), wraps=ALL_WRAPS, allow_plaintext=True)
        strict = replace(rules, commitment_policy=STRICT.commitment_policy)
        if words <= given:
            assert admit(HERE, metadata, 64, rules) is not None
            with pytest.raises(CommitmentPolicyError, match="REQUIRE_ENCRYPT_ALLOW_DECRYPT"):
                admit(HERE, metadata, 64, strict)
        else:
            with pytest.raises(UnsupportedFormatError, match=switch) as one:
                admit(HERE, metadata, 64, rules)
            assert "commitment_policy" not in str(one.value)
            with pytest.raises(UnsupportedFormatError, match=f"{switch} and commitment_policy=.*ALLOW_DECRYPT"):
                admit(HERE, metadata, 64, strict)


@pytest.mark.parametrize("legacy", [frozenset(), check_legacy(True)])
def test_raw_wraps_that_are_written_today_are_not_legacy(legacy: frozenset[LegacyWord]) -> None:
    rules = replace(ALLOWING, legacy=legacy, wraps=ALL_WRAPS)
    for metadata in (v3(w="22"), v3(w="02", **{"3": b64(60)}), v2(wrap_alg="AES/GCM", key_v2=b64(60))):
        assert admit(HERE, metadata, 64, rules) is not None


@pytest.mark.parametrize("algorithm", ["AES/GCM/NoPadding", "AES/CBC/PKCS5Padding", "115", ""])
def test_a_kms_wrap_with_the_context_of_another_wrap_is_refused_whatever_is_allowed(algorithm: str) -> None:
    context = json.dumps({"aws:x-amz-cek-alg": algorithm})
    rules = replace(ALLOWING, legacy=check_legacy(True), wraps=ALL_WRAPS, encryption_context=ANY)
    for metadata in (KMS, KMS_CBC):
        with pytest.raises(MetadataError, match="said to be wrapped by 'kms'"):
            admit(HERE, metadata | {"x-amz-matdesc": context}, 64, rules)


def test_the_context_of_a_legacy_wrap_is_compared_as_any_other() -> None:
    rules = replace(ALLOWING, legacy=check_legacy(True), wraps=ALL_WRAPS)
    named = KMS | {"x-amz-matdesc": '{"kms_cmk_id":"a","team":"weather"}'}
    assert admit(HERE, named, 64, replace(rules, encryption_context={"team": "weather"})) is not None
    for metadata in (KMS, V1_AES, AES_WRAP, OAEP_256):
        with pytest.raises(EncryptionContextError):
            admit(HERE, metadata, 64, replace(rules, encryption_context={"team": "weather"}))
    with pytest.raises(EncryptionContextError):
        admit(HERE, named, 64, rules)


@pytest.mark.parametrize(
    "metadata",
    [{"x-amz-c": "115", "x-amz-d": b64(28), "x-amz-i": b64(28)}, {"x-amz-unencrypted-content-length": "5"}],
)
def test_what_lies_in_an_instruction_file_is_refused_by_the_name_of_the_switch(metadata: dict[str, str]) -> None:
    for rules in (STRICT, replace(ALLOWING, allow_plaintext=True, encryption_context=ANY)):
        with pytest.raises(UnsupportedFormatError, match="instruction_files=True"):
            admit(HERE, metadata, 64, rules)


@pytest.mark.parametrize(
    ("metadata", "switch"),
    [(v3(), "kms_key_id="), (v3(w="22"), "RawRsaKeyring"), (v3(w="02", **{"3": b64(60)}), "RawAesKeyring")],
)
def test_a_wrapping_algorithm_that_the_keyrings_do_not_unwrap_is_refused(metadata: dict[str, str], switch: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=f"keyrings at hand unwrap none.*{switch}"):
        admit(HERE, metadata, 16, replace(STRICT, wraps=frozenset({"none"})))


@pytest.mark.parametrize("stored_bytes", [0, 1, 15, 17, 31, 33])
def test_a_body_that_is_no_whole_number_of_blocks_is_the_same_failure_as_every_other_of_cbc(stored_bytes: int) -> None:
    rules = replace(ALLOWING, legacy=check_legacy(True), wraps=ALL_WRAPS)
    with pytest.raises(AuthenticationError) as caught:
        admit(HERE, V1_AES, stored_bytes, rules)
    assert (type(caught.value), caught.value.args) == (AuthenticationError, cbc_failure(HERE).args)


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
