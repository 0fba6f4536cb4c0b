"""The segment index written down once more, in plain Python over pyca/cryptography: what the core is compared with.

`python tests/index_reference.py` writes the vectors anew. Layout and formulas: `rust/core/src/index.rs`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core_messages import V2, V3, reference

VECTORS = Path(__file__).parent / "vectors" / "segment_index.json"
LABEL = b"arrowseal segment index v1"


def content_of(length: int) -> bytes:
    """Any bytes, always the same."""
    blocks = (hashlib.sha256(number.to_bytes(8, "big")).digest() for number in range(length // 32 + 1))
    return b"".join(blocks)[:length]


def block(key: bytes, plaintext: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES256(key), modes.ECB()).encryptor()
    return encryptor.update(plaintext)


def times(left: int, right: int) -> int:
    """Multiplication in the field of GCM, bit by bit (NIST SP 800-38D, 6.3)."""
    product = 0
    for bit in range(127, -1, -1):
        if left >> bit & 1:
            product ^= right
        right = right >> 1 ^ (0xE1 << 120 if right & 1 else 0)
    return product


def ghash(hash_key: int, data: bytes) -> int:
    state = 0
    for start in range(0, len(data), 16):
        state = times(state ^ int.from_bytes(data[start : start + 16].ljust(16, b"\0"), "big"), hash_key)
    return state


def derive(data_key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA512(), 32, salt, info).derive(data_key)


def content_key(suite_id: int, data_key: bytes, message_id: bytes) -> bytes:
    return data_key if suite_id == V2 else derive(data_key, message_id, b"\0\x73DERIVEKEY")


def index_of(suite_id: int, data_key: bytes, message_id: bytes, stored: bytes, segment_bytes: int) -> bytes:
    """The index of a sealed message."""
    ciphertext = stored[:-16]
    key = content_key(suite_id, data_key, message_id)
    hash_key = int.from_bytes(block(key, bytes(16)), "big")
    suite, size, length = (
        suite_id.to_bytes(2, "big"),
        segment_bytes.to_bytes(8, "big"),
        len(ciphertext).to_bytes(8, "big"),
    )
    index_key = derive(data_key, message_id, LABEL + suite + size + length)
    index = b"ASEALIDX" + b"\0\1" + suite + size[4:] + length + message_id.ljust(28, b"\0") + bytes(12)
    for number, start in enumerate(range(0, len(ciphertext), segment_bytes)):
        mask = int.from_bytes(block(index_key, number.to_bytes(16, "big")), "big")
        partial = ghash(hash_key, ciphertext[start : start + segment_bytes])
        index += (partial ^ mask).to_bytes(16, "big")
    return index


def vector(suite_id: int, length: int, segment_bytes: int) -> dict[str, Any]:
    data_key = bytes(range(32))
    message_id = bytes(range(1, 13 if suite_id == V2 else 29))
    stored = reference(content_of(length), suite_id, message_id, data_key).stored
    return {
        "suite_id": suite_id,
        "data_key": data_key.hex(),
        "message_id": message_id.hex(),
        "content_bytes": length,
        "content": "content_of(content_bytes)",
        "segment_bytes": segment_bytes,
        "tag": stored[-16:].hex(),
        "index": index_of(suite_id, data_key, message_id, stored, segment_bytes).hex(),
    }


if __name__ == "__main__":
    lengths = (0, 1, 65_535, 65_536, 65_537, 200_000)
    vectors = [vector(suite_id, length, 65_536) for suite_id in (V2, V3) for length in lengths]
    vectors += [vector(V3, 100_000, 32_768), vector(V2, 300_000, 131_072)]
    VECTORS.write_text(json.dumps(vectors, indent=1) + "\n")
