"""The plain objects that contestants without encryption read: put there by botocore, in one request."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def s3() -> Any:
    """Botocore's client, which is there where boto3 is, and where only s3fs is."""
    from botocore.session import Session

    return Session().create_client("s3")


def put(bucket: str, key: str, content: bytes) -> None:
    """Write an object."""
    s3().put_object(Bucket=bucket, Key=key, Body=content)
