"""The files of a dataset: how each is opened, and its rows in the columns and types of the dataset."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from arrowseal.exceptions import ObjectChangedError, SchemaMismatchError
from arrowseal.tables.arrow_files import file_reader
from arrowseal.tables.dataset_partitions import Partition, constant
from arrowseal.tables.dataset_pieces import Asked, PieceReader, piece_reader
from arrowseal.tables.formats import TableFormat
from arrowseal.tables.ranges import Content
from arrowseal.tables.refusal import is_refusal, raised_by, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from arrowseal.client import Client
    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.objects import EncryptedObject
    from arrowseal.tables.dataset_listing import Found
    from arrowseal.tables.ranges import Ranges

Result = TypeVar("Result")


@dataclass(frozen=True)
class Strict:
    """What is no mere difference between files of one dataset."""

    missing: bool = False
    """A file without one of the columns that are read."""
    known: frozenset[str] | None = None
    """A file with a column beside these."""
    rounded: bool = False
    """Floats that would become others in the shorter type of the dataset."""


@dataclass(frozen=True)
class Wanted:
    """What is read of each file."""

    schema: pa.Schema | None
    """The columns to read, in their types; None for all, in the types of the file."""
    partition_schema: pa.Schema
    """Those of them that the path says."""
    columns: list[str] | None = None
    """The columns of the result; None for those that are read. Without a schema those of them that are there."""
    filter: pc.Expression | None = None
    """Which rows; None for all. Its columns are in `schema`."""
    strict: Strict = Strict()
    pandas_index: bool = False
    """Whether, without a schema, the columns that are the index of pandas come along."""
    first_rows: int | None = None
    """How many rows are enough of each file, from its beginning; None for all."""

    @cached_property
    def own(self) -> pa.Schema:
        """What files have of the schema themselves; once for all of them."""
        of_paths = set(self.partition_schema.names)
        return pa.schema([column for column in self.schema or () if column.name not in of_paths])

    @cached_property
    def of_paths(self) -> list[tuple[int, pa.Field]]:
        """What the path says of it, and at which place."""
        of_paths = set(self.partition_schema.names)
        return [(at, column) for at, column in enumerate(self.schema or ()) if column.name in of_paths]

    def asked(self, partition: Partition) -> Asked:
        """What is taken from a file itself."""
        if self.schema is None:
            return Asked(self.columns, pandas_index=self.pandas_index)
        rows = self.first_rows if self.filter is None else None
        return Asked(self.own.names, self.own, self.filter, self.schema, partition.expression, rows=rows)

    def finished(self, table: pa.Table, partition: Partition, location: ObjectLocation) -> pa.Table:
        """Rows of a file in the columns and types of the dataset, those that pass the filter."""
        schema = self.schema
        if schema is None:
            return table
        if self.own.names and table.schema.equals(self.own):
            # As nearly all files are: what is left is what their paths say.
            for at, column in self.of_paths:
                values = constant(partition.values.get(column.name), column.type, table.num_rows)
                table = table.add_column(at, column, values)
            table = table.replace_schema_metadata(schema.metadata)
        else:
            table = conformed(table, schema, self.partition_schema, partition, location, self.strict)
        if self.filter is not None:
            table = table.filter(self.filter)
        return table if self.columns is None else table.select(self.columns)


@dataclass(frozen=True)
class Files:
    """How files are opened: by which client, with which keywords of `Client.object`, as what format."""

    client: Client
    keywords: Mapping[str, Any] = field(default_factory=dict)
    format: TableFormat | str | None = None
    """None for what the extension of each says."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Those of `arrowseal.arrow.read_table` for that format."""
    version_ids: Mapping[str, str] = field(default_factory=dict)
    """By the URL of the object."""

    def check(self, found: Found) -> None:
        """Raise `ConfigurationError` or `TypeError` for a file that cannot be read so. No request."""
        file_reader(self.format_of(found), found.location, self.options)

    def format_of(self, found: Found) -> TableFormat:
        """What a file is read as. Raises `ConfigurationError` for a name that does not say it."""
        return TableFormat.of(found.location, self.format)

    def open(self, found: Found, counted: Operation | None) -> EncryptedObject:
        """The object of a file, pinned; the size that a listing told saves a request."""
        version = self.version_ids.get(str(found.location))
        keywords = dict(self.keywords) | ({} if version is None else {"version_id": version})
        return self.client.object(found.location, size_hint=found.stored_bytes, counted=counted, **keywords)

    def schema(self, found: Found, counted: Operation | None = None) -> pa.Schema:
        """The columns of a file."""
        return self._told(found, counted, lambda reader, source: reader.schema(source))

    def rows(self, found: Found, counted: Operation | None = None) -> int | None:
        """How many rows a file has, if it says so."""
        return self._told(found, counted, lambda reader, source: reader.rows(source))

    def tables(
        self, found: Found, wanted: Wanted, partition: Partition, counted: Operation | None = None
    ) -> Iterator[pa.Table]:
        """The rows of a file, in pieces.

        Raises `NotATableError` and `SchemaMismatchError` for a file that is no such table, and what `Client.object`
        raises. A file that is overwritten meanwhile is begun once more, if nothing of it was given out.
        """
        given = False
        try:
            with self.open(found, counted) as source:
                for table in self.tables_of(source, found, wanted, partition, counted):
                    given = True
                    yield table
        except ObjectChangedError:
            if given:
                raise
        else:
            return
        with self.open(found, counted) as source:
            yield from self.tables_of(source, found, wanted, partition, counted)

    def tables_of(
        self, source: Ranges, found: Found, wanted: Wanted, partition: Partition, counted: Operation | None = None
    ) -> Iterator[pa.Table]:
        """The same of a file that was opened. Raises `NotATableError`, `SchemaMismatchError`, and what its source
        raises.
        """
        kind = self.format_of(found)
        reader = piece_reader(kind, found.location, self.options)
        asked = wanted.asked(partition)
        if wanted.strict.known is not None:
            names = parsed(source, found.location, kind, lambda: reader.schema(source), reader.schema).names
            if extra := [name for name in names if name not in wanted.strict.known]:
                raise SchemaMismatchError(f"{found.location} has a column {extra[0]!r} that the dataset has not")
        pieces = reader.pieces(source, asked)
        while True:
            with counted.timed("decode") if counted else nullcontext():
                piece = parsed(
                    source,
                    found.location,
                    kind,
                    lambda: next(pieces, None),
                    lambda other: [*reader.pieces(other, asked)],
                )
            if piece is None:
                return
            yield wanted.finished(piece, partition, found.location)

    def _told(self, found: Found, counted: Operation | None, tell: Callable[[PieceReader, Ranges], Result]) -> Result:
        kind = self.format_of(found)
        reader = piece_reader(kind, found.location, self.options)
        with self.open(found, counted) as source:
            return parsed(source, found.location, kind, lambda: tell(reader, source), lambda other: tell(reader, other))


