"""An HTTP proxy on loopback before an S3 server: breaks, delays and damages chosen answers. For tests only."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Fault(NamedTuple):
    """What to do to an answer; `kind` is one of the methods `_do_*` of the handler."""

    kind: str
    at: int = 0
    """For bodies: the byte of the answer at which it happens. For `status`: the code."""


Rule = Callable[[str, str, dict[str, str]], Fault | None]
"""Method, path and headers of a request to the fault that its answer gets."""


class FaultProxy:
    """Forwards to `endpoint`; `rule` decides about each request. `log` has (method, path, headers, body) of all."""

    def __init__(self, endpoint: str) -> None:
        self.target = urlsplit(endpoint)
        self.rule: Rule = lambda *_: None
        self.log: list[tuple[str, str, dict[str, str], bytes]] = []
        proxy = self

        class Handler(_Handler):
            faults = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def count(self, method: str) -> int:
        """How many requests of a method came in."""
        return sum(1 for called, *_ in self.log if called == method)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults: FaultProxy

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = dict(self.headers.items())
        self.faults.log.append((self.command, self.path, headers, body))
        fault = self.faults.rule(self.command, self.path, headers)
        if fault is not None and fault.kind in ("status", "reset-before"):
            self._refuse(fault)
            return
        upstream = http.client.HTTPConnection(str(self.faults.target.hostname), self.faults.target.port, timeout=60)
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = b"" if self.command == "HEAD" else answer.read()
        upstream.close()
        if fault is not None and fault.kind == "lost-answer":
            self._hang_up()
            return
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        if fault is not None and fault.kind == "shorten":
            content = content[: fault.at]
            length = str(len(content))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        self._send(content, fault)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815 - names of the protocol

    def _send(self, content: bytes, fault: Fault | None) -> None:
        if fault is None or fault.kind == "shorten":
            self.wfile.write(content)
        elif fault.kind == "flip":
            damaged = bytearray(content)
            damaged[min(fault.at, len(damaged) - 1)] ^= 0x10
            self.wfile.write(bytes(damaged))
        elif fault.kind in ("truncate", "reset", "stall"):
            self.wfile.write(content[: fault.at])
            self.wfile.flush()
            if fault.kind == "stall":
                self.faults_stalled()
            self._hang_up(reset=fault.kind == "reset")

    def faults_stalled(self) -> None:
        """Keep the connection open until the other side gives up."""
        self.connection.settimeout(30)
        while self.connection.recv(1):
            pass

    def _refuse(self, fault: Fault) -> None:
        if fault.kind == "reset-before":
            self._hang_up(reset=True)
            return
        content = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
        self.send_response_only(fault.at)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _hang_up(self, *, reset: bool = False) -> None:
        if reset:
            linger = (1).to_bytes(4, "little") + bytes(4)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()
        self.wfile = open("/dev/null", "wb")  # noqa: SIM115, PTH123 - the handler flushes it at its end
