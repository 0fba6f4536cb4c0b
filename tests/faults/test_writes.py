"""Writes of one request through faults: whole or not at all, sealed once, and never somebody else's object."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import Fault, FaultProxy
from fault_rules import always, either, on

import arrowseal
from arrowseal import PLAIN, Client
from arrowseal.exceptions import (
    BucketNotFoundError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreAccessDeniedError,
    StoreError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    MakeClient = Callable[..., Client]

CONTENT = os.urandom(300_000)
PASSING = [
    Fault("status", 503, "SlowDown"),
    Fault("status", 500, "InternalError"),
    Fault("status", 502, "BadGateway"),
    Fault("status", 504, "GatewayTimeout"),
    Fault("status", 400, "RequestTimeout"),
    Fault("status", 400, "BadDigest"),
    Fault("status", 400, "IncompleteBody"),
    Fault("reset-before"),
    Fault("close-before"),
    Fault("cut-request", 0),
    Fault("cut-request", 150_000),
    Fault("cut-request", 299_999),
    Fault("lost-answer"),
]


def named(fault: Any) -> str:
    return f"{fault.kind}-{fault.at}-{fault.code}" if isinstance(fault, Fault) else str(fault)


@pytest.fixture(params=["CSE V3", "CSE V2", "PLAIN"])
def arm(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The options of a client for each way to write."""
    return {"CSE V3": {}, "CSE V2": {"interop": "analytics"}, "PLAIN": {"allow_plaintext": True}}[request.param]


@pytest.fixture
def put(arm: dict[str, Any]) -> Any:
    """Writes as that arm does."""
    encryption = PLAIN if "allow_plaintext" in arm else None
    return lambda client, url, data, **rest: client.put(url, data, encryption=encryption, **rest)


@pytest.mark.parametrize("fault", PASSING, ids=named)
@pytest.mark.parametrize("times", [1, 3])
def test_a_put_that_fails_for_a_moment_is_sent_again_as_it_was(
    through_proxy: MakeClient, proxy: FaultProxy, bucket: str, fault: Fault, times: int
) -> None:
    client, url = through_proxy(), f"s3://{bucket}/o"
    proxy.rule = on("PutObject", fault, times=times)
    result = client.put(url, CONTENT)
    sent = [seen for seen in proxy.log if seen.operation == "PutObject"]
    assert len(sent) == times + 1
    assert len({seen.body for seen in sent if seen.body}) == 1
    assert len({seen.headers["x-amz-meta-x-amz-i"] for seen in sent}) == 1
    record = list(client.counters)[-1]
    assert (record.kms_calls, record.retries, record.requests) == (1, times, len(proxy.log))
    assert client.head(url).etag == result.etag
    assert client.get(url) == CONTENT


@pytest.mark.parametrize("fault", [Fault("status", 503), Fault("lost-answer"), Fault("cut-request", 1000)], ids=named)
def test_every_arm_is_sent_again(
    through_proxy: MakeClient, proxy: FaultProxy, bucket: str, arm: dict[str, Any], put: Any, fault: Fault
) -> None:
    client, url = through_proxy(**arm), f"s3://{bucket}/o"
    proxy.rule = on("PutObject", fault, times=2)
    put(client, url, CONTENT)
    assert client.get(url) == CONTENT
    assert proxy.count("PutObject") == 3


def test_content_that_changes_between_two_attempts_is_sent_as_it_was(
    through_proxy: MakeClient, proxy: FaultProxy, bucket: str, arm: dict[str, Any], put: Any
) -> None:
    client, url, source = through_proxy(**arm), f"s3://{bucket}/o", bytearray(CONTENT)
    lose = on("PutObject", Fault("lost-answer"), times=2)

    def rule(*request: Any) -> Fault | None:
        source[:] = os.urandom(len(source))
        return lose(*request)

    proxy.rule = rule
    put(client, url, source)
    assert len({seen.body for seen in proxy.log if seen.operation == "PutObject"}) == 1
    assert client.get(url) == CONTENT


