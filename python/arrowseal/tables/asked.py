"""Arguments of reads and writes of tables, checked by their names before any request."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from arrowseal.exceptions import ConfigurationError


def checked_list(columns: Any, kind: type = Hashable) -> list[Any] | None:
    """One column or several; None for all. Raises `ConfigurationError` for what is no list, or not of that kind: by
    itself, of what may be compared with names, so that a number is a column that is not there.
    """
    if columns is None or isinstance(columns, str):
        return None if columns is None else [columns]
    if not isinstance(columns, Iterable):
        raise ConfigurationError(f"columns= is a list of names, not {type(columns).__name__}")
    given = list(columns)
    for one in given:
        if not isinstance(one, kind):
            raise ConfigurationError(f"columns= is a list of names, of which {type(one).__name__} is none")
    return given


def checked_names(columns: Any) -> list[str] | None:
    """The names of columns; None for all. Raises `ConfigurationError` for what is no name."""
    return checked_list(columns, str)


def checked_columns(columns: Any) -> list[str] | dict[str, pc.Expression] | None:
    """The same, or expressions by the names of their results. Raises `TypeError` too, as pyarrow does of expressions
    that are none.
    """
    if not isinstance(columns, Mapping):
        return checked_names(columns)
    checked_names(columns)
    for expression in columns.values():
        if not isinstance(expression, pc.Expression):
            message = f"columns= by the names of results are expressions, not {type(expression).__name__}"
            raise TypeError(message)
    return dict(columns)


def checked_schema(given: Any) -> pa.Schema:
    """A schema. Raises `ConfigurationError` for anything else."""
    if not isinstance(given, pa.Schema):
        raise ConfigurationError(f"schema= is a pyarrow.Schema, not {type(given).__name__}")
    return given


def checked_number(name: str, value: Any, least: int) -> int:
    """A number. Raises `ConfigurationError` for a smaller one and for anything else."""
    if not isinstance(value, int) or value < least:
        raise ConfigurationError(f"{name}= is a number, {least} or more")
    return value
