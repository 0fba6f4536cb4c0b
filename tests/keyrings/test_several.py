"""Several keyrings in a row: which one writes, which one reads, and what ends the search."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from keyring_kinds import kms_of, rsa_pem
from vault import Vault, VaultKeyring

from arrowseal import V3, Client, Discovery, RawAesKeyring, RawRsaKeyring
from arrowseal.counters import Operation
from arrowseal.exceptions import (
    KeyMismatchError,
    KmsKeyMismatchError,
    KmsKeyStateError,
    KmsUnavailableError,
    NoKeyError,
    UnsupportedFormatError,
)
from arrowseal.kms_keyring import KmsKeyring
from arrowseal.location import ObjectLocation
from arrowseal.metadata import EncryptedMetadata
from arrowseal.several_keyrings import SeveralKeyrings, several
from doubles import StrictKms, s3_in_memory
from memory_s3 import MemoryS3

HERE = ObjectLocation("lake", "o")


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Any:
    from arrowseal import retries

    monkeypatch.setattr(retries.time, "sleep", lambda _: None)
    return StrictKms()


def operation() -> Operation:
    return Operation("get", HERE)


def written(keyring: Any) -> EncryptedMetadata:
    made = keyring.generate(V3, {}, HERE, operation())
    context, described = made.encryption_context, made.material_description
    wrapped = made.encrypted_data_key
    return EncryptedMetadata(
        "V3", "115", made.wrap, wrapped, bytes(28), bytes(28), context, material_description=described
    )


def test_one_keyring_is_itself_and_several_know_all_their_wraps(kms: Any) -> None:
    raw, rsa = RawAesKeyring(os.urandom(32)), RawRsaKeyring(rsa_pem())
    assert several([raw]) is raw
    both = several([raw, rsa, KmsKeyring(kms_of(kms), "alias/a")])
    assert both.wraps >= {"AES/GCM", "RSA-OAEP-SHA1", "kms+context", "AESWrap"}
    assert "SeveralKeyrings" in repr(both)


def test_the_next_one_is_asked_where_the_data_key_is_not_under_the_first(kms: Any) -> None:
    rings = [RawAesKeyring(os.urandom(32)) for _ in range(3)] + [KmsKeyring(kms_of(kms), kms.create_key())]
    everyone = SeveralKeyrings([*rings, RawRsaKeyring(rsa_pem())])
    for ring in rings:
        assert everyone.unwrap(written(ring), HERE, operation())


def test_keyrings_of_another_wrap_are_not_asked(kms: Any) -> None:
    """A data key that RSA wrapped is none for an AES key, whatever its length."""
    vault = Vault(one=os.urandom(32))
    everyone = SeveralKeyrings([KmsKeyring(kms_of(kms), kms.create_key()), VaultKeyring(vault, {"lake": "one"})])
    with pytest.raises(NoKeyError, match="AES/GCM"):
        everyone.unwrap(written(RawAesKeyring(os.urandom(32))), HERE, operation())
    assert (kms.calls, vault.calls) == ([], 0)
    client = Client(keyring=RawAesKeyring(os.urandom(32)), s3=s3_in_memory(server := MemoryS3()))
    Client(keyring=RawRsaKeyring(rsa_pem()), s3=s3_in_memory(server)).put("s3://lake/o", b"x")
    with pytest.raises(UnsupportedFormatError, match="RSA-OAEP-SHA1"):
        client.get("s3://lake/o")


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ("DisabledException", KmsKeyStateError),
        ("KMSInvalidStateException", KmsKeyStateError),
        ("KMSInternalException", KmsUnavailableError),
    ],
)
def test_a_key_that_cannot_be_had_at_the_moment_is_no_reason_for_another_one(
    kms: Any, failure: str, error: type[Exception]
) -> None:
    server = MemoryS3()
    raw = RawAesKeyring(os.urandom(32))
    client = Client(kms.create_key(), keyring=raw, kms=kms, s3=s3_in_memory(server))
    kms.failures += [failure] * 50
    with pytest.raises(error):
        client.put("s3://lake/o", b"x")
    assert server.objects == {}, "not under the next key either"


@pytest.mark.parametrize("gone", ["disabled", "pending deletion", "deleted", "alias"])
@pytest.mark.parametrize("told", ["decrypt_key_ids", "keyring", "discovery"])
def test_an_old_key_that_is_disabled_or_deleted_leaves_the_others_to_read_with(kms: Any, gone: str, told: str) -> None:
    server = MemoryS3()
    old, new, raw = kms.create_key(), kms.create_key(), RawAesKeyring(os.urandom(32))
    s3 = s3_in_memory(server)
    Client(old, kms=kms, s3=s3).put("s3://lake/old", b"old")
    Client(new, kms=kms, s3=s3).put("s3://lake/new", b"new")
    Client(keyring=raw, s3=s3).put("s3://lake/raw", b"raw")
    if gone == "disabled":
        kms.engine.find(old).state = "Disabled"
    elif gone == "pending deletion":
        kms.engine.find(old).state = "PendingDeletion"
    first = {"deleted": f"{old}00", "alias": "alias/gone"}.get(gone, old)
    more: dict[str, Any] = {
        "decrypt_key_ids": {"decrypt_key_ids": [new]},
        "keyring": {"decrypt_key_ids": [new], "keyring": raw},
        "discovery": {"discovery": Discovery(["111122223333"])},
    }[told]
    client = Client(first, kms=kms, s3=s3, cache=None, **more)
    assert client.get("s3://lake/new") == b"new"
    if told == "keyring":
        assert client.get("s3://lake/raw") == b"raw"
    if first != old:
        return
    with pytest.raises(KmsKeyStateError, match=re.escape(old)):
        client.get("s3://lake/old")


def test_when_none_fits_the_error_says_how_many_were_asked(kms: Any) -> None:
    rings = [RawAesKeyring(os.urandom(32)) for _ in range(3)]
    with pytest.raises(KeyMismatchError, match="2 more keyrings"):
        SeveralKeyrings(rings).unwrap(written(RawAesKeyring(os.urandom(32))), HERE, operation())
    with pytest.raises(KeyMismatchError) as alone:
        SeveralKeyrings([rings[0], RawRsaKeyring(rsa_pem())]).unwrap(
            written(RawAesKeyring(os.urandom(32))), HERE, operation()
        )
    assert "more keyrings" not in str(alone.value)
    kms_rings = [KmsKeyring(kms_of(kms), kms.create_key()) for _ in range(2)]
    with pytest.raises(KmsKeyMismatchError, match="1 more keyring"):
        SeveralKeyrings(kms_rings).unwrap(written(KmsKeyring(kms_of(kms), kms.create_key())), HERE, operation())


def test_without_any_key_the_first_says_what_is_missing(kms: Any) -> None:
    both = SeveralKeyrings([KmsKeyring(kms_of(kms), None), VaultKeyring(Vault(), {})])
    for check in (both.check_write, both.check_read):
        with pytest.raises(NoKeyError, match="kms_key_id="):
            check(HERE)
    with pytest.raises(NoKeyError):
        both.generate(V3, {}, HERE, operation())
    assert kms.calls == []


def test_data_keys_are_shared_within_a_keyring_and_not_across() -> None:
    """`check_write` tells them apart: a place that the first keyring has no key for is the second one's."""
    server = MemoryS3()
    vault = Vault(one=os.urandom(32), two=os.urandom(32))
    rings = [
        VaultKeyring(vault, {"lake": "one", "pond": "two"}),
        VaultKeyring(Vault(one=os.urandom(32)), {"river": "one"}),  # a name that another vault has as well
        RawAesKeyring(os.urandom(32)),
    ]
    client = Client(keyring=rings, s3=s3_in_memory(server))
    buckets = ["lake", "pond", "river", "sea"]
    with client.data_key_reuse():
        for bucket in buckets * 3:
            client.put(f"s3://{bucket}/{os.urandom(4).hex()}", b"x")
    wrapped = {
        bucket: {stored.headers["x-amz-meta-x-amz-3"] for path, stored in server.objects.items() if bucket in path}
        for bucket in buckets
    }
    assert [len(keys) for keys in wrapped.values()] == [1, 1, 1, 1]
    assert len(set().union(*wrapped.values())) == 4
    assert vault.calls == 2
