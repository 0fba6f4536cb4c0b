"""Objects of any format, and plain ones, become objects of another protection where they are; content stays equal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from arrowseal.defaults import client_of
from arrowseal.encryption import CSE, SSE_KMS, Plain
from arrowseal.exceptions import ConfigurationError
from arrowseal.location import ObjectLocation, locate_prefix
from arrowseal.operations.jobs import JobOptions, objects_of, run_job
from arrowseal.operations.migrated_objects import Migration
from arrowseal.operations.report import JobReport
from arrowseal.tables.formats import TableFormat

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from arrowseal.client import Client
    from arrowseal.encryption import Encryption
    from arrowseal.legacy import Legacy
    from arrowseal.location import Url
    from arrowseal.operations.report import Resume
    from arrowseal.progress import ProgressOption
    from arrowseal.suites import AnyContext, Format

_AT_A_TIME: Final = 8


@dataclass(frozen=True, repr=False)
class MigrateReport(JobReport):
    """What a migration did, or would do: a row for each object."""

    job: ClassVar[str] = "migrate"
    caution: ClassVar[str] = (
        "Old versions of the objects and copies elsewhere are not affected: they are protected as they were."
    )


def migrate(
    url: Url,
    *,
    to: Encryption | None = None,
    format: str | None = None,  # noqa: A002 - the public word for it
    client: Client | None = None,
    dry_run: bool = False,
    report: str | os.PathLike[str] | None = None,
    resume: Resume | None = None,
    concurrency: int = _AT_A_TIME,
    progress: ProgressOption = False,
    encryption_context: Mapping[str, str] | AnyContext | None = None,
    allow_plaintext: bool | None = None,
    legacy: Legacy | None = None,
    delete_source: bool = False,
    file_options: Mapping[str, Any] | None = None,
    csv_options: Mapping[str, Any] | None = None,
    keep_acl: bool = True,
    unconditional: bool = False,
) -> MigrateReport:
    """Write an object, or all under a prefix, anew under another protection: V1, V2, instruction files and plain
    objects to V3, unless `to` says otherwise. What `Client.get` of this client would refuse is refused here.

    Content streams through here. It is written beside the object first, as `_arrowseal.<name>.migrating` (a hash in
    place of a long name, in a directory above if none else has room), read back whole and compared, and then put in the
    object's place inside the server, if that is what it was: each object changes at one moment, and is whole and
    readable wherever the job ends. A second run goes on, and removes what the first one left beside. Tags, headers,
    user metadata, storage class, server-side encryption, access control list, website redirect and object lock stay,
    segment indexes are made anew, instruction files go.

    With `format="parquet"`, tables whose names end in `.csv` (also compressed) become Parquet objects of that name
    beside them, batch by batch, read back and compared row by row; the CSV stays unless `delete_source`.

    V3 objects of one call share a data key, as in `Client.data_key_reuse`, unless they go in parts. Memory: for each of
    `concurrency` objects what reading and writing it takes; AES-CBC content is held as a whole. The account needs to
    read, write, tag and delete below the prefix, and kms:Decrypt for both keys. Objects that are protected so already
    are left alone: of that format, under the context that `to` names; of SSE-KMS with that bucket key or none, and
    under that key, unless an alias names it, of which an object does not tell whether it is its own. For another key of
    `CSE` alone take `rewrap`.

    Args:
        url: an object, or a prefix.
        to: `CSE(...)`, or to take encryption by clients off, `PLAIN`, `SSE_S3()`, `SSE_KMS(...)`.
        format: `"parquet"` makes Parquet of CSV on the way.
        client: reads and writes; `commitment_policy=`, `legacy=`, `instruction_files=`, `keyring=` say what it reads.
        dry_run: look at all objects and tell what would be done. No KMS call, and no content is read. What is written
            takes a GenerateDataKey and a Decrypt for each 10,000 objects, and for each that goes in parts.
        report, resume, progress, keep_acl, unconditional: as in `rewrap`. Where `to` names a context, whose values no
            report holds, all objects are looked at again.
        concurrency: how many objects are at work at a time.
        encryption_context, allow_plaintext, legacy: as in `Client.get`. What is read under a context is written under
            the same one, unless `to` names one.
        delete_source: delete a CSV object after its Parquet object was compared with it.
        file_options: those of `arrowseal.arrow.write_table` for the Parquet objects.
        csv_options: `read_options`, `parse_options`, `convert_options` of `pyarrow.csv.open_csv`. Types are those of
            the first block, as pyarrow infers them; a column that does not keep to them fails its object, as does a
            name that is there twice.

    Raises:
        ConfigurationError, ObjectNotFoundError: nothing was done.
        CredentialsError: nothing more could be done. All else is told in the row of its object.

    Example:
        >>> import arrowseal
        >>> arrowseal.operations.migrate("s3://lake/old/", allow_plaintext=True).to_pandas()  # doctest: +SKIP
    """
    chosen = client_of(client)
    goal = CSE() if to is None else to
    if not isinstance(goal, CSE | Plain) or goal.label == "SSE-C":
        raise ConfigurationError("to= is CSE(...), PLAIN, SSE_S3() or SSE_KMS(...)")
    if isinstance(goal, CSE) and goal.instruction_file:
        raise ConfigurationError("migrate writes no instruction files: leave instruction_file= out of to=")
    if format is not None and TableFormat.of(ObjectLocation("", ""), format) is not TableFormat.PARQUET:
        raise ConfigurationError("format= is 'parquet', for tables in CSV, or nothing")
    if (delete_source or file_options or csv_options) and format is None:
        raise ConfigurationError("delete_source=, file_options= and csv_options= go with format='parquet'")
    options = JobOptions(
        asked=_asked(goal, chosen.options.format, format, delete_source=delete_source),
        dry_run=dry_run,
        concurrency=concurrency,
        progress=progress,
        report=report,
        resume=resume,
        asked_is_all=not (isinstance(goal, CSE) and goal.encryption_context),  # no report holds values of contexts
    )
    prefix = locate_prefix(url)
    reading = {"encryption_context": encryption_context, "allow_plaintext": allow_plaintext, "legacy": legacy}
    with chosen.counters.operation("migrate", prefix) as operation:
        work = Migration(chosen, goal, reading, operation, options, keep_acl=keep_acl, unconditional=unconditional)
        work.check(prefix)
        each = work.one
        if format is not None:
            from arrowseal.operations.migrated_tables import MigratedTables

            tables = MigratedTables(work, dict(file_options or {}), dict(csv_options or {}), delete_source)
            tables.check()
            each = tables.one
        objects = objects_of(work.store, url, operation, work.suffix)
        with work.sharing_data_keys():
            return MigrateReport(run_job(objects, each, options, "migrating"))


def _asked(goal: Encryption, usual: Format, table_format: str | None, *, delete_source: bool) -> str:
    """What is asked for, as reports say it: rows of something else are no rows of this. Contexts by their names."""
    words = [repr(goal) if isinstance(goal, SSE_KMS) else goal.label]
    if isinstance(goal, CSE):
        names = ", ".join(sorted(goal.encryption_context or ()))
        words = [replace(goal, format=goal.format or usual).label, *([names] if names else [])]
    if table_format is not None:
        words.append("parquet")
    if delete_source:
        words.append("without the CSV")
    return " ".join(words)
