"""A client whose calls are awaited."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, Self, TypeVar, cast, overload

from arrowseal.aio.threads import CONCURRENCY, SHARED, Threads, awaitable
from arrowseal.defaults import default_client
from arrowseal.exceptions import ConfigurationError
from arrowseal.fork_lock import ForkLock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from typing_extensions import Buffer

    from arrowseal.client import Client
    from arrowseal.object_writer import ObjectWriter
    from arrowseal.writing import PutResult

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Given = TypeVar("Given", covariant=True)


class AsyncClient:
    """The calls of a `Client` (the default one if none is given), `await`-able: `put`, `get`, `head`, `exists`,
    `is_encrypted`, `list`, `copy`, `move`, `index`, `delete`, `uploads`, `abort_upload`, each with the arguments,
    result and errors that it has there. `open`, in its modes that write, gives an `AsyncObjectWriter`, and `object`
    what `asyncio.to_thread` reads ranges of; `data_key_reuse` is that of the client.

    `concurrency` calls are at work at a time, each on a thread; more wait their turn. One client serves several event
    loops. It holds no connection of its own: closing it, by `close` or an `async with` block, ends idle threads only.

    >>> async def sizes(urls):
    ...     async with AsyncClient() as client:
    ...         return [head.stored_bytes for head in await asyncio.gather(*map(client.head, urls))]
    """

    def __init__(self, client: Client | None = None, *, concurrency: int = CONCURRENCY) -> None:
        if client is not None and not hasattr(client, "counters"):
            raise ConfigurationError(f"AsyncClient takes an arrowseal.Client, not {type(client).__name__}")
        self.client = client = client or default_client()
        """The client that does the work."""
        self._concurrency = concurrency
        self.threads = threads = Threads(concurrency)
        """What its calls run on."""
        self.put = awaitable(client.put, threads)
        self.get = awaitable(client.get, threads)
        self.object = awaitable(client.object, threads)
        self.head = awaitable(client.head, threads)
        self.exists = awaitable(client.exists, threads)
        self.is_encrypted = awaitable(client.is_encrypted, threads)
        self.list = awaitable(client.list, threads)
        self.copy = awaitable(client.copy, threads)
        self.move = awaitable(client.move, threads)
        self.index = awaitable(client.index, threads)
        self.delete = awaitable(client.delete, threads)
        self.uploads = awaitable(client.uploads, threads)
        self.abort_upload = awaitable(client.abort_upload, threads)
        self.open = _opens(client.open, threads)
        self.data_key_reuse = client.data_key_reuse

    def close(self) -> None:
        """Let the threads end when their calls have."""
        self.threads.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<AsyncClient of {self.client!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.client, self._concurrency)


class AsyncObjectWriter:
    """An `ObjectWriter` whose calls are awaited, made by `AsyncClient.open`. As an asynchronous context manager it
    commits at the end of the block, and aborts if the block raises or is cancelled.

    Each `write` goes to a thread and back: write pieces of some 100 KiB and more.

    >>> async with client.open("s3://lake/log.csv", "wb") as file:  # doctest: +SKIP
    ...     async for lines in source:
    ...         await file.write(lines)
    >>> file.result.etag  # doctest: +SKIP
    """

    def __init__(self, threads: Threads, start: Callable[[], ObjectWriter]) -> None:
        self._threads = threads
        self._start = start
        self._starting = ForkLock()
        self._writer: ObjectWriter | None = None

    @property
    def result(self) -> PutResult | None:
        """What the commit left in the bucket; None before it."""
        return None if self._writer is None else self._writer.result

    async def write(self, data: Buffer) -> int:
        """Take all of a contiguous buffer; returns its size in bytes. Errors are those of `ObjectWriter.write`."""
        return await self._threads.run(lambda: self._started().write(data))

    async def commit(self) -> PutResult:
        """Make the object of all that was written. Errors are those of `ObjectWriter.commit`."""
        return await self._threads.run(lambda: self._started().commit())

    async def abort(self) -> None:
        """Give up what was written: no object, no parts. After a commit, or when repeated, it does nothing."""
        if self._writer is not None:
            # Cleaning up goes on to its end, whoever stops waiting for it.
            await asyncio.shield(self._threads.run(self._writer.abort))

    def __reduce__(self) -> Any:
        raise TypeError("an AsyncObjectWriter cannot be pickled: it holds a data key and an upload")

    def _started(self) -> ObjectWriter:
        # On a thread, since the first writer of a client makes its connections; writes side by side share it.
        with self._starting:
            if self._writer is None:
                self._writer = self._start()
            return self._writer

    async def __aenter__(self) -> Self:
        await self._threads.run(self._started)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            await self.abort()
        elif self.result is None and self._writer is not None and not self._writer.closed:
            await self.commit()


def _opens(start: Callable[Arguments, Any], threads: Threads) -> Callable[Arguments, AsyncObjectWriter]:
    @functools.wraps(start)
    def opened(*args: Arguments.args, **kwargs: Arguments.kwargs) -> AsyncObjectWriter:
        if next(iter(args[1:]), kwargs.get("mode", "rb")) == "rb":
            raise ConfigurationError(
                "AsyncClient.open writes, in mode 'wb' or 'xb': `await object(url)` gives what ranges are read of"
            )
        return AsyncObjectWriter(threads, lambda: start(*args, **kwargs))

    return opened


def _restore(client: Client, concurrency: int) -> AsyncClient:
    return AsyncClient(client, concurrency=concurrency)


class AwaitableFace(Protocol[Arguments, Given]):
    """The call that `awaitable_face` makes: with the arguments of the function, or with an `AsyncClient`."""

    @overload
    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Coroutine[Any, Any, Given]: ...

    @overload  # no type says "these arguments, but one of another type"
    def __call__(self, *args: Any, client: AsyncClient, **kwargs: Any) -> Coroutine[Any, Any, Given]: ...


def awaitable_face(face: Callable[Arguments, Result]) -> AwaitableFace[Arguments, Result]:
    """The `await`-able form of a function for tables. `client=` may be an `AsyncClient`, whose threads it then uses."""

    @functools.wraps(face)
    async def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        threads, client = SHARED, kwargs.get("client")
        if isinstance(client, AsyncClient):
            threads, kwargs["client"] = client.threads, client.client
        return await threads.run(face, *args, **kwargs)

    return cast("AwaitableFace[Arguments, Result]", call)
