"""The known answers that concern content, key derivation and commitment of V2 and V3, through Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arrowseal._core import SUITES, DataKey, Sealer
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
