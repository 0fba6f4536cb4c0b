"""Another KMS key for objects without touching their content: their data keys are wrapped anew, and nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, get_args

from arrowseal import metadata as content_metadata
from arrowseal.aws_services import AwsServices
from arrowseal.defaults import client_of
from arrowseal.exceptions import ConfigurationError, NotEncryptedError, ObjectChangedError, StoreAccessDeniedError
from arrowseal.head import encryption_label
from arrowseal.legacy import LegacyWord
from arrowseal.location import INSTRUCTION_SUFFIX, locate_prefix
from arrowseal.metadata import V1_KEY, V2_KEY, V3_KEY
from arrowseal.operations.conditions import Conditions
from arrowseal.operations.instruction_files import FILE, InstructionFiles
from arrowseal.operations.jobs import CONCURRENCY, JobOptions, objects_of, run_job
from arrowseal.operations.kms_keys import alias_target
from arrowseal.operations.placing import Placer, Placing
from arrowseal.operations.report import JobReport, ObjectResult
from arrowseal.operations.rewrapped_keys import RewrappedKeys, check_to_key
from arrowseal.store import COPY_LIMIT
from arrowseal.suites import MAX_CONTENT_BYTES, CommitmentPolicy, Format

if TYPE_CHECKING:
    import os

    from arrowseal.client import Client
    from arrowseal.counters import Operation
    from arrowseal.keyring import Keyring
    from arrowseal.location import ObjectLocation, Url
    from arrowseal.metadata import EncryptedMetadata
    from arrowseal.operations.report import Resume
    from arrowseal.operations.rewrapped_keys import Rewrapped
    from arrowseal.progress import ProgressOption
    from arrowseal.reading import ReadRequest
    from arrowseal.retrying import RetryingStore
    from arrowseal.store import ListedObject, ObjectAttributes, WrittenObject
    from arrowseal.suites import AnyContext

_KEY_NAMES: Final = {"V1": V1_KEY, "V2": V2_KEY, "V3": V3_KEY}


@dataclass(frozen=True, repr=False)
class RewrapReport(JobReport):
    """What a rewrap did, or would do: a row for each object."""

    job: ClassVar[str] = "rewrap"
    caution: ClassVar[str] = (
        "Old versions of the objects, copies elsewhere, and whoever has a data key are not affected: the old key still "
        "opens old versions, and a data key that somebody kept opens the object as before."
    )


def rewrap(
    url: Url,
    *,
    to_key: str | Keyring,
    client: Client | None = None,
    dry_run: bool = False,
    report: str | os.PathLike[str] | None = None,
    resume: Resume | None = None,
    concurrency: int = CONCURRENCY,
    progress: ProgressOption = False,
    encryption_context: Mapping[str, str] | AnyContext | None = None,
    instruction_file: str | None = None,
    keep_acl: bool = True,
    unconditional: bool = False,
) -> RewrapReport:
    """Wrap the data keys of an object, or of all under a prefix, under another key. Content is neither read nor moved.

    KMS wraps each distinct data key anew (ReEncrypt, the same encryption context on both sides: the data key stays in
    KMS), then the object is copied onto itself with the new metadata, if it still is what it was. Objects whose
    encrypted data key lies in an instruction file get a new file instead. Content, message id and commitment stay, so
    that segment indexes stay valid; so do tags, headers, user metadata, storage class, server-side encryption, access
    control list, website redirect, object lock, and the ETag of objects that were written at once. Each object changes
    at one moment: whoever ends the job where ever leaves it under the old key or under the new one, and a second run
    goes on.

    Not affected, since nothing can: old versions in a versioned bucket, copies elsewhere, and whoever has kept a data
    key. Formats and commitment policy do not matter here, since nothing is opened; contexts are compared as reads do.

    An object counts as done already if this client knows so, or if it is as the report of an earlier run left it;
    otherwise if KMS, asked to wrap its data key anew, answers that it was under the new key: then nothing is written.

    Requests for each object: HEAD, its access control list, the copy, HEAD; two KMS calls at most for each distinct
    data key. Whether a server honours conditions on copies is tried once a bucket, with an object of our own that is
    deleted again; if not, objects are sent again as they are stored, under a condition that it does not ignore.

    Args:
        url: an object, or a prefix.
        to_key: a KMS key (id, ARN, alias) of the Region of the old one, or a keyring of raw keys. Data keys that are
            not under KMS are unwrapped into memory of the core, and wrapped from there; KMS is sent them by Encrypt,
            for which their bytes pass through Python memory once, as those of each answer of KMS do.
        client: the one whose keys the data keys are under now.
        dry_run: look at all objects and tell what would be done. No KMS call.
        report: a file to which each row is appended, as a line of JSON, when it is known.
        resume: the report of an earlier run that was ended: itself, a frame of it, or such a file. Where `to_key` is
            an alias, KMS DescribeKey tells, to whom may ask it, whether it is still the key of that run.
        concurrency: how many objects are at work at a time.
        progress: as in `Client.get`, counting objects.
        encryption_context: as in `Client.get`. Raw keys bind none: from them to KMS data keys are wrapped under this
            one, or the client's.
        instruction_file: a suffix under which to put another instruction file, under the new key, beside the one that
            is there, for somebody to share the object with; only for objects that have one.
        keep_acl: without it access control lists are not asked for, and objects have the bucket's default.
        unconditional: also where the server ignores all conditions; what others write meanwhile may then be lost.

    Raises:
        ConfigurationError, ObjectNotFoundError: nothing was done.
        CredentialsError: nothing more could be done. All else is told in the row of its object.

    Example:
        >>> import arrowseal
        >>> plan = arrowseal.operations.rewrap("s3://lake/trips/", to_key="alias/new", dry_run=True)  # doctest: +SKIP
        >>> plan.summary()["kms_calls"]  # doctest: +SKIP
        {'ReEncrypt': 12}
    """
    if instruction_file is not None and not (isinstance(instruction_file, str) and instruction_file):
        raise ConfigurationError("instruction_file= is a suffix, '.partner' for example")
    chosen, target = client_of(client), check_to_key(to_key)
    options = JobOptions(
        asked=(target if isinstance(target, str) else repr(target)) + (instruction_file or ""),
        dry_run=dry_run,
        concurrency=concurrency,
        progress=progress,
        report=report,
        resume=resume,
        under=None if resume is None or dry_run else _alias_now(target, chosen),
    )
    prefix = locate_prefix(url)
    with chosen.counters.operation("rewrap", prefix) as operation:
        work = _Rewrap(chosen, target, operation, encryption_context, keep_acl, instruction_file, options)
        work.placer = Placer(
            work.store,
            operation,
            work.conditions,
            chosen.options.transfer,
            copy_limit=COPY_LIMIT,
            unconditional=unconditional,
        )
        work.check(prefix)
        suffix = chosen.options.instruction_files or INSTRUCTION_SUFFIX
        objects = objects_of(work.store, url, operation, suffix)
        return RewrapReport(run_job(objects, work.one, options, "rewrapping"))


def _alias_now(to_key: str | Keyring, client: Client) -> str | None:
    """The ARN of the key that an alias names now; None for other keys, and where KMS does not tell. It may have moved
    since an earlier run, and that run's objects are not under the key that is asked for now.
    """
    if not isinstance(to_key, str) or "alias/" not in to_key:
        return None
    return alias_target(AwsServices.of(client), to_key)


class _Rewrap:
    """One job; `one` is what it does to an object."""

    placer: Placer

    def __init__(
        self,
        client: Client,
        to_key: str | Keyring,
        operation: Operation,
        context: Mapping[str, str] | AnyContext | None,
        keep_acl: bool,
        share: str | None,
        options: JobOptions,
    ) -> None:
        # What operations share with the client that they are given: its store, with its budget, and its keyrings.
        self.store = client._store  # noqa: SLF001
        self._reader = client._reader  # noqa: SLF001
        self._keys = RewrappedKeys(client._keyrings, to_key, operation)  # noqa: SLF001
        self.conditions = Conditions(self.store, operation)
        self._operation = operation
        self._context = context
        self._keep_acl = keep_acl
        self._share = share
        self._suffix = client.options.instruction_files
        self._options = options
        self._mapped = isinstance(client.options.kms_key_id, Mapping)

    def check(self, prefix: ObjectLocation) -> None:
        """Raise `ConfigurationError` for what no object could be read with, before any request."""
        if not self._mapped:
            self._reader.request(prefix, None, self._context, None, False, None)

    def one(self, listed: ListedObject) -> ObjectResult:
        """Rewrap an object, or tell how it would be. Raises `ArrowSealError`s."""
        location, operation = listed.location, self._operation
        before = self.store.attributes(location, operation, arguments={})
        request = self._reader.request(location, None, self._context, None, False, None)
        rules = replace(
            request.rules,
            commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT,
            legacy=frozenset(get_args(LegacyWord)),
            max_plaintext_bytes=MAX_CONTENT_BYTES,
            wraps=request.keyring.wraps | self._keys.wraps,
            raw_keys_unbound=True,  # it is KMS, on either side, that the context is for
        )
        request = replace(request, rules=rules)
        result = ObjectResult(
            location=location,
            state="planned",
            asked=self._options.asked,
            stored_bytes=before.stored.stored_bytes,
            etag=before.stored.etag,
            last_modified=before.stored.last_modified,
            version_id=before.stored.version_id,
        )
        try:
            encrypted = self._reader.admit(before.stored, rules, operation)
        except NotEncryptedError:
            label = encryption_label(before.stored, None)
            return replace(result, state="skipped", reason="not client-side encrypted", before=label)
        assert encrypted is not None  # noqa: S101 - plain objects are not admitted
        label = encryption_label(before.stored, encrypted)
        fingerprint = hashlib.sha256(encrypted.encrypted_data_key).hexdigest()[:16]
        call = self._keys.kms_call(encrypted)
        result = replace(result, before=label, after=label, wrapped_key=fingerprint, kms_call=call)
        if self._share is not None and not encrypted.instruction_file:
            reason = (
                f"{location}: its encrypted data key lies in its own metadata, beside which no reader looks for another"
            )
            return replace(result, state="refused", reason=reason)
        if self._options.dry_run:
            if self._keys.known(encrypted):
                return replace(result, state="already", key=self._keys.get(encrypted, request).key)
            in_file = encrypted.instruction_file
            return replace(result, way=FILE if in_file else self._planned_way(before))
        if encrypted.instruction_file:
            files = InstructionFiles(self.store, operation, self.conditions, self._suffix or INSTRUCTION_SUFFIX)
            return self._in_file(files, encrypted, request, before, result)
        rewrapped = self._keys.get(encrypted, request)
        result = replace(result, key=rewrapped.key)
        if rewrapped.already:
            return replace(result, state="already", reason="under that key already")
        return self._in_place(before, encrypted, rewrapped, result)

    def _planned_way(self, before: ObjectAttributes) -> str:
        return "copied" if before.stored.stored_bytes <= COPY_LIMIT else "copied in parts"

    def _in_place(
        self, before: ObjectAttributes, encrypted: EncryptedMetadata, rewrapped: Rewrapped, result: ObjectResult
    ) -> ObjectResult:
        location, operation = result.location, self._operation
        metadata = rewrapped_metadata(before.stored.metadata, encrypted, rewrapped)
        content_metadata.check_sent(location, metadata)
        grants = grants_of(self.store, location, operation) if self._keep_acl else {}
        name = _KEY_NAMES[encrypted.format]
        placing = Placing(
            source=before.stored,
            target=location,
            there=before.stored.etag,
            metadata=metadata,
            arguments={**before.arguments, **grants},
            token=(_spelled(metadata, name), metadata[_spelled(metadata, name)]),
        )
        written, way = self.placer.place(placing)
        after = self.store.attributes(location, operation, arguments={})
        if after.stored.metadata.get(placing.token[0]) != placing.token[1]:
            raise ObjectChangedError(f"{location}: overwritten right after it was rewrapped")
        return told(replace(result, way=way), before, placing.arguments, after, written)

    def _in_file(
        self,
        files: InstructionFiles,
        encrypted: EncryptedMetadata,
        request: ReadRequest,
        before: ObjectAttributes,
        result: ObjectResult,
    ) -> ObjectResult:
        suffix = self._share or files.suffix
        there = files.look(before.stored.location, suffix)
        if there is not None and suffix != files.suffix:  # one that an earlier run left may be as it shall be
            shared = content_metadata.parse_at(result.location, before.stored.metadata, there.entries)
            if shared is not None and self._keys.known(shared):
                return replace(result, state="already", way=FILE)
        own = there if suffix == files.suffix else files.look(before.stored.location, files.suffix)
        if own is None or content_metadata.parse(before.stored.metadata, own.entries) != encrypted:
            raise ObjectChangedError(f"{result.location}: its instruction file was written meanwhile")
        rewrapped = self._keys.get(encrypted, request)
        result = replace(result, key=rewrapped.key, way=FILE)
        if rewrapped.already and suffix == files.suffix:
            return replace(result, state="already", reason="under that key already")
        entries = rewrapped_metadata(own.entries, encrypted, rewrapped)
        entries = {name: value for name, value in entries.items() if name in own.entries or name not in _OF_OBJECTS}
        grants: dict[str, str] = {}
        if there is not None and self._keep_acl:
            grants = grants_of(self.store, there.attributes.stored.location, self._operation)
        files.put(result.location, suffix, entries, there, unconditional=self.placer.unconditional, grants=grants)
        return replace(result, state="done")


_OF_OBJECTS: Final = {content_metadata.CONTENT, content_metadata.COMMITMENT, content_metadata.MESSAGE_ID}


def grants_of(store: RetryingStore, location: ObjectLocation, operation: Operation) -> dict[str, str]:
    """The access control list of an object, to be given again. Raises `StoreAccessDeniedError` with the way out."""
    try:
        return store.grants(location, operation)
    except StoreAccessDeniedError as error:
        raise StoreAccessDeniedError(
            f"{error}. If objects there have the bucket's default list, say keep_acl=False (--no-acl)"
        ) from None


def rewrapped_metadata(
    metadata: Mapping[str, str], encrypted: EncryptedMetadata, rewrapped: Rewrapped
) -> dict[str, str]:
    """Metadata, or the entries of an instruction file, with the data key under the new key; all else as it was."""
    name = _KEY_NAMES[encrypted.format]
    if rewrapped.wrap == encrypted.wrap and rewrapped.material_description == encrypted.material_description:
        wrapped = base64.b64encode(rewrapped.encrypted_data_key).decode()
        return {**content_metadata.in_ascii(metadata, encrypted), _spelled(metadata, name): wrapped}
    rendered = content_metadata.render(
        Format.of(encrypted.format),
        encrypted_data_key=rewrapped.encrypted_data_key,
        message_id=encrypted.message_id,
        commitment=encrypted.commitment,
        context=rewrapped.context,
        wrap=rewrapped.wrap,
        material_description=rewrapped.material_description,
    )
    described = {content_metadata.CONTEXT, content_metadata.MATERIAL_DESCRIPTION}
    kept = {
        key: value for key, value in metadata.items() if key.lower() not in rendered and key.lower() not in described
    }
    return kept | rendered


def told(
    result: ObjectResult,
    before: ObjectAttributes,
    given: Mapping[str, Any],
    after: ObjectAttributes,
    written: WrittenObject,
) -> ObjectResult:
    """The row of an object that was put in place with the arguments `given`, and what the server did not keep of it."""
    lost = [name for name in before.arguments if name in given and after.arguments.get(name) != given[name]]
    if before.stored.location == after.stored.location and "-" not in before.stored.etag + after.stored.etag:
        lost += ["ETag"] if before.stored.etag != after.stored.etag and result.before == result.after else []
    if result.before == result.after:
        lost += [
            name for name, value in before.checksums.items() if "-" not in value and after.checksums.get(name) != value
        ]
    if before.tags != after.tags:
        lost.append("Tagging")
    old = before.stored.version_id
    return replace(
        result,
        state="done",
        etag=after.stored.etag,
        last_modified=after.stored.last_modified,
        version_id=written.version_id or after.stored.version_id,
        old_version_id=old if old not in (None, "null", written.version_id) else None,
        not_kept=", ".join(lost),
    )


def _spelled(metadata: Mapping[str, str], name: str) -> str:
    """The name as it is spelled there: some writers use capitals."""
    return next((key for key in metadata if key.lower() == name), name)
