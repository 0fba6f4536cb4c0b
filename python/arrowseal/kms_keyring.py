"""The KMS keyring: data keys wrapped by AWS KMS under an encryption context (`kms+context`).

Writes call GenerateDataKey, reads call Decrypt, both with KeyId and the exact context. An encrypted data key is opaque:
it is never parsed to learn a key's name. Source: S3 KMS keyring of the S3 Encryption Client specification.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from arrowseal.exceptions import (
    ArrowSealError,
    ConfigurationError,
    ForeignKeyError,
    KmsAccessDeniedError,
    KmsKeyMismatchError,
    KmsKeyNotFoundError,
    KmsKeyStateError,
    NoKeyError,
)
from arrowseal.kms_requests import KmsRequests, region_of, take_data_key
from arrowseal.materials import DecryptionMaterials, EncryptionMaterials
from arrowseal.metadata import KMS_WRAPS, EncryptedMetadata, bound_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mypy_boto3_kms import KMSClient

    from arrowseal._core import DataKey
    from arrowseal.counters import Operation
    from arrowseal.data_keys import UnwrappedKeys
    from arrowseal.discovery import Discovery
    from arrowseal.kms_requests import KmsOf, Renew
    from arrowseal.location import ObjectLocation
    from arrowseal.suites import CommitmentPolicy, Format

UNUSABLE: Final = (KmsKeyStateError, KmsKeyNotFoundError)
"""What KMS answers of a key that is disabled or deleted, whatever the encrypted data key is under."""
_NOT_UNDER_IT: Final = (KmsKeyMismatchError, KmsAccessDeniedError, *UNUSABLE)
"""What KMS answers when the next one of several keys may be it. moto and KMS proxies say AccessDenied."""


class _Unwrapping:
    """What the keyrings of KMS share: the cache of unwrapped data keys, and what decides whose key it is.

    `cache` keeps them for this keyring alone, `policy` is the commitment policy they were unwrapped under. `kms` gives
    the boto3 KMS client of a Region when a request is due.
    """

    wraps = KMS_WRAPS

    def __init__(
        self,
        kms: KmsOf,
        *,
        cache: UnwrappedKeys[DecryptionMaterials] | None = None,
        policy: CommitmentPolicy | None = None,
        grant_tokens: Sequence[str] = (),
        renew: Renew = lambda *_: None,
    ) -> None:
        self._requests = KmsRequests(kms, grant_tokens, renew)
        self._grant_tokens = tuple(grant_tokens)
        self._cache = cache
        self._policy = policy and policy.name  # an enumeration hashes by a function of Python, for each object

    def unwrap(
        self, metadata: EncryptedMetadata, location: ObjectLocation, operation: Operation
    ) -> DecryptionMaterials:
        """The data key of an object, from the cache or KMS."""
        if self._cache is None:
            return self._unwrap(metadata, location, operation)
        # Everything that decides whether KMS would give out this key, and under which rules.
        context = frozenset(metadata.context.items())
        suite = metadata.format, metadata.content_algorithm, metadata.wrap
        asked = self._asked_for(), self._grant_tokens
        key = ("decrypt", *suite, self._policy, asked, context, metadata.encrypted_data_key)
        size = len(metadata.encrypted_data_key) + sum(map(len, chain.from_iterable(context)))
        return self._cache.get(key, size, lambda: self._unwrap(metadata, location, operation), location)

    def _asked_for(self) -> object:
        """The keys under which this keyring unwraps."""
        raise NotImplementedError

    def _unwrap(
        self, metadata: EncryptedMetadata, location: ObjectLocation, operation: Operation
    ) -> DecryptionMaterials:
        raise NotImplementedError


class KmsKeyring(_Unwrapping):
    """Wraps under one KMS key, and unwraps under it or under any of `decrypt_key_ids`, tried in their order.

    Keys are given as id, ARN or alias; those of other accounts as ARNs. An ARN of another Region than the client's is
    asked for there: an object that was written under a multi-Region key is read under any replica of it whose ARN is
    given. Safe to share between threads.
    """

    def __init__(
        self,
        kms: KmsOf,
        key_id: str | None,
        decrypt_key_ids: Sequence[str] = (),
        **shared: Any,
    ) -> None:
        super().__init__(kms, **shared)
        self._key_id = key_id
        self._read_key_ids = tuple(dict.fromkeys(([key_id] if key_id else []) + list(decrypt_key_ids)))

    def __repr__(self) -> str:
        return f"<KmsKeyring key={self._key_id!r} reads={list(self._read_key_ids)!r}>"

    def check_write(self, location: ObjectLocation) -> str:
        """The KMS key of a write. Raises `NoKeyError` if none is configured."""
        if not self._key_id:
            raise NoKeyError(
                f"{location}: no KMS key to write under: give kms_key_id= to arrowseal.configure, to the client or to "
                "this call (id, ARN or alias); where kms_key_id= maps prefixes to keys, none of them holds this place"
            )
        return self._key_id

    def check_read(self, location: ObjectLocation) -> None:
        """Raise `NoKeyError` if no KMS key is configured for reads, and what is wrong with the way to KMS."""
        if not self._read_key_ids:
            raise NoKeyError(
                f"{location}: no KMS key to read under: give kms_key_id= or decrypt_key_ids= to arrowseal.configure, "
                "to the client, or kms_key_id= to this call; where kms_key_id= maps prefixes to keys, none of them "
                "holds this place. The object itself does not name its key"
            )
        self._requests.ready(region_of(self._read_key_ids[0]))

    def generate(
        self,
        format: Format,  # noqa: A002 - the public word for it
        context: Mapping[str, str],
        location: ObjectLocation,
        operation: Operation,
    ) -> EncryptionMaterials:
        """A data key that KMS generates."""
        key_id = self.check_write(location)
        bound = bound_context(context, format)

        def call(kms: KMSClient, key: str) -> tuple[bytes, DataKey, str]:
            granted = self._requests.granted
            answer: Any = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=bound, **granted)
            data_key = take_data_key(answer)  # first: what follows may raise, and a traceback has its frames
            return answer["CiphertextBlob"], data_key, answer["KeyId"]

        wrapped, data_key, arn = self._requests.ask("GenerateDataKey", key_id, location, operation, call)
        return EncryptionMaterials(format, data_key, wrapped, bound, arn)

    def reencrypt(
        self, encrypted: EncryptedMetadata, to_key: str, location: ObjectLocation, operation: Operation
    ) -> tuple[bytes, str]:
        """`reencrypted` without the key that it was under."""
        wrapped, arn, _ = self.reencrypted(encrypted, to_key, location, operation)
        return wrapped, arn

    def reencrypted(
        self, encrypted: EncryptedMetadata, to_key: str, location: ObjectLocation, operation: Operation
    ) -> tuple[bytes, str, str]:
        """The encrypted data key of an object, wrapped anew by KMS under `to_key` and the same context, and the ARNs
        of that key and of the one that it was under. The data key itself stays in KMS.

        ReEncrypt works within one Region. Raises `ConfigurationError` for a key of another one, `NoKeyError` if there
        is no key to read under, `KmsError`s, `CredentialsError`.
        """
        self.check_read(location)
        context = dict(encrypted.context)

        def call(kms: KMSClient, key: str) -> tuple[bytes, str, str]:
            answer: Any = kms.re_encrypt(
                CiphertextBlob=encrypted.encrypted_data_key,
                SourceKeyId=key,
                SourceEncryptionContext=context,
                DestinationKeyId=to_key,
                DestinationEncryptionContext=context,
                **self._requests.granted,
            )
            return answer["CiphertextBlob"], answer["KeyId"], answer["SourceKeyId"]

        def under(key_id: str) -> tuple[bytes, str, str]:
            source, target = region_of(key_id), region_of(to_key)
            if source and target and source != target:
                raise ConfigurationError(
                    f"{location}: ReEncrypt works within one Region, and {to_key} is of another one than {key_id}: "
                    "name keys of one Region (of a multi-Region key its replica there), or write the object anew"
                )
            answer: tuple[bytes, str, str] = self._requests.ask(
                "ReEncrypt", key_id, location, operation, call, to_key=to_key
            )
            return answer

        found: tuple[bytes, str, str] = _first("keys", self._read_key_ids, under)
        return found

    def wrap(
        self,
        data_key: DataKey,
        format: Format,  # noqa: A002 - the public word for it
        context: Mapping[str, str],
        location: ObjectLocation,
        operation: Operation,
    ) -> EncryptionMaterials:
        """A data key that exists already, wrapped by KMS Encrypt under `context`, which has the reserved entry. Its
        bytes pass through Python memory once, as those of every answer of KMS do: KMS has no other way to take them.
        """
        key_id = self.check_write(location)

        def call(kms: KMSClient, key: str) -> tuple[bytes, str]:
            granted: Any = self._requests.granted
            taken: Any = data_key.expose_to_kms()
            try:
                answer: Any = kms.encrypt(KeyId=key, Plaintext=taken, EncryptionContext=dict(context), **granted)
            finally:
                taken[:] = bytes(len(taken))
            return answer["CiphertextBlob"], answer["KeyId"]

        wrapped, arn = self._requests.ask("Encrypt", key_id, location, operation, call)
        return EncryptionMaterials(format, data_key, wrapped, dict(context), arn)

    def _asked_for(self) -> object:
        return self._read_key_ids

    def _unwrap(
        self, metadata: EncryptedMetadata, location: ObjectLocation, operation: Operation
    ) -> DecryptionMaterials:
        self.check_read(location)

        def call(kms: KMSClient, key: str) -> tuple[DataKey, str]:
            answer: Any = kms.decrypt(
                KeyId=key,
                CiphertextBlob=metadata.encrypted_data_key,
                EncryptionContext=dict(metadata.context),
                **self._requests.granted,
            )
            return take_data_key(answer), answer["KeyId"]

        def under(key_id: str) -> DecryptionMaterials:
            return DecryptionMaterials(*self._requests.ask("Decrypt", key_id, location, operation, call))

        materials: DecryptionMaterials = _first("keys", self._read_key_ids, under)
        return materials


class DiscoveryKeyring(_Unwrapping):
    """Unwraps under whichever key of KMS it takes, within what `Discovery` accepts; wraps nothing."""

    def __init__(self, kms: KmsOf, discovery: Discovery, **shared: Any) -> None:
        super().__init__(kms, **shared)
        self._discovery = discovery

    def __repr__(self) -> str:
        return f"<DiscoveryKeyring {self._discovery!r}>"

    def check_write(self, location: ObjectLocation) -> str:
        """Raises `NoKeyError`: a write names its key."""
        raise NoKeyError(f"{location}: no KMS key to write under: discovery= is for reads, so give kms_key_id= as well")

    def check_read(self, location: ObjectLocation) -> None:  # noqa: ARG002 - of the protocol
        """Raise what is wrong with the way to KMS."""
        self._requests.ready(self._discovery.regions[0] if self._discovery.regions else None)

    def generate(
        self,
        format: Format,  # noqa: A002, ARG002 - of the protocol
        context: Mapping[str, str],  # noqa: ARG002
        location: ObjectLocation,
        operation: Operation,  # noqa: ARG002
    ) -> EncryptionMaterials:
        """Raises `NoKeyError`."""
        raise NoKeyError(self.check_write(location))

    def _asked_for(self) -> object:
        return self._discovery

    def _unwrap(
        self, metadata: EncryptedMetadata, location: ObjectLocation, operation: Operation
    ) -> DecryptionMaterials:
        def ask(region: str | None) -> DecryptionMaterials:
            def call(kms: KMSClient) -> tuple[DataKey, str]:
                answer: Any = kms.decrypt(
                    CiphertextBlob=metadata.encrypted_data_key,
                    EncryptionContext=dict(metadata.context),
                    **self._requests.granted,
                )
                try:
                    self._discovery.check(answer["KeyId"], region or kms.meta.region_name, location)
                except (ForeignKeyError, KeyError):
                    answer.clear()  # a traceback has the frames that hold it
                    raise
                return take_data_key(answer), answer["KeyId"]

            return DecryptionMaterials(*self._requests.ask_for_any("Decrypt", region, location, operation, call))

        materials: DecryptionMaterials = _first("Regions", self._discovery.regions or (None,), ask)
        return materials


def _first(what: str, candidates: Sequence[Any], ask: Callable[[Any], Any]) -> Any:
    """What the first one gives that fits. Otherwise raises what the last one said, or before that the first that cannot
    be used: it may be the one, and who has it usable again knows.
    """
    refusals: list[ArrowSealError] = []
    for candidate in candidates:
        try:
            return ask(candidate)
        except _NOT_UNDER_IT as error:
            refusals.append(error)
    if len(refusals) > 1:
        refusals[:] = [told_of(refusals, f"none of the {what} fits: {', '.join(candidates)}")]
    raise refusals.pop()  # held by this frame no longer


def told_of(refusals: Sequence[ArrowSealError], more: str) -> ArrowSealError:
    """What is told of several refusals: the first of a key that cannot be used, otherwise the last, and `more`."""
    error = next((error for error in refusals if isinstance(error, UNUSABLE)), refusals[-1])
    return type(error)(f"{error} ({more})")
