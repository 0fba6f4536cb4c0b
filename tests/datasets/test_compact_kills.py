"""A compaction that is killed at any request, loses an answer or has another run beside it keeps every row; after the
next run each is there once.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from broken_bodies import Fault
from kills import Killed, dying_at

import arrowseal.arrow as sa
from arrowseal import ObjectLocation, RetryOptions, TransferOptions
from arrowseal.exceptions import ArrowSealError, DatasetWriteError
from arrowseal.location import COMPACTING
from arrowseal.operations import compact
from lake import Lake, pq_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from memory_s3 import Stored

FILES = 3


@pytest.fixture
def before(lake: Lake) -> dict[str, Stored]:
    """Rows 0 to 5 in two directories of three files."""
    for at in range(2 * FILES):
        lake.put({f"part={at // FILES}/{at}.parquet": pq_bytes(pa.table({"n": [at]}))})
    lake.forget()
    return dict(lake.s3.server.objects)


def start_again(lake: Lake, before: dict[str, Stored]) -> None:
    lake.s3.reset()
    lake.s3.server.objects = dict(before)
    lake.s3.server.ignored.clear()


def numbers(lake: Lake) -> list[int]:
    return sorted(sa.dataset("s3://lake", client=lake.client).to_table()["n"].to_pylist())


def hasty(lake: Lake) -> Any:
    """A client that tries twice and does not wait."""
    retries = RetryOptions(attempts=2, base_seconds=0.001, cap_seconds=0.001)
    return lake.make_client(transfer=TransferOptions(retries=retries))


def assert_finished(lake: Lake, moment: object) -> None:
    assert numbers(lake) == list(range(2 * FILES)), moment
    assert len(lake.keys) == 2, moment


@pytest.mark.parametrize("ignored", [set(), {"PutObject", "DeleteObject"}], ids=["conditions", "no conditions"])
def test_killed_at_any_request_every_row_is_there_and_a_second_run_leaves_each_once(
    lake: Lake, before: dict[str, Stored], monkeypatch: pytest.MonkeyPatch, ignored: set[str]
) -> None:
    at = 0
    while True:
        start_again(lake, before)
        lake.s3.server.ignored |= ignored
        dying_at(monkeypatch, at)
        try:
            compact("s3://lake", client=lake.make_client(), use_threads=False)
        except Killed:
            pass
        else:
            break
        finally:
            dying_at(monkeypatch, None)
        assert set(numbers(lake)) == set(range(2 * FILES)), at
        compact("s3://lake", client=lake.client)
        assert_finished(lake, at)
        at += 1
    assert at > 60
    assert_finished(lake, "not killed")


def test_the_run_that_finishes_another_may_be_killed_too(
    lake: Lake, before: dict[str, Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in (20, 31, 44):
        second = 0
        while True:
            start_again(lake, before)
            dying_at(monkeypatch, first)
            with pytest.raises(Killed):
                compact("s3://lake", client=lake.make_client(), use_threads=False)
            dying_at(monkeypatch, second)
            try:
                compact("s3://lake", client=lake.make_client(), use_threads=False)
            except Killed:
                second += 3
            else:
                break
            finally:
                dying_at(monkeypatch, None)
            assert set(numbers(lake)) == set(range(2 * FILES)), (first, second)
            compact("s3://lake", client=lake.client)
            assert_finished(lake, (first, second))


def striking(lake: Lake, at: int, fault: Fault, *, goes_on: Fault | None = None) -> Callable[..., Fault | None]:
    """Request number `at` is struck, and those like it afterwards by another fault."""
    seen = Counter[str]()
    struck: list[tuple[str, str]] = []

    def rule(method: str, path: str, _: object) -> Fault | None:
        seen["all"] += 1
        if struck:
            return goes_on if (method, path) in struck else None
        if seen["all"] == at:
            struck.append((method, path))
            return fault
        return None

    return rule


@pytest.mark.parametrize("goes_on", [None, Fault("status", 503), Fault("status", 403, "AccessDenied")])
def test_whichever_answer_is_lost_every_row_is_there_and_a_second_run_leaves_each_once(
    lake: Lake, before: dict[str, Stored], goes_on: Fault | None
) -> None:
    start_again(lake, before)
    compact("s3://lake", client=hasty(lake), use_threads=False)
    requests = len(lake.s3.log)
    stopped = 0
    for at in range(1, requests + 1):
        start_again(lake, before)
        lake.s3.rule = striking(lake, at, Fault("lost-answer"), goes_on=goes_on)
        try:
            compact("s3://lake", client=hasty(lake), use_threads=False)
        except ArrowSealError:
            stopped += 1
        lake.s3.reset()
        assert set(numbers(lake)) == set(range(2 * FILES)), at
        compact("s3://lake", client=lake.client)
        assert_finished(lake, at)
    assert stopped == 0 if goes_on is None else stopped > 10


def test_a_first_deletion_whose_answer_is_lost_loses_nothing(lake: Lake, before: dict[str, Stored]) -> None:
    def rule(method: str, path: str, _: object) -> Fault | None:
        return Fault("lost-answer") if method == "DELETE" and path.endswith(("/0.parquet", "/3.parquet")) else None

    lake.s3.rule = rule
    with pytest.raises(DatasetWriteError) as stopped:
        compact("s3://lake", client=hasty(lake))
    lake.s3.reset()
    assert stopped.value.left
    assert set(numbers(lake)) == set(range(2 * FILES))
    compact("s3://lake", client=lake.client)
    assert_finished(lake, "second run")


def test_a_failure_in_one_directory_does_not_end_deletions_in_another(lake: Lake, before: dict[str, Stored]) -> None:
    deleting, failed = threading.Event(), threading.Event()

    def rule(method: str, path: str, _: object) -> Fault | None:
        if method == "GET" and path.endswith("/5.parquet"):
            deleting.wait(20)
            failed.set()
            return Fault("status", 403, "AccessDenied")
        if method == "DELETE" and path.endswith("/1.parquet") and not deleting.is_set():
            deleting.set()
            failed.wait(20)
            time.sleep(0.2)  # until the failure has called the others off, which look when they are to try again
            return Fault("status", 503)
        return None

    lake.s3.rule = rule
    with pytest.raises(DatasetWriteError) as stopped:
        compact("s3://lake", client=lake.client)
    lake.s3.reset()
    assert stopped.value.left == ()
    assert len(stopped.value.written) == 1
    assert numbers(lake) == list(range(2 * FILES))
    assert len(lake.keys) == 1 + FILES


def test_a_second_run_at_any_step_of_the_first_leaves_each_row_once(lake: Lake, before: dict[str, Stored]) -> None:
    start_again(lake, before)
    compact("s3://lake", client=lake.client, use_threads=False)
    requests = len(lake.s3.log)
    for at in range(1, requests + 1):
        start_again(lake, before)
        seen = 0

        def rule(*_: object, at: int = at) -> None:
            nonlocal seen
            seen += 1
            if seen == at:
                compact("s3://lake", client=lake.make_client(), use_threads=False)

        lake.s3.rule = rule  # type: ignore[assignment]
        report = compact("s3://lake", client=lake.make_client(), use_threads=False)
        lake.s3.reset()
        assert {merge.state for merge in report.merges} <= {"done", "changed", "taken"}, at
        assert numbers(lake) == list(range(2 * FILES)), at
        compact("s3://lake", client=lake.client)
        assert_finished(lake, at)


def test_a_second_run_that_dies_beside_the_first_leaves_each_row_once(
    lake: Lake, before: dict[str, Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    died = Counter[bool]()
    for at in range(2, 60, 5):
        for other in range(9, 90, 16):
            start_again(lake, before)
            seen = 0

            def rule(*_: object, at: int = at, other: int = other) -> None:
                nonlocal seen
                seen += 1
                if seen != at:
                    return
                dying_at(monkeypatch, other)
                client = lake.make_client()
                dying_at(monkeypatch, None)
                try:
                    compact("s3://lake", client=client, use_threads=False)
                    died[False] += 1
                except Killed:
                    died[True] += 1

            lake.s3.rule = rule  # type: ignore[assignment]
            compact("s3://lake", client=lake.make_client(), use_threads=False)
            lake.s3.reset()
            assert set(numbers(lake)) == set(range(2 * FILES)), (at, other)
            compact("s3://lake", client=lake.client)
            assert_finished(lake, (at, other))
    assert died[True] > 20


def test_a_run_that_another_finished_while_its_answer_was_lost_keeps_its_new_files(
    lake: Lake, before: dict[str, Stored]
) -> None:
    notes = 0
    lost = finished = False

    def rule(method: str, path: str, _: object) -> Fault | None:
        nonlocal notes, lost, finished
        if lost and not finished:
            finished = True
            compact("s3://lake", client=lake.make_client(), use_threads=False)
        notes += method == "PUT" and path.endswith("part%3D0/" + COMPACTING)
        if notes == 2 and not lost:  # from here on the new file counts
            lost = True
            return Fault("lost-answer")
        return None

    lake.s3.rule = rule
    compact("s3://lake", client=lake.make_client(), use_threads=False)
    lake.s3.reset()
    assert finished
    assert_finished(lake, "both")


def test_a_run_that_was_undone_while_its_last_word_was_on_its_way_deletes_nothing(
    lake: Lake, before: dict[str, Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in range(4, 40, 3):
        start_again(lake, before)
        notes = 0

        def rule(method: str, path: str, _: object, other: int = other) -> None:
            nonlocal notes
            notes += method == "PUT" and path.endswith("part%3D0/" + COMPACTING)
            if notes != 2:
                return
            notes += 1
            dying_at(monkeypatch, other)
            client = lake.make_client()
            dying_at(monkeypatch, None)
            with pytest.raises(Killed):
                compact("s3://lake", client=client, use_threads=False)

        lake.s3.rule = rule  # type: ignore[assignment]
        compact("s3://lake", client=lake.make_client(), use_threads=False)
        lake.s3.reset()
        assert set(numbers(lake)) == set(range(2 * FILES)), other
        compact("s3://lake", client=lake.client)
        assert_finished(lake, other)


def test_sources_stay_whose_new_file_is_not_there_any_more(lake: Lake, before: dict[str, Stored]) -> None:
    lake.s3.rule = lambda method, *_: Fault("status", 403, "AccessDenied") if method == "DELETE" else None
    with pytest.raises(DatasetWriteError):
        compact("s3://lake", client=lake.client)
    lake.s3.reset()
    for path in lake.s3.server.objects.keys() - before.keys():
        if COMPACTING not in path:
            del lake.s3.server.objects[path]
    compact("s3://lake", client=lake.client)
    assert_finished(lake, "second run")


def test_sources_stay_whose_new_file_was_overwritten_before_the_run_is_finished(
    lake: Lake, before: dict[str, Stored]
) -> None:
    lake.s3.rule = lambda method, *_: Fault("status", 403, "AccessDenied") if method == "DELETE" else None
    with pytest.raises(DatasetWriteError):
        compact("s3://lake", client=lake.client, use_threads=False)
    lake.s3.reset()
    (new,) = [key for key in lake.keys if f"/lake/{key}" not in before and COMPACTING not in key]
    lake.put({new: pq_bytes(pa.table({"n": [77]}))})
    compact("s3://lake", client=lake.client)
    assert numbers(lake) == [*range(2 * FILES), 77]


def test_a_new_file_that_appears_after_it_was_undone_does_not_count(lake: Lake, before: dict[str, Stored]) -> None:
    lake.s3.rule = lambda method, path, _: (
        Fault("status", 403, "AccessDenied")
        if method == "DELETE" or (method == "PUT" and COMPACTING in path and lake.s3.count("PutObject") == 3)
        else None
    )
    with pytest.raises(DatasetWriteError):
        compact("s3://lake", client=lake.client, use_threads=False)
    late = {path: one for path, one in lake.s3.server.objects.items() if path not in before and COMPACTING not in path}
    assert len(late) == 1

    def appears(method: str, path: str, _: object) -> None:
        nonlocal late
        if method == "GET" and "list-type" in path and not late.keys() & lake.s3.server.objects.keys():
            lake.s3.server.objects.update(late)
            late = {}

    lake.s3.reset()
    lake.s3.rule = appears  # type: ignore[assignment]
    compact("s3://lake", client=lake.make_client(), use_threads=False)
    lake.s3.reset()
    assert late == {}
    assert_finished(lake, "second run")


def test_a_source_that_is_overwritten_right_before_its_deletion_stays(lake: Lake, before: dict[str, Stored]) -> None:
    other = lake.s3.server.objects["/lake/part=1/5.parquet"]

    def overwrite(method: str, path: str, _: object) -> None:
        if method == "DELETE" and path.endswith("/0.parquet"):
            lake.s3.server.objects["/lake/part=0/0.parquet"] = other

    lake.s3.rule = overwrite  # type: ignore[assignment]
    report = compact("s3://lake", client=lake.client)
    lake.s3.reset()
    assert report.left == (ObjectLocation("lake", "part=0/0.parquet"),)
    assert {merge.state for merge in report.merges} == {"done"}
    assert numbers(lake) == [0, 1, 2, 3, 4, 5, 5]
    assert not any(COMPACTING in key for key in lake.keys)


def test_what_is_noted_down_is_hidden_and_holds_names_and_etags_only(lake: Lake, before: dict[str, Stored]) -> None:
    lake.s3.rule = lambda method, *_: Fault("status", 403, "AccessDenied") if method == "DELETE" else None
    with pytest.raises(DatasetWriteError):
        compact("s3://lake", client=lake.client)
    lake.s3.reset()
    (noted, *_) = [key for key in lake.keys if COMPACTING in key]
    assert not any(COMPACTING in row.location.key for row in lake.client.list("s3://lake/"))
    content = lake.s3.server.objects[f"/lake/{noted}"].body.decode()
    assert '"0.parquet"' in content or '"3.parquet"' in content
    assert "/" not in content


def test_a_source_that_is_overwritten_before_the_run_is_finished_stays_also_where_deletes_know_no_conditions(
    lake: Lake, before: dict[str, Stored]
) -> None:
    lake.s3.rule = lambda method, *_: Fault("status", 403, "AccessDenied") if method == "DELETE" else None
    with pytest.raises(DatasetWriteError):
        compact("s3://lake", client=lake.client)
    lake.s3.reset()
    lake.put({"part=0/0.parquet": pq_bytes(pa.table({"n": [77]}))})
    lake.s3.server.ignored.add("DeleteObject")
    try:
        compact("s3://lake", client=lake.client)
    finally:
        lake.s3.server.ignored.clear()
    assert 77 in numbers(lake)


def test_what_is_no_note_of_a_compaction_stops_it_before_anything_is_touched(
    lake: Lake, before: dict[str, Stored]
) -> None:
    stored = next(iter(before.values()))
    names = ", ".join(f'"{key.rpartition("/")[2]}": ""' for key in lake.keys if "part=0/" in key)
    told = '{"run": "x", "state": "deleting", "merges": [{"target": "0.parquet", "etag": "", "sources": {%s}}]}'
    bad = (
        told % '"../b": ""',
        told % '"": ""',
        told % '"b": 1',
        (told % names).replace("deleting", "done"),  # of a later version: which files count is not known
        (told % names).replace('"x"', "1"),
        "[" * 200_000,
    )
    for content in (b"", b"[]", b'{"run": 1}', *(text.encode() for text in bad)):
        start_again(lake, before)
        lake.s3.server.objects[f"/lake/part=0/{COMPACTING}"] = stored._replace(body=content)
        with pytest.raises(DatasetWriteError, match="not what a compaction notes down"):
            compact("s3://lake", client=lake.client)
        assert {seen.method for seen in lake.s3.log} == {"GET"}


def test_a_dry_run_leaves_alone_what_another_run_began(
    lake: Lake, before: dict[str, Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    dying_at(monkeypatch, 44)
    with pytest.raises(Killed):
        compact("s3://lake", client=lake.make_client(), use_threads=False)
    dying_at(monkeypatch, None)
    there = dict(lake.s3.server.objects)
    compact("s3://lake", dry_run=True, client=lake.client)
    assert lake.s3.server.objects == there
