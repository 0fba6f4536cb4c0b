"""`arrowseal rewrap`: another key for the objects of a prefix without touching their content."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from arrowseal.cli import DONE, FAILED, say, with_switch
from arrowseal.cli.connection import connect
from arrowseal.exceptions import ConfigurationError
from arrowseal.progress import attached
from arrowseal.suites import ANY
from arrowseal.text_tables import columns

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from arrowseal.operations.report import JobReport


def add_command(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the command to the subparsers."""
    parser = commands.add_parser(
        "rewrap",
        parents=parents,
        help="change the KMS key of objects without touching their content",
        description="Wrap the data keys of an object, or of all under a prefix, under another KMS key: KMS ReEncrypt "
        "once for each distinct data key, then a copy in place with new metadata. --kms-key-id (and --decrypt-key-id) "
        "name the keys that they are under now. A run that was ended is finished by another one.",
        epilog="Needs s3:GetObject, s3:GetObjectAcl, s3:GetObjectTagging, s3:PutObject, s3:PutObjectTagging, "
        "s3:PutObjectAcl where lists are not the owner's alone, s3:DeleteObject for what is made to see whether "
        "conditions are honoured, kms:ReEncryptFrom on the old key and kms:ReEncryptTo on the new one.",
    )
    parser.add_argument("url", metavar="URL", help="an object, or a prefix")
    parser.add_argument("--to-key", metavar="KEY", required=True, help="the new KMS key: id, ARN or alias")
    parser.add_argument(
        "--share", metavar="SUFFIX", help="put another instruction file beside the one that is there, for somebody else"
    )
    add_job_options(parser)
    parser.set_defaults(run=run)


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """The options of commands that work on all objects of a prefix."""
    parser.add_argument("--dry-run", action="store_true", help="tell what would be done; no KMS call, nothing written")
    parser.add_argument("--report", metavar="FILE", help="append a line of JSON for each object when it is known")
    parser.add_argument("--resume", action="store_true", help="go on from what FILE says an earlier run did")
    parser.add_argument("--concurrency", metavar="N", type=int, help="objects at work at a time")
    parser.add_argument(
        "--decrypt-key-id", metavar="KEY", action="append", default=[], help="another key to read under"
    )
    parser.add_argument("--any-context", action="store_true", help="accept whatever encryption context objects name")
    parser.add_argument("--no-acl", action="store_true", help="do not ask for access control lists, nor keep them")
    parser.add_argument(
        "--unconditional",
        action="store_true",
        help="also where the server ignores conditions on writes: what others write meanwhile may be lost",
    )
    parser.add_argument("--no-progress", action="store_true", help="no bar (shown on terminals only)")


def job_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments that commands on all objects of a prefix share."""
    if arguments.resume and not arguments.report:
        raise ConfigurationError("--resume goes on from the file that --report names: name it")
    client = connect(arguments).replace(decrypt_key_ids=arguments.decrypt_key_id)
    given = {
        "client": client,
        "dry_run": arguments.dry_run,
        "report": arguments.report,
        "resume": arguments.report if arguments.resume else None,
        "progress": not arguments.no_progress and attached() and find_spec("tqdm") is not None,
        "encryption_context": ANY if arguments.any_context else None,
        "keep_acl": not arguments.no_acl,
        "unconditional": arguments.unconditional,
    }
    if arguments.concurrency is not None:
        given["concurrency"] = arguments.concurrency
    return given


def run(arguments: argparse.Namespace) -> int:
    """Rewrap what the arguments name."""
    from arrowseal.operations import rewrap

    given = job_arguments(arguments)
    return told(rewrap(arguments.url, to_key=arguments.to_key, instruction_file=arguments.share, **given))


def told(report: JobReport) -> int:
    """Say what was done, each trouble on standard error, and return the exit code."""
    for result in report.results:
        if result.state in ("refused", "changed", "failed"):
            named = result.reason.startswith(f"{result.location}: ")  # some are about what lies beside the object
            reason = result.reason if named else f"{result.location}: {result.reason}"
            say(f"{result.state}: {reason if result.error is None else with_switch(reason, result.error)}")
        elif result.not_kept:
            say(f"{result.location}: the server did not keep {result.not_kept}")
    summary = report.summary()
    calls = summary.pop("kms_calls", {})
    rows = [(name.replace("_", " "), f"{value:,}") for name, value in summary.items()]
    rows += [(f"KMS {api}", f"{count:,}") for api, count in calls.items()]
    for line in columns(rows, right=[1]):
        print(line)
    if report.count("done"):
        print(report.caution)
    return DONE if report.ok else FAILED
