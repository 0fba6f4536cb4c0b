"""Requests to AWS KMS: the Region they go to, their retries, their errors by name, and what they are counted as.

Source: API reference of AWS KMS, version 2014-11-01.
"""

from __future__ import annotations

import re
import time
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from arrowseal._core import DataKey
from arrowseal.credentials import credentials_error
from arrowseal.encryption import KMS_ARN
from arrowseal.exceptions import (
    ArrowSealError,
    CredentialsError,
    ExpiredCredentialsError,
    KmsAccessDeniedError,
    KmsError,
    KmsKeyMismatchError,
    KmsKeyNotFoundError,
    KmsKeyStateError,
    KmsThrottledError,
    KmsUnavailableError,
)
from arrowseal.fork_lock import ForkLock
from arrowseal.materials import KEY_ARN
from arrowseal.no_connection import no_connection, no_files
from arrowseal.retries import call_kms
from arrowseal.server_clock import clock_skew, seconds_ahead
from arrowseal.wirelog import withheld

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mypy_boto3_kms import KMSClient

    from arrowseal.counters import Operation
    from arrowseal.location import ObjectLocation

Renew: TypeAlias = "Callable[[CredentialsError, float], None]"
KmsOf: TypeAlias = "Callable[[str | None], KMSClient]"
"""Gives the KMS client of a Region; of the client's own one for None."""

_WRONG_TIME: Final = re.compile("Signature (expired|not yet current)")
_NEEDED: Final = {"ReEncrypt": "kms:ReEncryptFrom on the old key and kms:ReEncryptTo on the new one"}
"""The permissions for actions that are not called as they are."""
_ERRORS: Final[Mapping[str, tuple[type[ArrowSealError], str]]] = {
    "AccessDeniedException": (
        KmsAccessDeniedError,
        "access denied: the caller needs {needed}, and the key policy must allow this encryption context. "
        "Some KMS implementations answer so when the object was written under another key",
    ),
    "NotFoundException": (
        KmsKeyNotFoundError,
        "no such key or alias in this account and Region; an alias is "
        "written with alias/ before its name, a key of another account or Region as its ARN",
    ),
    "DisabledException": (KmsKeyStateError, "the key is disabled: enable it, or read under another key"),
    "KMSInvalidStateException": (KmsKeyStateError, "the key is pending deletion or not usable: check its state"),
    "InvalidGrantTokenException": (
        KmsError,
        "a grant token is not valid: leave it out if the grant is older than five minutes, or ask for a new grant",
    ),
    "InvalidKeyUsageException": (KmsKeyStateError, "the key is not a symmetric encryption key"),
    "IncorrectKeyException": (
        KmsKeyMismatchError,
        "the object was written under another key: give that one as kms_key_id=, or among decrypt_key_ids=",
    ),
    "InvalidCiphertextException": (
        KmsKeyMismatchError,
        "the encrypted data key does not belong to this key and encryption context: one of them is another one, or "
        "was changed",
    ),
    "ThrottlingException": (KmsThrottledError, "throttled: retry later, or ask for a higher request quota"),
    "KMSInternalException": (KmsUnavailableError, "internal error of KMS: retry later"),
    "DependencyTimeoutException": (KmsUnavailableError, "KMS timed out: retry later"),
    "KeyUnavailableException": (KmsUnavailableError, "the key is not available at the moment: retry later"),
    "InvalidSignatureException": (CredentialsError, "the secret access key does not fit"),
    "UnrecognizedClientException": (CredentialsError, "the credentials are not accepted"),
    "InvalidClientTokenId": (CredentialsError, "the credentials are not accepted"),
    "SignatureDoesNotMatch": (CredentialsError, "the secret access key does not fit"),
    "ExpiredTokenException": (ExpiredCredentialsError, "the credentials have expired: renew them"),
    "ExpiredToken": (ExpiredCredentialsError, "the credentials have expired: renew them"),
    "RequestExpired": (ExpiredCredentialsError, "the credentials have expired: renew them"),
}
_PASSING: Final = {"RequestTimeoutException", "RequestAbortedException"}
"""What KMS says of requests that did not come through, beside a status of 500 and more."""


def region_of(key_id: str | None) -> str | None:
    """The Region that the ARN of a key or alias names; None for an id or an alias, which are of the client's own."""
    named = KMS_ARN.fullmatch(key_id or "")
    return named[1] if named else None


