"""Thousands of mixed operations on shared objects, while every tenth request fails: nothing fails, is wrong or is lost.

How many operations there are: ARROWSEAL_TEST_OPERATIONS, 2,000 unless it is set.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from broken_bodies import Fault, operation_of
from broken_servers import BrokenServers
from chaos import Chaos
from fault_rules import either, on, randomly
from histories import ABSENT, History, Write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broken_bodies import Rule

OPERATIONS = int(os.environ.get("ARROWSEAL_TEST_OPERATIONS", "2000"))
THREADS = 16
SHARE = 0.1

REFUSED = [Fault("status", 503, "SlowDown"), Fault("status", 500, "InternalError"), Fault("reset-before")]
LOST = Fault("lost-answer")
SENDING = [*REFUSED, LOST, LOST, Fault("cut-request", 10), Fault("status", 400, "BadDigest")]
FAULTS = {
    "GetObject": [*REFUSED, Fault("truncate", 3), Fault("truncate", 300_000), Fault("reset", 5), LOST],
    "HeadObject": [*REFUSED, LOST],
    "PutObject": SENDING,
    "UploadPart": SENDING,
    "CreateMultipartUpload": [*REFUSED, LOST],
    "CompleteMultipartUpload": [*REFUSED, LOST, Fault("error-200", code="InternalError"), Fault("error-200-after")],
    "DeleteObject": [*REFUSED, LOST],
    "ListMultipartUploads": [*REFUSED, LOST],
    "ListParts": [*REFUSED, LOST],
    "AbortMultipartUpload": [*REFUSED, LOST],
    "ListObjectsV2": [*REFUSED, LOST, Fault("truncate", 50), Fault("truncate", 0)],
}
KMS_FAULTS = [Fault("status", 500, "KMSInternalException"), Fault("reset-before"), LOST]


@pytest.fixture
def servers() -> Iterator[BrokenServers]:
    """Fresh ones, without faults so far."""
    servers = BrokenServers()
    yield servers
    servers.close()


def every_fifth_conditional_write(fault: Fault) -> Rule:
    """The fault for these: they are few among many requests, and the only ones that a lost answer makes ambiguous."""
    turns = itertools.count(1)

    def rule(method: str, path: str, headers: dict[str, str]) -> Fault | None:
        conditional = method == "PUT" and {"If-Match", "If-None-Match"} & headers.keys()
        return fault if conditional and next(turns) % 5 == 0 else None

    return rule


def within_budget(rule: Rule) -> Rule:
    """The same faults, but never more than four in a row for one request: five are as many as an attempt has left."""
    in_a_row: Counter[tuple[str, str, str]] = Counter()

    def spared(method: str, path: str, headers: dict[str, str]) -> Fault | None:
        request = operation_of(method, path, headers), path, headers.get("Range", "")
        fault = rule(method, path, headers) if in_a_row[request] < 4 else None
        in_a_row[request] = in_a_row[request] + 1 if fault else 0
        return fault

    return spared


def test_the_requests_that_operations_need_are_counted_right_where_none_fails(servers: BrokenServers) -> None:
    chaos = Chaos(servers.client(), seed=1)
    servers.s3.reset()
    chaos.run(300, threads=1)
    assert chaos.wrong == []
    assert len(servers.s3.log) == chaos.needed


def test_while_every_tenth_request_fails_nothing_fails_is_wrong_is_lost_or_is_left(servers: BrokenServers) -> None:
    chaos = Chaos(servers.client(), seed=2)
    servers.s3.reset()
    servers.kms_proxy.reset()
    stalls = on("GetObject", Fault("stall", 4), times=3, after=50)
    servers.s3.rule = within_budget(either(stalls, every_fifth_conditional_write(LOST), randomly(3, SHARE, FAULTS)))
    servers.kms_proxy.rule = randomly(4, SHARE, {"GenerateDataKey": KMS_FAULTS, "Decrypt": KMS_FAULTS})
    chaos.run(OPERATIONS, THREADS)

    assert chaos.wrong == []
    requests, calls = len(servers.s3.log), servers.kms_proxy
    assert SHARE * 0.7 < len(servers.s3.struck) / requests < SHARE * 1.3
    assert requests <= 1.35 * chaos.needed
    assert calls.count("GenerateDataKey") <= 1.35 * chaos.writes
    wrapped = {call.arguments["CiphertextBlob"] for call in servers.kms.engine.calls if call.action == "Decrypt"}
    assert calls.count("Decrypt") <= 1.35 * len(wrapped)

    servers.s3.rule = servers.kms_proxy.rule = lambda *_: None
    chaos.check_end(servers.client())
    assert chaos.wrong == []
    assert servers.s3.server.open_uploads == {}


def test_the_history_allows_what_was_current_and_nothing_older_or_newer() -> None:
    history = History()

    def at(began: float, ended: float, value: int, *, refused: bool = False) -> None:
        history._writes["o"].append(Write(value, began, ended, refused))

    at(1, 2, value=1)
    at(3, 6, value=2)
    at(4, 5, value=3, refused=True)
    at(7, 8, value=4)
    assert history.allowed("o", 0.2, 0.5) == {ABSENT}
    assert history.allowed("o", 0.5, 1.5) == {ABSENT, 1}
    assert history.allowed("o", 2.5, 2.7) == {1}
    assert history.allowed("o", 2.5, 4.5) == {1, 2, 3}
    assert history.allowed("o", 6.2, 6.5) == {2, 3}, "one was refused, but may have been there until the other's end"
    assert history.allowed("o", 9, 9) == {4}
