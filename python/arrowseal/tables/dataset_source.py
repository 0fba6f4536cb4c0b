"""What a dataset consists of: its files, their partitions, its schema, and which files a filter leaves out."""

from __future__ import annotations

from contextvars import copy_context
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from arrowseal.exceptions import ColumnNotFoundError, ConfigurationError, SchemaMismatchError
from arrowseal.fork_lock import ForkLock
from arrowseal.tables.arrow_files import no_rows
from arrowseal.tables.arrow_types import without_views
from arrowseal.tables.dataset_counting import Answer
from arrowseal.tables.dataset_files import Files, Strict
from arrowseal.tables.dataset_flow import in_order, threads_of
from arrowseal.tables.dataset_partitions import constant, matching
from arrowseal.tables.parquet import by_position, index_columns
from arrowseal.tables.statistics import as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation
    from arrowseal.progress import ProgressOption
    from arrowseal.tables.dataset_listing import Found
    from arrowseal.tables.dataset_partitions import Partition

_FOOTER_BYTES: Final = 64 * 2**10
_AT: Final = "\x7fat"


@dataclass(frozen=True)
class DatasetFile:
    """A file of a dataset, and what its path says."""

    found: Found = field(repr=False)
    partition: Partition

    @property
    def location(self) -> ObjectLocation:
        return self.found.location

    @property
    def path(self) -> str:
        """Its URL."""
        return str(self.found.location)

    @property
    def partition_expression(self) -> pc.Expression:
        """What its path says of its rows, as a filter."""
        return self.partition.expression


class Needed(NamedTuple):
    """The columns of a read: those of these names, of the index of pandas, and all that a filter may look at."""

    names: frozenset[str]
    filter: str

    def of(self, schemas: list[pa.Schema]) -> list[pa.Schema]:
        """The schemas, in which every other column is of the type that the first file with it has."""
        names = self.names.union(*map(index_columns, schemas))
        first: dict[str, pa.Field] = {}
        for column in chain.from_iterable(schemas):
            if column.name not in names and column.name not in self.filter:
                first.setdefault(column.name, column)
        return [pa.schema([first.get(one.name, one) for one in schema], schema.metadata) for schema in schemas]


