"""Datasets as frames of pandas: the types, the index and the arguments that pandas has on the plain files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pandas.testing as pdt
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

import arrowseal.pandas as spd
from arrowseal import using

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lake import Lake


@pytest.fixture(autouse=True)
def _by_default(lake: Lake) -> Iterator[None]:
    with using(lake.client):
        yield


def both_written(lake: Lake, directory: Path, frame: pd.DataFrame, **arguments: Any) -> Path:
    """What pandas writes into a directory, and the same files in the lake."""
    frame.to_parquet(directory / "t", **arguments)
    lake.seal(directory / "t", "t/")
    return directory / "t"


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values("v", ignore_index=True)


YEARS: dict[str, Any] = {
    "text of numbers": ["2012", "2013"],
    "text of Arrow": pd.array(["2012", "2013"], "string[pyarrow]"),
    "zeros and signs": ["01", "-1"],
    "numbers": [10, 9],
    "categories": pd.Categorical(["2012", "2013"]),
    "times": pd.to_datetime(["2020-01-01", "2020-01-02"]),
    "text": ["a", "b"],
}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"filters": [("v", "=", 1)]},
        {"columns": ["year", "v"]},
        {"dtype_backend": "pyarrow"},
        {"dtype_backend": "numpy_nullable"},
        {"to_pandas_kwargs": {"strings_to_categorical": True}},
    ],
    ids=str,
)
@pytest.mark.parametrize("years", YEARS)
def test_a_partition_is_the_category_that_pandas_makes_of_its_path(
    lake: Lake, tmp_path: Path, years: str, arguments: dict[str, Any]
) -> None:
    here = both_written(lake, tmp_path, pd.DataFrame({"v": [1, 2], "year": YEARS[years]}), partition_cols=["year"])
    plain = in_order(pd.read_parquet(here, **arguments))
    assert not plain["year"].isna().any()
    pdt.assert_frame_equal(in_order(spd.read_parquet("s3://lake/t/", **arguments)), plain, check_categorical=False)
    chunks = list(spd.read_parquet("s3://lake/t/", chunked=True, **arguments))
    pdt.assert_frame_equal(in_order(pd.concat(chunks)), plain, check_categorical=False)


@pytest.mark.parametrize(
    "arguments",
    [
        {"partitioning": ds.partitioning(pa.schema([("year", pa.string())]), flavor="hive")},
        {"partitioning": None},
        {"schema": pa.schema([("v", pa.int32())])},
        {"schema": pa.schema([("v", pa.int32()), ("year", pa.int64())])},
        {"pre_buffer": False},
        {"ignore_prefixes": ["year=2013"]},
        {"read_dictionary": ["text"]},
        {"coerce_int96_timestamp_unit": "ms"},
    ],
    ids=lambda arguments: ", ".join(f"{name} {type(value).__name__}" for name, value in arguments.items()),
)
def test_arguments_of_pyarrow_say_what_they_say_to_pandas(
    lake: Lake, tmp_path: Path, arguments: dict[str, Any]
) -> None:
    frame = pd.DataFrame({"v": [1, 2], "text": ["x", "y"], "year": ["2012", "2013"]})
    here = both_written(lake, tmp_path, frame, partition_cols=["year"])
    plain = in_order(pd.read_parquet(here, **arguments))
    pdt.assert_frame_equal(in_order(spd.read_parquet("s3://lake/t/", **arguments)), plain)
