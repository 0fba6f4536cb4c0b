"""Structs as pyarrow writes them into ORC without losing any.

Up to 26 at least pyarrow writes other rows than those of structs with nulls that are slices, or lie in structs without
nulls: it is given copies, of which the fields are null where their structs are.
"""

from __future__ import annotations

import pyarrow as pa


def has_struct(kind: pa.DataType) -> bool:
    """Whether there is a struct in values of the type; a map is a list of some."""
    return bool(pa.types.is_struct(kind)) or any(has_struct(kind.field(at).type) for at in range(kind.num_fields))


def with_settled_structs(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values in memory of their own, for pyarrow to write."""
    return pa.chunked_array([_settled(_copied(chunk)) for chunk in column.chunks], column.type)


def _copied(array: pa.Array) -> pa.Array:
    """The same in memory of its own, as messages of Arrow have it."""
    batch, sink = pa.RecordBatch.from_arrays([array], names=[""]), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return pa.ipc.open_stream(sink.getvalue()).read_next_batch().column(0)


def _settled(array: pa.Array) -> pa.Array:
    """The same, but that fields of structs are null where these are."""
    kind, types = array.type, pa.types
    if types.is_struct(kind):
        valid = array.is_valid().buffers()[1] if array.null_count else None
        fields = [_settled(field) for field in array.flatten()]
        return pa.Array.from_buffers(kind, len(array), [valid], array.null_count, children=fields)
    if not kind.num_fields:
        return array
    own = array.buffers()[: 1 if types.is_fixed_size_list(kind) else 2]
    return pa.Array.from_buffers(kind, len(array), own, array.null_count, array.offset, [_settled(array.values)])
