"""Messages of the core, made and taken in: what the tests of `arrowseal._core` share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from arrowseal._core import CbcOpener, DataKey, Opener, PlainReceiver, PlaintextBuffer, ProvenRange, Sealer, Survey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

V2, V3 = 0x0072, 0x0073
KEY = bytes(range(32))
MESSAGE_IDS = {V2: bytes(range(0xA0, 0xAC)), V3: bytes(range(0x80, 0x9C))}
MIB = 1 << 20


class Message(NamedTuple):
    """An object as it is stored, with what its metadata would say."""

    suite_id: int
    message_id: bytes
    commitment: bytes | None
    stored: bytes


def seal(content: Buffer, suite_id: int = V3, *, threads: int = 0) -> Message:
    """A message of the core's own."""
    sealer = Sealer(DataKey(KEY), suite_id)
    return Message(suite_id, sealer.message_id, sealer.commitment, bytes(sealer.seal(content, threads=threads)))


def reference(content: bytes, suite_id: int, message_id: bytes, key: bytes = KEY) -> Message:
    """The same message by pyca/cryptography."""
    if suite_id == V2:
        return Message(suite_id, message_id, None, AESGCM(key).encrypt(message_id, content, None))

    def derive(label: bytes, length: int) -> bytes:
        return HKDF(hashes.SHA512(), length, salt=message_id, info=b"\0\x73" + label).derive(key)

    sealed = AESGCM(derive(b"DERIVEKEY", 32)).encrypt(b"\1" * 12, content, b"\0\x73")
    return Message(suite_id, message_id, derive(b"COMMITKEY", 28), sealed)


def opener(message: Message, key: bytes = KEY) -> Opener:
    """An opener for the message."""
    suite_id, message_id, commitment, stored = message
    return Opener(DataKey(key), suite_id, message_id, commitment, len(stored))


def land(
    target: Opener | PlainReceiver | ProvenRange | Survey | CbcOpener, stored: bytes, ranges: Iterable[tuple[int, int]]
) -> None:
    """Receive these ranges `[from, to)` of the stored bytes, in this order."""
    for start, end in ranges:
        window = target.window(start, end - start)
        with memoryview(window) as view:
            view[:] = stored[start:end]
        window.received()


def open_message(message: Message, key: bytes = KEY) -> PlaintextBuffer:
    """The plaintext, received in one window."""
    target = opener(message, key)
    land(target, message.stored, [(0, len(message.stored))])
    return target.finish()
