"""On which threads row groups of Parquet are decoded, how many at a time, and in which order they come."""

from __future__ import annotations

import io
import os
import signal
import threading
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arrowseal.exceptions import TransferError
from arrowseal.standby import Threads
from arrowseal.tables import parquet_decoding
from arrowseal.tables.parquet import ParquetFooter
from arrowseal.tables.parquet_decoding import decoded, fetched_waves
from arrowseal.tables.ranges import Content

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

GROUPS, A_GROUP = 12, 4_000
TABLE = pa.table({name: pa.array(range(at, at + GROUPS * A_GROUP), pa.int64()) for at, name in enumerate("abcd")})


class Remote(Content):
    """Content of which ranges are fetched."""

    in_memory = False  # type: ignore[assignment,misc]


def written(*rows: int) -> ParquetFooter:
    """The footer of the table in row groups of so many rows each."""
    sink, at = io.BytesIO(), 0
    with pq.ParquetWriter(sink, TABLE.schema, compression="none", use_dictionary=False) as writer:
        for count in rows:
            writer.write_table(TABLE.slice(at, count))
            at += count
    return ParquetFooter(Remote(sink.getvalue()))


@pytest.fixture
def footer() -> ParquetFooter:
    return written(*[A_GROUP] * GROUPS)


class Decoding:
    """Notes how pyarrow is asked for row groups: which, by which threads, and how many calls were at work at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[list[int], bool, bool]] = []
        self.most = 0
        self.goes_on = threading.Event()
        self.goes_on.set()
        self._at_work = 0
        self._lock = threading.Lock()
        self._read = pq.ParquetFile.read_row_groups
        monkeypatch.setattr(pq.ParquetFile, "read_row_groups", lambda *given, **told: self._noted(*given, **told))

    def _noted(self, file: Any, groups: list[int], columns: Any, **told: Any) -> pa.Table:
        with self._lock:
            here = threading.current_thread() is threading.main_thread()
            self.calls.append((list(groups), here, told.get("use_threads", True)))
            self._at_work += 1
            self.most = max(self.most, self._at_work)
        try:
            assert self.goes_on.wait(10)
            return self._read(file, groups, columns, **told)
        finally:
            with self._lock:
                self._at_work -= 1


@pytest.fixture
def decoding(monkeypatch: pytest.MonkeyPatch) -> Decoding:
    monkeypatch.setattr(pa, "cpu_count", lambda: 2)
    return Decoding(monkeypatch)


def tables(footer: ParquetFooter, columns: list[str] | None, **reading: Any) -> list[pa.Table]:
    return [table for table, _ in decoded(footer, footer.plan(columns), {}, reading)]


@pytest.mark.parametrize(("turn", "wave"), [(100_000, 2**26), (100_000, 100_000), (100_000, 40_000)])
@pytest.mark.parametrize("reading", [{}, {"use_threads": True}])
def test_parts_are_decoded_on_threads_of_python_as_many_at_once_as_there_are_processors(
    footer: ParquetFooter,
    decoding: Decoding,
    monkeypatch: pytest.MonkeyPatch,
    turn: int,
    wave: int,
    reading: dict[str, Any],
) -> None:
    monkeypatch.setattr(parquet_decoding, "TURN_BYTES", turn)
    monkeypatch.setattr(parquet_decoding, "WAVE_BYTES", wave)
    plan = footer.plan(["a", "b", "d"], range(GROUPS - 4))  # less than makes it worth to take the whole
    decoding.goes_on.clear()
    waking = threading.Timer(0.2, decoding.goes_on.set)
    waking.start()
    found = [table for table, _ in decoded(footer, plan, {}, reading)]
    assert pa.concat_tables(found).equals(TABLE.slice(0, (GROUPS - 4) * A_GROUP).select(["a", "b", "d"]))
    assert decoding.most == 2
    assert sorted(groups for groups, *_ in decoding.calls) == [[group] for group in range(GROUPS - 4)]
    assert {(here, threads) for _, here, threads in decoding.calls} == {(False, False)}


def test_what_is_decoded_is_given_out_before_more_has_arrived(
    footer: ParquetFooter, decoding: Decoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pa, "cpu_count", lambda: GROUPS)
    monkeypatch.setattr(parquet_decoding, "TURN_BYTES", 40_000)
    taken = 0
    work: list[Future[Any]] = []

    class Noted(Threads):
        def submit(self, call: Any, *arguments: Any, **named: Any) -> Future[Any]:
            work.append(super().submit(call, *arguments, **named))
            return work[-1]

    def arriving(_: Any, batches: Any) -> Iterator[Any]:
        for number, batch in enumerate(batches):
            wait(work[: max(0, number - 1)])  # for all but the last one that came
            assert taken >= number - 2
            yield footer.source.read_ranges(batch)

    monkeypatch.setattr(parquet_decoding, "Threads", Noted)
    monkeypatch.setattr(Remote, "read_in_turn", arriving)
    for _ in decoded(footer, footer.plan(["a"]), {}, {}):
        taken += 1
    assert taken == GROUPS


@pytest.mark.parametrize(
    "opening", [{"read_dictionary": ["text"]}, {"binary_type": pa.large_binary()}, {"pre_buffer": True}, {}]
)
@pytest.mark.parametrize("reading", [{"use_pandas_metadata": True}, {}])
def test_options_are_those_of_pyarrow(
    decoding: Decoding, monkeypatch: pytest.MonkeyPatch, opening: dict[str, Any], reading: dict[str, Any]
) -> None:
    text = [f"{number % (7 + number // 4000)}" for number in range(36_000)]
    columns = {"text": text, "raw": [word.encode() for word in text], "other": range(36_000), "index": range(36_000)}
    frame = pa.table(columns).to_pandas().set_index("index")
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame), sink, row_group_size=4_000, compression="none")
    monkeypatch.setattr(parquet_decoding, "TURN_BYTES", 1)
    footer, wanted = ParquetFooter(Remote(sink.getvalue())), ["text", "raw"]
    found = pa.concat_tables([table for table, _ in decoded(footer, footer.plan(wanted), opening, reading)])
    assert {here for _, here, _ in decoding.calls} == {False}
    plain = pq.ParquetFile(sink, **opening).read(wanted, **reading)
    assert found.equals(plain)
    assert found.schema.equals(plain.schema, check_metadata=True)


def test_no_more_large_row_groups_are_in_work_than_make_up_a_wave(
    footer: ParquetFooter, decoding: Decoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pa, "cpu_count", lambda: 8)
    monkeypatch.setattr(parquet_decoding, "TURN_BYTES", 5_000)
    monkeypatch.setattr(parquet_decoding, "WAVE_BYTES", 90_000)  # three of 32,000 bytes each
    decoding.goes_on.clear()
    waking = threading.Timer(0.5, decoding.goes_on.set)
    waking.start()
    assert pa.concat_tables(tables(footer, ["a"])).equals(TABLE.select(["a"]))
    assert decoding.most == 3


def test_large_row_groups_of_several_columns_are_left_to_the_threads_of_arrow(
    footer: ParquetFooter, decoding: Decoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_decoding, "TURN_BYTES", 10_000)
    monkeypatch.setattr(parquet_decoding, "WAVE_BYTES", 60_000)  # one of 64,000 bytes is beyond it
    assert pa.concat_tables(tables(footer, ["a", "c"])).equals(TABLE.select(["a", "c"]))
    assert decoding.calls == [([group], True, True) for group in range(GROUPS)]


def test_a_last_row_group_for_which_the_whole_object_is_fetched_comes_last(
    decoding: Decoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_decoding, "TURN_BYTES", 80_000)
    monkeypatch.setattr(parquet_decoding, "WAVE_BYTES", 80_000)
    footer = written(500, 2_400)
    found = list(decoded(footer, footer.plan(), {}, {}))
    assert [plan.row_groups for _, plan in found] == [[0], [1]]
    assert pa.concat_tables([table for table, _ in found]).equals(TABLE.slice(0, 2_900))
    assert decoding.calls[-1] == ([1], True, True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("read", "name"),
    [
        (decoded, "TURN_BYTES"),
        (decoded, "WAVE_BYTES"),
        (lambda footer, plan, *_: fetched_waves(footer, plan), "WAVE_BYTES"),
    ],
)
def test_a_forked_child_is_told_that_what_its_parent_has_begun_ends_there(
    footer: ParquetFooter, monkeypatch: pytest.MonkeyPatch, read: Any, name: str
) -> None:
    monkeypatch.setattr(pa, "cpu_count", lambda: 2)
    monkeypatch.setattr(parquet_decoding, name, 100_000)
    parts = read(footer, footer.plan(["a"]), {}, {})
    groups = next(parts)[1].row_groups
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            list(parts)
        except TransferError as error:
            os._exit(0 if "read them anew" in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert groups + [group for _, part in parts for group in part.row_groups] == [*range(GROUPS)]


@pytest.mark.parametrize("columns", [["a"], ["a", "c"]])
def test_a_single_part_is_left_to_the_threads_of_arrow(
    footer: ParquetFooter, decoding: Decoding, columns: list[str]
) -> None:
    assert tables(footer, columns)[0].equals(TABLE.select(columns))
    assert decoding.calls == [([*range(GROUPS)], True, True)]


def test_more_columns_than_parts_are_left_to_the_threads_of_arrow(
    footer: ParquetFooter, decoding: Decoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pa, "cpu_count", lambda: 4)
    monkeypatch.setattr(parquet_decoding, "TURN_BYTES", 600_000)
    assert pa.concat_tables(tables(footer, ["a", "b", "c"])).equals(TABLE.select(["a", "b", "c"]))
    assert decoding.calls == [([*range(6)], True, True), ([*range(6, GROUPS)], True, True)]


@pytest.mark.parametrize("turn", [80_000, 2**20])
def test_who_wants_no_threads_has_none(
    footer: ParquetFooter, decoding: Decoding, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    monkeypatch.setattr(parquet_decoding, "TURN_BYTES", turn)
    assert pa.concat_tables(tables(footer, ["b"], use_threads=False)).equals(TABLE.select(["b"]))
    assert {(here, threads) for _, here, threads in decoding.calls} == {(True, False)}


def test_an_object_that_is_here_in_one_piece_is_decoded_in_one(
    footer: ParquetFooter, decoding: Decoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_decoding, "TURN_BYTES", 80_000)
    assert [table.equals(TABLE) for table in tables(footer, None)] == [True]
    assert decoding.calls == [([*range(GROUPS)], True, True)]


def test_whoever_has_enough_is_not_given_the_rest(
    footer: ParquetFooter, decoding: Decoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_decoding, "TURN_BYTES", 40_000)
    parts = decoded(footer, footer.plan(["a"]), {}, {})
    table, plan = next(parts)
    parts.close()  # type: ignore[attr-defined]
    assert plan.row_groups == [0]
    assert table.equals(TABLE.select(["a"]).slice(0, A_GROUP))
    assert len(decoding.calls) <= 4
