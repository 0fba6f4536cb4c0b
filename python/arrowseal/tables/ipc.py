"""Arrow IPC files (Feather version 2) by ranges: the footer, then the batches side by side, only columns asked for.

With columns, the footer says where batches are; their descriptions and all dictionaries are fetched at once, and then
of each batch the buffers of its columns, `BATCHES_AT_A_TIME`. Without columns, or where the source holds all of it, the
file is one buffer, and columns that are not compressed are views of it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from arrowseal.outcomes import results
from arrowseal.standby import Threads
from arrowseal.tables.ranges import Fetched, tail_of, whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal.tables.ranges import Ranges

BATCHES_AT_A_TIME: Final = 8
_MAGIC: Final = b"ARROW1"
_MAGIC_OF_FEATHER_1: Final = b"FEA1"
# Fields of the table `Footer` and the struct `Block`: format/File.fbs of Apache Arrow.
_DICTIONARIES: Final = 2
_RECORD_BATCHES: Final = 3
_BLOCK: Final = struct.Struct("<qi4xq")


class IpcReader:
    """Options: those of `pyarrow.ipc.IpcReadOptions`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)
        pa.ipc.IpcReadOptions(**options)

    def reads_parts(self, columns: list[str] | None) -> bool:
        """Whether less than the whole file will do."""
        return columns is not None

    def names(self, source: Ranges) -> list[str]:
        """The columns that may be asked for."""
        names: list[str] = self.schema(source).names
        return names

    def schema(self, source: Ranges) -> pa.Schema:
        """The schema of the file."""
        return pa.ipc.open_file(tail_of(source).file()).schema

    def read(self, source: Ranges, columns: list[str] | None) -> pa.Table:
        """The table, or these columns. Raises `KeyError` for one that is not there, pyarrow's errors otherwise."""
        if columns is None:
            return self._open(whole_file(source), self._options).read_all()
        tail = tail_of(source)
        names = pa.ipc.open_file(tail.file()).schema.names
        wanted: list[int] = []
        for name in columns:
            there = [at for at, other in enumerate(names) if other == name]  # files may have a name twice
            if not there:
                raise KeyError(name)
            wanted += there
        fields = sorted(set(wanted))
        options = self._options | {"included_fields": fields}
        table = self._open(whole_file(source), options).read_all() if source.in_memory else self._batches(tail, options)
        return table.select([fields.index(at) for at in wanted])

    def _batches(self, tail: Fetched, options: dict[str, Any]) -> pa.Table:
        source = tail.source
        footer = _footer(tail)
        wanted = [(offset, head + body) for offset, head, body in _blocks(footer, _DICTIONARIES)]
        wanted += [(offset, head) for offset, head, _ in _blocks(footer, _RECORD_BATCHES)]
        begin = source.size - len(footer) - len(_MAGIC) - 4
        fetched = Fetched(source, [*wanted, (begin, source.size - begin)])
        schema = (reader := self._open(fetched.file(), options)).schema
        count = reader.num_record_batches
        if count == 0:
            return pa.Table.from_batches([], schema)

        def read(lane: int) -> list[pa.RecordBatch]:
            mine = self._open(fetched.file(), options)
            return [mine.get_batch(at) for at in range(lane, count, lanes)]

        lanes = min(BATCHES_AT_A_TIME, count)
        with Threads(lanes, "arrowseal-batch") as threads:
            rows = results([threads.submit(read, lane) for lane in range(lanes)])
        return pa.Table.from_batches([rows[at % lanes][at // lanes] for at in range(count)], schema)

    @staticmethod
    def _open(file: pa.NativeFile, options: Mapping[str, Any]) -> pa.ipc.RecordBatchFileReader:
        return pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(**options))


def ipc_of_columns(source: Ranges, columns: list[str] | None) -> pa.BufferReader:
    """A file that is like the source, for a library that reads these columns of it: only they are in it, each once, in
    the order of the source. Raises `KeyError` for one that is not there.
    """
    if columns is None or source.in_memory or _is_feather_1(source):
        return whole_file(source)
    reader = IpcReader({})
    names = reader.names(source)
    for name in columns:
        if name not in names:
            raise KeyError(name)
    table = reader.read(source, [name for name in dict.fromkeys(names) if name in columns])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.unify_dictionaries())  # one for each column, whatever its batches had
    return pa.BufferReader(sink.getvalue())


def _is_feather_1(source: Ranges) -> bool:
    """Whether it is of the format before Arrow's own, which the library reads as a whole."""
    length = len(_MAGIC_OF_FEATHER_1)
    return bytes(source.read_at(max(0, source.size - length), length)) == _MAGIC_OF_FEATHER_1


def _footer(tail: Fetched) -> memoryview:
    """The flatbuffer at the end; pyarrow has opened the file, so that it is there."""
    end = tail.source.size - len(_MAGIC) - 4
    length = int.from_bytes(memoryview(tail.read_at(end, 4)), "little")
    return memoryview(tail.read_at(end - length, length))


def _blocks(footer: memoryview, field: int) -> list[tuple[int, int, int]]:
    """Offset, bytes of metadata and bytes of body of the messages in a field of the footer."""
    (table,) = struct.unpack_from("<I", footer, 0)
    vtable = table - struct.unpack_from("<i", footer, table)[0]
    slot = 4 + 2 * field
    if slot >= struct.unpack_from("<H", footer, vtable)[0]:
        return []
    (at,) = struct.unpack_from("<H", footer, vtable + slot)
    if at == 0:
        return []
    vector = table + at + struct.unpack_from("<I", footer, table + at)[0]
    (count,) = struct.unpack_from("<I", footer, vector)
    return [_BLOCK.unpack_from(footer, vector + 4 + _BLOCK.size * index) for index in range(count)]
