"""How many ranges of one object are in flight: few for a link that is fast, all of them as soon as it is not."""

from __future__ import annotations

import gc
import os
import signal
import threading
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import _core, in_flight, transfer
from arrowseal.counters import Counters
from arrowseal.exceptions import TransferError
from arrowseal.in_flight import Ending, InFlight
from arrowseal.location import ObjectLocation
from arrowseal.retries import RetryOptions
from arrowseal.retrying import RetryingStore
from arrowseal.transfer import Download, Transfer, TransferOptions, ranges
from formats.memory_store import MemoryBody, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Generator

    from arrowseal.store import StoredObject

CONTENT = os.urandom(2**20) * 67 + b"the end"
OPTIONS = TransferOptions()
WHERE = ObjectLocation("bucket", "key")


class CountingStore(MemoryStore):
    """Notes the ranges that are asked for, and how many bodies were open at once at most."""

    def __init__(self) -> None:
        super().__init__()
        self.objects["key"] = CONTENT, {}
        self.asked: list[tuple[int, int]] = []
        self.open = 0
        self.most_open = 0
        self._lock = threading.Lock()

    def get(self, location: Any, operation: Any, *, byte_range: tuple[int, int], arguments: Any) -> Any:
        stored: StoredObject
        stored, body = super().get(location, operation, byte_range=byte_range, arguments=arguments)
        stored.ranged = True
        with self._lock:
            self.asked.append(byte_range)
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        closed = body.close

        def close() -> None:
            closed()
            with self._lock:
                self.open -= 1

        body.close = close  # type: ignore[method-assign]
        body.interrupt = lambda: None  # type: ignore[attr-defined]
        return stored, body


def read(store: CountingStore, options: TransferOptions = OPTIONS) -> bytes:
    with Counters().operation("get", WHERE) as operation:
        download = Download(RetryingStore(store, RetryOptions()), WHERE, {}, operation, options)
        return bytes(download.receive(_core.PlainReceiver(len(CONTENT))))


@pytest.fixture(autouse=True)
def one_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "enough_when_fast", lambda: 1)


def test_a_fast_link_is_read_by_one_connection_in_long_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "FAST", 0)
    store, looked = CountingStore(), threading.Event()
    received = MemoryBody.readinto

    def look(*arguments: Any) -> Any:
        found = wait(*arguments)
        looked.set()
        return found

    def after_a_look(body: MemoryBody, target: memoryview) -> int:
        looked.wait(10)
        return received(body, target)

    monkeypatch.setattr(in_flight, "wait", look)
    monkeypatch.setattr(MemoryBody, "readinto", after_a_look)
    assert read(store) == CONTENT
    assert store.asked == ranges(len(CONTENT), TransferOptions(concurrency=1))
    assert store.most_open == 1
    assert store.open == 0


@pytest.mark.parametrize(("seconds", "longest", "expected"), [(0.0, 2**20, 2), (0.0, 2**18, 8), (0.02, 2**20, 8)])
def test_of_a_server_that_answers_at_once_no_more_ranges_come_at_a_time_where_the_first_are_wanted_first(
    monkeypatch: pytest.MonkeyPatch, seconds: float, longest: int, expected: int
) -> None:
    now = [0.0]
    monkeypatch.setattr(transfer.time, "monotonic", lambda: now[0])
    store = CountingStore()

    def answered(location: Any, *arguments: Any, **keywords: Any) -> Any:
        now[0] += seconds
        return CountingStore.get(store, location, *arguments, **keywords)

    monkeypatch.setattr(store, "get", answered)
    with Counters().operation("get", WHERE) as operation:
        moved = Transfer(RetryingStore(store, RetryOptions()), WHERE, {}, operation, TransferOptions(concurrency=2))
        assert moved.flight(40, longest, in_turn=True).most == 8, "nothing is known yet"
        moved.request(0, 10, None)[1].close()
        assert moved.flight(40, longest, in_turn=True).most == expected
        assert moved.flight(40, longest).most == 8
        seconds = 1.0
        moved.request(0, 10, None)[1].close()
        assert moved.flight(40, longest, in_turn=True).most == expected, "it can do better"


def test_a_slow_link_is_read_by_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    store, others = CountingStore(), threading.Event()
    received = MemoryBody.readinto

    def slow(body: MemoryBody, target: memoryview) -> int:
        if store.most_open > 1:
            others.set()
        others.wait(5)
        return received(body, target)

    def counted(*arguments: Any, **keywords: Any) -> Any:
        answer = get(store, *arguments, **keywords)
        if store.most_open > 1:
            others.set()
        return answer

    get = CountingStore.get
    monkeypatch.setattr(store, "get", counted)
    monkeypatch.setattr(MemoryBody, "readinto", slow)
    assert read(store) == CONTENT
    assert sorted(store.asked) == sorted(ranges(len(CONTENT), OPTIONS))
    assert store.most_open > 1
    assert store.open == 0


