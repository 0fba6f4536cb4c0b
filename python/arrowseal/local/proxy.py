"""A server on this machine as it would be further away: a proxy on loopback that adds latency and limits bandwidth.

>>> from arrowseal.local import LocalServers
>>> from arrowseal.local.proxy import Proxy
>>> with LocalServers() as servers, Proxy(servers.s3_endpoint, latency_seconds=0.02) as proxy:
...     client = servers.client(endpoint_url=proxy.endpoint)
...     _ = client.put("s3://arrowseal/far", b"hello")
...     bytes(client.get("s3://arrowseal/far"))
...     proxy.tally().requests
b'hello'
2
"""

from __future__ import annotations

import math
import mmap
import socket
import tempfile
from typing import TYPE_CHECKING, Final, NamedTuple, Self
from urllib.parse import urlsplit

from arrowseal.exceptions import ConfigurationError
from arrowseal.local.processes import HOST, ServerProcess
from arrowseal.local.run_proxy import TALLY

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["GIGABIT", "Proxy", "Tally"]

GIGABIT: Final = 125e6
"""Bytes a second of 1 Gbit/s."""


class Tally(NamedTuple):
    """What passed a proxy since it started: HTTP requests, and all bytes in either direction, headers included."""

    requests: int
    bytes_up: int
    bytes_down: int


class Proxy:
    """Forwards connections on a port of 127.0.0.1 to `endpoint`: a context manager, or `start()` and `stop()`.

    `latency_seconds` is a whole round trip, paid once for the connection and once for each request.
    `bytes_per_second` limits each direction by itself, all connections together; None is no limit. It runs in a process
    of its own, which forwards several Gbit/s, so that it is the wire that is measured. Bytes pass as they are, requests
    are not looked at: signatures made for its own address stay right, as TLS does where a certificate names it.

    Raises `ConfigurationError` for an endpoint that is not http(s)://host:port, and for numbers that cannot be.
    """

    endpoint: str

    def __init__(self, endpoint: str, *, latency_seconds: float = 0.0, bytes_per_second: float | None = None) -> None:
        url = urlsplit(endpoint)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ConfigurationError(f"{endpoint!r} is not the endpoint of a server: http://host:port is one")
        if not (0 <= latency_seconds < 60):
            raise ConfigurationError("latency_seconds is a round trip: 0 or more, less than 60")
        if bytes_per_second is not None and not (0 < bytes_per_second < math.inf):
            raise ConfigurationError("bytes_per_second is more than 0, or None for no limit")
        self._scheme = url.scheme
        self._server = url.hostname, url.port or (443 if url.scheme == "https" else 80)
        self.latency_seconds = latency_seconds
        self.bytes_per_second = bytes_per_second
        self._process: ServerProcess | None = None
        self._tally: mmap.mmap | None = None

    def start(self) -> Self:
        """Start to listen. `endpoint` is the address then."""
        if self._process is not None:
            raise ConfigurationError("the proxy is running already")
        host, port = self._server
        # Bound here and handed down: clients may connect at once, and the port cannot be lost on the way.
        with socket.create_server((HOST, 0), backlog=512) as listener, tempfile.TemporaryFile() as shared:
            shared.truncate(TALLY.size)
            self._tally = mmap.mmap(shared.fileno(), TALLY.size)
            handed_down = listener.fileno(), shared.fileno()
            wire = host, port, self.latency_seconds, self.bytes_per_second or 0
            arguments = [str(argument) for argument in (*handed_down, *wire)]
            self._process = ServerProcess("run_proxy.py", arguments, fds=handed_down)
            self.endpoint = f"{self._scheme}://{HOST}:{listener.getsockname()[1]}"
        return self

    def tally(self) -> Tally:
        """What passed so far. Requests are told apart where the bytes are not TLS. Raises `ConfigurationError` before
        `start`.
        """
        if self._tally is None:
            raise ConfigurationError("the proxy was not started: use `with Proxy(endpoint) as proxy:`")
        return Tally(*TALLY.unpack_from(self._tally))

    def stop(self) -> None:
        """Break all connections and stop. Does nothing the second time."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        listening = self.endpoint if self._process is not None else "not running"
        return f"<Proxy {listening} before {self._server[0]}:{self._server[1]}>"
