"""What a keyring is: the one that wraps a new data key for a write and unwraps an encrypted data key for a read.

arrowseal has three: KMS (`kms_key_id=`), `RawAesKeyring` and `RawRsaKeyring`. Any other object with these five names
serves as well, as `Client(keyring=...)`: an HSM, or the key service of a company. `tests/keyrings/vault.py` is an
example, and `tests/keyrings/test_conformance.py` what each of them has to do. One that makes `kms+context` stores
`metadata.bound_context(context, format)` with the object; what it wraps is opaque to everybody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.materials import DecryptionMaterials, EncryptionMaterials
    from arrowseal.metadata import EncryptedMetadata
    from arrowseal.suites import Format


class Keyring(Protocol):
    """Wraps and unwraps data keys, for however many threads at once.

    Its errors are those of `arrowseal.exceptions`: `KeyMismatchError` says that a data key was not wrapped under its
    keys, and then the next keyring is asked that knows the wrap. Keys are in no repr and in no pickle. What it unwraps
    nobody else remembers: `cache=` is for KMS.
    """

    @property
    def wraps(self) -> frozenset[str]:
        """The wrapping algorithms that it unwraps, by the names of format V2, legacy ones included: whether those are
        admitted is `legacy=`'s to say. One that has `"kms+context"` binds encryption contexts.
        """

    def check_write(self, location: ObjectLocation) -> Hashable:
        """What tells the keys of writes apart: places with equal answers may share a data key
        (`Client.data_key_reuse`). Raises `NoKeyError` if it has no key to write there. No request.
        """

    def check_read(self, location: ObjectLocation) -> object:
        """Raise `NoKeyError` if it has no key to read there. No request; the answer means nothing."""

    def generate(
        self,
        format: Format,  # noqa: A002 - the public word for it
        context: Mapping[str, str],
        location: ObjectLocation,
        operation: Operation,
    ) -> EncryptionMaterials:
        """A new data key for one object, wrapped under `context` (the user's, without the reserved entry).

        Raises `ConfigurationError` for a context that it cannot bind.
        """

    def unwrap(
        self, metadata: EncryptedMetadata, location: ObjectLocation, operation: Operation
    ) -> DecryptionMaterials:
        """The data key of an object that passed every gate of `envelope`. Raises `KeyMismatchError` if it was not
        wrapped under its keys.
        """
