"""The KMS keyring against a KMS that answers as AWS does: key ids, contexts, states, and one call for one key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import retries
from arrowseal.counters import Counters, Operation
from arrowseal.exceptions import (
    ExpiredCredentialsError,
    KmsAccessDeniedError,
    KmsError,
    KmsKeyMismatchError,
    KmsKeyNotFoundError,
    KmsKeyStateError,
    KmsThrottledError,
    KmsUnavailableError,
    NoKeyError,
)
from arrowseal.kms_keyring import KmsKeyring
from arrowseal.location import ObjectLocation
from arrowseal.metadata import EncryptedMetadata
from arrowseal.suites import V2, V3, Format
from doubles import ARN, StrictKms

if TYPE_CHECKING:
    from arrowseal.materials import EncryptionMaterials

HERE = ObjectLocation("lake", "flights.parquet")


def operation() -> Operation:
    return Operation("get", HERE)


def metadata_of(materials: EncryptionMaterials) -> EncryptedMetadata:
    return EncryptedMetadata(
        materials.format.value,
        materials.format.content_algorithm,
        "kms+context",
        materials.encrypted_data_key,
        bytes(28),
        bytes(28),
        materials.encryption_context,
    )


@pytest.fixture
def kms() -> StrictKms:
    return StrictKms()


def keyring(kms: StrictKms, key_id: str | None, *more: str) -> KmsKeyring:
    return KmsKeyring(lambda _: kms, key_id, more)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(("written", "algorithm"), [(V3, "115"), (V2, "AES/GCM/NoPadding")])
def test_a_data_key_is_wrapped_under_the_context_with_the_content_algorithm(
    kms: StrictKms, written: Format, algorithm: str
) -> None:
    ring = keyring(kms, kms.create_key())
    materials = ring.generate(written, {"team": "weather"}, HERE, operation())
    ring.unwrap(metadata_of(materials), HERE, operation())
    (generate, generated), (decrypt, decrypted) = kms.calls
    assert (generate, decrypt) == ("GenerateDataKey", "Decrypt")
    assert generated == {
        "KeyId": ARN + "00000000",
        "KeySpec": "AES_256",
        "EncryptionContext": {"team": "weather", "aws:x-amz-cek-alg": algorithm},
    }
    assert decrypted["KeyId"] == ARN + "00000000"
    assert decrypted["EncryptionContext"] == generated["EncryptionContext"]
    assert kms.data_keys[0] == kms.data_keys[1]


def test_an_alias_is_resolved_once_to_the_arn_of_the_answer_and_stays_there(kms: StrictKms) -> None:
    old = kms.create_key("alias/tables")
    ring = keyring(kms, "alias/tables")
    materials = ring.generate(V3, {}, HERE, operation())
    kms.point_alias("alias/tables", kms.create_key())
    ring.generate(V3, {}, HERE, operation())
    ring.unwrap(metadata_of(materials), HERE, operation())
    assert [arguments["KeyId"] for _, arguments in kms.calls] == ["alias/tables", old, old]
    assert materials.kms_key_arn == old


class ByAliasAlone(StrictKms):
    """A KMS key whose policy has a condition on `kms:RequestAlias`."""

    def _call(self, action: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if not arguments["KeyId"].startswith("alias/"):
            self.failures.append("AccessDeniedException")
        return super()._call(action, arguments)


def test_a_key_that_is_allowed_by_its_alias_alone_goes_on_being_named_so() -> None:
    kms = ByAliasAlone()
    arn = kms.create_key("alias/tables")
    ring = keyring(kms, "alias/tables")
    for _ in range(3):
        ring.unwrap(metadata_of(ring.generate(V3, {}, HERE, operation())), HERE, operation())
    assert [arguments["KeyId"] for _, arguments in kms.calls] == ["alias/tables", arn, *["alias/tables"] * 5]
    other = kms.create_key()
    kms.point_alias("alias/tables", other)
    with pytest.raises(KmsKeyMismatchError, match=other):
        ring.generate(V3, {}, HERE, operation())


def test_a_key_that_is_denied_by_its_alias_too_is_an_error_that_names_the_key(kms: StrictKms) -> None:
    arn = kms.create_key("alias/tables")
    ring = keyring(kms, "alias/tables")
    ring.generate(V3, {}, HERE, operation())
    kms.set_state(arn, "AccessDeniedException")
    for _ in range(2):
        with pytest.raises(KmsAccessDeniedError, match=arn) as denied:
            ring.generate(V3, {}, HERE, operation())
        assert denied.value.__context__ is None
    assert [arguments["KeyId"] for _, arguments in kms.calls] == ["alias/tables", *[arn, "alias/tables"] * 2]


def test_after_an_alias_moved_decrypt_key_ids_still_read_the_old_objects(kms: StrictKms) -> None:
    old = kms.create_key("alias/tables")
    materials = keyring(kms, "alias/tables").generate(V3, {}, HERE, operation())
    kms.point_alias("alias/tables", kms.create_key())
    with pytest.raises(KmsKeyMismatchError, match="decrypt_key_ids"):
        keyring(kms, "alias/tables").unwrap(metadata_of(materials), HERE, operation())
    unwrapped = keyring(kms, "alias/tables", old).unwrap(metadata_of(materials), HERE, operation())
    assert unwrapped.kms_key_arn == old


def test_when_no_key_fits_the_error_names_all_that_were_tried(kms: StrictKms) -> None:
    materials = keyring(kms, kms.create_key()).generate(V3, {}, HERE, operation())
    others = [kms.create_key(), kms.create_key()]
    with pytest.raises(KmsKeyMismatchError, match=f"{others[0]}, {others[1]}"):
        keyring(kms, *others).unwrap(metadata_of(materials), HERE, operation())


def test_without_a_key_nothing_is_requested(kms: StrictKms) -> None:
    with pytest.raises(NoKeyError, match="kms_key_id="):
        keyring(kms, None).generate(V3, {}, HERE, operation())
    with pytest.raises(NoKeyError, match="kms_key_id="):
        keyring(kms, None).check_read(HERE)
    assert kms.calls == []


@pytest.mark.parametrize(
    ("code", "error", "way_out"),
    [
        ("AccessDeniedException", KmsAccessDeniedError, "kms:Decrypt"),
        ("NotFoundException", KmsKeyNotFoundError, "no such key or alias"),
        ("DisabledException", KmsKeyStateError, "enable it"),
        ("KMSInvalidStateException", KmsKeyStateError, "pending deletion"),
        ("InvalidKeyUsageException", KmsKeyStateError, "symmetric"),
        ("IncorrectKeyException", KmsKeyMismatchError, "kms_key_id="),
        ("InvalidCiphertextException", KmsKeyMismatchError, "encryption context"),
        ("ThrottlingException", KmsThrottledError, "quota"),
        ("KMSInternalException", KmsUnavailableError, "retry later"),
        ("KeyUnavailableException", KmsUnavailableError, "retry later"),
        ("ExpiredTokenException", ExpiredCredentialsError, "renew"),
        ("SomethingNewException", KmsError, "SomethingNewException"),
    ],
)
def test_each_refusal_of_kms_is_an_error_of_its_own_that_names_object_key_and_way_out(
    kms: StrictKms, code: str, error: type[Exception], way_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries.time, "sleep", lambda _: None)
    arn = kms.create_key()
    materials = keyring(kms, arn).generate(V3, {"team": "weather"}, HERE, operation())
    kms.failures += [code] * 100
    with pytest.raises(error) as caught:
        keyring(kms, arn).unwrap(metadata_of(materials), HERE, operation())
    assert type(caught.value) is error
    for word in ("s3://lake/flights.parquet", arn, way_out):
        assert word in str(caught.value)
    assert "weather" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_access_denied_and_not_found_are_also_the_builtin_errors(kms: StrictKms) -> None:
    kms.failures += ["AccessDeniedException", "NotFoundException"]
    ring = keyring(kms, kms.create_key())
    with pytest.raises(PermissionError):
        ring.generate(V3, {}, HERE, operation())
    with pytest.raises(FileNotFoundError):
        ring.generate(V3, {}, HERE, operation())


def test_a_disabled_key_writes_and_reads_nothing(kms: StrictKms) -> None:
    arn = kms.create_key()
    materials = keyring(kms, arn).generate(V3, {}, HERE, operation())
    kms.set_state(arn, "DisabledException")
    with pytest.raises(KmsKeyStateError):
        keyring(kms, arn).generate(V3, {}, HERE, operation())
    with pytest.raises(KmsKeyStateError):
        keyring(kms, arn).unwrap(metadata_of(materials), HERE, operation())


def test_an_answer_under_another_key_than_the_one_named_is_refused(kms: StrictKms) -> None:
    named, used = kms.create_key(), kms.create_key()
    kms.point_alias(named, used)
    with pytest.raises(KmsKeyMismatchError, match="another key"):
        keyring(kms, named).generate(V3, {}, HERE, operation())


def test_a_data_key_of_another_length_is_refused_without_showing_it(kms: StrictKms) -> None:
    arn = kms.create_key()
    short = b"canary-sixteen-b"
    wrapped = kms.wrap(arn, short, {})
    metadata = EncryptedMetadata("V3", "115", "kms+context", wrapped, bytes(28), bytes(28), {})
    with pytest.raises(KmsError, match="32 bytes") as caught:
        keyring(kms, arn).unwrap(metadata, HERE, operation())
    assert "canary" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_kms_calls_and_their_time_are_counted(kms: StrictKms) -> None:
    counted = operation()
    ring = keyring(kms, kms.create_key())
    ring.unwrap(metadata_of(ring.generate(V3, {}, HERE, counted)), HERE, counted)
    assert counted.kms_calls == 2
    assert counted.kms_seconds > 0


def test_kms_calls_count_for_the_key_that_answered_and_for_the_name_given_where_none_did(kms: StrictKms) -> None:
    counters = Counters()
    arn = kms.create_key("alias/tables")
    with counters.operation("put", HERE) as counted:
        kms.failures.append("KMSInternalException")
        keyring(kms, "alias/tables").generate(V3, {}, HERE, counted)
    assert list(counters.kms_calls_by_key()) == [("GenerateDataKey", "alias/tables", 1), ("GenerateDataKey", arn, 1)]
