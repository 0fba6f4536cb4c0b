"""KMS through faults: what may pass is tried again within its own budget, what will not is not."""

from __future__ import annotations

import base64
import gzip
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from arrowseal import Client, retries
from arrowseal.exceptions import (
    ExpiredCredentialsError,
    KmsAccessDeniedError,
    KmsError,
    KmsThrottledError,
    KmsUnavailableError,
)
from doubles import StrictKms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broken_servers import BrokenServers


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, not slept."""
    pauses: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", pauses.append)
    return pauses


@pytest.fixture
def kms() -> StrictKms:
    return StrictKms()


@pytest.fixture
def client(kms: StrictKms, raw_s3: Any) -> Client:
    return Client(kms.create_key(), s3=raw_s3, kms=kms)  # type: ignore[arg-type]


def test_throttled_calls_are_repeated_until_they_succeed(
    client: Client, kms: StrictKms, bucket: str, slept: list[float]
) -> None:
    kms.failures += ["ThrottlingException"] * 20
    client.put(bucket=bucket, key="o", data=b"x")
    kms.failures += ["ThrottlingException"] * 20
    assert client.get(bucket=bucket, key="o") == b"x"
    assert [(record.kms_calls, record.retries) for record in client.counters] == [(21, 20), (21, 20)]
    assert max(slept) <= retries.THROTTLED_KMS.cap_seconds
    assert len(set(slept)) > 20, "pauses are drawn, so that clients do not return together"


@pytest.mark.parametrize("code", ["KMSInternalException", "DependencyTimeoutException", "KeyUnavailableException"])
def test_calls_that_fail_for_a_moment_are_repeated(
    client: Client, kms: StrictKms, bucket: str, slept: list[float], code: str
) -> None:
    kms.failures += [code] * 2
    client.put(bucket=bucket, key="o", data=b"x")
    assert client.get(bucket=bucket, key="o") == b"x"
    assert len(slept) == 2


@pytest.mark.parametrize(
    ("code", "error", "most"),
    [("ThrottlingException", KmsThrottledError, 40), ("KMSInternalException", KmsUnavailableError, 3)],
)
def test_a_fault_that_lasts_ends_within_its_budget_and_writes_nothing(
    client: Client, kms: StrictKms, bucket: str, slept: list[float], code: str, error: type[Exception], most: int
) -> None:
    kms.failures += [code] * 1000
    with pytest.raises(error):
        client.put(bucket=bucket, key="o", data=b"x")
    assert len(kms.calls) == most
    assert len(slept) == most - 1
    assert not client.exists(bucket=bucket, key="o")


def test_a_refusal_is_not_repeated(client: Client, kms: StrictKms, bucket: str, slept: list[float]) -> None:
    kms.failures.append("AccessDeniedException")
    with pytest.raises(KmsAccessDeniedError):
        client.put(bucket=bucket, key="o", data=b"x")
    assert len(kms.calls) == 1
    assert slept == []


def test_no_attempt_begins_after_the_deadline(
    client: Client, kms: StrictKms, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(retries.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(retries.time, "sleep", lambda _: now.__setitem__(0, now[0] + 50))
    kms.failures += ["ThrottlingException"] * 1000
    with pytest.raises(KmsThrottledError):
        client.put(bucket=bucket, key="o", data=b"x")
    assert len(kms.calls) <= 4


class Balancer:
    """Answers in place of a KMS: so many times with a status and a body, then with a data key."""

    def __init__(self, status: int, body: bytes, times: int) -> None:
        self.status, self.body, self.times = status, body, times
        self.arn = "arn:aws:kms:eu-west-1:111122223333:key/1"
        config = Config(retries={"total_max_attempts": 1})
        session = boto3.Session("TESTS", "not checked", region_name="eu-west-1")
        self.client = session.client("kms", endpoint_url="http://localhost:1", config=config)
        self.client.meta.events.register("before-send.kms", self._answer)

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        self.times -= 1
        granted = {"KeyId": self.arn, "CiphertextBlob": "AAEC", "Plaintext": base64.b64encode(bytes(32)).decode()}
        status, body = (200, json.dumps(granted).encode()) if self.times < 0 else (self.status, self.body)
        return AWSResponse(request.url, status, {}, _Body(body))


class _Body(io.BytesIO):
    def stream(self) -> Iterator[bytes]:
        yield self.read()


@pytest.mark.parametrize(
    ("status", "body", "times", "error"),
    [
        (503, b"<html>no healthy upstream</html>", 2, KmsUnavailableError),
        (502, b"", 2, KmsUnavailableError),
        (503, b'{"__type": "ServiceUnavailable"}', 2, KmsUnavailableError),
        (500, b'{"__type": "InternalFailure"}', 2, KmsUnavailableError),
        (408, b'{"__type": "RequestTimeoutException"}', 2, KmsUnavailableError),
        (429, b"", 30, KmsThrottledError),
    ],
)
def test_what_stands_before_kms_is_in_trouble_as_kms_may_be(
    raw_s3: Any, bucket: str, slept: list[float], status: int, body: bytes, times: int, error: type[Exception]
) -> None:
    kms = Balancer(status, body, times)
    Client(kms.arn, s3=raw_s3, kms=kms.client).put(bucket=bucket, key="o", data=b"x")
    assert len(slept) == times
    kms.times = 100
    with pytest.raises(error, match=kms.arn):
        Client(kms.arn, s3=raw_s3, kms=kms.client).put(bucket=bucket, key="o", data=b"x")


CANARY = base64.b64encode(b"the canary of a data key").decode()


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(json.dumps({"Plaintext": CANARY}).encode()),
        json.dumps({"Plaintext": CANARY[:-1], "CiphertextBlob": "AAEC"}).encode(),
        json.dumps({"Plaintext": CANARY}).encode() + b"\xff",
        json.dumps([CANARY]).encode(),
        b'{"Plaintext": 5}',
        b"null",
    ],
    ids=["compressed", "no base64", "no text", "no object", "no string", "null"],
)
def test_an_answer_that_is_none_is_asked_for_again_and_no_error_holds_it(
    raw_s3: Any, bucket: str, slept: list[float], body: bytes
) -> None:
    kms = Balancer(200, body, 2)
    Client(kms.arn, s3=raw_s3, kms=kms.client).put(bucket=bucket, key="o", data=b"x")
    assert len(slept) == 2
    kms.times = 100
    with pytest.raises(KmsUnavailableError, match=f"{kms.arn}: the answer of KMS broke off, or is none") as refused:
        Client(kms.arn, s3=raw_s3, kms=kms.client).put(bucket=bucket, key="o", data=b"x")
    assert refused.value.__context__ is None


@pytest.mark.parametrize("status", [301, 403, 404])
def test_a_refusal_that_is_none_of_kms_asks_whose_it_is(
    raw_s3: Any, bucket: str, slept: list[float], status: int
) -> None:
    kms = Balancer(status, b"<html>blocked</html>", 100)
    with pytest.raises(KmsError, match=rf"{kms.arn}: refused \({status}\).*endpoint of a KMS") as refused:
        Client(kms.arn, s3=raw_s3, kms=kms.client).put(bucket=bucket, key="o", data=b"x")
    assert type(refused.value) is KmsError
    assert not slept


def test_a_request_that_expired_is_one_of_expired_credentials(raw_s3: Any, bucket: str) -> None:
    kms = Balancer(400, b'{"__type": "RequestExpired"}', 100)
    with pytest.raises(ExpiredCredentialsError, match=kms.arn):
        Client(kms.arn, s3=raw_s3, kms=kms.client).put(bucket=bucket, key="o", data=b"x")


def test_connections_to_kms_are_kept_for_as_many_threads_as_ask(
    servers: BrokenServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, connected = 24, []
    together, server = threading.Barrier(count), servers.kms_proxy._server

    def accept() -> Any:
        connected.append(None)
        return type(server).get_request(server)

    def wait(*_: object) -> None:
        together.wait(30)

    monkeypatch.setattr(server, "get_request", accept)
    servers.kms_proxy.rule = wait
    client = servers.client(cache=None)
    try:
        with ThreadPoolExecutor(count) as pool:
            for _ in range(3):
                list(pool.map(lambda number: client.put(f"s3://bucket/{number}", b"x"), range(count)))
    finally:
        servers.kms_proxy.reset()
    assert len(connected) == count
