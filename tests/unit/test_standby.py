"""Threads that stand by: used again, never waited for, nobody's in a forked child, and at rest when a block ends."""

from __future__ import annotations

import os
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest

from arrowseal.standby import STANDING_BY, Threads, _Standby

if TYPE_CHECKING:
    from collections.abc import Generator

TOLD: ContextVar[str] = ContextVar("TOLD", default="nothing")


def on_all_of(count: int) -> set[int]:
    """The threads that run when so many are asked for: each waits until all are there."""
    together = threading.Barrier(count)

    def here() -> int:
        together.wait(10)
        return threading.get_ident()

    with Threads(count) as beside:
        futures = [beside.submit(here) for _ in range(count)]
    return {future.result() for future in futures}


def who_stay(threads: set[int]) -> list[str]:
    """The names of those that run still."""
    return [thread.name for thread in threading.enumerate() if thread.ident in threads]


def test_who_asks_again_is_given_the_same_threads() -> None:
    everybody = on_all_of(STANDING_BY)
    assert len(everybody) == STANDING_BY
    assert on_all_of(8) <= everybody


def test_who_needs_more_than_are_free_gets_new_ones_and_waits_for_nobody() -> None:
    everybody = on_all_of(STANDING_BY)
    with Threads(STANDING_BY - 1) as beside:
        goes_on = threading.Event()
        for _ in range(STANDING_BY - 1):
            beside.submit(goes_on.wait, 10)
        assert on_all_of(1) <= everybody
        assert not on_all_of(2) & everybody
        goes_on.set()
    assert on_all_of(STANDING_BY) <= everybody


def test_threads_within_threads_do_not_wait_for_each_other() -> None:
    with Threads(STANDING_BY) as beside:
        inner = [beside.submit(on_all_of, 2) for _ in range(STANDING_BY)]
    assert all(len(future.result()) == 2 for future in inner)


def test_each_call_sees_the_context_that_it_was_submitted_in_and_changes_its_own_only() -> None:
    def told() -> str:
        before = TOLD.get()
        TOLD.set("changed")
        return before

    token = TOLD.set("something")
    with Threads(1) as beside:
        first, second = beside.submit(told), beside.submit(told)
    TOLD.reset(token)
    assert (first.result(), second.result(), TOLD.get()) == ("something", "something", "nothing")


def test_when_a_block_ends_all_has_ended_and_when_it_raises_what_had_not_begun_is_left_out() -> None:
    done: list[str] = []
    begun = threading.Barrier(STANDING_BY + 1)

    def slowly() -> None:
        begun.wait(10)
        time.sleep(0.05)
        done.append("slowly")

    with pytest.raises(KeyError), Threads(STANDING_BY) as beside:  # noqa: PT012 - what the block leaves is the point
        for _ in range(STANDING_BY):
            beside.submit(slowly)
        left_out = beside.submit(done.append, "never")
        begun.wait(10)
        raise KeyError
    assert left_out.cancelled()
    assert done == ["slowly"] * STANDING_BY


@pytest.mark.parametrize("others", [0, STANDING_BY])
def test_a_call_that_is_interrupted_as_it_is_handed_over_has_ended_with_the_block_or_never_begins(
    monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    done: list[str] = []
    start, begun = threading.Thread.start, threading.Event()

    def struck(thread: threading.Thread) -> None:
        start(thread)
        begun.wait(10)
        raise KeyboardInterrupt

    def slowly() -> None:
        begun.set()
        time.sleep(0.05)
        done.append("slowly")

    monkeypatch.setattr("arrowseal.standby._Process.standby", _Standby())
    before = {*threading.enumerate()}
    with Threads(others), pytest.raises(KeyboardInterrupt), Threads(2) as beside:  # noqa: PT012 - as above
        monkeypatch.setattr(threading.Thread, "start", struck)
        beside.submit(slowly)
    assert done == ["slowly"]
    for thread in {*threading.enumerate()} - before:
        thread.join(10)
        assert not thread.is_alive()
    monkeypatch.setattr(threading.Thread, "start", start)
    assert len(who_stay(on_all_of(2))) == 2  # others stand by from then on


def test_a_block_that_ends_on_one_of_its_own_threads_gives_them_back() -> None:
    def block() -> Generator[Threads]:
        with Threads(STANDING_BY) as beside:
            yield beside

    held = block()
    next(held).submit(held.close).result(10)
    for thread in threading.enumerate():
        if thread.name == "arrowseal-read":  # which ends the block
            thread.join(10)
    assert len(who_stay(on_all_of(2))) == 2


@pytest.mark.parametrize("name", [None, "its-own"])
def test_such_a_block_goes_back_also_where_no_thread_is_to_be_had(
    monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    def block() -> Generator[Threads]:
        with Threads(STANDING_BY, name) as beside:
            yield beside

    def close() -> None:
        monkeypatch.setattr(threading.Thread, "start", refused)
        held.close()

    monkeypatch.setattr("arrowseal.standby._Process.standby", _Standby())
    held = block()
    next(held).submit(close).result(10)
    monkeypatch.undo()
    assert len(who_stay(on_all_of(2))) == 2


def test_who_is_given_no_thread_does_it_alone_and_ctrl_c_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("arrowseal.standby._Process.standby", _Standby())
    monkeypatch.setattr(threading.Thread, "start", refused)
    with Threads(2) as beside:
        assert beside.submit(threading.get_ident).result(10) == threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            beside.submit(lambda: 1 // 0).result(10)
    with pytest.raises(KeyboardInterrupt), Threads(2) as beside:
        beside.submit(interrupted)


def refused(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_threads_of_its_own() -> None:
    with Threads(STANDING_BY) as beside:  # all taken while it is forked
        goes_on = threading.Event()
        for _ in range(STANDING_BY):
            beside.submit(goes_on.wait, 10)
        child = os.fork()
        if child == 0:
            os._exit(len(on_all_of(3)))
        goes_on.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
