"""Reads through faults: broken bodies are resumed, changed objects never mixed, and nothing unproven comes out."""

from __future__ import annotations

import os
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import Fault, FaultProxy

import arrowseal
from arrowseal import PLAIN, Client
from arrowseal.exceptions import (
    AuthenticationError,
    ObjectChangedError,
    ObjectNotFoundError,
    StoreUnavailableError,
    TransferError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from broken_bodies import Rule

    MakeClient = Callable[..., Client]

PART = 2**20
# No fault lies at its very end: all of it would have come, and the connection that is about to close would serve again.
CONTENT = os.urandom(5 * PART + 600_007)


@pytest.fixture(params=["CSE V3", "PLAIN"])
def stored(request: pytest.FixtureRequest, client: Client, bucket: str) -> str:
    """The URL of an object of six parts."""
    url = f"s3://{bucket}/o"
    client.put(url, CONTENT, encryption=PLAIN if request.param == "PLAIN" else None)
    return url


def once_for_each_part(fault: Fault) -> Rule:
    """The fault for the first GET of every part."""
    seen: set[int] = set()
    lock = threading.Lock()

    def rule(method: str, _path: str, headers: dict[str, str]) -> Fault | None:
        part = int(headers["Range"][6:].split("-")[0]) // PART if method == "GET" else -1
        with lock:
            if part in seen or part < 0:
                return None
            seen.add(part)
            return fault

    return rule


def always(fault: Fault) -> Rule:
    return lambda method, *_: fault if method == "GET" else None


def only(range_header: str, fault: Fault) -> Rule:
    return lambda _method, _path, headers: fault if headers.get("Range") == range_header else None


def test_the_first_request_is_a_range_and_no_head_is_sent(
    through_proxy: MakeClient, proxy: FaultProxy, stored: str
) -> None:
    client = through_proxy()
    assert client.get(stored, allow_plaintext=True) == CONTENT
    assert Counter(method for method, *_ in proxy.log) == {"GET": 6}
    starts = sorted(int(headers["Range"][6:].split("-")[0]) for _, _, headers, _ in proxy.log)
    assert starts == [number * PART for number in range(6)]
    later = [headers for _, _, headers, _ in proxy.log if not headers["Range"].startswith("bytes=0-")]
    assert all(headers["If-Match"].strip('"') for headers in later)
    assert list(client.counters)[-1].requests == 6


def test_an_object_of_one_part_takes_one_request(through_proxy: MakeClient, proxy: FaultProxy, bucket: str) -> None:
    client = through_proxy()
    client.put(f"s3://{bucket}/small", b"x" * 1000)
    proxy.log.clear()
    client.get(f"s3://{bucket}/small")
    assert len(proxy.log) == 1


@pytest.mark.parametrize("size", [0, 1, PART - 17, PART - 16, PART - 15, PART - 1, PART, PART + 1, 3 * PART - 8])
@pytest.mark.parametrize("arm", [None, PLAIN])
def test_sizes_around_the_borders_of_parts(
    through_proxy: MakeClient, client: Client, bucket: str, size: int, arm: Any
) -> None:
    url = f"s3://{bucket}/o"
    client.put(url, CONTENT[:size], encryption=arm)
    assert through_proxy().get(url, allow_plaintext=True) == CONTENT[:size]


@pytest.mark.parametrize("kind", ["truncate", "reset", "shorten"])
@pytest.mark.parametrize("at", [0, 1, 600_000, 2**19])
def test_a_body_that_breaks_off_is_resumed_at_the_byte_it_reached(
    through_proxy: MakeClient, proxy: FaultProxy, stored: str, kind: str, at: int
) -> None:
    client = through_proxy()
    proxy.rule = once_for_each_part(Fault(kind, at))
    assert client.get(stored, allow_plaintext=True) == CONTENT
    record = list(client.counters)[-1]
    assert record.retries >= 6
    assert record.requests == len(proxy.log)
    assert record.resumed_bytes <= len(CONTENT)
    if kind == "truncate" and at:
        assert record.resumed_bytes > 0
        assert f"bytes={at}-{PART - 1}" in {headers["Range"] for _, _, headers, _ in proxy.log}


def test_a_body_that_stalls_is_resumed_after_the_read_timeout(
    through_proxy: MakeClient, proxy: FaultProxy, stored: str
) -> None:
    proxy.rule = only(f"bytes={2 * PART}-{3 * PART - 1}", Fault("stall", 700_000))
    assert through_proxy().get(stored, allow_plaintext=True) == CONTENT


@pytest.mark.parametrize("fault", [Fault("reset-before"), Fault("status", 503), Fault("status", 500)])
def test_answers_that_fail_are_asked_for_again(
    through_proxy: MakeClient, proxy: FaultProxy, stored: str, fault: Fault
) -> None:
    seen: list[str] = []

    def rule(method: str, _path: str, headers: dict[str, str]) -> Fault | None:
        first = headers["Range"] not in seen and not headers["Range"].startswith("bytes=0-")
        seen.append(headers["Range"])
        return fault if first and method == "GET" else None

    proxy.rule = rule
    assert through_proxy().get(stored, allow_plaintext=True) == CONTENT


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Fault("truncate", 0), TransferError), (Fault("status", 503), StoreUnavailableError)],
)
@pytest.mark.parametrize("start", [0, 2 * PART, 5 * PART])
def test_a_fault_that_lasts_fails_in_bounded_time_with_a_typed_error(
    through_proxy: MakeClient, proxy: FaultProxy, stored: str, fault: Fault, error: type[Exception], start: int
) -> None:
    proxy.rule = lambda _m, _p, headers: fault if headers.get("Range", "").startswith(f"bytes={start}-") else None
    with pytest.raises(error, match=stored):
        through_proxy().get(stored, allow_plaintext=True)
    asked = [headers for _, _, headers, _ in proxy.log if headers["Range"].startswith(f"bytes={start}-")]
    assert len(asked) <= 5


