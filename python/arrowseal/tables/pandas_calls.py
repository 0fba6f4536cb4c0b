"""What the functions for pandas whose results hang on their arguments give for which: for type checkers, as pandas'
own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from pandas.io.json._json import JsonReader
    from pandas.io.parsers import TextFileReader

    from arrowseal.tables.dataset_written import WrittenDataset
    from arrowseal.writing import PutResult


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


class ReadFiles(Protocol):
    """The type of `arrowseal.pandas.read_parquet` and `read_orc`."""

    __name__: str

    @overload
    def __call__(
        self, path: Any = None, *more: Any, chunked: Literal[True] | int, **arguments: Any
    ) -> Iterator[pd.DataFrame]: ...

    @overload
    def __call__(self, path: Any = None, *more: Any, **arguments: Any) -> pd.DataFrame: ...


class WriteParquet(Protocol):
    """The type of `arrowseal.pandas.to_parquet`."""

    __name__: str

    @overload
    def __call__(
        self, df: Any, path: Any = None, *, partition_cols: Sequence[str], **arguments: Any
    ) -> WrittenDataset: ...

    @overload
    def __call__(self, df: Any, path: Any = None, *, dataset: Literal[True], **arguments: Any) -> WrittenDataset: ...

    @overload
    def __call__(self, df: Any, path: Any = None, *, mode: str, **arguments: Any) -> WrittenDataset: ...

    @overload
    def __call__(self, df: Any, path: Any = None, *, max_rows_by_file: int, **arguments: Any) -> WrittenDataset: ...

    @overload
    def __call__(self, df: Any, path: Any = None, **arguments: Any) -> PutResult: ...
