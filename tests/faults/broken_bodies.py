"""An HTTP proxy on loopback before an S3 or KMS server: breaks, delays and damages chosen requests. For tests only."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NOT_FORWARDED = ("status", "reset-before", "close-before", "cut-request", "error-200")


class Fault(NamedTuple):
    """What happens to a request or to its answer. Kinds, and whether the server sees the request:

    not: `status` (an error of S3 or KMS), `error-200` (an Error body under status 200), `reset-before`, `close-before`
    (the connection ends without an answer), `cut-request` (it is reset after `at` bytes of the request's body).

    seen: `lost-answer`, `error-200-after`; `truncate`, `reset`, `stall` (after `at` bytes of the answer's body),
    `shorten` (to `at` bytes, consistently), `flip` (a bit of byte `at`); `wrong-etag`; `close-after` (the answer
    arrives, then the idle connection is closed); `gzip` (a compressed body that says so), `chunked` (no length),
    `no-length` (nor chunks: until the connection ends), `duplicate` (every header twice), `upper` (their names in upper
    case), `drop`, `empty` and `extra` (the header `code` is not there, has no value, or is there all the same).
    """

    kind: str
    at: int = 0
    """For bodies: the byte at which it happens. For `status`: the code."""
    code: str = "SlowDown"
    """The error's name, or of `drop` the header's."""
    headers: tuple[tuple[str, str], ...] = ()
    """More headers of `status`."""
    message: str = "injected by a test"


Rule: TypeAlias = "Callable[[str, str, dict[str, str]], Fault | None]"
"""Method, path and headers of a request to the fault that its answer gets."""


class Headers(dict[str, str]):
    """Headers of a request, in whichever case their names are asked for: each HTTP library writes them its own way."""

    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        super().__init__((name.lower(), value) for name, value in fields)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


class Seen(NamedTuple):
    """A request that came in, whatever became of it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        return operation_of(self.method, self.path, self.headers)


class FaultProxy:
    """Forwards to `endpoint`; `rule` decides about each request. `log` has all that came in, `struck` what was done to
    which operation, `cut` the requests that ended in the midst of their bodies, with what had come of these, and
    `outwaited` how many times nobody had ended a stalled answer in half a minute.
    """

    def __init__(self, endpoint: str, port: int = 0) -> None:
        self.target = urlsplit(endpoint)
        self.rule: Rule = lambda *_: None
        self.log: list[Seen] = []
        self.struck: list[tuple[str, Fault]] = []
        self.cut: list[Seen] = []
        self.outwaited = 0
        proxy = self

        class Handler(_Handler):
            faults = proxy

        self._server = _Server(("127.0.0.1", port), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def reset(self) -> None:
        """Pass everything through, and forget what came in."""
        self.rule = lambda *_: None
        self.log.clear()
        self.struck.clear()
        self.cut.clear()
        self.outwaited = 0

    def connect(self) -> http.client.HTTPConnection:
        """A connection to the server behind."""
        return http.client.HTTPConnection(str(self.target.hostname), self.target.port, timeout=60)

    def count(self, name: str) -> int:
        """How many requests of a method or an operation came in."""
        return sum(1 for seen in list(self.log) if name in (seen.method, seen.operation))

    def judge(self, seen: Seen) -> Fault | None:
        """Note a request, and say what is to happen to it."""
        self.log.append(seen)
        fault = self.rule(seen.method, seen.path, seen.headers)
        if fault is not None:
            self.struck.append((seen.operation, fault))
        return fault


def operation_of(method: str, path: str, headers: dict[str, str]) -> str:
    """The name that S3 or KMS has for a request."""
    url = urlsplit(path)
    query = parse_qs(url.query, keep_blank_values=True)
    has_key = "/" in url.path.strip("/")
    lower = {name.lower(): value for name, value in headers.items()}
    if "x-amz-target" in lower:
        return lower["x-amz-target"].rpartition(".")[2]
    if method == "GET":
        if "uploads" in query or "uploadId" in query:
            return "ListMultipartUploads" if "uploads" in query else "ListParts"
        if has_key and ("tagging" in query or "acl" in query):
            return "GetObjectTagging" if "tagging" in query else "GetObjectAcl"
        return "GetObject" if has_key else "ListObjectsV2"
    if method == "PUT":
        if "partNumber" in query:
            return "UploadPartCopy" if "x-amz-copy-source" in lower else "UploadPart"
        return "CopyObject" if "x-amz-copy-source" in lower else "PutObject"
    if method == "POST":
        return "CreateMultipartUpload" if "uploads" in query else "CompleteMultipartUpload"
    if method == "DELETE":
        return "AbortMultipartUpload" if "uploadId" in query else "DeleteObject"
    return "HeadObject"


def part_of(path: str) -> int | None:
    """The part number of an UploadPart."""
    number = parse_qs(urlsplit(path).query).get("partNumber")
    return int(number[0]) if number else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: Any) -> None:
        """Say nothing: connections break here on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    faults: FaultProxy

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def setup(self) -> None:
        super().setup()
        self._upstream = self.faults.connect()

    def finish(self) -> None:
        self._upstream.close()
        super().finish()

    def handle_expect_100(self) -> bool:
        """Ask for the body at once: answers are buffered here."""
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    def _serve(self) -> None:
        headers = Headers(self.headers.items())
        length = int(self.headers.get("Content-Length") or 0)
        fault = None
        if length and self.headers.get("X-Amz-Target") is None:
            # Known before the body is read, since it may end in the midst of it.
            fault = self.faults.judge(Seen(self.command, self.path, headers, b""))
            if fault is not None and fault.kind == "cut-request":
                begun = self.rfile.read(min(fault.at, length))
                self.faults.cut.append(Seen(self.command, self.path, headers, begun))
                self._hang_up(reset=True)
                return
            body = self.rfile.read(length)
            self._note(headers, body)
        else:
            body = self.rfile.read(length)
            fault = self.faults.judge(Seen(self.command, self.path, headers, body))
        if fault is not None and fault.kind in NOT_FORWARDED:
            self._refuse(fault)
            return
        self._upstream.request(self.command, self.path, body, headers)
        answer = self._upstream.getresponse()
        content = answer.read()
        if fault is not None and fault.kind in ("lost-answer", "error-200-after"):
            self._refuse(fault)
            return
        self._answer(answer, content, fault)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815 - names of the protocol

    def _note(self, headers: dict[str, str], body: bytes) -> None:
        """Put the body of a request where its head is in the log."""
        for position in range(len(self.faults.log) - 1, -1, -1):
            seen = self.faults.log[position]
            if seen.headers is headers:
                self.faults.log[position] = seen._replace(body=body)
                return

    def _answer(self, answer: http.client.HTTPResponse, content: bytes, fault: Fault | None) -> None:
        kind = fault.kind if fault else ""
        length: str | None = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        if fault is not None and kind == "shorten":
            content = content[: fault.at]
            length = str(len(content))
        elif kind == "gzip":
            content = gzip.compress(content)
            length = str(len(content))
        self.send_response_only(answer.status, answer.reason)
        for name, value in self._headers(answer, fault):
            self.send_header(name, value)
        if kind == "gzip":
            self.send_header("Content-Encoding", "gzip")
        if kind == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
            content = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content) if content else b"0\r\n\r\n"
        elif kind == "no-length":
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", length or "0")
        self.end_headers()
        self._send(content, fault)

    def _headers(self, answer: http.client.HTTPResponse, fault: Fault | None) -> list[tuple[str, str]]:
        hidden = {"transfer-encoding", "connection", "content-length"}
        kind = fault.kind if fault else ""
        if fault is not None and kind in ("drop", "empty", "extra"):
            hidden.add(fault.code.lower())
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in hidden]
        if kind == "wrong-etag":
            kept = [(name, '"0123456789abcdef"' if name.lower() == "etag" else value) for name, value in kept]
        if fault is not None and kind in ("empty", "extra"):
            kept.append((fault.code, "" if kind == "empty" else fault.message))
        if kind == "upper":
            kept = [(name.upper(), value) for name, value in kept]
        return kept * 2 if kind == "duplicate" else kept

    def _send(self, content: bytes, fault: Fault | None) -> None:
        kind = fault.kind if fault else ""
        if self.command == "HEAD":
            content = b""
        if fault is not None and kind == "flip" and content:
            damaged = bytearray(content)
            damaged[min(fault.at, len(damaged) - 1)] ^= 0x10
            content = bytes(damaged)
        if fault is not None and kind in ("truncate", "reset", "stall"):
            self.wfile.write(content[: fault.at])
            self.wfile.flush()
            if kind == "stall":
                self._wait_for_the_other_side()
            self._hang_up(reset=kind == "reset")
            return
        self.wfile.write(content)
        if kind == "close-after":
            self.wfile.flush()
            self._hang_up()

    def _wait_for_the_other_side(self) -> None:
        """Keep the connection open until the other side gives up."""
        self.connection.settimeout(30)
        try:
            while self.connection.recv(1):
                pass
        except TimeoutError:
            self.faults.outwaited += 1
            raise

    def _refuse(self, fault: Fault) -> None:
        if fault.kind in ("reset-before", "close-before", "lost-answer", "cut-request"):
            self._hang_up(reset=fault.kind in ("reset-before", "cut-request"))
            return
        message = fault.message
        if "X-Amz-Target" in self.headers:
            content = json.dumps({"__type": fault.code, "message": message}).encode()
        else:
            region = dict(fault.headers).get("x-amz-bucket-region", "")
            details = (
                f"<Message>{message}</Message><Region>{region}</Region>" if region else f"<Message>{message}</Message>"
            )
            content = f"<Error><Code>{fault.code}</Code>{details}</Error>".encode()
        self.send_response_only(fault.at if fault.kind == "status" else 200)
        self.send_header("Content-Type", "application/xml")
        for name, value in fault.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else content)

    def _hang_up(self, *, reset: bool = False) -> None:
        if reset:
            linger = (1).to_bytes(4, "little") + bytes(4)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.rfile.close()  # it holds the socket too
        self.connection.close()
        self.wfile = open("/dev/null", "wb")  # noqa: SIM115, PTH123 - the handler flushes it at its end
