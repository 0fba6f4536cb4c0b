"""Partition columns as polars has them: the text of paths in the types of the files, or else in those it looks like."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.dataset as ds

from arrowseal.exceptions import ConfigurationError
from arrowseal.extras import require
from arrowseal.tables.arrow_files import no_rows
from arrowseal.tables.dataset_partitions import Partition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import polars as pl

    from arrowseal.tables.dataset_source import DatasetSource

_SEPARATOR: Final = "\x1f"
_NOT_IN_A_LINE: Final = frozenset({_SEPARATOR, "\r", "\n"})


def as_text(values: set[str]) -> pa.DataType:
    """The type of partition columns before their files are known: text, of which nothing is lost."""
    del values
    return pa.string()


@dataclass(frozen=True)
class TypedSource:
    """A dataset whose partition columns have their types."""

    source: DatasetSource
    held: frozenset[str] = frozenset()
    """Those of them that files hold as well."""


@dataclass(frozen=True)
class PathTypes:
    """Which types the text of paths becomes, by the rules of polars: those of `hive_schema`, or those of the columns of
    the same names in the first file, or what the text looks like to its reader of CSV.
    """

    given: Mapping[str, Any] | None = None
    """`hive_schema`."""
    dates: bool = True
    """Whether text that looks like a date, or a date and a time, is one; if not, it is text whatever the files say."""
    urls: str | None = None
    """The name of a last column, if any, that has the URL of each row's file."""

    def of(self, source: DatasetSource) -> TypedSource:
        """The same dataset, whose paths were parsed as text, with their columns where and as polars has them. The first
        file is asked for its schema.

        A column whose text tells its values badly (a time, binary, a datetime with a zone) is read from the files that
        hold it. Raises `ConfigurationError` for paths that do not fit `hive_schema` and for a column of URLs whose name
        is that of another one, and what opening the file raises.
        """
        typed = self._with_types(source)
        return typed if self.urls is None else replace(typed, source=_with_urls(typed.source, self.urls))

    def _with_types(self, source: DatasetSource) -> TypedSource:
        names = source.partition_schema.names
        if not names:
            return TypedSource(source)
        of_file = source.files.schema(source.first)
        partitions = {id(member.partition): member.partition for member in source.members}
        columns: dict[str, tuple[pa.Field, dict[str, Any]]] = {}
        for name in names:
            texts = {text for one in partitions.values() if (text := one.values.get(name)) is not None}
            column = self._column(name, sorted(texts), of_file)
            if column is not None:
                columns[name] = column
        typed = {key: _typed(partition, columns) for key, partition in partitions.items()}
        fields = {name: column for name, (column, _) in columns.items()}
        whole = [fields.get(column.name, column) for column in of_file]
        whole += [column for name, column in fields.items() if name not in of_file.names]
        changed = replace(
            source,
            members=tuple(replace(member, partition=typed[id(member.partition)]) for member in source.members),
            partition_schema=pa.schema([*fields.values()]),
            given_schema=pa.schema(whole, of_file.metadata),
        )
        return TypedSource(changed, frozenset(fields).intersection(of_file.names))

    def _column(self, name: str, texts: list[str], of_file: pa.Schema) -> tuple[pa.Field, dict[str, Any]] | None:
        """The type of a column, and the values of its texts; None if they are in the files only."""
        polars = require("polars", "polars")
        if self.given is not None:
            if name not in self.given:
                raise ConfigurationError(f"paths have a column {name!r} that hive_schema= has not")
            column = _field(name, self.given[name])
            values = _parsed(texts, self.given[name])
            if values is None:
                raise ConfigurationError(f"hive_schema= says {self.given[name]} of {name!r}, which paths do not have")
            return column, values
        if name in of_file.names:
            column = of_file.field(name)
            kind = polars.from_arrow(no_rows(pa.schema([column]))).schema[name]
            if kind.is_temporal() and not self.dates:
                return _field(name, polars.String), dict(zip(texts, texts, strict=True))
            values = _parsed(texts, kind) if _is_told_by_text(kind) else None
            return None if values is None else (column.with_nullable(True), values)
        kind = self._inferred(texts)
        values = _parsed(texts, kind)
        if values is None:
            kind, values = polars.String(), dict(zip(texts, texts, strict=True))
        return _field(name, kind), values

    def _inferred(self, texts: Iterable[str]) -> pl.DataType:
        """What texts look like to polars, the empty ones aside."""
        polars = require("polars", "polars")
        some = [text for text in texts if text]
        if not some or not _NOT_IN_A_LINE.isdisjoint("".join(some)):
            return polars.String()  # type: ignore[no-any-return]
        kind = _as_csv(some, infer_schema_length=None, try_parse_dates=self.dates).dtype
        # What Arrow has no type for, and what polars itself cannot read from a path.
        return polars.String() if kind in (polars.Int128, polars.Time) else kind


