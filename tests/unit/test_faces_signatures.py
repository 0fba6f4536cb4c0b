"""Faces stand in for the installed libraries: the same arguments, then ours, and no request when one is wrong."""

from __future__ import annotations

import importlib
import inspect
import sys
from inspect import Parameter
from typing import Any

import pandas as pd
import polars as pl
import pytest

import arrowseal.arrow
import arrowseal.pandas
import arrowseal.polars
from arrowseal.exceptions import ConfigurationError, DirectoryKeyError, LocationError, MissingExtraError
from memory_client import MemoryClient

SHARED = {"client", "encryption", "encryption_context", "kms_key_id", "bucket", "key", "progress"}
READ = SHARED | {"allow_plaintext", "version_id", "verify_checksum"}
WRITE = SHARED | {"s3_additional_kwargs"}

DATASETS = {"dataset", "use_threads", "partition_filter", "path_suffix", "path_ignore_suffix"}
DATASETS |= {"last_modified_begin", "last_modified_end"}
OF_DATASETS: dict[Any, set[str]] = {
    arrowseal.pandas.read_csv: DATASETS | {"chunked"},
    arrowseal.pandas.read_parquet: DATASETS | {"chunked"},
    arrowseal.pandas.read_json: DATASETS | {"chunked"},
    arrowseal.pandas.read_orc: DATASETS | {"chunked"},
    arrowseal.pandas.to_parquet: {"dataset", "mode", "max_rows_by_file", "use_threads"},
    arrowseal.polars.read_parquet: DATASETS,
    arrowseal.polars.scan_parquet: DATASETS,
    arrowseal.polars.read_csv: DATASETS - {"partition_filter", "use_threads"},
    arrowseal.polars.read_ipc: DATASETS - {"partition_filter", "use_threads"},
    arrowseal.polars.read_ndjson: DATASETS - {"partition_filter", "use_threads"},
    arrowseal.polars.scan_csv: DATASETS - {"partition_filter", "use_threads"},
    arrowseal.polars.scan_ipc: DATASETS - {"partition_filter", "use_threads"},
    arrowseal.polars.scan_ndjson: DATASETS - {"partition_filter", "use_threads"},
    arrowseal.polars.write_parquet: {"dataset", "mode", "max_rows_by_file", "use_threads"},
}

READERS = [
    (arrowseal.pandas.read_csv, pd.read_csv),
    (arrowseal.pandas.read_parquet, pd.read_parquet),
    (arrowseal.pandas.read_json, pd.read_json),
    (arrowseal.pandas.read_feather, pd.read_feather),
    (arrowseal.pandas.read_orc, pd.read_orc),
    (arrowseal.polars.read_csv, pl.read_csv),
    (arrowseal.polars.read_parquet, pl.read_parquet),
    (arrowseal.polars.read_ipc, pl.read_ipc),
    (arrowseal.polars.read_ndjson, pl.read_ndjson),
    (arrowseal.polars.scan_parquet, pl.scan_parquet),
    (arrowseal.polars.scan_csv, pl.scan_csv),
    (arrowseal.polars.scan_ipc, pl.scan_ipc),
    (arrowseal.polars.scan_ndjson, pl.scan_ndjson),
]
WRITERS = [
    (arrowseal.pandas.to_csv, pd.DataFrame.to_csv),
    (arrowseal.pandas.to_parquet, pd.DataFrame.to_parquet),
    (arrowseal.pandas.to_json, pd.DataFrame.to_json),
    (arrowseal.pandas.to_feather, pd.DataFrame.to_feather),
    (arrowseal.pandas.to_orc, pd.DataFrame.to_orc),
    (arrowseal.polars.write_csv, pl.DataFrame.write_csv),
    (arrowseal.polars.write_parquet, pl.DataFrame.write_parquet),
    (arrowseal.polars.write_ipc, pl.DataFrame.write_ipc),
    (arrowseal.polars.write_ndjson, pl.DataFrame.write_ndjson),
]
FRAMES: dict[str, Any] = {"pandas": pd.DataFrame({"a": [1]}), "polars": pl.DataFrame({"a": [1]})}


def named(value: Any) -> str | None:
    return f"{value.__module__}.{value.__name__}" if callable(value) else None


def check(face: Any, library: Any, ours: set[str], *, first: int) -> None:
    """The face's parameters are the library's, the path optional, then ours by keyword, then the library's **kwargs."""
    parameters = list(inspect.signature(face).parameters.values())[first:]
    expected = list(inspect.signature(library).parameters.values())[first:]
    assert parameters[0] == expected[0].replace(default=None)
    rest = [parameter for parameter in expected[1:] if parameter.kind is not Parameter.VAR_KEYWORD]
    assert parameters[1 : len(rest) + 1] == rest
    added = [parameter for parameter in parameters[len(rest) + 1 :] if parameter.kind is Parameter.KEYWORD_ONLY]
    assert {parameter.name for parameter in added} == ours - {parameter.name for parameter in rest}
    assert all(parameter.default is None for parameter in added)
    kinds = [parameter.kind for parameter in expected]
    assert (parameters[-1].kind is Parameter.VAR_KEYWORD) == (Parameter.VAR_KEYWORD in kinds)


