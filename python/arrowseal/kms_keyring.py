"""The KMS keyring: data keys wrapped by AWS KMS under an encryption context (`kms+context`).

Writes call GenerateDataKey, reads call Decrypt, both with KeyId and the exact context. An encrypted data key is opaque:
it is never parsed to learn a key's name. Source: S3 KMS keyring of the S3 Encryption Client specification.
"""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from arrowseal._core import DataKey
from arrowseal.credentials import credentials_error
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
    NoKeyError,
)
from arrowseal.materials import DecryptionMaterials, EncryptionMaterials
from arrowseal.metadata import KMS_CONTEXT, EncryptedMetadata, bound_context
from arrowseal.retries import call_kms
from arrowseal.server_clock import clock_skew, seconds_ahead
from arrowseal.wirelog import withheld

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mypy_boto3_kms import KMSClient

    from arrowseal.counters import Operation
    from arrowseal.data_keys import UnwrappedKeys
    from arrowseal.location import ObjectLocation
    from arrowseal.suites import CommitmentPolicy, Format

Renew: TypeAlias = "Callable[[CredentialsError, float], None]"

_WRONG_TIME: Final = re.compile("Signature (expired|not yet current)")
_KEY_ARN: Final = re.compile(r"arn:[^:]+:kms:[^:]*:[^:]*:key/.+")
_ERRORS: Final[Mapping[str, tuple[type[ArrowSealError], str]]] = {
    "AccessDeniedException": (
        KmsAccessDeniedError,
        "access denied: the caller needs {action} on the key, and the key policy must allow this encryption context. "
        "Some KMS implementations answer so when the object was written under another key",
    ),
    "NotFoundException": (KmsKeyNotFoundError, "no such key or alias in this account and Region"),
    "DisabledException": (KmsKeyStateError, "the key is disabled: enable it, or read under another key"),
    "KMSInvalidStateException": (KmsKeyStateError, "the key is pending deletion or not usable: check its state"),
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
    "ExpiredTokenException": (ExpiredCredentialsError, "the credentials have expired: renew them"),
}
# The answers that say "not under this key": the next one of several may be it. moto and KMS proxies say AccessDenied.
_TRY_NEXT: Final = (KmsKeyMismatchError, KmsAccessDeniedError)


