"""The default client: of the process by `configure`, of a block by `using`.

The functions of `arrowseal.pandas`, `arrowseal.polars` and `arrowseal.arrow` use, in this order, their `client=`, the
client of the innermost `using` block, the client of `configure`, and a client without any option.

Threads: `configure` holds for every thread of the process. `using` holds for the context that it runs in (a
`contextvars.Context`): `asyncio` tasks inherit it where they are created; new threads do not, unless they are started
with `contextvars.copy_context().run`.
"""

from __future__ import annotations

import contextlib
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, overload

from arrowseal.client import Client
from arrowseal.exceptions import ConfigurationError
from arrowseal.fork_lock import ForkLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_of_block: ContextVar[Client | None] = ContextVar("arrowseal_client", default=None)
_of_process: Client | None = None
_lock = ForkLock()


Arguments = ParamSpec("Arguments")


class _Configures(Protocol[Arguments]):
    @overload
    def __call__(self, client: Client, /) -> Client: ...

    @overload
    def __call__(self, *args: Arguments.args, **options: Arguments.kwargs) -> Client: ...


def _with_arguments_of(
    made: Callable[Arguments, Client],
) -> Callable[[Callable[..., Client]], _Configures[Arguments]]:
    """The signature of what makes a client, for type checkers, editors and `help`."""

    def decorate(function: Any) -> _Configures[Arguments]:
        function.__signature__ = inspect.signature(made).replace(return_annotation=made)
        told: _Configures[Arguments] = function
        return told

    return decorate


@_with_arguments_of(Client)
def configure(*args: Any, **options: Any) -> Client:
    """Set the default client of the process: takes the arguments of `Client`, or one client; returns it.

    >>> import arrowseal
    >>> arrowseal.configure("alias/tables", region_name="eu-west-1")
    <arrowseal.Client kms_key_id='alias/tables' format=V3 commitment_policy=REQUIRE_ENCRYPT_REQUIRE_DECRYPT>
    >>> arrowseal.reset()
    """
    global _of_process
    client = args[0] if len(args) == 1 and isinstance(args[0], Client) and not options else Client(*args, **options)
    with _lock:
        _of_process = client
    return client


@contextlib.contextmanager
def using(client: Client) -> Iterator[Client]:
    """Make `client` the default one inside a `with` block; the one from before returns after it, whatever happens."""
    if not hasattr(client, "counters"):  # as the faces ask: stand-ins for tests are clients too
        raise ConfigurationError(f"using() takes a Client, not {type(client).__name__}")
    token = _of_block.set(client)
    try:
        yield client
    finally:
        _of_block.reset(token)


def reset() -> None:
    """Forget what `configure` set, and inside a `using` block its client too."""
    global _of_process
    with _lock:
        _of_process = None
    _of_block.set(None)


def default_client() -> Client:
    """The client that a call without `client=` uses; one without options if none was set."""
    global _of_process
    of_block = _of_block.get()
    if of_block is not None:
        return of_block
    with _lock:
        if _of_process is None:
            _of_process = Client()
        return _of_process


def client_of(client: Client | None) -> Client:
    """The client of a call: what was given as `client=`, or else the default one.

    Raises `ConfigurationError` for what is no client: its counters tell, which stand-ins for tests have too.
    """
    if client is None:
        return default_client()
    if not hasattr(client, "counters"):
        raise ConfigurationError(f"client= takes an arrowseal.Client, not {type(client).__name__}")
    return client
