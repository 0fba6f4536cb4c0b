"""Datasets as frames of pandas: what `arrowseal.pandas` does with many objects."""

from __future__ import annotations

import inspect
import json
import uuid
from collections.abc import Iterator
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import orc

from arrowseal.exceptions import ConfigurationError
from arrowseal.extras import require
from arrowseal.progress import check_progress
from arrowseal.tables.asked import checked_names
from arrowseal.tables.dataset import EncryptedDataset, dataset
from arrowseal.tables.dataset_counting import Answer, told_together
from arrowseal.tables.dataset_faces import rows_at_a_time
from arrowseal.tables.dataset_flow import in_order
from arrowseal.tables.dataset_partitions import Partition
from arrowseal.tables.dataset_scan import DatasetScan
from arrowseal.tables.dataset_source import DatasetFile, as_expression
from arrowseal.tables.dataset_write import write_dataset
from arrowseal.tables.formats import TableFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

    from arrowseal.tables.dataset_faces import Arguments
    from arrowseal.tables.dataset_written import WrittenDataset

_OF_DATASETS: Final = ("partitioning", "schema", "ignore_prefixes")
_PASSES_TO: Final = {TableFormat.PARQUET: pq.read_table, TableFormat.ORC: orc.read_table}
_OF_WRITES: Final = (
    "existing_data_behavior",
    "file_visitor",
    "max_open_files",
    "max_partitions",
    "max_rows_per_file",
    "max_rows_per_group",
    "min_rows_per_group",
)
_NULLABLE: Final = (
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.large_string()),
)
"""The types that `dtype_backend="numpy_nullable"` is about."""
_NO_SUCH: Final = {"chunksize": "chunked=", "iterator": "chunked=", "nrows": "chunked="}


def read_tables(
    face: Callable[..., Any], source: Any, arguments: Arguments, own: Arguments, *, table_format: TableFormat
) -> pd.DataFrame | Iterator[pd.DataFrame]:
    """Parquet and ORC: columns and filters reach the files, as in `arrowseal.arrow.dataset`. Columns of partitions are
    categories, as pandas has them, unless `partitioning` or `schema` say their types.
    """
    chunked = own.pop("chunked", False)
    if arguments.pop("engine", "auto") not in ("auto", "pyarrow"):
        raise ConfigurationError(f"{face.__name__}() reads many objects by engine='pyarrow' only")
    columns, filters = checked_names(arguments.pop("columns", None)), arguments.pop("filters", None)
    given = {name: arguments.pop(name) for name in _OF_DATASETS if name in arguments}
    own |= {name: value for name, value in given.items() if value is not None or name == "partitioning"}
    convert = partial(
        _frame, dtype_backend=arguments.pop("dtype_backend", None), options=arguments.pop("to_pandas_kwargs", None)
    )
    _check(_PASSES_TO[table_format], arguments)
    unify = own.get("schema") is None
    infers = unify and own.get("partitioning", "hive") == "hive"
    found = dataset(source, format=table_format, unify_schemas=unify, _operation=face.__name__, **own, **arguments)
    expression = as_expression(filters)
    source = found.source.for_columns(columns, expression) if unify and columns is not None else found.source
    scan = DatasetScan(source, columns, expression, 2**30, pandas_index=True)
    categories = _categories(found) if infers else {}
    if not chunked:
        return convert(_encoded(scan.to_table(), categories))
    tables = (pa.Table.from_batches([batch]) for batch in scan.to_batches())
    if chunked is True:
        return (convert(_encoded(table, categories)) for table in tables)
    # A frame takes longer to make than a small file to read.
    parts = rows_at_a_time(tables, _count(chunked), _one_table, _rows_of)
    return (_numbered(convert(_encoded(table, categories))) for table in parts)


def read_texts(
    face: Callable[..., Any], source: Any, arguments: Arguments, own: Arguments, *, table_format: TableFormat
) -> pd.DataFrame | Iterator[pd.DataFrame]:
    """CSV and JSON: each object by pandas with all of its arguments, many at a time, in their order."""
    chunked = own.pop("chunked", False)
    if arguments.get("typ", "frame") != "frame":
        raise ConfigurationError(f"{face.__name__}() reads frames of many objects, no series: leave out typ=")
    for name, instead in _NO_SUCH.items():
        if arguments.get(name):
            raise ConfigurationError(f"{face.__name__}() takes no {name}= for many objects: give {instead}")
    # An iterator gives what it has once, to the first of many files.
    arguments = {name: list(value) if isinstance(value, Iterator) else value for name, value in arguments.items()}
    to_client = {name: value for name, value in own.items() if name in _TO_READS}
    found = dataset(source, format=table_format, **own)
    progress = own.get("progress")
    option = found.source.files.client.options.progress if progress is None else check_progress(progress)
    joined = partial(_join, keeps_index=arguments.get("index_col") not in (None, False))
    categories = _categories(found)
    if not chunked:
        counters = found.source.files.client.counters
        with counters.operation(face.__name__, found.source.location, file_type=table_format.value) as counted:
            members = found.source.members
            read = members or [_without_rows(found)]
            sizes = [member.found.stored_bytes for member in read]
            total = None if None in sizes else sum(size or 0 for size in sizes)
            with told_together(counted, option, found.source.location, total):
                frames = list(_texts(face, found, read, arguments, to_client | {"progress": False}))
            whole: pd.DataFrame = _with_categories(joined(frames), categories)
            whole = whole if members else whole.iloc[:0]
            counted.rows = len(whole)
        return whole
    texts = _texts(face, found, found.source.members, arguments, to_client | {"progress": option})
    parted = (_with_categories(frame, categories) for frame in texts)
    return parted if chunked is True else rows_at_a_time(parted, _count(chunked), joined, _rows_of_frame)


