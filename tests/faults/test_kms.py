"""KMS through faults: what may pass is tried again within its own budget, what will not is not."""

from __future__ import annotations

from typing import Any

import pytest

from arrowseal import Client, retries
from arrowseal.exceptions import KmsAccessDeniedError, KmsThrottledError, KmsUnavailableError
from doubles import StrictKms


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
