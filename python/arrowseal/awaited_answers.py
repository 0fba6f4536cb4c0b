"""Answers that connections of boto3 wait for, and what ends the wait when nobody wants them: the connection is shut.

So it is for requests that change nothing, at S3 and at KMS. What became of others nobody would know: these are waited
for.
"""

from __future__ import annotations

import contextlib
import functools
import socket
from typing import TYPE_CHECKING, Any, Final

from arrowseal.cancellation import Awaited, awaiting

if TYPE_CHECKING:
    from collections.abc import Mapping

_READS: Final = {"GET", "HEAD"}
_READS_OF_KMS: Final = {"Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "ReEncrypt"}
_WAITED_FOR: Final = contextlib.nullcontext()


def awaited(connection: Any, method: str, headers: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
    """A block in which a request goes over a connection, up to the head of its answer."""
    return Awaited(functools.partial(_interrupt, connection)) if _changes_nothing(method, headers) else _WAITED_FOR


def shut(connection: Any) -> None:
    """End a connection under whoever reads from it."""
    with contextlib.suppress(OSError):
        if isinstance(connection, socket.socket):
            # Below TLS, of which SSLSocket's own lets go first: what is read then is what was sent, still encrypted.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
        else:
            connection.shutdown(socket.SHUT_RDWR)


def end_waits(client: Any) -> None:
    """Have the connections that a boto3 client opens end such waits; a client of another version of botocore stays as
    it was.
    """
    try:
        session = client._endpoint.http_session  # noqa: SLF001 - there is no other way to its pool
        pools = {scheme: _ending(pool, pool.ConnectionCls) for scheme, pool in session._pool_classes_by_scheme.items()}  # noqa: SLF001
        session._manager.pool_classes_by_scheme = pools  # noqa: SLF001
    except AttributeError:
        return
    session._pool_classes_by_scheme = pools  # noqa: SLF001 - for proxies, when needed


def _interrupt(connection: Any) -> None:
    opened = getattr(connection, "sock", None)
    if opened is not None:
        shut(opened)


def _changes_nothing(method: str, headers: Mapping[str, Any]) -> bool:
    if method in _READS:
        return True
    target = headers.get("X-Amz-Target", b"")
    return (target.decode("latin-1") if isinstance(target, bytes) else target).rpartition(".")[2] in _READS_OF_KMS


@functools.cache
def _ending(pool: Any, connection: Any) -> Any:
    """The same kind of pool, of connections of the same kind, whose waits can be ended."""

    class Connection(connection):  # type: ignore[misc]
        __module__ = connection.__module__  # by which `IdleConnections` knows those that it may take
        changes_nothing = False
        _beneath: socket.socket | None = None

        def connect(self) -> None:
            if not self.changes_nothing:
                super().connect()
                return
            try:
                with Awaited(lambda: None if self._beneath is None else shut(self._beneath)):
                    super().connect()
            finally:
                beneath, self._beneath = self._beneath, None
                if beneath is not None:
                    beneath.close()
            awaiting().check()  # there was nothing to be shut before

        def _new_conn(self) -> Any:
            opened = super()._new_conn()
            if self.changes_nothing and self.default_port == 443:
                with contextlib.suppress(OSError):  # as many files are open as may be
                    self._beneath = opened.dup()  # TLS takes `opened` over, and shows it when it has shaken hands
                try:
                    awaiting().check()
                except BaseException:
                    opened.close()
                    raise
            return opened

    class Pool(pool):  # type: ignore[misc]
        ConnectionCls = Connection

        def _make_request(self, conn: Any, method: str, *arguments: Any, **keywords: Any) -> Any:
            headers = keywords.get("headers") or {}
            conn.changes_nothing = _changes_nothing(method, headers)
            with awaited(conn, method, headers):
                return super()._make_request(conn, method, *arguments, **keywords)

    return Pool
