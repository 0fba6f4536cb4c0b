"""A transfer that is given up: what of it is refused for now is not asked for again while it ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import polars as pl
import pytest
from broken_bodies import Fault, operation_of, part_of

import arrowseal.polars as spl
from arrowseal import RetryOptions, TransferOptions, cli, retries
from arrowseal.exceptions import StoreAccessDeniedError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from broken_bodies import Rule
    from broken_servers import BrokenServers

PART = 5 * 2**20
URL = "s3://bucket/o"
STUBBORN = TransferOptions(
    part_bytes=PART,
    concurrency=2,
    retries=RetryOptions(attempts=2**30, deadline_seconds=20, base_seconds=0.001, cap_seconds=0.01),
)
"""Would try again a hundred times, as often as a client does at most."""
DENIED = Fault("status", 403, "AccessDenied")
SLOW_DOWN = Fault("status", 503, "SlowDown")


def strike() -> None:
    """Ctrl-C in a moment, when the main thread waits: what comes as it begins to, Python notices after the wait."""
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()


def one_of_two(operation: str) -> tuple[Rule, list[str]]:
    """Of two requests of an operation that are at work at once, the second is denied as soon as the first one is
    throttled, which it is from then on; and what was asked after the denial.
    """
    throttled, denied = threading.Event(), threading.Event()
    afterwards: list[str] = []

    def rule(method: str, path: str, headers: dict[str, str]) -> Fault | None:
        start = headers.get("Range", "")
        if operation_of(method, path, headers) != operation or start.startswith("bytes=0-"):
            return None
        if part_of(path) == 1 or start.startswith(f"bytes={PART}-"):
            throttled.set()
            if denied.is_set():
                afterwards.append(path)
            return SLOW_DOWN
        throttled.wait()
        denied.set()
        return DENIED

    return rule, afterwards


def test_a_part_that_is_throttled_is_not_sent_again_when_another_one_has_failed(servers: BrokenServers) -> None:
    client = servers.client(transfer=STUBBORN)
    servers.s3.rule, afterwards = one_of_two("UploadPart")
    with pytest.raises(StoreAccessDeniedError):
        client.put(URL, os.urandom(2 * PART))
    assert len(afterwards) < 50
    assert servers.s3.server.open_uploads == {}


def test_a_range_that_is_throttled_is_not_asked_again_when_another_one_has_failed(servers: BrokenServers) -> None:
    servers.client().put(URL, os.urandom(3 * PART))
    client = servers.client(transfer=STUBBORN, lane="boto3")
    servers.s3.rule, afterwards = one_of_two("GetObject")
    with pytest.raises(StoreAccessDeniedError):
        client.get(URL)
    assert len(afterwards) < 50


def test_ctrl_c_does_not_wait_for_the_files_of_a_tree_that_are_on_their_way(
    servers: BrokenServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(8 * PART)
    client = servers.client(transfer=TransferOptions(part_bytes=PART, concurrency=1))
    monkeypatch.setattr("arrowseal.cli.copy.connect", lambda _: client)
    struck = threading.Event()

    def rule(_: str, path: str, __: dict[str, str]) -> None:
        if part_of(path) == 1 and not struck.is_set():
            struck.set()
            strike()
        elif part_of(path):
            time.sleep(0.5)  # or all parts were there before Ctrl-C strikes

    servers.s3.rule = rule
    assert cli.main(["cp", "--recursive", str(tmp_path), "s3://bucket/tree", "--quiet"]) == cli.INTERRUPTED
    assert servers.s3.server.objects == {}
    assert servers.s3.server.open_uploads == {}


def test_ctrl_c_is_noticed_while_threads_are_waited_for_although_polars_is_there() -> None:
    assert spl
    go_on = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(go_on.wait, 20)
        strike()
        with pytest.raises(KeyboardInterrupt):
            waiting.result()
        assert not waiting.done()
        go_on.set()


def test_ctrl_c_of_which_polars_tells_besides_python_gives_up_all_partitions(
    servers: BrokenServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: lost.append(told.exc_type))
    client = servers.client(transfer=TransferOptions(part_bytes=PART))
    rows = 2**21
    frame = pl.DataFrame({"key": [0, 1] * (rows // 2), "noise": memoryview(os.urandom(8 * rows)).cast("q").tolist()})
    struck = threading.Event()

    def rule(_: str, path: str, __: dict[str, str]) -> None:
        if not part_of(path):
            return
        if not struck.is_set() or KeyboardInterrupt in lost:  # Python drops one that comes upon a callback
            struck.set()
            lost.clear()
            strike()
        time.sleep(1)  # or all was written before polars looks for signals

    servers.s3.rule = rule
    with pytest.raises(KeyboardInterrupt) as kept:  # as a notebook keeps it, and with it what its frames hold
        spl.sink_parquet(frame.lazy(), pl.PartitionBy("s3://bucket/out", key="key"), client=client)
    assert struck.is_set()
    assert servers.s3.server.open_uploads == {}
    assert servers.s3.server.objects == {}
    del kept


def test_an_upload_is_given_up_behind_its_parts_one_of_which_would_stay_if_it_came_later(
    servers: BrokenServers,
) -> None:
    begun, order = threading.Event(), []

    def rule(method: str, path: str, headers: dict[str, str]) -> None:
        operation = operation_of(method, path, headers)
        if operation == "UploadPart":
            begun.set()
            time.sleep(0.3)  # in which an abort that waits for nobody comes
        order.append(operation)

    servers.s3.rule = rule
    file = servers.client(transfer=TransferOptions(part_bytes=PART, concurrency=2)).open(URL, "wb")
    file.write(os.urandom(PART + 1))
    assert begun.wait(10)
    file.abort()
    assert order == ["CreateMultipartUpload", "UploadPart", "AbortMultipartUpload"]


def test_pauses_are_drawn_below_a_bound_that_doubles_up_to_its_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds: list[float] = []

    class Least:
        def uniform(self, least: float, most: float) -> float:
            bounds.append(most)
            return least

    monkeypatch.setattr(retries, "_jitter", Least())
    budget = retries.Budget(RetryOptions(attempts=9, base_seconds=0.25, cap_seconds=3))
    for _ in range(5):
        budget.pause(UnavailableError("once"))
    budget.progressed()
    budget.pause(UnavailableError("again"))
    assert bounds == [0.25, 0.5, 1, 2, 3, 0.25]


def test_an_upload_is_given_up_although_no_more_threads_are_to_be_had(
    servers: BrokenServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def started(thread: threading.Thread) -> None:
        if thread.name in {"arrowseal-write_1", "arrowseal-abort"}:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", started)
    servers.s3.rule = lambda _, path, __: DENIED if "partNumber=4" in path else None
    with pytest.raises(StoreAccessDeniedError):
        servers.client(transfer=STUBBORN).put(URL, bytes(4 * PART))
    assert servers.s3.count("CreateMultipartUpload") == servers.s3.count("AbortMultipartUpload") == 1
    assert not servers.s3.server.open_uploads