_TO_READS: Final = frozenset(
    {"client", "encryption", "encryption_context", "kms_key_id", "allow_plaintext", "version_id"}
)


def _without_rows(found: EncryptedDataset) -> DatasetFile:
    """The file that says the columns of a dataset of which no partition was accepted."""
    return DatasetFile(found.source.first, Partition(dict.fromkeys(found.partition_schema.names)))


def _texts(
    face: Callable[..., Any],
    found: EncryptedDataset,
    members: Sequence[DatasetFile],
    arguments: Arguments,
    to_client: Arguments,
) -> Iterator[pd.DataFrame]:
    versions = found.source.files.version_ids

    def run(member: DatasetFile) -> Iterator[Answer[pd.DataFrame]]:
        keywords = to_client | {"version_id": versions.get(member.path)}
        frame = face(member.location, **arguments, **keywords)
        for name, value in member.partition.values.items():
            frame[name] = value
        yield Answer(frame, int(frame.memory_usage(index=False).sum()))

    ordered = in_order(
        members,
        run,
        size_of=lambda member: member.found.stored_bytes,
        context=copy_context(),
        threads=found.source.threads,
    )
    return (answer.value for answer in ordered)


def write_parquets(frame: Any, base_dir: Any, arguments: Arguments, own: Arguments) -> WrittenDataset:
    """`to_parquet` of pandas into many objects; beside what is there, unless `mode=` or `existing_data_behavior=` says
    otherwise. Arguments that pandas hands to `pyarrow.dataset.write_dataset` go to `arrowseal.arrow.write_dataset`, the
    others to `pyarrow.parquet.ParquetWriter`.
    """
    pandas = require("pandas", "pandas")
    if not isinstance(frame, pandas.DataFrame):
        raise ConfigurationError(
            f"to_parquet() writes pandas frames, not {type(frame).__module__}.{type(frame).__name__}"
        )
    if arguments.pop("engine", "auto") not in ("auto", "pyarrow"):
        raise ConfigurationError("to_parquet() writes many objects by engine='pyarrow' only")
    schema, index = arguments.pop("schema", None), arguments.pop("index", None)
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=index)
    columns = arguments.pop("partition_cols", None)
    names = [columns] if isinstance(columns, str) else list(columns or ())
    for name in names:  # categories that no row has are not lost in the file, but are no partition
        kind = table.schema.field(name).type if name in table.schema.names else None
        if kind is not None and pa.types.is_dictionary(kind):
            at = table.schema.get_field_index(name)
            table = table.set_column(at, name, table.column(name).cast(kind.value_type))
    own |= _of_writes(arguments, own)
    options = {"compression": arguments.pop("compression", "snappy") or "none", **arguments}
    return write_dataset(table, base_dir, partitioning=names, file_options=options, **own)


def _of_writes(arguments: Arguments, own: Arguments) -> Arguments:
    """What of the arguments is about which files there are, taken out of them and of ours of other names."""
    given = {name: value for name in _OF_WRITES if (value := arguments.pop(name, None)) is not None}
    # As pyarrow does, so that files of another call are replaced by those only that a template names.
    given["basename_template"] = arguments.pop("basename_template", None) or f"{uuid.uuid4().hex}-{{i}}.parquet"
    for name in ("chunk_size", "row_group_size"):
        if (rows := arguments.pop(name, None)) is not None:
            given["max_rows_per_group"] = rows
    if "max_rows_by_file" in own:
        if "max_rows_per_file" in given:
            raise ConfigurationError("max_rows_by_file= and max_rows_per_file= say the same: give one of them")
        given["max_rows_per_file"] = own.pop("max_rows_by_file")
    return given if "existing_data_behavior" in given else given | {"mode": own.pop("mode", "append")}


