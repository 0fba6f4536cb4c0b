"""Ranges whose requests fail, break off or wait for each other: they are resumed where they broke, within a budget."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest
from broken_bodies import Fault, operation_of
from fault_rules import always, on
from indexed_object import CONTENT, INDEX, MIB, PATH, URL, S, with_object

from arrowseal import TransferOptions
from arrowseal.exceptions import StoreUnavailableError

if TYPE_CHECKING:
    from broken_servers import BrokenServers


@pytest.fixture
def servers(servers: BrokenServers) -> BrokenServers:
    """Servers with one object in parts, and its index."""
    return with_object(servers)


def test_short_ranges_that_succeed_make_good_for_those_that_were_repeated(servers: BrokenServers) -> None:
    busy, lock = itertools.cycle([Fault("status", 503)] * 2 + [None] * 6), threading.Lock()

    def rule(*request: Any) -> Fault | None:
        with lock:
            return next(busy) if operation_of(*request) == "GetObject" else None

    with servers.client().object(URL) as opened:
        servers.s3.rule = rule
        for _ in range(5):
            for start in range(0, 10 * MIB, S):
                assert opened.read_at(start, 100) == CONTENT[start : start + 100]
            opened.close()


@pytest.mark.parametrize("fault", ["reset-body", "status"], ids=str)
def test_ranges_that_break_off_are_resumed_within_the_budget(servers: BrokenServers, fault: str) -> None:
    client = servers.client()
    with client.object(URL) as opened:
        broken = Fault("reset", 300_000) if fault == "reset-body" else Fault("status", 503, "SlowDown")
        servers.s3.rule = on("GetObject", broken, times=2)
        assert opened.read_at(MIB, 3 * MIB) == CONTENT[MIB : 4 * MIB]
        servers.s3.rule = always("GetObject", Fault("status", 503, "SlowDown"))
        with pytest.raises(StoreUnavailableError):
            opened.read_at(7 * MIB, MIB)


@pytest.mark.parametrize("lane", ["auto", "boto3"])
def test_a_range_that_always_breaks_off_is_received_in_steps_and_resumed_where_it_broke(
    servers: BrokenServers, lane: Any
) -> None:
    begin, end = 2 * MIB, 2 * MIB + 15 * S
    asked: list[int] = []

    def rule(method: str, path: str, headers: dict[str, str]) -> Fault | None:
        start, _, last = headers.get("Range", "bytes=-").removeprefix("bytes=").partition("-")
        if path != PATH or last != str(end - 1):
            return None
        asked.append(int(start))
        return Fault("truncate", 700_000) if asked[-1] == begin else None

    with servers.client(lane=lane).object(URL) as opened:
        servers.s3.rule = rule
        assert opened.read_at(begin, end - begin) == CONTENT[begin:end]
    assert begin + 2**19 <= asked.pop() <= begin + 700_000
    assert set(asked) == {begin}


def test_many_ranges_are_asked_for_at_once_also_when_one_of_them_is_longer(servers: BrokenServers) -> None:
    ranges = [(0, 3 * MIB // 2), *((at * MIB // 2, 100) for at in range(4, 19))]
    together = threading.Barrier(len(ranges))

    def wait_for_the_others(*_: Any) -> None:
        together.wait(30)  # broken if one does not come: then no request gets its answer, nor those that follow

    with servers.client(transfer=TransferOptions()).object(URL) as opened:
        servers.s3.rule = wait_for_the_others  # type: ignore[assignment]
        found = opened.read_ranges(ranges)
    assert [bytes(each) for each in found] == [CONTENT[start : start + length] for start, length in ranges]
    assert not together.broken


@pytest.mark.parametrize("lane", ["auto", "boto3", "given"])
@pytest.mark.parametrize("position", [0, 3, -1], ids=["first", "middle", "last"])
@pytest.mark.parametrize("fault", ["reset-before", "close-before", "lost-answer", "truncate"])
def test_a_pass_over_the_whole_object_gets_over_a_request_that_breaks_off(
    servers: BrokenServers, lane: Any, position: int, fault: str
) -> None:
    made = servers.s3.server.objects.pop(INDEX).body
    client = servers.client(s3=servers.s3.client()) if lane == "given" else servers.client(lane=lane)
    client.index(URL)
    servers.s3.rule = on("GetObject", Fault(fault, 1000), after=position % servers.s3.count("GetObject"))
    client.index(URL)
    assert [name for name, _ in servers.s3.struck] == ["GetObject"]
    assert servers.s3.server.objects[INDEX].body == made