def _is_told_by_text(kind: pl.DataType) -> bool:
    polars = require("polars", "polars")
    if isinstance(kind, polars.Datetime):
        return kind.time_zone is None
    return kind.is_numeric() or kind in (
        polars.String,
        polars.Boolean,
        polars.Date,
        polars.Decimal,
        polars.Categorical,
        polars.Enum,
    )


def _parsed(texts: list[str], kind: Any) -> dict[str, Any] | None:
    """The values of texts, None for one that is empty; None if they are of another type."""
    polars = require("polars", "polars")
    if kind == polars.String:
        return dict(zip(texts, texts, strict=True))
    some = [text for text in texts if text]
    if not _NOT_IN_A_LINE.isdisjoint("".join(some)):
        return None
    try:
        series = _as_csv(some, schema={"": kind}) if some else polars.Series("", [], kind)
    except polars.exceptions.PolarsError:
        return None
    values = series.cast(polars.String) if kind in (polars.Categorical, polars.Enum) else series
    return dict.fromkeys(texts) | dict(zip(some, values.to_arrow().to_pylist(), strict=True))


def _as_csv(texts: list[str], **options: Any) -> pl.Series:
    content = "\n".join(texts).encode()
    read = require("polars", "polars").read_csv
    series: pl.Series = read(content, has_header=False, separator=_SEPARATOR, quote_char=None, **options).to_series()
    return series


def _field(name: str, kind: Any) -> pa.Field:
    try:
        field = require("polars", "polars").DataFrame(schema={name: kind}).to_arrow().schema.field(0)
    except pa.ArrowInvalid:
        raise ConfigurationError(
            f"hive_schema= says {kind} of {name!r}, which pyarrow does not know: give another type, and cast the column"
        ) from None
    return field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field


def _with_urls(source: DatasetSource, name: str) -> DatasetSource:
    """The same dataset with one more column, which is known of each file as those of its path are."""
    schema, column = source.schema(), pa.field(name, pa.string())
    if name in schema.names:
        raise ConfigurationError(f"include_file_paths={name!r} is the name of another column: choose one that is free")
    members = []
    for member in source.members:
        partition, said = member.partition, ds.field(name) == member.path
        expression = partition.expression & said if partition.values else said
        members.append(replace(member, partition=Partition({**partition.values, name: member.path}, expression)))
    return replace(
        source,
        members=tuple(members),
        partition_schema=source.partition_schema.append(column),
        given_schema=schema.append(column),
    )


def _typed(partition: Partition, columns: Mapping[str, tuple[pa.Field, Mapping[str, Any]]]) -> Partition:
    values: dict[str, Any] = {}
    expression = None
    for name, text in partition.values.items():
        if name not in columns:
            continue
        column, of_text = columns[name]
        value = values[name] = None if text is None else of_text[text]
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        said = ds.field(name).is_null() if value is None else ds.field(name) == pa.scalar(value, kind)
        expression = said if expression is None else expression & said
    return Partition(values) if expression is None else Partition(values, expression)
