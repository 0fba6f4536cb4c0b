"""An S3 that takes every write and keeps nothing: what a client spends on sending is then all that is left.

`python discarding_server.py PORT`. It knows PutObject, CreateMultipartUpload, UploadPart, CompleteMultipartUpload.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

CREATED = b"<InitiateMultipartUploadResult><UploadId>discarded</UploadId></InitiateMultipartUploadResult>"
COMPLETED = b"<CompleteMultipartUploadResult><ETag>discarded</ETag></CompleteMultipartUploadResult>"


class Discard(BaseHTTPRequestHandler):
    """Reads a body to its end, into the same memory again and again."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_PUT(self) -> None:
        self._discard()
        self._answer(b"", ETag='"discarded"')

    def do_POST(self) -> None:
        self._discard()
        self._answer(COMPLETED if "uploadId=" in urlsplit(self.path).query else CREATED)

    def _discard(self) -> None:
        left, memory = int(self.headers["Content-Length"] or 0), memoryview(bytearray(1 << 20))
        while left:
            count = self.rfile.readinto(memory[: min(left, len(memory))])  # type: ignore[attr-defined]
            if not count:
                return
            left -= count

    def _answer(self, body: bytes, **headers: str) -> None:
        self.send_response(200)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Discard).serve_forever()
