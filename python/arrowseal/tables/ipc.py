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
    from collections.abc import Mapping, Sequence

    from arrowseal.tables.ranges import Ranges

BATCHES_AT_A_TIME: Final = 8
_MAGIC: Final = b"ARROW1"
_MAGIC_OF_FEATHER_1: Final = b"FEA1"
# Fields of the table `Footer` and the struct `Block`: format/File.fbs of Apache Arrow.
_DICTIONARIES: Final = 2
_RECORD_BATCHES: Final = 3
_BLOCK: Final = struct.Struct("<qi4xq")
# Fields of the tables `Message` and `RecordBatch`: format/Message.fbs.
_HEADER: Final = 2
_LENGTH: Final = 0
_INT64: Final = struct.Struct("<q")
_CONTINUATION: Final = b"\xff\xff\xff\xff"


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
            return _open(whole_file(source), self._options).read_all()
        batches = IpcBatches(source, self._options)
        wanted: list[int] = []
        for name in columns:
            there = [at for at, other in enumerate(batches.schema.names) if other == name]  # a name may be there twice
            if not there:
                raise KeyError(name)
            wanted += there
        fields = sorted(set(wanted))
        table = batches.read(fields, range(batches.count))
        return table.select([fields.index(at) for at in wanted])


class IpcBatches:
    """The record batches of a file, by its footer. Raises pyarrow's errors for what is none."""

    def __init__(self, source: Ranges, options: Mapping[str, Any] | None = None) -> None:
        self._options = dict(options or {})
        self._tail = tail_of(source)
        reader = _open(self._tail.file(), self._options)
        self.schema: Final[pa.Schema] = reader.schema
        self.count: Final[int] = reader.num_record_batches
        self._footer = _footer(self._tail)
        self._blocks = _blocks(self._footer, _RECORD_BATCHES)
        self._dictionaries = _blocks(self._footer, _DICTIONARIES)
        self._described: Fetched | None = None

    @property
    def has_dictionaries(self) -> bool:
        """Whether values of a column are numbers that stand for those in a dictionary."""
        return bool(self._dictionaries)

    def bytes_of(self, at: int) -> int:
        """How long a batch is, with all of its columns."""
        return self._blocks[at][2]

    def rows(self) -> list[int]:
        """How many rows each batch has."""
        described = self._fetched()
        return [_rows(memoryview(described.read_at(offset, head))) for offset, head, _ in self._blocks]

    def read(self, fields: list[int], wanted: Sequence[int]) -> pa.Table:
        """Columns by their places, of the batches with these numbers: side by side, up to `BATCHES_AT_A_TIME`."""
        options = self._options | {"included_fields": fields}
        if self._tail.source.in_memory:
            file = whole_file(self._tail.source)
            reader = _open(file, options)
            return pa.Table.from_batches([reader.get_batch(at) for at in wanted], reader.schema)
        fetched = self._fetched()
        schema = _open(fetched.file(), options).schema
        if not wanted:
            return pa.Table.from_batches([], schema)

        def read(lane: int) -> list[pa.RecordBatch]:
            mine = _open(fetched.file(), options)
            return [mine.get_batch(at) for at in wanted[lane::lanes]]

        lanes = min(BATCHES_AT_A_TIME, len(wanted))
        with Threads(lanes, "arrowseal-batch") as threads:
            rows = results([threads.submit(read, lane) for lane in range(lanes)])
        return pa.Table.from_batches([rows[at % lanes][at // lanes] for at in range(len(wanted))], schema)

    def _fetched(self) -> Fetched:
        """What describes the batches, all dictionaries, and the footer."""
        if self._described is None:
            source = self._tail.source
            wanted = [(offset, head + body) for offset, head, body in self._dictionaries]
            wanted += [(offset, head) for offset, head, _ in self._blocks]
            begin = source.size - len(self._footer) - len(_MAGIC) - 4
            self._described = Fetched(source, [*wanted, (begin, source.size - begin)])
        return self._described


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
    return pa.BufferReader(ipc_file(table))


def ipc_file(table: pa.Table) -> pa.Buffer:
    """A table as a file."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.unify_dictionaries())  # one for each column, whatever its batches had
    return sink.getvalue()


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
    at = _field(footer, _referred(footer, 0), field)
    if at is None:
        return []
    vector = _referred(footer, at)
    (count,) = struct.unpack_from("<I", footer, vector)
    return [_BLOCK.unpack_from(footer, vector + 4 + _BLOCK.size * index) for index in range(count)]


def _rows(message: memoryview) -> int:
    """The rows of the record batch that a message describes. Raises pyarrow's `ArrowInvalid` for what is none."""
    try:
        content = message[
            8 if message[:4].tobytes() == _CONTINUATION else 4 :
        ]  # before Arrow 0.15 there was a length alone
        header = _field(content, _referred(content, 0), _HEADER)
        length = None if header is None else _field(content, _referred(content, header), _LENGTH)
        return 0 if length is None else int(_INT64.unpack_from(content, length)[0])
    except struct.error:
        raise pa.ArrowInvalid("no record batch where the footer says that there is one") from None


def _referred(buffer: memoryview, at: int) -> int:
    """Where the flatbuffer's offset at a place leads."""
    offset: int = struct.unpack_from("<I", buffer, at)[0]
    return at + offset


def _field(buffer: memoryview, table: int, number: int) -> int | None:
    """Where a field of a table of a flatbuffer is; None for one that is not there, which has its default."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    slot = 4 + 2 * number
    if slot >= struct.unpack_from("<H", buffer, vtable)[0]:
        return None
    (offset,) = struct.unpack_from("<H", buffer, vtable + slot)
    return table + offset if offset else None
