"""Datasets as frames of pandas: the types, the index and the arguments that pandas has on the plain files."""

from __future__ import annotations

import datetime as dt
import inspect
import re
from typing import TYPE_CHECKING, Any

import pandas as pd
import pandas.testing as pdt
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import arrowseal.pandas as spd
from arrowseal import using
from arrowseal.exceptions import (
    ColumnNotFoundError,
    ConfigurationError,
    ObjectNotFoundError,
    SchemaMismatchError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lake import Lake


KNOWS_ITS_ARGUMENTS = "to_pandas_kwargs" in inspect.signature(pd.read_parquet).parameters  # from pandas 3 on


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


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_chunks_cost_no_more_than_their_files(lake: Lake, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    looked: list[str] = []
    frames: list[Any] = []

    class Looked(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            looked.append(name)
            return super().get(name, default)

    keys, make = ds.get_partition_keys, pd.read_feather
    monkeypatch.setattr(ds, "get_partition_keys", lambda expression: Looked(keys(expression)))
    monkeypatch.setattr(pd, "read_feather", lambda *args, **kwargs: frames.append(args) or make(*args, **kwargs))
    frame = pd.DataFrame({"v": range(40)})
    for k in range(40):
        getattr(spd, f"to_{suffix}")(frame.iloc[k : k + 1], f"s3://lake/t/k={k:02}/a.{suffix}", index=False)
    read: Any = getattr(spd, f"read_{suffix}")
    for chunked, sizes in ((True, [1] * 40), (15, [15, 15, 10])):
        looked.clear()
        frames.clear()
        chunks = list(read("s3://lake/t/", dataset=True, chunked=chunked))
        assert [len(chunk) for chunk in chunks] == sizes
        assert pd.concat(chunks)["k"].astype(int).tolist() == list(range(40))
        assert len(looked) <= 3 * 40, "a partition is looked at a few times, not for each chunk"
        assert len(frames) == (len(sizes) if suffix == "parquet" else 0)
    if suffix == "parquet":
        assert [chunk.shape for chunk in read("s3://lake/t/", columns=[], chunked=30)] == [(30, 0), (10, 0)]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"filters": [("v", "=", 1)]},
        {"columns": ["year", "v"]},
        {"dtype_backend": "pyarrow"},
        {"dtype_backend": "numpy_nullable"},
        *([{"to_pandas_kwargs": {"strings_to_categorical": True}}] if KNOWS_ITS_ARGUMENTS else []),
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
    pdt.assert_frame_equal(in_order(spd.read_parquet("s3://lake/t/", **arguments)), plain)
    chunks = list(spd.read_parquet("s3://lake/t/", chunked=True, **arguments))
    pdt.assert_frame_equal(in_order(pd.concat(chunks)), plain)


@pytest.mark.parametrize(
    "arguments",
    [
        {"partitioning": ds.partitioning(pa.schema([("year", pa.string())]), flavor="hive")},
        {"partitioning": None},
        {"schema": pa.schema([("v", pa.int32())])},
        {"schema": pa.schema([("v", pa.int32()), ("year", pa.int64())])},
        {"pre_buffer": False},
        {"ignore_prefixes": ["year=2013"]},
        {"ignore_prefixes": None, "schema": None},
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


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("name", ["skiprows", "na_values"])
def test_an_iterator_says_the_same_of_each_file(lake: Lake, name: str, chunked: Any) -> None:
    lake.put({f"t/{at}.csv": b"v\n1\n2\n3\n" for at in range(3)})
    arguments: dict[str, Any] = {"chunked": chunked}
    told = [spd.read_csv("s3://lake/t/", **arguments, **{name: kind([1, 2])}) for kind in (iter, list)]
    given, expected = [pd.concat(list(one)) if chunked else one for one in told]
    pdt.assert_frame_equal(given, expected)


@pytest.mark.skipif(not KNOWS_ITS_ARGUMENTS, reason="this pandas takes no to_pandas_kwargs")
@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
@pytest.mark.parametrize(
    "options", [{"split_blocks": True}, {"ignore_metadata": True}, {"date_as_object": False}], ids=str
)
def test_options_of_to_pandas_leave_the_types_that_were_asked_for(
    lake: Lake, tmp_path: Path, backend: Any, options: dict[str, Any]
) -> None:
    kinds = {f"of {kind}": pd.array([1, None], kind) for kind in ("Int8", "UInt64", "Float32", "boolean")}
    values = {"text": ["a", None], "kind": pd.Categorical(["x", "y"]), "day": [dt.date(2013, 1, 1), None]}
    frame = pd.DataFrame({"v": [1, 2], "x": [0.5, None], "year": [2012, 2013], **values, **kinds})
    here = both_written(lake, tmp_path, frame, partition_cols=["year"])
    arguments: dict[str, Any] = {"dtype_backend": backend, "to_pandas_kwargs": options}
    plain = in_order(pd.read_parquet(here, **arguments))
    pdt.assert_frame_equal(in_order(spd.read_parquet("s3://lake/t/", **arguments)), plain)
    chunks = spd.read_parquet("s3://lake/t/", chunked=True, **arguments)
    assert [dict(chunk.dtypes.drop("kind")) for chunk in chunks] == [dict(plain.dtypes.drop("kind"))] * 2
    with pytest.raises(ValueError, match="dtype_backend zz is invalid"):
        spd.read_parquet("s3://lake/t/", dtype_backend="zz", to_pandas_kwargs=options)


FRAME = pd.DataFrame({"v": range(12), "year": [2012, 2013] * 6})
INDEXES: dict[str, Any] = {
    "named": pd.Index(["a", "b", "c", "d"], name="k"),
    "without a name": pd.Index([7, 5, 3, 1]),
    "of two levels": pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["k", "l"]),
    "of times": pd.DatetimeIndex(["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"], name="at"),
    "of numbers from 0": pd.RangeIndex(4),
}


@pytest.mark.parametrize("arguments", [{}, {"columns": ["v"]}, {"columns": ["v"], "filters": [("w", ">", 0)]}], ids=str)
@pytest.mark.parametrize("index", INDEXES)
def test_the_index_comes_along_with_the_columns(
    lake: Lake, tmp_path: Path, index: str, arguments: dict[str, Any]
) -> None:
    frame = pd.DataFrame({"v": range(4), "w": 1, "year": [2012, 2012, 2013, 2013]}, index=INDEXES[index])
    here = both_written(lake, tmp_path, frame, partition_cols=["year"])
    plain = pd.read_parquet(here, **arguments)
    pdt.assert_frame_equal(spd.read_parquet("s3://lake/t/", **arguments), plain)
    for rows in (1, 3):
        chunks = list(spd.read_parquet("s3://lake/t/", chunked=rows, **arguments))
        assert [len(chunk) for chunk in chunks] == ([1, 1, 1, 1] if rows == 1 else [3, 1])
        joined = pd.concat(chunks, ignore_index=index == "of numbers from 0")
        pdt.assert_frame_equal(joined, plain)


def test_an_index_needs_no_request_of_its_own(lake: Lake) -> None:
    spd.to_parquet(FRAME.set_index(FRAME["v"].rename("k")), "s3://lake/w", partition_cols=["year"])
    lake.forget()
    assert spd.read_parquet("s3://lake/w/", columns=["v"]).index.name == "k"
    assert len(lake.asked("GetObject")) == 2


@pytest.mark.parametrize("name", ["filter", "unify_schemas", "two_passes", "no_such_argument"])
@pytest.mark.parametrize("read", [spd.read_parquet, spd.read_orc])
def test_an_argument_that_pandas_does_not_take_is_refused_before_any_request(lake: Lake, read: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
        read("s3://lake/t/", **{name: True})
    assert lake.s3.log == []


def test_a_dataset_of_which_no_partition_is_accepted_is_empty(lake: Lake) -> None:
    spd.to_parquet(FRAME.assign(text="x"), "s3://lake/w", partition_cols=["year"])
    read = spd.read_parquet("s3://lake/w/", partition_filter=lambda _: False)
    assert read.dtypes.drop("year").equals(spd.read_parquet("s3://lake/w/").dtypes.drop("year"))
    assert (len(read), read["year"].dtype.categories.tolist()) == (0, [])
    assert list(spd.read_parquet("s3://lake/w/", partition_filter=lambda _: False, chunked=True)) == []


def test_text_of_which_no_partition_is_accepted_is_empty(lake: Lake) -> None:
    spd.to_csv(FRAME[["v"]], "s3://lake/c/year=2012/a.csv", index=False)
    read = spd.read_csv("s3://lake/c/", partition_filter=lambda _: False)
    assert (len(read), list(read.columns), read["v"].dtype) == (0, ["v", "year"], "int64")
    assert read["year"].dtype.categories.tolist() == []
    assert list(spd.read_csv("s3://lake/c/", partition_filter=lambda _: False, chunked=3)) == []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_column_that_is_not_there_is_told_from_those_that_are(lake: Lake, chunked: bool) -> None:
    spd.to_parquet(FRAME, "s3://lake/w", partition_cols=["year"])

    def read(**arguments: Any) -> None:
        list(spd.read_parquet("s3://lake/w/", chunked=chunked, **arguments))

    with pytest.raises(ColumnNotFoundError, match=re.escape("no column 'k': it has ['v', 'year']")):
        read(columns=["k"])
    with pytest.raises(ColumnNotFoundError, match=re.escape("no column 'k': it has ['v', 'year']")):
        read(columns=["v", "k"], filters=[("v", "<", 3)])
    for unknown in ([("k", "=", 1)], [("year", "=", 2012), ("k", "=", 1)]):
        with pytest.raises(ColumnNotFoundError, match="a column of the filter is not there"):
            read(filters=unknown)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    "columns",
    [
        (pd.Categorical(["x", "y"]), ["z", None]),
        (["z", None], pd.Categorical(["x", "y"])),
        (pd.Categorical(["x", "y"]), pd.Categorical(["z", "x"], ordered=True)),
        (pd.Categorical(["x", None]), pd.array(["z", "a"], "string[pyarrow]"), pd.Categorical(["w"])),
        (pd.Categorical([2, 1]), [3, 4]),
    ],
    ids=["first", "second", "ordered", "more than two", "numbers"],
)
def test_categories_of_some_files_are_values_beside_those_of_others(
    lake: Lake, tmp_path: Path, columns: tuple[Any, ...], chunked: bool
) -> None:
    frames = [pd.DataFrame({"kind": column}) for column in columns]
    for at, frame in enumerate(frames):
        frame.to_parquet(tmp_path / f"{at}.parquet")
    lake.seal(tmp_path, "k/")
    read = spd.read_parquet("s3://lake/k/", chunked=chunked)
    whole = pd.concat(list(read)) if chunked else read
    assert whole["kind"].dropna().tolist() == pd.read_parquet(tmp_path)["kind"].dropna().tolist()
    assert whole["kind"].isna().tolist() == [missing for frame in frames for missing in frame["kind"].isna()]


UUIDS = pa.array([b"0123456789abcdef"], pa.binary(16))


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array(["x"]), pa.array(["y"], pa.string_view())),
        (pa.array(["x"], pa.large_string()), pa.array(["y"], pa.string_view())),
        (pa.array([b"x"]), pa.array([b"y"], pa.binary_view())),
        (pa.array([{"q": "x"}]), pa.array([{"q": "y"}], pa.struct({"q": pa.string_view()}))),
        (UUIDS, UUIDS.cast(pa.uuid())),
        (pa.array(["1"]), pa.array(["2"]).cast(pa.json_())),
    ],
    ids=lambda values: str(values.type),
)
def test_views_and_extensions_go_together_with_what_they_are_made_of_as_in_pandas(
    lake: Lake, tmp_path: Path, one: pa.Array, other: pa.Array, swapped: bool
) -> None:
    for at, values in enumerate((other, one) if swapped else (one, other)):
        pq.write_table(pa.table({"v": values}), tmp_path / f"{at}.parquet")
    lake.seal(tmp_path, "k/")
    pdt.assert_frame_equal(spd.read_parquet("s3://lake/k/"), pd.read_parquet(tmp_path))


