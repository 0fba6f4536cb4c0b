"""The columns of a query's result: the `.metadata` object beside it, and the Arrow types of Athena's.

The object is a message in protocol buffers: field 4 holds a column, in which 4 is the name, 6 the type, 7 the precision
and 8 the scale. AWS calls it binary and not documented; this is how burtcorp's JDBC driver for Athena reads it. What is
read here is no more than that, and the names are compared with those in the CSV.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from arrowseal.exceptions import NotATableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal.location import ObjectLocation

_COLUMN: Final = 4
_NAME, _TYPE, _PRECISION, _SCALE = 4, 6, 7, 8
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES: Final = 10

_TYPES: Final = {
    "boolean": pa.bool_(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "real": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("ms"),
}


@dataclass(frozen=True)
class ResultColumn:
    """A column of a result, in Athena's words."""

    name: str
    type: str
    """`"bigint"`, `"varchar"`, `"decimal"`, `"array"`, ..."""
    precision: int = 0
    scale: int = 0


def arrow_type(column: ResultColumn) -> pa.DataType:
    """The Arrow type of a column: text for what CSV has as text only, such as arrays, rows, binary, and moments with a
    time zone.

    >>> arrow_type(ResultColumn("fare", "decimal", 8, 2))
    Decimal128Type(decimal128(8, 2))
    """
    if column.type == "decimal" and 0 <= column.scale <= column.precision <= 38 and column.precision:
        return pa.decimal128(column.precision, column.scale)
    return _TYPES.get(column.type, pa.string())


def parse_columns(location: ObjectLocation, message: bytes) -> tuple[ResultColumn, ...]:
    """The columns of a `.metadata` object. Raises `NotATableError` for what is none."""
    try:
        return tuple(
            _column(value) for number, value in _fields(message) if number == _COLUMN and isinstance(value, bytes)
        )
    except (ValueError, UnicodeDecodeError):
        raise NotATableError(f"{location}.metadata: not what Athena writes beside a result") from None


def _column(message: bytes) -> ResultColumn:
    texts: dict[int, str] = {}
    numbers: dict[int, int] = {}
    for number, value in _fields(message):
        if number in (_NAME, _TYPE) and isinstance(value, bytes):
            texts[number] = value.decode()
        elif number in (_PRECISION, _SCALE) and isinstance(value, int):
            numbers[number] = value
    return ResultColumn(texts.get(_NAME, ""), texts.get(_TYPE, ""), numbers.get(_PRECISION, 0), numbers.get(_SCALE, 0))


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field. Raises `ValueError` for what is no such message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        length = {_FIXED64: 8, _FIXED32: 4}.get(wire)
        if wire == _BYTES:
            length, at = _varint(message, at)
        if length is None or number == 0 or length > len(message) - at:
            raise ValueError
        yield number, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for step in range(_VARINT_BYTES):
        if at + step >= len(message):
            break
        byte = message[at + step]
        value |= (byte & 0x7F) << (7 * step)
        if byte < 0x80:
            return value, at + step + 1
    raise ValueError