@pytest.mark.parametrize("position", [0, PART - 1, 3 * PART + 5, len(CONTENT) + 15])
def test_a_bit_that_flips_on_its_way_once_is_read_again(
    through_proxy: MakeClient, proxy: FaultProxy, client: Client, bucket: str, position: int
) -> None:
    url, start = f"s3://{bucket}/o", position // PART * PART
    client.put(url, CONTENT)
    flipped: list[int] = []

    def rule(_method: str, _path: str, headers: dict[str, str]) -> Fault | None:
        if headers["Range"].startswith(f"bytes={start}-") and not flipped:
            flipped.append(1)
            return Fault("flip", position - start)
        return None

    proxy.rule = rule
    reader = through_proxy()
    assert reader.get(url) == CONTENT
    assert flipped
    assert list(reader.counters)[-1].retries == 1


def test_a_bit_that_is_always_flipped_is_called_what_it_is(
    through_proxy: MakeClient, proxy: FaultProxy, client: Client, bucket: str
) -> None:
    url = f"s3://{bucket}/o"
    client.put(url, CONTENT)
    proxy.rule = lambda _m, _p, headers: Fault("flip", 9) if headers["Range"].startswith("bytes=0-") else None
    with pytest.raises(AuthenticationError, match=url):
        through_proxy().get(url)


def overwriting(client: Client, url: str, times: int) -> Rule:
    """Writes another object over the one that is read, after the first request of each of `times` reads."""
    written: list[int] = []

    def rule(method: str, _path: str, headers: dict[str, str]) -> None:
        if method != "GET" or headers["Range"].startswith("bytes=0-") or len(written) == times:
            return
        if headers["If-Match"] not in read:
            read.append(headers["If-Match"])
            written.append(1)
            client.put(url, bytes([len(written)]) * len(CONTENT))

    read: list[str] = []
    lock = threading.Lock()

    def locked(*request: Any) -> None:
        with lock:
            rule(*request)

    return locked


def test_an_object_that_is_overwritten_under_a_read_comes_whole_in_its_new_form(
    through_proxy: MakeClient, proxy: FaultProxy, client: Client, bucket: str
) -> None:
    url = f"s3://{bucket}/o"
    client.put(url, CONTENT)
    proxy.rule = overwriting(client, url, 1)
    assert through_proxy().get(url) == b"\1" * len(CONTENT)


def test_an_object_that_is_overwritten_again_and_again_is_never_mixed(
    through_proxy: MakeClient, proxy: FaultProxy, client: Client, bucket: str
) -> None:
    url = f"s3://{bucket}/o"
    client.put(url, CONTENT)
    proxy.rule = overwriting(client, url, 10)
    with pytest.raises(ObjectChangedError, match=url):
        through_proxy().get(url)


def test_an_object_that_is_deleted_under_a_read_is_not_found(
    through_proxy: MakeClient, proxy: FaultProxy, client: Client, bucket: str
) -> None:
    url = f"s3://{bucket}/o"
    client.put(url, CONTENT)

    def rule(_method: str, _path: str, headers: dict[str, str]) -> None:
        if not headers["Range"].startswith("bytes=0-"):
            client.delete(url)

    proxy.rule = rule
    with pytest.raises(ObjectNotFoundError):
        through_proxy().get(url)


def test_a_table_is_read_through_faults_cell_by_cell(
    through_proxy: MakeClient, proxy: FaultProxy, client: Client, bucket: str
) -> None:
    import pyarrow as pa

    url, table = f"s3://{bucket}/t.parquet", pa.table({"a": list(range(200_000)), "b": [os.urandom(8)] * 200_000})
    arrowseal.arrow.write_table(table, url, client=client, compression="none", use_dictionary=False)
    proxy.rule = once_for_each_part(Fault("truncate", 333_333))
    assert arrowseal.arrow.read_table(url, client=through_proxy()).equals(table)


def test_a_connection_that_drips_and_breaks_is_given_up(
    through_proxy: MakeClient, proxy: FaultProxy, stored: str
) -> None:
    proxy.rule = always(Fault("truncate", 1))
    with pytest.raises(TransferError):
        through_proxy().get(stored, allow_plaintext=True)
    assert len(proxy.log) <= 4 * 6


def test_random_faults_never_give_wrong_bytes(
    through_proxy: MakeClient, proxy: FaultProxy, client: Client, bucket: str
) -> None:
    import random

    url, draw, lock = f"s3://{bucket}/o", random.Random(4), threading.Lock()
    client.put(url, CONTENT)
    kinds = [Fault("truncate", 1000), Fault("reset", 500_000), Fault("status", 503), Fault("reset-before")]

    def rule(*_: Any) -> Fault | None:
        with lock:
            return draw.choice(kinds) if draw.random() < 0.15 else None

    proxy.rule = rule
    from arrowseal import RetryOptions, TransferOptions

    patient = RetryOptions(attempts=8, base_seconds=0.001, cap_seconds=0.01)
    reader = through_proxy(transfer=TransferOptions(part_bytes=PART, concurrency=6, retries=patient))
    for _ in range(20):
        try:
            assert reader.get(url) == CONTENT
        except StoreUnavailableError:
            # Only the very first request, which brings the ETag, is not repeated by us but by boto3.
            continue
