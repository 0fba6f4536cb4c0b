"""Every kind of keyring, for the suite that all of them run through: how one is made, again, and with another key."""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from vault import Vault, VaultKeyring

from arrowseal import CommitmentPolicy, RawAesKeyring, RawRsaKeyring
from arrowseal.data_keys import DataKeyCache, UnwrappedKeys
from arrowseal.discovery import Discovery
from arrowseal.kms_keyring import DiscoveryKeyring, KmsKeyring
from arrowseal.several_keyrings import several
from doubles import StrictKms
from strict_kms import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from arrowseal import Keyring

ELSEWHERE = "us-east-1"


@dataclass
class Kind:
    """`make` gives keyrings that have one key in common, `stranger` one of the same kind that has another key.

    `secrets` are spellings of key bytes that no repr and no pickle may have.
    """

    make: Callable[[], Keyring]
    stranger: Callable[[], Keyring]
    secrets: list[bytes] = field(default_factory=list)
    reader: Callable[[], Keyring] | None = None
    """Makes keyrings that read what those of `make` wrote, where it takes another one."""
    cached: bool = False
    """Whether it remembers what it unwrapped."""


@functools.cache
def rsa_pem(number: int = 0) -> bytes:
    """The PEM of a private key; one for each number."""
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def rsa_public(pem: bytes) -> bytes:
    """The DER of the public key of a private one."""
    public = serialization.load_pem_private_key(pem, None).public_key()
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def kms_of(*clients: StrictKms) -> Callable[[str | None], Any]:
    """The KMS clients of several Regions; the first one's is the client's own."""
    by_region = {client.region: client for client in clients}
    return lambda region: by_region[region or clients[0].region]


def _kms(_: Path) -> Kind:
    kms = StrictKms()
    one, other = kms.create_key(), kms.create_key()
    return Kind(lambda: KmsKeyring(kms_of(kms), one), lambda: KmsKeyring(kms_of(kms), other))


def _kms_cached(_: Path) -> Kind:
    kms = StrictKms()
    one, other = kms.create_key(), kms.create_key()

    def make(key: str) -> KmsKeyring:
        policy = CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
        return KmsKeyring(kms_of(kms), key, cache=UnwrappedKeys(DataKeyCache()), policy=policy)

    return Kind(lambda: make(one), lambda: make(other), cached=True)


def _multi_region(_: Path) -> Kind:
    """Written under one replica, read under the other."""
    home = StrictKms()
    away = StrictKms(engine=home.engine, region=ELSEWHERE)
    primary = home.engine.create_key(multi_region=True)
    replica = home.engine.replicate(primary, ELSEWHERE)
    other = home.engine.create_key(ELSEWHERE).arn
    kms = kms_of(home, away)
    return Kind(
        lambda: KmsKeyring(kms, primary.arn),
        lambda: KmsKeyring(kms, other),
        reader=lambda: KmsKeyring(kms, replica.arn),
    )


def _discovery(_: Path) -> Kind:
    """Written under a key, read by whoever may use it."""
    kms = StrictKms()
    one = kms.create_key()
    stranger = StrictKms()
    return Kind(
        lambda: KmsKeyring(kms_of(kms), one),
        lambda: DiscoveryKeyring(kms_of(stranger), Discovery([ACCOUNT])),
        reader=lambda: DiscoveryKeyring(kms_of(kms), Discovery([ACCOUNT])),
    )


def _aes(_: Path) -> Kind:
    one, other = os.urandom(32), os.urandom(32)
    described = {"kek": "2026"}
    return Kind(
        lambda: RawAesKeyring(one, name="archive", material_description=described),
        lambda: RawAesKeyring(other, name="another"),
        [one],
    )


def _aes_of_a_file(folder: Path) -> Kind:
    one, other = folder / "one.key", folder / "other.key"
    one.write_bytes(os.urandom(32))
    other.write_bytes(os.urandom(32))
    return Kind(lambda: RawAesKeyring(one), lambda: RawAesKeyring(other), [one.read_bytes()])


def _rsa(_: Path) -> Kind:
    return Kind(
        lambda: RawRsaKeyring(rsa_pem(0), name="partner"),
        lambda: RawRsaKeyring(rsa_pem(1)),
        rsa_pem(0).splitlines()[1:-1],
    )


def _rsa_halves(folder: Path) -> Kind:
    """Who writes has the public key alone, who reads a file with the private one."""
    private = folder / "private.pem"
    private.write_bytes(rsa_pem(0))
    return Kind(
        lambda: RawRsaKeyring(public_key=rsa_public(rsa_pem(0))),
        lambda: RawRsaKeyring(rsa_pem(1)),
        rsa_pem(0).splitlines()[1:-1],
        reader=lambda: RawRsaKeyring(private),
    )


def _several(_: Path) -> Kind:
    kms, one, other = StrictKms(), os.urandom(32), os.urandom(32)
    key, another = kms.create_key(), kms.create_key()
    return Kind(
        lambda: several([KmsKeyring(kms_of(kms), key), RawAesKeyring(one)]),
        lambda: several([RawAesKeyring(other), KmsKeyring(kms_of(kms), another)]),
        [one],
        reader=lambda: several([RawAesKeyring(other), KmsKeyring(kms_of(kms), another, [key])]),
    )


def _vault(_: Path) -> Kind:
    vault = Vault(one=os.urandom(32), other=os.urandom(32))
    return Kind(
        lambda: VaultKeyring(vault, {"lake": "one"}),
        lambda: VaultKeyring(vault, {"lake": "other"}),
        [vault.keys["one"]],
    )


KINDS: dict[str, Callable[[Path], Kind]] = {
    "kms": _kms,
    "kms, cached": _kms_cached,
    "multi-Region": _multi_region,
    "discovery": _discovery,
    "raw AES": _aes,
    "raw AES of a file": _aes_of_a_file,
    "raw RSA": _rsa,
    "raw RSA, public key alone": _rsa_halves,
    "several": _several,
    "a user's own": _vault,
}


def spelled(secret: bytes) -> list[str]:
    """How a secret could show in text."""
    return [secret.hex(), repr(secret)[2:-1], json.dumps(list(secret))]