def parsed(
    source: Ranges,
    location: ObjectLocation,
    table_format: TableFormat,
    parse: Callable[[], Result],
    parse_other: Callable[[Content], object],
) -> Result:
    """`parse()`, which reads a source; where pyarrow refuses the content, our error in place of its own, which may
    quote it. `parse_other` does the same with other content, to tell arguments that cannot be from content that cannot.
    """
    try:
        return parse()
    except BaseException as error:
        if not is_refusal(error):
            raise
        failure = error
    # Not within the except block: there the library's exception would become the context of ours.
    raise raised_by(source, failure) or refusal(
        failure,
        location=location,
        table_format=table_format,
        read=lambda content: parse_other(Content(content)),
        columns_asked=(),
        columns_there=lambda: (),
    )


def conformed(
    table: pa.Table,
    schema: pa.Schema,
    partition_schema: pa.Schema,
    partition: Partition,
    location: ObjectLocation,
    strict: Strict = Strict(),
) -> pa.Table:
    """The rows in the columns and types of `schema`: those of the partition as its path says, those that the file does
    not have as nulls. Raises `SchemaMismatchError` for a column that does not fit.
    """
    if not schema.names:
        return table.select([])
    if table.schema.equals(schema) and set(schema.names).isdisjoint(partition_schema.names):
        return table
    columns = []
    for column in schema:
        at = table.schema.get_all_field_indices(column.name)
        if column.name in partition_schema.names:
            columns.append(constant(partition.values.get(column.name), column.type, table.num_rows))
        elif not at and strict.missing:
            raise SchemaMismatchError(f"{location} has no column {column.name!r}, which the dataset has")
        elif not at:
            columns.append(pa.nulls(table.num_rows, column.type))
        elif len(at) > 1:
            raise SchemaMismatchError(f"{location} has {len(at)} columns that are called {column.name!r}")
        else:
            columns.append(_cast(table.column(at[0]), column, location, strict))
    return pa.Table.from_arrays(columns, schema=schema)


def _cast(values: pa.ChunkedArray, column: pa.Field, location: ObjectLocation, strict: Strict) -> pa.ChunkedArray:
    if values.type == column.type:
        return values
    try:
        converted = values.cast(column.type)
        lost = values.null_count < len(values) and _is_lost(values.type, column.type)
        if not (lost or (strict.rounded and _is_rounded(values, converted))):
            return converted
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass  # its message may quote a value
    raise SchemaMismatchError(
        f"{location}: column {column.name!r} is {values.type} there, which does not become the {column.type} of the "
        "dataset: give schema=, or unify_schemas=True"
    )


def _is_rounded(values: pa.ChunkedArray, converted: pa.ChunkedArray) -> bool:
    """Whether some float is another one in a shorter type, which Arrow converts to without a word."""
    if not (pa.types.is_floating(values.type) and pa.types.is_floating(converted.type)):
        return False
    changed = pc.not_equal(converted.cast(values.type), values)
    return bool(pc.any(pc.and_(changed, pc.invert(pc.is_nan(values)))).as_py())


def _is_lost(there: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether Arrow makes nulls of all that is there, without a word: of values of dictionaries, not of others."""
    if pa.types.is_dictionary(there):
        return bool(pa.types.is_null(wanted))
    fields = [there.field(at) for at in range(there.num_fields)]
    into = [wanted.field(at) for at in range(wanted.num_fields)]
    if pa.types.is_struct(there) and pa.types.is_struct(wanted):
        by_name = {field.name: field for field in into}
        fields = [field for field in fields if field.name in by_name]
        into = [by_name[field.name] for field in fields]
    return any(_is_lost(one.type, other.type) for one, other in zip(fields, into, strict=False))
