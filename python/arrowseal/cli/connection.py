"""The `Client` that the options of a command ask for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arrowseal.exceptions import ConfigurationError, StoreAccessDeniedError, StoreError

if TYPE_CHECKING:
    import argparse
    import datetime as dt

    from arrowseal.client import Client


def connect(arguments: argparse.Namespace) -> Client:
    """A client as the options say; sends nothing. Raises `ConfigurationError` for options that do not go together."""
    from arrowseal.client import Client

    return Client(
        key_id(arguments),
        format=arguments.format,
        commitment_policy=arguments.commitment_policy,
        allow_plaintext=arguments.allow_plaintext,
        encryption_context=context(arguments) or None,
        profile_name=arguments.profile,
        region_name=arguments.region,
        endpoint_url=arguments.endpoint_url,
        kms_endpoint_url=arguments.kms_endpoint_url,
    )


def key_id(arguments: argparse.Namespace) -> str | None:
    """The KMS key of the options or the environment."""
    return arguments.kms_key_id or os.environ.get("ARROWSEAL_KMS_KEY_ID") or None


def context(arguments: argparse.Namespace) -> dict[str, str]:
    """The encryption context of the options. Raises `ConfigurationError` for a name that is given twice."""
    entries: dict[str, str] = {}
    for name, value in arguments.encryption_context:
        if name in entries:
            raise ConfigurationError(f"--encryption-context gives {name!r} twice")
        entries[name] = value
    return entries


def list_buckets(client: Client) -> list[tuple[str, dt.datetime | None]]:
    """Name and time of creation of the caller's buckets. Raises `StoreError`, `CredentialsError`."""
    from botocore.exceptions import BotoCoreError, ClientError

    from arrowseal.connections import Connections
    from arrowseal.credentials import credentials_error

    try:
        buckets = Connections(client.options, None, None, None).s3().list_buckets()["Buckets"]
    except ClientError as error:
        problem = error.response.get("Error", {})
        kind = StoreAccessDeniedError if problem.get("Code") == "AccessDenied" else StoreError
        raise kind(f"list of buckets: {problem.get('Code')}: {problem.get('Message')}") from None
    except BotoCoreError as error:
        raise credentials_error(error, "list of buckets") or StoreError(f"list of buckets: {error}") from None
    return [(bucket["Name"], bucket.get("CreationDate")) for bucket in buckets]
