"""One write of one object: how it is protected, the checks before it, and where its bytes go."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arrowseal import _core, instruction_file
from arrowseal import metadata as content_metadata
from arrowseal.cancellation import shielded
from arrowseal.encryption import CSE, Encryption, Plain, check_context, check_encryption
from arrowseal.exceptions import ArrowSealError, ConfigurationError
from arrowseal.interop import check_write as check_interop
from arrowseal.location import INSTRUCTION_SUFFIX
from arrowseal.outgoing import check_size, contiguous, split_metadata
from arrowseal.sealing import Sealed, Sealing, Unsealed
from arrowseal.segment_index import publish_index
from arrowseal.suites import V3, AnyContext, Format
from arrowseal.upload import Outgoing, Upload, part_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from typing_extensions import Buffer

    from arrowseal.client import Client
    from arrowseal.counters import Operation
    from arrowseal.data_keys import Reuse
    from arrowseal.instruction_file import Beside
    from arrowseal.keyrings import Keyrings
    from arrowseal.location import ObjectLocation
    from arrowseal.materials import EncryptionMaterials
    from arrowseal.options import ClientOptions
    from arrowseal.retrying import RetryingStore
    from arrowseal.store import WrittenObject


@dataclass(frozen=True, slots=True)
class Target:
    """Where a write goes and what goes along: an encryption that `Writer.encryption` completed, the caller's user
    metadata, and the caller's arguments for S3.
    """

    location: ObjectLocation
    encryption: Encryption
    metadata: Mapping[str, str]
    arguments: Mapping[str, Any]

    @classmethod
    def of(cls, location: ObjectLocation, encryption: Encryption, arguments: dict[str, Any]) -> Target:
        """From arguments of `put_object`. Raises `ConfigurationError` for user metadata that the formats reserve."""
        rest, metadata = split_metadata(arguments)
        return cls(location, encryption, metadata, rest)


@dataclass(frozen=True, slots=True)
class PutResult:
    """What a write left in the bucket."""

    location: ObjectLocation
    etag: str
    version_id: str | None
    encryption: str
    plaintext_bytes: int
    stored_bytes: int
    kms_key_arn: str | None


class Writer:
    """Writes whole objects for a client."""

    def __init__(self, store: RetryingStore, keyrings: Keyrings, options: ClientOptions, reuse: Reuse) -> None:
        self._store = store
        self._keyrings = keyrings
        self._options = options
        self._reuse = reuse

    def encryption(
        self, encryption: Encryption | None, context: Mapping[str, str] | None, kms_key_id: str | None
    ) -> Encryption:
        """The encryption of a write with everything filled in and checked."""
        check_encryption(encryption)
        if isinstance(encryption, Plain):
            if context is not None or kms_key_id is not None:
                raise ConfigurationError(f"encryption_context= and kms_key_id= mean nothing to {encryption.label}")
            return encryption
        given = encryption or CSE()
        if context is not None and given.encryption_context is not None:
            raise ConfigurationError("give the encryption context once: in CSE(...) or as encryption_context=")
        if kms_key_id is not None and given.kms_key_id is not None:
            raise ConfigurationError("give the KMS key once: in CSE(...) or as kms_key_id=")
        chosen = Format.of(given.format or self._options.format)
        self._options.commitment_policy.check_write(chosen)
        own = context if context is not None else given.encryption_context
        if own is None and isinstance(self._options.encryption_context, AnyContext):
            own = {}  # ANY says what reads accept
        full = check_context(self._options.encryption_context if own is None else own)  # type: ignore[arg-type]
        key_id = given.kms_key_id if kms_key_id is None else kms_key_id
        completed = CSE(key_id, chosen, full, given.instruction_file)
        check_interop(completed, self._options)
        return completed

    def check(self, target: Target) -> None:
        """Raise `ConfigurationError` for what S3, KMS or the format would refuse. No request."""
        self._store.check_put(target.location, metadata=target.metadata, arguments=target.arguments)
        if isinstance(target.encryption, CSE):
            self._keyrings.for_key(target.encryption.kms_key_id, target.location).check_write(target.location)
            content_metadata.check_room(
                target.location,
                target.encryption.format or V3,
                self._keyrings.context(target.encryption.encryption_context or {}, target.location),
                target.metadata,
                beside=target.encryption.instruction_file,
            )
        if suffix := self._instruction_suffix(target):
            instruction_file.check_key(target.location, suffix)

    def write(self, target: Target, data: Any, operation: Operation) -> PutResult:
        """Store a buffer. Raises what `Client.put` does."""
        with memory_for(target.location):
            return self._written(target, data, operation)

    def _written(self, target: Target, data: Any, operation: Operation) -> PutResult:
        content, size = contiguous(data)
        check_size(target.location, size, target.encryption)
        self.check(target)
        length = part_bytes(self._options.transfer.part_bytes, 1, size)
        sealing = self.sealing(target, size, operation)
        upload = self.upload(target, sealing, operation, size, in_parts=size > length)
        if size <= length:
            written = upload.put(sealing.whole(content))
        else:
            try:
                for begin in range(0, size, length):
                    end = min(begin + length, size)
                    upload.send(_part(sealing, content, begin, end, last=end == size))
                written = upload.complete()
                self.publish_index(target, sealing, operation)
            except BaseException:
                upload.abort()
                raise
        return self.result(target, sealing, written, size, operation)

    def sealing(self, target: Target, size: int | None, operation: Operation) -> Sealing:
        """What turns the content, of that size if it is known, into what is sent; asks KMS for a data key."""
        operation.encryption = target.encryption.label
        if not isinstance(target.encryption, CSE):
            return Unsealed()
        encryption, location = target.encryption, target.location
        sealed_format = encryption.format or V3
        context = self._keyrings.context(encryption.encryption_context or {}, location)
        keyring = self._keyrings.for_key(encryption.kms_key_id, location)

        def generate() -> EncryptionMaterials:
            return keyring.generate(sealed_format, context, location, operation)

        # A stream that is too long for one part has a data key of its own: what it will add to the bounds is not known.
        shared = self._reuse.keys if size is not None or sealed_format is not V3 else None
        reused = (id(keyring), keyring.check_write(location), frozenset(context.items())) if shared else None
        materials = shared.materials(reused, sealed_format, size or 0, generate) if shared else generate()
        self._keyrings.remember(materials.encrypted_data_key, materials.kms_key_arn)
        return Sealed(materials, sealed_format, operation, beside=encryption.instruction_file)

    def upload(
        self, target: Target, sealing: Sealing, operation: Operation, size: int | None, *, in_parts: bool
    ) -> Upload:
        """The way to S3 for a content that is sealed so."""
        arguments = dict(target.arguments)
        token: tuple[str, str] | None = sealing.token()
        metadata = {**target.metadata, **sealing.metadata(size)}
        if isinstance(target.encryption, Plain):
            arguments |= target.encryption.arguments()
            if not in_parts and not {"IfMatch", "IfNoneMatch"} & arguments.keys():
                # Whichever attempt S3 took, it is the same: the object stays without a mark of ours.
                metadata, token = dict(target.metadata), None
        content_metadata.check_size(target.location, metadata)
        beside = self._beside(target, sealing, operation)
        outgoing = Outgoing(metadata, arguments, token, beside)
        expected = operation.progress.expected if size is None else size
        operation.progress.begin(None if expected is None else expected + sealing.trailer_bytes)
        return Upload(self._store, target.location, operation, outgoing, self._options.transfer.concurrency)

    def _instruction_suffix(self, target: Target) -> str | None:
        """The suffix of instruction files, for a write that has one, or whose reader would look for one."""
        has_one = isinstance(target.encryption, CSE) and target.encryption.instruction_file
        return self._options.instruction_files or (INSTRUCTION_SUFFIX if has_one else None)

    def _beside(self, target: Target, sealing: Sealing, operation: Operation) -> Beside | None:
        suffix, content = self._instruction_suffix(target), sealing.instruction()
        if suffix is None:
            return None
        if content is None:
            return instruction_file.Removal(self._store, target.location, suffix, operation)
        return instruction_file.Replacement(self._store, target.location, suffix, content, operation, target.arguments)

    def publish_index(self, target: Target, sealing: Sealing, operation: Operation) -> None:
        """Put the segment index beside an object that was just written in parts. The object is there whether or not
        this succeeds: a failure is a warning.
        """
        index = sealing.index() if self._options.transfer.publish_index else None
        if index is None:
            return
        try:
            with shielded():
                publish_index(self._store, target.location, index, operation, target.arguments)
        except ArrowSealError as error:
            warnings.warn(
                f"{target.location}: written, but not its segment index ({error}): reads of its ranges fetch the whole "
                "object until client.index() makes one",
                RuntimeWarning,
                stacklevel=2,
            )

    def result(
        self, target: Target, sealing: Sealing, written: WrittenObject, size: int, operation: Operation
    ) -> PutResult:
        """What was written, counted."""
        stored_bytes = size + sealing.trailer_bytes
        operation.plaintext_bytes += size
        operation.stored_bytes += stored_bytes
        return PutResult(
            target.location,
            written.etag,
            written.version_id,
            target.encryption.label,
            size,
            stored_bytes,
            sealing.kms_key_arn,
        )

    def part_bytes(self, number: int) -> int:
        """The length of part `number` of a stream, from 1."""
        return part_bytes(self._options.transfer.part_bytes, number)


def sharing_data_keys(client: Client, encryption: Encryption | None) -> contextlib.AbstractContextManager[None]:
    """One data key for the many objects of a call, where their format has a content key of its own for each."""
    if isinstance(encryption, Plain):
        return contextlib.nullcontext()
    given = encryption.format if isinstance(encryption, CSE) else None
    return client.data_key_reuse() if Format.of(given or client.options.format) is V3 else contextlib.nullcontext()


@contextlib.contextmanager
def memory_for(location: ObjectLocation) -> Iterator[None]:
    """What takes the memory of parts. Raises a `MemoryError` that names the object."""
    try:
        yield
    except MemoryError as error:
        message = f"{location}: {error}: less is held at once with a smaller part_bytes= or concurrency= of transfer="
        raise MemoryError(message) from None


def _part(sealing: Sealing, content: Buffer, begin: int, end: int, *, last: bool) -> Any:
    if isinstance(content, bytes):
        return sealing.range(content, begin, end, last=last)
    part = _core.PartBuffer(end - begin, plain=isinstance(sealing, Unsealed))
    with memoryview(content) as view, view[begin:end] as piece:
        part.append(piece)
    return sealing.part(begin, part, last=last)
