"""Rows on their way to partitions: any source of Arrow batch by batch, each split by the columns that part it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from arrowseal.exceptions import ConfigurationError
from arrowseal.tables.arrow_files import as_table, cast_columns, columns_expected, no_rows
from arrowseal.tables.arrow_types import without_views

if TYPE_CHECKING:
    from collections.abc import Callable

SLICE_ROWS = 2**20
"""Rows of a table that is in memory already are split this many at a time."""


@dataclass(frozen=True)
class Rows:
    """Tables that come one after another, all of one schema."""

    schema: pa.Schema
    tables: Iterator[pa.Table]


def rows_of(data: Any, schema: pa.Schema | None) -> Rows:
    """The rows of anything that speaks Arrow, streamed where it streams, in the columns and types of `schema` if given.

    Takes tables, batches, readers, datasets and scanners of pyarrow, frames, anything with `__arrow_c_stream__`, lists
    of these, and with a schema any iterable of them. Views, which not every reader knows, become plain types.

    Raises `ConfigurationError` for anything else.
    """
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        if not data and schema is None:
            raise ConfigurationError("an empty list has no columns: give schema=")
        return _chained(iter(data), schema)
    if hasattr(data, "scanner"):  # a dataset
        data = data.scanner()
    if hasattr(data, "projected_schema"):
        # Not its `to_reader`, which keeps the GIL while it starts: a thread that wants it to tell of an error, of a
        # file system in Python for example, and the start then wait for each other.
        data = pa.RecordBatchReader.from_batches(data.projected_schema, data.to_batches())
    elif hasattr(data, "to_reader") and not isinstance(data, pa.Table):
        data = data.to_reader()
    if isinstance(data, pa.RecordBatchReader):
        return _of_reader(data, schema)
    if isinstance(data, (pa.Table, pa.RecordBatch)) or _is_pandas(data):
        return _of_table(as_table(data), schema)
    if hasattr(data, "__arrow_c_stream__"):
        with columns_expected():
            reader = pa.RecordBatchReader.from_stream(data)
        return _of_reader(reader, schema)
    if hasattr(data, "__arrow_c_array__"):
        return _of_table(as_table(data), schema)
    if hasattr(data, "collect_batches"):
        raise ConfigurationError("a lazy frame is not run here: give collect(), or collect_batches() with schema=")
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes, Mapping)):
        if schema is None:
            raise ConfigurationError("an iterator of batches says its columns only when it runs: give schema=")
        return _chained(iter(data), schema)
    return _of_table(as_table(data), schema)  # which says what is expected


def _is_pandas(data: Any) -> bool:
    # As a table it carries its index and the types of pandas in the schema; as a stream it does not.
    return type(data).__module__.partition(".")[0] == "pandas"


def _of_table(table: pa.Table, schema: pa.Schema | None) -> Rows:
    table = _fitted(table, schema)
    slices = range(0, table.num_rows, SLICE_ROWS)
    return Rows(table.schema, (table.slice(begin, SLICE_ROWS) for begin in slices))


def _of_reader(reader: pa.RecordBatchReader, schema: pa.Schema | None) -> Rows:
    whole = _fitted(no_rows(without_views(reader.schema)), schema).schema
    return Rows(whole, (_fitted(as_table(batch), schema) for batch in reader))


def _chained(parts: Iterator[Any], schema: pa.Schema | None) -> Rows:
    first = next(parts, None)
    if first is None:
        assert schema is not None  # noqa: S101
        return Rows(schema, iter(()))
    begin = rows_of(first, schema)

    def tables() -> Iterator[pa.Table]:
        yield from begin.tables
        for part in parts:
            yield from rows_of(part, begin.schema).tables

    return Rows(begin.schema, tables())


def _fitted(table: pa.Table, schema: pa.Schema | None) -> pa.Table:
    if schema is None or table.schema.equals(schema, check_metadata=True):
        return table
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise ConfigurationError(
            f"schema= has a column {missing[0]!r} that the data has not: it has {table.column_names}"
        )
    return cast_columns(table.select(schema.names), schema)


def splitter(
    names: Sequence[str], *, keeps_keys: bool = False
) -> Callable[[pa.Table], Iterator[tuple[dict[str, pa.Scalar], pa.Table]]]:
    """A function that takes the rows of a table apart by the values of columns, which it leaves out unless it keeps
    them; the rows of a part keep their order.
    """
    if not names:
        return lambda table: iter([({}, table)])

    def split(table: pa.Table) -> Iterator[tuple[dict[str, pa.Scalar], pa.Table]]:
        if table.num_rows == 0:
            return
        codes, values = _codes(table, names)
        rest = table if keeps_keys else table.drop_columns(list(names))
        runs = pc.run_end_encode(codes)
        if len(runs.values) == 1:
            yield values(codes[0].as_py()), rest
            return
        order = pc.array_sort_indices(codes)  # stable: rows of one value stay in their order
        runs = pc.run_end_encode(codes.take(order))
        begin = 0
        for code, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            # Not slices of one: a few rows that wait would hold the memory of all.
            yield values(code), rest.take(order.slice(begin, end - begin))
            begin = end

    return split


def _codes(table: pa.Table, names: Sequence[str]) -> tuple[pa.Array, Callable[[int], dict[str, pa.Scalar]]]:
    """A number for each row, the same for the same values, and what the values of a number are."""
    columns: list[tuple[str, int, pa.Array]] = []
    codes: pa.Array | None = None
    for name in names:
        column = table.column(name).combine_chunks()
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        encoded = column.dictionary_encode(null_encoding="encode")
        indices = encoded.indices.cast(pa.int64())
        if codes is None:
            codes = indices
        else:
            codes = pc.add_checked(pc.multiply_checked(codes, len(encoded.dictionary)), indices)
        columns.append((name, len(encoded.dictionary), encoded.dictionary))
    assert codes is not None  # noqa: S101

    def values(code: int) -> dict[str, pa.Scalar]:
        found = {}
        for name, count, dictionary in reversed(columns):
            code, at = divmod(code, count)
            found[name] = dictionary[at]
        return {name: found[name] for name, _, _ in columns}

    return codes, values
