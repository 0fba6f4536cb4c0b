"""Raw keyrings: the bytes of the formats by other implementations, where keys come from, and which one reads."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC as CBC_MODE
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.padding import PKCS7
from keyring_kinds import rsa_pem, rsa_public

from arrowseal import V2, V3, Client, Format, RawAesKeyring, RawRsaKeyring, _core
from arrowseal.counters import Operation
from arrowseal.exceptions import ConfigurationError, KeyMismatchError, NoKeyError
from arrowseal.location import ObjectLocation
from arrowseal.metadata import EncryptedMetadata
from doubles import s3_in_memory
from memory_s3 import MemoryS3

if TYPE_CHECKING:
    from arrowseal.materials import EncryptionMaterials

HERE = ObjectLocation("lake", "o")
KNOWN = json.loads((Path(__file__).parent.parent / "vectors" / "kat.json").read_text())
DATA_KEY = bytes.fromhex(KNOWN["pdk_hex"])
AES_KEY = bytes.fromhex(KNOWN["wrapping_aes_key_hex"])
RSA_KEY = base64.b64decode(KNOWN["test_rsa_2048_pkcs8_der_b64"])
OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
CONTENT = {"V2": "AES/GCM/NoPadding", "V3": "115"}
CBC = "AES/CBC/PKCS5Padding"


def operation() -> Operation:
    return Operation("get", HERE)


def found(wrap: str, wrapped: bytes, content: str = "115", **described: str) -> EncryptedMetadata:
    version = "V3" if content == "115" else "V2"
    return EncryptedMetadata(version, content, wrap, wrapped, bytes(28), None, {}, material_description=described)


def of(materials: EncryptionMaterials) -> EncryptedMetadata:
    described = dict(materials.material_description)
    return found(materials.wrap, materials.encrypted_data_key, materials.format.content_algorithm, **described)


def is_the_known_one(data_key: _core.DataKey) -> bool:
    message_id = bytes(range(1, 13))
    sealed = AESGCM(DATA_KEY).encrypt(message_id, b"content", None)
    return bytes(_core.Opener(data_key, V2.suite.id, message_id, None, len(sealed)).receive(sealed)) == b"content"


def seals_like(data_key: _core.DataKey, plain: bytes) -> bool:
    message_id = bytes(range(1, 13))
    sealer = _core.Sealer.with_fixed_message_id(data_key, V2.suite.id, message_id)
    return bytes(sealer.seal(b"content")) == AESGCM(plain).encrypt(message_id, b"content", None)


@pytest.mark.parametrize(
    ("wrap", "wrapped", "content"),
    [
        ("AES/GCM", KNOWN["java_official_wraps"]["aes_gcm_v2_aad_AES/GCM/NoPadding"], "AES/GCM/NoPadding"),
        ("AES/GCM", KNOWN["java_official_wraps"]["aes_gcm_v3_aad_115"], "115"),
        ("AESWrap", KNOWN["legacy_wraps_jce"]["AESWrap"], "AES/GCM/NoPadding"),
        ("AES", KNOWN["legacy_wraps_jce"]["AES"], CBC),
    ],
)
def test_what_java_wrapped_under_an_aes_key_is_unwrapped(wrap: str, wrapped: str, content: str) -> None:
    ring = RawAesKeyring(AES_KEY)
    assert is_the_known_one(ring.unwrap(found(wrap, bytes.fromhex(wrapped), content), HERE, operation()).data_key)


@pytest.mark.parametrize("content", [CBC, "115", "AES/CTR/NoPadding"])
def test_a_data_key_of_aes_gcm_content_unwraps_for_no_other_content(content: str) -> None:
    """Otherwise who writes metadata would turn an authenticated object into an oracle (CVE-2020-8912)."""
    wrapped = bytes.fromhex(KNOWN["java_official_wraps"]["aes_gcm_v2_aad_AES/GCM/NoPadding"])
    with pytest.raises(KeyMismatchError):
        RawAesKeyring(AES_KEY).unwrap(found("AES/GCM", wrapped, content), HERE, operation())


@pytest.mark.parametrize(
    ("wrap", "wrapped", "content"),
    [
        ("RSA-OAEP-SHA1", KNOWN["java_official_wraps"]["rsa_oaep_sha1_v2"], "AES/GCM/NoPadding"),
        ("RSA-OAEP-SHA1", KNOWN["java_official_wraps"]["rsa_oaep_sha1_v3"], "115"),
        (
            "RSA/ECB/OAEPWithSHA-256AndMGF1Padding",
            KNOWN["legacy_wraps_jce"]["RSA/ECB/OAEPWithSHA-256AndMGF1Padding (MGF1-SHA1, SunJCE)"],
            "AES/GCM/NoPadding",
        ),
        ("RSA", KNOWN["legacy_wraps_jce"]["RSA (PKCS1v1.5)"], CBC),
    ],
)
def test_what_java_wrapped_under_an_rsa_key_is_unwrapped(wrap: str, wrapped: str, content: str) -> None:
    ring = RawRsaKeyring(RSA_KEY)
    assert is_the_known_one(ring.unwrap(found(wrap, bytes.fromhex(wrapped), content), HERE, operation()).data_key)


@pytest.mark.parametrize("written", [V2, V3])
def test_what_is_wrapped_here_another_implementation_unwraps(written: Format) -> None:
    content = CONTENT[written.value].encode()
    made = RawAesKeyring(AES_KEY).generate(written, {}, HERE, operation())
    wrapped = made.encrypted_data_key
    assert (made.wrap, len(wrapped), dict(made.encryption_context)) == ("AES/GCM", 60, {})
    assert seals_like(made.data_key, AESGCM(AES_KEY).decrypt(wrapped[:12], wrapped[12:], content))
    made = RawRsaKeyring(RSA_KEY).generate(written, {}, HERE, operation())
    private: Any = serialization.load_der_private_key(RSA_KEY, None)
    payload = private.decrypt(made.encrypted_data_key, OAEP)
    assert (made.wrap, payload[:1], payload[33:]) == ("RSA-OAEP-SHA1", b"\x20", content)
    assert seals_like(made.data_key, payload[1:33])


@pytest.mark.parametrize(
    "payload",
    [
        b"\x20" + DATA_KEY + b"AES/GCM/NoPadding",
        b"\x20" + DATA_KEY + b"1150",
        b"\x20" + DATA_KEY + b"11",
        b"\x20" + DATA_KEY,
        b"\x1f" + DATA_KEY + b"115",
        b"\x21" + DATA_KEY + b"115",
        b"\x10" + DATA_KEY[:16] + b"115",
        b"\xff" + DATA_KEY + b"115",
        DATA_KEY,
        b"",
    ],
)
def test_a_payload_that_is_not_framed_for_this_content_is_refused_without_saying_why(payload: bytes) -> None:
    public: Any = serialization.load_der_private_key(RSA_KEY, None).public_key()
    with pytest.raises(KeyMismatchError) as refused:
        RawRsaKeyring(RSA_KEY).unwrap(found("RSA-OAEP-SHA1", public.encrypt(payload, OAEP)), HERE, operation())
    with pytest.raises(KeyMismatchError) as other:
        RawRsaKeyring(RSA_KEY).unwrap(found("RSA-OAEP-SHA1", bytes(256)), HERE, operation())
    assert str(refused.value) == str(other.value)
    assert refused.value.__cause__ is other.value.__cause__ is None


def test_a_wrap_of_another_length_is_refused_with_the_same_words() -> None:
    said = set()
    for wrapped in (b"", bytes(59), bytes(60), bytes(61), bytes(1000)):
        with pytest.raises(KeyMismatchError) as refused:
            RawAesKeyring(AES_KEY).unwrap(found("AES/GCM", wrapped), HERE, operation())
        said.add(str(refused.value))
    assert len(said) == 1


def test_the_material_description_of_an_object_chooses_the_key_that_reads_it() -> None:
    server = MemoryS3()
    s3 = s3_in_memory(server)
    keys = [bytes([number]) * 32 for number in range(1, 4)]
    described = [{"kek": "2024"}, {"kek": "2025", "team": "weather"}, {"kek": "2026"}]
    for number, (key, description) in enumerate(zip(keys, described, strict=True)):
        Client(keyring=RawAesKeyring(key, material_description=description), s3=s3).put(f"s3://lake/{number}", b"x")
    assert json.loads(server.objects["/lake/1"].headers["x-amz-meta-x-amz-m"]) == described[1]
    additional = list(zip(described[:2], keys[:2], strict=True))
    reader = Client(keyring=RawAesKeyring(keys[2], additional=additional), s3=s3)
    assert all(bytes(reader.get(f"s3://lake/{number}")) == b"x" for number in range(3))


@pytest.mark.parametrize(
    "stored", [{}, {"kek": "2025", "team": ""}, {"kek": "2025 "}, {"KEK": "2025"}, {"kek": "2024"}]
)
def test_descriptions_are_equal_exactly_or_not_at_all(stored: dict[str, str]) -> None:
    """Another description is read under the first key: a writer may not have stored any."""
    first, old = bytes([1]) * 32, bytes([2]) * 32
    ring = RawAesKeyring(first, additional=[({"kek": "2025"}, old)])
    under_first = of(RawAesKeyring(first, material_description=stored).generate(V3, {}, HERE, operation()))
    under_old = of(RawAesKeyring(old, material_description=stored).generate(V3, {}, HERE, operation()))
    assert ring.unwrap(under_first, HERE, operation())
    with pytest.raises(KeyMismatchError):
        ring.unwrap(under_old, HERE, operation())


def test_a_description_that_was_changed_gains_nothing() -> None:
    """It is not authenticated: it chooses among keys that are configured, and the wrap has to open under that one."""
    first, old = bytes([1]) * 32, bytes([2]) * 32
    ring = RawAesKeyring(first, additional=[({"kek": "2025"}, old)])
    made = of(RawAesKeyring(first).generate(V3, {}, HERE, operation()))
    changed = found(made.wrap, made.encrypted_data_key, kek="2025")
    with pytest.raises(KeyMismatchError, match="2025"):
        ring.unwrap(changed, HERE, operation())


def test_a_key_of_a_function_or_a_file_is_asked_for_when_needed_and_again_after_five_minutes(tmp_path: Path) -> None:
    path = tmp_path / "key"
    asked: list[int] = []

    def answer() -> bytes:
        asked.append(1)
        return path.read_bytes()

    by_function, by_file = RawAesKeyring(answer), RawAesKeyring(path)
    assert asked == [], "nothing is read before it is needed"
    path.write_bytes(bytes([1]) * 32)
    made = of(by_file.generate(V3, {}, HERE, operation()))
    for _ in range(10):
        by_function.unwrap(made, HERE, operation())
    assert asked == [1]
    path.write_bytes(bytes([2]) * 32)
    for ring in (by_function, by_file):
        assert ring.unwrap(made, HERE, operation()), "remembered"
        clock = ring._key._held._clock
        ring._key._held._clock = lambda clock=clock: clock() + 301  # type: ignore[misc]
        with pytest.raises(KeyMismatchError):
            ring.unwrap(made, HERE, operation())
    assert asked == [1, 1]
    path.unlink()
    by_file._key._held._clock = lambda: clock() + 1000
    with pytest.raises(ConfigurationError, match=str(path)):
        by_file.check_write(HERE)


def test_a_key_that_is_withdrawn_is_no_reason_to_write_under_the_next_one(tmp_path: Path) -> None:
    server = MemoryS3()
    rings = [RawAesKeyring(tmp_path / "gone"), RawAesKeyring(bytes(range(32)))]
    with pytest.raises(ConfigurationError, match="gone"):
        Client(keyring=rings, s3=s3_in_memory(server)).put("s3://lake/o", b"x")
    assert server.objects == {}


def test_nothing_of_a_raw_key_is_logged_at_debug(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    canary = b"canary-raw-aes-key-of-32-bytes!!"
    path = tmp_path / "key"
    path.write_bytes(canary)
    with caplog.at_level("DEBUG"):
        for ring in (RawAesKeyring(canary), RawAesKeyring(path), RawRsaKeyring(rsa_pem())):
            client = Client(keyring=ring, s3=s3_in_memory(MemoryS3()))
            client.put("s3://lake/o", b"x")
            client.get("s3://lake/o")
    assert "botocore" in {record.name.split(".")[0] for record in caplog.records}, "the log must have been on"
    for spelling in (
        canary.decode(),
        canary.hex(),
        base64.b64encode(canary).decode(),
        rsa_pem().splitlines()[3].decode(),
    ):
        assert spelling not in caplog.text


@pytest.mark.parametrize("key", [b"", bytes(15), bytes(31), bytes(33), bytes(64)])
def test_an_aes_key_of_another_length_is_refused_and_not_shown(key: bytes, tmp_path: Path) -> None:
    canary = (b"canary!" * 10)[: len(key)]
    with pytest.raises(ConfigurationError) as refused:
        RawAesKeyring(canary)
    path = tmp_path / "key"
    path.write_bytes(canary)
    with pytest.raises(ConfigurationError) as of_file:
        RawAesKeyring(path).check_read(HERE)
    with pytest.raises(ConfigurationError, match="not str") as of_text:
        RawAesKeyring(lambda: canary.decode()).check_read(HERE)  # type: ignore[arg-type,return-value]
    for caught in (refused, of_file, of_text):
        assert "canary" not in str(caught.value)
        assert caught.value.__cause__ is None
    for caught in (of_file, of_text):
        for frame, _ in walk_tb(caught.tb):
            if "arrowseal" in frame.f_code.co_filename and "tests" not in frame.f_code.co_filename:
                assert "canary" not in repr(frame.f_locals)


@pytest.mark.parametrize("wrap", ["AES/GCM", "AESWrap", "AES"])
@pytest.mark.parametrize("size", [16, 24])
def test_an_aes_key_of_16_or_24_bytes_reads_what_other_clients_wrote_and_writes_nothing(size: int, wrap: str) -> None:
    key, s3, data_key = os.urandom(size), s3_in_memory(MemoryS3()), os.urandom(32)
    client = Client(keyring=RawAesKeyring(key), s3=s3, legacy=True, commitment_policy="REQUIRE_ENCRYPT_ALLOW_DECRYPT")
    with pytest.raises(ConfigurationError, match="s3://lake/o: a raw AES key of 16 or 24 bytes reads what"):
        client.put("s3://lake/o", b"x")
    iv, nonce = os.urandom(12), os.urandom(12)
    body, fields = AESGCM(data_key).encrypt(iv, b"x", None), {"x-amz-iv": base64.b64encode(iv).decode()}
    if wrap == "AES":
        padder, cbc = PKCS7(128).padder(), Cipher(AES(data_key), CBC_MODE(bytes(range(16)))).encryptor()
        body = cbc.update(padder.update(b"x") + padder.finalize()) + cbc.finalize()
        ecb = Cipher(AES(key), ECB()).encryptor()
        wrapped = ecb.update(data_key + b"\x10" * 16) + ecb.finalize()
        fields = {"x-amz-iv": base64.b64encode(bytes(range(16))).decode()}
    else:
        content = b"AES/GCM/NoPadding"
        sealed = nonce + AESGCM(key).encrypt(nonce, data_key, content)
        wrapped = sealed if wrap == "AES/GCM" else aes_key_wrap(key, data_key)
        fields |= {"x-amz-cek-alg": content.decode(), "x-amz-wrap-alg": wrap}
    name = "x-amz-key" if wrap == "AES" else "x-amz-key-v2"
    s3.put_object(Bucket="lake", Key="o", Body=body, Metadata=fields | {name: base64.b64encode(wrapped).decode()})
    assert client.get("s3://lake/o") == b"x"
    with pytest.raises(KeyMismatchError):
        client.replace(keyring=RawAesKeyring(os.urandom(size))).get("s3://lake/o")


def _pem(key: Any, encoding: Any = serialization.Encoding.PEM, kind: Any = serialization.PrivateFormat.PKCS8) -> bytes:
    made: bytes = key.private_bytes(encoding, kind, serialization.NoEncryption())
    return made


def test_rsa_keys_are_read_in_every_form_that_tools_write(tmp_path: Path) -> None:
    key: Any = serialization.load_pem_private_key(rsa_pem(), None)
    encodings, privates = serialization.Encoding, serialization.PrivateFormat
    made = of(RawRsaKeyring(public_key=rsa_public(rsa_pem())).generate(V3, {}, HERE, operation()))
    for encoding in (encodings.PEM, encodings.DER):
        for form in (privates.PKCS8, privates.TraditionalOpenSSL):
            assert RawRsaKeyring(_pem(key, encoding, form)).unwrap(made, HERE, operation())
        for public_form in (serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1):
            public = key.public_key().public_bytes(encoding, public_form)
            assert RawRsaKeyring(public_key=public).generate(V3, {}, HERE, operation())
    path = tmp_path / "key.pem"
    path.write_bytes(rsa_pem())
    assert RawRsaKeyring(path).unwrap(made, HERE, operation())
    assert RawRsaKeyring(lambda: rsa_pem()).unwrap(made, HERE, operation())


def test_who_has_the_public_key_alone_writes_and_does_not_read() -> None:
    server = MemoryS3()
    s3 = s3_in_memory(server)
    writer = Client(keyring=RawRsaKeyring(public_key=rsa_public(rsa_pem())), s3=s3)
    writer.put("s3://lake/o", b"x")
    with pytest.raises(NoKeyError, match="private_key"):
        writer.get("s3://lake/o")
    assert bytes(Client(keyring=RawRsaKeyring(rsa_pem()), s3=s3).get("s3://lake/o")) == b"x"


def test_keys_of_two_pairs_are_refused_before_anything_is_written_under_them() -> None:
    server = MemoryS3()
    mixed = RawRsaKeyring(rsa_pem(0), rsa_public(rsa_pem(1)))
    with pytest.raises(ConfigurationError, match="two pairs"):
        Client(keyring=mixed, s3=s3_in_memory(server)).put("s3://lake/o", b"x")
    assert server.objects == {}
    assert RawRsaKeyring(rsa_pem(0), rsa_public(rsa_pem(0))).generate(V3, {}, HERE, operation())


@pytest.mark.parametrize("what", ["short", "elliptic", "encrypted", "public", "certificate", "nothing"])
def test_what_is_no_rsa_key_is_refused_and_not_shown(what: str) -> None:
    key: Any = serialization.load_pem_private_key(rsa_pem(), None)
    locked = serialization.BestAvailableEncryption(b"canary")
    made = {
        "short": lambda: _pem(rsa.generate_private_key(65537, 1024)),
        "elliptic": lambda: _pem(ec.generate_private_key(ec.SECP256R1())),
        "encrypted": lambda: key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked),
        "public": lambda: rsa_public(rsa_pem()),
        "certificate": lambda: b"-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----\n",
        "nothing": lambda: b"canary",
    }[what]()
    with pytest.raises(ConfigurationError, match="RSA private key") as refused:
        RawRsaKeyring(made)
    assert "canary" not in str(refused.value)
    assert made.splitlines()[-1].decode("latin-1") not in str(refused.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"key": "not bytes"},
        {"key": None},
        {"key": lambda: "text"},
        {"key": bytes(range(32)), "material_description": {"a": 1}},
        {"key": bytes(range(32)), "material_description": "a=b"},
        {"key": bytes(range(32)), "additional": [({"a": "b"}, bytes(3))]},
        {"key": bytes(range(32)), "additional": {"kek": bytes(range(32))}},
        {"key": bytes(range(32)), "additional": ({"a": "b"}, bytes(range(32)))},
        {"key": bytes(range(32)), "additional": 1},
        {"key": bytes(range(32)), "additional": [({"a": "b"}, bytes(32)), ({"a": "b"}, bytes(range(32)))]},
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        RawAesKeyring(**arguments).check_write(HERE)
    with pytest.raises(ConfigurationError):
        RawRsaKeyring()


def test_an_additional_rsa_key_reads_what_it_wrapped_though_there_is_no_first_one() -> None:
    described = {"kek": "old"}
    made = of(RawRsaKeyring(rsa_pem(0), material_description=described).generate(V3, {}, HERE, operation()))
    ring = RawRsaKeyring(public_key=rsa_public(rsa_pem(1)), additional=[(described, rsa_pem(0))])
    assert ring.unwrap(made, HERE, operation())
    with pytest.raises(KeyMismatchError):
        ring.unwrap(of(ring.generate(V3, {}, HERE, operation())), HERE, operation())
