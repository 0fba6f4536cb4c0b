"""CSV and JSON files become one, byte by byte: no value of them is read, so that none can change."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from arrowseal.exceptions import NotATableError, SchemaMismatchError
from arrowseal.tables.formats import TableFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from arrowseal.location import ObjectLocation

_PIECE: Final = 2**22
_LONGEST_HEADER: Final = 2**24
_BOM: Final = b"\xef\xbb\xbf"
_AFTER_BARE: Final = re.compile(rb'[,;\t|\r\n"]')
_END: Final = re.compile(rb"\r\n|\r|\n")
_VALUE: Final = re.compile(rb"[-+.,:/\dTZeE]*\d[-+.,:/\dTZeE]*|nan|inf|infinity|true|false|null", re.IGNORECASE)
"""What no column is called: numbers, dates and times, and the words for values."""


class JoinedText:
    """Files of one format, one after another. The header of CSV stays at the top, and so does a byte order mark."""

    def __init__(self, table_format: TableFormat) -> None:
        self.rows = 0
        self._is_csv = table_format is TableFormat.CSV
        self._header: tuple[bytes, bytes] | None = None
        self._begun = False
        self._quotes = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was in any file."""
        return not self._begun

    def add(self, location: ObjectLocation, file: pa.NativeFile) -> Iterator[bytes]:
        """What the next file adds: all of it, but for a header that is there already.

        Raises `SchemaMismatchError` for CSV of other columns; `NotATableError` for what cannot be told to be lines of
        rows: CSV that does not begin with names or ends within quotes, JSON that is no object for each row, UTF-16.
        """
        text, whole = self._head(location, file)
        if b"\0" in text[:4]:
            raise NotATableError(f"{location}: not UTF-8, or no text")
        mark, text = (_BOM, text[len(_BOM) :]) if text.startswith(_BOM) else (b"", text)
        if not text.strip():
            if not whole:
                raise NotATableError(f"{location}: it begins with nothing but space")
            return
        ending = b"\n"
        first = not self._begun
        if self._is_csv:
            header, text, ending = self._split(location, text, whole=whole)
            if first:
                yield mark + header + ending
        elif text.lstrip()[:1] != b"{":
            raise NotATableError(f"{location}: only JSON with an object on each line can be joined")
        elif first:
            yield mark
        self._begun, self._quotes = True, 0
        last = b""
        while text or not whole:
            if text:
                self._count(text, ending)
                yield text
                last = text[-1:]
            text = b"" if whole else file.read(_PIECE)
            whole = whole or not text
        if self._is_csv and self._quotes % 2:
            raise NotATableError(f"{location}: it ends within quotes")
        if last and last != ending[-1:]:
            self.rows += 1
            yield ending

    def _head(self, location: ObjectLocation, file: pa.NativeFile) -> tuple[bytes, bool]:
        """The beginning of a file, with all of its first record, and whether that is all of the file."""
        text = b""
        while True:
            piece = file.read(_PIECE)
            text += piece
            if len(piece) < _PIECE:
                text += (rest := file.read(1))
                if not rest:
                    return text, True
            if not self._is_csv or _first_record(location, text.removeprefix(_BOM), whole=False) is not None:
                return text, False
            if len(text) > _LONGEST_HEADER:
                raise NotATableError(f"{location}: its first record is longer than {_LONGEST_HEADER >> 20} MiB")

    def _split(self, location: ObjectLocation, text: bytes, *, whole: bool) -> tuple[bytes, bytes, bytes]:
        """The header, what comes after it, and how lines end."""
        record = _first_record(location, text, whole=whole)
        if record is None:
            raise NotATableError(f"{location}: its first record does not end")
        fields, end = record
        header = text[:end]
        found = _END.match(text, end)
        ending = found[0] if found else b""
        if any(not field.strip() or all(map(_VALUE.fullmatch, field.split())) for field in fields):
            raise NotATableError(
                f"{location}: its first line does not look like names of columns, and files without them are not "
                "joined: the first row of each would be lost to readers that take it for names"
            )
        if self._header is None:
            self._header = header, ending or b"\n"
        known, usual = self._header
        if header != known:
            raise SchemaMismatchError(f"{location}: its header is not that of the files before it: not joined")
        if ending not in (b"", usual):
            raise SchemaMismatchError(f"{location}: its lines end in another way than those of the files before it")
        return header, text[end + len(ending) :], usual

    def _count(self, text: bytes, ending: bytes) -> None:
        if not self._is_csv:
            self.rows += text.count(b"\n")
            return
        for at, part in enumerate(text.split(b'"')):
            self._quotes += at > 0
            self.rows += 0 if self._quotes % 2 else part.count(ending[-1:])


def _first_record(location: ObjectLocation, text: bytes, *, whole: bool) -> tuple[list[bytes], int] | None:
    """The fields of the first record, whatever parts them, and where it ends; None if it goes on beyond the text."""
    fields: list[bytes] = []
    at = 0
    while True:
        if text.startswith(b'"', at):
            close = text.find(b'"', at + 1)
            while close >= 0 and text.startswith(b'"', close + 1):
                close = text.find(b'"', close + 2)
            if close < 0:
                return None
            fields.append(text[at + 1 : close])
            at = close + 1
        else:
            found = _AFTER_BARE.search(text, at)
            end = len(text) if found is None else found.start()
            fields.append(text[at:end])
            at = end
        after = text[at : at + 1]
        if not after or (after == b"\r" and at + 1 == len(text)):
            return (fields, at) if whole else None
        if after in b"\r\n":
            return fields, at
        if after not in b",;\t|":
            raise NotATableError(f"{location}: quotes in the midst of a field of its first line")
        at += 1
