"""The known answers that concern content, key derivation, commitment and raw wraps, of V1 to V3, through Python."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from arrowseal._core import SUITES, AesWrappingKey, CbcOpener, DataKey, Opener, RsaPrivateKey, Sealer
from core_messages import V2, V3, Message, open_message, reference

KAT = json.loads(Path(__file__).with_name("kat.json").read_text())
SUITE_IDS = {suite.name: suite.id for suite in SUITES}


def official(vector: dict[str, Any]) -> tuple[bytes, bytes, Message]:
    """Data key, plaintext and message of a vector of the official Python client."""
    suite_id = SUITE_IDS[vector["suite"]]
    message_id = bytes.fromhex(vector["iv_hex" if suite_id == V2 else "message_id_hex"])
    commitment = bytes.fromhex(vector["commit_key_hex"]) if suite_id == V3 else None
    message = Message(suite_id, message_id, commitment, bytes.fromhex(vector["body_hex"]))
    return bytes.fromhex(vector["pdk_hex"]), bytes.fromhex(vector["plaintext_hex"]), message


def published(vector: dict[str, Any]) -> tuple[bytes, bytes, Message]:
    """The same of the vector that the official Ruby client publishes."""
    key, message_id, commitment, plaintext, ciphertext, tag = (
        bytes.fromhex(vector[name])
        for name in ("data_key", "message_id", "commitment_key", "plaintext", "ciphertext", "auth_tag")
    )
    return key, plaintext, Message(V3, message_id, commitment, ciphertext + tag)


ANSWERS = {vector["name"]: official(vector) for vector in KAT["python_official"]} | {
    f"published {place}": published(vector) for place, vector in enumerate(KAT["published"]) if "plaintext" in vector
}


def test_no_vector_is_left_out() -> None:
    assert len(ANSWERS) == 6


@pytest.mark.parametrize("name", ANSWERS)
def test_a_message_seals_to_the_known_bytes(name: str) -> None:
    key, plaintext, message = ANSWERS[name]
    sealer = Sealer.with_fixed_message_id(DataKey(key), message.suite_id, message.message_id)
    assert sealer.commitment == message.commitment
    assert bytes(sealer.seal(plaintext)) == message.stored


@pytest.mark.parametrize("name", ANSWERS)
def test_a_known_message_opens_to_its_plaintext(name: str) -> None:
    key, plaintext, message = ANSWERS[name]
    assert open_message(message, key) == plaintext


@pytest.mark.parametrize("name", ANSWERS)
def test_the_reference_of_the_other_tests_gives_the_known_bytes_too(name: str) -> None:
    key, plaintext, message = ANSWERS[name]
    assert reference(plaintext, message.suite_id, message.message_id, key) == message


@pytest.mark.parametrize("vector", KAT["published"], ids=["first", "second", "third"])
def test_a_published_data_key_gives_its_commitment(vector: dict[str, str]) -> None:
    key, message_id = bytes.fromhex(vector["data_key"]), bytes.fromhex(vector["message_id"])
    sealer = Sealer.with_fixed_message_id(DataKey(key), V3, message_id)
    assert sealer.commitment == bytes.fromhex(vector["commitment_key"])


AES = AesWrappingKey(bytes.fromhex(KAT["wrapping_aes_key_hex"]))
RSA = RsaPrivateKey(base64.b64decode(KAT["test_rsa_2048_pkcs8_der_b64"]))
JAVA = {name: bytes.fromhex(wrapped) for name, wrapped in KAT["java_official_wraps"].items()}
JCE = {name.split(" (MGF1")[0]: bytes.fromhex(wrapped) for name, wrapped in KAT["legacy_wraps_jce"].items()}
UNWRAPPED = {
    "AES/GCM, V2": lambda: AES.unwrap(JAVA["aes_gcm_v2_aad_AES/GCM/NoPadding"], b"AES/GCM/NoPadding"),
    "AES/GCM, V3": lambda: AES.unwrap(JAVA["aes_gcm_v3_aad_115"], b"115"),
    "RSA-OAEP-SHA1, V2": lambda: RSA.unwrap(JAVA["rsa_oaep_sha1_v2"], "AES/GCM/NoPadding"),
    "RSA-OAEP-SHA1, V3": lambda: RSA.unwrap(JAVA["rsa_oaep_sha1_v3"], "115"),
    "AES": lambda: AES.unwrap_ecb(JCE["AES"]),
    "AESWrap": lambda: AES.unwrap_rfc3394(JCE["AESWrap"]),
    "RSA-OAEP-SHA256": lambda: RSA.unwrap_oaep_sha256(JCE["RSA/ECB/OAEPWithSHA-256AndMGF1Padding"]),
    "RSA": lambda: RSA.unwrap_pkcs1(JCE["RSA (PKCS1v1.5)"]),
}
CBC = KAT["cbc"]


def test_no_wrap_is_left_out() -> None:
    payloads = {name for name in JAVA if name.endswith("_payload")}
    assert len(UNWRAPPED) == len(JAVA) - len(payloads) + len(JCE)


@pytest.mark.parametrize("name", UNWRAPPED)
def test_a_known_wrap_gives_the_data_key_that_known_content_opens_under(name: str) -> None:
    data_key, iv = UNWRAPPED[name](), bytes.fromhex(CBC["iv_hex"])
    for stored, content in (
        (CBC["ct"], CBC["pt_ascii"].encode()),
        (CBC["ct_100"], bytes.fromhex(CBC["pt_100"])),
    ):
        assert CbcOpener(data_key, iv, len(stored) // 2).receive(bytes.fromhex(stored)) == content


def of_ruby(name: str) -> tuple[dict[str, Any], bytes, bytes]:
    """Fields, wrapped data key and body of an object that the official Ruby client wrote."""
    parts = KAT["ruby_official_random"][name]
    body = bytes.fromhex(parts[-1]["body_hex"])
    fields = parts[0]["metadata"] if len(parts) == 1 else json.loads(bytes.fromhex(parts[0]["body_hex"]))
    return fields, base64.b64decode(fields.get("x-amz-key") or fields["x-amz-key-v2"]), body


@pytest.mark.parametrize("name", ["v1_raw_aes", "v1_raw_rsa", "v1_raw_aes_instr"])
def test_an_object_of_the_ruby_client_of_v1_decrypts(name: str) -> None:
    fields, wrapped, body = of_ruby(name)
    data_key = RSA.unwrap_pkcs1(wrapped) if "rsa" in name else AES.unwrap_ecb(wrapped)
    content = CbcOpener(data_key, base64.b64decode(fields["x-amz-iv"]), len(body)).receive(body)
    assert content == f"hello from ruby {name}".encode()


@pytest.mark.parametrize("name", ["v2_aes_gcm", "v2_rsa_oaep", "v2_aes_gcm_instr"])
def test_an_object_of_the_ruby_client_of_v2_opens(name: str) -> None:
    fields, wrapped, body = of_ruby(name)
    algorithm = fields["x-amz-cek-alg"]
    data_key = RSA.unwrap(wrapped, algorithm) if "rsa" in name else AES.unwrap(wrapped, algorithm.encode())
    content = Opener(data_key, V2, base64.b64decode(fields["x-amz-iv"]), None, len(body)).receive(body)
    assert content == f"hello from ruby {name}".encode()
