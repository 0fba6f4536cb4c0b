"""Data keys under raw wrapping keys: against pyca/cryptography both ways, and what is refused alike."""

from __future__ import annotations

import copy
import pickle
import secrets
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, keywrap, padding
from cryptography.hazmat.primitives import serialization as files
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from arrowseal._core import (
    AesWrappingKey,
    CbcOpener,
    DataKey,
    Opener,
    RsaPrivateKey,
    RsaPublicKey,
    Sealer,
    UnauthenticatedOpener,
)
from arrowseal.exceptions import AuthenticationError
from core_messages import MESSAGE_IDS, V2, V3, reference

KEY = bytes(range(100, 132))
WRAPPING_KEY = bytes(range(200, 232))
REFUSAL = "^the wrapped data key does not open under this key, or is of another object$"
CONTENT_ALGORITHMS = ["115", "AES/GCM/NoPadding"]
OAEP_SHA1 = rsa_padding.OAEP(rsa_padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)

PRIVATE = rsa.generate_private_key(65537, 2048)
MODULUS = PRIVATE.public_key().public_numbers().n


def private_file(
    key: Any = PRIVATE,
    encoding: files.Encoding = files.Encoding.PEM,
    layout: files.PrivateFormat = files.PrivateFormat.PKCS8,
    encryption: files.KeySerializationEncryption | None = None,
) -> bytes:
    made: bytes = key.private_bytes(encoding, layout, encryption or files.NoEncryption())
    return made


def public_file(
    key: Any = PRIVATE,
    encoding: files.Encoding = files.Encoding.PEM,
    layout: files.PublicFormat = files.PublicFormat.SubjectPublicKeyInfo,
) -> bytes:
    made: bytes = key.public_key().public_bytes(encoding, layout)
    return made


KINDS = [AesWrappingKey, RsaPublicKey, RsaPrivateKey, DataKey, CbcOpener]
AES = AesWrappingKey(WRAPPING_KEY)
RSA = RsaPrivateKey(private_file())


def opens(data_key: DataKey, key: bytes = KEY) -> bool:
    """Whether `data_key` is `key`: content that pyca/cryptography sealed under `key` opens."""
    message = reference(b"content", V2, MESSAGE_IDS[V2], key)
    try:
        return Opener(data_key, V2, message.message_id, None, len(message.stored)).receive(message.stored) == b"content"
    except AuthenticationError:
        return False


def ecb(key: bytes) -> bytes:
    padder, cipher = padding.PKCS7(128).padder(), Cipher(algorithms.AES(WRAPPING_KEY), modes.ECB()).encryptor()
    return cipher.update(padder.update(key) + padder.finalize()) + cipher.finalize()


def rsa_block(block: bytes) -> bytes:
    """What decrypts to that block, whatever it is."""
    return pow(int.from_bytes(block, "big"), 65537, MODULUS).to_bytes(256, "big")


@given(key=st.binary(min_size=32, max_size=32), additional_data=st.binary(max_size=40))
def test_aes_gcm_is_that_of_pyca_cryptography(key: bytes, additional_data: bytes) -> None:
    wrapped = AES.wrap(DataKey(key), additional_data)
    assert len(wrapped) == 60
    assert AESGCM(WRAPPING_KEY).decrypt(wrapped[:12], wrapped[12:], additional_data) == key
    nonce = secrets.token_bytes(12)
    theirs = nonce + AESGCM(WRAPPING_KEY).encrypt(nonce, key, additional_data)
    assert opens(AES.unwrap(theirs, additional_data), key)


@pytest.mark.parametrize("algorithm", CONTENT_ALGORITHMS)
def test_rsa_oaep_is_that_of_pyca_cryptography(algorithm: str) -> None:
    payload = b"\x20" + KEY + algorithm.encode()
    assert PRIVATE.decrypt(RSA.public_key().wrap(DataKey(KEY), algorithm), OAEP_SHA1) == payload
    assert opens(RSA.unwrap(PRIVATE.public_key().encrypt(payload, OAEP_SHA1), algorithm))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x20",
        KEY + b"115",
        b"\x20" + KEY,
        b"\x20" + KEY + b"11",
        b"\x20" + KEY + b"1155",
        b"\x20" + KEY + b"115\0",
        b"\x1f" + KEY + b"115",
        b"\x21" + KEY + b"115",
        b"\x18" + KEY[:24] + b"115",
        b"\x10" + KEY[:16] + b"115",
        b"\x20" + KEY[:31] + b"115",
        b"\xff" + KEY + b"115",
        b"\x20" + KEY + b"AES/GCM/NoPadding",
    ],
)
def test_a_payload_of_oaep_is_framed_exactly(payload: bytes) -> None:
    with pytest.raises(AuthenticationError, match=REFUSAL):
        RSA.unwrap(PRIVATE.public_key().encrypt(payload, OAEP_SHA1), "115")


