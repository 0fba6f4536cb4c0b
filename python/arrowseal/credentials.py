"""What botocore raises before it has signed a request, as one error of ours with the way out."""

from __future__ import annotations

import contextlib
from traceback import walk_tb
from typing import Any

from arrowseal.exceptions import ArrowSealError, ConfigurationError, CredentialsError, ExpiredCredentialsError

# By name: botocore is imported where it is used, and older versions lack some of them.
_NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "NoAuthTokenError",
    "TokenRetrievalError",
    "SSOTokenLoadError",
    "SSOError",
    "UnauthorizedSSOTokenError",
    "LoginError",
    "LoginRefreshRequired",
}
_LOOKING = ("botocore.credentials", "botocore.tokens")
"""The modules that look for credentials: in files, from processes, of STS, of SSO, of the machine."""
_FAILED_LOOK = (OSError, ValueError, LookupError)
"""What else comes of a look, of a token file that is not there for one."""
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_WIRE = {"HTTPClientError", "ConnectionError", "IncompleteReadError", "FlexibleChecksumError"}
"""The errors of botocore for requests that were sent, or nearly so; all others are of what was to be sent."""
_NOT_CONFIGURED = {
    "NoRegionError": "give region_name=, or set AWS_DEFAULT_REGION",
    "ProfileNotFound": "give the profile_name= of a profile that exists",
    "InvalidRegionError": "give a valid region_name=",
}


def credentials_error(error: Exception, subject: str) -> ArrowSealError | None:
    """The `CredentialsError` or `ConfigurationError` for an exception that came before a request was sent; None for
    one that came of the request.

    Whoever gives out credentials may refuse as S3 and KMS do, or be no nearer: that is told by where it was raised.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    of_botocore = not names.isdisjoint(("BotoCoreError", "ClientError"))
    looked = (of_botocore or isinstance(error, _FAILED_LOOK)) and _raised_while_looking(error)
    if looked or names & _NO_CREDENTIALS:
        code = getattr(error, "response", {}).get("Error", {}).get("Code")
        kind = ExpiredCredentialsError if code in _EXPIRED else CredentialsError
        said = " ".join(str(error).split())
        return kind(
            f"{subject}: no usable AWS credentials ({said}). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "give profile_name= or session="
        )
    for name in names & _NOT_CONFIGURED.keys():
        return ConfigurationError(f"{subject}: {str(error).rstrip('.')}: {_NOT_CONFIGURED[name]}")
    if "BotoCoreError" in names and names.isdisjoint(_WIRE):
        return ConfigurationError(f"{subject}: boto3 does not take this ({type(error).__name__}): {error}")
    return None


def _raised_while_looking(error: Exception) -> bool:
    if getattr(error, "operation_name", None) == "CreateSession":
        return False  # of S3 itself, for a directory bucket
    frames = (frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__))
    return any(name in _LOOKING for name in frames)


def refresh(credentials: Any) -> None:
    """Have credentials of botocore that can refresh themselves do so now, however fresh they think they are. Others
    stay, and so do those that cannot be refreshed: the next request says why.
    """
    lock, again = (getattr(credentials, name, None) for name in ("_refresh_lock", "_protected_refresh"))
    if lock is not None and again is not None:
        with contextlib.suppress(Exception), lock:
            again(is_mandatory=False)
