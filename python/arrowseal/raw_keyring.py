"""Keyrings of raw keys: data keys wrapped under one's own AES-256 key (`AES/GCM`) or RSA key (`RSA-OAEP-SHA1`).

A data key is drawn here and wrapped in the core; nothing is requested of anyone. What a raw key cannot do: bind an
encryption context, be revoked, or tell who used it. Source: raw keyrings of the S3 Encryption Client specification, and
its Java client (`AesKeyring`, `RsaKeyring`) as authority.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from arrowseal import _core
from arrowseal.exceptions import AuthenticationError, ConfigurationError, KeyMismatchError, NoKeyError
from arrowseal.materials import DecryptionMaterials, EncryptionMaterials
from arrowseal.raw_key import RawKey
from arrowseal.suites import Format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.metadata import EncryptedMetadata
    from arrowseal.raw_key import KeySource

Additional: TypeAlias = "Iterable[tuple[Mapping[str, str], KeySource]]"
"""Pairs of a material description and the key that it stands for."""

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
AES_GCM: Final = "AES/GCM"
RSA_OAEP: Final = "RSA-OAEP-SHA1"


class _RawKeyring:
    """What both have in common: a key with its material description, and `additional` ones for reads."""

    wraps: ClassVar[frozenset[str]]
    _wrap: ClassVar[str]
    _kind: ClassVar[str]

    def __init__(self, name: str, description: Mapping[str, str], additional: Additional) -> None:
        self._called = name
        self._name = f"raw {self._kind} key" + (f" {name!r}" if name else "")
        self._description = _described(description)
        self._additional = [(_described(found), self._read_key(key)) for found, key in _pairs(additional)]
        found = [description for description, _ in self._additional]
        if any(description in found[:at] for at, description in enumerate(found)):
            raise ConfigurationError("additional= has two keys for one material description")

    @staticmethod
    def _read_key(key: KeySource) -> RawKey[Any]:
        """A key that unwraps."""
        raise NotImplementedError

    def generate(
        self,
        format: Format,  # noqa: A002 - the public word for it
        context: Mapping[str, str],
        location: ObjectLocation,
        operation: Operation,
    ) -> EncryptionMaterials:
        """A data key that is drawn here. Raises `ConfigurationError` for an encryption context."""
        if context:
            raise ConfigurationError(
                f"{location}: a {self._name} binds no encryption context ({', '.join(sorted(context))}): leave it out, "
                "or write under a KMS key"
            )
        with operation.timed("crypto"):
            return self.wrap(_core.DataKey.generate(), format, location)

    def wrap(self, data_key: _core.DataKey, format: Format, location: ObjectLocation) -> EncryptionMaterials:  # noqa: A002
        """A data key that is there already, wrapped for an object of this format: what `rewrap` does."""
        wrapped = self._wrapped(data_key, format.content_algorithm, location)
        return EncryptionMaterials(format, data_key, wrapped, {}, self._name, self._wrap, self._description)

    def unwrap(
        self, metadata: EncryptedMetadata, location: ObjectLocation, operation: Operation
    ) -> DecryptionMaterials:
        """The data key of an object, under the additional key whose material description is the object's, otherwise
        under the first one. Raises `KeyMismatchError`, with one message for every cause.
        """
        name, key = self._name, self._own_key(location)
        for description, one in self._additional:
            if description == metadata.material_description:
                name, key = f"{self._name} with the material description {json.dumps(description)}", one
        if key is not None:
            unwrapping = key.get()
            with contextlib.suppress(AuthenticationError), operation.timed("crypto"):
                return DecryptionMaterials(self._unwrapped(unwrapping, metadata), name)
        raise KeyMismatchError(
            f"{location}: its data key does not unwrap under the {name}: it was wrapped under another key, or was "
            "changed. Give that key as keyring=, or with its material description among additional="
        )

    def check_read(self, location: ObjectLocation) -> None:
        """Look at the key, where it is read from a file or asked for. Raises `ConfigurationError`, `NoKeyError`."""
        if (key := self._own_key(location)) is not None:
            key.get()

    def _own_key(self, location: ObjectLocation) -> RawKey[Any] | None:
        """The key of objects that no additional one is for; None if there is none."""
        raise NotImplementedError

    def _wrapped(self, data_key: _core.DataKey, algorithm: str, location: ObjectLocation) -> bytes:
        raise NotImplementedError

    def _unwrapped(self, key: Any, metadata: EncryptedMetadata) -> _core.DataKey:
        raise NotImplementedError

    def _keys(self) -> dict[str, RawKey[Any] | None]:
        """Its keys but for the additional ones, by the names of their arguments."""
        raise NotImplementedError

    def _told(self) -> dict[str, Any] | None:
        """The arguments that make it anew; None if one of them was a key."""
        all_of_them = [*self._keys().values(), *(key for _, key in self._additional)]
        if any(key is not None and key.reference is None for key in all_of_them):
            return None
        return {name: key and key.reference for name, key in self._keys().items()} | {
            "name": self._called,
            "material_description": self._description,
            "additional": [(description, key.reference) for description, key in self._additional],
        }

    def __repr__(self) -> str:
        shown = [f"{name}={key!r}" for name, key in self._keys().items() if key is not None]
        shown += [f"additional={[key for _, key in self._additional]!r}"] if self._additional else []
        return f"<{type(self).__name__} {self._called!r} {' '.join(shown)}>"

    def __eq__(self, other: object) -> bool:
        """Whether both would be one after pickling."""
        if not isinstance(other, _RawKeyring):
            return NotImplemented
        told = self._told()
        return self is other or (type(self) is type(other) and told is not None and told == other._told())

    def __hash__(self) -> int:
        return hash((type(self), self._called))

    def __reduce__(self) -> tuple[Any, ...]:
        told = self._told()
        if told is None:
            raise TypeError(
                f"a {type(self).__name__} that was given the bytes of a key cannot be pickled: keys are in no pickle. "
                "Give a pathlib.Path, or a function that can be imported and answers the key"
            )
        return _restore, (type(self), told)


class RawAesKeyring(_RawKeyring):
    """Wraps data keys under an AES-256 key of one's own: `AES/GCM`, code `02` in V3.

    Reads `AESWrap` and V1's `AES` too, where `legacy=` admits them. The key is copied into memory of the core, which
    wipes it. Nonces are random: one key may wrap some 2**32 data keys (NIST SP 800-38D, 8.3). No encryption context is
    bound, so `encryption_context=` and `bind_location=` are refused. A key of 16 or 24 bytes, which the Java and Ruby
    clients take too, reads what they wrote under it; nothing is written under it here.

    Args:
        key: the 32 bytes; or a function that answers them; or the `pathlib.Path` of a file that has nothing else. A
            function and a file are asked when the key is first needed, and again when it is five minutes old, so that
            a key that was replaced or withdrawn takes effect, as a revoked grant does. In between it stays in the core.
            A client with such a reference can be pickled, one with the bytes cannot.
        name: what messages call the key.
        material_description: stored with each object, in clear and unproven, so that the key is found again.
        additional: more keys for reads: pairs of a material description and a key. An object whose description is
            equal to one of them is read under that key, any other under the first.

    Raises:
        ConfigurationError: not 32 bytes (nor 24 or 16), or descriptions that do not map strings to strings.

    Example:
        >>> import secrets
        >>> old, new = secrets.token_bytes(32), secrets.token_bytes(32)
        >>> RawAesKeyring(new, name="2026", material_description={"kek": "2026"}, additional=[({"kek": "2025"}, old)])
        <RawAesKeyring '2026' key=(bytes) additional=[(bytes)]>
    """

    wraps = frozenset({AES_GCM, "AESWrap", "AES"})
    _wrap = AES_GCM
    _kind = "AES"

    def __init__(
        self,
        key: KeySource,
        *,
        name: str = "",
        material_description: Mapping[str, str] = _NOTHING,
        additional: Additional = (),
    ) -> None:
        self._key = self._read_key(key)
        super().__init__(name, material_description, additional)

    @staticmethod
    def _read_key(key: KeySource) -> RawKey[_core.AesWrappingKey]:
        return RawKey(key, _core.AesWrappingKey, "an AES key")

    def check_write(self, location: ObjectLocation) -> str:
        """Look at the key, where it is read from a file or asked for. Raises `ConfigurationError`, also for a key that
        only reads.
        """
        self._wrapped(_core.DataKey.generate(), Format.V3.content_algorithm, location)
        return self._name

    def _own_key(self, location: ObjectLocation) -> RawKey[_core.AesWrappingKey]:  # noqa: ARG002
        return self._key

    def _wrapped(self, data_key: _core.DataKey, algorithm: str, location: ObjectLocation) -> bytes:
        try:
            return self._key.get().wrap(data_key, algorithm.encode())
        except ValueError as error:
            raise ConfigurationError(f"{location}: {error}") from None

    def _unwrapped(self, key: _core.AesWrappingKey, metadata: EncryptedMetadata) -> _core.DataKey:
        wrapped, algorithm = metadata.encrypted_data_key, metadata.content_algorithm
        if metadata.wrap == "AESWrap":
            return key.unwrap_rfc3394(wrapped)
        if metadata.wrap == "AES":
            return key.unwrap_ecb(wrapped)
        # The content algorithm as the object names it, and no other: what lets AES-CBC open a data key of AES-GCM lets
        # whoever writes the metadata turn an authenticated object into a padding oracle (CVE-2020-8912).
        return key.unwrap(wrapped, algorithm.encode())

    def _keys(self) -> dict[str, RawKey[Any] | None]:
        return {"key": self._key}


class RawRsaKeyring(_RawKeyring):
    """Wraps data keys under an RSA key of one's own: `RSA-OAEP-SHA1`, code `22` in V3.

    Who writes needs the public key alone, which the private key contains; who reads the private one. Reads
    `RSA/ECB/OAEPWithSHA-256AndMGF1Padding` and V1's `RSA` too, where `legacy=` admits them; the last one never says
    whether its padding fitted, but answers a key that opens nothing.

    Args:
        private_key, public_key: PEM or DER, PKCS#8, PKCS#1 or SubjectPublicKeyInfo, 2048 to 4096 bits, not encrypted;
            as bytes, by a function, or as a `pathlib.Path`, as for `RawAesKeyring`. Where both are given they must be
            of one pair.
        name, material_description, additional: as for `RawAesKeyring`; the additional keys are private ones.

    Raises:
        ConfigurationError: what is no such key, or keys of two pairs.

    Example:
        >>> from pathlib import Path
        >>> RawRsaKeyring(public_key=Path("partner.pem"), name="partner")  # doctest: +SKIP
        <RawRsaKeyring 'partner' public_key=(file partner.pem)>
    """

    wraps = frozenset({RSA_OAEP, "RSA/ECB/OAEPWithSHA-256AndMGF1Padding", "RSA"})
    _wrap = RSA_OAEP
    _kind = "RSA"

    def __init__(
        self,
        private_key: KeySource | None = None,
        public_key: KeySource | None = None,
        *,
        name: str = "",
        material_description: Mapping[str, str] = _NOTHING,
        additional: Additional = (),
    ) -> None:
        if private_key is None and public_key is None:
            raise ConfigurationError("RawRsaKeyring takes private_key=, public_key= or both")
        self._private = None if private_key is None else self._read_key(private_key)
        self._public = None if public_key is None else RawKey(public_key, _core.RsaPublicKey, "an RSA public key")
        self._paired = False
        super().__init__(name, material_description, additional)

    @staticmethod
    def _read_key(key: KeySource) -> RawKey[_core.RsaPrivateKey]:
        return RawKey(key, _core.RsaPrivateKey, "an RSA private key")

    def check_write(self, location: ObjectLocation) -> str:  # noqa: ARG002 - of the protocol
        """Look at the keys, where they are read from a file or asked for. Raises `ConfigurationError`, also for keys
        of two pairs: nobody could read what is written under them.
        """
        public = self._public_key()
        if self._private is not None and self._public is not None and not self._paired:
            algorithm = Format.V3.content_algorithm
            try:
                self._private.get().unwrap(public.wrap(_core.DataKey.generate(), algorithm), algorithm)
            except AuthenticationError:
                raise ConfigurationError(f"private_key= and public_key= of the {self._name} are of two pairs") from None
            self._paired = True
        return self._name

    def _own_key(self, location: ObjectLocation) -> RawKey[_core.RsaPrivateKey] | None:
        if self._private is None and not self._additional:
            raise NoKeyError(f"{location}: no RSA key to read under: give RawRsaKeyring(private_key=...)")
        return self._private

    def _public_key(self) -> _core.RsaPublicKey:
        if self._public is not None:
            return self._public.get()
        assert self._private is not None  # noqa: S101 - one of them is there
        return self._private.get().public_key()

    def _wrapped(self, data_key: _core.DataKey, algorithm: str, location: ObjectLocation) -> bytes:
        self.check_write(location)
        return self._public_key().wrap(data_key, algorithm)

    def _unwrapped(self, key: _core.RsaPrivateKey, metadata: EncryptedMetadata) -> _core.DataKey:
        wrapped = metadata.encrypted_data_key
        if metadata.wrap == "RSA":
            return key.unwrap_pkcs1(wrapped)
        if metadata.wrap != RSA_OAEP:
            return key.unwrap_oaep_sha256(wrapped)
        return key.unwrap(wrapped, metadata.content_algorithm)

    def _keys(self) -> dict[str, RawKey[Any] | None]:
        return {"private_key": self._private, "public_key": self._public}


def _pairs(additional: Any) -> list[tuple[Any, Any]]:
    """Material descriptions with their keys. Raises `ConfigurationError` for anything but pairs."""
    pairs: list[Any] = [*additional] if isinstance(additional, Iterable) else [None]
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise ConfigurationError(
            'additional= takes pairs of a material description and a key: [({"kek": "2025"}, key)]'
        )
    return pairs


def _described(description: Any) -> dict[str, str]:
    """A material description as a dict. Raises `ConfigurationError` unless it maps strings to strings."""
    try:
        described = dict(description)
    except (TypeError, ValueError):
        raise ConfigurationError("a material description maps strings to strings") from None
    if not all(isinstance(name, str) and isinstance(value, str) for name, value in described.items()):
        raise ConfigurationError("a material description maps strings to strings")
    return described


def _restore(kind: type[_RawKeyring], given: Mapping[str, Any]) -> _RawKeyring:
    return kind(**given)
