"""Every known answer that is an object or a wrap, of the official Java and Ruby clients, of Java's own providers and of
aioboto3, opened through the client when allowed, and refused by the name of the switch when not.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from memory_store import Lake
from writers import b64, sealed_v3

from arrowseal import ANY, CommitmentPolicy, RawAesKeyring, RawRsaKeyring
from arrowseal.exceptions import CommitmentPolicyError, EncryptionContextError, UnsupportedFormatError

if TYPE_CHECKING:
    from arrowseal import Client
    from arrowseal.keyring import Keyring

KAT: dict[str, Any] = json.loads((Path(__file__).parent / "kat.json").read_text())
AIOBOTO3: dict[str, Any] = json.loads((Path(__file__).parent / "aioboto3.json").read_text())
PDK = bytes.fromhex(KAT["pdk_hex"])
AES_KEY = bytes.fromhex(KAT["wrapping_aes_key_hex"])
RSA_KEY = base64.b64decode(KAT["test_rsa_2048_pkcs8_der_b64"])
KEY_ARN = "arn:aws:kms:us-east-1:111122223333:key/kat"
ALLOWING = CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT
CONTENT = b"content that the data key of all vectors opens"
JAVA, JCE, CBC = KAT["java_official_wraps"], KAT["legacy_wraps_jce"], KAT["cbc"]
OAEP_256 = "RSA/ECB/OAEPWithSHA-256AndMGF1Padding"


class VectorKms:
    """Answers Decrypt with the data key of all vectors, under the context that is expected, and remembers it."""

    meta = SimpleNamespace(endpoint_url="https://kms.us-east-1.amazonaws.com")

    def __init__(self) -> None:
        self.contexts: list[dict[str, str]] = []

    def decrypt(self, **arguments: Any) -> dict[str, Any]:
        assert arguments["KeyId"] == KEY_ARN
        assert arguments["CiphertextBlob"].startswith(b"KAT-EDK-")
        self.contexts.append(arguments["EncryptionContext"])
        return {"Plaintext": PDK, "KeyId": KEY_ARN}


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Lake:
    return Lake(monkeypatch)


def keyring(wrap: str) -> Keyring | None:
    if wrap.startswith("kms"):
        return None
    return RawRsaKeyring(RSA_KEY) if wrap.startswith("RSA") else RawAesKeyring(AES_KEY)


def reader(lake: Lake, wrap: str, kms: Any = None, **options: Any) -> Client:
    told: dict[str, Any] = {"commitment_policy": ALLOWING, "legacy": True, "instruction_files": True} | options
    return lake.client(KEY_ARN, kms=kms or VectorKms(), keyring=keyring(wrap), **told)


def test_java_wraps_of_v3_open_the_objects_they_belong_to(lake: Lake) -> None:
    body, fields = sealed_v3(CONTENT, PDK)
    for name, code, wrap in (("aes_gcm_v3_aad_115", "02", "AES/GCM"), ("rsa_oaep_sha1_v3", "22", "RSA-OAEP-SHA1")):
        edk = b64(bytes.fromhex(JAVA[name]))
        url = lake.plant("o", body, fields | {"x-amz-3": edk, "x-amz-w": code})
        strict = reader(lake, wrap, commitment_policy="REQUIRE_ENCRYPT_REQUIRE_DECRYPT", legacy=False)
        assert strict.get(url) == CONTENT
        assert strict.head(url).wrap == wrap
        with pytest.raises(UnsupportedFormatError, match="keyring="):
            lake.client(KEY_ARN, kms=VectorKms()).get(url)


V2_WRAPS = [
    ("AES/GCM", JAVA["aes_gcm_v2_aad_AES/GCM/NoPadding"], None),
    ("RSA-OAEP-SHA1", JAVA["rsa_oaep_sha1_v2"], None),
    ("AESWrap", JCE["AESWrap"], "wrapping"),
    (OAEP_256, JCE[f"{OAEP_256} (MGF1-SHA1, SunJCE)"], "wrapping"),
]


@pytest.mark.parametrize(("wrap", "edk", "legacy"), V2_WRAPS, ids=[name for name, *_ in V2_WRAPS])
def test_wraps_of_v2_open_the_objects_they_belong_to(wrap: str, edk: str, legacy: Any, lake: Lake) -> None:
    iv = bytes(range(12))
    fields = {
        "x-amz-key-v2": b64(bytes.fromhex(edk)),
        "x-amz-iv": b64(iv),
        "x-amz-cek-alg": "AES/GCM/NoPadding",
        "x-amz-wrap-alg": wrap,
        "x-amz-tag-len": "128",
        "x-amz-matdesc": "{}",
    }
    url = lake.plant("o", AESGCM(PDK).encrypt(iv, CONTENT, None), fields)
    assert reader(lake, wrap, legacy=legacy or False).get(url) == CONTENT
    if legacy:
        with pytest.raises(UnsupportedFormatError, match=f"legacy='{legacy}'"):
            reader(lake, wrap, legacy="content").get(url)
    with pytest.raises(CommitmentPolicyError, match="REQUIRE_ENCRYPT_ALLOW_DECRYPT"):
        reader(lake, wrap, commitment_policy="REQUIRE_ENCRYPT_REQUIRE_DECRYPT").get(url)


@pytest.mark.parametrize(("wrap", "name"), [("AES", "AES"), ("RSA", "RSA (PKCS1v1.5)")])
@pytest.mark.parametrize("vector", ["ct", "ct_100"])
def test_wraps_of_v1_open_the_known_answers_of_cbc(wrap: str, name: str, vector: str, lake: Lake) -> None:
    plaintext = CBC["pt_ascii"].encode() if vector == "ct" else bytes.fromhex(CBC["pt_100"])
    iv = b64(bytes.fromhex(CBC["iv_hex"]))
    fields = {"x-amz-key": b64(bytes.fromhex(JCE[name])), "x-amz-iv": iv, "x-amz-matdesc": "{}"}
    url = lake.plant("o", bytes.fromhex(CBC[vector]), fields)
    assert reader(lake, wrap).get(url) == plaintext
    for legacy in (False, "content", "wrapping"):
        with pytest.raises(UnsupportedFormatError, match="legacy=True"):
            reader(lake, wrap, legacy=legacy).get(url)


@pytest.mark.parametrize("vector", ["ct", "ct_100"])
def test_the_known_answers_of_cbc_open_in_v2_under_kms(vector: str, lake: Lake) -> None:
    plaintext = CBC["pt_ascii"].encode() if vector == "ct" else bytes.fromhex(CBC["pt_100"])
    context = {"kms_cmk_id": KEY_ARN}
    fields = {
        "x-amz-key-v2": b64(b"KAT-EDK-@ABC"),
        "x-amz-iv": b64(bytes.fromhex(CBC["iv_hex"])),
        "x-amz-cek-alg": "AES/CBC/PKCS5Padding",
        "x-amz-wrap-alg": "kms",
        "x-amz-matdesc": json.dumps(context),
    }
    kms = VectorKms()
    assert reader(lake, "kms", kms).get(lake.plant("o", bytes.fromhex(CBC[vector]), fields)) == plaintext
    assert kms.contexts == [context]


RUBY = KAT["ruby_official_random"]
RUBY_SWITCHES: dict[str, tuple[str, Any]] = {
    "v1_raw_aes": ("AES", True),
    "v1_raw_rsa": ("RSA", True),
    "v1_raw_aes_instr": ("AES", True),
    "v1_kms": ("kms", True),
    "v2_aes_gcm": ("AES/GCM", False),
    "v2_rsa_oaep": ("RSA-OAEP-SHA1", False),
    "v2_aes_gcm_instr": ("AES/GCM", False),
    "v2_kms_context": ("kms+context", False),
}


def ruby(lake: Lake, name: str) -> tuple[str, int | None]:
    """The URL of a recorded object, planted with its instruction file; and the length that it claims."""
    parts = {part["key"]: part for part in RUBY[name]}
    metadata = {field: str(value) for field, value in (parts["k"]["metadata"] or {}).items()}
    file = parts.get("k.instruction")
    body = bytes.fromhex(parts["k"]["body_hex"])
    url = lake.plant("k", body, metadata, bytes.fromhex(file["body_hex"]) if file else None)
    return url, int(metadata["x-amz-unencrypted-content-length"])


def test_every_recorded_object_of_ruby_has_its_switches_here() -> None:
    assert RUBY.keys() == RUBY_SWITCHES.keys()


@pytest.mark.parametrize("name", RUBY_SWITCHES)
def test_objects_of_the_official_ruby_client_open(name: str, lake: Lake) -> None:
    wrap, legacy = RUBY_SWITCHES[name]
    url, length = ruby(lake, name)
    context = {"encryption_context": {"purpose": "kat"}} if wrap == "kms+context" else {}
    client = reader(lake, wrap, legacy=legacy)
    content = bytes(client.get(url, **context))
    assert content.isascii()
    assert len(content) == length
    with client.object(url, **context) as found:
        assert found.read_at(0, found.size) == content


@pytest.mark.parametrize("name", RUBY_SWITCHES)
def test_objects_of_the_official_ruby_client_are_refused_by_the_names_of_their_switches(name: str, lake: Lake) -> None:
    wrap, legacy = RUBY_SWITCHES[name]
    url, _ = ruby(lake, name)
    if name.endswith("instr"):
        with pytest.raises(UnsupportedFormatError, match="instruction_files=True"):
            reader(lake, wrap, instruction_files=False).get(url)
    if legacy:
        for less in (False, "content", "wrapping"):
            with pytest.raises(UnsupportedFormatError, match="legacy=True"):
                reader(lake, wrap, legacy=less).get(url)
    with pytest.raises(CommitmentPolicyError, match="REQUIRE_ENCRYPT_ALLOW_DECRYPT"):
        reader(lake, wrap, commitment_policy="REQUIRE_ENCRYPT_REQUIRE_DECRYPT").get(url)


AIOBOTO3_SWITCHES: dict[str, tuple[str, Any]] = {
    "kms_gcm": ("kms", "wrapping"),
    "kms_gcm_alias": ("kms", "wrapping"),
    "kms_cbc": ("kms", True),
    "raw_aes": ("AES", True),
    "raw_rsa": ("RSA", True),
}


def test_every_recorded_object_of_aioboto3_has_its_switches_here() -> None:
    assert AIOBOTO3.keys() - {"_about"} == AIOBOTO3_SWITCHES.keys()


@pytest.mark.parametrize("name", AIOBOTO3_SWITCHES)
def test_objects_of_aioboto3_open_under_the_context_that_it_sends(name: str, lake: Lake) -> None:
    (wrap, legacy), vector, kms = AIOBOTO3_SWITCHES[name], AIOBOTO3[name], VectorKms()
    url = lake.plant("o", bytes.fromhex(vector["body_hex"]), vector["metadata"])
    client = reader(lake, wrap, kms, legacy=legacy)
    assert bytes(client.get(url)).decode() == vector["plaintext"]
    assert kms.contexts == [call["EncryptionContext"] for _, call in vector.get("kms_calls", [])]
    switch = "legacy=True" if legacy is True else f"legacy='{legacy}'"
    with pytest.raises(UnsupportedFormatError, match=switch):
        reader(lake, wrap, legacy="content" if legacy == "wrapping" else "wrapping").get(url)


MESSAGE = {"aws:ses:message-id": "abc", "aws:ses:rule-name": "store", "aws:ses:source-account": "111122223333"}
DESCRIPTIONS: dict[str, tuple[str | None, dict[str, str]]] = {
    "no description": (None, {}),
    "an empty one": ("{}", {}),
    "an empty text": ("", {}),
    "the id of a key": ('{"kms_cmk_id":"1234abcd-12ab-34cd-56ef-1234567890ab"}', {}),
    "Amazon SES": (json.dumps(MESSAGE | {"kms_cmk_id": KEY_ARN}), MESSAGE),
    "entries of one's own": ('{"file":"trips.parquet","":""}', {"file": "trips.parquet", "": ""}),
}


@pytest.mark.parametrize(("matdesc", "context"), DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_objects_of_mail_and_notebooks_open_under_their_own_context(
    matdesc: str | None, context: dict[str, str], lake: Lake
) -> None:
    """`kms` and AES-GCM, as Amazon SES stores mail and the notebook utility that this grew out of stored tables."""
    iv, kms = bytes(range(12)), VectorKms()
    fields = {
        "x-amz-key-v2": b64(b"KAT-EDK-mail"),
        "x-amz-iv": b64(iv),
        "x-amz-cek-alg": "AES/GCM/NoPadding",
        "x-amz-wrap-alg": "kms",
        "x-amz-tag-len": "128",
        "x-amz-unencrypted-content-length": str(len(CONTENT)),
    } | ({} if matdesc is None else {"x-amz-matdesc": matdesc})
    url = lake.plant("o", AESGCM(PDK).encrypt(iv, CONTENT, None), fields)
    client = reader(lake, "kms", kms, legacy="wrapping")
    assert client.get(url, encryption_context=context) == CONTENT
    assert kms.contexts == [json.loads(matdesc) if matdesc else {}]
    assert client.get(url, encryption_context=ANY) == CONTENT
    for other in ({"team": "sea"}, *([{}] if context else [])):
        with pytest.raises(EncryptionContextError):
            client.get(url, encryption_context=other)


def test_the_published_v3_message_opens_as_an_object(lake: Lake) -> None:
    vector = next(vector for vector in KAT["published"] if "ciphertext" in vector)
    nonce, data_key = bytes(range(12)), bytes.fromhex(vector["data_key"])
    fields = {
        "x-amz-c": "115",
        "x-amz-w": "02",
        "x-amz-3": b64(nonce + AESGCM(AES_KEY).encrypt(nonce, data_key, b"115")),
        "x-amz-d": b64(bytes.fromhex(vector["commitment_key"])),
        "x-amz-i": b64(bytes.fromhex(vector["message_id"])),
    }
    url = lake.plant("o", bytes.fromhex(vector["ciphertext"] + vector["auth_tag"]), fields)
    assert reader(lake, "AES/GCM", legacy=False).get(url) == bytes.fromhex(vector["plaintext"])
