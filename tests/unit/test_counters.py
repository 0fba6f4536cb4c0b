"""Counting operations: what makes a row, what joins one, and the frames of it."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from arrowseal.counters import COLUMNS, Counters, Operation
from arrowseal.exceptions import MissingExtraError
from arrowseal.location import ObjectLocation
from arrowseal.store_boto3 import Boto3Store
from arrowseal.tables.lazy import _Current

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = ObjectLocation("lake", "2013/flights.csv.gz")


def counted(counters: Counters, operation: str = "get", key: str = "a.csv") -> None:
    with counters.operation(operation, ObjectLocation("lake", key)) as op:
        op.encryption = "CSE V3"


def test_an_operation_leaves_one_row_with_what_was_set() -> None:
    counters = Counters()
    before = datetime.now(UTC)
    with counters.operation("read_csv", HERE) as op:
        op.encryption, op.rows = "CSE V2", 3
        op.plaintext_bytes += 10
        op.stored_bytes += 26
        op.requests += 2
        op.count_kms("GenerateDataKey", "alias/tables")
    (record,) = counters
    assert (record.bucket, record.key, record.operation) == ("lake", "2013/flights.csv.gz", "read_csv")
    assert (record.encryption, record.rows) == ("CSE V2", 3)
    assert (record.plaintext_bytes, record.stored_bytes, record.requests, record.kms_calls) == (10, 26, 2, 1)
    assert before <= record.timestamp <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("key", "file_type"),
    [
        ("a.csv", "csv"),
        ("a.CSV.GZ", "csv"),
        ("x/2013.01.parquet", "parquet"),
        ("a.json.zst", "json"),
        ("a.gz", None),
        ("dir.d/name", None),
        ("", None),
    ],
)
def test_the_file_type_is_the_extension_without_compression(key: str, file_type: str | None) -> None:
    counters = Counters()
    counted(counters, key=key)
    assert [record.file_type for record in counters] == [file_type]


def test_a_file_type_that_is_given_wins() -> None:
    counters = Counters()
    with counters.operation("read_csv", ObjectLocation("lake", "a.txt"), file_type="csv"):
        pass
    assert [record.file_type for record in counters] == ["csv"]


def test_an_operation_within_another_joins_it() -> None:
    counters = Counters()
    with counters.operation("read_csv", HERE) as outer:
        with counters.operation("get", HERE) as inner:
            inner.requests += 1
        assert inner is outer
    assert [(record.operation, record.requests) for record in counters] == [("read_csv", 1)]


def test_operations_of_two_clients_that_nest_are_counted_each_by_its_own() -> None:
    here, there = Counters(), Counters()
    with here.operation("outer", HERE), there.operation("between", HERE), here.operation("inner", HERE) as op:
        op.rows = 1
    assert [(record.operation, record.rows) for record in here] == [("outer", 1)]
    assert [(record.operation, record.rows) for record in there] == [("between", None)]


def test_a_failed_operation_leaves_no_row_and_the_next_one_stands_on_its_own() -> None:
    counters = Counters()
    with pytest.raises(KeyError), counters.operation("get", HERE):
        raise KeyError
    counted(counters, "put")
    assert [record.operation for record in counters] == ["put"]


def test_operations_on_other_threads_do_not_join() -> None:
    counters = Counters()
    with counters.operation("read_csv", HERE):
        thread = threading.Thread(target=counted, args=(counters,))
        thread.start()
        thread.join()
    assert [record.operation for record in counters] == ["get", "read_csv"]


def test_operations_from_many_threads_are_all_there() -> None:
    counters = Counters()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: counted(counters), range(400)))
    assert len(counters) == 400


def test_sections_that_overlap_count_once() -> None:
    counters = Counters()
    together = threading.Barrier(4)
    with counters.operation("get", HERE) as op:

        def request() -> None:
            with op.timed("s3"):
                together.wait()
                time.sleep(0.02)

        threads = [threading.Thread(target=request) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with op.timed("kms"), op.timed("kms"):
            pass
    (record,) = counters
    assert 0.02 <= record.s3_seconds <= record.wall_seconds  # four times 0.02 if they were added up
    assert record.kms_seconds > 0
    assert record.crypto_seconds == 0


def test_a_section_within_itself_counts_from_the_outer_begin_to_the_outer_end() -> None:
    counters = Counters()
    with counters.operation("get", HERE) as op, op.timed("s3"):
        time.sleep(0.02)
        with op.timed("s3"):
            pass
    assert next(iter(counters)).s3_seconds >= 0.02


def test_a_section_that_raises_still_ends() -> None:
    counters = Counters()
    with counters.operation("get", HERE) as op:
        with pytest.raises(OSError, match="gone"), op.timed("s3"):
            raise OSError("gone")
        after = op.s3_seconds
        with op.timed("s3"):
            pass
    assert next(iter(counters)).s3_seconds >= after > 0


def test_only_the_newest_rows_are_kept() -> None:
    counters = Counters(max_records=2)
    for key in ("a", "b", "c"):
        counted(counters, key=key)
    assert [record.key for record in counters] == ["b", "c"]


def test_clear_forgets_all_rows() -> None:
    counters = Counters()
    counted(counters)
    counters.clear()
    assert len(counters) == 0


def test_the_three_frames_hold_the_same_columns_and_values() -> None:
    counters = Counters()
    counted(counters)
    counted(counters, "put", "b.parquet")
    arrow, pandas, polars = counters.to_arrow(), counters.to_pandas(), counters.to_polars()
    assert tuple(arrow.column_names) == tuple(pandas.columns) == tuple(polars.columns) == COLUMNS
    assert arrow.schema.field("timestamp").type == pa.timestamp("us", tz="UTC")
    assert arrow.to_pylist() == polars.to_dicts()
    assert list(pandas["operation"]) == arrow["operation"].to_pylist() == ["get", "put"]


def test_no_operations_are_a_frame_with_the_same_types() -> None:
    counters = Counters()
    empty = counters.to_arrow().schema
    counted(counters)
    assert counters.to_arrow().schema == empty
    assert len(Counters().to_pandas()) == 0


def test_rows_cannot_be_changed() -> None:
    counters = Counters()
    counted(counters)
    with pytest.raises(AttributeError):
        next(iter(counters)).rows = 7  # type: ignore[misc]


def test_the_notebook_table_shows_the_last_rows_and_escapes_keys() -> None:
    counters = Counters()
    for at in range(12):
        counted(counters, key=f"<b>{at}</b>.csv")
    shown = counters._repr_html_()
    assert "12 operations, the last 10" in shown
    assert "<b>" not in shown
    assert "&lt;b&gt;11&lt;/b&gt;.csv" in shown
    assert "&lt;b&gt;1&lt;/b&gt;.csv" not in shown


@pytest.mark.parametrize(("method", "module"), [("to_pandas", "pandas"), ("to_polars", "polars")])
def test_a_frame_of_a_library_that_is_missing_names_the_extra(
    method: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"arrowseal\[{module}\]"):
        getattr(Counters(), method)()


def test_counts_of_rows_stay_integers_in_pandas_where_some_are_missing() -> None:
    counters = Counters()
    counted(counters)
    with counters.operation("read_csv", HERE) as operation:
        operation.rows = 336_776
    rows = counters.to_pandas()["rows"]
    assert str(rows.dtype) == "Int64"
    assert rows.isna().tolist() == [True, False]
    assert rows[1] == 336_776


def test_requests_of_many_threads_all_count_also_through_what_stands_for_an_operation() -> None:
    operation, often = Operation("scan_parquet", HERE), 5_000
    store: Any = Boto3Store(lambda: None)  # type: ignore[arg-type, return-value]
    stand_in: Any = _Current(operation)  # whose fields are read and set by functions, between which threads change
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            for _ in range(4):
                pool.submit(lambda: [store.request(HERE, stand_in, "GetObject", {}) for _ in range(often)])
    finally:
        sys.setswitchinterval(before)
    assert operation.requests == 4 * often


def test_the_peak_is_the_most_that_was_held_at_a_time_by_all_threads() -> None:
    counters = Counters()
    together = threading.Barrier(4)
    with counters.operation("put", HERE) as op:

        def part() -> None:
            op.hold(10)
            together.wait()
            op.release(10)

        threads = [threading.Thread(target=part) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        op.hold(25)
        op.release(25)
    assert next(iter(counters)).peak_memory_bytes == 40


def test_making_a_table_of_bytes_is_time_of_its_own_in_the_frame() -> None:
    counters = Counters()
    with counters.operation("read_csv", HERE) as op, op.timed("decode"):
        time.sleep(0.01)
    frame = counters.to_pandas()
    assert frame["decode_seconds"][0] >= 0.01
    assert str(frame["peak_memory_bytes"].dtype) == "int64"


def test_kms_calls_are_told_by_api_and_key_and_add_up_to_the_column() -> None:
    counters = Counters()
    for key, reads in (("arn:a", 2), ("arn:b", 1)):
        with counters.operation("get", HERE) as op:
            op.count_kms("GenerateDataKey", key)
            for _ in range(reads):
                op.count_kms("Decrypt", key)
    calls = counters.kms_calls_by_key()
    assert list(calls) == [
        ("Decrypt", "arn:a", 2),
        ("Decrypt", "arn:b", 1),
        ("GenerateDataKey", "arn:a", 1),
        ("GenerateDataKey", "arn:b", 1),
    ]
    assert calls.total == sum(counters.to_pandas()["kms_calls"]) == calls.to_polars()["calls"].sum() == 5
    assert list(calls.to_pandas().columns) == ["api", "kms_key", "calls"]
    assert "kms_calls_by_key" not in counters.to_arrow().column_names
    assert "<td>arn:b</td>" in calls._repr_html_()


def test_no_kms_calls_are_an_empty_frame_with_its_types() -> None:
    frame = Counters().kms_calls_by_key().to_arrow()
    assert (frame.num_rows, [str(field.type) for field in frame.schema]) == (0, ["string", "string", "int64"])


def test_cleared_counters_forget_their_kms_calls() -> None:
    counters = Counters()
    with counters.operation("get", HERE) as op:
        op.count_kms("Decrypt", "arn:a")
    counters.clear()
    assert counters.kms_calls_by_key().total == 0


@pytest.mark.parametrize("travelled", [lambda it: pickle.loads(pickle.dumps(it)), copy.copy, copy.deepcopy])
def test_a_pickle_and_a_copy_have_the_rows_and_the_bound_and_count_on_their_own(
    travelled: Callable[[Counters], Counters],
) -> None:
    counters = Counters(max_records=2)
    for key in ("one", "two"):
        with counters.operation("get", ObjectLocation("b", key)) as operation:
            operation.count_kms("Decrypt", "arn")
    other = travelled(counters)
    assert other.to_arrow().equals(counters.to_arrow())
    assert list(other.kms_calls_by_key()) == list(counters.kms_calls_by_key())
    with other.operation("get", ObjectLocation("b", "three")):
        pass
    assert [record.key for record in other] == ["two", "three"]
    assert [record.key for record in counters] == ["one", "two"]