@dataclass(frozen=True, kw_only=True)
class DatasetSource:
    """A dataset as one value. Threads may share it."""

    files: Files
    members: tuple[DatasetFile, ...]
    first: Found
    """The file that says the schema."""
    partition_schema: pa.Schema
    location: ObjectLocation
    """What stands for it in counters: the prefix, or the first file."""
    shown: str
    """The same for messages."""
    given_schema: pa.Schema | None = None
    rounds: bool = False
    """Whether a schema of the caller's asks for shorter floats than files have."""
    unify_schemas: bool = False
    missing_columns: Literal["insert", "raise"] = "insert"
    extra_columns: Literal["ignore", "raise"] = "ignore"
    """What a file of other columns is: polars' words. `"ignore"` leaves out those that the schema does not have."""
    use_threads: bool | int = True
    progress: ProgressOption | None = None
    operation: str = "dataset"
    """What its reads are called in counters."""
    needed: Needed | None = None
    """The columns that have to go together where schemas are unified; None for all."""
    _found: list[pa.Schema] = field(default_factory=list, repr=False, compare=False)
    """The schema, once files were asked for it."""
    _lock: Any = field(default_factory=ForkLock, repr=False, compare=False)

    @property
    def threads(self) -> int:
        """How many files are at work at a time."""
        return threads_of(self.use_threads)

    @property
    def inspected(self) -> bool:
        """Whether the schema is known."""
        return self.given_schema is not None or bool(self._found)

    def schema(self, counted: Operation | None = None) -> pa.Schema:
        """The columns of files, then those of partitions: those of the first file, or of all. Files are asked once.
        Raises what opening them raises.
        """
        if self.given_schema is not None:
            return self.given_schema
        with self._lock:
            if not self._found:
                if self.unify_schemas and self.members:
                    found = self.unified(self._schemas(counted))
                else:
                    found = self.with_partitions(self.files.schema(self.first, counted))
                self._found.append(found)
            return self._found[0]

    def strict(self, schema: pa.Schema) -> Strict:
        """How files may differ from a schema."""
        known = frozenset(schema.names) if self.extra_columns == "raise" else None
        return Strict(self.missing_columns == "raise", known, rounded=not self.rounds)

    def with_partitions(self, schema: pa.Schema) -> pa.Schema:
        """The columns of a file, then those of partitions. One that is in both is what the path says, where the file
        has it, and of the type that the file has, if that is as good.
        """
        own = self._as_paths_say(schema)
        return pa.schema([*own, *(one for one in self.partition_schema if one.name not in own.names)], schema.metadata)

    def _as_paths_say(self, schema: pa.Schema) -> pa.Schema:
        kinds = {column.name: column.type for column in self.partition_schema}
        columns = [
            column if _is_alike(column.type, kind := kinds.get(column.name, column.type)) else column.with_type(kind)
            for column in schema
        ]
        return pa.schema(columns, schema.metadata)

    def unified(self, schemas: Iterable[pa.Schema]) -> pa.Schema:
        """One schema that fits all, with types that hold all of theirs. Raises `SchemaMismatchError`."""
        given = _distinct(map(self._as_paths_say, schemas))
        given = given if self.needed is None else self.needed.of(given)
        try:
            together = _promoted(given)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            message = f"{self.shown}: its files have columns that do not go together ({error}): give schema="
            raise SchemaMismatchError(message) from None
        return self.with_partitions(together.with_metadata(given[0].metadata))

    def for_columns(self, columns: Iterable[str], expression: pc.Expression | None) -> DatasetSource:
        """The same for a read of these columns, the index of pandas and those of a filter: others may be of types that
        do not go together.
        """
        if expression is not None and by_position(expression):
            return self
        names = frozenset(part for name in columns for part in (name, name.split(".")[0]))
        return replace(self, needed=Needed(names, "" if expression is None else as_text(expression)), _found=[])

    def _schemas(self, counted: Operation | None) -> Iterator[pa.Schema]:
        answers = in_order(
            self.members,
            lambda member: [Answer(self.files.schema(member.found, counted))],
            size_of=lambda _: _FOOTER_BYTES,
            context=copy_context(),
            threads=self.threads,
        )
        return (answer.value for answer in answers)

    def pruned(
        self,
        expression: pc.Expression | None,
        counted: Operation | None = None,
    ) -> tuple[list[DatasetFile], pc.Expression | None]:
        """The files that may have rows of a filter, and what of it has to be asked of their rows: all, or nothing if it
        names columns of partitions only. That needs no request.
        """
        if expression is None:
            return list(self.members), None
        partitions = list({id(member.partition): member.partition for member in self.members}.values())
        if binds(expression, self.partition_schema):
            kept, rest = self._decided(partitions, expression), None
        else:
            schema = self.schema(counted)
            self.check(expression, schema)
            kept, rest = matching(partitions, expression, schema), expression
        ids = {id(partition) for partition in kept}
        return [member for member in self.members if id(member.partition) in ids], rest

    def narrowed(self, expression: pc.Expression, counted: Operation | None = None) -> DatasetSource:
        """The same without the files that cannot have rows of a filter by what their paths say. The first file is asked
        for its schema, no other one.
        """
        partitions = list({id(member.partition): member.partition for member in self.members}.values())
        if len(partitions) == 1:
            return self
        schema = self.with_partitions(self.files.schema(self.first, counted))
        try:
            ids = {id(partition) for partition in matching(partitions, expression, schema)}
        except pa.ArrowException:
            return self  # columns or types that only other files have
        return replace(self, members=tuple(one for one in self.members if id(one.partition) in ids), _found=[])

    def _decided(self, partitions: list[Partition], expression: pc.Expression) -> list[Partition]:
        """The partitions for which a filter on their values is true."""
        rows = [
            pa.concat_arrays([constant(partition.values.get(column.name), column.type, 1) for partition in partitions])
            if not pa.types.is_dictionary(column.type)
            else pa.chunked_array([constant(one.values.get(column.name), column.type, 1) for one in partitions])
            for column in self.partition_schema
        ]
        table = pa.table([*rows, pa.array(range(len(partitions)))], names=[*self.partition_schema.names, _AT])
        return [partitions[at] for at in table.filter(expression)[_AT].to_pylist()]

    def check(self, expression: pc.Expression, schema: pa.Schema, of: str = "the filter") -> None:
        """Raise `ColumnNotFoundError` for a filter on a column that the schema does not have."""
        try:
            no_rows(schema).filter(expression)
        except pa.ArrowInvalid as error:
            if "FieldRef" in str(error):
                raise ColumnNotFoundError(f"{self.shown}: a column of {of} is not there: {error}") from None
            raise

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=ForkLock())