def _frame(table: pa.Table, dtype_backend: Any, options: Any) -> pd.DataFrame:
    """The frame that pandas itself makes of the table."""
    pandas = require("pandas", "pandas")
    if options:
        mapped = {} if dtype_backend is None else {"types_mapper": _types_of(dtype_backend)}
        frame: pd.DataFrame = table.to_pandas(**mapped, **options)
        return frame
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        if table.num_rows:
            writer.write_table(table.unify_dictionaries())
        else:  # a file without batches has no categories
            columns = [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in table.columns]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=table.schema))
    backend = {} if dtype_backend is None else {"dtype_backend": dtype_backend}
    whole: pd.DataFrame = pandas.read_feather(pa.BufferReader(sink.getvalue()), **backend)
    return whole


def _types_of(dtype_backend: Any) -> Callable[[pa.DataType], Any]:
    """What pandas makes of which type, asked of itself by a frame without rows: other backends it refuses."""
    pandas = require("pandas", "pandas")
    asked = _frame(pa.schema([(str(kind), kind) for kind in _NULLABLE]).empty_table(), dtype_backend, None)
    if dtype_backend == "pyarrow":
        backed: Callable[[pa.DataType], Any] = pandas.ArrowDtype
        return backed
    made = zip(_NULLABLE, asked.dtypes, strict=True)
    return {kind: dtype for kind, dtype in made if isinstance(dtype, pandas.api.extensions.ExtensionDtype)}.get


def _check(function: Callable[..., Any], arguments: Arguments) -> None:
    """Raise `TypeError` for an argument that pandas cannot hand to this function either."""
    known = inspect.signature(function).parameters
    for name in arguments:
        if name not in known:
            message = f"{function.__name__}() got an unexpected keyword argument {name!r}"
            raise TypeError(message)


def _categories(found: EncryptedDataset) -> Mapping[str, pa.Array]:
    """All that paths say of each column, in the order of the files, as pyarrow has it: once for all chunks, of which
    there may be as many as files.
    """
    partitions = list({id(member.partition): member.partition for member in found.source.members}.values())
    values = {
        column.name: dict.fromkeys(partition.values.get(column.name) for partition in partitions)
        for column in found.partition_schema
    }
    return {
        column.name: pa.array([value for value in values[column.name] if value is not None], column.type)
        for column in found.partition_schema
    }


def _encoded(table: pa.Table, categories: Mapping[str, pa.Array]) -> pa.Table:
    """The table with these columns of partitions as dictionaries, which pandas takes for categories."""
    encoded = []
    for name, values in categories.items():
        at = table.schema.get_field_index(name)
        if at >= 0:
            indices = pc.index_in(table.column(at).cast(values.type), value_set=values)
            chunks = indices.chunks or [pa.array([], pa.int32())]  # which carries the categories
            chunks = [pa.DictionaryArray.from_arrays(chunk, values) for chunk in chunks]
            kind = pa.dictionary(pa.int32(), values.type)
            table = table.set_column(at, name, pa.chunked_array(chunks, kind))
            encoded.append(name)
    return _undescribed(table, encoded)


def _undescribed(table: pa.Table, names: list[str]) -> pa.Table:
    """Without what the files say of these columns to pandas: it is of the values that were written, not of a path."""
    described = table.schema.pandas_metadata
    if not names or not described:
        return table
    kept = [one for one in described["columns"] if one.get("field_name", one["name"]) not in names]
    metadata = table.schema.metadata | {b"pandas": json.dumps(described | {"columns": kept}).encode()}
    return table.replace_schema_metadata(metadata)


def _with_categories(frame: pd.DataFrame, categories: Mapping[str, pa.Array]) -> pd.DataFrame:
    pandas = require("pandas", "pandas")
    for name, values in categories.items():
        if name in frame.columns:
            kind = values.type.to_pandas_dtype() if pa.types.is_integer(values.type) else None
            index = pandas.Index(values.to_pylist(), dtype=kind)
            frame[name] = frame[name].astype(pandas.CategoricalDtype(index))
    return frame


def _one_table(tables: list[pa.Table]) -> pa.Table:
    # By their batches: tables without columns forget their rows otherwise.
    return pa.Table.from_batches([batch for table in tables for batch in table.to_batches()], tables[0].schema)


def _rows_of(table: pa.Table, begin: int, end: int) -> pa.Table:
    return table.slice(begin, end - begin)


def _numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the index that it has, or numbers of its own rows where that is no more than those of others."""
    return frame.reset_index(drop=True) if isinstance(frame.index, require("pandas", "pandas").RangeIndex) else frame


def _rows_of_frame(frame: pd.DataFrame, begin: int, end: int) -> pd.DataFrame:
    return frame.iloc[begin:end]


def _join(frames: list[pd.DataFrame], *, keeps_index: bool = False) -> pd.DataFrame:
    whole: pd.DataFrame = require("pandas", "pandas").concat(frames, ignore_index=not keeps_index)
    return whole


def _count(chunked: Any) -> int:
    if not isinstance(chunked, int) or chunked < 1:
        raise ConfigurationError("chunked= is True, or a number of rows")
    return chunked