def test_keys_of_4096_bits_wrap() -> None:
    large = rsa.generate_private_key(65537, 4096)
    wrapped = RsaPublicKey(public_file(large)).wrap(DataKey(KEY), "115")
    assert len(wrapped) == 512
    assert opens(RsaPrivateKey(private_file(large)).unwrap(wrapped, "115"))


def test_the_wraps_of_old_clients_are_those_of_pyca_cryptography() -> None:
    public = PRIVATE.public_key()
    assert opens(AES.unwrap_rfc3394(keywrap.aes_key_wrap(WRAPPING_KEY, KEY)))
    assert opens(AES.unwrap_ecb(ecb(KEY)))
    for mask in (hashes.SHA1(), hashes.SHA256()):
        oaep = rsa_padding.OAEP(rsa_padding.MGF1(mask), hashes.SHA256(), None)
        assert opens(RSA.unwrap_oaep_sha256(public.encrypt(KEY, oaep)))
    for _ in range(20):
        assert opens(RSA.unwrap_pkcs1(public.encrypt(KEY, rsa_padding.PKCS1v15())))


def test_old_wraps_of_data_keys_of_other_lengths_are_refused() -> None:
    public, oaep = PRIVATE.public_key(), rsa_padding.OAEP(rsa_padding.MGF1(hashes.SHA1()), hashes.SHA256(), None)
    for length in (16, 24, 40):
        for unwrap, wrapped in (
            (AES.unwrap_rfc3394, keywrap.aes_key_wrap(WRAPPING_KEY, bytes(length))),
            (AES.unwrap_ecb, ecb(bytes(length))),
            (RSA.unwrap_oaep_sha256, public.encrypt(bytes(length), oaep)),
        ):
            with pytest.raises(AuthenticationError, match=REFUSAL):
                unwrap(wrapped)
        assert not opens(RSA.unwrap_pkcs1(public.encrypt(bytes(length), rsa_padding.PKCS1v15())), bytes(32))


def refusals() -> list[tuple[Any, tuple[Any, ...]]]:
    """What is wrong with a wrap, in ways that must look alike."""
    other = secrets.token_bytes(32)
    good, by_rsa = AES.wrap(DataKey(KEY), b"115"), RSA.public_key().wrap(DataKey(KEY), "115")
    of_other = RsaPrivateKey(private_file(rsa.generate_private_key(65537, 2048))).public_key()
    flipped = bytes([*by_rsa[:-1], by_rsa[-1] ^ 1])
    return [
        (AES.unwrap, (good, b"AES/GCM/NoPadding")),
        (AES.unwrap, (good[:-1], b"115")),
        (AES.unwrap, (b"", b"115")),
        (AES.unwrap, (bytes(60), b"115")),
        (AES.unwrap, (AesWrappingKey(other).wrap(DataKey(KEY), b"115"), b"115")),
        (AES.unwrap_ecb, (ecb(KEY)[:32] + bytes(16),)),
        (AES.unwrap_ecb, (ecb(KEY)[:32],)),
        (AES.unwrap_rfc3394, (bytes(40),)),
        (AES.unwrap_rfc3394, (keywrap.aes_key_wrap(other, KEY),)),
        (RSA.unwrap, (by_rsa, "11")),
        (RSA.unwrap, (by_rsa, "")),
        (RSA.unwrap, (flipped, "115")),
        (RSA.unwrap, (by_rsa[1:], "115")),
        (RSA.unwrap, (b"\xff" * 256, "115")),
        (RSA.unwrap, (of_other.wrap(DataKey(KEY), "115"), "115")),
        (RSA.unwrap_oaep_sha256, (by_rsa,)),
        (RSA.unwrap_oaep_sha256, (b"",)),
    ]


def test_whatever_is_wrong_with_a_wrap_the_error_is_one_and_the_same() -> None:
    seen = set()
    for unwrap, arguments in refusals():
        with pytest.raises(AuthenticationError, match=REFUSAL) as caught:
            unwrap(*arguments)
        error = caught.value
        seen.add((type(error), str(error), error.args, error.__cause__, error.__context__))
    assert len(seen) == 1


