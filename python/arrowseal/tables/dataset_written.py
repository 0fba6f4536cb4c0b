"""What writing a dataset left in the bucket."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from arrowseal.frames import Framed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from arrowseal.location import ObjectLocation
    from arrowseal.writing import PutResult

_SHOWN: int = 10


@dataclass(frozen=True)
class WrittenFile:
    """A file of a dataset that was written whole."""

    location: ObjectLocation
    partition_values: Mapping[str, Any]
    """The values of the partition columns; None for null."""
    rows: int
    result: PutResult
    """What `Client.put` says of the object."""
    metadata: Any = field(default=None, repr=False)
    """The metadata of a Parquet file, with its URL as file path."""

    @property
    def path(self) -> str:
        """Its URL."""
        return str(self.location)

    @property
    def size(self) -> int:
        """Bytes of the file, before it was encrypted."""
        return self.result.plaintext_bytes


@dataclass(frozen=True)
class WrittenDataset(Framed):
    """The files that a `write_dataset` wrote, and what it deleted. A frame of them: `to_arrow`, `to_pandas`,
    `to_polars`, or whatever takes Arrow streams.
    """

    files: tuple[WrittenFile, ...]
    deleted: tuple[ObjectLocation, ...] = ()
    """Objects of before that the new ones replaced."""

    @property
    def paths(self) -> list[str]:
        """The URLs of the files."""
        return [file.path for file in self.files]

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def partitions_values(self) -> dict[str, list[str]]:
        """The values of the partition columns as strings, by the prefix of the partition, as awswrangler tells them."""
        return {
            file.path.rpartition("/")[0] + "/": [str(value) for value in file.partition_values.values()]
            for file in self.files
            if file.partition_values
        }

    def __getitem__(self, name: str) -> Any:
        """`"paths"` or `"partitions_values"`, as in what awswrangler returns."""
        if name not in ("paths", "partitions_values"):
            raise KeyError(name)
        return getattr(self, name)

    def to_arrow(self) -> pa.Table:
        """A row for each file: URL, partition, rows, sizes, ETag and encryption."""
        names = list(dict.fromkeys(name for file in self.files for name in file.partition_values))
        columns: dict[str, Any] = {
            "path": pa.array(self.paths, pa.string()),
            **{f"partition.{name}": [file.partition_values.get(name) for file in self.files] for name in names},
            "rows": pa.array([file.rows for file in self.files], pa.int64()),
            "plaintext_bytes": pa.array([file.result.plaintext_bytes for file in self.files], pa.int64()),
            "stored_bytes": pa.array([file.result.stored_bytes for file in self.files], pa.int64()),
            "etag": pa.array([file.result.etag for file in self.files], pa.string()),
            "version_id": pa.array([file.result.version_id for file in self.files], pa.string()),
            "encryption": pa.array([file.result.encryption for file in self.files], pa.string()),
        }
        return pa.table(columns)

    def __arrow_c_schema__(self) -> Any:
        return self.to_arrow().schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[WrittenFile]:
        return iter(self.files)

    def __repr__(self) -> str:
        deleted = f", {len(self.deleted):,} deleted" if self.deleted else ""
        return f"<WrittenDataset: {len(self.files):,} files, {self.rows:,} rows{deleted}>"

    def _repr_html_(self) -> str:
        table = self.to_arrow().slice(0, _SHOWN)
        head = "".join(f"<th>{html.escape(name)}</th>" for name in table.column_names)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in row.values()) + "</tr>"
            for row in table.to_pylist()
        )
        caption = html.escape(repr(self).strip("<>"))
        return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
