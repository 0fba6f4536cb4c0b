"""Encrypted data keys, wrapped anew under another key: each distinct one once, however many objects share it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from arrowseal.data_keys import failed_for
from arrowseal.encryption import check_key_id
from arrowseal.exceptions import (
    ArrowSealError,
    AuthenticationError,
    ConfigurationError,
    KeyMismatchError,
    KmsAccessDeniedError,
    NoKeyError,
    UnsupportedFormatError,
)
from arrowseal.kms_keyring import UNUSABLE
from arrowseal.metadata import KMS_WRAPS, bound_context
from arrowseal.several_keyrings import SeveralKeyrings
from arrowseal.suites import AnyContext, Format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal.counters import Operation
    from arrowseal.keyring import Keyring
    from arrowseal.keyrings import Keyrings
    from arrowseal.location import ObjectLocation
    from arrowseal.metadata import EncryptedMetadata
    from arrowseal.reading import ReadRequest

_REMEMBERED: Final = 10_000
_NOT_UNDER_IT: Final = (KeyMismatchError, KmsAccessDeniedError, NoKeyError, AuthenticationError, *UNUSABLE)


@dataclass(frozen=True)
class Rewrapped:
    """An encrypted data key under the new key."""

    key: str
    """The new key: an ARN, or the name of a raw key."""
    encrypted_data_key: bytes = field(repr=False)
    wrap: str
    context: Mapping[str, str] = field(repr=False)
    material_description: Mapping[str, str] = field(repr=False)
    already: bool = False
    """Whether it was under that key before."""

    @classmethod
    def as_it_was(cls, encrypted: EncryptedMetadata, key: str) -> Rewrapped:
        """One that is under the new key already."""
        told = encrypted.wrap, encrypted.context, encrypted.material_description
        return cls(key, encrypted.encrypted_data_key, *told, already=True)


class RewrappedKeys:
    """Wraps data keys anew under `to_key`, a KMS key or a keyring that wraps what it is given. Safe to share between
    threads: of those that want the same one, one asks and the others wait. The latest 10,000 are remembered.
    """

    def __init__(self, keyrings: Keyrings, to_key: str | Keyring, operation: Operation) -> None:
        self.wraps: frozenset[str] = KMS_WRAPS if isinstance(to_key, str) else to_key.wraps
        """What the new key unwraps: an object may be under it already."""
        self._keyrings = keyrings
        self._to_key = to_key
        self._operation = operation
        self._flights: OrderedDict[tuple[Any, ...], tuple[ObjectLocation, Future[Rewrapped]]] = OrderedDict()
        """Each with the object that it began for."""
        self._arn: str | None = None
        self._lock = threading.Lock()

    def kms_call(self, encrypted: EncryptedMetadata) -> str | None:
        """What KMS is asked to wrap it anew; None where only raw keys are at work."""
        if encrypted.wrap in KMS_WRAPS:
            return "ReEncrypt" if isinstance(self._to_key, str) else "Decrypt"
        return "Encrypt" if isinstance(self._to_key, str) else None

    def known(self, encrypted: EncryptedMetadata) -> bool:
        """Whether it is known without a call that this one is under the new key."""
        arn = self._keyrings.arn_of(encrypted)
        return arn is not None and arn in (self._arn, self._to_key)

    def get(self, encrypted: EncryptedMetadata, request: ReadRequest) -> Rewrapped:
        """The data key of an object that was admitted, under the new key. Raises `KmsError`s, `CredentialsError`,
        `KeyMismatchError`s for one that is under none of the keys at hand.
        """
        if self.known(encrypted):
            return Rewrapped.as_it_was(encrypted, self._keyrings.arn_of(encrypted) or "")
        told = encrypted.format, encrypted.content_algorithm, encrypted.wrap, encrypted.encrypted_data_key
        key = (*told, frozenset(encrypted.context.items()))
        with self._lock:
            began = key not in self._flights
            first, flight = self._flights.setdefault(key, (request.location, Future()))
            while len(self._flights) > _REMEMBERED:
                self._flights.popitem(last=False)
        if began:
            try:
                flight.set_result(self._wrapped(encrypted, request))
            except BaseException as error:
                flight.set_exception(error)
                raise
        try:
            return flight.result()
        except Exception as error:
            raise failed_for(error, first, request.location) from None

    def _wrapped(self, encrypted: EncryptedMetadata, request: ReadRequest) -> Rewrapped:
        if isinstance(self._to_key, str) and encrypted.wrap in KMS_WRAPS:
            return self._by_kms(encrypted, request, self._to_key)
        if encrypted.format == "V1" or encrypted.cbc:
            raise UnsupportedFormatError(
                f"{request.location}: AES-CBC content keeps the wrap that it has: nothing here writes another one. "
                "arrowseal.operations.migrate makes a V3 object of it"
            )
        return self._here(encrypted, request)

    def _by_kms(self, encrypted: EncryptedMetadata, request: ReadRequest, to_key: str) -> Rewrapped:
        """By ReEncrypt: the data key stays in KMS."""
        location, operation = request.location, self._operation
        refusal: ArrowSealError | None = None
        # It may be under the new key already: KMS says so to whom may wrap under that key, and asks for no Decrypt.
        for keyring in [*_of_kms(request.keyring), *_of_kms(self._keyrings.for_key(to_key, location))]:
            try:
                wrapped, arn, was = keyring.reencrypted(encrypted, to_key, location, operation)
            except _NOT_UNDER_IT as error:
                refusal = refusal or error
            else:
                if was == arn:
                    return self._noted(Rewrapped.as_it_was(encrypted, arn))
                return self._noted(Rewrapped(arn, wrapped, encrypted.wrap, encrypted.context, {}))
        assert refusal is not None  # noqa: S101 - the keyring of the new key is one of them
        raise refusal

    def _here(self, encrypted: EncryptedMetadata, request: ReadRequest) -> Rewrapped:
        """Unwrapped into memory of the core, and wrapped by the other keyring from there."""
        location, operation = request.location, self._operation
        target: Any = self._to_key
        if isinstance(target, str):
            target = self._keyrings.for_key(target, location)
        elif encrypted.wrap in target.wraps:
            try:
                return Rewrapped.as_it_was(encrypted, target.unwrap(encrypted, location, operation).key_name)
            except _NOT_UNDER_IT:
                pass
        if encrypted.wrap not in request.keyring.wraps:
            raise UnsupportedFormatError(
                f"{location}: its data key is wrapped by {encrypted.wrap!r}, not under the new key, and no keyring of "
                "this client unwraps it: give the one that does as keyring=, or its KMS key"
            )
        data_key = request.keyring.unwrap(encrypted, location, operation).data_key
        made_for = Format.of(encrypted.format)
        if isinstance(self._to_key, str):
            expected = request.rules.encryption_context
            user = {} if isinstance(expected, AnyContext) else dict(expected)
            context = bound_context({**user, **request.rules.bound}, made_for)
            materials = target.wrap(data_key, made_for, context, location, operation)
        else:
            materials = target.wrap(data_key, made_for, location)
        return self._noted(
            Rewrapped(
                materials.key_name,
                materials.encrypted_data_key,
                materials.wrap,
                materials.encryption_context,
                materials.material_description,
            )
        )

    def _noted(self, rewrapped: Rewrapped) -> Rewrapped:
        if isinstance(self._to_key, str):
            self._arn = rewrapped.key
            self._keyrings.remember(rewrapped.encrypted_data_key, rewrapped.key)
        return rewrapped


def check_to_key(to_key: Any) -> str | Keyring:
    """The key to rewrap under. Raises `ConfigurationError` for what is neither a KMS key nor a keyring that can."""
    if isinstance(to_key, str) and to_key.strip():
        return check_key_id(to_key)
    if not isinstance(to_key, str) and callable(getattr(to_key, "wrap", None)) and hasattr(to_key, "unwrap"):
        keyring: Keyring = to_key
        return keyring
    raise ConfigurationError(
        "to_key= is a KMS key (id, ARN or alias), or a keyring that wraps data keys it is given, such as "
        "arrowseal.RawAesKeyring(...)"
    )


def _of_kms(keyring: Any) -> list[Any]:
    """Those of a keyring, which may be several, that have KMS wrap a data key anew."""
    several = keyring.keyrings if isinstance(keyring, SeveralKeyrings) else (keyring,)
    return [one for one in several if hasattr(one, "reencrypted")]
