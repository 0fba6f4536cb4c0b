"""One read of one object: what admits it, what opens it, and when it is read once more."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from arrowseal import _core
from arrowseal import metadata as content_metadata
from arrowseal.encryption import CSE, PLAIN, Encryption, Plain, check_context
from arrowseal.envelope import ReadRules, admit
from arrowseal.exceptions import (
    AuthenticationError,
    ChecksumMismatchError,
    NoChecksumError,
    NotEncryptedError,
    ObjectChangedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreAccessDeniedError,
    UnsupportedFormatError,
)
from arrowseal.head import encryption_label
from arrowseal.location import ObjectLocation
from arrowseal.store import Payload
from arrowseal.suites import AnyContext, Format
from arrowseal.transfer import Download

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from arrowseal._core import PlaintextBuffer, UnauthenticatedBuffer
    from arrowseal.counters import Operation
    from arrowseal.keyring import Keyring
    from arrowseal.keyrings import Keyrings
    from arrowseal.metadata import EncryptedMetadata
    from arrowseal.options import ClientOptions
    from arrowseal.retrying import RetryingStore
    from arrowseal.store import StoredObject

_INSTRUCTION_SUFFIX: Final = ".instruction"
_USUAL_ARM: Final = CSE()


class LargerError(Exception):
    """An object is larger than who asked for it whole believed. Never seen outside."""


@dataclass(frozen=True, slots=True)
class Unlocked:
    """An object whose data key was unwrapped, and by which KMS key."""

    location: ObjectLocation
    kms_key_arn: str
    of_core: tuple[_core.DataKey, int, bytes, bytes | None, int]
    """What its openers in the core take."""

    @contextlib.contextmanager
    def authenticating(self) -> Iterator[None]:
        """Errors of the core within the block name the object and its key."""
        try:
            yield
        except AuthenticationError as error:
            raise AuthenticationError(
                f"{self.location} (data key from {self.kms_key_arn}): {error}. It was changed or cut short, or its "
                "body and its metadata belong to different objects: restore it from a version or a copy that opens"
            ) from None


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What a call asked to read: where, the arguments for S3, what it accepts, and under which keys."""

    location: ObjectLocation
    arguments: Mapping[str, Any]
    rules: ReadRules
    keyring: Keyring


