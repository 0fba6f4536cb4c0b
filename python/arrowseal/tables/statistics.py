"""Row groups by their statistics, where nulls keep pyarrow from using them.

Given the least and the greatest value of a column, pyarrow finds out whether a filter can hold, but not of row groups
in which the column has nulls as well. For filters of comparisons the nulls change nothing: a comparison with null is
null, and what is true of a row because, or although, a part is null would be true whatever that part were. So such a
filter may be asked as if there were no nulls.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pyarrow.parquet as pq

# As they are written out by pyarrow; comparisons, `and` and `or` have signs of their own. Text in the filter that looks
# like a call of another function only makes it one that is not known here.
_CALL: Final = re.compile(r"[A-Za-z0-9_]+\(")
_KNOWN_CALLS: Final = frozenset({"is_in(", "cast("})
_BLIND_TO_NAN: Final = frozenset({"is_null(", "is_valid("})
_NULL: Final = re.compile(r"\bnull\b")


def as_text(expression: pc.Expression) -> str:
    """The filter as pyarrow writes it out, which cuts long text within characters and then fails to read it."""
    try:
        return str(expression)
    except UnicodeDecodeError as error:
        return error.object.decode(errors="replace")


def ignores_nulls(expression: pc.Expression) -> bool:
    """Whether only comparisons, `is_in` without null, casts, `and` and `or` make up the filter."""
    text = as_text(expression)
    calls = set(_CALL.findall(text))
    return calls <= _KNOWN_CALLS and not ("is_in(" in calls and _NULL.search(text))


def may_pass_nan(expression: pc.Expression, names: Collection[str], schema: pa.Schema) -> bool:
    """Whether rows may pass the filter on these columns because they have NaN, which no statistics count.

    To compare with NaN is never true, but for `!=`: what is true of a row although would be true of any number there.
    Nor do statistics tell the zeros apart, as `is_in` does.
    """
    text = as_text(expression)
    compares = {*_CALL.findall(text)} <= _BLIND_TO_NAN and "!=" not in text and "nan_is_null=true" not in text
    return not compares and any(_has_floats(column.type) for column in schema if column.name in names)


def _has_floats(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _has_floats(kind.value_type)
    return pa.types.is_floating(kind) or any(_has_floats(kind.field(at).type) for at in range(kind.num_fields))


def may_hold(
    expression: pc.Expression, names: Sequence[str], metadata: pq.FileMetaData, schema: pa.Schema, groups: list[int]
) -> list[int]:
    """Those of the row groups that may have rows for a filter on these columns."""
    paths = [metadata.schema.column(at).path for at in range(metadata.num_columns)]
    times = Counter(paths)  # the field `b` of a column `a` has the path of a column `a.b`: which of them is one's own?
    leaves = {path: at for at, path in enumerate(paths) if times[path] == 1}
    known = {name: leaves[name] for name in names if name in leaves and _is_comparable(schema.field(name).type)}
    chunks = {group: {name: metadata.row_group(group).column(at) for name, at in known.items()} for group in groups}
    if not any(_has_nulls(chunk) for named in chunks.values() for chunk in named.values()):
        return groups  # pyarrow has looked at all that there is
    if not ignores_nulls(expression):
        return groups
    import pyarrow.dataset as ds

    fragments, file_format = [], ds.ParquetFileFormat()
    for group, named in chunks.items():
        bounds = [_bounds(name, schema.field(name).type, chunk.statistics) for name, chunk in named.items()]
        true = [bound for bound in bounds if bound is not None]
        # A file that is never read: the row group under its number, and what is known of it.
        fragments.append(
            file_format.make_fragment(
                pa.py_buffer(group.to_bytes(4, "little")),
                partition_expression=reduce(lambda one, other: one & other, true) if true else None,
            )
        )
    dataset = ds.FileSystemDataset(fragments, schema, file_format)
    return [int.from_bytes(found.buffer.to_pybytes(), "little") for found in dataset.get_fragments(filter=expression)]


def _is_comparable(kind: pa.DataType) -> bool:
    """Types whose bounds pass through Python unchanged."""
    types = pa.types
    if types.is_timestamp(kind):
        return bool(kind.unit != "ns")
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_date32(kind)
        or types.is_decimal128(kind)
        or types.is_boolean(kind)
    )


def _has_nulls(chunk: Any) -> bool:
    statistics = chunk.statistics
    return statistics is not None and statistics.has_min_max and statistics.null_count != 0


def _bounds(name: str, kind: pa.DataType, statistics: Any) -> pc.Expression | None:
    if statistics is None or not statistics.has_min_max:
        return None
    try:
        least, greatest = pa.scalar(statistics.min, kind), pa.scalar(statistics.max, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):  # text cut within a character, years past 9999
        return None
    return (pc.field(name) >= least) & (pc.field(name) <= greatest)
