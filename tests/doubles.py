"""What stands in for boto3's objects in tests: a KMS client on the strict engine, and HTTP answers no server sent."""

from __future__ import annotations

import functools
import io
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.config import Config
from botocore.exceptions import ClientError

from strict_kms import ACCOUNT, HOME_REGION, KmsEngine, Refusal

if TYPE_CHECKING:
    from memory_s3 import MemoryS3

ARN = f"arn:aws:kms:{HOME_REGION}:{ACCOUNT}:key/"


class StrictKms:
    """GenerateDataKey, Decrypt and ReEncrypt of a boto3 KMS client, answered by `strict_kms.KmsEngine` without HTTP.

    `calls` has (action, arguments) of every call; `data_keys` every plaintext data key that it handed out; `failures`
    are error codes to answer the next calls with. Clients of one `engine` are callers and Regions of one account.
    """

    def __init__(
        self,
        endpoint_url: str = "https://kms.eu-west-1.amazonaws.com",
        engine: KmsEngine | None = None,
        *,
        region: str = HOME_REGION,
        access_key: str = "",
    ) -> None:
        self.meta = SimpleNamespace(endpoint_url=endpoint_url, region_name=region)
        self.region, self.access_key = region, access_key
        self.engine = KmsEngine() if engine is None else engine
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

    def encrypt(self, **arguments: Any) -> dict[str, Any]:
        return self._call("Encrypt", arguments)

    def re_encrypt(self, **arguments: Any) -> dict[str, Any]:
        return self._call("ReEncrypt", arguments)

    def _call(self, action: str, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.engine.answer(action, arguments, region=self.region, access_key=self.access_key)
        except Refusal as refusal:
            raise ClientError({"Error": {"Code": refusal.code, "Message": refusal.message}}, action) from None


class _Body(io.BytesIO):
    """A body as botocore takes it from urllib3."""

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self.read()


@functools.cache
def _session() -> Any:
    """One for all: it reads botocore's models, which takes longer than a test."""
    import boto3

    return boto3.Session("TESTS", "not checked", region_name=HOME_REGION)


def s3_in_memory(server: MemoryS3) -> Any:
    """A boto3 S3 client whose requests are answered by a `MemoryS3`, without HTTP: `Client(s3=...)`."""

    def answered(request: Any, **_: Any) -> AWSResponse:
        body = request.body or b""
        body = body if isinstance(body, bytes) else b"".join(iter(lambda: bytes(body.read(2**20)), b""))
        headers = {
            name: str(value, "latin-1") if isinstance(value, bytes) else value
            for name, value in request.headers.items()
        }
        target = request.url.removeprefix("http://memory")
        answer = server.answer(request.method, target, body, headers)
        content = answer.read()
        given = {"Content-Length": str(len(content))} | dict(answer.getheaders())
        return AWSResponse(request.url, answer.status, HeadersDict(given), _Body(content))

    client = _session().client("s3", endpoint_url="http://memory", config=Config(s3={"addressing_style": "path"}))
    client.meta.events.register("before-send.s3", answered)
    return client


def http_answer(url: str, status: int, body: bytes = b"") -> AWSResponse:
    """An HTTP answer that no server sent, for botocore's `before-send` hooks."""
    return AWSResponse(url, status, {}, SimpleNamespace(stream=lambda **_: [body]))
