"""Arrow types as the type names of Hive, which Athena's DDL and the Glue catalog use.

Source: "Data types in Amazon Athena". What they cannot hold is refused, with the column's name and a way out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from arrowseal.exceptions import SchemaMismatchError
from arrowseal.tables.formats import TableFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # fields of structs are not quoted in type names
_MAX_PRECISION: Final = 38

_SIMPLE: Final[tuple[tuple[Callable[[pa.DataType], bool], str], ...]] = (
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_int8, "tinyint"),
    (pa.types.is_int16, "smallint"),
    (pa.types.is_int32, "int"),
    (pa.types.is_int64, "bigint"),
    # Without a sign in the next larger type, as Parquet's readers there take them.
    (pa.types.is_uint8, "smallint"),
    (pa.types.is_uint16, "int"),
    (pa.types.is_uint32, "bigint"),
    (pa.types.is_float32, "float"),
    (pa.types.is_float64, "double"),
    (pa.types.is_date, "date"),
    (pa.types.is_timestamp, "timestamp"),
    (
        lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind),
        "string",
    ),
    (
        lambda kind: (
            pa.types.is_binary(kind)
            or pa.types.is_large_binary(kind)
            or pa.types.is_fixed_size_binary(kind)
            or pa.types.is_binary_view(kind)
        ),
        "binary",
    ),
)
_WAYS_OUT: Final[tuple[tuple[Callable[[pa.DataType], bool], str], ...]] = (
    (pa.types.is_uint64, "write it as int64 or as decimal128(20, 0)"),
    (pa.types.is_float16, "write it as float32"),
    (pa.types.is_time, "write it as string, or as a number of microseconds"),
    (pa.types.is_duration, "write it as a number of microseconds"),
    (pa.types.is_null, "give it a type, or leave it out"),
)
_OF_TEXT: Final = {"boolean", "int", "bigint", "double", "string"}
"""What OpenCSVSerde makes of text as it stands in the file."""
_OF_TEXT_INSTEAD: Final = {"tinyint": "int", "smallint": "int", "float": "double"}


def hive_type(column: pa.Field, file_format: TableFormat = TableFormat.PARQUET) -> str:
    """The Hive type of a column of a file of that format.

    In CSV and JSON, dates, times, decimals and binary are declared as the strings that they are there.

    Raises:
        SchemaMismatchError: Athena has no such type, or none in this format.

    >>> hive_type(pa.field("fare", pa.decimal128(8, 2)))
    'decimal(8,2)'
    >>> hive_type(pa.field("stops", pa.list_(pa.struct([("name", pa.string()), ("at", pa.timestamp("us"))]))))
    'array<struct<name:string,at:timestamp>>'
    """
    name = _hive_type(column.name, column.type)
    if file_format is TableFormat.CSV:
        if "<" in name:
            raise _refused(column.name, column.type, "CSV holds no lists and structs that Athena reads: write Parquet")
        name = _OF_TEXT_INSTEAD.get(name, name)
        return name if name in _OF_TEXT else "string"
    if file_format is TableFormat.JSON:
        return re.sub(r"\b(date|timestamp|binary|decimal\(\d+,\d+\))(?=$|[,<>])", "string", name)
    return name


def _hive_type(path: str, kind: pa.DataType) -> str:
    if isinstance(kind, pa.ExtensionType | pa.BaseExtensionType):
        return _hive_type(path, kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _hive_type(path, kind.value_type)
    if pa.types.is_decimal(kind):
        if not 0 <= kind.scale <= kind.precision <= _MAX_PRECISION:
            raise _refused(path, kind, f"decimals there have up to {_MAX_PRECISION} digits, and a scale of 0 or more")
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_struct(kind):
        return "struct<" + ",".join(_members(path, kind)) + ">"
    if pa.types.is_map(kind):
        return f"map<{_hive_type(path, kind.key_type)},{_hive_type(path, kind.item_type)}>"
    if any(
        of(kind)
        for of in (
            pa.types.is_list,
            pa.types.is_large_list,
            pa.types.is_fixed_size_list,
            pa.types.is_list_view,
            pa.types.is_large_list_view,
        )
    ):
        return f"array<{_hive_type(path, kind.value_type)}>"
    for fits, name in _SIMPLE:
        if fits(kind):
            return name
    for fits, way_out in _WAYS_OUT:
        if fits(kind):
            raise _refused(path, kind, way_out)
    raise _refused(path, kind, "write it as another type")


def _members(path: str, kind: pa.StructType) -> Iterator[str]:
    seen: dict[str, str] = {}
    for member in map(kind.field, range(kind.num_fields)):
        other = seen.get(member.name.lower())
        if other is not None:
            raise SchemaMismatchError(
                f"Athena tells no upper from lower case: the fields {other!r} and {member.name!r} of column {path!r} "
                "are one there"
            )
        seen[member.name.lower()] = member.name
        yield _member(path, member)


def _member(path: str, member: pa.Field) -> str:
    if not _FIELD.fullmatch(member.name):
        raise SchemaMismatchError(
            f"the field {member.name!r} of column {path!r} has a name that Athena's types cannot say: letters, digits "
            "and _ are allowed there"
        )
    return f"{member.name}:{_hive_type(f'{path}.{member.name}', member.type)}"


def _refused(path: str, kind: pa.DataType, way_out: str) -> SchemaMismatchError:
    return SchemaMismatchError(f"column {path!r} is {kind}, which Athena has no type for: {way_out}")
