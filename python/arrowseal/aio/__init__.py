"""`await`-able forms of the calls on objects and tables, for `asyncio`: same names, arguments, results and errors.

They do not block the event loop: each call runs on a thread of a pool of its own (not the loop's default executor), in
a copy of the caller's context, so that `arrowseal.using` and counted operations hold there too. A cancelled `await`
calls the work off: a call that waits for a thread is never begun; a transfer ends after the piece or part that is on
its way, hands out nothing, and a write takes its parts back. Only a write that was in its last request may have
happened all the same. Parsing a table cannot be interrupted: then the thread ends a little later.

Example:
    >>> import asyncio
    >>> import arrowseal.aio
    >>> async def main():
    ...     client = arrowseal.aio.AsyncClient(arrowseal.Client("alias/tables"))
    ...     await client.put("s3://lake/greeting", b"hello")
    ...     one, other = await asyncio.gather(client.get("s3://lake/greeting"), client.head("s3://lake/greeting"))
    ...     return await arrowseal.aio.pandas.read_parquet("s3://lake/flights.parquet", client=client)
    >>> flights = asyncio.run(main())  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from arrowseal.aio.client import AsyncClient, AsyncObjectWriter
from arrowseal.aio.threads import SHARED

if TYPE_CHECKING:
    from arrowseal.aio import arrow
    from arrowseal.aio import pandas as pandas
    from arrowseal.aio import polars as polars

__all__ = ["AsyncClient", "AsyncObjectWriter", "arrow", "to_thread"]

_FACES: Final = ("pandas", "polars")  # as in `arrowseal`: each needs its extra

to_thread = SHARED.run
"""The same for any function that blocks: `await to_thread(lazy_frame.collect)`. As `asyncio.to_thread`, but on threads
of this module, and what it does through a client can be cancelled.
"""


if not TYPE_CHECKING:  # which would then know every name, mistyped ones too

    def __getattr__(name: str) -> object:
        if name in ("arrow", *_FACES):
            return import_module(f"arrowseal.aio.{name}")
        raise AttributeError(f"module 'arrowseal.aio' has no attribute {name!r}")


def __dir__() -> list[str]:
    special = {name for name in globals() if name.startswith("__")}
    return sorted({*special, *__all__, *(face for face in _FACES if find_spec(face) is not None)})