class Celsius(pa.ExtensionType):
    """A type as users of pyarrow make them, which have no hash."""

    def __init__(self) -> None:
        super().__init__(pa.int32(), "tests.celsius")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, _storage: pa.DataType, _serialized: bytes) -> Celsius:
        return cls()


@pytest.fixture
def celsius() -> Iterator[Celsius]:
    pa.register_extension_type(Celsius())
    yield Celsius()
    pa.unregister_extension_type("tests.celsius")


@pytest.mark.parametrize("stored", [False, True])
def test_extension_types_of_users_come_as_in_pandas(lake: Lake, tmp_path: Path, celsius: Celsius, stored: bool) -> None:
    degrees = pa.array([20, None, -3], pa.int32())
    extended = pa.ExtensionArray.from_storage(celsius, degrees)
    for at, values in enumerate((extended, degrees if stored else extended)):
        pq.write_table(pa.table({"v": range(3), "degrees": values}), tmp_path / f"{at}.parquet")
    lake.seal(tmp_path, "k/")
    pdt.assert_frame_equal(spd.read_parquet("s3://lake/k/"), pd.read_parquet(tmp_path))
    found = spd.read_parquet("s3://lake/k/", filters=[("v", ">", 1)])
    pdt.assert_frame_equal(found, pd.read_parquet(tmp_path, filters=[("v", ">", 1)]))


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("zones", [("UTC", "Europe/Paris"), ("Europe/Paris", "UTC", "America/New_York")])
def test_moments_are_in_the_zone_of_the_first_file_as_in_pandas(
    lake: Lake, tmp_path: Path, zones: tuple[str, ...], chunked: bool
) -> None:
    for at, zone in enumerate(zones):
        moments = pd.to_datetime(["2020-07-01T12:00Z", None]).tz_convert(zone).as_unit("us")
        pd.DataFrame({"v": moments}).to_parquet(tmp_path / f"{at}.parquet")
    lake.seal(tmp_path, "k/")
    read = spd.read_parquet("s3://lake/k/", chunked=chunked)
    pdt.assert_frame_equal(pd.concat(read, ignore_index=True) if chunked else read, pd.read_parquet(tmp_path))


