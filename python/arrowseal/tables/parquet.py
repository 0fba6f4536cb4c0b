"""Parquet by ranges: the footer, then the chunks of the columns and row groups that a question needs, in one fetch.

`ParquetReader` reads tables. `ParquetFooter` is the planner below it: names, row groups that may hold rows of a filter,
the ranges of column chunks. What the footer knows decides: pyarrow evaluates the statistics of row groups against any
expression; it reads neither page indexes nor bloom filters, so that they are not consulted.

Which bytes are read, by rule:

- No columns and no filter are given: the object as a whole, by one `Client.get`.
- Otherwise the footer, from the tail of the object, and then all chunks of the plan at once, which are decoded from the
  first row groups on while later ones are on their way. Where they are more than three quarters of the object
  (`WHOLE`), it is read as one range: there is little to save, and one range is quick.
- More than 64 MiB are fetched in waves of whole row groups, one being fetched while one is decoded
  (`arrowseal.tables.parquet_decoding`).

Never `pq.read_table` nor anything else that reads data over pyarrow.dataset: a process that ends right after one may
abort, when a thread of Arrow lets go of Python objects (apache/arrow issue 50482).
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from arrowseal.exceptions import ConfigurationError
from arrowseal.tables.parquet_decoding import decoded, read_row_groups
from arrowseal.tables.ranges import TAIL_BYTES, Fetched, merged, whole_file
from arrowseal.tables.refusal import filter_names
from arrowseal.tables.statistics import as_text, may_hold, may_pass_nan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow.compute as pc

    from arrowseal.tables.ranges import Ranges

WHOLE: Final = 0.75
_MAGIC: Final = b"PAR1"
_OPTIONS: Final = frozenset(inspect.signature(pq.ParquetFile).parameters)
_OF_READ: Final = frozenset({"use_threads", "use_pandas_metadata"})
# These say how the footer is to be read, or bring one: pyarrow then reads the whole file by itself.
_OF_FOOTER: Final = frozenset(
    {"metadata", "decryption_properties", "thrift_string_size_limit", "thrift_container_size_limit"}
    | {"schema_depth_limit", "memory_map", "filesystem"}
)


@dataclass(frozen=True)
class Plan:
    """Chunks of a file: which row groups and columns they are of, and where."""

    row_groups: list[int]
    columns: list[str] | None
    ranges: list[tuple[int, int]]

    @property
    def bytes(self) -> int:
        return sum(length for _, length in self.ranges)


class ParquetFooter:
    """The footer of a Parquet file. One read of the source, two for a footer beyond 64 KiB.

    Args:
        filtered: whether `row_groups` will be asked for those of a filter.

    Raises pyarrow's errors for content that is no Parquet file, and what the source raises.
    """

    def __init__(self, source: Ranges, *, filtered: bool = False) -> None:
        self.source: Final = source
        self.buffer: Final = _footer(source)
        """A Parquet file without its chunks: enough for every reader of schemas and statistics."""
        self._fragment: Any = None
        if filtered:
            import pyarrow.dataset as ds

            self._fragment = ds.ParquetFileFormat().make_fragment(pa.BufferReader(self.buffer))
        metadata = pq.read_metadata(pa.BufferReader(self.buffer)) if not filtered else self._fragment.metadata
        self.metadata: Final[pq.FileMetaData] = metadata

    @cached_property
    def paths(self) -> list[str]:
        """The dotted path of each leaf column."""
        return _paths(self.metadata)

    @cached_property
    def schema(self) -> pa.Schema:
        """The schema that it is read with when no option changes it."""
        return self.metadata.schema.to_arrow_schema()

    def names(self) -> list[str]:
        """The names of columns, and the dotted paths of what is nested in them."""
        return _names(self.schema, self.paths)

    def row_groups(
        self, expression: pc.Expression | None = None, *, as_pyarrow: bool = False, no_nan: bool = False
    ) -> list[int]:
        """The row groups of which statistics do not say that they hold no row of the filter; `as_pyarrow`: those that
        pyarrow itself would read, which are more where columns have nulls, and fewer where NaN would pass; `no_nan`:
        NaN does not pass, whatever pyarrow says.

        Raises `pyarrow.ArrowInvalid` for a filter on columns that are not there, or of types that do not compare.
        """
        if expression is None or self._fragment is None:
            return list(range(self.metadata.num_row_groups))
        groups = [group.id for group in self._fragment.subset(filter=expression).row_groups]
        if as_pyarrow:
            return groups
        names = names_of_filter(None, expression, self.schema)
        if not no_nan and may_pass_nan(expression, names, self.schema):
            return list(range(self.metadata.num_row_groups))
        return groups if len(groups) < 2 else may_hold(expression, names, self.metadata, self.schema, groups)

    def rows(self, row_group: int) -> int:
        """How many rows a row group has."""
        count: int = self.metadata.row_group(row_group).num_rows
        return count

    def plan(self, columns: Sequence[str] | None = None, row_groups: Sequence[int] | None = None) -> Plan:
        """The chunks of columns, all unless given, in row groups, all unless given. `a.b` is a field of `a`."""
        groups = self.row_groups() if row_groups is None else list(row_groups)
        leaves = range(self.metadata.num_columns) if columns is None else self._leaves(columns)
        ranges = []
        for group in map(self.metadata.row_group, groups):
            ranges += [_range(group.column(leaf)) for leaf in leaves]
        return Plan(groups, None if columns is None else list(columns), merged(ranges))

    def parts(self, plan: Plan, most: int) -> list[Plan]:
        """The plan in parts of at most so many bytes, or one row group each."""
        if plan.bytes <= most or len(plan.row_groups) == 1:
            return [plan]
        parts: list[Plan] = []
        for group in plan.row_groups:
            one = self.plan(plan.columns, [group])
            if parts and parts[-1].bytes + one.bytes <= most:
                last = parts.pop()
                one = Plan([*last.row_groups, group], plan.columns, merged([*last.ranges, *one.ranges]))
            parts.append(one)
        return parts

    def fetch(self, plan: Plan) -> Fetched:
        """The chunks of the plan, in memory."""
        if self.takes_whole(plan):
            return Fetched(self.source, [(0, self.source.size)])
        return Fetched(self.source, plan.ranges)

    def takes_whole(self, plan: Plan) -> bool:
        """Whether its chunks are so much of the object that all of it is read."""
        return self.source.in_memory or plan.bytes > WHOLE * self.source.size

    def open(self, file: pa.NativeFile, options: Mapping[str, Any]) -> pq.ParquetFile:
        """The reader over what was fetched, with options of `pyarrow.parquet.ParquetFile`."""
        # Reading ahead is done already: it would only read more than was fetched.
        return pq.ParquetFile(file, **{"pre_buffer": False, **options, "metadata": self.metadata})

    def _leaves(self, columns: Sequence[str]) -> list[int]:
        wanted = set(columns)
        beginnings = tuple(f"{name}." for name in wanted)
        return [at for at, path in enumerate(self.paths) if path in wanted or path.startswith(beginnings)]


def _footer(source: Ranges) -> pa.Buffer:
    tail = memoryview(source.read_at(max(0, source.size - TAIL_BYTES), TAIL_BYTES))
    length = 8 + int.from_bytes(tail[-8:-4], "little")
    if bytes(tail[-4:]) == _MAGIC and len(tail) < length <= source.size:
        tail = memoryview(source.read_at(source.size - length, length))
    # In Arrow's own memory: fragments are read by its threads, which must not be the last to hold a Python object.
    sink = pa.BufferOutputStream()
    sink.write(tail[-length:] if length <= len(tail) else tail)
    return sink.getvalue()


def _range(chunk: Any) -> tuple[int, int]:
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
        start = chunk.dictionary_page_offset
    return start, chunk.total_compressed_size


class ParquetReader:
    """Options: those of `pyarrow.parquet.ParquetFile` and of its `read`; `filters` of `pyarrow.parquet.read_table`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._open = {name: value for name, value in options.items() if name not in _OF_READ | {"filters"}}
        self._read = {name: value for name, value in options.items() if name in _OF_READ}
        self._filters = options.get("filters")
        self.filter: Final = None if self._filters is None else pq.filters_to_expression(self._filters)
        self._plans = is_planned(self._open)
        _check_options(self._open)

    def reads_parts(self, columns: list[str] | None) -> bool:
        """Whether less than the whole file will do."""
        return (columns is not None or self.filter is not None) and self._plans

    @property
    def reads_waves(self) -> bool:
        """Whether `tables` and `schema` honour all options."""
        return self._plans

    def names(self, source: Ranges) -> list[str]:
        """The columns that may be asked for."""
        return ParquetFooter(source).names()

    def read(self, source: Ranges, columns: list[str] | None) -> pa.Table:
        """The table, or these columns of it. Raises `KeyError` for one that is not there, pyarrow's errors otherwise.

        The filter decides on the row groups that are fetched, and then on rows.
        """
        if not self._plans:
            parquet = pq.ParquetFile(whole_file(source), **self._open)
            needed = self._needed(columns, parquet_names(parquet), parquet.schema_arrow)
            table = read_row_groups(parquet, range(parquet.num_row_groups), needed, **self._read)
            return self._kept(table, columns)
        tables = list(self.tables(ParquetFooter(source, filtered=self.filter is not None), columns))
        if tables[0].num_columns == 0:  # of which concat_tables() forgets the rows
            return pa.Table.from_batches([batch for table in tables for batch in table.to_batches()], tables[0].schema)
        return pa.concat_tables(tables)

    def tables(self, footer: ParquetFooter, columns: list[str] | None) -> Iterator[pa.Table]:
        """The same wave by wave, at least one."""
        needed = self._needed(columns, footer.names(), footer.schema)
        plan = footer.plan(needed, footer.row_groups(self.filter))
        for table, _ in decoded(footer, plan, self._open, self._read):
            yield self._kept(table, columns)

    def schema(self, footer: ParquetFooter, columns: list[str] | None) -> pa.Schema:
        """The schema of `tables`, without fetching any."""
        needed = self._needed(columns, footer.names(), footer.schema)
        empty = footer.open(pa.BufferReader(footer.buffer), self._open).read_row_groups([], needed, **self._read)
        return self._kept(empty, columns).schema

    def _needed(self, columns: list[str] | None, names: list[str], schema: pa.Schema) -> list[str] | None:
        if columns is None:
            return None
        for name in columns:
            # ParquetFile would leave out what is not there, and say nothing.
            if name not in names:
                raise KeyError(name)
            if self.filter is not None and name not in schema.names:
                raise ConfigurationError(f"filters= goes with whole columns, and {name!r} is a field of one")
        if self.filter is None:
            return columns
        if by_position(self.filter):
            return None  # positions are those of the file
        return list(dict.fromkeys([*columns, *names_of_filter(self._filters, self.filter, schema)]))

    def _kept(self, table: pa.Table, columns: list[str] | None) -> pa.Table:
        rows = table if self.filter is None else table.filter(self.filter)
        if columns is None or (self.filter is None and len(set(columns)) == len(columns)):
            return rows  # as pyarrow read them, each once
        if not set(columns) <= set(rows.column_names):
            return rows  # fields of columns are no columns of the table
        index = index_columns(rows.schema) if self._read.get("use_pandas_metadata") else []
        return rows.select([*columns, *(name for name in index if name not in columns)])


