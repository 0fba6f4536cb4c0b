"""TLS certificates that are not accepted: no second attempt helps, and what does is said."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMED = "AWS_CA_BUNDLE, ca_bundle in the AWS configuration, or verify= of boto3 clients that are handed in (s3=, kms=)"


def certificate_problem(error: BaseException | None) -> str | None:
    """What a botocore exception says about certificates, with the way out; None for one about anything else."""
    for one in within(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return (
                f"the TLS certificate of {_server(error)} is not accepted ({one.verify_message}). If it is the server "
                f"that is meant, name the file with the certificate of its authority: {_NAMED}"
            )
        if _of_bundle(one) and type(error).__name__ == "SSLError":
            return f"the file of certificate authorities cannot be read ({one}): it is named by {_NAMED}"
    return None


def not_again(caught_exception: BaseException | None = None, **_: Any) -> None:
    """A handler of botocore's `needs-retry`: ends its attempts over certificates."""
    if caught_exception is not None and certificate_problem(caught_exception):
        raise caught_exception


def within(error: BaseException | None) -> Iterator[BaseException]:
    """An exception of botocore, that of urllib3 in it, and so on."""
    while error is not None:
        yield error
        inside = getattr(error, "kwargs", {}).get("error"), *error.args
        error = next((one for one in inside if isinstance(one, BaseException)), None)


def _of_bundle(error: BaseException) -> bool:
    unread = isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)
    return unread or getattr(error, "reason", "") == "NO_CERTIFICATE_OR_CRL_FOUND"


def _server(error: BaseException | None) -> str:
    named = getattr(error, "kwargs", {})
    url = urlsplit(str(named.get("endpoint_url") or named.get("proxy_url") or ""))
    return f"{url.scheme}://{url.netloc}"
