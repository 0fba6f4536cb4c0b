"""Options of a client as fsspec hands them around: keywords that JSON has a form for, references and no objects."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from arrowseal.client import Client
from arrowseal.exceptions import ConfigurationError
from arrowseal.fs.access import kept
from arrowseal.options import ClientOptions


def client_of(client: Client | None, options: dict[str, Any]) -> Client | None:
    """The client that is given or described, one for all that is told the same; None for neither.

    Raises `ConfigurationError` for both, and for what is no option of a client, or not a reference.
    """
    unknown = sorted(options.keys() - {field.name for field in fields(ClientOptions)})
    if unknown:
        raise ConfigurationError(
            f"s3cse:// does not know the option {unknown[0]!r}. It takes those of arrowseal.Client that are "
            "references; credentials are found as boto3 finds them: give profile_name=, or set the environment"
        )
    if client is not None and options:
        raise ConfigurationError("s3cse:// takes a client=, or the options of one, not both")
    if not options:
        return client
    return kept(Client(**options))


def storage_options_of(client: Client) -> dict[str, Any]:
    """The options that differ from their defaults, in the form of JSON. Those without one, `transfer`, `cache` and
    `keyring` for example, are left out; a pickle has them.
    """
    usual, told = ClientOptions(), {}
    for field in fields(usual):
        value = getattr(client.options, field.name)
        if value == getattr(usual, field.name):
            continue
        if isinstance(value, enum.Enum):
            told[field.name] = value.value
        elif isinstance(value, Mapping):
            told[field.name] = dict(value)
        elif isinstance(value, tuple | frozenset) and all(isinstance(each, str) for each in value):
            told[field.name] = sorted(value) if isinstance(value, frozenset) else list(value)
        elif isinstance(value, str | int):
            told[field.name] = value
    return told
