"""Types of Arrow that not every library has, exchanged for those that it has: also within lists, structs and maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable


def without_views(schema: pa.Schema) -> pa.Schema:
    """The schema with large strings and binaries for views, which not every reader knows."""
    return _exchanged(schema, _plain)


def with_narrow_decimals(schema: pa.Schema) -> pa.Schema:
    """The schema with decimals of 128 bits for those of 256. Raises `ValueError` for more than 38 digits."""
    return _exchanged(schema, _narrow)


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(kind) else kind


def _narrow(kind: pa.DataType) -> pa.DataType:
    return pa.decimal128(kind.precision, kind.scale) if pa.types.is_decimal256(kind) else kind


def _exchanged(schema: pa.Schema, leaf: Callable[[pa.DataType], pa.DataType]) -> pa.Schema:
    return pa.schema([column.with_type(_within(column.type, leaf)) for column in schema], schema.metadata)


def _within(kind: pa.DataType, leaf: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    def inner(column: pa.Field) -> pa.Field:
        return column.with_type(_within(column.type, leaf))

    types = pa.types
    if types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _within(kind.value_type, leaf), kind.ordered)
    if types.is_map(kind):
        return pa.map_(inner(kind.key_field), inner(kind.item_field), kind.keys_sorted)
    if types.is_list(kind):
        return pa.list_(inner(kind.value_field))
    if types.is_large_list(kind):
        return pa.large_list(inner(kind.value_field))
    if types.is_fixed_size_list(kind):
        return pa.list_(inner(kind.value_field), kind.list_size)
    if types.is_struct(kind):
        return pa.struct([inner(column) for column in kind])
    return leaf(kind)
