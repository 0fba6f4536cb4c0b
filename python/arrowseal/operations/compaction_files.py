"""New files of a compaction: written, read back whole, and only then told to be there."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from arrowseal.exceptions import ArrowSealError, ChecksumMismatchError, DatasetWriteError, NotATableError
from arrowseal.operations.compaction_plan import TEXT
from arrowseal.operations.joined_text import JoinedText
from arrowseal.tables.arrow_files import no_rows, stream_compression
from arrowseal.tables.dataset import EncryptedDataset, dataset_of
from arrowseal.tables.dataset_appending import DatasetFileWriter
from arrowseal.tables.dataset_files import Files
from arrowseal.tables.dataset_listing import Found
from arrowseal.tables.dataset_partitions import WHOLE, Partitions
from arrowseal.tables.dataset_writer import GROUP_ROWS
from arrowseal.tables.dataset_written import WrittenFile
from arrowseal.tables.formats import TableFormat
from arrowseal.tables.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from arrowseal.client import Client
    from arrowseal.location import ObjectLocation
    from arrowseal.operations.compaction_plan import Merge

AT_A_TIME: Final = 4
_AT_ONCE_BYTES: Final = 32 * 2**20
"""Sources of so many bytes are read once, into memory; more of them are asked for their schemas first and streamed."""
_PIECE: Final = 2**22


@dataclass(frozen=True, kw_only=True)
class NewFiles:
    """How the new files of a compaction are made. Safe to share between threads, of which so many are at it."""

    client: Client
    format: TableFormat | None
    reading: Mapping[str, Any]
    writing: Mapping[str, Any]
    file_options: Mapping[str, Any]
    threads: int
    _room: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(AT_A_TIME))

    def format_of(self, merge: Merge) -> TableFormat:
        """That of the sources and of the new file."""
        return TableFormat.of(merge.sources[0].location, self.format)

    def check(self, merge: Merge) -> None:
        """Raise `ConfigurationError` for arguments that cannot be, before any request."""
        DatasetFileWriter(self.client, merge.target, self.format_of(merge), self.file_options, self.writing).check()

    def make(self, merge: Merge) -> WrittenFile:
        """One new file, proven. Raises `ArrowSealError`s, and then it may be there or not."""
        with self._room:
            if self.format_of(merge) in TEXT:
                return self._joined(merge)
            written = self._written(merge)
            rows = self._source([Found(merge.target, merge.target.name)]).scanner(use_threads=False).to_batches()
            there = sum(batch.num_rows for batch in rows)
            if there != written.rows:
                raise DatasetWriteError(f"{merge.target}: {there:,} rows of {written.rows:,} are read back")
            return written

    def _written(self, merge: Merge) -> WrittenFile:
        file = DatasetFileWriter(self.client, merge.target, self.format_of(merge), self.file_options, self.writing)
        try:
            for table in self._rows(merge):
                for begin in range(0, max(1, table.num_rows), GROUP_ROWS):
                    file.append(table.slice(begin, GROUP_ROWS))
            result, metadata = file.commit()
        except BaseException:
            file.abort()
            raise
        return WrittenFile(merge.target, {}, file.rows, result, metadata)

    def _rows(self, merge: Merge) -> Iterator[pa.Table]:
        source = self._source(merge.sources)
        if merge.source_bytes <= _AT_ONCE_BYTES:
            yield source.to_table()
            return
        yield no_rows(source.schema)
        for batch in source.to_batches(batch_size=GROUP_ROWS):
            yield pa.Table.from_batches([batch])

    def _source(self, found: Sequence[Found]) -> EncryptedDataset:
        """Files as one table, what their paths say left aside."""
        nothing = Partitions(pa.schema([]), {one.path: WHOLE for one in found})
        files = Files(self.client, self.reading, self.format)
        threads = max(1, self.threads // AT_A_TIME)
        return dataset_of(files, found, nothing, unify_schemas=True, use_threads=threads)

    def _joined(self, merge: Merge) -> WrittenFile:
        joined = JoinedText(self.format_of(merge))
        sent, there = hashlib.sha256(), hashlib.sha256()
        compression = stream_compression(merge.target)
        file = self.client.open(merge.target, **self.writing)
        try:
            sink = pa.PythonFile(Sink(file), "w")
            with sink if compression is None else pa.CompressedOutputStream(sink, compression) as out:
                for source in merge.sources:
                    with self._text(source.location, source.stored_bytes) as text:
                        for piece in joined.add(source.location, text):
                            sent.update(piece)
                            out.write(piece)
            if joined.is_empty:
                raise NotATableError(f"{merge.sources[0].location}: there is nothing in it, nor in those after it")
            result = file.commit()
        except BaseException:
            file.abort()
            raise
        with self._text(merge.target, result.stored_bytes) as text:
            while piece := text.read(_PIECE):
                there.update(piece)
        if there.digest() != sent.digest():
            raise ChecksumMismatchError(f"{merge.target}: other lines are read back than were written")
        return WrittenFile(merge.target, {}, joined.rows, result)

    @contextmanager
    def _text(self, location: ObjectLocation, stored_bytes: int | None) -> Iterator[pa.NativeFile]:
        compression = stream_compression(location)
        with self.client.open(location, "rb", size_hint=stored_bytes, **self.reading) as file:
            try:
                source = pa.PythonFile(file, "r")
                yield source if compression is None else pa.CompressedInputStream(source, compression)
            except ArrowSealError:
                raise
            except (pa.ArrowException, OSError):
                raise NotATableError(f"{location}: not compressed as its name says, or cut off") from None
