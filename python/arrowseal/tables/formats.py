"""Table formats and compressions of whole files, by name and by the extension of a key."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, Literal

from arrowseal.exceptions import ConfigurationError

if TYPE_CHECKING:
    from arrowseal.location import ObjectLocation

FileCompression = Literal["gzip", "bz2", "xz", "zstd", "zip", "tar"]

_COMPRESSIONS: Final[dict[str, FileCompression]] = {
    ".gz": "gzip",
    ".bz2": "bz2",
    ".xz": "xz",
    ".zst": "zstd",
    ".zip": "zip",
    ".tar": "tar",
}


class TableFormat(Enum):
    """What the bytes of a table are. The value is the file type that counters show."""

    PARQUET = "parquet"
    IPC = "ipc"
    """The Arrow IPC file format, which is also Feather version 2."""
    ORC = "orc"
    CSV = "csv"
    JSON = "json"

    @classmethod
    def of(cls, location: ObjectLocation, named: TableFormat | str | None = None) -> TableFormat:
        """The format that the caller names, otherwise the one that the extension of the key says.

        Raises:
            ConfigurationError: a name that is no format, or an extension that says none.
        """
        if isinstance(named, TableFormat):
            return named
        if named is not None:
            found = _NAMES.get(str(named).lower().lstrip("."))
            if found is None:
                raise ConfigurationError(f"{named!r} is not a table format: {', '.join(_NAMES)} are")
            return found
        suffixes = location.suffixes
        if suffixes and suffixes[-1] in _COMPRESSIONS:
            suffixes = suffixes[:-1]
        found = _NAMES.get(suffixes[-1][1:]) if suffixes else None
        if found is None:
            raise ConfigurationError(f"the name of {location} says no table format: give format= ({', '.join(_NAMES)})")
        return found


_NAMES: Final = {
    "parquet": TableFormat.PARQUET,
    "pq": TableFormat.PARQUET,
    "ipc": TableFormat.IPC,
    "arrow": TableFormat.IPC,
    "feather": TableFormat.IPC,
    "orc": TableFormat.ORC,
    "csv": TableFormat.CSV,
    "json": TableFormat.JSON,
    "ndjson": TableFormat.JSON,
    "jsonl": TableFormat.JSON,
}


def compression_of(location: ObjectLocation) -> FileCompression | None:
    """How the whole file is compressed, as the extension of the key says: `gzip` for `flights.csv.gz`.

    The extensions of pandas: an archive is `tar` whatever it is compressed with (`flights.tar.gz`).
    """
    suffixes = location.suffixes
    if suffixes[-2:-1] == [".tar"]:
        return "tar"
    return _COMPRESSIONS.get(suffixes[-1]) if suffixes else None
