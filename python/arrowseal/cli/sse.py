"""The options that say how the server encrypts: of uploads, of copies inside S3, and what reads of SSE-C need."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING

from arrowseal.cli.connection import key_id
from arrowseal.exceptions import ConfigurationError

if TYPE_CHECKING:
    import argparse

    from arrowseal.encryption import SSE_C, Encryption
    from arrowseal.store import ListedObject

_KEY_FILE = "a file with the 32 bytes of an SSE-C key, as they are or in base64"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add those of `cp`."""
    parser.add_argument(
        "--encryption",
        choices=("cse", "plain", "sse-s3", "sse-kms", "sse-c"),
        help="of what is uploaded (default: cse); of a copy inside S3 how the server encrypts it, sealed or not "
        "(default: as its bucket says)",
    )
    parser.add_argument(
        "--bucket-key", action="store_true", help="with sse-kms: one KMS call for many objects, by an S3 Bucket Key"
    )
    add_customer_key(parser)
    parser.add_argument("--source-customer-key", metavar="FILE", help="likewise, of the source of a copy inside S3")


def add_customer_key(parser: argparse.ArgumentParser) -> None:
    """Add the one that reads need, too."""
    parser.add_argument("--customer-key", metavar="FILE", help=f"{_KEY_FILE}: of objects that were written with it")


def arm(arguments: argparse.Namespace) -> Encryption | None:
    """What `--encryption` says; None is the client's own. Raises `ConfigurationError` for options that do not go
    together.
    """
    from arrowseal.encryption import PLAIN, SSE_KMS, SSE_S3

    chosen = arguments.encryption
    if arguments.bucket_key and chosen != "sse-kms":
        raise ConfigurationError("--bucket-key goes with --encryption sse-kms")
    match chosen:
        case "plain":
            return PLAIN
        case "sse-s3":
            return SSE_S3()
        case "sse-kms":
            return SSE_KMS(key_id(arguments), bucket_key=arguments.bucket_key)
        case "sse-c":
            key = customer_key(arguments)
            if key is None:
                raise ConfigurationError(f"--encryption sse-c needs --customer-key FILE: {_KEY_FILE}")
            return key
        case _:
            return None  # client-side, in the client's format and context


def customer_key(arguments: argparse.Namespace) -> SSE_C | None:
    """The arm of `--customer-key`. Raises `ConfigurationError` for a file that has no key."""
    return None if arguments.customer_key is None else read_customer_key(arguments.customer_key)


def read_customer_key(path: str) -> SSE_C:
    """The key in a file. What the file says is in no message."""
    from arrowseal.encryption import SSE_C

    with Path(path).open("rb") as file:
        content = file.read(1024)
    if len(content) != 32:
        try:
            content = base64.b64decode(content.strip(), validate=True)
        except binascii.Error:
            content = b""
    if len(content) != 32:
        raise ConfigurationError(f"{path} is not {_KEY_FILE}")
    return SSE_C(content)


def shown(row: ListedObject) -> str:
    """How a listed object is encrypted, in a cell; `-` where the server does not tell.

    What the server does on its own is added where the object came sealed: `CSE V3, SSE-KMS`.
    """
    words = [row.encryption or "-"]
    if row.server_side and row.server_side != row.encryption:
        words.append(row.server_side)
    return ", ".join(words) + (" (bucket key)" if row.bucket_key else "")
