"""Ctrl-C at moments between two steps: as a call is handed to a thread, as a lock is let go of, as a wait ends."""

from __future__ import annotations

import collections
import dis
import gc
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import outcomes
from arrowseal.cancellation import cancellation
from arrowseal.cli.copy import Arms, _run_all
from arrowseal.data_keys import DataKeyCache, Reuse, UnwrappedKeys
from arrowseal.fork_lock import ForkLock
from arrowseal.fs.side_by_side import side_by_side
from arrowseal.standby import Threads
from arrowseal.tables.dataset_flow import in_order
from arrowseal.tables.dataset_lanes import Lanes
from arrowseal.tables.partitioned_sink import _Writers
from arrowseal.tables.polars_aside import aside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def strike_after(monkeypatch: pytest.MonkeyPatch, submitted: int) -> None:
    """Ctrl-C once so many calls have been handed to pools."""
    submit, count = ThreadPoolExecutor.submit, [0]

    def struck(pool: ThreadPoolExecutor, *call: Any, **arguments: Any) -> Any:
        future = submit(pool, *call, **arguments)
        count[0] += 1
        if count[0] == submitted:
            raise KeyboardInterrupt
        return future

    monkeypatch.setattr(ThreadPoolExecutor, "submit", struck)


def strike_at_the_start(monkeypatch: pytest.MonkeyPatch, begun: threading.Event) -> None:
    """Ctrl-C as soon as a thread is started that has begun its work: its pool does not know it yet."""
    start = threading.Thread.start

    def struck(thread: threading.Thread) -> None:
        start(thread)
        begun.wait(10)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", struck)


def by_side_by_side(call: Callable[[], None]) -> None:
    side_by_side(lambda _: call(), range(200))


def by_cp(call: Callable[[], None]) -> None:
    @dataclass(frozen=True)
    class One:
        number: int
        stored_bytes: int = 1

        def run(self, *_: object) -> None:
            call()

    given: Any = [One(number) for number in range(200)]
    _run_all(given, None, Arms(None, None), quiet=True, shown=False)  # type: ignore[arg-type]


def by_commits(call: Callable[[], None]) -> None:
    class Writer:
        def commit(self) -> None:
            call()

    partitions: Any = _Writers.__new__(_Writers)
    partitions.context, partitions._writers = copy_context(), [Writer() for _ in range(200)]
    partitions.commit()


@pytest.mark.parametrize("move", [by_side_by_side, by_cp, by_commits])
def test_ctrl_c_while_many_are_still_handed_over_calls_off_those_under_way_and_begins_no_more(
    monkeypatch: pytest.MonkeyPatch, move: Callable[[Callable[[], None]], None]
) -> None:
    done: list[int] = []

    def slowly() -> None:
        cancellation().sleep(3)
        done.append(1)

    strike_after(monkeypatch, 50)
    with pytest.raises(KeyboardInterrupt):
        move(slowly)
    assert not done


def in_threads(call: Callable[[], None]) -> None:
    with Threads(2, "arrowseal-own") as beside:
        beside.submit(call)


def in_lanes(call: Callable[[], None]) -> None:
    with Lanes(2, 100) as lanes:
        lanes.do(call)


@pytest.mark.parametrize("run", [in_threads, in_lanes, by_side_by_side])
def test_what_has_begun_has_ended_also_where_the_start_of_its_thread_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[Callable[[], None]], None]
) -> None:
    begun, done = threading.Event(), []

    def slowly() -> None:
        begun.set()
        time.sleep(0.2)
        done.append("slowly")

    before = {*threading.enumerate()}
    strike_at_the_start(monkeypatch, begun)
    with pytest.raises(KeyboardInterrupt):
        run(slowly)
    assert done == ["slowly"]
    for thread in {*threading.enumerate()} - before:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize("event", ["call", "line", "return"])
