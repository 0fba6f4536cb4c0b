"""Bodies that two content keys open to two plaintexts: AES-GCM commits to no key ("invisible salamanders").

The tag is linear in each ciphertext block, so one block can be chosen that makes the tags under both keys the same.
Source: Dodis, Grubbs, Ristenpart, Woodage: Fast Message Franking (CRYPTO 2018), section 3; NIST SP 800-38D for GHASH.
"""

from __future__ import annotations

import os

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

COMMITTED_IV = bytes([1]) * 12
COMMITTED_DATA = bytes([0, 0x73])
"""IV and associated data of every V3 object: its content key is of its own."""

_POLYNOMIAL = (1 << 128) | 0x87


def content_key(data_key: bytes, message_id: bytes) -> bytes:
    """The content key of a V3 object, by another implementation of HKDF."""
    return HKDF(hashes.SHA512(), 32, message_id, COMMITTED_DATA + b"DERIVEKEY").derive(data_key)


def salamander(first: bytes, second: bytes, iv: bytes, associated: bytes, blocks: int = 3) -> bytes:
    """A body, tag included, that opens under both keys."""
    h1, h2 = _hash_key(first), _hash_key(second)
    fixed = os.urandom(16 * (blocks - 1))
    lengths = (8 * len(associated)).to_bytes(8, "big") + (8 * 16 * blocks).to_bytes(8, "big")
    known = associated.ljust(-(-len(associated) // 16) * 16, b"\0") + fixed + bytes(16) + lengths
    difference = _block(first, iv + b"\0\0\0\1") ^ _ghash(h1, known)
    difference ^= _block(second, iv + b"\0\0\0\1") ^ _ghash(h2, known)
    chosen = _times(difference, _inverse(_times(h1, h1) ^ _times(h2, h2)))
    body = fixed + _bytes(chosen)
    tag = _block(first, iv + b"\0\0\0\1") ^ _ghash(h1, known[:-32] + _bytes(chosen) + lengths)
    return body + _bytes(tag)


def _block(key: bytes, block: bytes) -> int:
    return _number(Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block))


def _hash_key(key: bytes) -> int:
    return _block(key, bytes(16))


def _number(block: bytes) -> int:
    """A block as a polynomial: GCM writes the lowest power first."""
    return int(f"{int.from_bytes(block, 'big'):0128b}"[::-1], 2)


def _bytes(number: int) -> bytes:
    return int(f"{number:0128b}"[::-1], 2).to_bytes(16, "big")


def _times(one: int, other: int) -> int:
    product = 0
    while other:
        if other & 1:
            product ^= one
        one = (one << 1) ^ (_POLYNOMIAL if one >> 127 else 0)
        other >>= 1
    return product


def _inverse(number: int) -> int:
    """By Euclid's algorithm on polynomials."""
    low, high, left, right = number, _POLYNOMIAL, 1, 0
    while low != 1:
        shift = low.bit_length() - high.bit_length()
        if shift < 0:
            low, high, left, right, shift = high, low, right, left, -shift
        low ^= high << shift
        left ^= right << shift
    return _reduced(left)


def _reduced(number: int) -> int:
    while number.bit_length() > 128:
        number ^= _POLYNOMIAL << (number.bit_length() - 129)
    return number


def _ghash(key: int, blocks: bytes) -> int:
    state = 0
    for at in range(0, len(blocks), 16):
        state = _times(state ^ _number(blocks[at : at + 16]), key)
    return state
