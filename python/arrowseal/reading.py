"""One read of one object: what admits it, what opens it, and when it is read once more."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from arrowseal import _core
from arrowseal.encryption import check_context
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
from arrowseal.kms_keyring import KmsKeyring
from arrowseal.location import ObjectLocation
from arrowseal.store import Payload
from arrowseal.suites import AnyContext, Format
from arrowseal.transfer import Download

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal._core import PlaintextBuffer, UnauthenticatedBuffer
    from arrowseal.counters import Operation
    from arrowseal.keyrings import Keyrings
    from arrowseal.metadata import EncryptedMetadata
    from arrowseal.options import ClientOptions
    from arrowseal.retrying import RetryingStore
    from arrowseal.store import StoredObject

_INSTRUCTION_SUFFIX: Final = ".instruction"


class Reader:
    """Reads whole objects for a client."""

    def __init__(self, store: RetryingStore, keyrings: Keyrings, options: ClientOptions) -> None:
        self._store = store
        self._keyrings = keyrings
        self._options = options
        self._usual = self._rules(options.encryption_context, options.allow_plaintext)

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
            wraps=KmsKeyring.wraps,
        )

    def read(
        self,
        location: ObjectLocation,
        arguments: Mapping[str, Any],
        rules: ReadRules,
        keyring: KmsKeyring,
        operation: Operation,
        *,
        verify_checksum: bool = False,
    ) -> PlaintextBuffer | UnauthenticatedBuffer:
        """The object, whole and as `rules` demand it; `arguments` go to S3. Raises what `Client.get` does."""

        def once() -> PlaintextBuffer | UnauthenticatedBuffer:
            return self._read_once(location, arguments, rules, keyring, operation, verify_checksum)

        try:
            return once()
        except (AuthenticationError, ChecksumMismatchError, PreconditionFailedError):
            # Once more from the wire: bytes may flip on their way, and an object may be overwritten under a read.
            operation.retries += 1
        try:
            return once()
        except PreconditionFailedError:
            raise ObjectChangedError(f"{location}: overwritten twice while it was read: read it later") from None

    def _read_once(
        self,
        location: ObjectLocation,
        arguments: Mapping[str, Any],
        rules: ReadRules,
        keyring: KmsKeyring,
        operation: Operation,
        verify_checksum: bool,
    ) -> PlaintextBuffer | UnauthenticatedBuffer:
        download = Download(self._store, location, arguments, operation, self._options.transfer)
        with contextlib.closing(download):
            stored = download.stored
            encrypted = self._admit(stored, rules, operation)
            operation.encryption = encryption_label(stored, encrypted)
            operation.hold(stored.stored_bytes)
            try:
                if encrypted is not None:
                    buffer: Any = self._open(download, encrypted, keyring, operation)
                else:
                    expected = self._stored_crc32(stored, arguments, operation) if verify_checksum else None
                    buffer = download.receive(_core.PlainReceiver(stored.stored_bytes))
                    if expected is not None:
                        _compare(buffer, expected, stored, operation)
            finally:
                operation.release(stored.stored_bytes)
        operation.plaintext_bytes += len(buffer)
        operation.stored_bytes += stored.stored_bytes
        return buffer  # type: ignore[no-any-return]

    def _open(
        self, download: Download, encrypted: EncryptedMetadata, keyring: KmsKeyring, operation: Operation
    ) -> PlaintextBuffer:
        stored, location = download.stored, download.stored.location
        materials = keyring.unwrap(encrypted, location, operation)
        self._keyrings.remember(encrypted.encrypted_data_key, materials.kms_key_arn)
        suite = Format.of(encrypted.format).suite
        try:
            with operation.timed("crypto"):
                opener = _core.Opener(
                    materials.data_key, suite.id, encrypted.message_id, encrypted.commitment, stored.stored_bytes
                )
            return download.receive(opener)
        except AuthenticationError as error:
            raise AuthenticationError(
                f"{location} (data key from {materials.kms_key_arn}): {error}. It was changed or cut short, or its "
                "body and its metadata belong to different objects: restore it from a version or a copy that opens"
            ) from None

    def _stored_crc32(self, stored: StoredObject, arguments: Mapping[str, Any], operation: Operation) -> str:
        """Asked for by itself, since few servers tell it with a range. Raises `NoChecksumError`."""
        same = {"IfMatch": f'"{stored.etag}"', "ChecksumMode": "ENABLED"}
        crc32 = self._store.head(stored.location, operation, arguments=dict(arguments) | same).crc32
        if crc32 is None:
            raise NoChecksumError(
                f"{stored.location}: no CRC32 of the whole object is stored with it, so that its bytes cannot be "
                "checked: read it without verify_checksum=True, or write it anew with arrowseal"
            )
        return crc32

    def _admit(self, stored: StoredObject, rules: ReadRules, operation: Operation) -> EncryptedMetadata | None:
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
            self._store.head(beside, operation, arguments={})
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
