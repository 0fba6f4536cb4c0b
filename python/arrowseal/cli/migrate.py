"""`arrowseal migrate`: the objects of a prefix, of whichever format, written anew as V3 or as is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arrowseal.cli.connection import key_id
from arrowseal.cli.rewrap import add_job_options, job_arguments, told

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from arrowseal.encryption import Encryption


def add_command(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the command to the subparsers."""
    parser = commands.add_parser(
        "migrate",
        parents=parents,
        help="write objects of other formats, and plain ones, anew as V3",
        description="Write an object, or all under a prefix, anew under another protection: in place, each read back "
        "and compared before it takes its place. What is read is said by --commitment-policy, --legacy, "
        "--instruction-files and --allow-plaintext; all else is refused. A run that was ended is finished by another.",
        epilog="Needs what rewrap needs of S3, of versioned buckets s3:DeleteObjectVersion, kms:Decrypt on the keys "
        "that objects are under now, and kms:GenerateDataKey and kms:Decrypt on the one that they are written under "
        "(--kms-key-id).",
    )
    parser.add_argument("url", metavar="URL", help="an object, or a prefix")
    parser.add_argument(
        "--to",
        choices=("cse", "plain", "sse-s3", "sse-kms"),
        default="cse",
        help="how objects are protected afterwards; all but cse take client-side encryption off (default: cse)",
    )
    parser.add_argument("--parquet", action="store_true", help="make Parquet objects of CSV ones, beside them")
    parser.add_argument("--delete-source", action="store_true", help="with --parquet: delete the CSV once it is proven")
    add_job_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Migrate what the arguments name."""
    from arrowseal.operations import migrate

    given = job_arguments(arguments)
    if arguments.parquet:
        given["format"] = "parquet"
    return told(migrate(arguments.url, to=_goal(arguments), delete_source=arguments.delete_source, **given))


def _goal(arguments: argparse.Namespace) -> Encryption | None:
    from arrowseal.encryption import PLAIN, SSE_KMS, SSE_S3

    match arguments.to:
        case "plain":
            return PLAIN
        case "sse-s3":
            return SSE_S3()
        case "sse-kms":
            return SSE_KMS(key_id(arguments))
        case _:
            return None  # the client's own
