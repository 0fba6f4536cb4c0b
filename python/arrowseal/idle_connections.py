"""Requests over connections that botocore has opened and used, and that are idle in its pool.

For a small object urllib3 and `http.client` take several times the CPU of everything else. Here a request is written
in one piece, and the head of its answer is taken apart at once; the body is received where it belongs. Connections are
botocore's to open, with certificates, proxies and timeouts: it serves whenever none is idle. Answers that are not of
the usual form (RFC 9112: HTTP/1.1 with a `Content-Length`) are read by `http.client`.
"""

from __future__ import annotations

import io
import queue
import re
import socket
import ssl
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any, Final, Protocol

from arrowseal.awaited_answers import awaited, shut
from arrowseal.cancellation import Awaited

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Buffer

_AT_ONCE: Final = 2**14  # a head, and most small objects with it
_LONGEST_HEAD: Final = 2**18
_END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")
_INTERIM: Final = re.compile(rb"HTTP/1\.1 1\d\d[ \r\n]")
_STATUS: Final = re.compile(rb"HTTP/1\.1 ([2-5]\d\d)(?: [^\r\n]*)?")
_WITHOUT_BODY: Final = (b"204", b"304")  # whatever length they tell
_FIELD: Final = re.compile(r"\n([!#-'*+.0-9A-Z^-z|~-]+):[ \t]*([^\r\n]*)")
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_BOTOCORES: Final = ("botocore.", "urllib3.")


class Request(Protocol):
    """A signed request. Its body is a file of memory of a known length, which one `read` gives."""

    method: str
    url: str
    headers: dict[str, str]
    body: Any


class IdleConnections:
    """Those of one client of botocore. Safe to share between threads: who takes a connection has it alone."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._pools: dict[str, tuple[Any, str]] = {}

    def send(self, request: Request, base: str) -> Answer | None:
        """The answer to a request for a URL below `base`; None if no connection is idle, or the request is another's to
        write: then nothing was sent. Raises the errors of botocore's own session.
        """
        found = self._pools.get(base)
        if found is None or found[0].pool is None:  # none yet, or closed since
            found = self._found(base)
            if found is None:
                return None
            self._pools[base] = found
        pool, host = found
        message = _message(request, host)
        connection = None if message is None else _idle(pool)
        if message is None or connection is None:
            return None
        try:
            with awaited(connection, request.method, request.headers):
                connection.sock.sendall(message)
                if request.body is not None:
                    connection.sock.sendall(request.body.read(len(request.body)))
                return _answer(connection, pool, request)
        except BaseException as error:
            _give_up(connection, pool)
            if isinstance(error, OSError | HTTPException):
                raise _unanswered(request.url, error) from None
            raise

    def _found(self, base: str) -> tuple[Any, str] | None:
        """The pool for a server, and its name; None where requests go through a proxy."""
        try:
            session = self._client._endpoint.http_session  # noqa: SLF001 - there is no other way to its pool
            if session._proxy_config.proxy_url_for(base):  # noqa: SLF001
                return None
            pool = session._manager.connection_from_url(base)  # noqa: SLF001
            _ = pool.pool, pool._put_conn  # noqa: SLF001
        except AttributeError:  # another version of it
            return None
        scheme, _, rest = base.partition("://")
        # As the signer and urllib3 write it: a server looks at the signature with what it is sent.
        host = rest.partition("/")[0].lower().removesuffix(_DEFAULT_PORTS.get(scheme, ""))
        return None if "@" in host else (pool, host)


class Answer:
    """The answer to one request: its head, and its body to be read once and in order.

    `close` gives the connection back if all was read, and ends it otherwise.
    """

    def __init__(
        self,
        connection: Any,
        pool: Any,
        status: int,
        fields: list[tuple[str, str]],
        body: _Measured | HTTPResponse,
        *,
        persists: bool,
    ) -> None:
        self._connection = connection
        self._pool = pool
        self._persists = persists  # whether the server keeps the connection open behind the answer
        self.status_code: Final = status
        self.fields: Final = fields
        """Name and value of each header, as they stand there."""
        self._body = body

    def readinto(self, target: memoryview, /) -> int:
        """Receive up to `len(target)` bytes, as many as there are; 0 at the end."""
        return self._body.readinto(target)

    def read(self, size: int, /) -> Buffer:
        """The next `size` bytes, fewer at the end."""
        return self._body.read(size)

    def content(self, url: str) -> bytes:
        """All of the body; the connection is given back. Raises what `IdleConnections.send` does."""
        try:
            with Awaited(self.interrupt):
                content = bytes(self._body.read())
            if not self._body.isclosed():
                raise ConnectionResetError("the answer ended before its length")
        except (OSError, HTTPException) as error:
            raise _unanswered(url, error) from None
        finally:
            self.close()
        return content

    def interrupt(self) -> None:
        """From another thread, before `close`: who waits for bytes waits no more."""
        connection = getattr(self._connection, "sock", None)
        if connection is not None:
            shut(connection)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._persists and self._body.isclosed():
            self._pool._put_conn(connection)  # noqa: SLF001
        else:
            _give_up(connection, self._pool)


class _Measured:
    """A body of which the length is known, and the beginning was received with the head."""

    def __init__(self, connection: socket.socket, beginning: memoryview, length: int) -> None:
        self._connection = connection
        self._beginning = beginning[:length]
        self._left = length
        self._broken: type[OSError] | None = None

    def readinto(self, target: memoryview, /) -> int:
        wanted = min(len(target), self._left)
        filled = min(wanted, len(self._beginning))
        if filled:
            target[:filled] = self._beginning[:filled]
            self._beginning = self._beginning[filled:]
        try:
            while filled < wanted:
                if self._broken is not None:
                    raise self._broken
                with target[filled:wanted] as rest:
                    received = self._connection.recv_into(rest)
                if not received:
                    break
                filled += received
        except OSError as error:
            if not filled:
                raise
            # For the next call, since what was received counts. The error itself holds this frame, and so this body.
            self._broken = type(error)
        self._left -= filled
        return filled

    def read(self, size: int | None = None, /) -> Buffer:
        wanted = self._left if size is None else min(size, self._left)
        if wanted <= len(self._beginning):
            content, self._beginning = self._beginning[:wanted], self._beginning[wanted:]
            self._left -= wanted
            return content
        received = bytearray(wanted)
        with memoryview(received) as target:
            filled = self.readinto(target)
            while 0 < filled < wanted and (count := self.readinto(target[filled:])):
                filled += count
        return memoryview(received)[:filled].toreadonly()

    def isclosed(self) -> bool:
        """Whether all of it was read."""
        return self._left == 0


class _Again(io.RawIOBase):
    """A connection of which the beginning of the answer was received already, as a file for `http.client`."""

    def __init__(self, connection: socket.socket, beginning: bytes) -> None:
        self._connection = connection
        self._beginning = beginning

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any, /) -> int:
        count = min(len(target), len(self._beginning))
        if not count:
            return self._connection.recv_into(target)
        target[:count], self._beginning = self._beginning[:count], self._beginning[count:]
        return count

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What `http.client` asks a socket for."""
        return io.BufferedReader(self)


