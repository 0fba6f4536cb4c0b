"""A keyring of a user's own, as an example: a service elsewhere holds the keys, and wraps what it is sent.

It stands for an HSM, or a key service of a company. Its wrapped form is opaque, as that of KMS, so it writes
`kms+context` and binds the encryption context; other clients read its objects with a keyring of this kind.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from arrowseal.exceptions import KeyMismatchError, NoKeyError
from arrowseal.materials import DataKey, DecryptionMaterials, EncryptionMaterials
from arrowseal.metadata import bound_context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal import Format, ObjectLocation
    from arrowseal.counters import Operation
    from arrowseal.metadata import EncryptedMetadata


class Vault:
    """The service: keys by name, which never leave it."""

    def __init__(self, **keys: bytes) -> None:
        self.keys = keys
        self.calls = 0

    def wrap(self, name: str, plaintext: bytes, bound: bytes) -> bytes:
        self.calls += 1
        nonce = os.urandom(12)
        return nonce + AESGCM(self.keys[name]).encrypt(nonce, plaintext, bound)

    def unwrap(self, name: str, wrapped: bytes, bound: bytes) -> bytes:
        self.calls += 1
        return AESGCM(self.keys[name]).decrypt(wrapped[:12], wrapped[12:], bound)


class VaultKeyring:
    """A key of the vault for each bucket that has one."""

    wraps = frozenset({"kms+context"})

    def __init__(self, vault: Vault, keys: Mapping[str, str]) -> None:
        self._vault = vault
        self._keys = dict(keys)

    def __repr__(self) -> str:
        return f"<VaultKeyring {self._keys}>"

    def check_write(self, location: ObjectLocation) -> str:
        if location.bucket not in self._keys:
            raise NoKeyError(f"{location}: the vault has no key for this bucket")
        return self._keys[location.bucket]

    def check_read(self, location: ObjectLocation) -> None:
        self.check_write(location)

    def generate(
        self,
        format: Format,  # noqa: A002 - of the protocol
        context: Mapping[str, str],
        location: ObjectLocation,
        operation: Operation,
    ) -> EncryptionMaterials:
        name, bound = self.check_write(location), bound_context(context, format)
        plaintext = os.urandom(32)
        wrapped = self._vault.wrap(name, plaintext, _canonical(bound))
        return EncryptionMaterials(format, DataKey(plaintext), wrapped, bound, f"vault key {name!r}")

    def unwrap(
        self, metadata: EncryptedMetadata, location: ObjectLocation, operation: Operation
    ) -> DecryptionMaterials:
        name = self.check_write(location)
        try:
            plaintext = self._vault.unwrap(name, metadata.encrypted_data_key, _canonical(metadata.context))
        except (InvalidTag, ValueError):
            raise KeyMismatchError(f"{location}: not wrapped under the vault's key {name!r}, or changed") from None
        return DecryptionMaterials(DataKey(plaintext), f"vault key {name!r}")


def _canonical(context: Mapping[str, str]) -> bytes:
    return json.dumps(sorted(context.items())).encode()
