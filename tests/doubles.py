"""A KMS in memory for what moto gets wrong: key states, IncorrectKey, unambiguous contexts; and a log of every call."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ARN = "arn:aws:kms:eu-west-1:111122223333:key/"


class StrictKms:
    """GenerateDataKey and Decrypt as AWS KMS answers them, under keys made by `create_key`.

    `calls` has (action, arguments) of every call; `data_keys` every plaintext data key that it handed out.
    """

    def __init__(self, endpoint_url: str = "https://kms.eu-west-1.amazonaws.com") -> None:
        self.meta = SimpleNamespace(endpoint_url=endpoint_url)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.data_keys: list[bytes] = []
        self.failures: list[str] = []
        """Error codes to answer the next calls with."""
        self._keys: dict[str, AESGCM] = {}
        self._aliases: dict[str, str] = {}
        self._states: dict[str, str] = {}

    def create_key(self, alias: str | None = None) -> str:
        """The ARN of a new key."""
        arn = f"{ARN}{len(self._keys):08d}"
        self._keys[arn] = AESGCM(os.urandom(32))
        if alias:
            self._aliases[alias] = arn
        return arn

    def point_alias(self, alias: str, arn: str) -> None:
        """Create or move an alias."""
        self._aliases[alias] = arn

    def set_state(self, arn: str, error_code: str) -> None:
        """Answer every call for a key with an error: `DisabledException`, `KMSInvalidStateException`."""
        self._states[arn] = error_code

    def generate_data_key(self, **arguments: Any) -> dict[str, Any]:
        arn = self._enter("GenerateDataKey", arguments)
        return self._generate(arn, os.urandom(32), arguments["EncryptionContext"])

    def _generate(self, arn: str, plaintext: bytes, context: dict[str, str]) -> dict[str, Any]:
        self.data_keys.append(plaintext)
        nonce = os.urandom(12)
        blob = arn.encode() + b"\0" + nonce + self._keys[arn].encrypt(nonce, plaintext, _bound(context))
        return {"CiphertextBlob": blob, "Plaintext": plaintext, "KeyId": arn}

    def wrap(self, arn: str, plaintext: bytes, context: dict[str, str]) -> bytes:
        """An encrypted data key for a plaintext of the test's choice."""
        blob: bytes = self._generate(arn, plaintext, context)["CiphertextBlob"]
        return blob

    def decrypt(self, **arguments: Any) -> dict[str, Any]:
        arn = self._enter("Decrypt", arguments)
        owner, _, sealed = arguments["CiphertextBlob"].partition(b"\0")
        if owner.decode("latin-1") not in self._keys:
            raise _error("InvalidCiphertextException", "Decrypt")
        if owner.decode() != arn:
            raise _error("IncorrectKeyException", "Decrypt")
        try:
            plaintext = self._keys[arn].decrypt(sealed[:12], sealed[12:], _bound(arguments["EncryptionContext"]))
        except InvalidTag:
            raise _error("InvalidCiphertextException", "Decrypt") from None
        self.data_keys.append(plaintext)
        return {"Plaintext": plaintext, "KeyId": arn}

    def _enter(self, action: str, arguments: dict[str, Any]) -> str:
        self.calls.append((action, arguments))
        if self.failures:
            raise _error(self.failures.pop(0), action)
        key_id = arguments["KeyId"]
        arn = self._aliases.get(key_id, key_id if key_id.startswith("arn:") else ARN + key_id)
        if arn not in self._keys:
            raise _error("NotFoundException", action)
        if arn in self._states:
            raise _error(self._states[arn], action)
        return arn


def http_answer(url: str, status: int, body: bytes = b"") -> AWSResponse:
    """An HTTP answer that no server sent, for botocore's `before-send` hooks."""
    return AWSResponse(url, status, {}, SimpleNamespace(stream=lambda **_: [body]))


def _bound(context: dict[str, str]) -> bytes:
    """A context as associated data that no other context has: the pairs sorted, JSON."""
    return json.dumps(sorted(context.items())).encode()


def _error(code: str, action: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, action)
