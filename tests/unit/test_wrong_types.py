"""Arguments of another type are refused by their names, before any request."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import arrowseal.arrow as sa
import arrowseal.pandas as spd
from arrowseal import Client, Discovery, operations, trail
from arrowseal.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from lake import Lake

CLIENT: Any = Client("alias/a", region_name="eu-west-1")
URL = "s3://lake/a.parquet"
TABLE = pa.table({"a": [1], "b": [2]})


def _with(function: Callable[..., Any], *args: Any, **known: Any) -> Callable[[str, Any], Any]:
    def call(name: str, value: Any) -> Any:
        return function(*args, **known, **{name: value})

    return call


CALLS: dict[str, tuple[Callable[[str, Any], Any], tuple[Any, ...]]] = {
    "decrypt_key_ids": (_with(Client), (3, None, True, Path("a"))),
    "grant_tokens": (_with(Client), (3, None, True, "token", Path("a"), [3])),
    "account_ids": (_with(Discovery), (3, None, True, Path("a"), [3])),
    "regions": (_with(Discovery, ["111122223333"]), (3, True, Path("a"), [3])),
    "version_id": (_with(CLIENT.get, URL), (3, b"a", "", "\udc80")),
    "size_hint": (_with(CLIENT.object, URL), ("3", 3.0, [3])),
    "s3_additional_kwargs": (_with(CLIENT.put, URL, b""), (3, ["Metadata"], {3: "a"})),
    "columns": (_with(sa.scan, URL, client=CLIENT), (3, True, Path("a"))),
    "partitioning": (_with(sa.write_dataset, TABLE, "s3://lake/a/", client=CLIENT), (3, True, Path("a"))),
    "ignore_prefixes": (_with(sa.dataset, "s3://lake/a/", client=CLIENT), (3, True, Path("a"))),
    "path_suffix": (_with(sa.dataset, "s3://lake/a/", client=CLIENT), (3, True, Path("a"))),
    "path_ignore_suffix": (_with(spd.read_parquet, "s3://lake/a/", client=CLIENT), (3, True, Path("a"))),
    "partition_filter": (_with(spd.read_csv, "s3://lake/a/", client=CLIENT), (3, "year", {"year": "2013"})),
    "partition_base_dir": (_with(sa.dataset, "s3://lake/a/", client=CLIENT), (3, True, Path("a"))),
    "basename_template": (_with(sa.write_dataset, TABLE, "s3://lake/a/", client=CLIENT), (3, Path("{i}"), "a")),
    "file_visitor": (_with(sa.write_dataset, TABLE, "s3://lake/a/", client=CLIENT), (3, "print", [])),
    "file_options": (_with(operations.compact, "s3://lake/a/", client=CLIENT), (3, "zstd", ["a"], Path("a"))),
    "instruction_file": (_with(operations.rewrap, URL, to_key="alias/b", client=CLIENT), (3, True, b".a", "")),
    "prefix_depth": (_with(trail.read_trail, ()), ("3", None, -1)),
    "since": (_with(trail.read_trail, ()), (3, "2026-01-01", dt.datetime(2026, 1, 1))),
    "until": (_with(trail.look_up_trail, None), (3, "2026-01-01", dt.datetime(2026, 1, 1))),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, (_, values) in CALLS.items() for value in values])
def test_arguments_of_another_type_are_refused_by_their_names(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        CALLS[name][0](name, value)


def test_the_files_of_a_dataset_are_written_with_no_options_but_a_mapping_of_some() -> None:
    with pytest.raises(ConfigurationError, match="file_options= is a mapping of options, not str"):
        sa.write_dataset(TABLE, "s3://lake/a/", file_options="zstd", client=CLIENT)  # type: ignore[arg-type]


def test_a_table_is_read_by_no_columns_that_are_no_names() -> None:
    with pytest.raises(ConfigurationError, match="columns= is a list of names, not int"):
        sa.read_table(URL, columns=3, client=CLIENT)  # type: ignore[arg-type]


COLUMNS: list[Any] = [[5], [None], [b"n"], b"n", ["n", pc.field("n")], {3: pc.field("n")}]


@pytest.mark.parametrize("columns", COLUMNS, ids=str)
def test_columns_are_names_or_expressions_by_names(columns: Any, lake: Lake) -> None:
    lake.put({"t/a.parquet": b""})
    found = sa.dataset("s3://lake/t/", client=lake.client)
    lake.forget()
    faces: list[Callable[[], object]] = [lambda: found.to_table(columns), lambda: found.scanner(columns)]
    if isinstance(columns, list):
        one: dict[str, Any] = {"columns": columns, "client": lake.client}
        faces += [lambda: spd.read_parquet("s3://lake/t/", **one)]
        if len(columns) > 1:  # all else is a column that a single object has not
            faces += [lambda: sa.read_table(URL, **one), lambda: sa.scan(URL, **one)]
    for face in faces:
        with pytest.raises(ConfigurationError, match="columns="):
            face()
    assert lake.s3.log == []


@pytest.mark.parametrize("schema", [{"n": pa.int64()}, ["n"], [("n", pa.int64())], 3, "n"], ids=str)
def test_schemas_are_those_of_pyarrow(schema: Any, lake: Lake) -> None:
    lake.put({"t/a.parquet": b""})
    found = sa.dataset("s3://lake/t/", client=lake.client)
    lake.forget()
    faces: list[Callable[[], object]] = [
        lambda: sa.dataset("s3://lake/t/", schema=schema, client=lake.client),
        lambda: found.replace_schema(schema),
        lambda: sa.write_dataset(TABLE, "s3://lake/t/", schema=schema, client=lake.client),
        lambda: sa.write_dataset(iter([TABLE]), "s3://lake/t/", schema=schema, client=lake.client),
    ]
    for face in faces:
        with pytest.raises(ConfigurationError, match=r"schema= is a pyarrow\.Schema, not"):
            face()
    assert lake.s3.log == []


@pytest.mark.parametrize("number", [-1, 2.5, "3", None])
def test_numbers_of_rows_are_numbers(number: Any, lake: Lake) -> None:
    lake.put({"t/a.parquet": b""})
    found = sa.dataset("s3://lake/t/", client=lake.client)
    lake.forget()
    for wrong in (number, 0):
        with pytest.raises(ConfigurationError, match="batch_size= is a number, 1 or more"):
            found.to_batches(batch_size=wrong)
    with pytest.raises(ConfigurationError, match="num_rows= is a number, 0 or more"):
        found.head(number)
    assert lake.s3.log == []


def test_lists_that_give_their_values_once_are_taken_whole() -> None:
    accounts = Discovery(one for one in ["111122223333"]).account_ids  # type: ignore[arg-type]
    assert accounts == ("111122223333",)
    tokens: Any = (one for one in ["token"])
    assert Client("alias/a", grant_tokens=tokens).options.grant_tokens == ("token",)
