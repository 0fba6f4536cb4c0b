"""`arrowseal doctor`: whether this machine and caller can read and write, and what is missing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from arrowseal.cli import DONE, FAILED, with_options
from arrowseal.cli.connection import connect

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def add_command(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the command to the subparsers."""
    parser = commands.add_parser(
        "doctor",
        parents=parents,
        help="check credentials, clock, bucket, key and each permission",
        description="Check what reads and writes need: credentials, endpoint, clock, bucket, KMS key and each "
        "permission, one line for each, with what to do. Under URL a small object is written and deleted again, if "
        "both may be done; nothing is left behind. Exit code 1 if something is missing that is needed.",
    )
    parser.add_argument("url", metavar="URL", nargs="?", help="s3://bucket or s3://bucket/prefix/")
    parser.add_argument(
        "--for",
        dest="purpose",
        choices=("read", "write", "both"),
        default="both",
        help="what is needed: to read, to write, or both (default)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Examine, and tell."""
    from arrowseal.operations.doctor import examine

    found = examine(arguments.url, client=connect(arguments), purpose=arguments.purpose)
    if arguments.json:
        print(json.dumps({"healthy": found.healthy, "checks": found.rows()}))
        return DONE if found.healthy else FAILED
    for check in found:
        optional = "" if check.needed or check.outcome == "ok" else " (optional)"
        print(f"{check.outcome + optional:<22}  {check.name:<23}  {with_options(check.detail)}".rstrip())
        if check.way_out:
            print(f"{'':<22}  -> {check.way_out}")
    missing = sum(check.needed and check.outcome == "missing" for check in found)
    print("Nothing that is needed is missing." if found.healthy else f"{missing} of what is needed is missing.")
    return DONE if found.healthy else FAILED
