"""What Athena wrote as the result of a query: a CSV object and, beside it, the types of its columns.

Source: "Work with query results and recent queries" (Athena); `result_types` for the types.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.csv as pc_csv

from arrowseal.athena.result_types import ResultColumn, arrow_type, parse_columns
from arrowseal.defaults import client_of
from arrowseal.exceptions import ConfigurationError, NotATableError, ObjectNotFoundError
from arrowseal.frames import Framed
from arrowseal.location import ObjectLocation, locate

if TYPE_CHECKING:
    from arrowseal.client import Client
    from arrowseal.location import Url
    from arrowseal.suites import AnyContext

_METADATA: Final = ".metadata"
_BLOCK_BYTES: Final = 64 * 2**20  # a row has to fit, and Athena's have up to 32 MB


class QueryResults(Framed):
    """The rows of a query, as a frame of any library: `to_arrow`, `to_pandas`, `to_polars`, or as an Arrow stream."""

    def __init__(self, location: ObjectLocation, table: pa.Table, columns: tuple[ResultColumn, ...]) -> None:
        self.location: Final = location
        """The CSV object."""
        self.columns: Final = columns
        """Names and types as Athena says them; empty where there was no metadata, and then all columns are text."""
        self._table = table

    def to_arrow(self) -> pa.Table:
        """The rows. Columns may have the same name twice, as in the query."""
        return self._table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __repr__(self) -> str:
        return f"<QueryResults {self.location}, {len(self):,} rows, {self._table.num_columns} columns>"


def read_query_results(
    result: Url | Mapping[str, Any],
    *,
    client: Client | None = None,
    encryption_context: Mapping[str, str] | AnyContext | None = None,
    kms_key_id: str | None = None,
    allow_plaintext: bool | None = None,
    legacy: Any = None,
) -> QueryResults:
    """The result of a query, read from where Athena wrote it; nothing is asked of Athena.

    What Athena seals (`CSE_KMS`) is format V2, and may have the old wrap `kms`: give a client that reads them, such as
    `Client(key, interop="analytics")`, and `legacy="wrapping"`. Results that only S3 encrypts (`SSE_S3`, `SSE_KMS`) or
    nobody does need `allow_plaintext=True`. Types come from the `.metadata` object beside the result; without one all
    columns are text. Null is told from the empty string. Memory: the text, and the table.

    Args:
        result: the URL of the CSV object, or what `get_query_execution` answers.
        client, encryption_context, kms_key_id, allow_plaintext, legacy: as in `Client.get`.

    Raises:
        ConfigurationError: not the result of a query that succeeded, or of one that has no rows (`.txt`: use
            `Client.get`; UNLOAD and CREATE TABLE AS: use `arrowseal.arrow.dataset`).
        NotATableError: the result or its metadata are not what Athena writes.

    Example:
        >>> answer = athena.get_query_execution(QueryExecutionId=query)  # doctest: +SKIP
        >>> read_query_results(answer, client=client, legacy="wrapping").to_polars()  # doctest: +SKIP
    """
    location = _location(result)
    chosen = client_of(client)
    keywords: dict[str, Any] = {"encryption_context": encryption_context, "kms_key_id": kms_key_id}
    keywords |= {"allow_plaintext": allow_plaintext} | ({} if legacy is None else {"legacy": legacy})
    content = chosen.get(location, **keywords)
    try:
        beside = chosen.get(ObjectLocation(location.bucket, location.key + _METADATA), **keywords)
    except ObjectNotFoundError:
        columns: tuple[ResultColumn, ...] = ()
    else:
        columns = parse_columns(location, bytes(beside))
    return QueryResults(location, _table(location, content, columns), columns)


def _location(result: Url | Mapping[str, Any]) -> ObjectLocation:
    """The CSV object of a query that has one."""
    if isinstance(result, Mapping):
        execution = _part(result, "QueryExecution") if "QueryExecution" in result else result
        state = _part(execution, "Status").get("State")
        if state is not None and state != "SUCCEEDED":
            raise ConfigurationError(f"the query is {state}: it has no result to read")
        url = _part(execution, "ResultConfiguration").get("OutputLocation")
        if not url:
            raise ConfigurationError("a query's answer has ResultConfiguration.OutputLocation, which this one has not")
        location = locate(url)
    else:
        location = locate(result)
    if location.suffixes[-1:] != [".csv"]:
        raise ConfigurationError(
            f"{location} is no result with rows: those of SELECT are named *.csv. Read text with Client.get, and what "
            "UNLOAD and CREATE TABLE AS wrote with arrowseal.arrow.dataset"
        )
    if location.name.endswith("-manifest.csv"):
        raise ConfigurationError(f"{location} lists the files of a result: read those with arrowseal.arrow.dataset")
    return location


def _part(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = answer.get(name)
    return part if isinstance(part, Mapping) else {}


def _table(location: ObjectLocation, content: Any, columns: tuple[ResultColumn, ...]) -> pa.Table:
    names = _header(location, content)
    if not names:
        return pa.table({})
    if columns and [one.name for one in columns] != names:
        raise NotATableError(f"{location}: its first row and {_METADATA} name different columns")
    places = [f"c{at}" for at in range(len(names))]  # a query may name two columns alike, and pyarrow would mix them up
    texts = dict.fromkeys(places, pa.string())
    try:
        read = pc_csv.read_csv(
            pa.BufferReader(pa.py_buffer(content)),
            pc_csv.ReadOptions(column_names=places, skip_rows_after_names=1, block_size=_BLOCK_BYTES),
            pc_csv.ParseOptions(newlines_in_values=True),
            pc_csv.ConvertOptions(
                column_types=texts | {place: arrow_type(one) for place, one in zip(places, columns, strict=False)},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,  # an empty string is quoted there, null is not
                true_values=["true"],
                false_values=["false"],
            ),
        )
    except pa.ArrowInvalid:
        raise NotATableError(
            f"{location}: not the CSV that Athena writes, or not of the types in {_METADATA}"
        ) from None
    return read.rename_columns(names)


def _header(location: ObjectLocation, content: Any) -> list[str]:
    """The names in the first row, which may have line breaks in them."""
    with memoryview(content) as view:
        start = bytes(view[: 2**20])
    try:
        return next(csv.reader(io.StringIO(start.decode(errors="ignore"), newline=""), strict=True), [])
    except csv.Error:
        raise NotATableError(f"{location}: not the CSV that Athena writes") from None
