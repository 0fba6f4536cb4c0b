"""What stands in for boto3's objects in tests: a KMS client on the strict engine, and HTTP answers no server sent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from strict_kms import ACCOUNT, HOME_REGION, KmsEngine, Refusal

ARN = f"arn:aws:kms:{HOME_REGION}:{ACCOUNT}:key/"


class StrictKms:
    """GenerateDataKey and Decrypt of a boto3 KMS client, answered by `strict_kms.KmsEngine` without HTTP.

    `calls` has (action, arguments) of every call; `data_keys` every plaintext data key that it handed out; `failures`
    are error codes to answer the next calls with.
    """

    def __init__(self, endpoint_url: str = "https://kms.eu-west-1.amazonaws.com") -> None:
        self.meta = SimpleNamespace(endpoint_url=endpoint_url)
        self.engine = KmsEngine()
        self.data_keys = self.engine.data_keys
        self.failures = self.engine.failures

    @property
    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        return [(call.action, call.arguments) for call in self.engine.calls]

    def create_key(self, alias: str | None = None) -> str:
        """The ARN of a new key."""
        arn = self.engine.create_key().arn
        if alias:
            self.engine.point_alias(alias, arn)
        return arn

    def point_alias(self, alias: str, arn: str) -> None:
        """Create or move an alias."""
        self.engine.point_alias(alias, arn)

    def set_state(self, arn: str, error_code: str) -> None:
        """Answer every call for a key with an error: `DisabledException`, `KMSInvalidStateException`."""
        self.engine.find(arn).refusal = error_code

    def wrap(self, arn: str, plaintext: bytes, context: dict[str, str]) -> bytes:
        """An encrypted data key for a plaintext of the test's choice."""
        return self.engine.wrap(self.engine.find(arn), plaintext, context)

    def generate_data_key(self, **arguments: Any) -> dict[str, Any]:
        return self._call("GenerateDataKey", arguments)

    def decrypt(self, **arguments: Any) -> dict[str, Any]:
        return self._call("Decrypt", arguments)

    def _call(self, action: str, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.engine.answer(action, arguments)
        except Refusal as refusal:
            raise ClientError({"Error": {"Code": refusal.code, "Message": refusal.message}}, action) from None


def http_answer(url: str, status: int, body: bytes = b"") -> AWSResponse:
    """An HTTP answer that no server sent, for botocore's `before-send` hooks."""
    return AWSResponse(url, status, {}, SimpleNamespace(stream=lambda **_: [body]))
