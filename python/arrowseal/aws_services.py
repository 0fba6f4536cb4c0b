"""Requests of AWS that are about no object and no data key: buckets, KMS keys, the caller, the audit trail."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from arrowseal.credentials import credentials_error
from arrowseal.exceptions import CredentialsError, ServiceDeniedError, ServiceError
from arrowseal.no_connection import no_connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from arrowseal.client import Client
    from arrowseal.connections import Connections

Result = TypeVar("Result")

_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "UnauthorizedOperation", "403"})
_CREDENTIALS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_UNKNOWN = frozenset({"NotImplemented", "MethodNotAllowed", "UnknownOperationException", "InvalidAction", "501", "405"})
_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws")


class AwsServices:
    """The boto3 clients behind an arrowseal client. Safe to share between threads; sends nothing by itself."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @classmethod
    def of(cls, client: Client) -> AwsServices:
        """Those with the credentials, Region and endpoints of a client."""
        return cls(client._connections)  # noqa: SLF001 - its other half

    @property
    def s3(self) -> Any:
        """The client of S3."""
        return self._connections.s3()

    @property
    def kms(self) -> Any:
        """The client of KMS."""
        return self._connections.kms()

    def other(self, service: str) -> Any:
        """A client of another service: `"sts"`, `"cloudtrail"`."""
        return self._connections.other(service)

    def knows(self, service: str) -> bool:
        """Whether there is such a service beside this S3: AWS has all of them, other servers what the configuration or
        the environment (`AWS_ENDPOINT_URL_STS`) names. What asks otherwise would ask AWS with the keys of another.
        """
        return is_aws(self.s3.meta.endpoint_url) or not is_aws(self.other(service).meta.endpoint_url)

    def ask(self, subject: str, call: Callable[[], Result]) -> Result:
        """The answer to one request. Raises `ServiceError` (`ServiceDeniedError`), `CredentialsError` and
        `ConfigurationError`, all of them with the subject.
        """
        from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
        from botocore.parsers import ResponseParserError

        begun = time.monotonic()
        try:
            return call()
        except ClientError as error:
            refused = credentials_error(error, subject) or refusal(error.response, subject)
            if isinstance(refused, CredentialsError):
                self._connections.renew(refused, begun)
            raise refused from None
        except ParamValidationError as error:
            raise ServiceError(f"{subject}: {' '.join(str(error).split())}") from None
        except (BotoCoreError, ResponseParserError, OSError) as error:
            if unsent := credentials_error(error, subject):
                raise unsent from None
            if isinstance(error, OSError) and not isinstance(error, BotoCoreError):
                raise
            raise ServiceError(f"{subject}: no answer: {no_connection(error) or error}") from None


def refusal(answer: Any, subject: str) -> CredentialsError | ServiceError:
    """The error for an answer that refuses, as botocore parsed it."""
    problem = answer.get("Error", {})
    code = str(problem.get("Code", "")) or "unknown"
    message = " ".join(str(problem.get("Message") or "").split())
    text = f"{subject}: {code}" + (f": {message}" if message and message != code else "")
    if code in _CREDENTIALS:
        return CredentialsError(text)
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind = ServiceDeniedError if code in _DENIED else ServiceError
    error = kind(text)
    error.code = code
    error.unknown_here = code in _UNKNOWN or status in (405, 501)
    return error


def is_aws(endpoint_url: str) -> bool:
    """Whether an endpoint is AWS's own."""
    return (urlsplit(endpoint_url).hostname or "").endswith(_AWS)
