"""Clients with keyrings travel by reference: what is a key is in no pickle, what names one is."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from keyring_kinds import rsa_pem, rsa_public
from vault import Vault, VaultKeyring

from arrowseal import CSE, Client, Discovery, RawAesKeyring, RawRsaKeyring
from arrowseal.exceptions import ConfigurationError, KeyMismatchError
from arrowseal.fs.access import Access, same_client
from doubles import StrictKms, s3_in_memory
from memory_s3 import MemoryS3

if TYPE_CHECKING:
    from pathlib import Path

CANARY = b"canary-raw-aes-key-of-32-bytes!!"


def answered() -> bytes:
    """A function that can be imported."""
    return CANARY


def test_a_client_with_references_pickles_and_is_the_same_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(CANARY)
    rings = [
        RawAesKeyring(path, name="archive", material_description={"a": "b"}, additional=[({"a": "c"}, answered)]),
        RawAesKeyring(answered),
        RawRsaKeyring(path, public_key=path),
    ]
    client = Client(
        {"s3://lake/a": "alias/a", "s3://lake": "alias/b"},
        keyring=rings,
        grant_tokens=["token"],
        discovery=Discovery(["111122223333"], regions=["eu-west-1"]),
        decrypt_key_ids=["alias/old"],
        legacy="wrapping",
        instruction_files=True,
        kms_endpoint_url={"eu-west-1": "https://kms.example.com"},
    )
    pickled = pickle.dumps(client)
    assert CANARY not in pickled
    again = pickle.loads(pickled)
    assert again.options == client.options
    assert same_client(again, client)
    assert not same_client(again, client.replace(grant_tokens=[]))
    assert not same_client(client, client.replace(keyring=rings[:2]))
    assert same_client(pickle.loads(pickle.dumps(again)), client)


def test_what_came_back_reads_what_was_written(tmp_path: Path) -> None:
    path, server = tmp_path / "key", MemoryS3()
    path.write_bytes(CANARY)
    Client(keyring=RawAesKeyring(path), s3=s3_in_memory(server)).put("s3://lake/o", b"x")
    again = pickle.loads(pickle.dumps(Client(keyring=RawAesKeyring(path))))
    reader = Client(keyring=again.options.keyring, s3=s3_in_memory(server))
    assert bytes(reader.get("s3://lake/o")) == b"x"


@pytest.mark.parametrize(
    "make",
    [
        lambda: RawAesKeyring(CANARY),
        lambda: RawAesKeyring(answered, additional=[({"a": "b"}, CANARY)]),
        lambda: RawRsaKeyring(rsa_pem()),
        lambda: RawRsaKeyring(answered, rsa_public(rsa_pem())),
    ],
)
def test_a_client_that_was_given_the_bytes_of_a_key_does_not_pickle(make: Any) -> None:
    client = Client(keyring=make())
    for each in (client, client.options, client.options.keyring[0], Access(client)):
        with pytest.raises(TypeError, match="pathlib"):
            pickle.dumps(each)
    assert same_client(client, client)
    assert not same_client(client, Client(keyring=make()))


def test_a_function_that_cannot_be_imported_does_not_pickle_either() -> None:
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        pickle.dumps(Client(keyring=RawAesKeyring(lambda: CANARY)))


def test_no_repr_shows_a_key_a_token_or_a_context(tmp_path: Path) -> None:
    path = tmp_path / "file.key"
    client = Client(
        "alias/a",
        keyring=[RawAesKeyring(CANARY, name="archive"), RawAesKeyring(path), RawRsaKeyring(answered)],
        grant_tokens=["canary-token"],
        encryption_context={"team": "canary-context"},
    )
    shown = repr(client) + repr(client.options) + str(vars(client.options)["keyring"])
    assert "canary" not in shown
    for word in ("archive", str(path), "answered", "alias/a"):
        assert word in repr(client)
    assert "canary" not in repr([vars(ring) for ring in client.options.keyring])
    assert "canary" not in repr(Access(client, {"encryption_context": {"team": "canary-context"}}))


def test_replace_changes_what_it_is_told_and_keeps_the_rest() -> None:
    kms: Any = StrictKms()
    server = MemoryS3()
    one, two = kms.create_key(), kms.create_key()
    client = Client(one, kms=kms, s3=s3_in_memory(server), encryption_context={"team": "weather"})
    client.put("s3://lake/o", b"x")
    other = client.replace(kms_key_id=two, decrypt_key_ids=[one])
    assert other.options.encryption_context == {"team": "weather"}
    assert bytes(other.get("s3://lake/o")) == b"x"
    assert other.put("s3://lake/p", b"x").kms_key_arn == two
    assert len(client.counters) == 1, "counters of its own"
    assert client.options.kms_key_id == one
    with pytest.raises(ConfigurationError):
        client.replace(bind_location="bucket")
    with pytest.raises(TypeError):
        client.replace(no_such_option=1)


def test_a_client_with_a_map_of_keys_is_one_for_all_file_systems() -> None:
    told = {"s3://lake/a": "alias/a", "s3://lake": "alias/b"}
    one, other = Access(Client(told)), Access(Client(dict(reversed(told.items()))))
    assert one == other
    assert hash(one) == hash(other)


def test_a_key_that_is_told_by_a_function_is_asked_for_again_when_it_is_five_minutes_old() -> None:
    keys, now = [CANARY, os.urandom(32)], 0.0
    ring, server = RawAesKeyring(lambda: keys[0]), MemoryS3()
    ring._key._held._clock = lambda: now
    client = Client(keyring=ring, s3=s3_in_memory(server), cache=None)
    client.put("s3://lake/o", b"x")
    del keys[0]
    now = 299.0
    assert bytes(client.get("s3://lake/o")) == b"x"
    now = 300.0
    with pytest.raises(KeyMismatchError):
        client.get("s3://lake/o")


def test_a_forked_child_asks_for_its_key_anew() -> None:
    asked: list[int] = []

    def counted() -> bytes:
        asked.append(os.getpid())
        return CANARY

    ring = RawAesKeyring(counted)
    ring._key.get()
    child = os.fork()
    if child == 0:
        ring._key.get()
        os._exit(0 if asked[-1] == os.getpid() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert asked == [os.getpid()]


@pytest.mark.parametrize("given", ["alias/a", object(), [object()], 1, RawAesKeyring])
def test_what_is_no_keyring_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="keyring="):
        Client(keyring=given)


def test_a_key_that_a_call_names_is_one_of_kms_whatever_the_keyring() -> None:
    kms: Any = StrictKms()
    key, server = kms.create_key(), MemoryS3()
    client = Client(keyring=RawAesKeyring(CANARY), kms=kms, s3=s3_in_memory(server))
    assert client.put("s3://lake/o", b"x", encryption=CSE(key)).kms_key_arn == key
    assert client.put("s3://lake/p", b"x").kms_key_arn is None
    assert bytes(client.get("s3://lake/o", kms_key_id=key)) == b"x"


def test_kms_comes_first_and_the_others_where_it_has_no_key() -> None:
    kms: Any = StrictKms()
    key, server = kms.create_key(), MemoryS3()
    vault = Vault(one=os.urandom(32))
    rings = [VaultKeyring(vault, {"vaulted": "one"}), RawAesKeyring(CANARY)]
    client = Client({"s3://lake": key}, keyring=rings, kms=kms, s3=s3_in_memory(server))
    for bucket, wrap in (("lake", "12"), ("vaulted", "12"), ("else", "02")):
        client.put(f"s3://{bucket}/o", b"x")
        assert server.objects[f"/{bucket}/o"].headers["x-amz-meta-x-amz-w"] == wrap
        assert bytes(client.get(f"s3://{bucket}/o")) == b"x"
    assert [action for action, _ in kms.calls] == ["GenerateDataKey", "Decrypt"]