def is_planned(options: Mapping[str, Any]) -> bool:
    """Whether options of pyarrow say nothing of how the footer is to be read, which a planner has to read first."""
    return not any(options.get(name) for name in _OF_FOOTER)


def file_ahead(source: Ranges, columns: Sequence[str] | None, filters: Any) -> pa.NativeFile:
    """A file for a library that reads it by `pyarrow.parquet.read_table` with these columns and filters, and wants the
    index of pandas: what it will ask for is in memory. All else is fetched when it is asked for.

    Raises `KeyError` for a column that is not there.
    """
    if source.in_memory:
        return whole_file(source)
    expression = None if filters is None else pq.filters_to_expression(filters)
    footer = ParquetFooter(source, filtered=expression is not None)
    needed = None
    if columns is not None:
        names = footer.names()
        for name in columns:
            if name not in names:
                raise KeyError(name)
        needed = [*columns, *index_columns(footer.schema)]
        if expression is not None:
            needed += names_of_filter(filters, expression, footer.schema)
    return footer.fetch(footer.plan(needed, footer.row_groups(expression, as_pyarrow=True))).file()


def index_columns(schema: pa.Schema) -> list[str]:
    """The columns that pandas makes an index of."""
    described = schema.pandas_metadata or {}
    return [name for name in described.get("index_columns", ()) if isinstance(name, str)]


