"""The process of the embedded moto: serves S3 and KMS on a listening socket that it inherits.

A process of its own, so that its work does not hold the interpreter lock of the caller or count as the caller's CPU
time, and so that two embedded servers share no state. Run by path; knows nothing of arrowseal.
"""

from __future__ import annotations

import logging
import os
import sys
import threading


def main() -> None:
    """Serve until standard input ends: that is how the server learns that its parent is gone, however it went."""

    def leave_with_parent() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    _repair_acls()
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    # Host and port are those of the inherited socket; with `fd` they are for display only.
    app = DomainDispatcherApplication(create_backend_app)
    listener = int(sys.argv[1])
    make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler, fd=listener).serve_forever()


def _repair_acls() -> None:
    """Objects that are made of parts have no access control list in moto, which then fails when it is asked for it."""
    from moto.s3.models import S3Backend, get_canned_acl

    as_ever = S3Backend.get_object_acl
    S3Backend.get_object_acl = lambda self, key: as_ever(self, key) or get_canned_acl("private")  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
