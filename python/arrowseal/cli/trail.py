"""`arrowseal kms trail`: where the KMS calls went, by what CloudTrail recorded."""

from __future__ import annotations

import argparse
import datetime as dt
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arrowseal.cli import DONE, check_writable, say, visible
from arrowseal.cli.uploads import span
from arrowseal.exceptions import ConfigurationError
from arrowseal.text_tables import WIDTH, shortened, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrowseal.trail import Trail

_CELL = 44  # of a caller or a prefix; the end of an ARN says more than its beginning


def add_command(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the command to the subparsers of `kms`."""
    parser = commands.add_parser(
        "trail",
        parents=parents,
        help="who called KMS for which key, bucket and prefix, by CloudTrail",
        description="Read CloudTrail's records of GenerateDataKey, Decrypt and ReEncrypt: who called, for which key, "
        "bucket and prefix, how often, and what data key reuse or bucket keys would have saved.",
        epilog="CloudTrail delivers within some 15 minutes. --lookup needs cloudtrail:LookupEvents, and knows 90 days "
        "of one Region; files may be of any trail: fetch them with `aws s3 sync`.",
    )
    parser.add_argument("files", metavar="FILE", nargs="*", help="records as JSON or .gz, or a directory of them")
    parser.add_argument("--lookup", action="store_true", help="ask CloudTrail (LookupEvents) instead of files")
    parser.add_argument(
        "--since", metavar="WHEN", type=moment, help="only calls from then: 2026-01-31, 2026-01-31T12:00, 24h, 7d"
    )
    parser.add_argument("--until", metavar="WHEN", type=moment, help="only calls before then")
    parser.add_argument(
        "--depth", metavar="N", type=int, default=2, help="directories of a key that make its prefix (default: 2)"
    )
    parser.add_argument("--csv", metavar="FILE", help="write all columns as CSV")
    parser.add_argument("--parquet", metavar="FILE", help="write all columns as Parquet")
    parser.add_argument("--rows", metavar="N", type=int, default=30, help="rows of the table shown (default: 30)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read the records, show and write what they say."""
    from arrowseal.trail import DELAY

    if bool(arguments.files) == arguments.lookup:
        raise ConfigurationError("give either files of CloudTrail's records or --lookup")
    if arguments.depth < 0 or arguments.rows < 0:
        raise ConfigurationError("--depth and --rows are 0 or more")
    check_writable(arguments.csv, arguments.parquet)
    trail = _trail(arguments)
    _write(trail, arguments)
    if not len(trail):
        say(f"no KMS calls are recorded there. {DELAY}")
        return DONE
    for line in _table(trail, arguments.rows):
        print(line)
    for line in _verdict(trail):
        print(line)
    return DONE


def _trail(arguments: argparse.Namespace) -> Trail:
    from arrowseal.aws_services import AwsServices
    from arrowseal.cli.connection import connect_services
    from arrowseal.trail import look_up_trail, read_trail

    told = {"since": arguments.since, "until": arguments.until, "prefix_depth": arguments.depth}
    if not arguments.lookup:
        return read_trail(arguments.files, **told)
    services = AwsServices.of(connect_services(arguments))
    if not services.knows("cloudtrail"):
        raise ConfigurationError("there is no CloudTrail beside this S3: AWS_ENDPOINT_URL_CLOUDTRAIL would name one")
    return services.ask("CloudTrail", lambda: look_up_trail(services.other("cloudtrail"), **told))


def _write(trail: Trail, arguments: argparse.Namespace) -> None:
    if arguments.csv:
        from pyarrow import csv

        with Path(arguments.csv).open("wb") as file:
            csv.write_csv(trail.to_arrow(), file)
    if arguments.parquet:
        from pyarrow import parquet

        with Path(arguments.parquet).open("wb") as file:
            parquet.write_table(trail.to_arrow(), file)


def _table(trail: Trail, most: int) -> list[str]:
    rows = trail.rows()
    header = ["calls", "refused", "API", "caller", "key", "kind", "bucket/prefix", "with reuse", "with bucket key"]
    cells = [
        [
            f"{row['calls']:,}",
            f"{row['refused']:,}" if row["refused"] else "",
            row["api"],
            _end(row["caller"]) + (f" via {row['via'].removesuffix('.amazonaws.com')}" if row["via"] else ""),
            _end(row["kms_key"] or "-"),
            row["kind"],
            shortened(f"{row['bucket']}/{row['prefix'] or ''}" if row["bucket"] else "-", _CELL),
            *("" if row[name] is None else f"{row[name]:,}" for name in ("with_reuse", "with_bucket_key")),
        ]
        for row in rows[:most]
    ]
    cells = [[visible(cell) for cell in row] for row in cells]
    lines = list(table(header, cells, right=[0, 1, 7, 8])) if cells else []
    if len(rows) > most:
        lines.append(f"... and {len(rows) - most:,} more: --rows, --csv or --parquet have them")
    return lines


def _end(arn: str) -> str:
    """An ARN without what is alike in most: `role/analysts`, `key/1234...`."""
    return shortened(arn.rsplit(":", 1)[-1] if arn.startswith("arn:") else arn, _CELL)


def _verdict(trail: Trail) -> list[str]:
    from arrowseal.trail import DELAY, MODEL

    first, last = (f"{event.time:%Y-%m-%d %H:%M:%S}" for event in (trail.events.first, trail.events.last))
    lines = ["", f"{len(trail):,} calls from {first} to {last} UTC."]
    for name, (calls, left) in trail.saved().items():
        if calls:
            lines.append(f"With {name}, {left:,} of {calls:,} would have been left.")
    return [*lines, "", *(line for text in (*MODEL, DELAY) for line in textwrap.wrap(text, WIDTH))]


def moment(text: str) -> dt.datetime:
    """A date, a time (UTC unless it has an offset), or how long ago.

    >>> moment("2026-01-31T12:00").isoformat()
    '2026-01-31T12:00:00+00:00'
    """
    try:
        given = dt.datetime.fromisoformat(text)
    except ValueError:
        try:
            return dt.datetime.now(dt.UTC) - span(text)
        except (argparse.ArgumentTypeError, OverflowError):  # before there were years
            message = f"{text!r} is no time: write 2026-01-31, 2026-01-31T12:00Z, 24h or 7d"
            raise argparse.ArgumentTypeError(message) from None
    return given if given.tzinfo else given.replace(tzinfo=dt.UTC)
