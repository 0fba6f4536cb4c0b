"""What `arrowseal.polars.write_parquet` gives for which arguments: for type checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrowseal.tables.dataset_written import WrittenDataset
    from arrowseal.writing import PutResult


class WriteParquet(Protocol):
    """The type of `arrowseal.polars.write_parquet`."""

    __name__: str

    @overload
    def __call__(
        self, df: Any, file: Any = None, *, partition_by: str | Sequence[str], **arguments: Any
    ) -> WrittenDataset: ...

    @overload
    def __call__(self, df: Any, file: Any = None, *, dataset: Literal[True], **arguments: Any) -> WrittenDataset: ...

    @overload
    def __call__(self, df: Any, file: Any = None, *, mode: str, **arguments: Any) -> WrittenDataset: ...

    @overload
    def __call__(self, df: Any, file: Any = None, *, max_rows_by_file: int, **arguments: Any) -> WrittenDataset: ...

    @overload
    def __call__(self, df: Any, file: Any = None, **arguments: Any) -> PutResult: ...
