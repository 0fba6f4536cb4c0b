"""Ranges that are handed out one batch after the other, while those of later ones are on their way."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import Fault, operation_of
from fault_rules import on
from indexed_object import CONTENT, MIB, PATH, SIZE, URL, with_object

from arrowseal.exceptions import AuthenticationError, ObjectChangedError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from broken_servers import BrokenServers

BATCHES = [[(0, 100), (MIB, 100)], [(3 * MIB, 2 * MIB)], [(6 * MIB, 10), (7 * MIB, 10)]]
EXPECTED = [[CONTENT[offset : offset + length] for offset, length in batch] for batch in BATCHES]


@pytest.fixture
def servers(servers: BrokenServers) -> BrokenServers:
    """Servers with one object in parts, and its index."""
    return with_object(servers)


def content(batch: Any) -> list[bytes]:
    return [bytes(each) for each in batch]


def when_asked_from(start: int, act: Callable[[], object]) -> Any:
    """Do something before ranges that begin there or further back are answered."""

    def rule(method: str, path: str, headers: dict[str, str]) -> None:
        asked = headers.get("Range", "")
        if operation_of(method, path, headers) == "GetObject" and int(asked[6:].split("-")[0] or 0) >= start:
            act()

    return rule


def test_a_batch_is_handed_out_while_the_next_ones_have_not_been_answered(servers: BrokenServers) -> None:
    handed_out = threading.Event()
    with servers.client().object(URL) as opened:
        servers.s3.rule = when_asked_from(3 * MIB, lambda: handed_out.wait(20))
        found = []
        for batch in opened.read_in_turn(BATCHES):
            assert found or not handed_out.is_set()
            handed_out.set()
            found.append(content(batch))
    assert found == EXPECTED


def test_batches_in_any_order_with_ranges_that_overlap_are_the_content(servers: BrokenServers) -> None:
    draw = random.Random(1)
    with servers.client().object(URL) as opened:
        for _ in range(30):
            batches = [
                [(draw.randrange(SIZE + 5), draw.choice([0, 1, 70_000, MIB])) for _ in range(draw.randrange(4))]
                for _ in range(draw.randrange(5))
            ]
            found = [content(batch) for batch in opened.read_in_turn(batches)]
            assert found == [[CONTENT[offset : offset + length] for offset, length in batch] for batch in batches]


def test_what_does_not_authenticate_is_refused_and_what_came_before_was_proven(servers: BrokenServers) -> None:
    body = servers.s3.server.objects[PATH].body
    bad = body[: 4 * MIB] + bytes([body[4 * MIB] ^ 1]) + body[4 * MIB + 1 :]
    servers.s3.server.objects[PATH] = servers.s3.server.objects[PATH]._replace(body=bad)
    proven = threading.Event()
    with servers.client().object(URL) as opened:
        servers.s3.rule = when_asked_from(3 * MIB, lambda: proven.wait(20))
        turns = opened.read_in_turn(BATCHES)
        assert content(next(turns)) == EXPECTED[0]
        proven.set()
        with pytest.raises(AuthenticationError, match=rf"{URL} .*arn:.*does not authenticate"):
            next(turns)


def test_a_bit_that_flips_on_the_way_is_read_once_more_and_earlier_batches_are_not(servers: BrokenServers) -> None:
    client, proven = servers.client(), threading.Event()
    with client.object(URL) as opened:
        flips, waits = (
            on("GetObject", Fault("flip", 17), start=3 * MIB),
            when_asked_from(3 * MIB, lambda: proven.wait(20)),
        )
        servers.s3.rule = lambda *request: waits(*request) or flips(*request)
        servers.s3.log.clear()
        found = []
        for batch in opened.read_in_turn(BATCHES):
            proven.set()
            found.append(content(batch))
        asked = [request.headers.get("Range", "") for request in servers.s3.log]
    assert found == EXPECTED
    assert [record.retries for record in client.counters] == [1]
    assert sum(each.startswith("bytes=0-") for each in asked) == 1
    assert sum(each.startswith(f"bytes={3 * MIB}-") for each in asked) == 2


def test_an_object_that_is_overwritten_between_two_batches_is_an_error_and_never_a_mix(servers: BrokenServers) -> None:
    client, overwritten = servers.client(), threading.Event()
    with client.object(URL) as opened:
        servers.s3.rule = when_asked_from(3 * MIB, lambda: overwritten.wait(20))
        turns = opened.read_in_turn(BATCHES)
        assert content(next(turns)) == EXPECTED[0]
        overwritten.set()
        servers.client().put(URL, bytes(SIZE))
        servers.s3.rule = lambda *_: None
        with pytest.raises(ObjectChangedError, match="open it again"):
            opened.read_at(9 * MIB, 10)
        turns.close()  # type: ignore[attr-defined]


def test_ranges_that_cannot_be_had_end_the_batches_behind_them(servers: BrokenServers) -> None:
    handed_out = threading.Event()
    with servers.client().object(URL) as opened:
        refused = on("GetObject", Fault("status", 503, "SlowDown"), times=2**62, start=3 * MIB)
        waits = when_asked_from(3 * MIB, lambda: handed_out.wait(20))
        servers.s3.rule = lambda *request: waits(*request) or refused(*request)
        turns = opened.read_in_turn(BATCHES)
        assert content(next(turns)) == EXPECTED[0]
        handed_out.set()
        with pytest.raises(StoreUnavailableError):
            list(turns)


@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_whoever_stops_ends_what_is_on_its_way(servers: BrokenServers, how: str) -> None:
    with servers.client(lane="boto3").object(URL) as opened:
        stalled = on("GetObject", Fault("stall", 1_000), times=2**62, start=3 * MIB)
        servers.s3.rule = stalled
        turns = opened.read_in_turn(BATCHES)
        assert content(next(turns)) == EXPECTED[0]
        asked = 2 + 6  # tail, index, and all ranges at once
        while len(servers.s3.log) < asked:  # or those that were sent and nobody waits for come after the count
            time.sleep(0.01)
        if how == "closed":
            turns.close()  # type: ignore[attr-defined]
        del turns
        servers.s3.rule = lambda *_: None
        assert bytes(opened.read_at(9 * MIB, 10)) == CONTENT[9 * MIB : 9 * MIB + 10]
        assert len(servers.s3.log) == asked + 1
    assert servers.s3.outwaited == 0
