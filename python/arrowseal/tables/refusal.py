"""A library could not read a table: which of our errors that is, and whose words may be shown.

The messages of pandas, polars and pyarrow quote what they stumble over (``could not convert string to float:
'secret'``), and tracebacks end up in logs. So their exceptions are neither the cause nor the context of ours, and their
text is repeated only where it cannot come from the content: where a table of our own making gives the same error.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from arrowseal.exceptions import ArrowSealError, ColumnNotFoundError, NotATableError
from arrowseal.tables.formats import TableFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from arrowseal.location import ObjectLocation

# Exceptions of other modules come from functions that the caller passed in (converters, callables): theirs to see.
_LIBRARIES: Final = frozenset(
    {"builtins", "bz2", "_csv", "gzip", "json", "lzma", "_lzma", "numpy", "pandas", "polars", "pyarrow", "pyo3_runtime"}
    | {"compression", "tarfile", "zipfile", "zlib", "zstandard"}
)
# What pyarrow says of a schema in words that hold nothing of it, and what is to be said of that.
_UNKNOWN_TYPES: Final = {
    "Integers with more than 64 bits not implemented": "a column has integers of 128 bits, which polars writes and "
    "pyarrow does not know: arrowseal.polars reads such objects, one at a time"
}
# What libraries raise for arguments that cannot be. Other errors, those of decompression for example, come from any
# table that is not the right one, an empty one too.
_ABOUT_ARGUMENTS: Final = (ValueError, TypeError, NotImplementedError)


def is_refusal(error: BaseException) -> bool:
    """Whether the error says that a library could not read the bytes: not ours, nor a user's, nor out of memory."""
    if isinstance(error, (ArrowSealError, MemoryError, ImportError, Warning)):
        return False
    # polars panics over some damaged files with an exception that is no Exception.
    panicked = type(error).__name__ == "PanicException"
    return (isinstance(error, Exception) or panicked) and type(error).__module__.partition(".")[0] in _LIBRARIES


def raised_by(source: object, error: BaseException) -> Exception | None:
    """What a read of the source raised, if that is what a library tells of by this error of its own: of buffers of IPC
    pyarrow makes an `OSError` of whatever it is.
    """
    failure: Exception | None = getattr(source, "failure", None)
    return failure if isinstance(error, OSError) else None


def refusal(
    error: BaseException,
    *,
    location: ObjectLocation,
    table_format: TableFormat,
    read: Callable[[Any], Any],
    columns_asked: Iterable[str],
    columns_there: Callable[[], Collection[str]],
) -> BaseException:
    """The exception to raise in place of the library's `error`, outside of its `except` block.

    A column that does not exist is a `ColumnNotFoundError`; an error that an empty table gives as well is about the
    arguments and stays what it is; all else is a `NotATableError`. `read` reads any bytes with the same arguments.
    """
    asked = list(dict.fromkeys(columns_asked))
    missing = _missing(asked, columns_there) if asked else []
    if missing:
        message = f"{location} has no column {_listed(missing)}; asked for: {_listed(asked)}"
        return ColumnNotFoundError(message)
    if _about_arguments(error, read, table_format):
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)
    if (unknown := _UNKNOWN_TYPES.get(str(error))) is not None:
        return NotATableError(f"{location} cannot be read as {table_format.value} here: {unknown}")
    library = type(error).__module__.partition(".")[0]
    name = type(error).__name__ + ("" if library == "builtins" else f" of {library}")
    message = (
        f"the content of {location} cannot be read as {table_format.value} with these arguments ({name}, whose "
        f"message is left out because it may quote the content). The bytes are as they were written: check the format, "
        f"the compression and the arguments"
    )
    return NotATableError(message)


def filter_names(filters: Any) -> list[str]:
    """The columns that `filters` of pyarrow names as tuples, `("dest", "==", "ORD")`; expressions tell none."""
    match filters:
        case (str(name), str(), _) if isinstance(filters, tuple):
            return [name]
        case list() | tuple():
            return [name for part in filters for name in filter_names(part)]
        case _:
            return []


def _missing(asked: list[str], columns_there: Callable[[], Collection[str]]) -> list[str]:
    try:
        there = set(columns_there())
    except BaseException as error:
        if not is_refusal(error):
            raise
        return []  # Not even the names can be read: not a table.
    return [name for name in asked if name not in there]


def _about_arguments(error: BaseException, read: Callable[[Any], Any], table_format: TableFormat) -> bool:
    if type(error) not in _ABOUT_ARGUMENTS:
        return False
    try:
        read(empty_table(table_format))
    except BaseException as other:
        if not is_refusal(other):
            raise
        return type(other) is type(error) and str(other) == str(error)
    return False


def empty_table(table_format: TableFormat) -> bytes:
    """A table without rows, of at most one column. Its first bytes are like no other's: libraries quote those."""
    match table_format:
        case TableFormat.CSV:
            return b"\x7fnothing\n"
        case TableFormat.JSON:
            return b"{}\n"
    import pyarrow as pa
    from pyarrow import feather, orc, parquet

    sink = io.BytesIO()
    table = pa.table({"\x7fnothing": pa.array([], pa.int8())})
    if table_format is TableFormat.PARQUET:
        parquet.write_table(table, sink)
    elif table_format is TableFormat.ORC:
        orc.write_table(table, sink)
    else:
        feather.write_feather(table, sink)
    return sink.getvalue()


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
