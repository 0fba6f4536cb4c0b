"""Datasets that frames of pandas are written into: parted as pandas parts them, with the arguments of pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pandas.testing as pdt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import arrowseal.pandas as spd
from arrowseal import using
from arrowseal.exceptions import ConfigurationError, ObjectExistsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lake import Lake


@pytest.fixture(autouse=True)
def _by_default(lake: Lake) -> Iterator[None]:
    with using(lake.client):
        yield


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values("v", ignore_index=True)


FRAME = pd.DataFrame({"v": range(12), "year": [2012, 2013] * 6})


def groups_of_files(directory: Path) -> list[list[int]]:
    """The rows of the row groups of each file, and nothing of the order of files."""
    files = [pq.ParquetFile(path).metadata for path in directory.rglob("*.parquet")]
    return sorted([file.row_group(at).num_rows for at in range(file.num_row_groups)] for file in files)


@pytest.mark.parametrize(
    "arguments",
    [
        {"row_group_size": 2},
        {"chunk_size": 4},
        {"max_rows_per_file": 4, "row_group_size": 2},
        {"max_rows_per_file": 5, "row_group_size": 5},
        {"basename_template": "mine-{i}.parquet"},
        {"existing_data_behavior": "overwrite_or_ignore"},
        {"schema": pa.schema([("v", pa.int16()), ("year", pa.string())])},
        {"max_partitions": 2, "max_open_files": 1, "data_page_version": "2.0"},
    ],
    ids=str,
)
def test_arguments_of_pyarrow_part_files_as_they_do_for_pandas(
    lake: Lake, tmp_path: Path, arguments: dict[str, Any]
) -> None:
    frame = FRAME.astype({"year": "str"}) if "schema" in arguments else FRAME
    frame.to_parquet(tmp_path / "plain", partition_cols=["year"], **arguments)
    spd.to_parquet(frame, "s3://lake/w", partition_cols=["year"], **arguments)
    lake.unseal("w/", tmp_path / "ours")
    assert groups_of_files(tmp_path / "ours") == groups_of_files(tmp_path / "plain")
    plain = pd.read_parquet(tmp_path / "plain")
    pdt.assert_frame_equal(in_order(pd.read_parquet(tmp_path / "ours")), in_order(plain))
    if "basename_template" in arguments:
        assert {key.rpartition("/")[2] for key in lake.keys} == {"mine-0.parquet"}


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        ({}, 24),
        ({"existing_data_behavior": "overwrite_or_ignore"}, 24),
        ({"existing_data_behavior": "overwrite_or_ignore", "basename_template": "a-{i}.parquet"}, 12),
        ({"basename_template": "a-{i}.parquet"}, 12),
        ({"existing_data_behavior": "delete_matching"}, 12),
    ],
    ids=str,
)
def test_what_is_there_already_stays_as_long_as_with_pandas(
    lake: Lake, tmp_path: Path, arguments: dict[str, Any], rows: int
) -> None:
    for _ in range(2):
        FRAME.to_parquet(tmp_path / "plain", partition_cols=["year"], **arguments)
        spd.to_parquet(FRAME, "s3://lake/w", partition_cols=["year"], **arguments)
    assert len(spd.read_parquet("s3://lake/w/")) == len(pd.read_parquet(tmp_path / "plain")) == rows
    with pytest.raises(ObjectExistsError):
        spd.to_parquet(FRAME, "s3://lake/w", partition_cols=["year"], existing_data_behavior="error")


def test_a_visitor_sees_each_file_that_was_written(lake: Lake) -> None:
    seen: list[tuple[str, int]] = []
    spd.to_parquet(
        FRAME,
        "s3://lake/w",
        partition_cols=["year"],
        file_visitor=lambda file: seen.append((file.path, file.metadata.num_rows)),
    )
    assert sorted(seen) == [(f"s3://lake/{key}", 6) for key in lake.keys]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"existing_data_behavior": "error", "mode": "append"}, ConfigurationError),
        ({"existing_data_behavior": "sometimes"}, ConfigurationError),
        ({"max_rows_by_file": 2, "max_rows_per_file": 2}, ConfigurationError),
        ({"basename_template": "no number"}, ConfigurationError),
        ({"max_partitions": 0}, ConfigurationError),
        ({"partitioning": ["year"]}, TypeError),
        ({"create_dir": False}, TypeError),
    ],
    ids=str,
)
def test_what_a_write_cannot_do_is_refused_before_any_request(
    lake: Lake, arguments: dict[str, Any], error: type[Exception]
) -> None:
    lake.forget()
    with pytest.raises(error, match=next(iter(arguments))):
        spd.to_parquet(FRAME, "s3://lake/w", partition_cols=["year"], **arguments)
    assert lake.s3.log == []
    assert lake.kms_calls("GenerateDataKey") == 0
