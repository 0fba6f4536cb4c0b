"""Many files at work: in order, within bounds, and nothing goes on when nobody takes the rows any more."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import arrowseal.aio as sealed
import arrowseal.arrow as sa
from arrowseal.cancellation import CancelledWork, cancellation
from arrowseal.exceptions import ConfigurationError, TransferError
from arrowseal.tables.dataset_flow import in_order, threads_of
from arrowseal.tables.dataset_lanes import Lane, Lanes
from lake import Lake, pq_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Rows:
    """What is read, as far as it weighs something."""

    def __init__(self, name: Any, nbytes: int = 1) -> None:
        self.name = name
        self.nbytes = nbytes


def ordered(tasks: Any, run: Callable[[Any], Any], *, size: int = 1, **options: Any) -> Iterator[Any]:
    return in_order(tasks, run, size_of=lambda _: size, context=copy_context(), **options)


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_rows_come_in_the_order_of_the_tasks(threads: int) -> None:
    def run(task: int) -> Iterator[Rows]:
        time.sleep((task * 7 % 5) / 1000)
        for part in range(3):
            yield Rows((task, part))

    found = [rows.name for rows in ordered(range(40), run, threads=threads)]
    assert found == [(task, part) for task in range(40) for part in range(3)]


def test_no_more_tasks_are_at_work_than_threads() -> None:
    most, now, lock = 0, 0, threading.Lock()

    def run(task: int) -> list[Rows]:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1
        return [Rows(task)]

    list(ordered(range(50), run, threads=4))
    assert most == 4


def test_what_is_read_ahead_of_a_slow_taker_is_bounded() -> None:
    given: list[int] = []

    def run(task: int) -> Iterator[Rows]:
        for _ in range(10):
            given.append(task)
            yield Rows(task, 10)

    rows = ordered(range(100), run, threads=8, bytes_ahead=200)
    next(rows)
    time.sleep(0.2)
    # Taken together (an eighth of the bound), within the bound, and one that waits for room on each thread.
    assert len(given) <= 3 + 20 + 8
    assert sum(1 for _ in rows) == 999


def test_files_far_ahead_are_not_begun_however_small() -> None:
    begun: list[int] = []

    def run(task: int) -> list[Rows]:
        begun.append(task)
        return [Rows(task, 0)]

    rows = ordered(range(1000), run, size=0, threads=2)
    next(rows)
    time.sleep(0.1)
    assert len(begun) <= 8 + 8 + 2  # taken together, four turns of each thread ahead, and one at work on each


def test_a_task_larger_than_the_bound_runs_when_it_is_its_turn() -> None:
    def run(task: int) -> list[Rows]:
        return [Rows(task, 1000), Rows(task, 1000)]

    found = [rows.name for rows in ordered(range(5), run, size=500, threads=3, bytes_ahead=100)]
    assert found == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_a_failure_comes_in_its_turn_and_nothing_behind_it_begins() -> None:
    begun: list[int] = []

    def run(task: int) -> Iterator[Rows]:
        begun.append(task)
        yield Rows(task)
        if task == 3:
            raise RuntimeError("the fourth")

    rows = ordered(range(1000), run, threads=2)
    assert [next(rows).name for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(RuntimeError, match="the fourth"):
        next(rows)
    assert len(begun) < 20


@pytest.mark.parametrize("how", ["close", "drop"])
def test_an_iterator_that_is_given_up_calls_off_what_is_at_work(how: str) -> None:
    waiting, ended = threading.Event(), threading.Event()

    def run(task: int) -> Iterator[Rows]:
        if task == 0:
            yield Rows(0)
            return
        waiting.set()
        try:
            cancellation().sleep(60)
        finally:
            ended.set()
        yield Rows(task)

    rows = ordered(range(2), run, threads=2)
    next(rows)
    assert waiting.wait(5)
    if how == "close":
        rows.close()  # type: ignore[attr-defined]
    else:
        del rows
        gc.collect()
    assert ended.wait(5)


def test_who_waits_for_rows_when_the_work_is_called_off_gets_an_error_not_an_end() -> None:
    taken = threading.Event()
    came: list[Any] = []

    def run(task: int) -> Iterator[Rows]:
        yield Rows(task)
        cancellation().sleep(60)

    rows: Any = ordered(range(2), run, threads=2)

    def take() -> None:
        try:
            for row in rows:
                came.append(row.name)
                taken.set()
            came.append("the end")
        except BaseException as error:
            came.append(type(error))

    taker = threading.Thread(target=take)
    taker.start()
    assert taken.wait(30)
    time.sleep(0.1)
    rows.gi_frame.f_locals["at_exit"]()  # as the end of the interpreter calls it, from another thread
    taker.join(30)
    assert came == [0, CancelledWork]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_in_a_forked_child_rows_on_their_way_are_an_error_and_the_parent_gets_them_all() -> None:
    go = threading.Event()

    def run(task: int) -> Iterator[Rows]:
        if task:
            go.wait(10)
        yield Rows(task)

    rows: Any = ordered(range(6), run, threads=2)
    assert next(rows).name == 0
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(10)
        failed = 1
        try:
            next(rows)
        except TransferError:
            failed = 0
        finally:
            os._exit(failed)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    go.set()
    assert [row.name for row in rows] == [1, 2, 3, 4, 5]


def test_tasks_see_the_context_they_were_given() -> None:
    word: ContextVar[str] = ContextVar("word", default="")
    word.set("mine")
    context = copy_context()
    word.set("another")
    for threads in (1, 3):
        found = in_order(range(4), lambda _: [Rows(word.get())], size_of=lambda _: 1, context=context, threads=threads)
        assert {rows.name for rows in found} == {"mine"}


def test_the_number_of_threads() -> None:
    assert (threads_of(True), threads_of(False), threads_of(7)) == (16, 1, 7)
    for wrong in (0, -1, 1.5, "2"):
        with pytest.raises(ConfigurationError, match="use_threads"):
            threads_of(wrong)  # type: ignore[arg-type]


def test_an_awaited_read_that_is_cancelled_ends(lake: Lake) -> None:
    lake.put({f"t/{at}.parquet": pq_bytes(pa.table({"n": [at]})) for at in range(60)})
    found = sa.dataset("s3://lake/t/", client=lake.client, schema=pa.schema([("n", pa.int64())]))
    lake.forget()

    async def read() -> None:
        task = asyncio.ensure_future(sealed.to_thread(found.to_table))
        while not lake.s3.log:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    answers = threading.Event()
    lake.s3.rule = lambda *_: answers.wait(60) and None
    asyncio.run(read())
    answers.set()  # of the requests that were on their way; behind them none is to follow
    for thread in threading.enumerate():
        if thread.name == "arrowseal-dataset":
            thread.join(60)
            assert not thread.is_alive()
    assert len(lake.s3.log) <= 16
    lake.s3.reset()


def test_lanes_keep_their_order_and_run_side_by_side() -> None:
    done: list[tuple[int, int]] = []
    with Lanes(4, 1000) as lanes:
        each = [Lane() for _ in range(6)]
        for step in range(20):
            for at, lane in enumerate(each):
                lanes.do(lambda at=at, step=step: done.append((at, step)), lane)  # type: ignore[misc]
        lanes.finish()
    assert len(done) == 120
    for at in range(6):
        assert [step for lane, step in done if lane == at] == list(range(20))


def test_who_gives_lanes_more_than_they_may_hold_waits() -> None:
    gate = threading.Event()
    given: list[int] = []

    def give(lanes: Lanes) -> None:
        for at in range(5):
            lanes.do(gate.wait, weight=40)
            given.append(at)

    with Lanes(2, 100) as lanes:
        giver = threading.Thread(target=give, args=(lanes,))
        giver.start()
        time.sleep(0.1)
        assert len(given) == 2
        gate.set()
        giver.join()
        lanes.finish()
    assert len(given) == 5


def test_the_first_failure_of_a_lane_ends_all() -> None:
    def fail() -> None:
        raise RuntimeError("first")

    done: list[int] = []

    def run() -> None:
        with Lanes(1, 100) as lanes:
            lanes.do(fail)
            for at in range(100):
                lanes.do(lambda at=at: done.append(at))  # type: ignore[misc]
            lanes.finish()

    with pytest.raises(RuntimeError, match="first"):
        run()
    assert len(done) < 100