def names_of_filter(filters: Any, expression: pc.Expression, schema: pa.Schema) -> list[str]:
    """The columns of the schema that a filter looks at: exact for tuples, for expressions as few as can be told."""
    named = filter_names(filters)
    if named:
        return [name for name in named if name in schema.names]
    text = as_text(expression)
    candidates = [name for name in schema.names if name in text]
    if by_position(expression) or not _binds(expression, schema, candidates):
        return list(schema.names)  # or by something that is not a name
    for name in tuple(candidates):
        rest = [other for other in candidates if other != name]
        if _binds(expression, schema, rest):
            candidates = rest
    return candidates


def by_position(expression: pc.Expression) -> bool:
    """Whether a filter may name a column by its place."""
    return "FieldPath(" in as_text(expression)


def _binds(expression: pc.Expression, schema: pa.Schema, names: list[str]) -> bool:
    try:
        pa.schema([schema.field(name) for name in names]).empty_table().filter(expression)
    except (pa.ArrowException, KeyError, ValueError):
        return False
    return True


def parquet_names(parquet: pq.ParquetFile) -> list[str]:
    """`ParquetFooter.names` of a file that pyarrow has opened."""
    return _names(parquet.schema_arrow, _paths(parquet.metadata))


def _paths(metadata: pq.FileMetaData) -> list[str]:
    return [metadata.schema.column(at).path for at in range(metadata.num_columns)]


def _names(schema: pa.Schema, paths: list[str]) -> list[str]:
    names = dict.fromkeys(schema.names)
    for leaf in (path.split(".") for path in paths):
        names |= dict.fromkeys(".".join(leaf[:depth]) for depth in range(1, len(leaf) + 1))
    return list(names)


def _check_options(options: Mapping[str, Any]) -> None:
    for name in options:
        if name not in _OPTIONS:
            message = f"ParquetFile() got an unexpected keyword argument {name!r}"
            raise TypeError(message)
