"""Who can write the bucket, and has keys of their own: against keyrings and caches of data keys.

Rows A4, A5, A7, A11 and A21 of the table of attacks, as far as they are about keys.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from keyring_kinds import kms_of
from salamanders import COMMITTED_DATA, COMMITTED_IV, content_key, salamander

from arrowseal import ANY, CSE, V2, V3, Client, CommitmentPolicy, Discovery, RawAesKeyring, _core
from arrowseal.counters import Operation
from arrowseal.data_keys import DataKeyCache, UnwrappedKeys
from arrowseal.exceptions import (
    AuthenticationError,
    CommitmentPolicyError,
    EncryptionContextError,
    InsecureEndpointError,
    KmsKeyMismatchError,
    MetadataError,
    SecurityError,
)
from arrowseal.kms_keyring import DiscoveryKeyring, KmsKeyring
from arrowseal.location import ObjectLocation
from arrowseal.metadata import EncryptedMetadata, bound_context
from doubles import StrictKms, s3_in_memory
from memory_s3 import MemoryS3

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrowseal.materials import DecryptionMaterials

HERE = ObjectLocation("lake", "o")
SALAMANDERS = int(os.environ.get("ARROWSEAL_TEST_SALAMANDERS", "200"))
FORBID, ALLOW, REQUIRE = CommitmentPolicy


class Victim:
    """A bucket that somebody else can write, and clients of it."""

    def __init__(self) -> None:
        self.kms: Any = StrictKms()
        self.key = self.kms.create_key("alias/tables")
        self.server = MemoryS3()
        self.s3 = s3_in_memory(self.server)

    def client(self, key: Any = None, **options: Any) -> Client:
        return Client(key or self.key, kms=self.kms, s3=self.s3, **options)

    def edit(self, path: str, **headers: str) -> None:
        """Change metadata; underscores stand for dashes."""
        stored = self.server.objects[path]
        named = {f"x-amz-meta-{name.replace('_', '-')}": value for name, value in headers.items()}
        self.server.objects[path] = stored._replace(headers=dict(stored.headers) | named)


@pytest.fixture
def victim() -> Victim:
    return Victim()


def operation() -> Operation:
    return Operation("get", HERE)


# A4: a data key made under somebody else's KMS key


def test_every_decrypt_says_its_key_and_the_whole_context(victim: Victim) -> None:
    second = victim.kms.create_key()
    context = {"team": "weather"}
    clients = [
        victim.client(encryption_context=context),
        victim.client("alias/tables", encryption_context=context),
        victim.client(second, decrypt_key_ids=[victim.key], encryption_context=ANY),
        victim.client({"s3://lake": victim.key}, encryption_context=context),
        victim.client(encryption_context=context, bind_location="object"),
        Client(
            keyring=RawAesKeyring(bytes(range(32))), kms=victim.kms, s3=victim.s3, decrypt_key_ids=[victim.key, second],
            encryption_context=ANY,
        ),
    ]  # fmt: skip
    for number, client in enumerate(clients[:2] + clients[3:5]):
        client.put(f"s3://lake/{number}", b"x", encryption_context=context)
    for client, number in itertools.product(clients, range(4)):
        try:
            client.get(f"s3://lake/{number}")
        except SecurityError:
            continue
    decrypts = [arguments for action, arguments in victim.kms.calls if action == "Decrypt"]
    assert len(decrypts) > 12
    for arguments in decrypts:
        assert arguments["KeyId"] in {victim.key, second, "alias/tables"}
        bound = arguments["EncryptionContext"]
        assert (bound["team"], bound["aws:x-amz-cek-alg"]) == ("weather", "115")


@pytest.mark.parametrize("named", ["kms_cmk_id", "aws:kms:arn", "KeyId"])
def test_a_key_that_metadata_names_is_never_used(victim: Victim, named: str) -> None:
    rogue = victim.kms.create_key()
    context = {named: rogue, "aws:x-amz-cek-alg": "115"}
    victim.client(rogue).put("s3://lake/o", b"forged")
    forged = victim.kms.wrap(rogue, victim.kms.data_keys[-1], context)
    text = f'{{"{named}": "{rogue}", "aws:x-amz-cek-alg": "115"}}'
    victim.edit("/lake/o", x_amz_3=_core_base64(forged), x_amz_t=text)
    victim.kms.calls.clear()
    victim.kms.engine.calls.clear()
    with pytest.raises((KmsKeyMismatchError, EncryptionContextError)):
        victim.client(encryption_context=ANY).get("s3://lake/o")
    assert {arguments["KeyId"] for _, arguments in victim.kms.calls} <= {victim.key}


def _core_base64(value: bytes) -> str:
    import base64

    return base64.b64encode(value).decode()


# A5: one body, two data keys


def test_of_all_bodies_that_two_data_keys_open_none_is_opened_by_the_second_in_v3() -> None:
    for _ in range(SALAMANDERS):
        first, second, message_id = os.urandom(32), os.urandom(32), os.urandom(28)
        keys = [content_key(one, message_id) for one in (first, second)]
        body = salamander(*keys, COMMITTED_IV, COMMITTED_DATA)
        opened = {AESGCM(key).decrypt(COMMITTED_IV, body, COMMITTED_DATA) for key in keys}
        assert len(opened) == 2, "both keys open it, to different plaintexts"
        sealer = _core.Sealer.with_fixed_message_id(_core.DataKey(first), V3.suite.id, message_id)
        with pytest.raises(AuthenticationError):
            _core.Opener(_core.DataKey(second), V3.suite.id, message_id, sealer.commitment, len(body))


@pytest.mark.parametrize("wrapped_by", ["the victim's KMS key", "an additional raw key", "discovery"])
def test_a_second_wrapped_data_key_that_the_reader_can_unwrap_changes_no_committed_object(
    victim: Victim, wrapped_by: str
) -> None:
    """The attacker may even use a key of the reader: the commitment belongs to one data key."""
    first, second, message_id = os.urandom(32), os.urandom(32), os.urandom(28)
    iv, data = COMMITTED_IV, COMMITTED_DATA
    body = salamander(content_key(first, message_id), content_key(second, message_id), iv, data)
    victim.client().put("s3://lake/o", b"x")
    sealer = _core.Sealer.with_fixed_message_id(_core.DataKey(first), V3.suite.id, message_id)
    raw, context = os.urandom(32), bound_context({}, V3)
    victim.server.objects["/lake/o"] = victim.server.objects["/lake/o"]._replace(body=body)
    victim.edit("/lake/o", x_amz_d=_core_base64(sealer.commitment or b""), x_amz_i=_core_base64(message_id))
    if wrapped_by == "an additional raw key":
        reader = victim.client(keyring=RawAesKeyring(raw))
        nonce = os.urandom(12)
        wraps = [nonce + AESGCM(raw).encrypt(nonce, one, b"115") for one in (first, second)]
        victim.edit("/lake/o", x_amz_w="02", x_amz_t="{}")
    else:
        reader = victim.client() if "KMS" in wrapped_by else victim.client(discovery=Discovery(["111122223333"]))
        wraps = [victim.kms.wrap(victim.key, one, context) for one in (first, second)]
    victim.edit("/lake/o", x_amz_3=_core_base64(wraps[0]))
    honest = bytes(reader.get("s3://lake/o"))
    victim.edit("/lake/o", x_amz_3=_core_base64(wraps[1]))
    with pytest.raises(AuthenticationError):
        reader.get("s3://lake/o")
    assert honest == AESGCM(content_key(first, message_id)).decrypt(iv, body, data)


# A7: caches


@pytest.mark.parametrize(("warm", "cold"), list(itertools.product(CommitmentPolicy, CommitmentPolicy)))
def test_what_one_policy_unwrapped_is_no_way_around_another(
    victim: Victim, warm: CommitmentPolicy, cold: CommitmentPolicy
) -> None:
    """CVE-2026-6550: a cache that a weaker client warmed made a stronger one give up commitment."""
    v2 = victim.client(format=V2, commitment_policy=FORBID)
    v2.put("s3://lake/v2", b"x")
    cache = DataKeyCache()

    def reader(policy: CommitmentPolicy) -> Client:
        written = V2 if policy is FORBID else V3
        return victim.client(commitment_policy=policy, format=written, cache=cache)

    first, second = reader(warm), reader(cold)
    for client, policy in ((first, warm), (second, cold), (first, warm)):
        if policy is REQUIRE:
            with pytest.raises(CommitmentPolicyError):
                client.get("s3://lake/v2")
        else:
            assert bytes(client.get("s3://lake/v2")) == b"x"
    with first.data_key_reuse(), second.data_key_reuse():
        for client, policy in ((first, warm), (second, cold)):
            if policy is not FORBID:
                client.put("s3://lake/new", b"x")
                assert "x-amz-meta-x-amz-d" in victim.server.objects["/lake/new"].headers
    decrypts = sum(action == "Decrypt" for action, _ in victim.kms.calls)
    assert decrypts == (warm is not REQUIRE) + (cold is not REQUIRE), "each keyring asked for itself"


def test_everything_that_decides_about_a_data_key_is_part_of_what_it_is_remembered_by() -> None:
    """One cache for keyrings that differ in one thing each: none of them is answered for another."""
    kms: Any = StrictKms()
    key, other = kms.create_key(), kms.create_key()
    shared: UnwrappedKeys[DecryptionMaterials] = UnwrappedKeys(DataKeyCache())
    context = bound_context({"team": "weather"}, V3)
    blob = kms.wrap(key, bytes(range(32)), context)
    known = EncryptedMetadata("V3", "115", "kms+context", blob, bytes(28), bytes(28), context)

    def keyring(*keys: str, policy: CommitmentPolicy = REQUIRE, tokens: tuple[str, ...] = ()) -> KmsKeyring:
        return KmsKeyring(kms_of(kms), keys[0], keys[1:], cache=shared, policy=policy, grant_tokens=tokens)

    def asks(ring: Any, found: EncryptedMetadata) -> bool:
        before = len(kms.calls)
        try:
            ring.unwrap(found, HERE, operation())
        except KmsKeyMismatchError:
            assert len(kms.calls) > before
        return len(kms.calls) > before

    assert asks(keyring(key), known)
    assert not asks(keyring(key), known), "this is what is remembered"
    more = {"team": "weather", "more": ""}
    differing: list[Callable[[], bool]] = [
        lambda: asks(keyring(other), known),
        lambda: asks(keyring(key, other), known),
        lambda: asks(keyring(key, policy=ALLOW), known),
        lambda: asks(keyring(key, tokens=("t",)), known),
        lambda: asks(keyring(key), replace(known, context=bound_context({"team": "sales"}, V3))),
        lambda: asks(keyring(key), replace(known, context=bound_context(more, V3))),
        lambda: asks(keyring(key), replace(known, context={})),
        lambda: asks(keyring(key), replace(known, encrypted_data_key=blob + b"\0")),
        lambda: asks(keyring(key), replace(known, wrap="kms")),
        lambda: asks(keyring(key), replace(known, format="V2")),
        lambda: asks(keyring(key), replace(known, content_algorithm="AES/GCM/NoPadding")),
        lambda: asks(DiscoveryKeyring(kms_of(kms), Discovery(["111122223333"]), cache=shared, policy=REQUIRE), known),
    ]
    for number, differs in enumerate(differing):
        assert differs(), number
    assert not asks(keyring(key), known), "and it is still remembered"


def test_an_object_that_was_admitted_once_by_a_switch_needs_the_switch_again(victim: Victim) -> None:
    """What is in the cache was gated by the rules of one call: the next call has its own."""
    v2 = victim.client(format=V2, commitment_policy=FORBID)
    v2.put("s3://lake/o", b"x")
    victim.edit("/lake/o", x_amz_wrap_alg="kms", x_amz_matdesc="{}")
    data_key = victim.kms.data_keys[-1]
    victim.edit("/lake/o", x_amz_key_v2=_core_base64(victim.kms.wrap(victim.key, data_key, {})))
    reader = victim.client(commitment_policy=ALLOW)
    assert bytes(reader.get("s3://lake/o", legacy="wrapping")) == b"x"
    with pytest.raises(SecurityError, match="legacy="):
        reader.get("s3://lake/o")


def test_what_a_call_says_of_key_and_context_counts_also_after_one_that_said_nothing(victim: Victim) -> None:
    """Most reads say nothing, and what that comes to is worked out once."""
    client, other = victim.client(), victim.kms.create_key()
    client.put("s3://lake/o", b"x")
    for _ in range(2):
        assert bytes(client.get("s3://lake/o")) == b"x"
        with pytest.raises(KmsKeyMismatchError):
            client.get("s3://lake/o", kms_key_id=other)
        with pytest.raises(KmsKeyMismatchError):
            client.get("s3://lake/o", encryption=CSE(other))
        with pytest.raises(EncryptionContextError):
            client.get("s3://lake/o", encryption_context={"team": "weather"})


@pytest.mark.parametrize("legacy", [False, "wrapping", True])
def test_a_wrap_that_says_nothing_of_contexts_is_no_way_around_them(victim: Victim, legacy: Any) -> None:
    """A9: `kms` beside a context with the reserved entry is a contradiction, with the switch as well."""
    client = victim.client(format=V2, commitment_policy=FORBID, encryption_context={"team": "weather"})
    client.put("s3://lake/o", b"x")
    victim.edit("/lake/o", x_amz_wrap_alg="kms")
    for reader in (client, victim.client(commitment_policy=ALLOW, encryption_context=ANY)):
        with pytest.raises(SecurityError):
            reader.get("s3://lake/o", legacy=legacy)


# A11: contexts


@pytest.mark.parametrize(
    "edited", ['{"aws:x-amz-cek-alg": "115"}', '{"team": "sales", "aws:x-amz-cek-alg": "115"}', "{}", ""]
)
def test_an_edited_context_is_refused_before_kms_or_by_it(victim: Victim, edited: str) -> None:
    victim.client(encryption_context={"team": "weather"}).put("s3://lake/o", b"x")
    victim.edit("/lake/o", x_amz_t=edited)
    victim.kms.calls.clear()
    victim.kms.engine.calls.clear()
    with pytest.raises((EncryptionContextError, MetadataError)):
        victim.client(encryption_context={"team": "weather"}).get("s3://lake/o")
    assert victim.kms.calls == []
    with pytest.raises((KmsKeyMismatchError, MetadataError)):
        victim.client(encryption_context=ANY).get("s3://lake/o")


def test_a_roll_back_to_an_older_object_of_the_same_place_is_not_covered_and_says_so() -> None:
    """What binding cannot see: the older object was bound to the same place. Versions and their ETags tell."""
    victim = Victim()
    client = victim.client(bind_location="object")
    client.put("s3://lake/o", b"old")
    old = victim.server.objects["/lake/o"]
    client.put("s3://lake/o", b"new")
    victim.server.objects["/lake/o"] = old
    assert bytes(client.get("s3://lake/o")) == b"old"


# A21: data keys over a wire that is not encrypted


@pytest.mark.parametrize(
    "options",
    [
        {"kms_endpoint_url": "http://kms.example.com"},
        {"kms_endpoint_url": {"us-east-1": "http://kms.example.com", "eu-west-1": "https://kms.example.com"}},
        {"endpoint_url": "http://10.0.0.1:9000"},
    ],
)
def test_no_region_is_asked_over_plain_http_off_this_machine(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "TESTS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not checked")
    away = "arn:aws:kms:us-east-1:111122223333:key/mrk-1"
    named: list[dict[str, Any]] = [
        {"kms_key_id": away},
        {"kms_key_id": {"s3://lake": away}},
        {"decrypt_key_ids": [away]},
        {"discovery": Discovery(["111122223333"], regions=["us-east-1"])},
    ]
    for keys in named:
        client = Client(**keys, **options, region_name="eu-west-1")
        with pytest.raises(InsecureEndpointError, match="allow_insecure_kms_endpoint"):
            client.get("s3://lake/o")
    with pytest.raises(InsecureEndpointError):
        Client(away, **options, region_name="eu-west-1").put("s3://lake/o", b"x", encryption=CSE())