def _idle(pool: Any) -> Any:
    """An idle connection that is still open; None if there is none."""
    from urllib3.util.connection import is_connection_dropped

    try:
        connection = pool.pool.get(block=False)
    except (queue.Empty, AttributeError):  # none, or the pool was closed
        return None
    if connection is None:
        pool._put_conn(None)  # noqa: SLF001 - room for one that is not made yet
        return None
    if type(connection).__module__.startswith(_BOTOCORES) and type(connection.sock) in (socket.socket, ssl.SSLSocket):
        if not is_connection_dropped(connection) and not _says_more(connection.sock):
            return connection
        connection.close()
    pool._put_conn(connection)  # noqa: SLF001 - urllib3 opens it again, or it is of a kind that somebody else has put in
    return None


def _says_more(connection: socket.socket) -> bool:
    """Whether TLS has opened bytes that nobody asked for, which the socket does not tell of."""
    return isinstance(connection, ssl.SSLSocket) and connection.pending() > 0


def _give_up(connection: Any, pool: Any) -> None:
    """End a connection. Its place in the pool stays: urllib3 opens it again."""
    connection.close()
    pool._put_conn(connection)  # noqa: SLF001


def _message(request: Request, host: str) -> bytes | None:
    """The head of a request; None if it is not plain text in lines of its own."""
    path = request.url.partition("://")[2].partition("/")
    lines = [
        f"{request.method} /{path[2]} HTTP/1.1",
        f"Host: {host}",
        "Accept-Encoding: identity",
        *[f"{name}: {value}" for name, value in request.headers.items()],
        "\r\n",
    ]
    text = "\r\n".join(lines)
    if not text.isascii() or text.count("\n") != len(lines) or text.count("\r") != len(lines) or not path[1]:
        return None
    return text.encode()


def _answer(connection: Any, pool: Any, request: Request) -> Answer:
    """The answer that arrives. Raises `OSError` or `HTTPException` if it does not, or is none."""
    received = connection.sock.recv(_AT_ONCE)
    while (end := _END_OF_HEAD.search(received)) is None or _INTERIM.match(received):
        if end is not None:  # of an answer that is not the final one, and has no body
            received = received[end.end() :]
            continue
        more = connection.sock.recv(_AT_ONCE)
        if not more or len(received) > _LONGEST_HEAD:
            raise ConnectionResetError("the connection was closed within the head of the answer")
        received += more
    head = received[: end.start()]
    lines = head.count(b"\n")
    status = _STATUS.match(head)
    fields = [(name, value.rstrip()) for name, value in _FIELD.findall(head.decode("latin-1"))]
    named = {name.lower(): value for name, value in fields}
    length = _length(request, named)
    # One that contradicts itself, or of which lines are no fields or go on in the next one, is not for this.
    usual = len(fields) == lines == head.count(b"\r") and (len(named) == lines or _says_once(fields, "content-length"))
    if status is None or status[1] in _WITHOUT_BODY or length is None or not usual:
        response = HTTPResponse(_Again(connection.sock, received), method=request.method)  # type: ignore[arg-type]
        response.begin()
        headers = response.getheaders()
        return Answer(connection, pool, response.status, headers, response, persists=not response.will_close)
    body = _Measured(connection.sock, memoryview(received)[end.end() :], length)
    # What is longer than its length, or follows a HEAD, is no answer to the next request.
    persists = "close" not in named.get("connection", "").lower() and len(received) - end.end() <= length
    return Answer(connection, pool, int(status[1]), fields, body, persists=persists)


def _length(request: Request, named: Mapping[str, str]) -> int | None:
    """How long the body is; None if that is not for a number to say."""
    length = named.get("content-length", "")
    if "transfer-encoding" in named or not (length.isascii() and length.isdigit()):
        return None
    return 0 if request.method == "HEAD" else int(length)


def _says_once(fields: Sequence[tuple[str, str]], name: str) -> bool:
    return sum(other.lower() == name for other, _ in fields) == 1


def _unanswered(url: str, error: Exception) -> Exception:
    from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

    kind = ReadTimeoutError if isinstance(error, TimeoutError) else ConnectionClosedError
    return kind(endpoint_url=url, error=error)