def _distinct(schemas: Iterable[pa.Schema]) -> list[pa.Schema]:
    """Each of them once. By their bytes: extension types of Python have no hash, and so no schema that has one."""
    found: dict[bytes, pa.Schema] = {}
    for schema in schemas:
        found.setdefault(schema.remove_metadata().serialize().to_pybytes(), schema)
    return [*found.values()]


def _promoted(schemas: list[pa.Schema]) -> pa.Schema:
    try:
        return pa.unify_schemas(schemas, promote_options="permissive")
    except pa.ArrowTypeError:
        return pa.unify_schemas(_decoded(schemas), promote_options="permissive")


def _decoded(schemas: list[pa.Schema]) -> list[pa.Schema]:
    """The schemas with the values of dictionaries in place of those columns that are no such dictionaries elsewhere,
    without views in columns of other types elsewhere, and with the extensions and time zones that the first file has:
    pyarrow promotes none of these.
    """
    found: dict[str, list[pa.DataType]] = {}
    for column in chain.from_iterable(schemas):
        kinds = found.setdefault(column.name, [])
        if not pa.types.is_null(column.type) and column.type not in kinds:
            kinds.append(column.type)

    def decoded(column: pa.Field) -> pa.Field:
        kinds = found[column.name]
        if len(kinds) < 2 or pa.types.is_null(column.type):
            return column
        if _ordered(column.type) is not None and len({_ordered(kind) for kind in kinds}) > 1:
            column = column.with_type(column.type.value_type)
        if isinstance(kinds[0], pa.BaseExtensionType) and column.type == kinds[0].storage_type:
            column = column.with_type(kinds[0])
        elif isinstance(column.type, pa.BaseExtensionType) and column.type != kinds[0]:
            column = column.with_type(column.type.storage_type)
        if all(pa.types.is_timestamp(kind) and kind.tz is not None for kind in kinds):
            column = column.with_type(pa.timestamp(column.type.unit, kinds[0].tz))
        return without_views(pa.schema([column])).field(0)

    return [pa.schema(map(decoded, schema), schema.metadata) for schema in schemas]


def _ordered(kind: pa.DataType) -> bool | None:
    """Whether a dictionary is ordered; None for what is none."""
    return bool(kind.ordered) if pa.types.is_dictionary(kind) else None


def _is_alike(one: pa.DataType, other: pa.DataType) -> bool:
    kinds = (pa.types.is_integer, lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind))
    return one == other or any(is_kind(one) and is_kind(other) for is_kind in kinds)


def as_expression(filter: Any) -> pc.Expression | None:  # noqa: A002 - pyarrow's word
    """A filter as pyarrow takes it: an expression, or tuples in lists, `[("year", "=", 2013)]`."""
    if filter is None or isinstance(filter, pc.Expression):
        return filter
    try:
        return pq.filters_to_expression(filter)
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(f"filter= is a pyarrow expression, or tuples in lists: {error}") from None


def binds(expression: pc.Expression, schema: pa.Schema) -> bool:
    """Whether a filter looks at columns of the schema only. One by position does not: it means those of the dataset."""
    if by_position(expression):
        return False
    try:
        no_rows(schema).filter(expression)
    except pa.ArrowInvalid:
        return False
    return True
