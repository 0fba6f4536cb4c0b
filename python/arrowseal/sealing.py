"""What is sent of an object's content: ciphertext under a data key of its own, or the content as it is."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, Protocol

from arrowseal import _core, instruction_file
from arrowseal import metadata as content_metadata
from arrowseal.store import Payload

if TYPE_CHECKING:
    from arrowseal.counters import Operation
    from arrowseal.materials import EncryptionMaterials
    from arrowseal.suites import Format

WRITE_MARK: Final = "arrowseal-write"
"""User metadata of plain objects that were written in parts or under a condition: tells this write from others."""


class Sealing(Protocol):
    """The content of one object on its way out, whole or part by part in order."""

    kms_key_arn: str | None
    trailer_bytes: int
    """What the stored object is longer than its content."""

    def metadata(self, size: int | None, /) -> dict[str, str]:
        """What the object has to carry, for a content of that size if it is known."""

    def token(self) -> tuple[str, str]:
        """An entry of `metadata` that no other write has."""

    def instruction(self) -> bytes | None:
        """The instruction file that goes before the object; None for an object without one."""

    def whole(self, content: Any) -> Payload:
        """All of the content at once."""

    def part(self, offset: int, part: _core.PartBuffer, /, *, last: bool) -> Payload:
        """The part at `offset`; the last one ends the object."""

    def range(self, content: bytes, begin: int, end: int, /, *, last: bool) -> Payload:
        """The part that is `content[begin:end]`."""

    def index(self) -> bytes | None:
        """The segment index, after the last part; None for content that is not sealed."""


class Sealed:
    """Ciphertext. Sealed once: what is sent again is the same. `beside` keeps the encrypted data key out of the object,
    for an instruction file.
    """

    def __init__(
        self, materials: EncryptionMaterials, sealed_format: Format, operation: Operation, *, beside: bool = False
    ) -> None:
        self.kms_key_arn: str | None = materials.kms_key_arn
        self.trailer_bytes = sealed_format.suite.tag_bytes
        self._materials = materials
        self._format = sealed_format
        self._operation = operation
        self._sealer = _core.Sealer(materials.data_key, sealed_format.suite.id)
        # The object of V2 then says nothing that no other one says.
        self._mark = secrets.token_hex(16) if beside and self._sealer.commitment is None else None
        self._beside = beside

    def metadata(self, size: int | None, /) -> dict[str, str]:
        if not self._beside:
            return self._rendered(size)
        return content_metadata.split(self._rendered(size))[0] | ({WRITE_MARK: self._mark} if self._mark else {})

    def token(self) -> tuple[str, str]:
        if self._mark is not None:
            return WRITE_MARK, self._mark
        name = content_metadata.MESSAGE_ID if self._sealer.commitment is not None else content_metadata.IV
        return name, self.metadata(None)[name]

    def instruction(self) -> bytes | None:
        return instruction_file.render(content_metadata.split(self._rendered(None))[1]) if self._beside else None

    def _rendered(self, size: int | None) -> dict[str, str]:
        return content_metadata.render(
            self._format,
            encrypted_data_key=self._materials.encrypted_data_key,
            message_id=self._sealer.message_id,
            commitment=self._sealer.commitment,
            context=self._materials.encryption_context,
            wrap=self._materials.wrap,
            material_description=self._materials.material_description,
            plaintext_bytes=size,
        )

    def whole(self, content: Any) -> Payload:
        with self._operation.timed("crypto"):
            return Payload(self._sealer.seal(content))

    def part(self, offset: int, part: _core.PartBuffer, /, *, last: bool) -> Payload:
        with self._operation.timed("crypto"):
            return Payload(self._sealer.seal_part(offset, part, last=last))

    def range(self, content: bytes, begin: int, end: int, /, *, last: bool) -> Payload:
        with self._operation.timed("crypto"):
            return Payload(self._sealer.seal_range(content, begin, end, last=last))

    def index(self) -> bytes | None:
        with self._operation.timed("crypto"):
            return self._sealer.index()


class Unsealed:
    """The content as it is, in memory that nobody can change while it is sent."""

    kms_key_arn: str | None = None
    trailer_bytes = 0

    def __init__(self) -> None:
        self._token = secrets.token_hex(16)

    def metadata(self, _size: int | None, /) -> dict[str, str]:
        return {WRITE_MARK: self._token}

    def token(self) -> tuple[str, str]:
        return WRITE_MARK, self._token

    def instruction(self) -> bytes | None:
        return None

    def whole(self, content: Any) -> Payload:
        if isinstance(content, bytes | _core.SealedBuffer | _core.PlaintextBuffer | _core.UnauthenticatedBuffer):
            return Payload(content)
        copy = _core.PartBuffer(memoryview(content).nbytes, plain=True)
        copy.append(content)
        return Payload(copy.plain())

    def part(self, _offset: int, part: _core.PartBuffer, /, *, last: bool) -> Payload:  # noqa: ARG002
        return Payload(part.plain())

    def range(self, content: bytes, begin: int, end: int, /, *, last: bool) -> Payload:  # noqa: ARG002
        return Payload(content, begin, end)

    def index(self) -> bytes | None:
        return None
