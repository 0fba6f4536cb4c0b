"""`arrowseal bucket`: the settings of a bucket that say how safe what lies in it is, and policies to enforce it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from arrowseal.cli import DONE, FAILED, say
from arrowseal.cli.connection import connect_services
from arrowseal.exceptions import ConfigurationError
from arrowseal.location import locate_prefix
from arrowseal.text_tables import columns

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from arrowseal.operations.bucket_settings import BucketSettings

_SWITCH = {"on": True, "off": False}


def add_command(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the commands to the subparsers."""
    parser = commands.add_parser("bucket", help="show and set how a bucket encrypts; policies that enforce it")
    inner = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_show(inner, parents)
    _add_set(inner, parents)
    _add_policy(inner)


def _add_show(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    show = commands.add_parser(
        "show",
        parents=parents,
        help="default encryption, key, bucket key, versioning, public access, TLS",
        description="Show what a bucket is set to: its default encryption with key and bucket key, versioning, the "
        "block of public access, and whether its policy demands TLS.",
        epilog="Needs s3:GetEncryptionConfiguration, s3:GetBucketVersioning, s3:GetBucketPublicAccessBlock and "
        "s3:GetBucketPolicy; what may not be asked, or what the server does not know, is said so.",
    )
    show.add_argument("url", metavar="URL", help="s3://bucket")
    show.add_argument("--json", action="store_true", help="one JSON object")
    show.set_defaults(run=_show)


def _add_set(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    change = commands.add_parser(
        "set",
        parents=parents,
        help="change them",
        description="Change settings of a bucket; what is not named stays. Objects that are there stay as they are.",
        epilog="Needs s3:PutEncryptionConfiguration, s3:PutBucketVersioning, s3:PutBucketPublicAccessBlock, "
        "s3:GetBucketPolicy and s3:PutBucketPolicy, as far as they are changed.",
    )
    change.add_argument("url", metavar="URL", help="s3://bucket")
    change.add_argument("--default", choices=("sse-s3", "sse-kms"), help="encryption of writes that name none")
    change.add_argument("--key", metavar="KEY", help="with sse-kms: the ARN of the KMS key (default: alias/aws/s3)")
    for name, what in (
        ("bucket-key", "with sse-kms: one KMS call for many objects (default: on)"),
        ("versioning", "keep old versions; off suspends it"),
        ("block-public-access", "all four kinds of it"),
        ("tls", "a statement in the bucket policy that refuses requests without TLS"),
    ):
        change.add_argument(f"--{name}", choices=tuple(_SWITCH), help=what)
    change.set_defaults(run=_set)


def _add_policy(commands: Any) -> None:
    policy = commands.add_parser(
        "policy",
        help="print a policy that enforces encryption, as JSON to paste",
        description="Print the policy that enforces what is required, as JSON to paste; what it cannot enforce is said "
        "on standard error. Sends nothing.",
        epilog="For example: arrowseal bucket policy s3://lake/raw/ --require sse-kms --key ARN --require tls",
    )
    policy.add_argument("url", metavar="URL", help="s3://bucket or s3://bucket/prefix/")
    policy.add_argument(
        "--require",
        choices=("cse", "sse-kms", "sse-s3", "tls"),
        action="append",
        required=True,
        help="what is enforced; repeatable",
    )
    policy.add_argument("--key", metavar="ARN", help="with sse-kms: the only KMS key that is allowed")
    policy.add_argument(
        "--writer", metavar="ARN", action="append", default=[], help="with cse: a role or user that seals; repeatable"
    )
    policy.add_argument(
        "--reader", metavar="ARN", action="append", default=[], help="with --part key: one that opens; repeatable"
    )
    policy.add_argument(
        "--part", choices=("bucket", "key"), default="bucket", help="with cse: the policy of the bucket, or of the key"
    )
    policy.add_argument(
        "--bound", action="store_true", help="with --part key: only objects whose location is bound under URL"
    )
    policy.set_defaults(run=_policy)


def _show(arguments: argparse.Namespace) -> int:
    from arrowseal.operations.bucket_settings import read_settings

    settings = read_settings(_bucket(arguments.url), connect_services(arguments))
    if arguments.json:
        print(json.dumps(asdict(settings)))
        return DONE
    for line in _lines(settings):
        print(line)
    return DONE


def _set(arguments: argparse.Namespace) -> int:
    from arrowseal.operations.bucket_settings import change_settings, read_settings

    given = (arguments.default, arguments.versioning, arguments.block_public_access, arguments.tls)
    if not any(given) and not (arguments.key or arguments.bucket_key):
        raise ConfigurationError("name what to change: --default, --versioning, --block-public-access or --tls")
    bucket, client = _bucket(arguments.url), connect_services(arguments)
    failed = change_settings(
        bucket,
        client,
        default=arguments.default,
        key=arguments.key,
        bucket_key=_SWITCH.get(arguments.bucket_key),
        versioning=_SWITCH.get(arguments.versioning),
        block_public_access=_SWITCH.get(arguments.block_public_access),
        require_tls=_SWITCH.get(arguments.tls),
    )
    for line in _lines(read_settings(bucket, client)):
        print(line)
    for name, why in failed.items():
        say(f"{name} was not changed: {why}")
    return FAILED if failed else DONE


def _policy(arguments: argparse.Namespace) -> int:
    from arrowseal.operations.bucket_policies import bucket_policy, key_policy

    locate_prefix(arguments.url)
    if arguments.part == "key":
        if arguments.require != ["cse"]:
            raise ConfigurationError("--part key goes with --require cse alone")
        told = {"writers": arguments.writer, "readers": arguments.reader, "bound": arguments.bound}
        snippet = key_policy(arguments.url, **told)
    else:
        if arguments.reader or arguments.bound:
            raise ConfigurationError("--reader and --bound go with --part key")
        snippet = bucket_policy(arguments.url, arguments.require, key=arguments.key, writers=arguments.writer)
    print(json.dumps(snippet.policy, indent=2), flush=True)
    for note in snippet.notes:
        say(note)
    return DONE


def _bucket(url: str) -> str:
    place = locate_prefix(url)
    if place.key:
        raise ConfigurationError(f"{url}: settings are those of a whole bucket: give s3://{place.bucket}")
    return place.bucket


def _lines(settings: BucketSettings) -> list[str]:
    def told(name: str, shown: str | None = None) -> str:
        value = getattr(settings, name)
        if name in settings.untold:
            return f"not told: {settings.untold[name]}"
        if isinstance(value, bool):
            return "yes" if value else "no"
        return shown or str(value or "not told")

    rows = [("bucket", settings.bucket), ("region", told("region")), ("default encryption", told("encryption"))]
    if settings.kms_key:
        rows += [("KMS key", settings.kms_key), ("bucket key", told("bucket_key"))]
    rows += [
        ("versioning", told("versioning")),
        ("public access blocked", told("public_access_blocked")),
        ("TLS required by policy", told("tls_required")),
    ]
    return list(columns(rows))
