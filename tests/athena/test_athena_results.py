"""Results of Athena, made as Athena writes them: read with their types, null told from empty, and refused where odd."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import json
import os
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from arrowseal import PLAIN
from arrowseal.athena import read_query_results
from arrowseal.exceptions import ArrowSealError, CommitmentPolicyError, ConfigurationError, NotATableError
from memory_s3 import Stored

if TYPE_CHECKING:
    from arrowseal import Client
    from lake import Lake

URL = "s3://lake/results/4b8c0b5e.csv"
NESTED = "[{name=a, n=1}]"


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def text(number: int, value: str) -> bytes:
    return varint(number << 3 | 2) + varint(len(value.encode())) + value.encode()


def metadata(*columns: tuple[str, str, int, int]) -> bytes:
    """As Athena writes it beside a result: a query id, then the columns, among fields that nobody reads here."""
    message = text(1, "a query id")
    for name, kind, precision, scale in columns:
        column = text(1, "hive") + text(4, name) + text(5, name) + text(6, kind)
        column += varint(7 << 3) + varint(precision) + varint(8 << 3) + varint(scale) + varint(9 << 3) + b"\x03"
        message += varint(4 << 3 | 2) + varint(len(column)) + column
    return message + varint(6 << 3 | 1) + bytes(8) + varint(7 << 3 | 5) + bytes(4)


COLUMNS = (
    ("n", "integer", 10, 0),
    ("big", "bigint", 19, 0),
    ("fare", "decimal", 8, 2),
    ("text", "varchar", 2147483647, 0),
    ("day", "date", 0, 0),
    ("at", "timestamp", 3, 0),
    ("ok", "boolean", 0, 0),
    ("x", "double", 17, 0),
    ("stops", "array", 0, 0),
)
CSV = (
    '"n","big","fare","text","day","at","ok","x","stops"\n'
    '"1","9007199254740993","7.50","a ""b"",\nc","2013-01-01","2013-01-01 05:17:00.123","true","1.5",'
    f'"{NESTED}"\n'
    '"2",,"-0.01","",,,"false","NaN",\n'
    ',"3",,,"2013-02-28","2013-12-31 23:59:59.999",,"-Infinity","[]"\n'
)
ROWS = [
    {
        "n": 1,
        "big": 9007199254740993,
        "fare": decimal.Decimal("7.50"),
        "text": 'a "b",\nc',
        "day": dt.date(2013, 1, 1),
        "at": dt.datetime(2013, 1, 1, 5, 17, 0, 123000),
        "ok": True,
        "x": 1.5,
        "stops": NESTED,
    },
    {"n": 2, "big": None, "fare": decimal.Decimal("-0.01"), "text": "", "day": None, "at": None, "ok": False},
    {"n": None, "big": 3, "fare": None, "text": None, "day": dt.date(2013, 2, 28), "ok": None, "x": float("-inf")},
]


@pytest.fixture
def analytics(lake: Lake) -> Client:
    client = lake.make_client(interop="analytics")
    client.put(URL, CSV.encode())
    client.put(URL + ".metadata", metadata(*COLUMNS))
    return client


def test_a_sealed_result_is_read_with_the_types_that_athena_says(analytics: Client) -> None:
    read = read_query_results(URL, client=analytics)
    assert [(column.name, column.type, column.precision, column.scale) for column in read.columns] == list(COLUMNS)
    table = read.to_arrow()
    assert table.schema.types[2:6] == [pa.decimal128(8, 2), pa.string(), pa.date32(), pa.timestamp("ms")]
    rows = table.to_pylist()
    assert rows[0] == ROWS[0]
    for row, expected in zip(rows, ROWS, strict=True):
        assert {name: row[name] for name in expected} == expected
    assert rows[1]["stops"] is None
    assert rows[1]["x"] != rows[1]["x"], "not a number"


def test_a_result_is_a_frame_of_each_library(analytics: Client) -> None:
    read = read_query_results(URL, client=analytics)
    assert (len(read), repr(read)) == (3, f"<QueryResults {URL}, 3 rows, 9 columns>")
    assert read.to_pandas()["text"].tolist()[:2] == ['a "b",\nc', ""]
    assert read.to_polars()["big"].to_list() == [9007199254740993, None, 3]
    assert pa.table(read).schema == read.to_arrow().schema


def test_the_answer_of_get_query_execution_names_its_result(analytics: Client) -> None:
    execution: dict[str, Any] = {"ResultConfiguration": {"OutputLocation": URL}, "Status": {"State": "SUCCEEDED"}}
    assert len(read_query_results({"QueryExecution": execution}, client=analytics)) == 3
    assert len(read_query_results(execution, client=analytics)) == 3
    with pytest.raises(ConfigurationError, match="the query is FAILED"):
        read_query_results(execution | {"Status": {"State": "FAILED"}}, client=analytics)
    nothing: list[dict[str, Any]] = [{}, {"QueryExecution": {}}, {"QueryExecution": None}]
    for answer in [*nothing, execution | {"ResultConfiguration": None}, {"Status": None}]:
        with pytest.raises(ConfigurationError, match="OutputLocation"):
            read_query_results(answer, client=analytics)


def test_without_metadata_every_column_is_text_and_null_stays_null(analytics: Client) -> None:
    analytics.delete(URL + ".metadata")
    read = read_query_results(URL, client=analytics)
    assert read.columns == ()
    assert set(read.to_arrow().schema.types) == {pa.string()}
    assert read.to_arrow().column("text").to_pylist() == ['a "b",\nc', "", None]
    assert read.to_arrow().column("big").to_pylist() == ["9007199254740993", None, "3"]


def test_two_columns_of_one_name_keep_their_own_values_and_types(analytics: Client) -> None:
    analytics.put(URL, b'"a","a"\n"1","x"\n')
    analytics.put(URL + ".metadata", metadata(("a", "bigint", 0, 0), ("a", "varchar", 0, 0)))
    table = read_query_results(URL, client=analytics).to_arrow()
    assert (table.column_names, [column.to_pylist() for column in table.columns]) == (["a", "a"], [[1], ["x"]])


def test_a_result_without_rows_has_its_columns(analytics: Client) -> None:
    analytics.put(URL, CSV.splitlines(keepends=True)[0].encode())
    table = read_query_results(URL, client=analytics).to_arrow()
    assert (table.num_rows, table.column_names) == (0, [name for name, *_ in COLUMNS])
    assert table.schema.field("fare").type == pa.decimal128(8, 2)


def test_results_that_only_s3_encrypts_need_the_switch_for_plain_objects(lake: Lake, analytics: Client) -> None:
    lake.client.put(URL, CSV.encode(), encryption=PLAIN)
    lake.client.put(URL + ".metadata", metadata(*COLUMNS), encryption=PLAIN)
    with pytest.raises(ArrowSealError, match="allow_plaintext"):
        read_query_results(URL, client=analytics)
    assert len(read_query_results(URL, client=analytics, allow_plaintext=True)) == 3


def kms_wrapped(lake: Lake, url: str, data: bytes) -> None:
    """An object as the first encryption clients write it, and whoever still does: wrap `kms`, whose context names the
    key and binds no content algorithm.
    """
    data_key, iv, context = os.urandom(32), os.urandom(12), {"kms_cmk_id": lake.key_arn}
    metadata = {
        "x-amz-key-v2": base64.b64encode(lake.kms.wrap(lake.key_arn, data_key, context)).decode(),
        "x-amz-iv": base64.b64encode(iv).decode(),
        "x-amz-matdesc": json.dumps(context),
        "x-amz-wrap-alg": "kms",
        "x-amz-cek-alg": "AES/GCM/NoPadding",
        "x-amz-tag-len": "128",
        "x-amz-unencrypted-content-length": str(len(data)),
    }
    key = url.removeprefix("s3://")
    headers = {f"x-amz-meta-{name}": value for name, value in metadata.items()}
    body = AESGCM(data_key).encrypt(iv, data, None)
    lake.s3.server.objects[f"/{key}"] = Stored(body, "0" * 32, headers)


def test_results_under_the_old_wrap_are_read_when_allowed_and_refused_by_the_name_of_the_switch(
    lake: Lake, analytics: Client
) -> None:
    kms_wrapped(lake, URL, CSV.encode())
    kms_wrapped(lake, URL + ".metadata", metadata(*COLUMNS))
    lake.forget()
    with pytest.raises(ArrowSealError, match="legacy="):
        read_query_results(URL, client=analytics)
    assert lake.kms.calls == [], "refused before KMS is asked"
    assert read_query_results(URL, client=analytics, legacy="wrapping").to_arrow().to_pylist()[0] == ROWS[0]
    with pytest.raises(ArrowSealError, match=r"legacy=.*commitment_policy|commitment_policy.*legacy="):
        read_query_results(URL, client=lake.client)


def test_a_client_that_does_not_read_v2_says_so(lake: Lake, analytics: Client) -> None:
    with pytest.raises(CommitmentPolicyError, match="commitment_policy"):
        read_query_results(URL, client=lake.client)


@pytest.mark.parametrize(
    "url",
    ["s3://lake/results/4b8c0b5e.txt", "s3://lake/results/4b8c0b5e-manifest.csv", "s3://lake/results/4b8c0b5e"],
)
def test_what_is_no_result_with_rows_is_refused_before_any_request(lake: Lake, analytics: Client, url: str) -> None:
    lake.forget()
    with pytest.raises(ConfigurationError, match=r"arrowseal\.arrow\.dataset"):
        read_query_results(url, client=analytics)
    assert not lake.s3.log


@pytest.mark.parametrize(
    "damaged",
    [
        metadata(*COLUMNS)[:-3],
        metadata(*COLUMNS)[:40],
        b"\xff" * 20,
        text(4, "\xff" * 3),
        metadata(*reversed(COLUMNS)),
        metadata(*COLUMNS[:3]),
        metadata(*[(name, "bigint", 0, 0) for name, *_ in COLUMNS]),
        varint(4 << 3 | 2) + varint(2**40),
    ],
    ids=["cut", "cut in a column", "no varint", "no text", "other order", "fewer", "other types", "too long"],
)
def test_metadata_that_does_not_fit_is_refused(analytics: Client, damaged: bytes) -> None:
    analytics.put(URL + ".metadata", damaged)
    with pytest.raises(NotATableError, match="4b8c0b5e"):
        read_query_results(URL, client=analytics)


def test_rows_that_are_no_csv_are_refused_without_showing_them(analytics: Client) -> None:
    analytics.put(URL, b'"n","big"\n"secret"\n')
    analytics.put(URL + ".metadata", metadata(*COLUMNS[:2]))
    with pytest.raises(NotATableError, match="not the CSV that Athena writes") as caught:
        read_query_results(URL, client=analytics)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
