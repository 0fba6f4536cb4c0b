"""What botocore raises before it has signed a request, as one error of ours with the way out."""

from __future__ import annotations

import contextlib
from typing import Any

from arrowseal.exceptions import ArrowSealError, ConfigurationError, CredentialsError

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
_NOT_CONFIGURED = {
    "NoRegionError": "give region_name=, or set AWS_DEFAULT_REGION",
    "ProfileNotFound": "give the profile_name= of a profile that exists",
    "InvalidRegionError": "give a valid region_name=",
}


def credentials_error(error: Exception, subject: str) -> ArrowSealError | None:
    """The `CredentialsError` or `ConfigurationError` that a botocore exception stands for, or None."""
    names = [kind.__name__ for kind in type(error).__mro__]
    for name in names:
        if name in _NO_CREDENTIALS:
            return CredentialsError(
                f"{subject}: no usable AWS credentials ({error}). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "give profile_name= or session="
            )
        if name in _NOT_CONFIGURED:
            return ConfigurationError(f"{subject}: {error}: {_NOT_CONFIGURED[name]}")
    return None


def refresh(credentials: Any) -> None:
    """Have credentials of botocore that can refresh themselves do so now, however fresh they think they are. Others
    stay, and so do those that cannot be refreshed: the next request says why.
    """
    lock, again = (getattr(credentials, name, None) for name in ("_refresh_lock", "_protected_refresh"))
    if lock is not None and again is not None:
        with contextlib.suppress(Exception), lock:
            again(is_mandatory=False)
