"""`arrowseal kms`: KMS keys from the command, and where the KMS calls went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arrowseal.cli import trail

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def add_commands(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the commands to the subparsers."""
    parser = commands.add_parser("kms", help="make, rotate and retire KMS keys; see where the KMS calls went")
    inner = parser.add_subparsers(metavar="COMMAND", required=True)
    trail.add_command(inner, parents)
