"""The `Client` that the options of a command ask for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arrowseal.exceptions import ConfigurationError

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
        legacy=tuple(arguments.legacy),
        instruction_files=arguments.instruction_files,
        encryption_context=context(arguments) or None,
        profile_name=arguments.profile,
        region_name=arguments.region,
        endpoint_url=arguments.endpoint_url,
        kms_endpoint_url=arguments.kms_endpoint_url,
    )


def connect_services(arguments: argparse.Namespace) -> Client:
    """A client for commands that seal and open nothing: where AWS is, and who asks. Sends nothing."""
    from arrowseal.client import Client

    return Client(
        profile_name=arguments.profile,
        region_name=arguments.region,
        endpoint_url=arguments.endpoint_url,
        kms_endpoint_url=arguments.kms_endpoint_url,
    )


def key_id(arguments: argparse.Namespace) -> str | None:
    """The KMS key of the options or the environment. An empty one of the options, as an unset variable of a script
    gives it, stays that, and is refused.
    """
    given: str | None = arguments.kms_key_id
    return given if given is not None else os.environ.get("ARROWSEAL_KMS_KEY_ID") or None


def context(arguments: argparse.Namespace) -> dict[str, str]:
    """The encryption context of the options. Raises `ConfigurationError` for a name that is given twice."""
    entries: dict[str, str] = {}
    for name, value in arguments.encryption_context:
        if name in entries:
            raise ConfigurationError(f"--encryption-context gives {name!r} twice")
        entries[name] = value
    return entries


def list_buckets(client: Client) -> list[tuple[str, dt.datetime | None]]:
    """Name and time of creation of the caller's buckets. Raises `ServiceError`, `CredentialsError`."""
    from arrowseal.aws_services import AwsServices

    services = AwsServices.of(client)
    buckets = services.ask("list of buckets", lambda: services.s3.list_buckets()["Buckets"])
    return [(bucket["Name"], bucket.get("CreationDate")) for bucket in buckets]
