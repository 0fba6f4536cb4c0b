"""The `arrowseal` command: its arguments, its exit codes and how it tells of errors.

Exit codes: 0 done, 1 something failed, 2 it was asked for wrongly (nothing was done), 130 interrupted, 143 terminated,
129 hung up. Whatever takes time to import is imported by the command that needs it, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from arrowseal import exceptions
from arrowseal.cli.signals import Terminated, ending_by_signals

if TYPE_CHECKING:
    from collections.abc import Sequence

DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_POLICIES = ("REQUIRE_ENCRYPT_REQUIRE_DECRYPT", "REQUIRE_ENCRYPT_ALLOW_DECRYPT", "FORBID_ENCRYPT_ALLOW_DECRYPT")

# Messages name the switch of the library; these are the same switches of the command. The first that fits counts.
_SWITCHES: tuple[tuple[type[exceptions.ArrowSealError], str], ...] = (
    (exceptions.NoKeyError, "--kms-key-id, or the environment variable ARROWSEAL_KMS_KEY_ID"),
    (exceptions.PolicyConflictError, "--format v2 --commitment-policy forbid-encrypt-allow-decrypt"),
    (exceptions.CommitmentPolicyError, "--commitment-policy require-encrypt-allow-decrypt"),
    (exceptions.EncryptionContextError, "--encryption-context NAME=VALUE"),
    (exceptions.NotEncryptedError, "--allow-plaintext"),
    (
        exceptions.UnsupportedFormatError,
        "--legacy wrapping --legacy content --commitment-policy require-encrypt-allow-decrypt, --instruction-files",
    ),
)


_OPTIONS = {
    "profile_name= or session=": "--profile",
    "profile_name=": "--profile",
    "region_name=": "--region",
    "concurrency=": "--concurrency",
    "delete_source=, file_options= and csv_options= go with format='parquet'": "--delete-source goes with --parquet",
    "Client.list": "`arrowseal ls`",
}
# Apart, so that it is no partition in the name of an object.
_ARGUMENT = re.compile(rf"(?<!\S)({'|'.join(map(re.escape, _OPTIONS))})(?![^\s,.:;])")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, those of the process by default, and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    command: list[str] = []
    if words[:1] == ["local"] and "--" in words:
        cut = words.index("--")
        words, command = words[:cut], words[cut + 1 :]
        if not command:
            words.append("--")  # argparse then says what is missing
    _speak_of_everything()
    with warnings.catch_warnings():
        warnings.showwarning = _say_warning
        return _run(words, command)


def _run(words: list[str], command: list[str]) -> int:
    try:
        arguments = _parser().parse_args(words)
        arguments.command = command
        with ending_by_signals():
            code = int(arguments.run(arguments))
        if sys.stdout is not None:  # as it is for a process that was started without one (`>&-`)
            sys.stdout.flush()  # a closed pipe shows here rather than at the exit of the interpreter
    except SystemExit as stop:  # argparse: 0 after --help, 2 after a wrong argument
        return stop.code if isinstance(stop.code, int) else MISUSED
    except Terminated as ended:
        return 128 + ended.number  # as shells have it
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough. Python would complain once more when it flushes at exit.
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (exceptions.ArrowSealError, OSError) as error:
        say(describe(error))
        misused = isinstance(error, exceptions.ConfigurationError) and not isinstance(error, ImportError)
        return MISUSED if misused else FAILED
    return code


def _speak_of_everything() -> None:
    """Names that standard output has no characters for are escaped there, as they are on standard error: it may know
    ASCII only, and a name that cannot be printed must not end what is being done.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _say_warning(
    message: Warning | str,
    category: type[Warning],  # noqa: ARG001 - as Python calls it
    filename: str,  # noqa: ARG001
    lineno: int,  # noqa: ARG001
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    """A warning in one line, without the line of the source that gave it."""
    say(" ".join(str(message).split()))


def say(message: str) -> None:
    """One line on standard error, with the name of the command."""
    if sys.stderr is not None:  # as it may be; print would take standard output for it
        print(f"arrowseal: {visible(message)}", file=sys.stderr, flush=True)


def visible(text: str) -> str:
    r"""The text as one line that does nothing to a terminal: whoever writes a bucket chooses the names in it.

    >>> print(visible("2013\n\x1b[2Jflights"))
    2013\n\x1b[2Jflights
    """
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def opened(stream: TextIO | None, name: str) -> TextIO:
    """Standard input or output. Raises `ConfigurationError` if the process was started without it."""
    if stream is None:
        raise exceptions.ConfigurationError(f"standard {name} is closed: name a file in place of -, or leave it open")
    return stream


def check_writable(*paths: str | None) -> None:
    """Raise the `OSError` of a file that cannot be written before there is anything to write. Leaves all as it is."""
    for path in map(Path, filter(None, paths)):
        there = path.exists()
        path.open("ab").close()
        if not there:
            path.unlink()


def describe(error: Exception) -> str:
    """An error in one line, with the switch of the command that would change the outcome."""
    if isinstance(error, OSError) and not isinstance(error, exceptions.ArrowSealError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    line = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, exceptions.ArrowSealError):
        return with_switch(line, type(error))
    return line


def with_switch(line: str, kind: type[exceptions.ArrowSealError]) -> str:
    """The text of an error of that kind, with the switch of the command that would change the outcome."""
    line = with_options(line)
    switch = next((switch for one, switch in _SWITCHES if issubclass(kind, one)), None)
    return line if switch is None else f"{line} [here: {switch}]"


def with_options(line: str) -> str:
    """The text with options of the command where it names arguments of the library.

    >>> with_options("give region_name=, or set AWS_DEFAULT_REGION")
    'give --region, or set AWS_DEFAULT_REGION'
    """
    return _ARGUMENT.sub(lambda found: _OPTIONS[found[1]], line)


def _parser() -> argparse.ArgumentParser:
    from arrowseal.cli import bench, bucket, demo, doctor, emr, kms, local, migrate, objects, rewrap, uploads

    parser = argparse.ArgumentParser(
        prog="arrowseal",
        description="Read and write client-side encrypted S3 objects.",
        epilog="`arrowseal COMMAND --help` tells more. Credentials, region and endpoints are those of boto3.",
    )
    parser.add_argument("--version", action="version", version=f"arrowseal {_version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    where = [_connection_options()]
    options = [_encryption_options(), *where]
    objects.add_commands(commands, options)
    uploads.add_command(commands, options)
    rewrap.add_command(commands, options)
    migrate.add_command(commands, options)
    kms.add_commands(commands, where)
    bucket.add_command(commands, where)
    doctor.add_command(commands, options)
    local.add_command(commands)
    demo.add_command(commands)
    bench.add_command(commands)
    emr.add_command(commands)
    return parser


def _encryption_options() -> argparse.ArgumentParser:
    """The options of all commands that seal and open objects."""
    parser = argparse.ArgumentParser(add_help=False)
    keys = parser.add_argument_group("encryption")
    keys.add_argument(
        "--kms-key-id", metavar="KEY", help="id, ARN or alias of the KMS key (default: ARROWSEAL_KMS_KEY_ID)"
    )
    keys.add_argument("--format", type=str.lower, choices=("v3", "v2"), default="v3", help="of objects written")
    keys.add_argument(
        "--encryption-context",
        metavar="NAME=VALUE",
        type=_context_entry,
        action="append",
        default=[],
        help="bound to the object on write, compared on read; repeatable",
    )
    keys.add_argument(
        "--commitment-policy",
        metavar="POLICY",
        type=lambda text: text.upper().replace("-", "_"),
        choices=_POLICIES,
        help=f"one of {', '.join(_POLICIES)}, in any case, with - or _ (default: the first)",
    )
    keys.add_argument("--allow-plaintext", action="store_true", help="also read objects without client-side encryption")
    keys.add_argument(
        "--legacy",
        choices=("wrapping", "content"),
        action="append",
        default=[],
        help="also read old wraps of data keys, or AES-CBC, which proves nothing; repeatable",
    )
    keys.add_argument(
        "--instruction-files",
        metavar="SUFFIX",
        nargs="?",
        const=True,
        default=False,
        help="also objects whose data key lies in an instruction file (default suffix: .instruction)",
    )
    return parser


def _connection_options() -> argparse.ArgumentParser:
    """The options of all commands that talk to S3 and KMS."""
    parser = argparse.ArgumentParser(add_help=False)
    where = parser.add_argument_group("connection")
    where.add_argument("--endpoint-url", metavar="URL", help="of S3, and of KMS unless that is told apart")
    where.add_argument("--kms-endpoint-url", metavar="URL", help="of KMS (default: AWS_ENDPOINT_URL_KMS)")
    where.add_argument("--profile", metavar="NAME", help="of the AWS configuration")
    where.add_argument("--region", metavar="NAME", help="of S3 and KMS")
    return parser


def _context_entry(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        # Not repeated in the message: it may be the value of a context.
        raise argparse.ArgumentTypeError("an entry of an encryption context is written NAME=VALUE")
    return name, value


def _version() -> str:
    try:
        return metadata.version("arrowseal")
    except metadata.PackageNotFoundError:
        return "(not installed)"
