"""Arguments of another type are refused by their names, before any request."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import arrowseal.arrow as sa
import arrowseal.pandas as spd
from arrowseal import Client, Discovery, operations, trail
from arrowseal.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

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


def test_lists_that_give_their_values_once_are_taken_whole() -> None:
    accounts = Discovery(one for one in ["111122223333"]).account_ids  # type: ignore[arg-type]
    assert accounts == ("111122223333",)
    tokens: Any = (one for one in ["token"])
    assert Client("alias/a", grant_tokens=tokens).options.grant_tokens == ("token",)