def test_an_answer_of_another_range_than_was_asked_for_is_refused_and_its_body_closed() -> None:
    class Shrinking(CountingStore):
        def get(self, *arguments: Any, **keywords: Any) -> Any:
            stored, body = super().get(*arguments, **keywords)
            stored.stored_bytes -= len(self.asked) > 1
            return stored, body

    store = Shrinking()
    with pytest.raises(TransferError, match="another range"):
        read(store, TransferOptions(retries=RetryOptions(attempts=1)))
    assert store.open == 0


def test_a_link_that_becomes_slow_gets_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "FAST", 0)
    monkeypatch.setattr(in_flight, "_FIRST_LOOK", 0.001)
    store, others = CountingStore(), threading.Event()
    received = MemoryBody.readinto

    def held_up(body: MemoryBody, target: memoryview) -> int:
        if len(store.asked) > 1:  # behind the first range
            monkeypatch.setattr(in_flight, "FAST", float("inf"))
            if store.most_open > 1:
                others.set()
            others.wait(0.05)
        return received(body, target)

    monkeypatch.setattr(MemoryBody, "readinto", held_up)
    monkeypatch.setattr(transfer, "_LONGEST", 1)
    assert read(store) == CONTENT
    assert store.most_open > 1


def test_one_connection_goes_on_with_what_there_is_however_soon_the_first_range_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = InFlight.start

    def done_at_once(flight: InFlight, tasks: Any, workers: int) -> None:
        start(flight, tasks, workers)
        wait(flight._futures, 10)

    monkeypatch.setattr(InFlight, "start", done_at_once)
    assert read(CountingStore(), TransferOptions(concurrency=1)) == CONTENT


def test_what_fails_first_is_what_is_raised_and_nothing_more_begins() -> None:
    begun: list[int] = []

    def task(number: int) -> Any:
        def run(ending: Ending) -> None:
            begun.append(number)
            if number == 1:
                raise LookupError("the first")
            while not ending.said:
                pass
            raise RuntimeError("because it was ended")

        return run

    def run() -> None:
        with InFlight(2) as flight:
            flight.start(map(task, range(5)), 2)
            while not flight.keep_pace(lambda: 0):
                pass
            flight.start([task(5)], 1)

    with pytest.raises(LookupError, match="the first"):
        run()
    assert sorted(begun) == [0, 1]


def test_a_block_that_the_garbage_collector_ends_on_one_of_its_own_threads_does_not_wait_for_itself() -> None:
    go, collected, ended = threading.Event(), threading.Event(), threading.Event()

    def task(ending: Ending) -> None:
        go.wait(10)
        gc.collect()
        collected.set()
        while not ending.said:
            pass
        ended.set()

    def turns() -> Generator[None]:
        with InFlight(1) as flight:
            flight.start([task], 1)
            yield

    held: list[Any] = [turns()]
    next(held[0])
    held.append(held)
    gc.disable()
    try:
        del held
        go.set()
        assert collected.wait(10)
        assert ended.wait(10)
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_in_a_forked_child_what_was_under_way_is_neither_waited_for_nor_ended() -> None:
    go = threading.Event()

    def turns(said: list[bool]) -> Generator[None]:
        def task(ending: Ending) -> None:
            ending.receives(body)
            go.wait(10)
            ending.left(body)
            said.append(ending.said)

        with InFlight(1) as flight:
            flight.start([task], 1)
            yield
            flight.wait_until(lambda: bool(said))
            yield

    told, tells = os.pipe()
    body: Any = MemoryBody(b"")
    body.interrupt = lambda: os.write(tells, b"interrupted")
    first: list[bool] = []
    second: list[bool] = []
    goes_on, is_closed = turns(first), turns(second)
    next(goes_on), next(is_closed)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(10)
        failed = 1
        try:
            next(goes_on)
        except TransferError:
            is_closed.close()
            failed = 0
        finally:
            os._exit(failed)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(tells)
    with os.fdopen(told, "rb") as interrupts:
        assert interrupts.read() == b""
    go.set()
    next(goes_on), next(is_closed)
    assert first == second == [False]
    goes_on.close()
    is_closed.close()


def test_a_body_that_is_opened_as_all_ends_is_ended_too() -> None:
    interrupted: list[str] = []
    body: Any = MemoryBody(b"")
    body.interrupt = lambda: interrupted.append("interrupted")
    ending = Ending()
    ending.receives(body)
    assert not interrupted
    ending.left(body)
    ending.say()
    assert not interrupted
    ending.receives(body)
    assert interrupted == ["interrupted"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_in_a_forked_child_a_block_ends_though_what_it_began_does_not() -> None:
    go = threading.Event()
    with InFlight(1) as flight:
        flight.start([lambda _: go.wait(10)], 1)
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)
            flight.__exit__(None, None, None)
            os._exit(0)
        go.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_error_in_the_block_ends_what_is_under_way() -> None:
    ended = threading.Event()

    def task(ending: Ending) -> None:
        while not ending.said:
            pass
        ended.set()

    def run() -> None:
        with InFlight(1) as flight:
            flight.start([task], 1)
            while not flight._futures[0].running():
                pass
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert ended.is_set()
