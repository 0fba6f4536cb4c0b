"""The commands on objects: `cp`, `cat`, `ls`, `head` and `index`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from arrowseal.cli import DONE, FAILED, copy, describe, say, sse, visible
from arrowseal.cli.connection import connect, list_buckets
from arrowseal.exceptions import ArrowSealError, ConfigurationError
from arrowseal.location import locate, locate_prefix
from arrowseal.text_tables import columns

if TYPE_CHECKING:
    import argparse
    import datetime as dt
    from collections.abc import Sequence


def add_commands(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the commands to the subparsers."""
    cp = commands.add_parser(
        "cp", parents=parents, help="copy files and objects", description="Copy a file or object; - is a stream."
    )
    cp.add_argument("source", metavar="SRC", help="a file, an s3:// URL, or - for standard input")
    cp.add_argument("target", metavar="DST", help="a file, an s3:// URL, or - for standard output")
    cp.add_argument("--recursive", action="store_true", help="everything below a directory or prefix")
    sse.add_options(cp)
    cp.add_argument("--quiet", action="store_true", help="print errors only")
    cp.add_argument("--no-progress", action="store_true", help="print lines, no bar (shown on terminals only)")
    cp.set_defaults(run=copy.run)

    cat = commands.add_parser("cat", parents=parents, help="write objects to standard output")
    cat.add_argument("urls", metavar="URL", nargs="+")
    sse.add_customer_key(cat)
    cat.set_defaults(run=_cat)

    ls = commands.add_parser(
        "ls",
        parents=parents,
        help="list buckets, or objects and prefixes",
        description="List buckets, or the objects (time, stored size, name) and prefixes (PRE) under a URL.",
    )
    ls.add_argument("url", metavar="URL", nargs="?")
    ls.add_argument("--recursive", action="store_true", help="all objects below, with their whole keys")
    ls.add_argument("--human-readable", action="store_true", help="sizes in KiB, MiB, ...")
    ls.add_argument("--summarize", action="store_true", help="number and size of the objects at the end")
    ls.add_argument(
        "--encryption",
        action="store_true",
        help="how each object is encrypted, which listings do not tell: one more request for each (HEAD)",
    )
    ls.set_defaults(run=_ls)

    head = commands.add_parser("head", parents=parents, help="show how an object is encrypted, without reading it")
    head.add_argument("url", metavar="URL")
    head.add_argument("--json", action="store_true", help="one JSON object")
    sse.add_customer_key(head)
    head.set_defaults(run=_head)

    index = commands.add_parser(
        "index",
        parents=parents,
        help="make parts of objects readable on their own",
        description="Read each object as a whole, prove it, and put a segment index beside it: then its ranges are "
        "read and proven on their own. Objects that arrowseal wrote in parts have one.",
    )
    index.add_argument("urls", metavar="URL", nargs="+")
    index.add_argument("--recursive", action="store_true", help="all objects below that take more than one part")
    index.set_defaults(run=_index)


def _cat(arguments: argparse.Namespace) -> int:
    client, arm = connect(arguments), sse.customer_key(arguments)
    code = DONE
    for location in [locate(url) for url in arguments.urls]:
        try:
            content = client.get(location, encryption=arm)
        except ConfigurationError:
            raise  # the others would fail alike
        except ArrowSealError as error:
            say(describe(error))
            code = FAILED
        else:
            copy.write_stdout(content)
    return code


def _ls(arguments: argparse.Namespace) -> int:
    client = connect(arguments)
    url = arguments.url or "s3://"
    url = url if "://" in url else f"s3://{url}"  # `ls bucket` is a habit too
    if url == "s3://":
        for name, created in list_buckets(client):
            print(f"{_local_time(created)} {name}")
        return DONE
    prefix = locate_prefix(url)
    asked = arguments.encryption
    rows = client.list(prefix, delimiter=None if arguments.recursive else "/", encryption=asked)
    cut = 0 if arguments.recursive else prefix.key.rfind("/") + 1
    size = _binary_size if arguments.human_readable else str
    for row in rows:
        name = visible(row.location.key[cut:])
        how = f" {sse.shown(row):<20}" if asked else ""
        print(
            f"{'PRE':>30}{' ' * len(how)} {name}"
            if row.is_prefix
            else f"{_local_time(row.last_modified)} {size(row.stored_bytes):>10}{how} {name}"
        )
    if arguments.summarize:
        objects = [row for row in rows if not row.is_prefix]
        print(f"\nTotal Objects: {len(objects)}\n   Total Size: {size(sum(row.stored_bytes for row in objects))}")
    return DONE if rows or not prefix.key else FAILED


def _binary_size(count: int) -> str:
    """As the aws command writes sizes: `1 Byte`, `512 Bytes`, `1.5 KiB`."""
    if count < 1024:
        return f"{count} Byte" if count == 1 else f"{count} Bytes"
    power = min((count.bit_length() - 1) // 10, 5)
    return f"{count / 1024**power:.1f} {'KMGTP'[power - 1]}iB"


def _local_time(moment: dt.datetime | None) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}" if moment else " " * 19


def _head(arguments: argparse.Namespace) -> int:
    row = connect(arguments).head(arguments.url, encryption=sse.customer_key(arguments)).as_dict()
    if arguments.json:
        print(json.dumps(row, default=str))
        return DONE
    for line in columns([(name.replace("_", " "), visible(_shown(value))) for name, value in row.items()]):
        print(line)
    return DONE


def _index(arguments: argparse.Namespace) -> int:
    client, code = connect(arguments), DONE
    if arguments.recursive:
        rows = [row for url in arguments.urls for row in client.list(locate_prefix(url))]
        places = [row.location for row in rows if row.stored_bytes > client.options.transfer.part_bytes]
    else:
        places = [locate(url) for url in arguments.urls]
    for location in places:
        try:
            client.index(location)
        except ConfigurationError:
            raise  # the others would fail alike
        except ArrowSealError as error:
            say(describe(error))
            code = FAILED
        else:
            print(visible(f"index: {location}"), flush=True)
    return code


def _shown(value: Any) -> str:
    match value:
        case None | [] | ():
            return "-"
        case list() | tuple():
            return ", ".join(map(str, value))
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case _:
            return str(value)
