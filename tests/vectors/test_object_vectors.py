"""Objects that the official clients made: opened through the client, and what we write compared field by field."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from arrowseal import Client, CommitmentPolicy, _core
from arrowseal.exceptions import AuthenticationError, EncryptionContextError
from arrowseal.metadata import bound_context, parse, render
from arrowseal.suites import Format

KAT = json.loads((Path(__file__).parent / "kat.json").read_text())
OBJECTS = KAT["python_official"]
RUBY = KAT["ruby_official_random"]["v2_kms_context"][0]
KEY_ARN = "arn:aws:kms:us-east-1:111122223333:key/kat"


class FixedKms:
    """Answers Decrypt for one encrypted data key under one context."""

    meta = SimpleNamespace(endpoint_url="https://kms.us-east-1.amazonaws.com")

    def __init__(self, vector: dict[str, Any]) -> None:
        self._vector = vector

    def decrypt(self, **arguments: Any) -> dict[str, Any]:
        (_, generated) = self._vector["kms_calls"][0]
        assert arguments["KeyId"] == KEY_ARN
        assert arguments["CiphertextBlob"] == bytes.fromhex(self._vector["edk_hex"])
        assert arguments["EncryptionContext"] == generated["EncryptionContext"]
        return {"Plaintext": bytes.fromhex(self._vector["pdk_hex"]), "KeyId": KEY_ARN}


def reader(vector: dict[str, Any], raw_s3: Any) -> Client:
    return Client(
        KEY_ARN,
        s3=raw_s3,
        kms=FixedKms(vector),  # type: ignore[arg-type]
        commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT,
        encryption_context=vector["request_encryption_context"],
    )


@pytest.fixture(params=OBJECTS, ids=lambda vector: str(vector["name"]))
def vector(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


def test_an_object_of_the_official_clients_opens_to_its_plaintext(
    vector: dict[str, Any], raw_s3: Any, bucket: str
) -> None:
    body = bytes.fromhex(vector["body_hex"])
    raw_s3.put_object(Bucket=bucket, Key="kat", Body=body, Metadata=vector["metadata"])
    content = reader(vector, raw_s3).get(bucket=bucket, key="kat")
    assert bytes(content) == bytes.fromhex(vector["plaintext_hex"])
    assert content.encryption == f"CSE {vector['name'][:2]}"


def test_every_flipped_bit_of_such_an_object_is_refused(vector: dict[str, Any], raw_s3: Any, bucket: str) -> None:
    body = bytes.fromhex(vector["body_hex"])
    client = reader(vector, raw_s3)
    for position in {0, len(body) // 2, len(body) - 16, len(body) - 1}:
        flipped = bytearray(body)
        flipped[position] ^= 0x01
        raw_s3.put_object(Bucket=bucket, Key="kat", Body=bytes(flipped), Metadata=vector["metadata"])
        with pytest.raises(AuthenticationError):
            client.get(bucket=bucket, key="kat")


def test_such_an_object_is_refused_without_its_encryption_context(
    vector: dict[str, Any], raw_s3: Any, bucket: str
) -> None:
    body = bytes.fromhex(vector["body_hex"])
    raw_s3.put_object(Bucket=bucket, Key="kat", Body=body, Metadata=vector["metadata"])
    with pytest.raises(EncryptionContextError):
        reader(vector, raw_s3).get(bucket=bucket, key="kat", encryption_context={"purpose": "another"})


def test_what_we_would_write_is_what_the_official_client_wrote(vector: dict[str, Any]) -> None:
    written = Format.of(vector["name"][:2])
    identifier = bytes.fromhex(vector.get("message_id_hex") or vector["iv_hex"])
    data_key = _core.DataKey(bytes.fromhex(vector["pdk_hex"]))
    sealer = _core.Sealer.with_fixed_message_id(data_key, written.suite.id, identifier)
    body = sealer.seal(bytes.fromhex(vector["plaintext_hex"]))
    assert bytes(body).hex() == vector["body_hex"]
    ours = render(
        written,
        encrypted_data_key=bytes.fromhex(vector["edk_hex"]),
        message_id=sealer.message_id,
        commitment=sealer.commitment,
        context=bound_context(vector["request_encryption_context"] or {}, written),
    )
    assert ours.keys() == vector["metadata"].keys()
    assert parse(ours) == parse(vector["metadata"])


def test_an_object_of_the_official_ruby_client_opens_as_well(raw_s3: Any, bucket: str) -> None:
    vector = OBJECTS[0]  # the same data key, encrypted data key and context
    metadata = {name: str(value) for name, value in RUBY["metadata"].items()}
    raw_s3.put_object(Bucket=bucket, Key="kat", Body=bytes.fromhex(RUBY["body_hex"]), Metadata=metadata)
    content = bytes(reader(vector, raw_s3).get(bucket=bucket, key="kat"))
    assert len(content) == RUBY["metadata"]["x-amz-unencrypted-content-length"]
    assert content.isascii()
