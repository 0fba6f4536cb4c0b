"""`arrowseal emr config`: what engines need to read and write the same objects, as text to paste."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from arrowseal.cli import DONE, say
from arrowseal.emr import Engine, EngineSettings, Protection, settings
from arrowseal.exceptions import ConfigurationError

if TYPE_CHECKING:
    import argparse


def add_command(commands: Any) -> None:
    """Add `emr` to the subparsers."""
    parser = commands.add_parser("emr", help="settings of Spark, S3A, EMRFS and Glue for the same objects")
    below = parser.add_subparsers(metavar="COMMAND", required=True)
    config = below.add_parser(
        "config",
        help="print the settings of an engine",
        description="Print settings that make an engine read and write the objects that are written here: as text to "
        "paste on standard output, and what the engine cannot read on standard error. Sends nothing.",
    )
    config.add_argument(
        "--for", dest="protection", choices=get_args(Protection), required=True, help="how objects are encrypted"
    )
    config.add_argument("--engine", choices=get_args(Engine), help="default: all of them")
    config.add_argument("--kms-key-id", metavar="KEY", help="ARN, id or alias of the KMS key")
    config.add_argument("--region", metavar="NAME", help="of the KMS key, if it is not that of the bucket")
    config.add_argument("--bucket", metavar="NAME", help="only for this bucket (default: for all)")
    config.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the settings of one engine, or of each that has them under a heading of its own."""
    if arguments.engine is not None:
        _show(_settings(arguments, arguments.engine))
        return DONE
    refused: list[tuple[Engine, ConfigurationError]] = []
    shown = 0
    for engine in get_args(Engine):
        try:
            found = _settings(arguments, engine)
        except ConfigurationError as error:
            refused.append((engine, error))
            continue
        print(f"{chr(10) if shown else ''}==> {engine}: {found.file_name} <==")
        _show(found)
        shown += 1
    if not shown:
        raise refused[0][1]
    for engine, refusal in refused:
        say(f"{engine}: {refusal}")
    return DONE


def _settings(arguments: argparse.Namespace, engine: Engine) -> EngineSettings:
    return settings(
        arguments.protection,
        engine,
        kms_key_id=arguments.kms_key_id,
        region=arguments.region,
        bucket=arguments.bucket,
    )


def _show(found: EngineSettings) -> None:
    print(found.text, flush=True)
    for note in found.notes:
        say(f"{found.engine}: {note}")
