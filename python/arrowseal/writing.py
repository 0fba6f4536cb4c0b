"""One write of one object: how it is protected, and the sealing of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arrowseal import _core
from arrowseal import metadata as content_metadata
from arrowseal.encryption import CSE, Encryption, Plain, check_context
from arrowseal.exceptions import ConfigurationError
from arrowseal.outgoing import check_size, contiguous
from arrowseal.store import Payload
from arrowseal.suites import V3, AnyContext, Format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal.counters import Operation
    from arrowseal.data_keys import Reuse
    from arrowseal.keyrings import Keyrings
    from arrowseal.location import ObjectLocation
    from arrowseal.materials import EncryptionMaterials
    from arrowseal.options import ClientOptions
    from arrowseal.retrying import RetryingStore


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
        if isinstance(encryption, Plain):
            if context is not None or kms_key_id is not None:
                raise ConfigurationError(f"encryption_context= and kms_key_id= mean nothing to {encryption.label}")
            return encryption
        if encryption is not None and not isinstance(encryption, CSE):
            raise ConfigurationError(
                "encryption= is CSE(...), PLAIN, SSE_S3(), SSE_KMS(...) or SSE_C(...), not " + type(encryption).__name__
            )
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
        return CSE(kms_key_id or given.kms_key_id, chosen, full)

    def write(
        self,
        location: ObjectLocation,
        data: Any,
        encryption: Encryption,
        user_metadata: Mapping[str, str],
        arguments: Mapping[str, Any],
        operation: Operation,
    ) -> PutResult:
        """Store `data` under an encryption that `encryption` completed. Raises what `Client.put` does."""
        content, size = contiguous(data)
        check_size(location, size, encryption)
        self._store.check_put(location, metadata=user_metadata, arguments=arguments)
        operation.encryption = encryption.label
        arn, metadata = None, dict(user_metadata)
        if isinstance(encryption, Plain):
            arguments = {**arguments, **encryption.arguments()}
        else:
            content, metadata, arn = self._seal(location, content, size, encryption, user_metadata, operation)
        stored_bytes = memoryview(content).nbytes
        unchanging = _unchanging(content)
        held = 0 if unchanging is data else stored_bytes
        operation.hold(held)
        try:
            written = self._store.put(location, operation, Payload(unchanging), metadata=metadata, arguments=arguments)
        finally:
            operation.release(held)
        operation.plaintext_bytes += size
        operation.stored_bytes += stored_bytes
        return PutResult(location, written.etag, written.version_id, encryption.label, size, stored_bytes, arn)

    def _seal(
        self,
        location: ObjectLocation,
        content: Any,
        size: int,
        encryption: CSE,
        user_metadata: Mapping[str, str],
        operation: Operation,
    ) -> tuple[_core.SealedBuffer, dict[str, str], str]:
        sealed_format = encryption.format or V3
        context = encryption.encryption_context or {}
        keyring = self._keyrings.for_key(encryption.kms_key_id)
        keyring.check_write(location)
        content_metadata.check_room(location, sealed_format, context, user_metadata)

        def generate() -> EncryptionMaterials:
            return keyring.generate(sealed_format, context, location, operation)

        shared = self._reuse.keys
        reused = (encryption.kms_key_id, frozenset(context.items()))
        materials = shared.materials(reused, sealed_format, size, generate) if shared else generate()
        self._keyrings.remember(materials.encrypted_data_key, materials.kms_key_arn)
        with operation.timed("crypto"):
            sealer = _core.Sealer(materials.data_key, sealed_format.suite.id)
            sealed = sealer.seal(content)
        metadata = content_metadata.render(
            sealed_format,
            encrypted_data_key=materials.encrypted_data_key,
            message_id=sealer.message_id,
            commitment=sealer.commitment,
            context=materials.encryption_context,
            plaintext_bytes=size,
        )
        return sealed, {**user_metadata, **metadata}, materials.kms_key_arn


def _unchanging(content: Any) -> Any:
    """Bytes that a retry finds as they were: those that nobody can change, or else a copy."""
    if isinstance(content, bytes | _core.SealedBuffer | _core.PlaintextBuffer | _core.UnauthenticatedBuffer):
        return content
    part = _core.PartBuffer(memoryview(content).nbytes, plain=True)
    part.append(content)
    return part.plain()
