"""Keeps keys out of the debug log of botocore, which prints whole requests and responses.

KMS answers with the plaintext data key, and an SSE-C request carries its key. While such a call runs, the loggers that
could show it drop what this thread says; everything else they log stays as it is.
"""

from __future__ import annotations

import contextlib
import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOGGERS: Final = (
    "botocore.auth",
    "botocore.awsrequest",
    "botocore.client",
    "botocore.endpoint",
    "botocore.handlers",
    "botocore.hooks",
    "botocore.httpsession",
    "botocore.parsers",
    "botocore.regions",
    "botocore.retryhandler",
    "botocore.retries.standard",
    "urllib3.connectionpool",
    "urllib3.util.retry",
)
_log = logging.getLogger("arrowseal")
_withheld: ContextVar[bool] = ContextVar("arrowseal_withheld", default=False)


class _Withhold(logging.Filter):
    """Drops every record while a call that carries a key runs in this context."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - decided by where, not by what
        return not _withheld.get()


_filter: Final = _Withhold()


@contextlib.contextmanager
def withheld(what: str) -> Iterator[None]:
    """Run a call that carries a key without its wire log; `what` (no secret) is logged instead."""
    for name in _LOGGERS:  # addFilter adds a filter once; logging.config may have removed it since
        logging.getLogger(name).addFilter(_filter)
    _log.debug("%s: wire log withheld, it would show a key", what)
    token = _withheld.set(True)
    try:
        yield
    finally:
        _withheld.reset(token)
