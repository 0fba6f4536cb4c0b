"""Signs by a server's clock where this machine's is wrong: S3 and KMS refuse what is signed too early or too late."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from arrowseal.exceptions import ClockSkewError

if TYPE_CHECKING:
    from collections.abc import Callable

S3_REFUSES_SECONDS: Final = 900.0
"""S3 refuses signatures that are fifteen minutes off, KMS those that are five."""
_SIGNED: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([a-z0-9-]+)/(s3|kms)/aws4_request, .*")


def seconds_ahead(date: str | None) -> float:
    """How far the clock of a server, by the `Date` header of its answer, is ahead of this machine's; 0 if it does not
    say.
    """
    try:
        told = parsedate_to_datetime(date or "")
    except ValueError:
        return 0.0
    return (told.replace(tzinfo=told.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def clock_skew(subject: str, seconds: float) -> ClockSkewError:
    """The error for a server that refuses a signature because of its time."""
    error = ClockSkewError(
        f"{subject}: the clock of this machine is wrong"
        + (f", by {abs(seconds) / 60:,.0f} minutes as the server's goes" if seconds else "")
        + ": set it, signatures of a wrong time are not accepted"
    )
    error.seconds = seconds
    return error


def sign_ahead(client: Any, credentials: Callable[[], Any], seconds: float) -> None:
    """Have a boto3 client sign as if its clock were so much ahead, by a second signature in place of botocore's own.

    What is not signed by SigV4 headers with `credentials` stays as it is.
    """

    def again(request: Any, **_: Any) -> None:
        authorization = request.headers.get("Authorization", "")
        signed = _SIGNED.fullmatch(authorization.decode() if isinstance(authorization, bytes) else authorization)
        frozen = credentials().get_frozen_credentials()
        if signed is not None and signed[1] == frozen.access_key:
            _signer(signed[3], seconds)(frozen, signed[3], signed[2]).add_auth(request)

    client.meta.events.register_last("request-created", again)


def _signer(service: str, seconds: float) -> Any:
    from botocore.auth import S3SigV4Auth, SigV4Auth

    class Ahead(S3SigV4Auth if service == "s3" else SigV4Auth):  # type: ignore[misc]
        def _modify_request_before_signing(self, request: Any) -> None:
            request.context["timestamp"] = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y%m%dT%H%M%SZ")
            super()._modify_request_before_signing(request)

    return Ahead