@pytest.mark.parametrize("attempts_lost", [1, 2, 3])
def test_a_create_only_write_whose_answer_is_lost_knows_its_own_object(
    through_proxy: MakeClient, proxy: FaultProxy, bucket: str, arm: dict[str, Any], put: Any, attempts_lost: int
) -> None:
    client, url = through_proxy(**arm), f"s3://{bucket}/o"
    proxy.rule = on("PutObject", Fault("lost-answer"), times=attempts_lost)
    result = put(client, url, CONTENT, if_none_match="*")
    assert result.etag == client.head(url).etag
    assert client.get(url) == CONTENT


def test_a_write_under_a_condition_whose_answer_is_lost_knows_its_own_object(
    through_proxy: MakeClient, proxy: FaultProxy, bucket: str, arm: dict[str, Any], put: Any
) -> None:
    client, url = through_proxy(**arm), f"s3://{bucket}/o"
    first = put(client, url, b"first")
    proxy.rule = on("PutObject", Fault("lost-answer"))
    second = put(client, url, CONTENT, if_match=first.etag)
    assert second.etag == client.head(url).etag != first.etag
    assert client.get(url) == CONTENT


def test_a_create_only_write_that_was_overtaken_does_not_take_the_others_object_for_its_own(
    through_proxy: MakeClient, proxy: FaultProxy, client: Client, bucket: str, arm: dict[str, Any], put: Any
) -> None:
    ours, url = through_proxy(**arm), f"s3://{bucket}/o"
    lose = on("PutObject", Fault("reset-before"))

    def rule(*request: Any) -> Fault | None:
        fault = lose(*request)
        if fault:
            client.put(url, b"theirs")
        return fault

    proxy.rule = rule
    with pytest.raises(PreconditionFailedError, match=url):
        put(ours, url, CONTENT, if_none_match="*")
    assert client.get(url) == b"theirs"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status", 503), StoreUnavailableError),
        (Fault("status", 500, "InternalError"), StoreUnavailableError),
        (Fault("reset-before"), StoreUnavailableError),
        (Fault("cut-request", 1000), StoreUnavailableError),
    ],
    ids=named,
)
def test_a_put_that_fails_for_good_writes_nothing_and_says_so_in_time(
    through_proxy: MakeClient,
    proxy: FaultProxy,
    client: Client,
    bucket: str,
    arm: dict[str, Any],
    put: Any,
    fault: Fault,
    error: type[Exception],
) -> None:
    url = f"s3://{bucket}/o"
    proxy.rule = always("PutObject", fault)
    with pytest.raises(error, match=url):
        put(through_proxy(**arm), url, CONTENT)
    assert proxy.count("PutObject") == 4
    assert not client.exists(url)


def test_a_put_whose_answers_are_all_lost_is_found_to_have_succeeded(
    through_proxy: MakeClient, proxy: FaultProxy, bucket: str
) -> None:
    client, url = through_proxy(), f"s3://{bucket}/o"
    proxy.rule = always("PutObject", Fault("lost-answer"))
    assert client.put(url, CONTENT).etag == client.head(url).etag
    assert client.get(url) == CONTENT


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDenied", 403, StoreAccessDeniedError),
        ("NoSuchBucket", 404, BucketNotFoundError),
        ("EntityTooLarge", 400, StoreError),
        ("InvalidRequest", 400, StoreError),
    ],
)
def test_a_refusal_is_not_repeated(
    through_proxy: MakeClient, proxy: FaultProxy, bucket: str, code: str, status: int, error: type[Exception]
) -> None:
    proxy.rule = always("PutObject", Fault("status", status, code))
    with pytest.raises(error, match=f"s3://{bucket}/o") as caught:
        through_proxy().put(f"s3://{bucket}/o", CONTENT)
    assert type(caught.value) is error
    assert proxy.count("PutObject") == 1


