"""What the readers of pandas that give more than frames give for which arguments: for type checkers, as pandas' own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from pandas.io.json._json import JsonReader
    from pandas.io.parsers import TextFileReader


class ReadCsv(Protocol):
    """The type of `arrowseal.pandas.read_csv`."""

    __name__: str

    @overload
    def __call__(self, filepath_or_buffer: Any = None, *, chunksize: int, **arguments: Any) -> TextFileReader: ...

    @overload
    def __call__(
        self, filepath_or_buffer: Any = None, *, iterator: Literal[True], **arguments: Any
    ) -> TextFileReader: ...

    @overload
    def __call__(
        self, filepath_or_buffer: Any = None, *, chunked: Literal[True] | int, **arguments: Any
    ) -> Iterator[pd.DataFrame]: ...

    @overload
    def __call__(
        self,
        filepath_or_buffer: Any = None,
        *,
        chunksize: None = None,
        iterator: Literal[False] = False,
        chunked: Literal[False] | None = None,
        **arguments: Any,
    ) -> pd.DataFrame: ...


class ReadJson(Protocol):
    """The type of `arrowseal.pandas.read_json`."""

    __name__: str

    @overload
    def __call__(
        self, path_or_buf: Any = None, *, typ: Literal["series"], chunksize: int, **arguments: Any
    ) -> JsonReader[pd.Series[Any]]: ...

    @overload
    def __call__(self, path_or_buf: Any = None, *, chunksize: int, **arguments: Any) -> JsonReader[pd.DataFrame]: ...

    @overload
    def __call__(
        self, path_or_buf: Any = None, *, chunked: Literal[True] | int, **arguments: Any
    ) -> Iterator[pd.DataFrame]: ...

    @overload
    def __call__(
        self, path_or_buf: Any = None, *, typ: Literal["series"], chunksize: None = None, **arguments: Any
    ) -> pd.Series[Any]: ...

    @overload
    def __call__(
        self,
        path_or_buf: Any = None,
        *,
        typ: Literal["frame"] = "frame",
        chunksize: None = None,
        chunked: Literal[False] | None = None,
        **arguments: Any,
    ) -> pd.DataFrame: ...
