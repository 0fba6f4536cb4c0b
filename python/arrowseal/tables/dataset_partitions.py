"""Partitions: values that the path of a file gives to all of its rows, and which of them a filter can leave out.

Paths are parsed and formatted by `pyarrow.dataset.Partitioning`, and filters decided by it, so that both are as there;
nothing of a file is needed for it. Values that come from paths are not authenticated: whoever can copy objects in the
bucket can move a file to another partition.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs

from arrowseal.exceptions import ConfigurationError, SchemaMismatchError
from arrowseal.tables.dataset_listing import HIDDEN
from arrowseal.tables.partition_types import HIVE_NULL, Types, arrow_type, partitioning_of, value_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_NO_NAME: Final = re.compile(r"[/=\x00-\x1f\x7f]")
_EVERYTHING: Final = pc.scalar(True)


@dataclass(frozen=True)
class Partition:
    """What a path says of the rows of its files."""

    values: Mapping[str, Any] = field(default_factory=dict)
    """The values of the partition columns; None for null."""
    expression: pc.Expression = field(default_factory=lambda: _EVERYTHING, repr=False, compare=False)
    """The same as a filter that is true for each row."""


WHOLE: Final = Partition()
"""Of files whose path says nothing."""


@dataclass(frozen=True)
class Partitions:
    """The partition columns of a dataset, and the partition of each of its paths."""

    schema: pa.Schema
    of_path: Mapping[str, Partition]
    """By the path below the base of the dataset."""


def partitions_of(
    paths: Iterable[str],
    partitioning: Any,
    type_of: Callable[[set[str]], pa.DataType] = arrow_type,
    schema: pa.Schema | None = None,
) -> Partitions:
    """The partitions of files, by their paths below the base of their dataset.

    `partitioning` is what `pyarrow.dataset.dataset` takes: `"hive"`, names of fields (one for each level), a
    `Partitioning` or a `PartitioningFactory`; None for none. Where it says no types, the schema of the dataset does if
    it is given, otherwise `type_of` by all values: by itself int32, or string as soon as one value is no int32.

    Raises `ConfigurationError` for another partitioning, or a path that it does not fit.
    """
    paths = list(paths)
    types = {} if schema is None else {column.name: value_type(column.type) for column in schema}
    chosen = partitioning_of(partitioning, paths, Types(types, type_of))
    if chosen is None:
        return Partitions(pa.schema([]), dict.fromkeys(paths, WHOLE))
    by_name = isinstance(chosen, ds.FilenamePartitioning)
    parsed: dict[str, Partition] = {}
    of_path = {}
    for path in paths:
        part = path if by_name else path[: path.rfind("/") + 1]
        if part not in parsed:
            parsed[part] = _parsed(chosen, part)
        of_path[path] = parsed[part]
    return Partitions(chosen.schema, of_path)


def _parsed(partitioning: ds.Partitioning, path: str) -> Partition:
    try:
        expression = partitioning.parse(path)
    except pa.ArrowInvalid as error:
        raise ConfigurationError(f"the path {path!r} does not fit the partitioning: {error}") from None
    except pa.ArrowNotImplementedError as error:  # decimals, for one
        kinds = ", ".join(f"{column.name!r} {column.type}" for column in partitioning.schema)
        raise ConfigurationError(
            f"columns of paths ({kinds}) are of types that Arrow does not read from text ({error}): have them read as "
            "pyarrow.string(), and cast them"
        ) from None
    return Partition(ds.get_partition_keys(expression), expression)


def check_partitioning(given: Any) -> None:
    """Raise `ConfigurationError` for what says nothing of how paths are read."""
    if given is None or given == "hive" or isinstance(given, ds.Partitioning | ds.PartitioningFactory):
        return
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        raise ConfigurationError(
            'partitioning= is "hive", a list of names, pyarrow.dataset.partitioning(...), or None for none'
        )


def partitioning_to_write(
    given: Any, flavor: str | None, schema: pa.Schema, *, keeps_keys: bool = False
) -> ds.Partitioning | None:
    """How a table of that schema is parted: `given` is a `Partitioning` with a schema, or names of columns, which
    become directories `name=value` (`flavor="hive"`), or bare values (`"directory"`), or the beginning of names
    (`"filename"`); None for not at all. With `keeps_keys` files hold these columns too. Raises
    `ConfigurationError` for what cannot be.
    """
    if isinstance(given, ds.PartitioningFactory):
        raise ConfigurationError("give pyarrow.dataset.partitioning(...) a schema: what is written needs its types")
    if not isinstance(given, ds.Partitioning | Collection | None):
        raise ConfigurationError(f"partitioning= is a Partitioning or names of columns, not {type(given).__name__}")
    if given is None or (not isinstance(given, (ds.Partitioning, str)) and len(given) == 0):
        return None
    if isinstance(given, ds.Partitioning):
        if flavor is not None:
            raise ConfigurationError("partitioning_flavor= goes with names of columns, not with a Partitioning")
        names = given.schema.names
    else:
        names = [given] if isinstance(given, str) else list(given)
    missing = [name for name in names if name not in schema.names]
    if missing:
        raise ConfigurationError(f"the table has no column {missing[0]!r} to part it by: it has {schema.names}")
    if len(names) >= len(schema.names) and not keeps_keys:
        raise ConfigurationError("at least one column has to be left that the table is not parted by")
    twice = [name for name in names if schema.names.count(name) > 1]
    if twice:
        raise ConfigurationError(f"the table has several columns {twice[0]!r}, which cannot part it: rename them")
    if isinstance(given, ds.Partitioning):
        return _of_values(given)
    fields = [pa.field(name, value_type(schema.field(name).type)) for name in names]
    for column in fields:
        if pa.types.is_nested(column.type):
            raise ConfigurationError(f"{column.name!r} is {column.type}, and cannot be part of a path")
    chosen = flavor or "hive"
    if chosen == "hive":
        return ds.HivePartitioning(pa.schema(fields))
    if chosen in ("directory", "filename"):
        return ds.partitioning(pa.schema(fields), flavor=None if chosen == "directory" else chosen)
    raise ConfigurationError(f"partitioning_flavor={flavor!r} is not known: 'hive', 'directory' or 'filename'")


def _of_values(partitioning: ds.Partitioning) -> ds.Partitioning:
    """The same without dictionaries: pyarrow needs all their values to read a path, and those written may be new."""
    kind, (schema, _, *rest) = partitioning.__reduce__()
    return kind(pa.schema([column.with_type(value_type(column.type)) for column in schema]), None, *rest)


def name_in_path(name: str) -> str:
    """The name of a column as a directory `name=value` has it: as it is, unless it would be read as another one."""
    return quote(name, safe="") if _NO_NAME.search(name) or unquote(name) != name else name


def path_of(partitioning: ds.Partitioning, values: Mapping[str, pa.Scalar]) -> tuple[str, str]:
    """The directory of a partition, without slashes around it, and what the names of its files begin with."""
    names = {name: name for name in values}
    writing = partitioning
    if isinstance(partitioning, ds.HivePartitioning):
        kind, (schema, dictionaries, null, encoding) = partitioning.__reduce__()
        if encoding == "uri":  # pyarrow decodes names, but encodes only values
            names = {name: name_in_path(name) for name in schema.names}
            encoded = pa.schema([column.with_name(names[column.name]) for column in schema])
            writing = kind(encoded, {names[name]: known for name, known in dictionaries.items()}, null, encoding)
    expression = _EVERYTHING
    for name, value in values.items():
        one = ds.field(names[name]) == value if value.is_valid else ds.field(names[name]).is_null()
        expression = one if expression is _EVERYTHING else expression & one
    try:
        directory, prefix = writing.format(expression)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        # Its words name columns and types; values are part of the path anyway.
        raise ConfigurationError(f"a partition has no path: {error}") from None
    except pa.ArrowTypeError:  # which quotes a value that no path shows
        columns = [column for column in partitioning.schema if not _becomes(values[column.name], column.type)]
        named = " or ".join(f"{one.name!r}: {values[one.name].type}, not {one.type}" for one in columns)
        raise ConfigurationError(f"a value is none of the type that partitioning= has for it: {named}") from None
    if "/" in prefix:
        raise ConfigurationError(
            "a value with a slash cannot begin the name of a file: give partitioning_flavor='hive'"
        )
    texts = {
        name: text
        for name, value in values.items()
        if isinstance(text := value.as_py(), (str, bytes))
        and not pa.types.is_primitive(partitioning.schema.field(name).type)  # for which texts may stand
    }
    lost = _unreadable(partitioning, directory, prefix, texts) if texts else None
    if lost is None and prefix.startswith(HIDDEN):
        lost = next((name for name, value in values.items() if not value.is_valid), None)
    if lost is not None:
        raise ConfigurationError(
            f"a value of {lost!r} would be another one, or none, when it is read from its path, where alone it is: "
            "partitioning_flavor='hive' takes all but NUL"
        )
    return directory, prefix


def _becomes(value: pa.Scalar, kind: pa.DataType) -> bool:
    try:
        value.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _unreadable(
    partitioning: ds.Partitioning, directory: str, prefix: str, texts: Mapping[str, str | bytes]
) -> str | None:
    """The first column whose text is not what the path says: files do not hold it, so that it would be lost."""
    if not {".", ".."}.isdisjoint(directory.split("/")):
        return next(iter(texts))
    shown = isinstance(partitioning, ds.HivePartitioning)  # by the names of columns, not by values
    if not shown and any(part.startswith(HIDDEN) for part in (*directory.split("/"), prefix)):
        hidden = next((name for name, text in texts.items() if text[:1] in ("_", ".", b"_", b".")), None)
        if hidden is not None:
            return hidden
    try:
        said = ds.get_partition_keys(partitioning.parse(prefix or f"{directory}/"))
    except pa.ArrowInvalid:
        return next(iter(texts))
    except pa.ArrowNotImplementedError:  # types that only some other reader takes from paths
        return None
    return next((name for name, text in texts.items() if said.get(name) != text != HIVE_NULL), None)


def matching(partitions: Iterable[Partition], filter: pc.Expression, schema: pa.Schema) -> list[Partition]:  # noqa: A002
    """Those of different partitions that may have rows for which `filter` is true. `schema` has the columns that the
    filter names. Raises `pyarrow.ArrowInvalid` for one that it does not have.
    """
    given = list(partitions)
    format_, local = ds.IpcFileFormat(), pa.fs.LocalFileSystem()
    fragments = [
        format_.make_fragment(str(at), local, partition_expression=partition.expression)
        for at, partition in enumerate(given)
    ]  # nothing is opened to ask these
    asked = ds.FileSystemDataset(fragments, schema, format_, local)
    return [given[int(fragment.path)] for fragment in asked.get_fragments(filter)]


def accepted(partitions: Iterable[Partition], accept: Callable[[dict[str, str]], bool]) -> list[Partition]:
    """Those that a function of the values, as strings, accepts."""
    return [
        partition
        for partition in {id(partition): partition for partition in partitions}.values()
        if accept({name: "" if value is None else str(value) for name, value in partition.values.items()})
    ]


def constant(value: Any, kind: pa.DataType, rows: int) -> pa.Array:
    """A column of one value. Raises `SchemaMismatchError` for a value that is of another type."""
    if value is None:
        return pa.nulls(rows, kind)
    if pa.types.is_dictionary(kind):
        indices = pa.repeat(pa.scalar(0, kind.index_type), rows)
        return pa.DictionaryArray.from_arrays(indices, pa.array([value], kind.value_type), ordered=kind.ordered)
    try:
        return pa.repeat(pa.scalar(value, kind), rows)
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        raise SchemaMismatchError(
            f"paths say a value of type {type(value).__name__} for a column that is to be {kind}: give schema= where "
            "the dataset is made, so that they are read as that"
        ) from None
