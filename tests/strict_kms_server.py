"""The strict KMS behind HTTP, so that real boto3 clients talk to it: JSON 1.1 protocol of KMS on loopback."""

from __future__ import annotations

import base64
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from strict_kms import HOME_REGION, KmsEngine, Refusal

BLOBS = ("CiphertextBlob", "Plaintext")
CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/kms/")


class StrictKmsServer:
    """An engine as KMS of one Region; several servers of one engine are the Regions of one account.

    Who calls is the access key of the signature, which is not checked. Each connection has a thread of its own.
    """

    def __init__(self, engine: KmsEngine | None = None, region: str = HOME_REGION) -> None:
        self.engine = KmsEngine() if engine is None else engine
        self.region = region
        served = self

        class Handler(_Handler):
            kms = served

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def client(self, access_key: str = "TESTS", **options: Any) -> Any:
        """A boto3 KMS client of this server."""
        import boto3

        session = boto3.Session(access_key, "not checked", region_name=self.region)
        return session.client("kms", endpoint_url=self.endpoint, **options)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    kms: StrictKmsServer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        given |= {name: base64.b64decode(given[name]) for name in BLOBS if name in given}
        action = self.headers.get("X-Amz-Target", "").removeprefix("TrentService.")
        signed = CREDENTIAL.search(self.headers.get("Authorization", ""))
        try:
            if signed is None or signed[2] != self.kms.region:
                raise Refusal("UnrecognizedClientException")
            answer, status = self.kms.engine.answer(action, given, region=self.kms.region, access_key=signed[1]), 200
        except Refusal as refusal:
            answer, status = {"__type": refusal.code, "message": refusal.message}, refusal.status
        except KeyError as missing:
            answer, status = {"__type": "ValidationException", "message": f"{missing} is missing"}, 400
        answer |= {name: base64.b64encode(answer[name]).decode() for name in BLOBS if name in answer}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
