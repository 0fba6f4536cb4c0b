"""One read of one object: what admits it, what opens it, and when it is read once more."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from arrowseal import _core, instruction_file
from arrowseal import metadata as content_metadata
from arrowseal.encryption import CSE, PLAIN, Encryption, Plain, check_context, check_encryption
from arrowseal.envelope import ReadRules, admit, cbc_failure
from arrowseal.etags import check_same, if_match
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
from arrowseal.legacy import check_legacy
from arrowseal.location import INSTRUCTION_SUFFIX, version_arguments
from arrowseal.options import check_switch
from arrowseal.store import Payload
from arrowseal.suites import AnyContext, Format
from arrowseal.transfer import Download

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from arrowseal._core import PlaintextBuffer, UnauthenticatedBuffer
    from arrowseal.counters import Operation
    from arrowseal.keyring import Keyring
    from arrowseal.keyrings import Keyrings
    from arrowseal.legacy import Legacy
    from arrowseal.location import ObjectLocation
    from arrowseal.materials import DecryptionMaterials
    from arrowseal.metadata import EncryptedMetadata
    from arrowseal.options import ClientOptions
    from arrowseal.retrying import RetryingStore
    from arrowseal.store import StoredObject

Taken = TypeVar("Taken")

_USUAL_ARM: Final = CSE()
_SUITE_IDS: Final = {one.name: one.suite.id for one in Format}


class LargerError(Exception):
    """An object is larger than who asked for it whole believed. Never seen outside."""


@dataclass(slots=True)  # not frozen, which takes four times as long, for each object that is read
class Unlocked:
    """An object whose data key was unwrapped, and by which key."""

    location: ObjectLocation
    materials: DecryptionMaterials
    encrypted: EncryptedMetadata
    stored_bytes: int

    @property
    def kms_key_arn(self) -> str | None:
        """The KMS key; None for a raw one."""
        return self.materials.kms_key_arn

    @property
    def of_core(self) -> tuple[_core.DataKey, int, bytes, bytes | None, int]:
        """What the openers of AES-GCM in the core take."""
        told, data_key = self.encrypted, self.materials.data_key
        return data_key, _SUITE_IDS[told.format], told.message_id, told.commitment, self.stored_bytes

    def opener(self) -> _core.Opener | _core.CbcOpener:
        """What opens the object as a whole."""
        if not self.encrypted.cbc:
            return _core.Opener(*self.of_core)
        label: Any = f"CSE {self.encrypted.format}"
        return _core.CbcOpener(self.materials.data_key, self.encrypted.message_id, self.stored_bytes, encryption=label)

    def authenticating(self) -> _Authenticating:
        """Errors of the core within the block name the object and its key; of CBC there is one error only."""
        return _Authenticating(self)


class _Authenticating:
    """The block of `Unlocked.authenticating`."""

    __slots__ = ("_unlocked",)

    def __init__(self, unlocked: Unlocked) -> None:
        self._unlocked = unlocked

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if not isinstance(error, AuthenticationError):
            return
        unlocked = self._unlocked
        if unlocked.encrypted.cbc:
            raise cbc_failure(unlocked.location) from None
        pair, more = "metadata", ""
        if unlocked.encrypted.instruction_file:
            # There is one place beside an object, for all its versions.
            pair = "instruction file"
            more = ". Of an old version: put the instruction file back that it was written with"
        raise AuthenticationError(
            f"{unlocked.location} (data key from {unlocked.materials.key_name}): {error}. It was changed or cut short, "
            f"or its body and its {pair} belong to different objects: restore it from a version or a copy that "
            f"opens{more}"
        ) from None


class Whole(NamedTuple):
    """An object that was read as a whole: what S3 says of it, its content, and the KMS key of its data key."""

    stored: StoredObject
    content: PlaintextBuffer | UnauthenticatedBuffer
    kms_key_arn: str | None = None


@dataclass(slots=True)  # as `Unlocked`
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
        self._usual: dict[bool | None, ReadRequest] = {}

    def request(
        self,
        location: ObjectLocation,
        encryption: Encryption | None,
        encryption_context: Mapping[str, str] | AnyContext | None,
        kms_key_id: str | None,
        allow_plaintext: bool | None,
        version_id: str | None,
        legacy: Legacy | None = None,
    ) -> ReadRequest:
        """What the arguments of a call say, and where they are silent the client's options. Raises
        `ConfigurationError` for a read that has no key, before any request.
        """
        options = self._options
        if allow_plaintext is not None:
            check_switch("allow_plaintext", allow_plaintext)
        silent = encryption is None and encryption_context is None and kms_key_id is None
        silent = silent and version_id is None and legacy is None
        usual = self._usual.get(allow_plaintext) if silent else None
        if usual is not None:  # most of many small objects are read with nothing said
            return ReadRequest(location, usual.arguments, usual.rules, usual.keyring)
        check_encryption(encryption)
        no_cse = encryption if isinstance(encryption, Plain) else None
        arm = encryption if isinstance(encryption, CSE) else _USUAL_ARM
        context = arm.encryption_context if encryption_context is None else encryption_context
        expected = options.encryption_context if context is None else context
        keyring = self._keyrings.for_key(arm.kms_key_id if kms_key_id is None else kms_key_id, location)
        rules = ReadRules(
            commitment_policy=options.commitment_policy,
            allow_plaintext=no_cse is not None
            or (options.allow_plaintext if allow_plaintext is None else allow_plaintext),
            encryption_context=expected if isinstance(expected, AnyContext) else check_context(expected),
            max_plaintext_bytes=options.max_plaintext_bytes,
            wraps=keyring.wraps,
            legacy=options.legacy if legacy is None else check_legacy(legacy),
            bound=self._keyrings.bound(location),
            instruction_files=options.instruction_files,
        )
        if not rules.allow_plaintext:
            keyring.check_read(location)
        arguments = (no_cse or PLAIN).read_arguments() | version_arguments(version_id)
        request = ReadRequest(location, arguments, rules, keyring)
        if silent and not self._keyrings.differ:
            self._usual[allow_plaintext] = request
        return request

    def whole(
        self, request: ReadRequest, operation: Operation, *, verify_checksum: bool = False, most: int | None = None
    ) -> Whole:
        """The object, whole and as the request demands it. Raises what `Client.get` does, and `LargerError` if it has
        more than `most` bytes.
        """
        try:
            return self._read_once(request, operation, verify_checksum, most)
        except (AuthenticationError, ChecksumMismatchError, PreconditionFailedError):
            # Once more from the wire: bytes may flip on their way, and an object may be overwritten under a read.
            operation.count_retry()
        try:
            return self._read_once(request, operation, verify_checksum, most)
        except PreconditionFailedError:
            message = f"{request.location}: overwritten twice while it was read: read it later"
            raise ObjectChangedError(message) from None

    def opened(
        self,
        request: ReadRequest,
        stored: StoredObject,
        content: bytes,
        encrypted: EncryptedMetadata | None,
        operation: Operation,
    ) -> Whole:
        """An object that was admitted and whose stored bytes are all there already; read once more if they do not
        authenticate.
        """
        kms_key_arn = None
        try:
            if encrypted is None:
                receiver = _core.PlainReceiver(len(content))
                buffer: Any = receiver.receive(content) if content else receiver.finish()
            else:
                unlocked = self.unlock(stored, encrypted, request, operation)
                kms_key_arn = unlocked.kms_key_arn
                with unlocked.authenticating(), operation.timed("crypto"):
                    buffer = unlocked.opener().receive(content)
        except AuthenticationError:
            operation.count_retry()
            return self._read_once(request, operation, verify_checksum=False)
        operation.plaintext_bytes += len(buffer)
        operation.stored_bytes += stored.stored_bytes
        return Whole(stored, buffer, kms_key_arn)

    def _read_once(
        self, request: ReadRequest, operation: Operation, verify_checksum: bool, most: int | None = None
    ) -> Whole:
        download = Download(self.store, request.location, request.arguments, operation, self._options.transfer)
        try:
            stored = download.stored
            if most is not None and stored.stored_bytes > most:
                raise LargerError
            encrypted, kms_key_arn = self.admit(stored, request.rules, operation), None
            operation.encryption = encryption_label(stored, encrypted)
            operation.hold(stored.stored_bytes)
            try:
                if encrypted is not None:
                    unlocked = self.unlock(stored, encrypted, request, operation)
                    kms_key_arn = unlocked.kms_key_arn
                    with unlocked.authenticating():
                        with operation.timed("crypto"):
                            opener = _held(stored.location, unlocked.opener)
                        buffer: Any = download.receive(opener)
                else:
                    expected = self._stored_crc32(stored, request.arguments, operation) if verify_checksum else None
                    receiver = _held(stored.location, lambda: _core.PlainReceiver(stored.stored_bytes))
                    buffer = download.receive(receiver)
                    if expected is not None:
                        _compare(buffer, expected, stored, operation)
            finally:
                operation.release(stored.stored_bytes)
        finally:
            download.close()
        operation.plaintext_bytes += len(buffer)
        operation.stored_bytes += stored.stored_bytes
        return Whole(stored, buffer, kms_key_arn)

    def unlock(
        self, stored: StoredObject, encrypted: EncryptedMetadata, request: ReadRequest, operation: Operation
    ) -> Unlocked:
        """What opens an object that was admitted. Raises `KmsError`s, `CredentialsError`."""
        materials = request.keyring.unwrap(encrypted, stored.location, operation)
        self._keyrings.remember(encrypted.encrypted_data_key, materials.kms_key_arn)
        return Unlocked(stored.location, materials, encrypted, stored.stored_bytes)

    def _stored_crc32(self, stored: StoredObject, arguments: Mapping[str, Any], operation: Operation) -> str:
        """Asked for by itself, since few servers tell it with a range. Raises `NoChecksumError`."""
        asked = dict(arguments) | if_match(stored.etag) | {"ChecksumMode": "ENABLED"}
        head = self.store.head(stored.location, operation, arguments=asked)
        check_same(head, stored.etag)
        crc32 = head.crc32
        if crc32 is None:
            raise NoChecksumError(
                f"{stored.location}: no CRC32 of the whole object is stored with it, so that its bytes cannot be "
                "checked: read it without verify_checksum=True, or write it anew with arrowseal"
            )
        return crc32

    def admit(self, stored: StoredObject, rules: ReadRules, operation: Operation) -> EncryptedMetadata | None:
        """The encryption of an object that `rules` accept; None for a plain one. Raises what `envelope.admit` does."""
        instruction = self._instruction(stored, rules.instruction_files, operation)
        try:
            return admit(stored.location, stored.metadata, stored.stored_bytes, rules, instruction)
        except NotEncryptedError:
            # Only a refusal pays for this request: it turns a wrong reason into the right one.
            if rules.instruction_files != INSTRUCTION_SUFFIX and self.has_instruction_file(stored.location, operation):
                raise UnsupportedFormatError(
                    f"{stored.location}: its encryption metadata lies in the instruction file "
                    f"{stored.location.key}{INSTRUCTION_SUFFIX}. If objects with instruction files are expected here, "
                    "read with instruction_files=True"
                ) from None
            raise

    def claimed(self, stored: StoredObject, operation: Operation) -> EncryptedMetadata | None:
        """What an object says of its encryption, its instruction file included where the client looks at those. Raises
        `MetadataError`, and `ObjectNotFoundError` where that file is gone.
        """
        instruction = self._instruction(stored, self._options.instruction_files, operation)
        return content_metadata.parse_at(stored.location, stored.metadata, instruction)

    def has_instruction_file(self, location: ObjectLocation, operation: Operation) -> bool:
        """Whether an instruction file lies beside the object, by the client's suffix or the usual one; one that may not
        be looked at does not.
        """
        for suffix in dict.fromkeys((self._options.instruction_files or INSTRUCTION_SUFFIX, INSTRUCTION_SUFFIX)):
            beside = instruction_file.beside(location, suffix)
            with contextlib.suppress(ObjectNotFoundError, StoreAccessDeniedError):
                if beside is not None and self.store.head(beside, operation, arguments={}):
                    return True
        return False

    def _instruction(self, stored: StoredObject, suffix: str | None, operation: Operation) -> dict[str, str] | None:
        """What the instruction file of an object says that does not say all by itself. Raises `ObjectNotFoundError` for
        an object that has one, and it is not there.
        """
        if suffix is None:
            return None
        in_object = content_metadata.parse_at(stored.location, stored.metadata)
        if in_object is not None and not in_object.pending:
            return None
        found = instruction_file.fetch(self.store, stored.location, suffix, operation)
        if found is None and in_object is not None:
            raise ObjectNotFoundError(
                f"{stored.location}: its encrypted data key lies in an instruction file, and {stored.location.key}"
                f"{suffix} is not there: restore it, or read with the suffix that it has (instruction_files=)"
            )
        return found


def _held(location: ObjectLocation, take: Callable[[], Taken]) -> Taken:
    """What takes the memory of a whole object. Raises a `MemoryError` that names the object."""
    try:
        return take()
    except MemoryError as error:
        message = f"{location}: {error}: read it in pieces, by Client.open or Client.object"
        raise MemoryError(message) from None


def _compare(content: UnauthenticatedBuffer, expected: str, stored: StoredObject, operation: Operation) -> None:
    with operation.timed("crypto"):
        crc32 = Payload(content).crc32
    if crc32 != expected:
        raise ChecksumMismatchError(
            f"{stored.location}: its bytes have the CRC32 {crc32}, stored is {expected}: they were damaged on their "
            "way, or in the store. Restore the object from a version or a copy"
        )
