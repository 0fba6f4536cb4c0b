"""Objects of every row as other clients make them, with pyca/cryptography and nothing of ours.

Source: content formats, key wrapping (S3 Encryption Client specification); AES-KW is RFC 3394, HKDF RFC 5869.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.padding import PKCS7

from arrowseal import RawAesKeyring, RawRsaKeyring
from doubles import StrictKms

if TYPE_CHECKING:
    from rows import Row

CEK_NAMES = {"AES-256-GCM": "AES/GCM/NoPadding", "AES-256-CBC": "AES/CBC/PKCS5Padding"}


@dataclass
class Made:
    """An object as it lies in a bucket: its body, its user metadata, and its instruction file if it has one."""

    body: bytes
    metadata: dict[str, str]
    file: bytes | None = None


@dataclass
class Keys:
    """The keys of a test's world: a KMS, a raw AES key, a raw RSA key, and the keyrings that hold them."""

    kms: StrictKms = field(default_factory=StrictKms)
    aes: bytes = field(default_factory=lambda: os.urandom(32))
    rsa: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    def __post_init__(self) -> None:
        self.arn = self.kms.create_key()
        self.pem = self.rsa.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def keyring(self, wrap: str) -> RawAesKeyring | RawRsaKeyring | None:
        """The keyring of a wrap; None for KMS."""
        if wrap.startswith("kms"):
            return None
        return RawRsaKeyring(self.pem) if wrap.startswith("RSA") else RawAesKeyring(self.aes)

    def wrapped(self, wrap: str, data_key: bytes, algorithm: str, context: dict[str, str]) -> bytes:
        """A data key as a wrapping algorithm makes it."""
        sha1, sha256 = padding.MGF1(hashes.SHA1()), hashes.SHA256()
        public, nonce = self.rsa.public_key(), os.urandom(12)
        if wrap.startswith("kms"):
            return self.kms.wrap(self.arn, data_key, context)
        if wrap == "AES/GCM":
            return nonce + AESGCM(self.aes).encrypt(nonce, data_key, algorithm.encode())
        if wrap == "AESWrap":
            return aes_key_wrap(self.aes, data_key)
        if wrap == "AES":
            encryptor = Cipher(AES(self.aes), ECB()).encryptor()
            return encryptor.update(_padded(data_key)) + encryptor.finalize()
        if wrap == "RSA-OAEP-SHA1":
            payload = bytes([len(data_key)]) + data_key + algorithm.encode()
            return public.encrypt(payload, padding.OAEP(sha1, hashes.SHA1(), None))
        if wrap == "RSA":
            return public.encrypt(data_key, padding.PKCS1v15())
        assert wrap == "RSA/ECB/OAEPWithSHA-256AndMGF1Padding"
        return public.encrypt(data_key, padding.OAEP(sha1, sha256, None))


def write(row: Row, content: bytes, keys: Keys, context: dict[str, str] | None = None) -> Made:
    """An object of a row. `context` is the caller's, for wraps that carry one."""
    algorithm = "115" if row.format == "V3" else CEK_NAMES[row.content]
    stored = dict(context or {})
    if row.wrap == "kms+context":
        stored["aws:x-amz-cek-alg"] = algorithm
    elif row.wrap == "kms":
        stored["kms_cmk_id"] = keys.arn
    data_key = os.urandom(32)
    wrapped = keys.wrapped(row.wrap, data_key, algorithm, stored)
    body, fields = sealed_v3(content, data_key) if row.format == "V3" else sealed(row.content, content, data_key)
    by_kms = row.wrap.startswith("kms")
    described = json.dumps(stored if by_kms else {"made": "by hand"}, separators=(",", ":"))
    if row.format == "V3":
        code = {"kms+context": "12", "AES/GCM": "02", "RSA-OAEP-SHA1": "22"}[row.wrap]
        fields |= {"x-amz-3": b64(wrapped), "x-amz-w": code, "x-amz-t" if by_kms else "x-amz-m": described}
    elif row.format == "V2":
        fields |= {"x-amz-key-v2": b64(wrapped), "x-amz-wrap-alg": row.wrap, "x-amz-matdesc": described}
        fields |= {"x-amz-cek-alg": algorithm} | ({"x-amz-tag-len": "128"} if row.content == "AES-256-GCM" else {})
    else:
        fields |= {"x-amz-key": b64(wrapped), "x-amz-matdesc": described}
    if row.storage == "metadata":
        return Made(body, fields)
    stays = {name: fields.pop(name) for name in ("x-amz-c", "x-amz-d", "x-amz-i") if name in fields}
    return Made(body, stays, json.dumps(fields).encode())


def sealed(content_cipher: str, content: bytes, data_key: bytes) -> tuple[bytes, dict[str, str]]:
    """The body of V1 and V2, and the metadata that goes with it alone."""
    if content_cipher == "AES-256-GCM":
        iv = os.urandom(12)
        return AESGCM(data_key).encrypt(iv, content, None), {"x-amz-iv": b64(iv)}
    iv = os.urandom(16)
    return cbc(data_key, iv, _padded(content)), {"x-amz-iv": b64(iv)}


def sealed_v3(content: bytes, data_key: bytes) -> tuple[bytes, dict[str, str]]:
    """The same of V3."""
    message_id = os.urandom(28)
    extracted = hmac.digest(message_id, data_key, "sha512")
    commitment = hmac.digest(extracted, b"\x00\x73COMMITKEY\x01", "sha512")[:28]
    content_key = hmac.digest(extracted, b"\x00\x73DERIVEKEY\x01", "sha512")[:32]
    body = AESGCM(content_key).encrypt(b"\x01" * 12, content, b"\x00\x73")
    return body, {"x-amz-c": "115", "x-amz-d": b64(commitment), "x-amz-i": b64(message_id)}


def cbc(data_key: bytes, iv: bytes, padded: bytes) -> bytes:
    """AES-CBC of what is padded already, in whichever way."""
    encryptor = Cipher(AES(data_key), CBC(iv)).encryptor()
    return encryptor.update(padded) + encryptor.finalize()


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _padded(content: bytes) -> bytes:
    padder: Any = PKCS7(128).padder()
    return bytes(padder.update(content) + padder.finalize())