def test_times_with_a_zone_and_without_do_not_go_together(lake: Lake) -> None:
    times = pd.to_datetime(["2020-07-01"])
    lake.put({f"k/{at}.parquet": frame_bytes(column) for at, column in enumerate((times, times.tz_localize("UTC")))})
    with pytest.raises(SchemaMismatchError, match="Field kind"):
        spd.read_parquet("s3://lake/k/")


def test_categories_beside_other_values_do_not_go_together(lake: Lake) -> None:
    lake.put({f"k/{at}.parquet": frame_bytes(column) for at, column in enumerate((pd.Categorical(["x"]), [1]))})
    with pytest.raises(SchemaMismatchError, match="Field kind"):
        spd.read_parquet("s3://lake/k/")


@pytest.mark.parametrize("chunked", [False, True, 3])
@pytest.mark.parametrize("filters", [None, [("v", ">", 1)]])
def test_columns_that_nobody_asked_for_need_not_go_together(lake: Lake, chunked: Any, filters: Any) -> None:
    for at, kind in enumerate((["x", "y"], [1, 2])):
        index = pd.Index([at, at + 10], name="i")
        lake.put({f"k/{at}.parquet": frame_bytes(kind, v=[at, at + 2.5], index=index)})
    read: Any = spd.read_parquet("s3://lake/k/", columns=["v"], filters=filters, chunked=chunked)
    whole = pd.concat(read) if chunked else read
    rows = {0: 0.0, 10: 2.5, 1: 1.0, 11: 3.5}
    kept = {at: v for at, v in rows.items() if filters is None or v > 1}
    pdt.assert_frame_equal(whole, pd.DataFrame({"v": kept.values()}, pd.Index(kept.keys(), name="i")))
    for asked in ({"columns": ["kind"]}, {"columns": ["v"], "filters": [("kind", "=", 1)]}, {}):
        with pytest.raises(SchemaMismatchError, match="kind"):
            list(spd.read_parquet("s3://lake/k/", chunked=True, **asked))