class KmsKeyring:
    """Wraps under one KMS key, and unwraps under it or under any of `decrypt_key_ids`, tried in their order.

    Keys are given as id, ARN or alias. An alias is resolved once, to the ARN in the first answer of KMS, and stays with
    that key for the life of the keyring. `kms` makes the boto3 KMS client when the first request is due. `cache` keeps
    unwrapped data keys, for this keyring alone; `policy` is the commitment policy they were unwrapped under. Calls that
    KMS throttles are repeated for up to two minutes. `renew` is called when KMS does not accept credentials or clock.
    Safe to share between threads.
    """

    wraps = frozenset({KMS_CONTEXT})

    def __init__(
        self,
        kms: Callable[[], KMSClient],
        key_id: str | None,
        decrypt_key_ids: Sequence[str] = (),
        *,
        cache: UnwrappedKeys[DecryptionMaterials] | None = None,
        policy: CommitmentPolicy | None = None,
        renew: Renew = lambda *_: None,
    ) -> None:
        self._kms = kms
        self._renew = renew
        self._cache = cache
        self._policy = policy
        self._key_id = key_id
        self._read_key_ids = tuple(dict.fromkeys(([key_id] if key_id else []) + list(decrypt_key_ids)))
        self._arns: dict[str, str] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<KmsKeyring key={self._key_id!r} reads={list(self._read_key_ids)!r}>"

    def check_write(self, location: ObjectLocation) -> str:
        """The KMS key of a write. Raises `NoKeyError` if none is configured."""
        if not self._key_id:
            raise NoKeyError(
                f"{location}: no KMS key to write under: give kms_key_id= to arrowseal.configure, to the client or to "
                "this call (id, ARN or alias)"
            )
        return self._key_id

    def check_read(self, location: ObjectLocation) -> None:
        """Raise `NoKeyError` if no KMS key is configured for reads."""
        if not self._read_key_ids:
            raise NoKeyError(
                f"{location}: no KMS key to read under: give kms_key_id= or decrypt_key_ids= to arrowseal.configure, "
                "to the client, or kms_key_id= to this call. The object itself does not name its key"
            )

    def generate(
        self,
        format: Format,  # noqa: A002 - the public word for it
        context: Mapping[str, str],
        location: ObjectLocation,
        operation: Operation,
    ) -> EncryptionMaterials:
        key_id = self.check_write(location)
        bound = bound_context(context, format)

        def call(kms: KMSClient, key: str) -> tuple[bytes, DataKey, str]:
            answer: Any = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=bound)
            return answer["CiphertextBlob"], _take_data_key(answer), answer["KeyId"]

        wrapped, data_key, arn = self._call("GenerateDataKey", key_id, location, operation, call)
        return EncryptionMaterials(format, data_key, wrapped, bound, arn)

    def unwrap(
        self, metadata: EncryptedMetadata, location: ObjectLocation, operation: Operation
    ) -> DecryptionMaterials:
        self.check_read(location)
        if self._cache is None:
            return self._unwrap(metadata, location, operation)
        # Everything that decides whether KMS would give out this key, and under which rules.
        context = frozenset(metadata.context.items())
        key = ("decrypt", metadata.format, self._policy, self._read_key_ids, context, metadata.encrypted_data_key)
        size = len(metadata.encrypted_data_key) + sum(len(name) + len(value) for name, value in context)
        return self._cache.get(key, size, lambda: self._unwrap(metadata, location, operation))

    def _unwrap(
        self, metadata: EncryptedMetadata, location: ObjectLocation, operation: Operation
    ) -> DecryptionMaterials:
        def call(kms: KMSClient, key: str) -> tuple[DataKey, str]:
            answer: Any = kms.decrypt(
                KeyId=key, CiphertextBlob=metadata.encrypted_data_key, EncryptionContext=dict(metadata.context)
            )
            return _take_data_key(answer), answer["KeyId"]

        last: KmsError | None = None
        for key_id in self._read_key_ids:
            try:
                return DecryptionMaterials(*self._call("Decrypt", key_id, location, operation, call))
            except _TRY_NEXT as error:
                last = error
        assert last is not None  # noqa: S101 - check_read saw at least one key
        if len(self._read_key_ids) == 1:
            raise last
        raise type(last)(f"{last} (none of the keys fits: {', '.join(self._read_key_ids)})") from None

    def _call(
        self,
        action: str,
        key_id: str,
        location: ObjectLocation,
        operation: Operation,
        call: Callable[[KMSClient, str], Any],
    ) -> Any:
        known = self._arns.get(key_id, key_id)
        subject = f"{location}: KMS {action} under {known}"

        def once() -> Any:
            begun = time.monotonic()
            try:
                return _once(self._kms(), known, subject, action, operation, call)
            except CredentialsError as error:
                self._renew(error, begun)
                raise

        def retried() -> None:
            operation.retries += 1

        result = call_kms(once, retried)
        arn = result[-1]
        if _KEY_ARN.fullmatch(known) and arn != known:
            raise KmsKeyMismatchError(f"{subject}: KMS used another key, {arn}")
        with self._lock:
            self._arns[key_id] = arn
        return result


def _once(
    kms: KMSClient,
    key_id: str,
    subject: str,
    action: str,
    operation: Operation,
    call: Callable[[KMSClient, str], Any],
) -> Any:
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    asked = key_id
    try:
        with operation.timed("kms"), withheld(subject):
            answer = call(kms, key_id)
        asked = answer[-1]
        return answer
    except ClientError as error:
        raise _translate(error, subject, action) from None
    except BotoCoreError as error:
        raise _translate_transport(error, subject) from None
    except (KeyError, ResponseParserError):
        # What is left of an answer that broke off is no JSON, or for botocore one without content.
        raise KmsUnavailableError(f"{subject}: the answer of KMS broke off") from None
    finally:
        operation.count_kms(action, asked)


def _take_data_key(answer: dict[str, Any]) -> DataKey:
    """Move the plaintext out of an answer into memory of the core; no variable of any frame keeps it."""
    try:
        return DataKey(answer.pop("Plaintext"))
    except ValueError:
        raise KmsError("KMS answered with a data key that does not have 32 bytes") from None


def _translate(error: Any, subject: str, action: str) -> ArrowSealError:
    """One of ours for a `ClientError`, without its text where that could quote the request."""
    code = str(error.response.get("Error", {}).get("Code", "")).removeprefix("com.amazonaws.kms#")
    if code == "InvalidSignatureException" and _WRONG_TIME.match(str(error.response["Error"].get("Message", ""))):
        date = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        return clock_skew(subject, seconds_ahead(date))
    kind, text = _ERRORS.get(code, (KmsError, code or "unknown error"))
    if "Throttl" in code or code == "RequestLimitExceeded":
        kind, text = _ERRORS["ThrottlingException"]
    return kind(f"{subject}: {text.format(action='kms:' + action)}")


def _translate_transport(error: Exception, subject: str) -> ArrowSealError:
    return credentials_error(error, subject) or KmsUnavailableError(
        f"{subject}: KMS cannot be reached ({type(error).__name__}): {error}"
    )
