"""`include_file_paths=` of polars where one object is read: its URL as a last column."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from arrowseal.extras import require
from arrowseal.location import locate
from arrowseal.tables.polars_frames import with_row_numbers

Face = TypeVar("Face", bound=Callable[..., Any])


def tells_urls(face: Face) -> Face:
    """Teaches a face that reads one object, now or later, to tell its URL. `columns` may name that column too."""

    @functools.wraps(face)
    def told(*args: Any, include_file_paths: str | None = None, **kwargs: Any) -> Any:
        if include_file_paths is None:
            return face(*args, **kwargs)
        if not isinstance(include_file_paths, str):
            message = f"{face.__name__}() takes the name of a column as include_file_paths=, not {include_file_paths!r}"
            raise TypeError(message)
        columns = kwargs.get("columns")
        asked = [columns] if isinstance(columns, str) else columns
        if asked is not None:
            by_name = all(isinstance(name, str) for name in asked)  # otherwise by place, and all are counted
            kwargs["columns"] = [name for name in asked if by_name and name != include_file_paths] or None
        # Beside columns rows are numbered last, in a column that is none of those by name or place.
        taken = () if asked is None else ("row_index_name", "row_index_offset")
        numbered = {name: kwargs.pop(name) for name in taken if name in kwargs}
        frame = face(*args, **kwargs)
        polars = require("polars", "polars")
        source = args[0] if args else kwargs.get("source")
        url = str(locate(source, bucket=kwargs.get("bucket"), key=kwargs.get("key")))
        every = frame.select(polars.all(), polars.lit(url).alias(include_file_paths))
        return with_row_numbers(every if asked is None else every[:, asked], numbered)

    return told  # type: ignore[return-value]