@pytest.mark.parametrize(
    "fault", [Fault("status", 503), Fault("reset-before"), Fault("lost-answer"), Fault("close-after")], ids=named
)
def test_small_operations_get_over_a_fault(
    through_proxy: MakeClient, proxy: FaultProxy, client: Client, bucket: str, fault: Fault
) -> None:
    ours, url = through_proxy(), f"s3://{bucket}/o"
    client.put(url, CONTENT)

    def faulty(operation: str, act: Callable[[], Any]) -> Any:
        proxy.reset()
        proxy.rule = on(operation, fault)
        result = act()
        assert len(proxy.struck) == 1
        return result

    assert faulty("HeadObject", lambda: ours.head(url)).stored_bytes == len(CONTENT) + 16
    assert faulty("HeadObject", lambda: ours.exists(url))
    assert [row.location.key for row in faulty("ListObjectsV2", lambda: ours.list(f"s3://{bucket}"))] == ["o"]
    faulty("CopyObject", lambda: ours.copy(url, f"s3://{bucket}/copy"))
    assert client.get(f"s3://{bucket}/copy") == CONTENT
    faulty("DeleteObject", lambda: ours.delete(url))
    assert not client.exists(url)


def test_a_copy_that_fails_under_status_200_is_done_again(
    through_proxy: MakeClient, proxy: FaultProxy, client: Client, bucket: str
) -> None:
    client.put(f"s3://{bucket}/o", CONTENT)
    proxy.rule = on("CopyObject", Fault("error-200", code="InternalError"))
    through_proxy().copy(f"s3://{bucket}/o", f"s3://{bucket}/copy")
    assert client.get(f"s3://{bucket}/copy") == CONTENT


@pytest.mark.parametrize("call", ["head", "get", "put"])
def test_a_storm_of_503_is_not_made_worse(through_proxy: MakeClient, proxy: FaultProxy, bucket: str, call: str) -> None:
    client = through_proxy()
    proxy.rule = lambda *_: Fault("status", 503)
    failed, operations = [], 120

    def ask(number: int) -> None:
        try:
            getattr(client, call)(f"s3://{bucket}/{number}", *([b"x"] if call == "put" else []))
        except StoreUnavailableError:
            failed.append(number)

    threads = [threading.Thread(target=ask, args=[number]) for number in range(operations)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) == operations
    # A hundred repetitions for the whole client, not three for each; of a write it is asked whether it was done.
    assert len(proxy.log) <= (3 if call == "put" else 2) * operations
    proxy.rule = lambda *_: None
    with pytest.raises(ObjectNotFoundError):
        client.head(f"s3://{bucket}/0")


@pytest.mark.parametrize("fault", [Fault("lost-answer"), Fault("status", 503), Fault("cut-request", 5000)], ids=named)
def test_tables_of_every_face_are_written_and_read_through_faults(
    through_proxy: MakeClient, proxy: FaultProxy, bucket: str, fault: Fault
) -> None:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    client = through_proxy()
    columns = {"a": list(range(5000)), "b": [f"row {number}" for number in range(5000)]}
    url = f"s3://{bucket}/t.parquet"

    def faulty() -> None:
        proxy.rule = either(on("PutObject", fault), on("GetObject", Fault("truncate", 3000)))

    faulty()
    arrowseal.arrow.write_table(pa.table(columns), url, client=client)
    assert arrowseal.arrow.read_table(url, client=client).equals(pa.table(columns))
    faulty()
    arrowseal.pandas.to_parquet(pd.DataFrame(columns), url, client=client)
    assert arrowseal.pandas.read_parquet(url, client=client).equals(pd.DataFrame(columns))
    faulty()
    arrowseal.polars.write_parquet(pl.DataFrame(columns), url, client=client)
    assert arrowseal.polars.read_parquet(url, client=client).equals(pl.DataFrame(columns))
    assert len(proxy.struck) >= 2