class Reader:
    """Reads objects for a client."""

    def __init__(self, store: RetryingStore, keyrings: Keyrings, options: ClientOptions) -> None:
        self.store = store
        self._keyrings = keyrings
        self._options = options
        self._usual = self._rules(options.encryption_context, options.allow_plaintext)

    def request(
        self,
        location: ObjectLocation,
        encryption: Encryption | None,
        encryption_context: Mapping[str, str] | AnyContext | None,
        kms_key_id: str | None,
        allow_plaintext: bool | None,
        version_id: str | None,
    ) -> ReadRequest:
        """What the arguments of a call say, and where they are silent the client's options. Raises
        `ConfigurationError` for a read that has no key, before any request.
        """
        no_cse = encryption if isinstance(encryption, Plain) else None
        arm = encryption if isinstance(encryption, CSE) else _USUAL_ARM
        rules = self.rules(
            arm.encryption_context if encryption_context is None else encryption_context,
            no_cse is not None or (self._options.allow_plaintext if allow_plaintext is None else allow_plaintext),
        )
        keyring = self._keyrings.for_key(kms_key_id or arm.kms_key_id, location)
        rules = replace(rules, wraps=keyring.wraps, bound=self._keyrings.bound(location))
        if not rules.allow_plaintext:
            keyring.check_read(location)
        arguments = (no_cse or PLAIN).read_arguments() | ({"VersionId": version_id} if version_id else {})
        return ReadRequest(location, arguments, rules, keyring)

    def rules(self, context: Mapping[str, str] | AnyContext | None, allow_plaintext: bool) -> ReadRules:
        """What a read accepts: the call's own words, or else the client's."""
        if context is None and allow_plaintext == self._options.allow_plaintext:
            return self._usual
        return self._rules(self._options.encryption_context if context is None else context, allow_plaintext)

    def _rules(self, expected: Mapping[str, str] | AnyContext | None, allow_plaintext: bool) -> ReadRules:
        return ReadRules(
            commitment_policy=self._options.commitment_policy,
            allow_plaintext=allow_plaintext,
            encryption_context=expected if isinstance(expected, AnyContext) else check_context(expected),
            max_plaintext_bytes=self._options.max_plaintext_bytes,
            wraps=frozenset(),
        )

    def read(
        self, request: ReadRequest, operation: Operation, *, verify_checksum: bool = False
    ) -> PlaintextBuffer | UnauthenticatedBuffer:
        """The object, whole and as the request demands it. Raises what `Client.get` does."""
        return self.whole(request, operation, verify_checksum=verify_checksum)[1]

    def whole(
        self, request: ReadRequest, operation: Operation, *, verify_checksum: bool = False, most: int | None = None
    ) -> tuple[StoredObject, PlaintextBuffer | UnauthenticatedBuffer]:
        """The same, and what S3 says of it. Raises `LargerError` if more than `most` bytes are stored."""
        try:
            return self._read_once(request, operation, verify_checksum, most)
        except (AuthenticationError, ChecksumMismatchError, PreconditionFailedError):
            # Once more from the wire: bytes may flip on their way, and an object may be overwritten under a read.
            operation.retries += 1
        try:
            return self._read_once(request, operation, verify_checksum, most)
        except PreconditionFailedError:
            message = f"{request.location}: overwritten twice while it was read: read it later"
            raise ObjectChangedError(message) from None

    def opened(
        self, request: ReadRequest, stored: StoredObject, content: bytes, operation: Operation
    ) -> tuple[StoredObject, PlaintextBuffer | UnauthenticatedBuffer]:
        """An object whose stored bytes are all there already; read once more if they do not authenticate."""
        encrypted = self.admit(stored, request.rules, operation)
        try:
            if encrypted is None:
                buffer: Any = _core.PlainReceiver(len(content)).receive(content)
            else:
                unlocked = self.unlock(stored, encrypted, request, operation)
                with unlocked.authenticating(), operation.timed("crypto"):
                    buffer = _core.Opener(*unlocked.of_core).receive(content)
        except AuthenticationError:
            operation.retries += 1
            return self._read_once(request, operation, verify_checksum=False)
        operation.plaintext_bytes += len(buffer)
        operation.stored_bytes += stored.stored_bytes
        return stored, buffer

    def _read_once(
        self, request: ReadRequest, operation: Operation, verify_checksum: bool, most: int | None = None
    ) -> tuple[StoredObject, PlaintextBuffer | UnauthenticatedBuffer]:
        download = Download(self.store, request.location, request.arguments, operation, self._options.transfer)
        with contextlib.closing(download):
            stored = download.stored
            if most is not None and stored.stored_bytes > most:
                raise LargerError
            encrypted = self.admit(stored, request.rules, operation)
            operation.encryption = encryption_label(stored, encrypted)
            operation.hold(stored.stored_bytes)
            try:
                if encrypted is not None:
                    unlocked = self.unlock(stored, encrypted, request, operation)
                    with unlocked.authenticating():
                        with operation.timed("crypto"):
                            opener = _core.Opener(*unlocked.of_core)
                        buffer: Any = download.receive(opener)
                else:
                    expected = self._stored_crc32(stored, request.arguments, operation) if verify_checksum else None
                    buffer = download.receive(_core.PlainReceiver(stored.stored_bytes))
                    if expected is not None:
                        _compare(buffer, expected, stored, operation)
            finally:
                operation.release(stored.stored_bytes)
        operation.plaintext_bytes += len(buffer)
        operation.stored_bytes += stored.stored_bytes
        return stored, buffer

    def unlock(
        self, stored: StoredObject, encrypted: EncryptedMetadata, request: ReadRequest, operation: Operation
    ) -> Unlocked:
        """What opens an object that was admitted. Raises `KmsError`s, `CredentialsError`."""
        materials = request.keyring.unwrap(encrypted, stored.location, operation)
        self._keyrings.remember(encrypted.encrypted_data_key, materials.kms_key_arn)
        suite = Format.of(encrypted.format).suite
        of_core = materials.data_key, suite.id, encrypted.message_id, encrypted.commitment, stored.stored_bytes
        return Unlocked(stored.location, materials.kms_key_arn, of_core)

    def key_arn(self, stored: StoredObject) -> str | None:
        """The KMS key of an object that this client opened."""
        return self._keyrings.arn_of(content_metadata.parse_at(stored.location, stored.metadata))

    def _stored_crc32(self, stored: StoredObject, arguments: Mapping[str, Any], operation: Operation) -> str:
        """Asked for by itself, since few servers tell it with a range. Raises `NoChecksumError`."""
        same = {"IfMatch": f'"{stored.etag}"', "ChecksumMode": "ENABLED"}
        crc32 = self.store.head(stored.location, operation, arguments=dict(arguments) | same).crc32
        if crc32 is None:
            raise NoChecksumError(
                f"{stored.location}: no CRC32 of the whole object is stored with it, so that its bytes cannot be "
                "checked: read it without verify_checksum=True, or write it anew with arrowseal"
            )
        return crc32

    def admit(self, stored: StoredObject, rules: ReadRules, operation: Operation) -> EncryptedMetadata | None:
        """The encryption of an object that `rules` accept; None for a plain one. Raises what `envelope.admit` does."""
        try:
            return admit(stored.location, stored.metadata, stored.stored_bytes, rules)
        except NotEncryptedError:
            # Only a refusal pays for this request: it turns a wrong reason into the right one.
            if self.has_instruction_file(stored.location, operation):
                raise UnsupportedFormatError(
                    f"{stored.location}: its encryption metadata lies in the instruction file "
                    f"{stored.location.key}{_INSTRUCTION_SUFFIX}, which this version does not read. Read it with the "
                    "client that wrote it"
                ) from None
            raise

    def has_instruction_file(self, location: ObjectLocation, operation: Operation) -> bool:
        """Whether an instruction file lies beside the object; one that may not be looked at does not."""
        beside = ObjectLocation(location.bucket, location.key + _INSTRUCTION_SUFFIX)
        try:
            self.store.head(beside, operation, arguments={})
        except (ObjectNotFoundError, StoreAccessDeniedError):
            return False
        return True


def _compare(content: UnauthenticatedBuffer, expected: str, stored: StoredObject, operation: Operation) -> None:
    with operation.timed("crypto"):
        crc32 = Payload(content).crc32
    if crc32 != expected:
        raise ChecksumMismatchError(
            f"{stored.location}: its bytes have the CRC32 {crc32}, stored is {expected}: they were damaged on their "
            "way, or in the store. Restore the object from a version or a copy"
        )
