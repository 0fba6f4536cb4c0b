"""File systems over encrypted objects, for every library that takes one.

`SealedFileSystem` is one of `pyarrow.fs`: datasets, `pyarrow.parquet`, pandas' `filesystem=`, Ray. The protocol `s3cse://`
of fsspec (`arrowseal[fsspec]`, class `S3CseFileSystem`) is found by its name: pandas, Dask, DuckDB.

Paths are `bucket/key`; directories are prefixes. Files read are random access and proven, and pinned to the version
that was there when they were opened. Files written appear whole when they are closed, and not at all when an exception
closes them, when they are dropped, or when the interpreter ends.

Ranges are read as ranges where a segment index lies beside the object, as our writers leave one beside large objects
and `Client.index` beside any. Without one each opening reads the whole object, once, to prove it.

>>> import pyarrow.dataset as ds, arrowseal.fs  # doctest: +SKIP
>>> trips = ds.dataset("lake/trips", filesystem=arrowseal.fs.SealedFileSystem(client))  # doctest: +SKIP
>>> pandas.read_parquet("s3cse://lake/trips.parquet", storage_options={"kms_key_id": "alias/tables"})  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from arrowseal.extras import require

if TYPE_CHECKING:
    from arrowseal.fs.arrow import SealedFileSystem
    from arrowseal.fs.fsspec import S3CseFileSystem as S3CseFileSystem

__all__ = ["SealedFileSystem"]

_OF_FSSPEC: Final = "S3CseFileSystem"  # needs its extra: `from arrowseal.fs import *` works without


if not TYPE_CHECKING:  # which would then know every name, mistyped ones too

    def __getattr__(name: str) -> object:
        if name not in (_OF_FSSPEC, *__all__):
            raise AttributeError(f"module 'arrowseal.fs' has no attribute {name!r}")
        if name == _OF_FSSPEC:
            require("fsspec", "fsspec")
        home = "fsspec" if name == _OF_FSSPEC else "arrow"
        return getattr(import_module(f"arrowseal.fs.{home}"), name)


def __dir__() -> list[str]:
    special = {name for name in globals() if name.startswith("__")}
    return sorted({*special, *__all__, *([_OF_FSSPEC] if find_spec("fsspec") is not None else [])})
