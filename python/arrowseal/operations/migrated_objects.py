"""Objects of one migration: each is written anew beside where it is, compared, and put in its place."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from arrowseal import instruction_file as instructions
from arrowseal.binding import bound_location
from arrowseal.cancellation import shielded
from arrowseal.encryption import CSE, PLAIN, SSE_KMS, Plain
from arrowseal.exceptions import (
    ArrowSealError,
    ChecksumMismatchError,
    EncryptionContextError,
    ObjectChangedError,
    ObjectNotFoundError,
    UnsupportedFormatError,
)
from arrowseal.head import encryption_label
from arrowseal.location import INSTRUCTION_SUFFIX, ObjectLocation
from arrowseal.metadata import INSTRUCTION_FILE, IV, KMS_WRAPS, MESSAGE_ID, RESERVED_NAMES, check_sent
from arrowseal.operations.conditions import Conditions
from arrowseal.operations.placing import Placer, Placing
from arrowseal.operations.report import ObjectResult
from arrowseal.operations.rewrapping import grants_of, told
from arrowseal.operations.staging import remove_staged, staging_of
from arrowseal.sealing import WRITE_MARK
from arrowseal.segment_index import companion, copy_index, delete_index
from arrowseal.store import COPY_LIMIT
from arrowseal.suites import ANY, AnyContext, Format
from arrowseal.writing import sharing_data_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal.client import Client
    from arrowseal.counters import Operation
    from arrowseal.encryption import Encryption
    from arrowseal.metadata import EncryptedMetadata
    from arrowseal.object_reader import ObjectReader
    from arrowseal.operations.jobs import JobOptions
    from arrowseal.reading import ReadRequest
    from arrowseal.store import ListedObject, ObjectAttributes, StoredObject
    from arrowseal.writing import PutResult

_PIECE: Final = 4 * 2**20
_OF_ONE_WRITE: Final = (MESSAGE_ID, IV, WRITE_MARK)
"""What tells a write from all others: an object that has it from what lies beside it was put in place by this job."""


class Migration:
    """One job; `one` is what it does to an object that stays where it is."""

    def __init__(
        self,
        client: Client,
        to: Encryption,
        reading: Mapping[str, Any],
        operation: Operation,
        options: JobOptions,
        *,
        keep_acl: bool,
        unconditional: bool,
    ) -> None:
        self.client = client
        self.to = to
        self.reading = {name: value for name, value in reading.items() if value is not None}
        self.operation = operation
        self.options = options
        self.store = client._store  # noqa: SLF001 - what operations share with the client that they are given
        self._reader = client._reader  # noqa: SLF001
        self.suffix = client.options.instruction_files or INSTRUCTION_SUFFIX
        self.keep_acl = keep_acl
        # What is written beside an object is bound to the place of the object itself; see `encryption`.
        self.writer = client.replace(bind_location=None, instruction_files=False, progress=False)
        self.writer.counters = client.counters
        self._placer = Placer(
            self.store,
            operation,
            Conditions(self.store, operation),
            client.options.transfer,
            copy_limit=COPY_LIMIT,
            unconditional=unconditional,
        )

    def check(self, prefix: ObjectLocation) -> None:
        """Raise `ConfigurationError` for what no object could be read or written with, before any request."""
        wanted = self.writer._writer.encryption(self.to, None, None)  # noqa: SLF001
        if isinstance(self.client.options.kms_key_id, Mapping):
            return  # each place has a key of its own
        self._request(prefix)
        if isinstance(wanted, CSE):
            self.client._keyrings.for_key(wanted.kms_key_id, prefix).check_write(prefix)  # noqa: SLF001

    def _request(self, location: ObjectLocation, context: Mapping[str, str] | None = None) -> ReadRequest:
        asked = self.reading
        context = asked.get("encryption_context") if context is None else context
        plain = asked.get("allow_plaintext")
        return self._reader.request(location, None, context, None, plain, None, asked.get("legacy"))

    def sharing_data_keys(self) -> AbstractContextManager[None]:
        """One data key for many objects, where the format has a key of its own for each."""
        return sharing_data_keys(self.writer, self.to)

    def look(self, listed: ListedObject) -> tuple[ObjectAttributes, EncryptedMetadata | None, ObjectResult]:
        """An object, its encryption if it may be read, and its row so far. Raises what a read would."""
        return self._admitted(self.store.attributes(listed.location, self.operation, arguments={}))

    def _admitted(self, before: ObjectAttributes) -> tuple[ObjectAttributes, EncryptedMetadata | None, ObjectResult]:
        stored, location = before.stored, before.stored.location
        if self._is_plain_by_mark(stored) and not self.options.dry_run:
            self._tidy(stored)  # a file that a killed run left would make an encrypted object of it
        try:
            encrypted = self._reader.admit(stored, self._request(location).rules, self.operation)
        except EncryptionContextError:
            # What an earlier run left under the context that `to` names is as it shall be, whatever others have.
            own = self.to.encryption_context if isinstance(self.to, CSE) else None
            if own is None:
                raise
            encrypted = self._reader.admit(stored, self._request(location, own).rules, self.operation)
            if not self._is_as_wanted(stored, encrypted):
                raise
        if encrypted is None and not self._is_plain_by_mark(stored):
            self._check_plain(stored)
        return (
            before,
            encrypted,
            ObjectResult(
                location=location,
                state="planned",
                asked=self.options.asked,
                before=encryption_label(stored, encrypted),
                after=self.label(),
                way="written anew",
                wrapped_key=hashlib.sha256(encrypted.encrypted_data_key).hexdigest()[:16] if encrypted else None,
                kms_call="Decrypt" if encrypted and encrypted.wrap in KMS_WRAPS else None,
                stored_bytes=stored.stored_bytes,
                etag=stored.etag,
                last_modified=stored.last_modified,
                version_id=stored.version_id,
            ),
        )

    def _check_plain(self, stored: StoredObject) -> None:
        """Raise `UnsupportedFormatError` for what only looks plain: V1 and V2 have nothing in an object whose data key
        lies in an instruction file, and its ciphertext would be taken for its content.
        """
        location, looked_at = stored.location, self.client.options.instruction_files
        if looked_at != INSTRUCTION_SUFFIX and instructions.lies_beside(
            self.store, location, INSTRUCTION_SUFFIX, self.operation
        ):
            raise UnsupportedFormatError(
                f"{location}: its encryption metadata lies in the instruction file {location.key}{INSTRUCTION_SUFFIX}: "
                "migrate it with a client that has instruction_files=True, or remove that file if the object is plain"
            )

    def label(self) -> str:
        """How objects are protected afterwards."""
        if isinstance(self.to, CSE):
            return f"CSE {Format.of(self.to.format or self.client.options.format).value}"
        return self.to.label

    def one(self, listed: ListedObject) -> ObjectResult:
        """Migrate an object, or tell how it would be. Raises `ArrowSealError`s."""
        before = self.store.attributes(listed.location, self.operation, arguments={})
        if INSTRUCTION_FILE in before.stored.metadata:
            # Of another suffix, perhaps somebody else's: written anew, it would open its object for nobody any more.
            reason = "an instruction file, which holds the data key of another object"
            return ObjectResult(
                location=listed.location, state="skipped", reason=reason, asked=self.options.asked, before="PLAIN"
            )
        before, encrypted, result = self._admitted(before)
        if self._is_as_wanted(before.stored, encrypted):
            if not self.options.dry_run and not self._is_plain_by_mark(before.stored):
                self._tidy(before.stored)
            return replace(result, state="already", way=None, after=result.before)
        if self.options.dry_run:
            return result
        staging = staging_of(listed.location)
        try:
            written, digest = self._staged(before, encrypted, staging)
            self._read_back(staging, digest, written)
            staged = self.store.head(staging, self.operation, arguments={})
            if staged.etag != written.etag:
                raise ObjectChangedError(f"{staging}: written by another job: let one migrate at a time")
            result = replace(result, key=written.kms_key_arn)
            result = self._placed(before, staged, encrypted, result)
        except BaseException:
            with shielded(), suppress(ArrowSealError):
                self._remove(before.stored)
            raise
        self._remove(before.stored)
        return result

    def _is_as_wanted(self, stored: StoredObject, encrypted: EncryptedMetadata | None) -> bool:
        """Whether an object is protected already as it would be afterwards."""
        to = self.to
        if encrypted is None and to == PLAIN:
            return True
        if encryption_label(stored, encrypted) != self.label():
            return False
        if isinstance(to, SSE_KMS):
            return bool(stored.bucket_key) == to.bucket_key and _may_be_one_key(to.key, stored.server_side_key)
        if encrypted is None or not isinstance(to, CSE):
            return True
        if encrypted.instruction_file:
            return False
        wanted = self.encryption(stored.location, encrypted)
        assert isinstance(wanted, CSE)  # noqa: S101 - as `to` is
        return to.encryption_context is None or wanted.encryption_context == encrypted.user_context

    def is_as_written(self, location: ObjectLocation, wanted: Encryption) -> bool:
        """Whether an object is protected as a write of this migration under `wanted` leaves it. Raises what a read
        would.
        """
        stored = self.store.head(location, self.operation, arguments={})
        rules = self._reader.request(location, None, ANY, None, True, None).rules
        encrypted = self._reader.admit(stored, rules, self.operation)
        if isinstance(wanted, CSE) and (encrypted is None or encrypted.user_context != wanted.encryption_context):
            return False
        return self._is_as_wanted(stored, encrypted)

    def open_source(self, stored: StoredObject) -> ObjectReader:
        """The content of an object that was looked at. Raises `ObjectChangedError` if it is another one by now."""
        reader = self.client.open(stored.location, "rb", size_hint=stored.stored_bytes, **self.reading)
        if reader.object.etag != stored.etag:
            reader.close()
            raise ObjectChangedError(f"{stored.location}: overwritten meanwhile: it is left as it is")
        return reader

    def encryption(self, location: ObjectLocation, encrypted: EncryptedMetadata | None) -> Encryption:
        """That of a write for this place: of an encrypted object under its own context, unless another one is named."""
        if not isinstance(self.to, CSE):
            return self.to
        context = self.to.encryption_context
        if context is None:
            told = self.client.options.encryption_context
            context = {} if isinstance(told, AnyContext) else dict(told)
            if encrypted is not None and encrypted.context:
                context = encrypted.user_context
        bound = bound_location(self.client.options.bind_location, location)
        return replace(self.to, encryption_context={**context, **bound})

    def _staged(
        self, before: ObjectAttributes, encrypted: EncryptedMetadata | None, staging: ObjectLocation
    ) -> tuple[PutResult, bytes]:
        """The content written beside its object, and its SHA-256."""
        stored, digest = before.stored, hashlib.sha256()
        marked = {WRITE_MARK: secrets.token_hex(16)} if isinstance(self.to, Plain) else {}
        users = users_metadata(stored)
        check_sent(stored.location, users)
        writing: dict[str, Any] = {
            "encryption": self.encryption(stored.location, encrypted),
            "s3_additional_kwargs": {"Metadata": users | marked},
        }
        with self.open_source(stored) as source:
            if source.size <= self.client.options.transfer.part_bytes:
                content = source.read_buffer()
                digest.update(content)
                return self.writer.put(staging, content, **writing), digest.digest()
            with self.writer.open(staging, "wb", **writing) as file:
                for piece in _pieces(source):
                    digest.update(piece)
                    file.write(piece)
            assert file.result is not None  # noqa: S101 - it was committed
            return file.result, digest.digest()

    def _read_back(self, staging: ObjectLocation, digest: bytes, written: PutResult) -> None:
        """Raise `ChecksumMismatchError` unless what was written reads as what was read."""
        found, size = hashlib.sha256(), 0
        context: Any = {}
        if isinstance(self.to, CSE):
            context = {"encryption_context": ANY}
        hint = written.stored_bytes
        with self.writer.open(staging, "rb", size_hint=hint, allow_plaintext=not context, **context) as file:
            for piece in _pieces(file):
                found.update(piece)
                size += len(memoryview(piece))
        if found.digest() != digest or size != written.plaintext_bytes:
            raise ChecksumMismatchError(f"{staging}: does not read as what was written: the object is left as it is")

    def _placed(
        self,
        before: ObjectAttributes,
        staged: StoredObject,
        encrypted: EncryptedMetadata | None,
        result: ObjectResult,
    ) -> ObjectResult:
        location, operation = before.stored.location, self.operation
        arguments = dict(before.arguments)
        if isinstance(self.to, Plain) and (own := self.to.arguments()):
            arguments = {name: value for name, value in arguments.items() if not _is_server_side(name)} | own
        if tags := self.store.tags(location, operation):
            arguments["Tagging"] = tags
        if self.keep_acl:
            arguments |= grants_of(self.store, location, operation)
        metadata = dict(staged.metadata)
        name = next(name for name in _OF_ONE_WRITE if name in metadata)
        written, _ = self._placer.place(
            Placing(
                source=staged,
                target=location,
                there=before.stored.etag,
                metadata=metadata,
                arguments=arguments,
                token=(name, metadata[name]),
            )
        )
        self._settle(staged.location, location, in_file=encrypted is not None and encrypted.instruction_file)
        after = self.store.attributes(location, operation, arguments={})
        if after.stored.metadata.get(name) != metadata[name]:
            raise ObjectChangedError(f"{location}: overwritten right after it was migrated")
        return told(result, before, arguments, after, written)

    def _settle(self, staging: ObjectLocation, location: ObjectLocation, *, in_file: bool) -> None:
        """Leave beside an object that was put in place only what belongs to it, not to what was there before."""
        if not self._along(staging, location):
            delete_index(self.store, location, self.operation)
        if in_file:
            instructions.remove(self.store, location, self.suffix, self.operation)

    def _along(self, staging: ObjectLocation, location: ObjectLocation) -> bool:
        """Take the segment index of what was written to where it belongs, if there is one."""
        beside = companion(staging)
        try:
            there = beside is not None and self.store.head(beside, self.operation, arguments={}) is not None
        except ObjectNotFoundError:
            there = False
        if there:
            copy_index(self.store, staging, location, self.operation, {})
        return there

    def _is_plain_by_mark(self, stored: StoredObject) -> bool:
        return isinstance(self.to, Plain) and WRITE_MARK in stored.metadata

    def _tidy(self, stored: StoredObject) -> None:
        """Finish what a killed run left to do about an object that it had put in place."""
        location, staging = stored.location, staging_of(stored.location)
        try:
            staged = self.store.head(staging, self.operation, arguments={})
        except ObjectNotFoundError:
            return
        name = next((name for name in _OF_ONE_WRITE if name in stored.metadata), None)
        if name is not None and staged.metadata.get(name) == stored.metadata[name]:
            self._settle(staging, location, in_file=True)
        self._remove(stored)

    def _remove(self, stored: StoredObject) -> None:
        """Delete what was written beside an object. Only objects of a versioned bucket have a version."""
        versioned = stored.version_id is not None
        remove_staged(self.store, staging_of(stored.location), self.operation, versioned=versioned)


def users_metadata(stored: StoredObject) -> dict[str, str]:
    """User metadata without what encryption clients put there."""
    ours = RESERVED_NAMES | {WRITE_MARK}
    return {name: value for name, value in stored.metadata.items() if name.lower() not in ours}


def _pieces(reader: ObjectReader) -> Iterator[Any]:
    while len(memoryview(piece := reader.read_buffer(_PIECE))):
        yield piece


def _may_be_one_key(wanted: str | None, there: str | None) -> bool:
    """Whether nothing says that these names of KMS keys are those of two: aliases do not tell."""
    if wanted is None or there is None or "alias/" in wanted or "alias/" in there:
        return True
    if wanted.startswith("arn:") and there.startswith("arn:"):
        return wanted == there
    return wanted.rpartition("/")[2] == there.rpartition("/")[2]


def _is_server_side(name: str) -> bool:
    return name.startswith(("ServerSideEncryption", "SSE", "BucketKey"))
