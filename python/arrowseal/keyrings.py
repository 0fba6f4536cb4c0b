"""The keyrings of one client: which of them serves a place, and which keys they were seen to use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from arrowseal.binding import LOCATION_NAME, bound_location
from arrowseal.data_keys import UnwrappedKeys
from arrowseal.encryption import check_key_id
from arrowseal.exceptions import ConfigurationError
from arrowseal.kms_keyring import DiscoveryKeyring, KmsKeyring
from arrowseal.prefix_keys import PrefixKeys
from arrowseal.several_keyrings import several

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrowseal.keyring import Keyring
    from arrowseal.kms_requests import KmsOf, Renew
    from arrowseal.location import ObjectLocation
    from arrowseal.materials import DecryptionMaterials
    from arrowseal.metadata import EncryptedMetadata
    from arrowseal.options import ClientOptions

_REMEMBERED: Final = 10_000  # encrypted data keys whose KMS key is known, for `head`: some 2 MB


class Keyrings:
    """A keyring for each of the client's own keys, and one for each key that a single call names: always the same one,
    so that an alias resolves once and its cache serves all calls.
    """

    def __init__(self, kms: KmsOf, options: ClientOptions, renew: Renew = lambda *_: None) -> None:
        self.kms = kms
        self._renew = renew
        self._options = options
        told = options.kms_key_id
        self._prefixes = PrefixKeys(told) if isinstance(told, Mapping) else None
        self._discovery = options.discovery and DiscoveryKeyring(kms, options.discovery, **self._shared())
        self._own: dict[str | None, Keyring] = {}
        self._named: dict[str, KmsKeyring] = {}
        self._arns: OrderedDict[bytes, str] = OrderedDict()

    def for_key(self, kms_key_id: str | None, location: ObjectLocation) -> Keyring:
        """The keyring of a place: that of a named key, or the client's."""
        if kms_key_id is not None:
            named = self._named.get(check_key_id(kms_key_id))
            return named or self._named.setdefault(kms_key_id, self._kms_keyring(kms_key_id))
        told = self._options.kms_key_id
        own = self._prefixes.of(location) if self._prefixes is not None else told
        assert not isinstance(own, Mapping)  # noqa: S101 - a map is `_prefixes`
        if own not in self._own:
            self._own.setdefault(own, self._clients_own(own))
        return self._own[own]

    @property
    def differ(self) -> bool:
        """Whether places differ in their key or encryption context."""
        return self._prefixes is not None or bool(self._options.bind_location)

    def context(self, context: Mapping[str, str], location: ObjectLocation) -> dict[str, str]:
        """The encryption context of a write there: the user's, and the place where it is to be bound. Raises
        `ConfigurationError` if the user's has an entry for the place already.
        """
        bound = self.bound(location)
        if bound.keys() & context.keys():
            raise ConfigurationError(
                f"{location}: bind_location={self._options.bind_location!r} sets {LOCATION_NAME!r}: leave it out of "
                "encryption_context=, or use a client without bind_location="
            )
        return dict(context) | bound

    def bound(self, location: ObjectLocation) -> dict[str, str]:
        """The entries of an encryption context that bind an object to its place; none without `bind_location`."""
        return bound_location(self._options.bind_location, location)

    def check_moved(self, source: ObjectLocation, target: ObjectLocation) -> None:
        """Raise `ConfigurationError` for a copy inside S3 that would not open: bound to the place that it came from."""
        if self.bound(source) != self.bound(target):
            raise ConfigurationError(
                f"{source}: bound to its place by bind_location={self._options.bind_location!r}, it would not open as "
                f"{target}: write it there anew, client.put({str(target)!r}, client.get({str(source)!r})). A client "
                "without bind_location= copies it as it is"
            )

    def remember(self, encrypted_data_key: bytes, kms_key_arn: str | None) -> None:
        """Keep in mind which KMS key wrapped an encrypted data key: the object itself does not say."""
        if kms_key_arn is None or self._arns.get(encrypted_data_key) == kms_key_arn:
            return
        self._arns[encrypted_data_key] = kms_key_arn
        while len(self._arns) > _REMEMBERED:
            self._arns.popitem(last=False)

    def arn_of(self, encrypted: EncryptedMetadata | None) -> str | None:
        """The KMS key of an object that this client wrote or opened, otherwise None."""
        return self._arns.get(encrypted.encrypted_data_key) if encrypted else None

    def _clients_own(self, kms_key_id: str | None) -> Keyring:
        """KMS first, then what `keyring=` says, and discovery last."""
        options, found = self._options, list(self._options.keyring)
        kms_keys = self._kms_keyring(kms_key_id, options.decrypt_key_ids)
        if kms_key_id or options.decrypt_key_ids or not (found or self._discovery):
            found.insert(0, kms_keys)
        if self._discovery:
            found.append(self._discovery)
        return several(found)

    def _kms_keyring(self, kms_key_id: str | None, decrypt_key_ids: Sequence[str] = ()) -> KmsKeyring:
        return KmsKeyring(self.kms, kms_key_id, decrypt_key_ids, **self._shared())

    def _shared(self) -> dict[str, Any]:
        """What the keyrings of KMS have in common, but for the cache, which each has its own."""
        options = self._options
        cache: UnwrappedKeys[DecryptionMaterials] | None = None
        if options.cache is not None:
            cache = UnwrappedKeys(options.cache)
        return {
            "cache": cache,
            "policy": options.commitment_policy,
            "grant_tokens": options.grant_tokens,
            "renew": self._renew,
        }
