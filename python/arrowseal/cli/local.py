"""`arrowseal local`: embedded S3 and KMS, until interrupted or for the time of one command."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from arrowseal.cli import DONE, say

if TYPE_CHECKING:
    import argparse

    from arrowseal.local import LocalServers

# Settings that would win over, or be mixed with, those of the servers.
FOREIGN = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_ENDPOINT_URL")
CHECK_SECONDS = 0.5
NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as shells have it


def add_command(commands: Any) -> None:
    """Add `local` to the subparsers."""
    parser = commands.add_parser(
        "local",
        help="run an S3 and a KMS on 127.0.0.1",
        usage="arrowseal local [options] [-- COMMAND ...]",
        description="Start an S3 and a KMS on 127.0.0.1 with a bucket and a key, print the environment variables that "
        "point other tools at them, and keep them until Ctrl-C; or run COMMAND with those variables and leave with it. "
        "Nothing is kept.",
    )
    parser.add_argument(
        "--s3", choices=("moto", "seaweedfs"), default="moto", help="which S3: quick moto (default), or a real one"
    )
    parser.add_argument("--bucket", default="arrowseal", help="default: %(default)s")
    parser.add_argument("--alias", default="alias/arrowseal", help="of the KMS key (default: %(default)s)")
    parser.add_argument("--region", default="us-east-1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=0, help="of S3 (default: a free one)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Start the servers and keep them as long as they are wanted."""
    from arrowseal.local import LocalServers

    ended = threading.Event()
    _on_termination(ended)
    with LocalServers(
        s3=arguments.s3,
        bucket=arguments.bucket,
        alias=arguments.alias,
        port=arguments.port,
        region=arguments.region,
    ) as servers:
        if arguments.command:
            return _run_command(arguments.command, servers)
        print(_exports(servers), flush=True)
        with suppress(KeyboardInterrupt):  # that is how it is meant to end
            while not ended.wait(CHECK_SECONDS):
                servers.check()
    return DONE


def _on_termination(ended: threading.Event) -> None:
    """SIGTERM and a closed terminal end the command like Ctrl-C, so that the servers are stopped."""

    def interrupt(*_: object) -> None:
        if not ended.is_set():
            ended.set()
            raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)
        signal.signal(signal.SIGHUP, interrupt)


def _exports(servers: LocalServers) -> str:
    lines = [
        f"# {servers.s3} S3 at {servers.s3_endpoint}, KMS at {servers.kms_endpoint}, bucket {servers.bucket}, "
        f"key {servers.kms_alias}",
        "# Paste this into another shell; Ctrl-C here ends the servers.",
    ]
    foreign = [name for name in FOREIGN if name in os.environ]
    if foreign:
        lines.append(f"unset {' '.join(foreign)}")
    lines += [f"export {name}={shlex.quote(value)}" for name, value in servers.environ.items()]
    return "\n".join(lines)


def _run_command(command: list[str], servers: LocalServers) -> int:
    """Run a command on the servers; its exit code, 128 and the signal's number if one ended it."""
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN} | servers.environ
    if sys.stdout is not None:
        sys.stdout.flush()
    try:
        process = subprocess.Popen(command, env=environment)  # noqa: S603 - what the user asked for
    except FileNotFoundError:
        say(f"{command[0]}: no such command")
        return NOT_FOUND
    except OSError as error:
        say(f"{command[0]}: {error.strerror}")
        return NOT_EXECUTABLE
    # Ctrl-C reaches the command as well, which decides what it means; SIGTERM reaches only us.
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
    }
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code
