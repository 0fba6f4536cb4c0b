"""CSV objects become Parquet objects beside them: batch by batch, compared row by row before anything is deleted."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from arrowseal.cancellation import shielded
from arrowseal.companions import delete_along
from arrowseal.exceptions import (
    ChecksumMismatchError,
    ConfigurationError,
    NotATableError,
    ObjectChangedError,
    ObjectExistsError,
    PreconditionFailedError,
)
from arrowseal.location import ObjectLocation
from arrowseal.operations.migrated_objects import users_metadata
from arrowseal.operations.rewrapping import grants_of
from arrowseal.segment_index import delete_index
from arrowseal.suites import ANY
from arrowseal.tables.dataset_appending import DatasetFileWriter
from arrowseal.tables.formats import TableFormat, compression_of
from arrowseal.tables.refusal import is_refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from arrowseal.encryption import Encryption
    from arrowseal.operations.migrated_objects import Migration
    from arrowseal.operations.report import ObjectResult
    from arrowseal.store import ListedObject, ObjectAttributes, StoredObject
    from arrowseal.writing import PutResult

_GROUP_ROWS: Final = 2**17
_GROUP_BYTES: Final = 32 * 2**20
_COMPARED_ROWS: Final = 2**14
_OF_THE_CSV: Final = ("ContentType", "ContentEncoding", "ContentDisposition", "ObjectLock")
"""What belongs to the CSV object and not to the table in it."""
_OF_THE_SERVER: Final = ("ServerSideEncryption", "SSE", "BucketKey")
_PARQUET: Final = "application/vnd.apache.parquet"


class MigratedTables:
    """Objects of one migration, those of CSV among them as Parquet; all others as they would be without."""

    def __init__(
        self, work: Migration, file_options: Mapping[str, Any], csv_options: Mapping[str, Any], delete_source: bool
    ) -> None:
        self._work = work
        self._file_options = file_options
        self._csv_options = csv_options
        self._delete_source = delete_source

    def check(self) -> None:
        """Raise `ConfigurationError` for options that no table could be read or written with, before any request."""
        try:
            pa.csv.open_csv(pa.BufferReader(b"a\n"), **self._csv_options).close()
            rest = {name: value for name, value in self._file_options.items() if name != "row_group_size"}
            pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([]), **rest).close()
        except TypeError as error:
            raise ConfigurationError(f"pyarrow does not take file_options= or csv_options=: {error}") from None
        except pa.ArrowException:
            return  # columns that some tables have, perhaps: each one tells

    def one(self, listed: ListedObject) -> ObjectResult:
        """Migrate an object, or tell how it would be. Raises `ArrowSealError`s."""
        target = parquet_of(listed.location)
        if target is None:
            return self._work.one(listed)
        before, encrypted, result = self._work.look(listed)
        result = replace(result, target=str(target))
        if self._work.options.dry_run:
            return result
        encryption = self._work.encryption(target, encrypted)
        written = None
        try:
            written = self._written(before, target, encryption)
        except ObjectChangedError:
            raise
        except PreconditionFailedError:
            pass  # it is there already: that of an earlier run, or somebody else's
        try:
            self._compare(before.stored, target)
        except BaseException as error:
            if written is not None:
                self._take_back(target, written)
            elif isinstance(error, ChecksumMismatchError | NotATableError):
                raise ObjectExistsError(
                    f"{target}: there is another object already: {listed.location} is left as it is"
                ) from None
            raise
        if written is None and not self._work.is_as_written(target, encryption):
            raise ObjectExistsError(
                f"{target}: there already with these rows, but not {self._work.label()} as it would be written: "
                f"{listed.location} is left as it is. Migrate that object, or delete it"
            )
        stored = self._work.store.head(target, self._work.operation, arguments={})
        result = replace(
            result,
            state="done" if written else "already",
            key=written.kms_key_arn if written else None,
            etag=before.stored.etag,
            version_id=stored.version_id,
            stored_bytes=before.stored.stored_bytes,
        )
        if self._delete_source:
            work = self._work
            work.store.delete(listed.location, work.operation, arguments={"IfMatch": f'"{before.stored.etag}"'})
            delete_along(work.store, listed.location, work.client.options.instruction_files, work.operation)
            result = replace(result, reason="the CSV object was deleted")
        return result

    def _written(
        self,
        before: ObjectAttributes,
        target: ObjectLocation,
        encryption: Encryption,
    ) -> PutResult:
        work = self._work
        arguments = {
            name: value for name, value in before.arguments.items() if not name.startswith(_OF_THE_CSV + _OF_THE_SERVER)
        }
        arguments |= {"Metadata": users_metadata(before.stored), "ContentType": _PARQUET}
        if tags := work.store.tags(before.stored.location, work.operation):
            arguments["Tagging"] = tags
        if work.keep_acl:
            arguments |= grants_of(work.store, before.stored.location, work.operation)
        opening = {
            "mode": "wb",
            "encryption": encryption,
            "s3_additional_kwargs": arguments,
            "if_none_match": "*",
            "progress": False,
        }
        file = DatasetFileWriter(work.writer, target, TableFormat.PARQUET, self._file_options, opening)
        try:
            for table in self._groups(before.stored):
                file.append(table)
            result, _ = file.commit()
        except BaseException:
            file.abort()
            raise
        return result

    def _take_back(self, target: ObjectLocation, written: PutResult) -> None:
        """Delete a Parquet object that was not found to be the CSV, unless it is another one by now."""
        work = self._work
        with shielded(), suppress(Exception):
            work.store.delete(target, work.operation, arguments={"IfMatch": f'"{written.etag}"'})
            delete_index(work.store, target, work.operation)

    def _groups(self, stored: StoredObject) -> Iterator[pa.Table]:
        """The rows of the CSV in pieces that make row groups; at least one, which may be empty."""
        held: list[pa.RecordBatch] = []
        rows = size = groups = 0
        for batch in self._batches(stored):
            held.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
                yield pa.Table.from_batches(held)
                held, rows, size, groups = [], 0, 0, groups + 1
        if rows or not groups:
            yield pa.Table.from_batches(held)

    def _batches(self, stored: StoredObject) -> Iterator[pa.RecordBatch]:
        """The rows of the CSV as pyarrow reads them from its start. Raises `NotATableError`, without a word of it."""
        compression = compression_of(stored.location)
        try:
            with self._work.open_source(stored) as file:
                source = pa.PythonFile(file, "r")
                if compression is not None:
                    source = pa.CompressedInputStream(source, compression)
                with pa.csv.open_csv(source, **self._csv_options) as reader:
                    _check_names(stored.location, reader.schema.names)
                    yield _empty(reader.schema)  # of a table without rows
                    yield from reader
        except Exception as error:
            if not is_refusal(error):
                raise
            refused = type(error).__name__
        else:
            return
        raise NotATableError(
            f"{stored.location}: pyarrow cannot read it as CSV in one pass ({refused}, whose message is left out "
            "because it may quote the content). Types are those of the first block: name others in csv_options="
        )

    def _compare(self, stored: StoredObject, target: ObjectLocation) -> None:
        """Raise `ChecksumMismatchError` unless the rows of the Parquet object are those of the CSV, in order."""
        work = self._work
        hint = work.store.head(target, work.operation, arguments={}).stored_bytes
        reading: dict[str, Any] = {"encryption_context": ANY, "allow_plaintext": True}
        with work.writer.open(target, "rb", size_hint=hint, **reading) as file:
            try:
                parquet = pq.ParquetFile(pa.PythonFile(file, "r"), pre_buffer=False)
                schema = parquet.schema_arrow
            except pa.ArrowException:
                raise NotATableError(f"{target}: not a Parquet object") from None
            csv = _cut(self._batches(stored))
            for ours in _cut(parquet.iter_batches(_COMPARED_ROWS)):
                theirs = next(csv, None)
                if theirs is None or not _equal(theirs, ours, schema):
                    raise ChecksumMismatchError(f"{target}: its rows are not those of {stored.location}")
            if next(csv, None) is not None:
                raise ChecksumMismatchError(f"{target}: it has fewer rows than {stored.location}")


def parquet_of(location: ObjectLocation) -> ObjectLocation | None:
    """The Parquet object that a CSV object becomes; None for one that is no CSV by its name.

    >>> str(parquet_of(ObjectLocation("lake", "2013/flights.csv.gz")))
    's3://lake/2013/flights.parquet'
    """
    suffixes = location.suffixes
    packed = compression_of(location)
    own = suffixes[:-1] if packed is not None else suffixes
    if packed in ("zip", "tar", "xz") or own[-1:] != [".csv"]:
        return None
    cut = sum(map(len, suffixes[-2:] if packed is not None else suffixes[-1:]))
    return ObjectLocation(location.bucket, location.key[:-cut] + ".parquet")


def _check_names(location: ObjectLocation, names: list[str]) -> None:
    if len(set(names)) < len(names):  # not told, since without a header they are content
        raise NotATableError(
            f"{location}: a name of a column is there more than once, and readers of Parquet go by names: name columns "
            "anew by csv_options={'read_options': pyarrow.csv.ReadOptions(column_names=[...], skip_rows=1)}"
        )


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def _cut(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows in tables of one length, the last one shorter."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        while rows + batch.num_rows >= _COMPARED_ROWS:
            taken = _COMPARED_ROWS - rows
            yield pa.Table.from_batches([*held, batch.slice(0, taken)])
            held, rows, batch = [], 0, batch.slice(taken)
        if batch.num_rows:
            held.append(batch)
            rows += batch.num_rows
    if held:
        yield pa.Table.from_batches(held)


def _equal(csv: pa.Table, parquet: pa.Table, schema: pa.Schema) -> bool:
    """Whether rows are the same, in the types of Parquet, NaN equal to NaN."""
    if csv.column_names != parquet.column_names or csv.num_rows != parquet.num_rows:
        return False
    for field, theirs, ours in zip(schema, csv.columns, parquet.columns, strict=True):
        theirs = theirs.cast(field.type)
        if theirs.equals(ours):
            continue
        if not pa.types.is_floating(ours.type):
            return False
        filled = [pc.if_else(pc.is_nan(column), 0.0, column) for column in (theirs, ours)]
        if not pc.is_nan(theirs).equals(pc.is_nan(ours)) or not filled[0].equals(filled[1]):
            return False
    return True
