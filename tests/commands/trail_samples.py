"""Records as CloudTrail writes them, made up: SSE-KMS, CSE, services, other accounts, refusals."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

ACCOUNT, OTHER = "111122223333", "444455556666"
KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
NEW_KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/0987dcba-09fe-87dc-65ba-ab0987654321"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/analysts"
BEGIN = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
_numbers = itertools.count()


def role(via: str | None = None, session: str = "jane") -> dict[str, Any]:
    """A session of a role; `via` is the service that calls for it."""
    identity: dict[str, Any] = {
        "type": "AssumedRole",
        "principalId": f"EXAMPLEID:{session}",
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/analysts/{session}",
        "accountId": ACCOUNT,
        "sessionContext": {
            "sessionIssuer": {"type": "Role", "arn": ROLE, "accountId": ACCOUNT, "userName": "analysts"},
            "attributes": {"creationDate": "2026-01-31T11:00:00Z", "mfaAuthenticated": "false"},
        },
    }
    return identity | ({"invokedBy": via} if via else {})


def record(
    api: str = "GenerateDataKey",
    *,
    seconds: float = 0,
    context: Any = None,
    identity: dict[str, Any] | None = None,
    key: str = KEY,
    **other: Any,
) -> dict[str, Any]:
    """A record; `other` replaces its fields."""
    number = next(_numbers)
    asked: dict[str, Any] = {"keyId": key} | ({} if context is None else {"encryptionContext": context})
    asked |= {"keySpec": "AES_256"} if api == "GenerateDataKey" else {"encryptionAlgorithm": "SYMMETRIC_DEFAULT"}
    return {
        "eventVersion": "1.11",
        "userIdentity": role() if identity is None else identity,
        "eventTime": f"{BEGIN + dt.timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": "kms.amazonaws.com",
        "eventName": api,
        "awsRegion": "eu-west-1",
        "sourceIPAddress": "192.0.2.1",
        "userAgent": "Boto3/1.40 md/Botocore#1.40",
        "requestParameters": asked,
        "responseElements": None,
        "additionalEventData": {"keyMaterialId": "0" * 64},
        "requestID": f"request-{number}",
        "eventID": f"event-{number}",
        "readOnly": True,
        "resources": [{"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": key}],
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
        "tlsDetails": {"tlsVersion": "TLSv1.3", "clientProvidedHostHeader": "kms.eu-west-1.amazonaws.com"},
    } | other


def by_s3(api: str, arn: str, **told: Any) -> dict[str, Any]:
    """A call that S3 made for SSE-KMS, on behalf of a role."""
    return record(api, context={"aws:s3:arn": arn}, identity=role("fas.s3.amazonaws.com"), **told)


def by_client(api: str, location: str | None = None, **told: Any) -> dict[str, Any]:
    """A call of a client that encrypts itself; with the location in its context where it is bound."""
    context = {"aws:x-amz-cek-alg": "115"} | ({} if location is None else {"arrowseal:location": location})
    return record(api, context=context, **told)
