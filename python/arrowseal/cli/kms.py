"""`arrowseal kms`: KMS keys are made, rotated and retired; `trail` tells where the KMS calls went."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arrowseal.cli import DONE, FAILED, check_writable, say, trail, visible
from arrowseal.cli.connection import connect_services
from arrowseal.exceptions import ConfigurationError
from arrowseal.text_tables import columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arrowseal.operations.key_users import KeyUsers
    from arrowseal.operations.kms_keys import KeyState

_SHOWN = 20  # objects that still need a key


def add_commands(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the commands to the subparsers."""
    parser = commands.add_parser("kms", help="make, rotate and retire KMS keys; see where the KMS calls went")
    inner = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_create(inner, parents)
    _add_rotate(inner, parents)
    _add_retire(inner, parents)
    trail.add_command(inner, parents)


def _add_create(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    create = commands.add_parser(
        "create",
        parents=parents,
        help="make a key with an alias and a policy of least privilege",
        description="Make a symmetric KMS key, and print its ARN. With readers and writers, they alone may seal and "
        "open under it (kms:GenerateDataKey, kms:Decrypt), and its administrators may change that; without, the IAM "
        "policies of the account decide.",
        epilog="Needs kms:CreateKey, kms:CreateAlias, kms:PutKeyPolicy, kms:EnableKeyRotation, kms:DescribeKey and "
        "with tags kms:TagResource. A multi-Region key is copied to others by `aws kms replicate-key`.",
    )
    create.add_argument("alias", metavar="ALIAS", help="alias/NAME: what the key is called")
    for name, what in (
        ("reader", "may read objects (kms:Decrypt)"),
        ("writer", "may write objects (kms:GenerateDataKey)"),
        ("rewrapper", "may move objects to and from the key (kms:ReEncryptFrom, kms:ReEncryptTo)"),
        ("administrator", "may change the key, and read nothing (default: the account, by its IAM policies)"),
    ):
        create.add_argument(
            f"--{name}", metavar="ARN", action="append", default=[], help=f"a role or user that {what}; repeatable"
        )
    create.add_argument(
        "--require-context",
        metavar="NAME=VALUE",
        type=_entry,
        action="append",
        default=[],
        help="an entry of the encryption context that each use must have; repeatable",
    )
    create.add_argument("--description", default="arrowseal", help="default: %(default)s")
    create.add_argument("--tag", metavar="NAME=VALUE", type=_entry, action="append", default=[], help="repeatable")
    rotation = create.add_mutually_exclusive_group()
    rotation.add_argument(
        "--rotation-days", metavar="DAYS", type=int, default=365, help="between automatic rotations (default: 365)"
    )
    rotation.add_argument("--no-rotation", action="store_true", help="without automatic rotation")
    create.add_argument("--multi-region", action="store_true", help="a key that can have replicas in other Regions")
    create.add_argument("--show-policy", action="store_true", help="print the key policy, and make nothing")
    create.set_defaults(run=_create)


def _add_rotate(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    rotate = commands.add_parser(
        "rotate",
        parents=parents,
        help="rotate a key now or by itself; show when it was",
        description="Show a key and its rotations, switch automatic rotation on or off, or rotate now. KMS keeps the "
        "old material for what was wrapped under it: no object has to be rewrapped, and old ones stay as they are.",
        epilog="Another key, instead of new material of this one, is a matter of `arrowseal rewrap`.",
    )
    rotate.add_argument("key", metavar="KEY", help="id, ARN or alias")
    switch = rotate.add_mutually_exclusive_group()
    switch.add_argument("--on", dest="automatic", action="store_true", default=None, help="rotate by itself")
    switch.add_argument("--off", dest="automatic", action="store_false", help="do not")
    rotate.add_argument("--period-days", metavar="DAYS", type=int, help="between automatic rotations: 90 to 2560")
    rotate.add_argument("--now", action="store_true", help="rotate on demand")
    rotate.add_argument("--json", action="store_true", help="one JSON object")
    rotate.set_defaults(run=_rotate)


def _add_retire(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    retire = commands.add_parser(
        "retire",
        parents=parents,
        help="which objects still need a key; delete the key if none does",
        description="List what under the given URLs still needs a key, old versions included. S3 names the key of "
        "SSE-KMS; client-side encrypted objects name none, so KMS is asked to decrypt each distinct wrapped data key "
        "under it. What that does not settle counts as needed. Exit code 1 if anything does.",
        epilog="Other buckets, copies, backups and replicas are not looked at: name every place where the key may have "
        "been used, or see `arrowseal kms trail` for who still uses it.",
    )
    retire.add_argument("key", metavar="KEY", help="id, ARN or alias")
    retire.add_argument("urls", metavar="URL", nargs="+", help="s3://bucket or s3://bucket/prefix")
    retire.add_argument("--dry-run", action="store_true", help="count what would be asked of KMS; ask nothing of it")
    retire.add_argument(
        "--schedule-deletion",
        metavar="DAYS",
        type=int,
        help="if nothing needs the key: disable it, and have KMS delete it after 7 to 30 days",
    )
    retire.add_argument("--parquet", metavar="FILE", help="write all objects that need it as Parquet")
    retire.add_argument("--json", action="store_true", help="one JSON object with all of them")
    retire.set_defaults(run=_retire)


def _create(arguments: argparse.Namespace) -> int:
    from arrowseal.operations.kms_keys import NewKey, create_key

    wanted = NewKey(
        alias=arguments.alias,
        description=arguments.description,
        administrators=arguments.administrator,
        readers=arguments.reader,
        writers=arguments.writer,
        rewrappers=arguments.rewrapper,
        encryption_context=_entries(arguments.require_context, "--require-context"),
        rotation_days=None if arguments.no_rotation else arguments.rotation_days,
        tags=_entries(arguments.tag, "--tag"),
        multi_region=arguments.multi_region,
    )
    if arguments.show_policy:
        policy = wanted.policy("arn:aws:iam::ACCOUNT:root")
        print(json.dumps(policy, indent=2) if policy else "AWS's own: the IAM policies of the account decide")
        return DONE
    print(create_key(wanted, connect_services(arguments)).arn)
    return DONE


def _rotate(arguments: argparse.Namespace) -> int:
    from arrowseal.operations.kms_keys import rotate_key

    state = rotate_key(
        arguments.key,
        connect_services(arguments),
        automatic=arguments.automatic,
        days=arguments.period_days,
        on_demand=arguments.now,
    )
    if arguments.json:
        print(json.dumps(asdict(state), default=str))
        return DONE
    for line in _described(state):
        print(line)
    return DONE


def _retire(arguments: argparse.Namespace) -> int:
    from arrowseal.operations.key_users import key_users, retire_key

    days = arguments.schedule_deletion
    if days is not None and not 7 <= days <= 30:
        raise ConfigurationError("--schedule-deletion takes 7 to 30 days")
    if arguments.dry_run and days is not None:
        raise ConfigurationError("give --dry-run or --schedule-deletion, not both")
    check_writable(arguments.parquet)
    client = connect_services(arguments)
    users = key_users(arguments.key, arguments.urls, client, dry_run=arguments.dry_run)
    if arguments.parquet:
        from pyarrow import parquet

        with Path(arguments.parquet).open("wb") as file:
            parquet.write_table(users.to_arrow(), file)
    state = retire_key(users, days, client) if users.free and days is not None else users.key
    if arguments.json:
        told = {"key": asdict(state), "objects": users.objects, "distinct_wrapped_keys": users.wrapped_keys}
        told |= {"tried": users.tried, "needed_by": users.to_arrow().to_pylist(), "default_of": users.defaults}
        print(json.dumps(told, default=str))
    else:
        for line in (*_found(users), *_verdict(users, state, days)):
            print(line)
    if state.aliases and state.deletion:
        say(f"{', '.join(state.aliases)} still names the key: who writes under it fails now")
    return DONE if users.free or arguments.dry_run else FAILED


def _described(state: KeyState) -> list[str]:
    def told(value: Any) -> str:
        return "not told" if value is None else str(value)

    aliases = None if state.aliases is None else ", ".join(state.aliases) or "-"
    rows = [("key", state.arn), ("state", state.state), ("aliases", told(aliases))]
    rows.append(("multi-Region", "yes" if state.multi_region else "no"))
    by_itself = {True: "on", False: "off", None: "not told"}[state.rotation]
    every = f", all {state.rotation_days} days" if state.rotation and state.rotation_days else ""
    rows.append(("automatic rotation", by_itself + every))
    if state.rotation:
        rows.append(("next rotation", told(state.next_rotation)))
    if state.rotations is not None:
        rows.append(("rotated", ", ".join(map(str, state.rotations)) or "never"))
    if state.deletion:
        rows.append(("deletion", str(state.deletion)))
    return list(columns(rows))


def _found(users: KeyUsers) -> list[str]:
    lines = [f"{users.key.arn} ({users.key.state})"]
    looked = f"{users.objects:,} objects under {', '.join(users.prefixes)}"
    lines.append(f"{looked}, distinct wrapped data keys: {users.wrapped_keys:,}")
    if not users.tried:
        lines.append(f"Decrypt calls that would tell which of these are under the key: {users.wrapped_keys:,}")
    cells = [
        (
            visible(str(row.location)) + (f" (version {row.version_id})" if row.version_id else ""),
            row.encryption,
            row.need,
            row.why,
        )
        for row in users.rows[:_SHOWN]
    ]
    lines += columns(cells) if cells else []
    if len(users.rows) > _SHOWN:
        lines.append(f"... and {len(users.rows) - _SHOWN:,} more: --json or --parquet have them")
    return lines + [f"s3://{bucket}: encrypted under the key by default" for bucket in users.defaults]


def _verdict(users: KeyUsers, state: KeyState, days: int | None) -> list[str]:
    if not users.tried:
        return []
    if state.deletion:
        return [f"Nothing of it needs the key. It is disabled, and deleted on {state.deletion:%Y-%m-%d}."]
    if users.free:
        words = shlex.join(["arrowseal", "kms", "retire", state.arn, *users.prefixes, "--schedule-deletion", "30"])
        return ["Nothing of it needs the key.", *([] if days else [f"To delete it after 30 days: {words}"])]
    lines = [f"{len(users.rows):,} of them need the key, or may."]
    if any(row.encryption.startswith("CSE") and row.version_id is None for row in users.rows):
        told = ["arrowseal", "rewrap", "URL", "--to-key", "NEW-KEY", "--kms-key-id", state.arn]
        lines += [shlex.join([prefix if word == "URL" else word for word in told]) for prefix in users.prefixes]
    if any(row.encryption == "SSE-KMS" and row.version_id is None for row in users.rows):
        lines.append("SSE-KMS: arrowseal cp URL URL --encryption sse-kms --kms-key-id NEW-KEY")
    if any(row.version_id for row in users.rows):
        lines.append("Old versions stay under the key: a lifecycle rule (NoncurrentVersionExpiration) ends them.")
    if users.defaults:
        lines += [f"arrowseal bucket set s3://{bucket} --default sse-kms --key NEW-KEY" for bucket in users.defaults]
    return lines


def _entry(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError("is written NAME=VALUE")
    return name, value


def _entries(given: list[tuple[str, str]], option: str) -> dict[str, str]:
    entries = dict(given)
    if len(entries) < len(given):
        raise ConfigurationError(f"{option} gives a name twice")
    return entries
