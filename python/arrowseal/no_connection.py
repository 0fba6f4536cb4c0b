"""Connections that do not come about however often one tries, over TLS or a proxy that refuses: what helps is said."""

from __future__ import annotations

import errno
import os
import re
import ssl
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAMED: Final = (
    "AWS_CA_BUNDLE, ca_bundle in the AWS configuration, or verify= of boto3 clients that are handed in (s3=, kms=)"
)
_OF_THE_CLIENT: Final = "the client's own certificate is named by client_cert= of a botocore Config"
_UNKNOWN: Final = f"If it is the server that is meant, name the file with the certificate of its authority: {_NAMED}"
_NOT_NOW: Final = "The server needs a new one, unless the clock of this machine is wrong"
_OTHER_NAME: Final = "Ask for the server by a name that its certificate has"
_TIMES: Final = {9, 10}
"""What OpenSSL calls a certificate that is not yet, or no longer valid."""
_NAMES: Final = {62, 64}
_TLS: Final[Mapping[str, str]] = {
    "WRONG_VERSION_NUMBER": "does not answer in TLS: is it http:// there, or another port?",
    **dict.fromkeys(
        (
            "TLSV13_ALERT_CERTIFICATE_REQUIRED",
            "TLSV1_ALERT_UNKNOWN_CA",
            "SSLV3_ALERT_BAD_CERTIFICATE",
            "SSLV3_ALERT_CERTIFICATE_EXPIRED",
            "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        ),
        f"wants a certificate of the client, or another one: {_OF_THE_CLIENT}",
    ),
    **dict.fromkeys(
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"),
        "and this client have no version or cipher of TLS in common (TLS 1.2 is the least), or it wants a certificate "
        f"of the client: {_OF_THE_CLIENT}",
    ),
}
_NO_AUTHORITY: Final = "NO_CERTIFICATE_OR_CRL_FOUND"
_REFUSED_TUNNEL: Final = re.compile(r"Tunnel connection failed: (4(?!08|29)\d\d\b.*)")


def no_connection(error: BaseException | None) -> str | None:
    """Why a botocore exception came of a connection that cannot be, with the way out; None for any other."""
    for one in within(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            helps = _NOT_NOW if one.verify_code in _TIMES else _OTHER_NAME if one.verify_code in _NAMES else _UNKNOWN
            return f"the TLS certificate of {_server(error)} is not accepted ({one.verify_message}). {helps}"
        if type(one).__name__ == "CertificateError":  # of urllib3, which compares the names
            return f"the TLS certificate of {_server(error)} is not accepted ({one}). {_OTHER_NAME}"
        if isinstance(one, ssl.SSLError) and one.reason in _TLS:
            return f"{_server(error)} {_TLS[one.reason]} ({one.reason})"
        if _of_file(one, error):
            return (
                f"the file of certificate authorities cannot be read, or one of the client's ({one}): the former is "
                f"named by {_NAMED}; {_OF_THE_CLIENT}"
            )
        if refused := _REFUSED_TUNNEL.search(str(one)):
            return (
                f"the proxy {_server(error)} refuses to connect ({refused[1]}): proxies and their passwords are named "
                "by HTTPS_PROXY, exceptions by NO_PROXY, or both by proxies= of a botocore Config"
            )
    return None


def not_again(caught_exception: BaseException | None = None, **_: Any) -> None:
    """A handler of botocore's `needs-retry`: ends its attempts to connect where no connection can be."""
    if caught_exception is not None and no_connection(caught_exception):
        raise caught_exception


def no_files(error: BaseException | None) -> str:
    """What helps where a connection did not come about since no more files may be open, as the end of a message."""
    told = any(too_many_files(str(one)) for one in within(error))
    return ". There are as many files open as may be (`ulimit -n`): close some, or allow more of them" if told else ""


def too_many_files(text: str) -> bool:
    """Whether it says that a file or a socket could not be opened since too many are."""
    return any(os.strerror(code) in text for code in (errno.EMFILE, errno.ENFILE))


def within(error: BaseException | None) -> Iterator[BaseException]:
    """An exception of botocore, that of urllib3 in it, and so on."""
    while error is not None:
        yield error
        inside = getattr(error, "kwargs", {}).get("error"), *error.args
        error = next((one for one in inside if isinstance(one, BaseException)), None)


def _of_file(one: BaseException, error: BaseException | None) -> bool:
    """Whether a file could not be read that a connection needs. A firewall may refuse connections as one does."""
    kind = type(error).__name__
    unread = isinstance(one, PermissionError | IsADirectoryError) or getattr(one, "reason", "") == _NO_AUTHORITY
    return (unread and kind == "SSLError") or (
        isinstance(one, FileNotFoundError) and kind in ("SSLError", "ConnectionClosedError")
    )


def _server(error: BaseException | None) -> str:
    named = getattr(error, "kwargs", {})
    url = urlsplit(str(named.get("endpoint_url") or named.get("proxy_url") or ""))
    return f"{url.scheme}://{url.netloc}"