def beginnings() -> list[bytes]:
    """Blocks of PKCS#1 v1.5 that are wrong in all the ways that an oracle would tell apart."""
    fitting = b"\0\2" + b"\xee" * 221 + b"\0" + KEY
    wrong = [bytes([first, second]) + fitting[2:] for first in (0, 1) for second in range(0, 256, 5) if second != 2]
    for place in (2, 9, 10, 100, 222):
        wrong.append(fitting[:place] + b"\0" + fitting[place + 1 :])
    wrong.append(fitting[:223] + b"\1" + fitting[224:])
    wrong += [b"\0\2" + b"\xee" * (253 - length) + b"\0" + bytes(length) for length in (0, 1, 16, 24, 31, 33, 48)]
    return wrong


def test_a_block_of_pkcs1_that_does_not_fit_looks_like_a_wrong_data_key() -> None:
    content = reference(b"content", V2, MESSAGE_IDS[V2], KEY).stored
    blocks = bytes(range(16))
    fitting = RSA.unwrap_pkcs1(rsa_block(b"\0\2" + b"\xee" * 221 + b"\0" + bytes(range(32))))
    keys = [RSA.unwrap_pkcs1(rsa_block(block)) for block in beginnings()]
    keys += [RSA.unwrap_pkcs1(wrapped) for wrapped in (b"", bytes(256), b"\xff" * 256, bytes(255), bytes(512))]
    seen = set()
    for key in [fitting, *keys]:
        for opener in (
            CbcOpener(key, bytes(16), len(blocks) * 16),
            Opener(key, V2, MESSAGE_IDS[V2], None, len(content)),
        ):
            with pytest.raises(AuthenticationError) as caught:
                opener.receive(content if isinstance(opener, Opener) else blocks * 16)
            error = caught.value
            seen.add((type(error), str(error), error.args, error.__cause__, error.__context__))
    assert len(seen) == 1


def test_a_data_key_is_exposed_in_memory_that_can_be_overwritten() -> None:
    exposed = DataKey(KEY).expose_to_kms()
    assert isinstance(exposed, bytearray)
    assert exposed == KEY


@pytest.mark.parametrize("fits", [True, False])
def test_a_data_key_out_of_pkcs1_does_nothing_but_open_content(fits: bool) -> None:
    key = RSA.unwrap_pkcs1(PRIVATE.public_key().encrypt(KEY, rsa_padding.PKCS1v15()) if fits else bytes(256))
    for use in (
        lambda: AES.wrap(key, b"115"),
        lambda: RSA.public_key().wrap(key, "115"),
        key.expose_to_kms,
        lambda: Sealer(key, V3),
        lambda: UnauthenticatedOpener(key, V2, MESSAGE_IDS[V2], None, 100),
    ):
        with pytest.raises(ValueError, match=r"opens content and does nothing else.*write it anew"):
            use()


@pytest.mark.parametrize("encoding", [files.Encoding.PEM, files.Encoding.DER])
def test_keys_are_taken_in_all_their_files(encoding: files.Encoding) -> None:
    for public_layout in (files.PublicFormat.SubjectPublicKeyInfo, files.PublicFormat.PKCS1):
        wrapped = RsaPublicKey(public_file(PRIVATE, encoding, public_layout)).wrap(DataKey(KEY), "115")
        for layout in (files.PrivateFormat.PKCS8, files.PrivateFormat.TraditionalOpenSSL):
            assert opens(RsaPrivateKey(private_file(PRIVATE, encoding, layout)).unwrap(wrapped, "115"))


def test_an_encrypted_key_is_refused_with_the_way_out() -> None:
    secret = files.BestAvailableEncryption(b"secret")
    for encoding, layout in (
        (files.Encoding.PEM, files.PrivateFormat.PKCS8),
        (files.Encoding.PEM, files.PrivateFormat.TraditionalOpenSSL),
        (files.Encoding.DER, files.PrivateFormat.PKCS8),
    ):
        with pytest.raises(ValueError, match=r"encrypted with a passphrase: decrypt it first"):
            RsaPrivateKey(private_file(PRIVATE, encoding, layout, secret))


