"""CSE against no-CSE: how repeated operations are taken together, and the chart."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal.comparison import summarise
from arrowseal.counters import COLUMNS, Counters, OperationRecord
from arrowseal.exceptions import MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path


def record(operation: str = "read_csv", encryption: str | None = "CSE V3", **fields: Any) -> OperationRecord:
    values: dict[str, Any] = {
        "timestamp": datetime.now(UTC),
        "bucket": "lake",
        "key": "a.csv",
        "file_type": "csv",
        "operation": operation,
        "encryption": encryption,
        "rows": 10,
        "plaintext_bytes": 1_000_000,
        "stored_bytes": 1_000_016,
        "wall_seconds": 1.0,
        "cpu_seconds": 0.5,
        "kms_seconds": 0.0,
        "s3_seconds": 0.0,
        "crypto_seconds": 0.0,
        "requests": 1,
        "kms_calls": 0,
    }
    return OperationRecord(**(values | fields))


def rows(*records: OperationRecord) -> dict[tuple[str, str | None, str], dict[str, Any]]:
    table = summarise(records).to_pylist()
    return {(row["operation"], row["file_type"], row["encryption"]): row for row in table}


def counters_with(*records: OperationRecord) -> Counters:
    counters = Counters()
    for each in records:
        row = [getattr(each, name) for name in COLUMNS]
        counters._rows.append((each.timestamp.timestamp(), *row[1:], each.kms_calls_by_key))
    return counters


def test_repeated_operations_give_medians_and_sums_over_sums() -> None:
    summary = rows(
        *(
            record(wall_seconds=wall, cpu_seconds=wall / 2, plaintext_bytes=size, requests=requests, kms_calls=calls)
            for wall, size, requests, calls in [(1.0, 1_000_000, 1, 1), (2.0, 2_000_000, 2, 0), (9.0, 9_000_000, 3, 0)]
        )
    )
    row = summary["read_csv", "csv", "CSE V3"]
    assert row["operations"] == 3
    assert row["wall_seconds_median"] == 2.0
    assert row["cpu_seconds_median"] == 1.0
    assert row["wall_seconds_mean"] == 4.0
    assert row["plaintext_bytes"] == 12_000_000
    assert row["megabytes_per_second"] == pytest.approx(1.0)
    assert row["requests_per_operation"] == 2.0
    assert row["kms_calls_per_operation"] == pytest.approx(1 / 3)


def test_throughput_is_not_the_mean_of_throughputs() -> None:
    row = rows(record(wall_seconds=1.0), record(wall_seconds=3.0))["read_csv", "csv", "CSE V3"]
    assert row["megabytes_per_second"] == pytest.approx(0.5)  # the mean of 1 and 1/3 would be 0.67


def test_arms_are_compared_within_their_operation_and_file_type_only() -> None:
    summary = rows(
        record(encryption="PLAIN", wall_seconds=1.0, cpu_seconds=1.0),
        record(encryption="CSE V3", wall_seconds=1.5, cpu_seconds=3.0),
        record("to_csv", encryption="CSE V3", wall_seconds=7.0),
        record(encryption="CSE V3", file_type="parquet", wall_seconds=7.0),
    )
    assert summary["read_csv", "csv", "CSE V3"]["wall_ratio"] == pytest.approx(1.5)
    assert summary["read_csv", "csv", "CSE V3"]["cpu_ratio"] == pytest.approx(3.0)
    assert summary["read_csv", "csv", "CSE V3"]["baseline"] == "PLAIN"
    assert summary["read_csv", "csv", "PLAIN"]["wall_ratio"] == 1.0
    for alone in (("to_csv", "csv", "CSE V3"), ("read_csv", "parquet", "CSE V3")):
        assert summary[alone]["wall_ratio"] is None
        assert summary[alone]["baseline"] is None


def test_plain_is_the_baseline_even_beside_server_side_encryption() -> None:
    summary = rows(
        record(encryption="SSE-S3", wall_seconds=4.0), record(encryption="PLAIN", wall_seconds=2.0), record()
    )
    assert summary["read_csv", "csv", "CSE V3"]["wall_ratio"] == pytest.approx(0.5)
    assert summary["read_csv", "csv", "SSE-S3"]["wall_ratio"] == pytest.approx(2.0)


def test_without_plain_the_other_arms_are_the_baseline_together() -> None:
    summary = rows(
        record(encryption="SSE-KMS", wall_seconds=4.0),
        record(encryption="SSE-S3", wall_seconds=2.0),
        record(encryption="CSE V3", wall_seconds=6.0),
        record(encryption="CSE V2", wall_seconds=3.0),
    )
    assert summary["read_csv", "csv", "CSE V3"]["wall_ratio"] == pytest.approx(2.0)
    assert summary["read_csv", "csv", "CSE V3"]["baseline"] == "SSE-S3, SSE-KMS"
    assert summary["read_csv", "csv", "CSE V2"]["wall_ratio"] == pytest.approx(1.0)


def test_the_parts_add_up_to_the_mean() -> None:
    row = rows(
        record(wall_seconds=1.0, kms_seconds=0.25, s3_seconds=0.5, crypto_seconds=0.125),
        record(wall_seconds=3.0, kms_seconds=0.75, s3_seconds=0.5, crypto_seconds=0.375, decode_seconds=1.0),
    )["read_csv", "csv", "CSE V3"]
    parts = [row[f"{part}_seconds_mean"] for part in ("kms", "s3", "crypto", "decode", "other")]
    assert parts == [0.5, 0.5, 0.25, 0.5, 0.25]
    assert sum(parts) == row["wall_seconds_mean"]


def test_memory_is_that_of_the_largest_and_what_was_resumed_is_summed() -> None:
    row = rows(
        record(peak_memory_bytes=300, retries=1, resumed_bytes=10),
        record(peak_memory_bytes=100, retries=2, resumed_bytes=20),
    )["read_csv", "csv", "CSE V3"]
    assert (row["peak_memory_bytes"], row["retries_per_operation"], row["resumed_bytes"]) == (300, 1.5, 30)


def test_overlapping_parts_leave_no_negative_rest() -> None:
    row = rows(record(wall_seconds=1.0, s3_seconds=0.9, crypto_seconds=0.8))["read_csv", "csv", "CSE V3"]
    assert row["other_seconds_mean"] == 0.0


def test_operations_of_unknown_encryption_are_left_out() -> None:
    assert summarise([record("list", encryption=None)]).num_rows == 0


def test_arms_come_in_one_order_and_operations_as_they_first_came() -> None:
    table = summarise([record("to_csv"), record(), record("to_csv", "SSE-S3"), record("to_csv", "PLAIN")])
    assert list(zip(table["operation"].to_pylist(), table["encryption"].to_pylist(), strict=True)) == [
        ("to_csv", "PLAIN"),
        ("to_csv", "SSE-S3"),
        ("to_csv", "CSE V3"),
        ("read_csv", "CSE V3"),
    ]


def test_an_empty_summary_has_the_same_columns() -> None:
    assert Counters().summary().schema == summarise([record()]).schema


def test_the_chart_is_saved_and_shows_every_arm_with_its_ratio(tmp_path: Path) -> None:
    counters = counters_with(
        record(encryption="PLAIN", wall_seconds=1.0),
        record(wall_seconds=1.5, kms_seconds=0.1, s3_seconds=0.5, crypto_seconds=0.2, decode_seconds=0.3),
        record("get", file_type="bin"),
        record("get", file_type=None, key="no extension"),
    )
    path = tmp_path / "chart.png"
    figure = counters.plot(path, title="Flights")
    assert path.read_bytes().startswith(b"\x89PNG")
    medians, sections = figure.axes
    ticks = [label.get_text() for label in medians.get_yticklabels()]
    assert ticks == ["read_csv", "get · bin", "get", "PLAIN", "CSE V3", "CSE V3", "CSE V3"]
    texts = [text.get_text() for text in medians.texts]
    assert texts[:2] == ["1.00 s", "1.50 s  (1.50×)"]  # noqa: RUF001
    widths = [bar.get_width() for bar in sections.patches[5:10]]
    assert widths == pytest.approx([0.1, 0.5, 0.2, 0.3, 0.4])
    assert figure.get_suptitle() == "Flights"


def test_the_longest_bar_ends_before_the_edge_of_its_chart_where_parts_overlap() -> None:
    figure = counters_with(record(wall_seconds=1.0, s3_seconds=0.9, decode_seconds=0.8)).plot()
    for axes in figure.axes:
        longest = max(bar.get_x() + bar.get_width() for bar in axes.patches)
        assert axes.get_xlim()[1] > longest * 1.03


def test_plotting_leaves_the_backend_of_the_process_alone() -> None:
    import matplotlib

    matplotlib.use("svg", force=True)
    loaded = "matplotlib.pyplot" in sys.modules
    counters_with(record()).plot()
    assert matplotlib.get_backend() == "svg"
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_a_chart_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no operation was counted"):
        Counters().plot()


def test_a_chart_without_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"arrowseal\[plot\]"):
        counters_with(record()).plot()
