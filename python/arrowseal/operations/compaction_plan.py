"""Which files of a dataset become one."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from arrowseal.location import ObjectLocation, locate
from arrowseal.tables.dataset_appending import EXTENSIONS
from arrowseal.tables.formats import TableFormat, compression_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrowseal.tables.dataset_listing import Found

State = Literal["planned", "done", "changed", "taken"]
Flavor = Literal["hive", "directory", "filename"]
TEXT: Final = (TableFormat.CSV, TableFormat.JSON)
_SUFFIXES: Final = {"gzip": ".gz", "bz2": ".bz2", "zstd": ".zst"}


@dataclass(frozen=True)
class Merge:
    """Files that become one."""

    sources: tuple[Found, ...] = field(repr=False)
    target: ObjectLocation
    state: State = "planned"
    """`"changed"`: one of the sources was overwritten or deleted meanwhile, so that everything was left as it was;
    `"taken"`: another compaction is at work in the directory, or took it over, and this one left it to that.
    """
    rows: int | None = None
    """Of CSV and JSON, lines that are not within quotes."""
    stored_bytes: int | None = None
    """Of the target."""
    left: tuple[ObjectLocation, ...] = ()
    """Sources that were overwritten after the target was there: they stay, with what was written into them."""

    @property
    def source_bytes(self) -> int:
        """Stored bytes of the sources."""
        return sum(source.stored_bytes or 0 for source in self.sources)

    @property
    def directory(self) -> str:
        """The key up to the name, with its slash if it has one."""
        return directory_of(self.target)


def planned(
    found: Sequence[Found], target_bytes: int, named: TableFormat | None = None, flavor: Flavor | None = None
) -> list[Merge]:
    """What becomes one file: neighbours in one directory, of one format and compression, as many as fit; and of one
    beginning of their names, where that may be a partition.
    """
    merges: list[Merge] = []
    groups: dict[tuple[str, str, TableFormat, str | None], list[list[Found]]] = {}
    for one in found:
        size = one.stored_bytes or 0
        if size >= target_bytes:
            continue
        kind = TableFormat.of(one.location, named)
        compression: str | None = compression_of(one.location) if kind in TEXT else None
        runs = groups.setdefault((directory_of(one.location), _beginning(one, flavor), kind, compression), [[]])
        if sum(other.stored_bytes or 0 for other in runs[-1]) + size > target_bytes:
            runs.append([])
        runs[-1].append(one)
    for (directory, beginning, kind, packed), runs in groups.items():
        for run in runs:
            if len(run) > 1:
                name = f"{beginning}{uuid.uuid4().hex}.{EXTENSIONS[kind]}{_SUFFIXES.get(packed or '', '')}"
                merges.append(Merge(tuple(run), locate(bucket=run[0].location.bucket, key=directory + name)))
    return merges


def directory_of(location: ObjectLocation) -> str:
    """The key up to the name, with its slash if it has one."""
    return location.key[: len(location.key) - len(location.name)]


def _beginning(one: Found, flavor: Flavor | None) -> str:
    """What the name begins with that may be the values of partition columns: `2013_` of `2013_part-0.parquet`.

    A path with `year=2013/` says it all there: a dataset has one flavor.
    """
    by_path = any("=" in part for part in one.path.split("/")[:-1])
    if flavor in ("hive", "directory") or (flavor is None and by_path):
        return ""
    name = one.location.name
    return name[: name.rfind("_") + 1]
