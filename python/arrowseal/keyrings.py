"""The keyrings of one client, and which KMS keys it has seen at work."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from arrowseal.data_keys import UnwrappedKeys
from arrowseal.kms_keyring import KmsKeyring

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_kms import KMSClient

    from arrowseal.kms_keyring import Renew
    from arrowseal.materials import DecryptionMaterials
    from arrowseal.metadata import EncryptedMetadata
    from arrowseal.options import ClientOptions

_REMEMBERED: Final = 10_000  # encrypted data keys whose KMS key is known, for `head`: some 2 MB


class Keyrings:
    """One keyring for the client's own keys, and one for each key that a single call names."""

    def __init__(self, kms: Callable[[], KMSClient], options: ClientOptions, renew: Renew = lambda *_: None) -> None:
        self.kms = kms
        self._renew = renew
        self._options = options
        self._own = self._make(options.kms_key_id, options.decrypt_key_ids)
        self._named: dict[str, KmsKeyring] = {}
        self._arns: OrderedDict[bytes, str] = OrderedDict()

    def for_key(self, kms_key_id: str | None) -> KmsKeyring:
        """The client's keyring, or that of a named key: always the same one, so that an alias resolves once."""
        if kms_key_id is None:
            return self._own
        if kms_key_id not in self._named:
            self._named.setdefault(kms_key_id, self._make(kms_key_id, ()))
        return self._named[kms_key_id]

    def remember(self, encrypted_data_key: bytes, kms_key_arn: str) -> None:
        """Keep in mind which KMS key wrapped an encrypted data key: the object itself does not say."""
        self._arns[encrypted_data_key] = kms_key_arn
        while len(self._arns) > _REMEMBERED:
            self._arns.popitem(last=False)

    def arn_of(self, encrypted: EncryptedMetadata | None) -> str | None:
        """The KMS key of an object that this client wrote or opened, otherwise None."""
        return self._arns.get(encrypted.encrypted_data_key) if encrypted else None

    def _make(self, kms_key_id: str | None, decrypt_key_ids: Sequence[str]) -> KmsKeyring:
        bounds = self._options.cache
        cache: UnwrappedKeys[DecryptionMaterials] | None = None if bounds is None else UnwrappedKeys(bounds)
        policy = self._options.commitment_policy
        return KmsKeyring(self.kms, kms_key_id, decrypt_key_ids, cache=cache, policy=policy, renew=self._renew)
