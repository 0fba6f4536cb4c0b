"""Connections are shut under who waits for an answer that nobody wants; what changes anything is waited for."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from arrowseal.awaited_answers import awaited
from arrowseal.cancellation import (
    Awaited,
    Cancellation,
    CancelledWork,
    also_cancelled_by,
    answered,
    cancellation,
    cancelled_by,
    shielded,
)
from arrowseal.standby import Threads

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(10)
        theirs.settimeout(10)
        yield ours, theirs


@pytest.mark.parametrize(
    ("method", "target", "ended"),
    [
        ("GET", "", True),
        ("HEAD", "", True),
        ("PUT", "", False),
        ("POST", "", False),
        ("DELETE", "", False),
        ("POST", b"TrentService.Decrypt", True),
        ("POST", "TrentService.GenerateDataKey", True),
        ("POST", b"TrentService.ScheduleKeyDeletion", False),
    ],
)
def test_only_requests_that_change_nothing_are_ended(
    pair: tuple[socket.socket, socket.socket], method: str, target: str | bytes, ended: bool
) -> None:
    ours, theirs = pair
    work = Cancellation()
    headers = {"X-Amz-Target": target} if target else {}
    with cancelled_by(work):
        block = awaited(SimpleNamespace(sock=ours), method, headers)
        if ended:
            with pytest.raises(CancelledWork), block:  # noqa: PT012 - what the block ends with is the point
                work.cancel()
                assert theirs.recv(1) == b""
                raise ConnectionResetError
        else:
            with block:
                work.cancel()
                ours.sendall(b"x")
                assert theirs.recv(1) == b"x"


def test_a_connection_that_was_given_back_is_left_alone() -> None:
    interrupted: list[str] = []
    first, second = Cancellation(), Cancellation()
    with cancelled_by(first), also_cancelled_by(second):
        with Awaited(lambda: interrupted.append("before")):
            pass
        with Awaited(lambda: interrupted.append("now")):
            second.cancel()
            first.cancel()
    assert interrupted == ["now", "now"]


def test_work_that_was_called_off_waits_for_nothing_more_unless_it_cleans_up() -> None:
    work = Cancellation()
    work.cancel()
    with cancelled_by(work), pytest.raises(CancelledWork), Awaited(lambda: None):
        pytest.fail("it waits")
    for whole in (shielded, answered):
        with cancelled_by(work), whole(), Awaited(lambda: pytest.fail("interrupted")):
            pass
    with cancelled_by(work), answered(), pytest.raises(CancelledWork):
        cancellation().check()


def test_an_error_of_work_that_goes_on_stays_what_it_is() -> None:
    with cancelled_by(Cancellation()), pytest.raises(ConnectionResetError), Awaited(lambda: None):
        raise ConnectionResetError


@pytest.mark.parametrize("to_the_end", [False, True])
def test_a_block_of_threads_that_raises_calls_off_what_is_under_way(to_the_end: bool) -> None:
    waits, ended, outcomes = threading.Event(), threading.Event(), []

    def work() -> None:
        try:
            with Awaited(ended.set):
                waits.set()
                outcomes.append(ended.wait(0.5 if to_the_end else 10))
        except CancelledWork:
            outcomes.append(True)

    with pytest.raises(KeyError), Threads(1, to_the_end=to_the_end) as threads:  # noqa: PT012 - the block is the point
        threads.submit(work)
        assert waits.wait(10)
        raise KeyError
    assert outcomes == [not to_the_end]