def test_a_lock_is_free_when_its_block_has_ended_wherever_ctrl_c_came(event: str) -> None:
    lock = ForkLock()
    here, at, struck = sys.modules["arrowseal.fork_lock"].__file__, 0, True

    def strike(frame: Any, what: str, _: object) -> Any:
        nonlocal count, struck
        if frame.f_code.co_filename != here:
            return None
        if what == event:
            count += 1
            if count == at:
                struck = True
                raise KeyboardInterrupt
        return strike

    before = sys.gettrace()
    while struck:
        at, count, struck = at + 1, 0, False
        sys.settrace(strike)
        try:
            with lock:
                pass
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        assert lock._lock.acquire(blocking=False), f"{event} {at}"
        lock._lock.release()
    assert at > 2


def each_strike(*modules: str) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Ways to make a call that Ctrl-C ends: at the first moment, the second and so on in which Python looks for signals
    in the modules, which is as a function begins and after each call, up to the one that comes to no end.
    """
    here, at, struck = {sys.modules[module].__file__ for module in modules}, 0, True

    def strike(frame: Any, what: str, _: object) -> Any:
        nonlocal count, struck
        if frame.f_code.co_filename not in here:
            return None
        frame.f_trace_opcodes = True
        here_before = done.get(frame, "CALL")
        done[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
        if what == "call" or (what == "opcode" and here_before.startswith(("CALL", "JUMP_BACKWARD"))):
            count += 1
            if count == at:
                struck = True
                raise KeyboardInterrupt
        return strike

    def run(call: Callable[[], object]) -> None:
        before = sys.gettrace()
        sys.settrace(strike)
        try:
            call()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
            done.clear()

    while struck:
        at, count, struck, done = at + 1, 0, False, dict[Any, str]()
        yield run
    assert at > 2


def test_nobody_waits_for_a_data_key_whose_call_was_interrupted_wherever_ctrl_c_came() -> None:
    for number, run in enumerate(each_strike("arrowseal.data_keys")):
        now = [0.0]
        cache = UnwrappedKeys[str](DataKeyCache(), lambda: now[0])  # noqa: B023 - called within this round
        run(lambda: cache.get("a", 1, lambda: "key"))  # noqa: B023
        now[0] = 1000.0  # what was kept is too old by now
        found: list[str] = []
        again = threading.Thread(target=lambda: found.append(cache.get("a", 1, lambda: "key")), daemon=True)  # noqa: B023
        again.start()
        again.join(10)
        assert found == ["key"], number


def test_who_waits_for_a_data_key_goes_on_where_ctrl_c_came_as_it_was_there() -> None:
    asked, found = threading.Event(), []
    cache = UnwrappedKeys[str](DataKeyCache())
    waiting = threading.Thread(
        target=lambda: asked.wait(10) and found.append(cache.get("a", 1, lambda: "key")), daemon=True
    )

    def load() -> str:
        asked.set()
        time.sleep(0.2)
        return ""  # which nobody keeps

    def struck(*_: object) -> None:
        raise KeyboardInterrupt

    cache._land = struck  # type: ignore[method-assign]
    waiting.start()
    with pytest.raises(KeyboardInterrupt):
        cache.get("a", 1, load)
    del cache._land  # type: ignore[method-assign]
    waiting.join(10)
    assert len(found) == 1


def test_a_block_of_reuse_that_ctrl_c_ended_shares_nothing_any_more() -> None:
    for number, run in enumerate(each_strike("arrowseal.data_keys")):
        reuse = Reuse()

        def block() -> None:
            with reuse.block():  # noqa: B023 - called within this round
                pass

        run(block)
        gc.collect()
        assert reuse.keys is None, number
        with reuse.block():
            assert reuse.keys is not None
        assert reuse.keys is None, number


class Rows:
    nbytes = 1


def test_the_files_of_a_dataset_are_called_off_where_the_start_of_a_thread_is_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = threading.Event()

    def run(_: int) -> Iterator[Rows]:
        begun.set()
        cancellation().sleep(60)
        yield Rows()

    before = {*threading.enumerate()}
    strike_at_the_start(monkeypatch, begun)
    with pytest.raises(KeyboardInterrupt) as struck:
        list(in_order(range(9), run, size_of=lambda _: 1, context=copy_context(), threads=3))
    for thread in {*threading.enumerate()} - before:
        thread.join(10)
        assert not thread.is_alive()
    assert struck.tb is not None  # which refers to the iterator


def test_the_collector_ends_the_files_of_a_dataset_also_on_a_thread_that_reads_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dropped, collected = threading.Event(), threading.Event()

    def run(task: int) -> Iterator[Rows]:
        if task:
            dropped.wait(10)
        yield Rows()

    def deque() -> Any:  # where the lock is held
        if dropped.is_set() and not collected.is_set():
            collected.set()
            gc.collect()
        return real()

    real = collections.deque
    before = {*threading.enumerate()}
    gc.disable()
    try:
        rows: Any = in_order(range(100), run, size_of=lambda _: 1, context=copy_context(), threads=3)
        next(rows)
        cycle: list[Any] = [rows]
        cycle.append(cycle)
        del rows, cycle
        monkeypatch.setattr("arrowseal.tables.dataset_flow.deque", deque)
        dropped.set()
        assert collected.wait(10)
        for thread in {*threading.enumerate()} - before:
            thread.join(10)
            assert not thread.is_alive()
    finally:
        gc.enable()


@pytest.mark.parametrize("waiting", [outcomes.wait, outcomes.results])
def test_a_block_of_threads_ends_wherever_in_a_future_ctrl_c_came(waiting: Callable[[Any], object]) -> None:
    def block() -> None:
        with Threads(2, "arrowseal-own") as threads:
            waiting([threads.submit(time.sleep, 0.01) for _ in range(2)])

    for number, run in enumerate(each_strike("concurrent.futures._base", "arrowseal.outcomes")):
        ended = threading.Thread(target=run, args=(block,), daemon=True)
        ended.start()
        ended.join(10)
        assert not ended.is_alive(), number


def test_what_is_made_aside_for_polars_ends_wherever_ctrl_c_came() -> None:
    for number, run in enumerate(each_strike("concurrent.futures._base", "arrowseal.outcomes")):
        ended = threading.Thread(target=run, args=(lambda: aside(lambda: time.sleep(0.01)),), daemon=True)
        ended.start()
        ended.join(10)
        assert not ended.is_alive(), number


def test_a_future_is_free_wherever_ctrl_c_came_as_somebody_looked_at_it() -> None:
    for number, run in enumerate(each_strike("concurrent.futures._base", "threading")):
        outcome = outcomes.Outcome[int]()
        run(outcome.done)
        found: list[bool] = []
        other = threading.Thread(target=lambda: found.append(outcome.cancel()), daemon=True)  # noqa: B023
        other.start()
        other.join(5)
        assert found == [True], number


def test_a_future_keeps_nothing_of_those_who_have_waited_for_it_in_vain() -> None:
    pending, ended = outcomes.Outcome[int](), outcomes.Outcome[int]()
    ended.set_result(1)
    for _ in range(10):
        assert outcomes.wait([pending], 0.001) == (set(), {pending})
        assert outcomes.wait([pending, ended], return_when=FIRST_COMPLETED) == ({ended}, {pending})
    assert not pending._done_callbacks
    pending.set_result(2)
    assert outcomes.wait([pending, ended]) == ({pending, ended}, set())


def test_who_waits_for_a_future_learns_its_end_while_others_give_up_waiting() -> None:
    for _ in range(200):
        outcome = outcomes.Outcome[int]()
        found: list[object] = []
        patient = threading.Thread(target=lambda: found.append(outcomes.wait([outcome])), daemon=True)  # noqa: B023
        patient.start()
        ending = threading.Thread(target=outcome.set_result, args=(1,))
        ending.start()
        for _ in range(5):
            outcomes.wait([outcome], 0.0)
        ending.join()
        patient.join(10)
        assert found == [({outcome}, set())]
