"""Datasets as frames of polars: what `arrowseal.polars` does with many objects."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from arrowseal.exceptions import ConfigurationError
from arrowseal.extras import require
from arrowseal.fs import exit_guard
from arrowseal.tables.arrow_files import no_rows
from arrowseal.tables.dataset import EncryptedDataset, dataset
from arrowseal.tables.dataset_frames import FrameScan
from arrowseal.tables.dataset_write import write_dataset
from arrowseal.tables.formats import TableFormat
from arrowseal.tables.lazy import LazyTable, Opened, Query
from arrowseal.tables.lazy_parquet import pruning
from arrowseal.tables.polars_frames import collected, frame_of, rows_alone, sliced
from arrowseal.tables.polars_partitions import PathTypes, TypedSource, as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import polars as pl

    from arrowseal.tables.dataset_faces import Arguments
    from arrowseal.tables.dataset_written import WrittenDataset
    from arrowseal.tables.lazy import Filter, Frames
    from arrowseal.tables.ranges import Ranges

_CHANGE_NOTHING: Final = frozenset(
    {"parallel", "use_statistics", "low_memory", "cache", "glob", "rechunk", "memory_map", "retries", "file_cache_ttl"}
    | {"use_pyarrow"}
)
"""Arguments about how polars would read, not what."""


def scan_parquets(face: Callable[..., Any], source: Any, arguments: Arguments, own: Arguments) -> pl.LazyFrame:
    """`scan_parquet` of many objects."""
    hive, schema = arguments.pop("hive_partitioning", None), arguments.pop("hive_schema", None)
    dates = arguments.pop("try_parse_hive_dates", True)
    hidden = arguments.pop("hidden_file_prefix", None)
    urls = arguments.pop("include_file_paths", None)
    rows, index = arguments.pop("n_rows", None), arguments.pop("row_index_name", None)
    offset = arguments.pop("row_index_offset", 0)
    own["missing_columns"] = arguments.pop("missing_columns", "raise")
    own["extra_columns"] = arguments.pop("extra_columns", "raise")
    for name, value in arguments.items():
        if value is not None and value is not False and name not in _CHANGE_NOTHING:
            raise ConfigurationError(f"{face.__name__}() takes no {name}= for many objects")
    if hidden is not None:
        own["ignore_prefixes"] = [hidden] if isinstance(hidden, str) else list(hidden)
    if schema and hive is False:
        raise ConfigurationError(
            f"{face.__name__}() takes hive_schema= unless hive_partitioning=False: drop one of them"
        )
    is_directory = isinstance(source, str) and "*" not in source
    found = dataset(
        source,
        format=TableFormat.PARQUET,
        partitioning="hive" if hive or schema or (hive is None and is_directory) else None,
        _type_of=as_text,
        _shows_keys=True,
        _operation=face.__name__,
        **own,
    )
    frame = LazyDataset(found, PathTypes(schema or None, dates, urls)).frame()
    frame = frame if rows is None else frame.head(rows)
    return frame if index is None else frame.with_row_index(index, offset)


def read_parquets(face: Callable[..., Any], source: Any, arguments: Arguments, own: Arguments) -> pl.DataFrame:
    """`read_parquet` of many objects."""
    columns = arguments.pop("columns", None)
    row_index = arguments.pop("row_index_name", None), arguments.pop("row_index_offset", 0)
    return collected(scan_parquets(face, source, arguments, own), columns, row_index)


def write_parquets(frame: Any, base_dir: Any, arguments: Arguments, own: Arguments) -> WrittenDataset:
    """`write_parquet` of a frame into many objects; files of the same names are replaced, as by polars, unless `mode=`
    says otherwise.
    """
    polars = require("polars", "polars")
    if not isinstance(frame, polars.DataFrame):
        raise ConfigurationError(
            f"write_parquet() writes polars frames, not {type(frame).__module__}.{type(frame).__name__}"
        )
    columns = arguments.pop("partition_by", None)
    statistics = arguments.pop("statistics", True)
    options = {"compression": arguments.pop("compression", "zstd")}
    options["compression"] = "none" if options["compression"] == "uncompressed" else options["compression"]
    if arguments.get("compression_level") is not None:
        options["compression_level"] = arguments.pop("compression_level")
    groups = arguments.pop("row_group_size", None)
    for name, value in arguments.items():
        if value is not None and value is not False and name not in _WRITE_NOTHING:
            raise ConfigurationError(f"write_parquet() takes no {name}= for many objects")
    mode = own.pop("mode", None)
    return write_dataset(
        frame,
        base_dir,
        partitioning=[columns] if isinstance(columns, str) else list(columns or ()),
        mode=mode,
        existing_data_behavior=None if mode else "overwrite_or_ignore",
        max_rows_per_file=own.pop("max_rows_by_file", 0),
        max_rows_per_group=groups or 0,
        file_options=options | ({} if statistics else {"write_statistics": False}),
        _keeps_keys=True,  # as polars does, for readers that take their types from there
        **own,
    )


_WRITE_NOTHING: Final = frozenset({"data_page_size", "use_pyarrow", "partition_chunk_size_bytes", "mkdir", "retries"})


class LazyDataset(LazyTable):
    """A dataset as a source of polars: projection, slices and filters decide on files, row groups and columns."""

    def __init__(self, found: EncryptedDataset, types: PathTypes) -> None:
        super().__init__(SimpleNamespace(location=found.source.location), {})  # type: ignore[arg-type]
        self._found = found
        self._types = types
        self._typed: TypedSource | None = None

    def schema(self) -> pl.Schema:
        """The names and types of the columns; the first file is asked for them."""
        with self._lock:
            if self._schema is None:
                self._typed = self._types.of(self._found.source)
                self._schema = frame_of(no_rows(self._typed.source.schema())).schema
            return self._schema

    def run(self, query: Query) -> Frames:
        """The rows, file by file, at least one frame."""
        polars = require("polars", "polars")
        schema, typed = self.schema(), self._typed
        assert typed is not None  # noqa: S101
        names = schema.names() if query.columns is None else list(query.columns)
        found = EncryptedDataset(typed.source)
        if not names:
            begin, end = query.span(found.count_rows())
            yield rows_alone(end - begin)
            return
        scan = found.scanner(names, _pruning(query.filters, schema, found.schema) if query.rows is None else None)
        yield polars.DataFrame(schema={name: schema[name] for name in names})
        if query.rows is None:
            yield from _waited_for(FrameScan(scan, query, schema, typed.held).frames())
            return
        begin, end = query.span(scan.count_rows() if query.rows[0] < 0 else sum(query.rows))
        if begin < end:
            whole = FrameScan(scan, query._replace(filters=()), schema, typed.held)
            yield from sliced(_waited_for(whole.frames(end)), begin, end - begin)

    def open(self, source: Ranges) -> Opened:
        """Not for many objects: `run` does without."""
        raise NotImplementedError

    def read(self, opened: Opened, query: Query) -> Iterator[pl.DataFrame]:
        """Not for many objects either."""
        raise NotImplementedError


def _pruning(filters: Sequence[Filter], schema: pl.Schema, of_arrow: pa.Schema) -> Any:
    """The filter of pyarrow that keeps at least what these keep; None also where pyarrow knows no such comparison, of
    which polars says what it has to say.
    """
    expression = pruning(filters, schema)
    try:
        if expression is not None:
            _one_row(of_arrow).filter(expression)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return None
    return expression


def _one_row(schema: pa.Schema) -> pa.Table:
    """Of nulls: of no rows at all pyarrow compares and filters nothing, and says nothing of what it cannot."""
    return pa.table([pa.nulls(1, field.type) for field in schema], schema=schema)


def _waited_for(frames: Frames) -> Iterator[pl.DataFrame]:
    """The same frames. polars takes them ahead on a thread of its own, for which the end of the interpreter waits while
    it makes one: without the GIL it would take the process down.
    """
    with closing(frames):
        while True:
            work = exit_guard.Work()
            frame = next(frames, None)
            del work
            if frame is None:
                return
            yield frame
