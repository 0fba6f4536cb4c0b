"""Threads that work for an event loop: calls that block run there, in the caller's context, and can be called off."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from arrowseal.cancellation import Cancellation, cancelled_by
from arrowseal.exceptions import ConfigurationError, UnavailableError
from arrowseal.fork_lock import ForkLock
from arrowseal.standby import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

CONCURRENCY: Final = 32
"""Calls at work at a time. Each of a large object has threads of its own for its ranges or parts; for small ones more
than this only wait for each other in Python.
"""
GRACE_SECONDS: Final = 2.0
"""How long a cancelled `await` waits for its call to end: a piece or part on its way takes less. A request that changes
something and that the server leaves without an answer takes as long as its timeout, and ends without anybody waiting
for it.
"""


class Threads:
    """A pool for blocking calls, not the loop's own. Serves several loops, and goes on in a forked child."""

    def __init__(self, concurrency: int = CONCURRENCY) -> None:
        if not isinstance(concurrency, int) or concurrency < 1:
            raise ConfigurationError("concurrency= is a number of calls at a time, 1 or more")
        self._concurrency = concurrency
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0
        self._has_threads = False
        self._lock = ForkLock()

    async def run(
        self, function: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """The result of a call on one of the threads, in a copy of the caller's context; its exceptions as they are.

        Cancelled, the call is never begun, or ends at its next piece, part or pause and cleans up; see `GRACE_SECONDS`.
        """
        cancel = Cancellation()
        try:
            task = self._submitted(
                functools.partial(copy_context().run, _call, cancel, functools.partial(function, *args, **kwargs))
            )
        except BaseException:
            cancel.cancel()
            raise
        try:
            return await asyncio.wrap_future(task)
        except asyncio.CancelledError:
            cancel.cancel()
            if not task.cancel():
                await _ended(task)
            raise

    def close(self) -> None:
        """Let the threads end when their calls have. The next call starts new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)

    def _submitted(self, call: Callable[[], Result]) -> Future[Result]:
        future: Future[Result] = Future()
        with self._lock:  # or another loop's `close` comes before the call, which the pool then does not take
            if self._pool is None or self._process != os.getpid():
                self._pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="arrowseal-aio")
                self._process = os.getpid()
                self._has_threads = False
            try:
                self._pool.submit(Call(future, call))
                self._has_threads = True
            except RuntimeError:
                # Of a thread that was to be started: it waits for those that there are, unless the interpreter ends.
                if not self._has_threads or not threading.main_thread().is_alive():
                    raise UnavailableError(
                        "no thread is to be had for an awaited call: there are as many as a process may have (`ulimit "
                        "-u`, the limit of its container), or it is ending. The same call without `await` needs none"
                    ) from None
            except BaseException:
                # Interrupted while it starts a thread, a pool does not know that one: shut down, it ends it too.
                self._pool.shutdown(wait=False)
                self._pool = None
                raise
        return future

    def __reduce__(self) -> tuple[Any, ...]:
        return Threads, (self._concurrency,)


SHARED: Final = Threads()
"""For calls that no client's own threads are for."""


def awaitable(
    function: Callable[Arguments, Result], threads: Threads = SHARED
) -> Callable[Arguments, Coroutine[Any, Any, Result]]:
    """The `await`-able form of a function that blocks, with its name, signature and documentation.

    >>> import asyncio
    >>> asyncio.run(awaitable(sum)([1, 2]))
    3
    """

    @functools.wraps(function)
    async def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return await threads.run(function, *args, **kwargs)

    return call


def _call(cancel: Cancellation, call: Callable[[], Result]) -> Result:
    with cancelled_by(cancel):
        return call()


async def _ended(task: Any) -> None:
    """Wait a while for a call that was called off."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell(_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop may be gone by then
            loop.call_soon_threadsafe(ended.set)

    task.add_done_callback(tell)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(ended.wait(), GRACE_SECONDS)