@pytest.mark.parametrize(("face", "library"), READERS, ids=named)
def test_readers_take_what_the_library_takes_then_ours(face: Any, library: Any) -> None:
    check(face, library, READ | OF_DATASETS.get(face, set()), first=0)


@pytest.mark.parametrize(("face", "library"), WRITERS, ids=named)
def test_writers_take_the_frame_then_what_the_library_takes_then_ours(face: Any, library: Any) -> None:
    assert next(iter(inspect.signature(face).parameters)) == "df"
    check(face, library, WRITE | OF_DATASETS.get(face, set()), first=1)


FACES = [face for face, _ in READERS + WRITERS]


def call(face: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls a face with a frame where it takes one."""
    if any(face is writer for writer, _ in WRITERS):
        library = face.__module__.partition(".")[2]
        return face(FRAMES[library], *args, **kwargs)
    return face(*args, **kwargs)


@pytest.mark.parametrize("face", FACES, ids=named)
def test_a_wrong_keyword_is_a_type_error_before_any_request(face: Any) -> None:
    client = MemoryClient()
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'separatorr'"):
        call(face, "s3://lake/a", client=client, separatorr=";")
    assert [name for name, *_ in client.calls] == []


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.csv", "a.json"])
def test_a_wrong_option_of_arrow_is_a_type_error_before_any_request(name: str) -> None:
    client = MemoryClient()
    with pytest.raises(TypeError, match="unexpected keyword argument 'separatorr'"):
        arrowseal.arrow.read_table(f"s3://lake/{name}", client=client, separatorr=";")
    with pytest.raises(TypeError, match="unexpected keyword argument 'separatorr'"):
        arrowseal.arrow.write_table(FRAMES["pandas"], f"s3://lake/{name}", client=client, separatorr=";")
    assert client.calls == []


@pytest.mark.parametrize("face", FACES, ids=named)
@pytest.mark.parametrize(
    ("place", "error"),
    [
        ({"url": "a.csv"}, LocationError),
        ({"url": "/data/a.csv"}, LocationError),
        ({"url": "https://lake.s3.amazonaws.com/a.csv"}, LocationError),
        ({"url": "gs://lake/a.csv"}, LocationError),
        ({"url": b"a,b"}, LocationError),
        ({"url": ["s3://lake/a"]}, LocationError),
        ({}, LocationError),
        ({"bucket": "lake"}, LocationError),
        ({"url": "s3://lake/a", "key": "a"}, LocationError),
        ({"url": "s3://lake/dir/"}, DirectoryKeyError),
    ],
    ids=repr,
)
def test_anything_but_one_s3_object_is_refused_before_any_request(
    face: Any, place: dict[str, Any], error: type
) -> None:
    if place.get("url") in (["s3://lake/a"], "s3://lake/dir/") and "path_suffix" in OF_DATASETS.get(face, ()):
        pytest.skip("which is a dataset")
    client = MemoryClient()
    keywords = dict(place)
    args = (keywords.pop("url"),) if "url" in keywords else ()
    with pytest.raises(error):
        call(face, *args, client=client, **keywords)
    assert client.calls == []


@pytest.mark.parametrize(
    ("face", "argument", "value"),
    [
        (arrowseal.pandas.read_csv, "storage_options", {"anon": True}),
        (arrowseal.pandas.read_parquet, "filesystem", object()),
        (arrowseal.pandas.to_parquet, "filesystem", object()),
        (arrowseal.pandas.to_csv, "mode", "a"),
        (arrowseal.pandas.to_json, "storage_options", {"anon": True}),
        (arrowseal.polars.read_parquet, "storage_options", {"aws_region": "x"}),
        (arrowseal.polars.read_csv, "credential_provider", lambda: None),
        (arrowseal.polars.scan_parquet, "hive_partitioning", True),
        (arrowseal.polars.write_parquet, "storage_options", {"aws_region": "x"}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_arguments_that_would_go_past_the_client_are_refused_by_name(face: Any, argument: str, value: Any) -> None:
    client = MemoryClient()
    with pytest.raises(ConfigurationError, match=rf"{face.__name__}\(\) takes no {argument}= here: "):
        call(face, "s3://lake/a", client=client, **{argument: value})
    assert client.calls == []


@pytest.mark.parametrize(
    ("face", "argument", "value", "way_out"),
    [
        (arrowseal.pandas.to_parquet, "partition_cols", [], "give dataset=True for many"),
        (arrowseal.polars.write_parquet, "partition_by", [], "give dataset=True for many"),
        (arrowseal.polars.scan_parquet, "hive_partitioning", True, "give a prefix .* or a list"),
        (arrowseal.polars.read_parquet, "hive_schema", {"year": int}, "give a prefix .* or a list"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_partitions_of_one_object_are_refused_with_the_way_to_many(
    face: Any, argument: str, value: Any, way_out: str
) -> None:
    client = MemoryClient()
    with pytest.raises(ConfigurationError, match=way_out):
        call(face, "s3://lake/a", client=client, **{argument: value})
    assert client.calls == []


def test_their_defaults_and_none_are_accepted() -> None:
    client = MemoryClient()
    frame = FRAMES["pandas"]
    arrowseal.pandas.to_csv(frame, "s3://lake/a.csv", index=False, mode="w", storage_options=None, client=client)
    arrowseal.polars.read_csv(
        "s3://lake/a.csv", credential_provider="auto", storage_options=None, include_file_paths=None, client=client
    )
    assert [name for name, *_ in client.calls] == ["put", "get"]


def test_our_keywords_reach_the_client_and_no_others() -> None:
    client = MemoryClient()
    arrowseal.pandas.to_csv(
        FRAMES["pandas"],
        "s3://lake/a.csv",
        index=False,
        client=client,
        kms_key_id="alias/a",
        encryption_context={"team": "weather"},
        encryption=arrowseal.CSE(),
        s3_additional_kwargs={"ContentType": "text/csv"},
    )
    arrowseal.polars.read_csv(bucket="lake", key="a.csv", client=client, allow_plaintext=True, version_id="1")
    arrowseal.arrow.read_table("s3://lake/a.csv", client=client, kms_key_id="alias/b")
    (put, get, table) = client.calls
    assert put == (
        "put",
        "s3://lake/a.csv",
        {
            "kms_key_id": "alias/a",
            "encryption_context": {"team": "weather"},
            "encryption": arrowseal.CSE(),
            "s3_additional_kwargs": {"ContentType": "text/csv"},
        },
    )
    assert get == ("get", "s3://lake/a.csv", {"allow_plaintext": True, "version_id": "1"})
    assert table[2]["kms_key_id"] == "alias/b"
    assert {name for name, value in table[2].items() if value is not None} == {"kms_key_id"}


def test_the_encryption_of_polars_files_goes_to_polars_and_ours_to_the_client() -> None:
    client = MemoryClient()
    frame = FRAMES["polars"]
    arrowseal.polars.write_parquet(frame, "s3://lake/a.parquet", encryption=arrowseal.PLAIN, client=client)
    theirs = pl.ParquetEncryptionProperties(footer_key=b"k" * 16)
    arrowseal.polars.write_parquet(frame, "s3://lake/b.parquet", encryption=theirs, client=client)
    given = [keywords.get("encryption") for _, _, keywords in client.calls]
    assert given == [arrowseal.PLAIN, None]
    assert (client.objects["a.parquet"][-4:], client.objects["b.parquet"][-4:]) == (b"PAR1", b"PARE")


def test_positional_arguments_keep_their_places() -> None:
    client = MemoryClient()
    frame = pd.DataFrame({"a": [1], "b": [2]})
    arrowseal.pandas.to_parquet(frame, "s3://lake/a.parquet", client=client)
    assert list(arrowseal.pandas.read_feather.__signature__.parameters)[:2] == ["path", "columns"]
    assert list(arrowseal.pandas.read_parquet("s3://lake/a.parquet", "pyarrow", ["b"], client=client).columns) == ["b"]


@pytest.mark.parametrize(
    ("face", "frame", "what"),
    [
        (arrowseal.pandas.to_csv, FRAMES["polars"], r"polars\."),
        (arrowseal.polars.write_csv, FRAMES["pandas"], r"pandas\."),
        (arrowseal.polars.write_csv, FRAMES["polars"].lazy(), r"collect\(\) the LazyFrame first"),
        (arrowseal.arrow.write_table, {"a": [1]}, "not dict"),
    ],
)
def test_a_frame_of_another_kind_is_refused(face: Any, frame: Any, what: str) -> None:
    client = MemoryClient()
    with pytest.raises(ConfigurationError, match=what):
        face(frame, "s3://lake/a.csv", client=client)
    assert client.calls == []


def test_the_default_client_is_asked_when_none_is_given() -> None:
    client = MemoryClient()
    with arrowseal.using(client):  # type: ignore[arg-type]
        arrowseal.pandas.to_csv(FRAMES["pandas"], "s3://lake/a.csv")
    assert [name for name, *_ in client.calls] == ["put"]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_without_the_library_its_face_names_the_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"arrowseal.{library}")
    with pytest.raises(MissingExtraError, match=rf"pip install 'arrowseal\[{library}\]'"):
        importlib.import_module(f"arrowseal.{library}")
