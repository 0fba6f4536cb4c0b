"""ORC files by ranges: the tail, then stripes side by side, only the streams of columns asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from pyarrow import orc

from arrowseal.outcomes import results
from arrowseal.standby import Threads
from arrowseal.tables.ranges import tail_of, whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from arrowseal.tables.ranges import Fetched, Ranges

STRIPES_AT_A_TIME: Final = 8


class OrcReader:
    """pyarrow's reader of ORC knows no options."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        for name in options:
            message = f"read_table() got an unexpected keyword argument {name!r}: ORC has no options"
            raise TypeError(message)

    def reads_parts(self, columns: list[str] | None) -> bool:
        """Whether less than the whole file will do."""
        return columns is not None

    def names(self, source: Ranges) -> list[str]:
        """The columns that may be asked for, and the dotted paths of structs."""
        return _names(orc.ORCFile(tail_of(source).file()).schema)

    def read(self, source: Ranges, columns: list[str] | None) -> pa.Table:
        """The table, or these columns. Raises `KeyError` for one that is not there, pyarrow's errors otherwise."""
        if columns is None:
            return orc.ORCFile(whole_file(source)).read()
        fetched = tail_of(source)
        file = orc.ORCFile(fetched.file())
        names = _names(file.schema)
        for name in columns:
            if name not in names:
                raise KeyError(name)
        if not columns:
            return file.read().select([])
        if file.nstripes == 0:
            table = file.read(columns)
        else:
            table = pa.Table.from_batches(read_stripes(fetched, range(file.nstripes), columns))
        return table.select(columns) if set(columns) <= set(table.column_names) else table


def read_stripes(fetched: Fetched, stripes: Sequence[int], columns: list[str]) -> list[pa.RecordBatch]:
    """These columns of at least one stripe, `STRIPES_AT_A_TIME` side by side."""

    def read(stripe: int) -> pa.RecordBatch:
        return orc.ORCFile(fetched.file()).read_stripe(stripe, columns)

    with Threads(min(STRIPES_AT_A_TIME, len(stripes)), "arrowseal-stripe") as threads:
        return results([threads.submit(read, stripe) for stripe in stripes])


def _names(schema: pa.Schema) -> list[str]:
    names: list[str] = []

    def add(prefix: str, fields: Any) -> None:
        for field in fields:
            names.append(prefix + field.name)
            if pa.types.is_struct(field.type):
                add(f"{prefix}{field.name}.", field.type)

    add("", schema)
    return names