def test_keys_of_other_sizes_are_refused() -> None:
    # A public key of any odd modulus will do, where making a private one takes long.
    large = rsa.RSAPublicNumbers(65537, (1 << 4103) + 1).public_key()
    small = rsa.generate_private_key(65537, 1024)
    for layout in (files.PublicFormat.SubjectPublicKeyInfo, files.PublicFormat.PKCS1):
        for key in (large, small.public_key()):
            with pytest.raises(ValueError, match="2048 to 4096 bits"):
                RsaPublicKey(key.public_bytes(files.Encoding.PEM, layout))
    for private_layout in (files.PrivateFormat.PKCS8, files.PrivateFormat.TraditionalOpenSSL):
        with pytest.raises(ValueError, match="2048 to 4096 bits"):
            RsaPrivateKey(private_file(small, layout=private_layout))


@pytest.mark.parametrize("kind", [RsaPrivateKey, RsaPublicKey])
def test_what_is_no_rsa_key_is_refused_and_never_quoted(kind: Any) -> None:
    of_curves = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
    wrong = [file for key in of_curves for file in (private_file(key), public_file(key))]
    wrong += [b"", b"words", KEY, private_file()[:-40], private_file()[:200], private_file().replace(b"MII", b"M*I")]
    wrong += [b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----\n"]
    wrong += [public_file() if kind is RsaPrivateKey else private_file()]
    messages = set()
    for file in wrong:
        with pytest.raises(ValueError, match=r"^this is no RSA|^the file begins like PEM and is not") as caught:
            kind(file)
        messages.add(str(caught.value))
        assert caught.value.__cause__ is None
    assert len(messages) == 2


def test_a_changed_private_key_is_refused() -> None:
    der = private_file(PRIVATE, files.Encoding.DER)
    for place in range(40, len(der), 97):
        with pytest.raises(ValueError, match=r"^this is no RSA private key"):
            RsaPrivateKey(der[:place] + bytes([der[place] ^ 1]) + der[place + 1 :])
    with pytest.raises(ValueError, match=r"^this is no RSA private key"):
        RsaPrivateKey(der + b"\0")


@given(file=st.binary(max_size=80) | st.binary(max_size=80).map(lambda end: private_file(PRIVATE)[:-30] + end))
def test_no_bytes_are_too_odd_to_be_refused(file: bytes) -> None:
    for kind in (RsaPrivateKey, RsaPublicKey):
        with pytest.raises(ValueError, match=r"^this is no RSA|^the file begins like PEM and is not"):
            kind(file)


@pytest.mark.parametrize("length", [0, 15, 17, 23, 25, 31, 33])
def test_a_raw_aes_key_has_32_bytes_or_24_or_16(length: int) -> None:
    with pytest.raises(ValueError, match=r"^a raw AES wrapping key has 32 bytes \(16 or 24 are taken for reads\)$"):
        AesWrappingKey(bytes(length))


def test_content_algorithms_are_those_of_the_table() -> None:
    for algorithm in ("", "116", "AES/GCM/NoPadding ", "AES/CTR/NoPadding", "x" * 1000):
        with pytest.raises(ValueError, match="neither sealed nor opened"):
            RSA.public_key().wrap(DataKey(KEY), algorithm)


def test_generated_data_keys_are_all_different() -> None:
    wrapped = {
        AESGCM(WRAPPING_KEY).decrypt(each[:12], each[12:], b"")
        for each in (AES.wrap(DataKey.generate(), b"") for _ in range(1000))
    }
    assert len(wrapped) == 1000


@pytest.mark.parametrize("key", [AES, RSA, RSA.public_key(), DataKey(KEY)], ids=lambda key: type(key).__name__)
def test_keys_stay_where_they_are(key: Any) -> None:
    assert repr(key) == str(key) == f"<{type(key).__name__}>"
    assert not [name for name in dir(key) if not name.startswith("_") and not callable(getattr(key, name))]
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            leave(key)
    with pytest.raises(AttributeError):
        key.note = "x"


def test_nothing_encrypts_as_old_clients_did() -> None:
    names = {kind: {name for name in dir(kind) if not name.startswith("_")} for kind in KINDS}
    assert names == {
        AesWrappingKey: {"wrap", "unwrap", "unwrap_rfc3394", "unwrap_ecb"},
        RsaPublicKey: {"wrap"},
        RsaPrivateKey: {"public_key", "unwrap", "unwrap_oaep_sha256", "unwrap_pkcs1"},
        DataKey: {"generate", "expose_to_kms"},
        CbcOpener: {"window", "receive", "finish"},
    }
