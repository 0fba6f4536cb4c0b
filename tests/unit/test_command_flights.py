"""The comparison of the demo: it sees every difference, and takes for equal only what is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from arrowseal.cli import flights
from arrowseal.exceptions import MissingExtraError

FRAME = pd.DataFrame(
    {
        "flight": [1, 2, 3],
        "delay": [1.5, np.nan, -2.0],
        "tail": ["N1", None, "N3"],
        "hour": pd.to_datetime(["2013-01-01T10:00Z"] * 3, utc=True).astype("datetime64[us, UTC]"),
    }
)
EXPECTED = flights.as_table(FRAME)


def changed(column: str, row: int, value: Any) -> pd.DataFrame:
    frame = FRAME.copy()
    frame.loc[row, column] = value
    return frame


@pytest.mark.parametrize("same", [FRAME, pl.from_pandas(FRAME), pa.Table.from_pandas(FRAME)])
def test_the_same_table_of_any_library_does_not_differ(same: Any) -> None:
    assert flights.differences(EXPECTED, same, typed=True) == []


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (changed("flight", 2, 4), "column flight: 1 of 3 cells differ, the first in row 2: 4 instead of 3"),
        (changed("delay", 0, 1.5000000000000002), "column delay: 1 of 3"),
        (changed("delay", 1, 0.0), "the first in row 1: 0.0 instead of None"),
        (changed("delay", 0, np.nan), "the first in row 0: None instead of 1.5"),
        (changed("tail", 1, ""), "the first in row 1: '' instead of None"),
        (changed("hour", 0, datetime(2013, 1, 1, 11, tzinfo=UTC)), "column hour: 1 of 3"),
        (FRAME.iloc[:2], "2 rows instead of 3"),
        (FRAME.drop(columns="tail"), "columns ['flight', 'delay', 'hour'] instead of"),
        (FRAME[["delay", "flight", "tail", "hour"]], "columns ['delay', 'flight'"),
    ],
)
def test_a_difference_is_told_where_it_is(frame: pd.DataFrame, words: str) -> None:
    for typed in (True, False):
        [difference] = flights.differences(EXPECTED, frame, typed=typed)
        assert words in difference


def test_a_type_that_changed_counts_where_the_format_carries_types() -> None:
    frame = FRAME.astype({"flight": "int32"})
    assert flights.differences(EXPECTED, frame, typed=True) == ["column flight: type int32 instead of int64"]
    assert flights.differences(EXPECTED, frame, typed=False) == []


def test_text_is_parsed_where_it_does_not() -> None:
    frame = FRAME.assign(hour="2013-01-01 10:00:00+00:00")
    assert flights.differences(EXPECTED, frame, typed=False) == []
    [difference] = flights.differences(EXPECTED, FRAME.assign(hour="soon"), typed=False)
    assert difference.startswith("column hour: not timestamp")


def test_the_flights_are_those_of_the_package() -> None:
    frame = flights.load(1000)
    assert frame.shape == (1000, 19)
    assert str(frame["time_hour"].dtype) == "datetime64[us, UTC]"
    assert list(frame.loc[0, ["carrier", "flight", "tailnum", "origin", "dest"]]) == [
        "UA",
        1545,
        "N14228",
        "EWR",
        "IAH",
    ]


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(flights, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"arrowseal\[demo\]"):
        flights.load()
