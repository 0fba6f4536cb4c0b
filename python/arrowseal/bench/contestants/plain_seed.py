"""The plain objects that contestants without encryption read: put there by boto3, in one request."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def s3() -> Any:
    """A boto3 client as its users make it."""
    import boto3

    return boto3.client("s3")


def put(bucket: str, key: str, content: bytes) -> None:
    """Write an object."""
    s3().put_object(Bucket=bucket, Key=key, Body=content)
