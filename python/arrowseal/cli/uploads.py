"""`arrowseal uploads`: multipart uploads that were never finished, and the sweep that gives their parts back."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any, Final

from arrowseal.cli import DONE, FAILED, describe, say, visible
from arrowseal.cli.connection import connect, list_buckets
from arrowseal.exceptions import ArrowSealError, CredentialsError
from arrowseal.location import locate_prefix
from arrowseal.text_tables import columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrowseal.client import Client
    from arrowseal.store import OpenUpload

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN: Final = re.compile(r"(\d{1,6}(?:\.\d+)?)([smhdw])")
_SWEPT_AFTER: Final = dt.timedelta(hours=24)  # a write that is still going on is younger than that


def add_command(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the command to the subparsers."""
    parser = commands.add_parser(
        "uploads",
        parents=parents,
        help="list or abort multipart uploads that were never finished",
        description="List multipart uploads that were neither completed nor aborted, oldest first: what a killed "
        "writer leaves. No reader sees their parts, but they are stored and paid for. "
        "Without a URL: those in all buckets of the caller.",
        epilog="Needs s3:ListBucketMultipartUploads, and s3:AbortMultipartUpload to abort. A lifecycle rule of the "
        "bucket (AbortIncompleteMultipartUpload) does the same for good.",
    )
    parser.add_argument("url", metavar="URL", nargs="?", help="s3://bucket or s3://bucket/prefix")
    parser.add_argument("--abort", action="store_true", help="abort them; writers that are still at work fail then")
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        type=span,
        help="only those begun so long ago: 90s, 30m, 24h, 7d (default: all; with --abort 24h)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON array")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """List, and abort if asked to."""
    client = connect(arguments)
    prefixes = [locate_prefix(arguments.url or "")] if arguments.url else _all_buckets(client)
    now = dt.datetime.now(dt.UTC)
    at_least = arguments.older_than
    if at_least is None:
        at_least = _SWEPT_AFTER if arguments.abort else dt.timedelta()
    code, found = DONE, []
    for prefix in prefixes:
        try:
            found += [upload for upload in client.uploads(prefix) if _age(upload, now) >= at_least]
        except ArrowSealError as error:
            if len(prefixes) == 1 or isinstance(error, CredentialsError):
                raise
            say(describe(error))  # a bucket of somebody else's, perhaps: the others are looked at all the same
            code = FAILED
    found.sort(key=lambda upload: upload.initiated)
    aborted = [_abort(client, upload) for upload in found] if arguments.abort else []
    if arguments.json:
        rows = [_row(upload, now) for upload in found]
        if arguments.abort:
            rows = [row | {"aborted": done} for row, done in zip(rows, aborted, strict=True)]
        print(json.dumps(rows))
    else:
        word = ("aborted",) if arguments.abort else ()
        shown = [upload for upload, done in zip(found, aborted, strict=True) if done] if arguments.abort else found
        for line in columns([(*word, *_cells(upload, now)) for upload in shown], right=[1 + len(word)]):
            print(line)
    return code if all(aborted) else FAILED


def _all_buckets(client: Client) -> list[Any]:
    return [locate_prefix(f"s3://{name}") for name, _ in list_buckets(client)]


def _abort(client: Client, upload: OpenUpload) -> bool:
    """Whether it is gone. One that fails does not stop the others, unless all would fail."""
    try:
        client.abort_upload(upload)
    except CredentialsError:
        raise
    except ArrowSealError as error:
        say(describe(error))
        return False
    return True


def _age(upload: OpenUpload, now: dt.datetime) -> dt.timedelta:
    return max(now - upload.initiated, dt.timedelta())  # the server's clock may be ahead


def _row(upload: OpenUpload, now: dt.datetime) -> dict[str, Any]:
    return {
        "bucket": upload.location.bucket,
        "key": upload.location.key,
        "upload_id": upload.upload_id,
        "initiated": upload.initiated.isoformat(),
        "age_seconds": int(_age(upload, now).total_seconds()),
    }


def _cells(upload: OpenUpload, now: dt.datetime) -> tuple[str, str, str, str]:
    began = f"{upload.initiated.astimezone():%Y-%m-%d %H:%M:%S}"
    return began, _span_text(_age(upload, now)), visible(str(upload.location)), upload.upload_id


def span(text: str) -> dt.timedelta:
    """`24h` as a span of time.

    >>> span("1.5h"), span("0s")
    (datetime.timedelta(seconds=5400), datetime.timedelta(0))
    """
    match = _SPAN.fullmatch(text)
    if match is None:
        message = f"{text!r} is no span of time: write 90s, 30m, 24h, 7d or 2w"
        raise argparse.ArgumentTypeError(message)
    return dt.timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def _span_text(span: dt.timedelta) -> str:
    """A span of time in its two largest units.

    >>> _span_text(dt.timedelta(hours=25, minutes=3)), _span_text(dt.timedelta(seconds=9))
    ('1d1h', '9s')
    """
    rest = int(span.total_seconds())
    words: list[str] = []
    for unit in "dhms":
        count, rest = divmod(rest, _UNITS[unit])
        if count or (unit == "s" and not words):
            words.append(f"{count}{unit}")
    return "".join(words[:2])
