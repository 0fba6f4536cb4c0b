"""A read of a dataset: which columns and rows, streamed in order or taken whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import acero

from arrowseal.exceptions import ColumnNotFoundError, SchemaMismatchError
from arrowseal.tables.arrow_files import no_rows
from arrowseal.tables.asked import checked_columns, checked_number
from arrowseal.tables.dataset_counting import Answer, Underway
from arrowseal.tables.dataset_files import Wanted
from arrowseal.tables.dataset_flow import in_order, threads_of
from arrowseal.tables.dataset_source import binds
from arrowseal.tables.formats import TableFormat
from arrowseal.tables.parquet import index_columns, names_of_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from arrowseal.counters import Operation
    from arrowseal.tables.dataset_files import Files
    from arrowseal.tables.dataset_flow import Rows
    from arrowseal.tables.dataset_source import DatasetFile, DatasetSource

BATCH_ROWS: Final = 131_072
"""pyarrow's own."""
_MOST_OF_ONE_FILE: Final = 128 * 2**20
"""What a large file has in memory at a time, about: two of its waves."""
_NO_COLUMNS: Final = pa.schema([])
_TEXTS: Final = (TableFormat.CSV, TableFormat.JSON)

Columns = Sequence[str] | Mapping[str, pc.Expression] | None


