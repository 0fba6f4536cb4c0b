"""Signs requests to S3 as botocore does: by its own signer, and ranges of one object by one signature for some seconds.

Signature Version 4 wants `Host` and the `x-amz-` headers signed, and leaves it open for others: whoever reads ranges by
a presigned URL sends a `Range` that is not signed. To sign takes as much as everything else about a request for a range
of an object that is known already, of which a table needs dozens. Nothing rests on the signature of a range: what is
encrypted is proven in its place, and whoever can change a request for plain content can change its answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS: Final = 10.0
"""How old a signature gets. S3 takes it for fifteen minutes, policies (`s3:signatureAge`) may say less."""
_KEPT: Final = 64


class _Signed(NamedTuple):
    credentials: Any
    until: float
    headers: dict[str, str]


class Signatures:
    """The signatures of one client. Safe to share between threads."""

    def __init__(self, credentials: Callable[[], Any]) -> None:
        self._credentials = credentials
        self._signed: dict[tuple[Any, ...], _Signed] = {}

    def sign(self, request: Any, region: str) -> None:
        """Add to the headers of a request of botocore, or one that looks like it, what S3 knows its sender by."""
        from botocore.auth import S3SigV4Auth

        headers: dict[str, str] = request.headers
        credentials = self._credentials()
        if "Range" not in headers or "If-Match" not in headers:
            S3SigV4Auth(credentials, "s3", region).add_auth(request)
            return
        # What names a version is asked for range by range.
        byte_range = headers.pop("Range")
        key = region, request.method, request.url, *headers.items()
        signed = self._signed.get(key)
        if signed is None or signed.credentials != credentials or signed.until < time.monotonic():
            S3SigV4Auth(credentials, "s3", region).add_auth(request)
            if len(self._signed) >= _KEPT:
                self._signed.clear()
            signed = self._signed[key] = _Signed(credentials, time.monotonic() + _SECONDS, dict(headers))
        headers.update(signed.headers)
        headers["Range"] = byte_range