class KmsRequests:
    """Those of one keyring. Safe to share between threads.

    An alias is resolved once, to the ARN in the first answer of KMS, and stays with that key, also where it is allowed
    by its alias alone and goes on being named so. A key that is named by an
    ARN is asked for in its own Region. Calls that KMS throttles are repeated for up to two minutes. `renew` is called
    when KMS does not accept credentials or clock.
    """

    def __init__(self, kms: KmsOf, grant_tokens: Sequence[str] = (), renew: Renew = lambda *_: None) -> None:
        self._kms = kms
        self._renew = renew
        self._arns: dict[str, str] = {}
        self._by_alias: set[str] = set()
        self._lock = ForkLock()
        self.granted: dict[str, Any] = {"GrantTokens": list(grant_tokens)} if grant_tokens else {}
        """The grant tokens, as arguments of a call."""

    def ready(self, region: str | None) -> None:
        """Make the KMS client of a Region. Raises `InsecureEndpointError`, `ConfigurationError`. No request."""
        self._kms(region)

    def ask(
        self,
        action: str,
        key_id: str,
        location: ObjectLocation,
        operation: Operation,
        call: Callable[[KMSClient, str], Any],
        *,
        to_key: str | None = None,
    ) -> Any:
        """What `call` answers, a tuple that ends in the ARN of the key that KMS used: the one that was named. Errors
        name it, and `to_key` where the call takes two. Raises `KmsError`s, `CredentialsError`.
        """
        known = self._arns.get(key_id, key_id)
        subject = f"{location}: KMS {action} " + (f"under {known}" if to_key is None else f"from {known} to {to_key}")

        def ask_by(name: str) -> Any:
            return self._retried(action, region_of(name), name, subject, operation, lambda kms: call(kms, name))

        result = None
        try:
            result = ask_by(key_id if key_id in self._by_alias else known)
        except KmsAccessDeniedError:
            if known == key_id or key_id in self._by_alias or "alias/" not in key_id:
                raise
        if result is None:
            # The policy may allow the key by its alias alone (`kms:RequestAlias`), as the first request named it.
            result = ask_by(key_id)
            self._by_alias.add(key_id)
        if KEY_ARN.fullmatch(known) and result[-1] != known:
            raise KmsKeyMismatchError(f"{subject}: KMS used another key, {result[-1]}")
        with self._lock:
            self._arns[key_id] = result[-1]
        return result

    def ask_for_any(
        self,
        action: str,
        region: str | None,
        location: ObjectLocation,
        operation: Operation,
        call: Callable[[KMSClient], Any],
    ) -> Any:
        """The same without a key: KMS uses the one that the encrypted data key belongs to."""
        subject = f"{location}: KMS {action} under any key" + (f" of {region}" if region else "")
        return self._retried(action, region, "any key", subject, operation, call)

    def _retried(
        self,
        action: str,
        region: str | None,
        key: str,
        subject: str,
        operation: Operation,
        call: Callable[[KMSClient], Any],
    ) -> Any:
        def once() -> Any:
            begun = time.monotonic()
            try:
                return _once(self._kms(region), key, subject, action, operation, call)
            except CredentialsError as error:
                self._renew(error, begun)
                raise

        return call_kms(once, operation.count_retry)


def _once(
    kms: KMSClient,
    key: str,
    subject: str,
    action: str,
    operation: Operation,
    call: Callable[[KMSClient], Any],
) -> Any:
    asked = key
    try:
        with operation.timed("kms"), withheld(subject):
            answer = call(kms)
        asked = answer[-1]
        return answer
    except Exception as error:
        translated = _translated(error, subject, action)
        if translated is None:
            raise
    finally:
        operation.count_kms(action, asked)
    try:
        raise translated  # here: above, its context would be an error that may hold what KMS answered
    finally:
        del translated


def take_data_key(answer: dict[str, Any]) -> DataKey:
    """Move the plaintext out of an answer into memory of the core; no variable of any frame keeps it."""
    try:
        return DataKey(answer.pop("Plaintext"))
    except ValueError:
        raise KmsError("KMS answered with a data key that does not have 32 bytes") from None


def _translated(error: Exception, subject: str, action: str) -> ArrowSealError | None:
    """The error of ours for one of botocore; None for any other."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    if isinstance(error, ArrowSealError):
        return None
    if problem := no_connection(error):
        return KmsError(f"{subject}: {problem}")
    if unsent := credentials_error(error, subject):
        return unsent
    if isinstance(error, ClientError):
        return _translate(error, subject, action)
    if isinstance(error, BotoCoreError):
        return KmsUnavailableError(
            f"{subject}: KMS cannot be reached ({type(error).__name__}): {error}{no_files(error)}"
        )
    if isinstance(error, (KeyError, ResponseParserError)) or _of_an_answer(error):
        # What is left of an answer that broke off is no JSON, or for botocore one without content. One that was
        # damaged, or compressed on its way, is no base64 or no text.
        return KmsUnavailableError(f"{subject}: the answer of KMS broke off, or is none")
    return None


def _of_an_answer(error: Exception) -> bool:
    """Whether reading an answer raised it: the parsers, or what stands above them, which took `null` for an object."""
    frames = [frame.f_globals.get("__name__") for frame, _ in walk_tb(error.__traceback__)]
    innermost = frames[-1] if frames else None
    built_in = isinstance(error, (AttributeError, TypeError))
    return "botocore.parsers" in frames or (built_in and innermost in ("botocore.endpoint", "botocore.model"))


def _translate(error: Any, subject: str, action: str) -> ArrowSealError:
    """One of ours for a `ClientError`, without its text where that could quote the request."""
    code = str(error.response.get("Error", {}).get("Code", "")).removeprefix("com.amazonaws.kms#")
    if code == "InvalidSignatureException" and _WRONG_TIME.match(str(error.response["Error"].get("Message", ""))):
        date = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        return clock_skew(subject, seconds_ahead(date))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind, text = _ERRORS.get(code, (KmsError, code or "unknown error"))
    if "Throttl" in code or code == "RequestLimitExceeded" or status == 429:
        kind, text = _ERRORS["ThrottlingException"]
    elif code not in _ERRORS and (status >= 500 or code in _PASSING):
        kind, text = KmsUnavailableError, f"KMS, or what stands before it, is down ({code or status}): retry later"
    elif code.isdigit():  # which is what botocore makes of an answer without a code
        text = f"refused ({code}) without a reason, as KMS gives one: is this the endpoint of a KMS, and no proxy's?"
    return kind(f"{subject}: {text.format(needed=_NEEDED.get(action, f'kms:{action} on the key'))}")