class DatasetScan:
    """What of a dataset is read, to be read again and again: made by `EncryptedDataset.scanner`, with the habits of
    `pyarrow.dataset.Scanner`. Each read is one operation in the counters. With `pandas_index`, the columns that are the
    index of pandas come along with those that were asked for.
    """

    def __init__(
        self,
        source: DatasetSource,
        columns: Columns,
        filter: pc.Expression | None,  # noqa: A002 - pyarrow's word
        batch_size: int = BATCH_ROWS,
        use_threads: bool | int | None = None,
        *,
        pandas_index: bool = False,
    ) -> None:
        self._source = source
        self._columns = checked_columns(columns)
        self._filter = filter
        self._batch_size = checked_number("batch_size", batch_size, 1)
        self._pandas_index = pandas_index
        self._threads = source.threads if use_threads is None else threads_of(use_threads)

    @property
    def files(self) -> Files:
        """How files are opened and read."""
        return self._source.files

    @property
    def dataset_schema(self) -> pa.Schema:
        """All columns that there are."""
        return self._source.schema()

    @property
    def projected_schema(self) -> pa.Schema:
        """The columns of the result."""
        return self._projected(self._source.schema())

    def to_table(self) -> pa.Table:
        """All of it in memory."""
        if self._source.unify_schemas and not self._source.inspected:
            return self._unified_table()
        return _together(self.projected_schema, list(self._tables()))

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """It in batches, in the order of files and rows. What is read ahead is bounded; closing stops it."""
        for table in self._tables():
            if table.num_columns:
                yield from table.to_batches(max_chunksize=self._batch_size)
            else:
                for begin in range(0, table.num_rows, self._batch_size):
                    rows = pa.nulls(min(self._batch_size, table.num_rows - begin))
                    yield pa.RecordBatch.from_arrays([rows], names=[""]).select([])

    def to_reader(self) -> pa.RecordBatchReader:
        """It as a stream of Arrow, read once."""
        return pa.RecordBatchReader.from_batches(self.projected_schema, self.to_batches())

    def head(self, num_rows: int) -> pa.Table:
        """Its first rows: the first file alone, then, if these are not enough, more of them side by side."""
        checked_number("num_rows", num_rows, 0)
        table = _together(self.projected_schema, list(self._tables(num_rows)))
        return table.slice(0, min(num_rows, table.num_rows))  # without columns, pyarrow gives as many as are asked for

    def count_rows(self) -> int:
        """How many rows it has."""
        with self.counted() as operation:
            operation.rows = self._counted_rows(operation)
            return operation.rows

    def __arrow_c_schema__(self) -> Any:
        return self.projected_schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.to_reader().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return f"<DatasetScan of {self._source.shown}>"

    @contextmanager
    def counted(self) -> Iterator[Operation]:
        """One read of it is under way: an operation in the counters, which leaves its row if the block ends well."""
        source = self._source
        total = sum(member.found.stored_bytes or 0 for member in source.members)
        kind = source.files.format_of(source.first).value
        underway = Underway(
            source.files.client, source.operation, source.location, kind, progress=source.progress, total=total or None
        )
        succeeded = False
        try:
            yield underway.operation
            succeeded = True
        except GeneratorExit:  # who reads has enough
            succeeded = True
            raise
        finally:
            underway.end(succeeded=succeeded)

    def _tables(self, limit: int | None = None) -> Iterator[pa.Table]:
        """The rows in the columns of the result, counted; at least the first `limit`, if that many are enough."""
        rows = 0
        with self.counted() as operation:
            wanted, members = self.planned(operation)
            wanted = replace(wanted, first_rows=limit)
            for table in self._read(members, wanted, operation, first_alone=limit is not None):
                rows += table.num_rows
                if table.num_rows:
                    yield self._project(table)
                if limit is not None and rows >= limit:
                    break
            operation.rows = rows

    def planned(self, operation: Operation) -> tuple[Wanted, list[DatasetFile]]:
        """What is read of which files. With a schema at hand, nothing is requested for it."""
        source = self._source
        schema = source.schema(operation)
        members, left = source.pruned(self._filter, operation)
        return replace(self._wanted(schema, left), strict=source.strict(schema)), members

    def _wanted(self, schema: pa.Schema, left: pc.Expression | None) -> Wanted:
        """The columns of the result, and those that a filter looks at."""
        columns = names = self._whole_columns(schema)
        if left is not None:  # which may go by position, so that no column moves
            named = {*names, *names_of_filter(None, left, schema)}
            names = [name for name in schema.names if name in named]
        read = pa.schema([self._field(name, schema) for name in names], schema.metadata)
        return Wanted(read, self._source.partition_schema, columns, left)

    def _read(
        self, members: list[DatasetFile], wanted: Wanted, operation: Operation, *, first_alone: bool = False
    ) -> Iterator[pa.Table]:
        def run(member: DatasetFile) -> Iterator[pa.Table]:
            return self._source.files.tables(member.found, wanted, member.partition, operation)

        return self.flow(members, run, first_alone=first_alone)

    def flow(
        self, members: list[DatasetFile], run: Callable[[DatasetFile], Iterable[Rows]], *, first_alone: bool = False
    ) -> Iterator[Rows]:
        """What `run` gives for each file, in their order, several at work at a time; with `first_alone` the first one
        before any other begins.
        """
        flow = partial(in_order, run=run, size_of=_size, context=copy_context())
        if first_alone:
            return chain(flow(members[:1], threads=1), flow(members[1:], threads=self._threads))
        return flow(members, threads=self._threads)

    def _projected(self, schema: pa.Schema) -> pa.Schema:
        if self._columns is None:
            return schema
        if isinstance(self._columns, Mapping):
            for one in self._columns.values():
                self._checked(one, schema)
            return self._project(no_rows(schema)).schema
        asked = self._asked(schema)
        fields = [self._field(path[0], schema) for path in asked]
        for at, (_, *inner) in enumerate(asked):
            for name in inner:
                fields[at] = fields[at].type.field(name)
        return pa.schema(fields, schema.metadata)

    def _whole_columns(self, schema: pa.Schema) -> list[str]:
        """The columns, each once, that the result is made of."""
        if self._columns is None:
            return list(schema.names)
        if isinstance(self._columns, Mapping):
            checked = [self._checked(one, schema) for one in self._columns.values()]
            named = {name for one in checked for name in names_of_filter(None, one, schema)}
            return [name for name in schema.names if name in named] or schema.names[:1]  # which has the rows
        return list(dict.fromkeys(path[0] for path in self._asked(schema)))

    def _checked(self, expression: pc.Expression, schema: pa.Schema) -> pc.Expression:
        """A filter that looks at the columns that an expression needs. Raises `ColumnNotFoundError`."""
        valid = expression.is_valid()  # whatever its type is
        self._source.check(valid, schema, of="columns=")
        return valid

    def _asked(self, schema: pa.Schema) -> list[list[str]]:
        """The paths of the columns by name, and of those of the index where that is to come along."""
        paths = [self._path(name, schema) for name in self._names() or []]
        if self._pandas_index:
            paths += [[name] for name in index_columns(schema) if name in schema.names and [name] not in paths]
        return paths

    def _path(self, name: str, schema: pa.Schema) -> list[str]:
        """The column of that name, or the fields of structs, `"a.b"`, that lead to one within a column."""
        path = [name] if name in schema.names else name.split(".")
        kind: Any = schema
        for part in path:
            inner = kind.names if isinstance(kind, (pa.Schema, pa.StructType)) else []
            if part not in inner:
                raise ColumnNotFoundError(f"{self._source.shown} has no column {name!r}: it has {schema.names}")
            kind = (self._field(part, schema) if kind is schema else kind.field(part)).type
        return path

    def _field(self, name: str, schema: pa.Schema) -> pa.Field:
        at = schema.get_all_field_indices(name)
        if len(at) > 1:
            raise SchemaMismatchError(f"{self._source.shown} has {len(at)} columns that are called {name!r}")
        return schema.field(at[0])

    def _names(self) -> list[str] | None:
        """The columns by name; None for all."""
        return None if self._columns is None else list(self._columns)

    def _project(self, table: pa.Table) -> pa.Table:
        if not isinstance(self._columns, Mapping):
            paths = self._asked(table.schema)
            if self._columns is None or paths == [[name] for name in table.column_names]:
                return table
            return self._picked(table, paths)
        source = acero.Declaration("table_source", acero.TableSourceNodeOptions(table))
        options = acero.ProjectNodeOptions(list(self._columns.values()), list(self._columns))
        return acero.Declaration("project", options, inputs=[source]).to_table(use_threads=False)

    def _picked(self, table: pa.Table, paths: list[list[str]]) -> pa.Table:
        """The columns at these paths, by the last of their names; one may come several times."""
        columns = [table.column(path[0]) for path in paths]
        for at, (_, *inner) in enumerate(paths):
            if inner:
                columns[at] = pc.struct_field(columns[at], inner)
        return pa.Table.from_arrays(columns, names=[path[-1] for path in paths], metadata=table.schema.metadata)

    def _unified_table(self) -> pa.Table:
        """All of it, where only all files together tell the schema."""
        source = self._source
        with self.counted() as operation:
            by_path = self._filter is None or binds(self._filter, source.partition_schema)
            narrowed = source if by_path else source.narrowed(self._filter, operation)
            try:
                whole = self._unified(narrowed, operation, by_path=by_path)
            except ColumnNotFoundError:
                if narrowed is source:
                    raise
                whole = self._unified(source, operation, by_path=by_path)  # other files have it
            operation.rows = whole.num_rows
            return whole

    def _unified(self, source: DatasetSource, operation: Operation, *, by_path: bool) -> pa.Table:
        """Each file is read once, unless a filter on rows or expressions leave most of large ones where it is: then all
        are asked for their schemas first. Text that other files show to be of another type is read again.
        """
        made = isinstance(self._columns, Mapping)
        if (made or not by_path) and not self._are_read_once(source.members):
            scan = DatasetScan(source, self._columns, self._filter, pandas_index=self._pandas_index)
            wanted, members = scan.planned(operation)
            tables = [scan._project(table) for table in self._read(members, wanted, operation)]
            return _together(scan.projected_schema, tables)
        members = source.pruned(self._filter)[0] if by_path else list(source.members)
        picks = by_path and not made
        names = self._names_anywhere() if picks else None
        own = Wanted(None, _NO_COLUMNS, names, pandas_index=self._pandas_index)
        read = self._read_each(members, own, operation)
        schema = source.unified(table.schema for _, table in read) if read else source.schema(operation)
        if picks and not all({name, name.split(".")[0]} & {*schema.names} for name in self._names() or []):
            schema = source.schema(operation)  # for the error, which lists what could be asked for
        if self._filter is not None and not by_path:
            source.check(self._filter, schema)
        wanted = self._wanted(schema, None if by_path else self._filter)
        others = {id(one): one for one, table in read if self._is_text_of_other_types(one, table, wanted.own)}
        again = self._read_each([*others.values()], wanted, operation)
        finished = {key: [table for one, table in again if id(one) == key] for key in others}
        for one, table in read:
            if id(one) not in others:
                finished.setdefault(id(one), []).append(wanted.finished(table, one.partition, one.location))
        in_order_of_files = chain.from_iterable(finished.get(id(one), []) for one in members)
        return _together(self._projected(schema), [self._project(table) for table in in_order_of_files])

    def _read_each(
        self, members: list[DatasetFile], wanted: Wanted, operation: Operation
    ) -> list[tuple[DatasetFile, pa.Table]]:
        """What is wanted of each file, and which one it is of."""

        def run(member: DatasetFile) -> Iterator[Answer[tuple[DatasetFile, pa.Table]]]:
            for table in self.files.tables(member.found, wanted, member.partition, operation):
                yield Answer((member, table), table.nbytes)

        return [answer.value for answer in self.flow(members, run)]

    def _is_text_of_other_types(self, member: DatasetFile, table: pa.Table, schema: pa.Schema) -> bool:
        """Whether text was parsed as something else than the schema says. What it became may not tell it: null is an
        empty text among texts, and not all integers are floats.
        """
        if self.files.format_of(member.found) not in _TEXTS:
            return False
        own = set(table.schema.names).intersection(schema.names) - set(self._source.partition_schema.names)
        return any(table.schema.field(name).type != schema.field(name).type for name in own)

    def _are_read_once(self, members: Sequence[DatasetFile]) -> bool:
        """Whether most bytes are in files that come with one request, whatever of them is asked for, or are text."""
        if self.files.format_of(self._source.first) in _TEXTS:
            return True
        at_once = self.files.client.options.transfer.part_bytes
        sizes = [member.found.stored_bytes for member in members]
        large = sum(size for size in sizes if size is not None and size > at_once)
        return None not in sizes and 2 * large <= sum(size for size in sizes if size is not None)

    def _names_anywhere(self) -> list[str] | None:
        """The columns by name, and those that they may lie in, before it is known which there are."""
        names = self._names()
        return None if names is None else list(dict.fromkeys([*names, *(name.split(".")[0] for name in names)]))

    def _counted_rows(self, operation: Operation) -> int:
        source = self._source
        members, left = source.pruned(self._filter, operation)
        if left is not None:  # the columns of the filter are enough
            counting = DatasetScan(source, [], self._filter, use_threads=self._threads)
            wanted, members = counting.planned(operation)
            return sum(table.num_rows for table in counting._read(members, wanted, operation))
        nothing = Wanted(_NO_COLUMNS, _NO_COLUMNS)

        def run(member: DatasetFile) -> Iterator[Answer[int]]:
            rows = source.files.rows(member.found, operation)
            if rows is not None:
                yield Answer(rows)
            else:
                for table in source.files.tables(member.found, nothing, member.partition, operation):
                    yield Answer(table.num_rows)

        return sum(answer.value for answer in self.flow(members, run))


def _together(schema: pa.Schema, tables: list[pa.Table]) -> pa.Table:
    if not schema.names:  # a table that is made of others counts its rows by its columns
        return pa.table([pa.nulls(sum(table.num_rows for table in tables))], names=[""]).select([])
    return pa.concat_tables([no_rows(schema), *tables])


def _size(member: DatasetFile) -> int | None:
    stored = member.found.stored_bytes
    return None if stored is None else min(stored, _MOST_OF_ONE_FILE)
