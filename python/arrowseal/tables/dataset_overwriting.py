"""Which objects are of the partitions that a write replaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from arrowseal.location import ObjectLocation


def of_partitions(
    objects: Sequence[ObjectLocation],
    base: ObjectLocation,
    partitioning: ds.Partitioning | None,
    places: Collection[tuple[str, str]],
) -> list[ObjectLocation]:
    """Those of the objects below `base` that are of one of these partitions: directories, and what names begin with."""
    if isinstance(partitioning, ds.FilenamePartitioning):
        named = {_values_in(partitioning, prefix) for _, prefix in places}
        return [one for one in objects if _values_in(partitioning, one.name) in named]
    directories = _Directories(partitioning, [directory for directory, _ in places])
    return [one for one in objects if directories.hold(one.key[len(base.key) :])]


class _Directories:
    """Those of partitions, by what they say: others spell values in other ways, `city=New York` for `city=New%20York`,
    `month=01` for `month=1`, and who reads both takes their rows for those of one partition.
    """

    def __init__(self, partitioning: ds.Partitioning | None, directories: Sequence[str]) -> None:
        self._partitioning = None if partitioning is None else _with_nanoseconds(partitioning)
        self._columns = 0 if partitioning is None else len(partitioning.schema)
        self._depths = {_depth(directory) for directory in directories}
        self._known = dict.fromkeys(directories, True)
        self._said: dict[str, list[pc.Expression]] = {}
        for directory in directories:
            if (said := self._parsed(directory)) is not None:
                self._said.setdefault(str(said), []).append(said)

    def hold(self, path: str) -> bool:
        """Whether what has this path below the base is of one of them.

        Where bare values make the path, a null at its end makes it shorter: `2013` is the partition 2013 without a
        city, and `2013/Paris` another one.
        """
        above = path.split("/")[:-1]
        return any(
            self._is_one("/".join(above[:depth]))
            for depth in self._depths
            if depth <= len(above) and (depth >= self._columns or depth == len(above))
        )

    def _is_one(self, directory: str) -> bool:
        if directory not in self._known:
            said = self._parsed(directory)
            self._known[directory] = said is not None and any(map(said.equals, self._said.get(str(said), ())))
        return self._known[directory]

    def _parsed(self, directory: str) -> pc.Expression | None:
        """What a directory says, as a filter: Python has not all of a time."""
        if self._partitioning is None:
            return None
        try:
            return self._partitioning.parse(f"{directory}/")
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None


def _with_nanoseconds(partitioning: ds.Partitioning) -> ds.Partitioning:
    """The same, but that times may have as many digits as others write: pandas 2 nine, and pandas 3 six."""
    kind, (schema, *rest) = partitioning.__reduce__()
    times = (column for column in schema if pa.types.is_timestamp(column.type))
    for column in times:
        schema = schema.set(schema.get_field_index(column.name), column.with_type(pa.timestamp("ns", column.type.tz)))
    return kind(schema, *rest)


def _depth(directory: str) -> int:
    return directory.count("/") + 1 if directory else 0


def _values_in(partitioning: ds.Partitioning, name: str) -> tuple[str, ...]:
    """What pyarrow takes for values of partition columns in the name of a file, or in what such names begin with.

    How names begin is not enough: `2013_` is the partition 2013 without a city, and also how `2013_Paris_` begins.
    """
    return tuple(name.split("_")[:-1][: len(partitioning.schema)])
