"""Certificate authorities that a boto3 client reads once.

urllib3 reads their file anew for each connection: some 20 ms of CPU for those that the world trusts. Ranges side by
side, each over a connection of its own, would wait for one another's reading.
"""

from __future__ import annotations

import ssl
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arrowseal.fork_lock import ForkLock

if TYPE_CHECKING:
    from collections.abc import Callable


def read_once(client: Any) -> None:
    """Have the connections of a client share what was read of a file while it stays as it is. What else is trusted or
    refused does not change; a client of another version of botocore stays as it was.
    """
    try:
        session = client._endpoint.http_session  # noqa: SLF001 - there is no other way to its pool
        make = type(session)._get_ssl_context  # noqa: SLF001
        _remember(session._manager.connection_pool_kw["ssl_context"])  # noqa: SLF001
    except (AttributeError, KeyError):
        return
    session._get_ssl_context = partial(_made, make, weakref.proxy(session))  # noqa: SLF001 - for proxies, when needed


class _Remembering(ssl.SSLContext):
    """Knows which files it has read, and what they were then."""

    _read: set[tuple[str, int, int, int]]
    _reading: ForkLock

    def load_verify_locations(self, cafile: Any = None, capath: Any = None, cadata: Any = None) -> None:
        if not isinstance(cafile, str) or capath or cadata:
            super().load_verify_locations(cafile, capath, cadata)
            return
        with self._reading:  # one of many threads that connect at once
            state = Path(cafile).stat()
            now = cafile, state.st_mtime_ns, state.st_size, state.st_ino
            if now not in self._read:
                super().load_verify_locations(cafile)
                self._read.add(now)


def _remember(context: Any) -> None:
    if type(context) is _Remembering.__base__:  # and not what somebody has put in its place since
        context.__class__ = _Remembering
        vars(context).update(_read=set(), _reading=ForkLock())


def _made(make: Callable[[Any], Any], session: Any) -> Any:
    context = make(session)
    _remember(context)
    return context