def frame_bytes(column: Any, index: Any = None, **others: Any) -> bytes:
    return bytes(pd.DataFrame({"kind": column, **others}, index).to_parquet())


@pytest.mark.parametrize("read", [spd.read_parquet, spd.read_csv])
def test_a_prefix_without_its_slash_is_told_how_it_is_read(lake: Lake, read: Any) -> None:
    spd.to_parquet(FRAME, "s3://lake/w", partition_cols=["year"])
    lake.forget()
    with pytest.raises(ObjectNotFoundError, match=r"s3://lake/w: no such object.*; a prefix .* slash .* dataset=True$"):
        read("s3://lake/w")
    assert {seen.operation for seen in lake.s3.log} <= {"GetObject", "HeadObject"}
    for arguments in ({"dataset": False}, {"version_id": "of-another-time"}):
        with pytest.raises(ObjectNotFoundError) as caught:
            read("s3://lake/w", **arguments)
        assert "dataset=True" not in str(caught.value)


@pytest.mark.parametrize("read", [spd.read_csv, spd.read_json], ids=["csv", "json"])
def test_a_read_of_many_texts_has_one_progress(lake: Lake, read: Any) -> None:
    text = b"n\n1\n" if read is spd.read_csv else b'[{"n": 1}]'
    lake.put({f"t/{at}": text for at in range(5)})
    stored = sum(len(stored.body) for stored in lake.s3.server.objects.values())
    told: list[tuple[int, int | None, str]] = []

    def tell(done: int, total: int | None, location: object) -> None:
        told.append((done, total, str(location)))

    assert len(read("s3://lake/t/", progress=tell)) == 5
    assert (told[0], told[-1]) == ((0, stored, "s3://lake/t/"), (stored, stored, "s3://lake/t/"))
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    with pytest.raises(ConfigurationError, match="progress= is True, False, or a function"):
        read("s3://lake/t/", progress="yes")


def test_texts_that_come_in_parts_tell_their_own_progress(lake: Lake) -> None:
    lake.put({f"t/{at}.csv": b"n\n1\n" for at in range(3)})
    told = set()
    parts = spd.read_csv("s3://lake/t/", chunked=True, progress=lambda done, total, location: told.add(location.key))
    assert len([*parts]) == 3
    assert told == {f"t/{at}.csv" for at in range(3)}
