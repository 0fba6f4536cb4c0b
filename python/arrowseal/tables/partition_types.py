"""How paths are parted, where that is not said: the columns and their types, inferred from all paths of a dataset."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.dataset as ds

from arrowseal.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

HIVE_NULL: Final = "__HIVE_DEFAULT_PARTITION__"
_INTEGER: Final = re.compile("-?[0-9]+")

_Values: TypeAlias = Mapping[str, Mapping[str | None, None]]
"""What paths say of each column, each value once, in their order."""


def arrow_type(values: set[str]) -> pa.DataType:
    """What pyarrow takes the values of a partition column for."""
    return pa.int32() if all(_INTEGER.fullmatch(v) and -(2**31) <= int(v) < 2**31 for v in values) else pa.string()


class Types(NamedTuple):
    """The types of partition columns, by their names or else by their values."""

    given: Mapping[str, pa.DataType]
    of_values: Callable[[set[str]], pa.DataType]

    def inferred(self, values: _Values) -> pa.Schema:
        there = {name: {value for value in found if value is not None} for name, found in values.items()}
        return pa.schema([(name, self._of(name, found)) for name, found in there.items()])

    def _of(self, name: str, values: set[str]) -> pa.DataType:
        given = self.given.get(name)
        if given is not None:
            return given
        return self.of_values(values) if values else pa.string()


def value_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values of a column."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def partitioning_of(given: Any, paths: Sequence[str], types: Types) -> ds.Partitioning | None:
    """What `partitions_of` takes, as a `Partitioning` with a schema. Raises `ConfigurationError`."""
    if given is None or isinstance(given, ds.Partitioning):
        return given
    if isinstance(given, ds.PartitioningFactory):
        return _of_factory(given, paths, types)
    if given == "hive":
        return ds.HivePartitioning(types.inferred(_hive_values(paths)))
    values = _values_in_order(given, map(_segments_of_directory, paths), unquote)
    return ds.DirectoryPartitioning(types.inferred(values))


def _of_factory(factory: ds.PartitioningFactory, paths: Sequence[str], types: Types) -> ds.Partitioning:
    """What the factory would make; it does so only for files, but says what it was made of."""
    _, options = factory.__reduce__()
    *_, schema, encoding = options
    decode = unquote if encoding == "uri" else str
    names = [] if options[0] is None else options[0]
    if factory.type_name == "hive":
        encoded, _, null = options[:3]
        kinds, dictionaries = _with_dictionaries(schema, _hive_values(paths, null, decode), types, encoded=encoded)
        return ds.HivePartitioning(kinds, dictionaries, null, encoding)
    encoded = options[1]
    by_name = factory.type_name == "filename"
    segments_of = _segments_of_name if by_name else _segments_of_directory
    values = _values_in_order(names if schema is None else schema.names, map(segments_of, paths), decode)
    kinds, dictionaries = _with_dictionaries(schema, values, types, encoded=encoded)
    kind = ds.FilenamePartitioning if by_name else ds.DirectoryPartitioning
    return kind(kinds, dictionaries, encoding)


def _with_dictionaries(
    schema: pa.Schema | None, values: _Values, types: Types, *, encoded: bool
) -> tuple[pa.Schema, dict[str, pa.Array]]:
    """The types of columns, the given ones or inferred ones, and all values of those that are dictionaries."""
    if schema is None:
        schema = types.inferred(values)
        if encoded:
            free = [column for column in schema if column.name not in types.given]
            kinds = {column.name: pa.dictionary(pa.int32(), column.type) for column in free}
            schema = pa.schema([column.with_type(kinds.get(column.name, column.type)) for column in schema])
    dictionaries = {}
    for column in schema:
        if pa.types.is_dictionary(column.type):
            texts = [value for value in values.get(column.name, ()) if value is not None]
            try:
                dictionaries[column.name] = pa.array(texts, pa.string()).cast(column.type.value_type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise ConfigurationError(f"paths do not fit the partitioning: {column.name!r}: {error}") from None
    return schema, dictionaries


def _hive_values(paths: Iterable[str], null: str = HIVE_NULL, decode: Callable[[str], str] = unquote) -> _Values:
    values: dict[str, dict[str | None, None]] = {}
    for directory in dict.fromkeys(path.rpartition("/")[0] for path in paths):
        for segment in directory.split("/"):
            name, equals, value = segment.partition("=")
            if equals:
                value = decode(value)
                values.setdefault(decode(name), {})[None if value == null else value] = None
    return values


def _values_in_order(
    names: Sequence[str], segments: Iterable[tuple[str, ...]], decode: Callable[[str], str]
) -> _Values:
    values: dict[str, dict[str | None, None]] = {name: {} for name in names}
    for each in dict.fromkeys(segments):
        for name, segment in zip(names, each, strict=False):
            if segment:
                values[name][decode(segment)] = None
    return values


def _segments_of_directory(path: str) -> tuple[str, ...]:
    return tuple(path.split("/")[:-1])


def _segments_of_name(path: str) -> tuple[str, ...]:
    """Those before the last `_`, which each stand before one."""
    return tuple(path.rpartition("/")[2].split("_")[:-1])
