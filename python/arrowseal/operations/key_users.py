"""Which objects still need a KMS key, and the end of a key that none needs.

An object of SSE-KMS names its key in the answer to a HEAD. A client-side encrypted one names none: whether its wrapped
data key belongs to a KMS key, only KMS can tell, so Decrypt is tried once for each distinct wrapped data key. What that
does not settle counts as needed: a key that is gone takes its objects along.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from arrowseal import instruction_file
from arrowseal import metadata as content_metadata
from arrowseal.aws_services import AwsServices, is_aws
from arrowseal.companions import belongs_to_another
from arrowseal.exceptions import (
    ArrowSealError,
    ConfigurationError,
    CredentialsError,
    KmsAccessDeniedError,
    KmsKeyMismatchError,
    KmsUnavailableError,
    MetadataError,
    ServiceError,
)
from arrowseal.frames import Framed
from arrowseal.instruction_file import is_instruction_file
from arrowseal.kms_requests import KmsRequests
from arrowseal.listing import heads
from arrowseal.location import ObjectLocation, locate_prefix
from arrowseal.metadata import INSTRUCTION_FILE
from arrowseal.operations.kms_keys import KeyState, alias_target, describe_key

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    import pyarrow as pa

    from arrowseal.client import Client
    from arrowseal.counters import Operation
    from arrowseal.location import Url
    from arrowseal.metadata import EncryptedMetadata
    from arrowseal.store import StoredObject

_MULTI_REGION: Final = re.compile(r"arn:[^:]+:kms:[^:]*:([^:]*):key/(mrk-.+)")
_KMS_WRAPS: Final = frozenset({"kms", "kms+context"})

Need = Literal["yes", "maybe"]


@dataclass(frozen=True, slots=True)
class KeyUser:
    """An object, or an old version of one, that needs the key or may need it, and by what that is known."""

    location: ObjectLocation
    version_id: str | None
    """Of a version in the past, which a rewrap does not reach; None for the object of now."""
    encryption: str
    need: Need
    why: str


@dataclass(frozen=True)
class KeyUsers(Framed):
    """What was looked at under prefixes, and what of it needs a key."""

    key: KeyState
    prefixes: tuple[str, ...]
    objects: int
    """Objects, and old versions of them, that were looked at."""
    wrapped_keys: int
    """Distinct wrapped data keys of KMS, of client-side encryption."""
    tried: bool
    """Whether Decrypt was tried for them; otherwise their objects are not among the rows."""
    rows: tuple[KeyUser, ...]
    defaults: tuple[str, ...]
    """Buckets whose default encryption is under the key."""

    @property
    def free(self) -> bool:
        """Whether nothing that was looked at needs the key."""
        return self.tried and not self.rows and not self.defaults

    def to_arrow(self) -> pa.Table:
        """Columns `bucket`, `key`, `version_id`, `encryption`, `need` and `why`."""
        import pyarrow as pa

        names = ("bucket", "key", "version_id", "encryption", "need", "why")
        cells = [
            (row.location.bucket, row.location.key, row.version_id, row.encryption, row.need, row.why)
            for row in self.rows
        ]
        columns = list(zip(*cells, strict=True)) or [()] * len(names)
        return pa.table([pa.array(column, pa.string()) for column in columns], names)


def key_users(key: str, urls: Sequence[Url], client: Client, *, dry_run: bool = False) -> KeyUsers:
    """Look at every object under these prefixes, old versions included, whether it needs a KMS key.

    One HEAD an object, several at a time, and one Decrypt for each distinct wrapped data key; its answer is thrown
    away. `dry_run` leaves the Decrypt out and counts. Needs s3:ListBucket (s3:ListBucketVersions), s3:GetObject
    (s3:GetObjectVersion), kms:DescribeKey, kms:Decrypt.

    Raises:
        ConfigurationError: no prefix was given.
        ServiceError, StoreError, KmsError, CredentialsError: something could not be asked.
    """
    prefixes = [locate_prefix(url) for url in urls]
    if not prefixes:
        raise ConfigurationError("name the buckets or prefixes whose objects may need the key")
    state = describe_key(key, client)
    # Whatever kind of object it is, its metadata is to be understood.
    looking = client.replace(instruction_files=client.options.instruction_files or True)
    search = _Search(looking, state, dry_run=dry_run)
    for prefix in prefixes:
        search.look(prefix)
    defaults = tuple(dict.fromkeys(p.bucket for p in prefixes if search.is_default(p.bucket)))
    named = tuple(str(prefix) for prefix in prefixes)
    return KeyUsers(state, named, search.objects, len(search.seen), not dry_run, tuple(search.rows), defaults)


def retire_key(users: KeyUsers, days: int, client: Client) -> KeyState:
    """Disable a key that nothing needs, and schedule its deletion; `aws kms cancel-key-deletion` takes that back until
    then. Raises `ConfigurationError` if anything needs it, or may; `ServiceError`.
    """
    if not 7 <= days <= 30:
        raise ConfigurationError("KMS waits 7 to 30 days before it deletes a key")
    if not users.free:
        raise ConfigurationError(f"{users.key.arn} is still needed: rewrap the objects that need it first")
    services, arn = AwsServices.of(client), users.key.arn
    key_id = arn.rpartition("/")[2]  # some servers do not know it by its ARN here
    services.ask(f"KMS DisableKey {arn}", lambda: services.kms.disable_key(KeyId=key_id))
    services.ask(
        f"KMS ScheduleKeyDeletion of {arn}",
        lambda: services.kms.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=days),
    )
    return describe_key(arn, client)


class _Search:
    """One look for the objects of a key."""

    def __init__(self, client: Client, key: KeyState, *, dry_run: bool) -> None:
        self._client = client
        self._key = key
        self._dry_run = dry_run
        self._services = AwsServices.of(client)
        connections = client._connections  # noqa: SLF001 - what the client stands on
        self._requests = KmsRequests(connections.kms, renew=connections.renew)
        # AWS says AccessDenied of a key that the caller may not use; other servers also of what is another key's.
        self._denied_is_another = not is_aws(self._services.kms.meta.endpoint_url)
        self.objects = 0
        self.rows: list[KeyUser] = []
        self.seen: dict[Hashable, tuple[Need | None, str]] = {}

    def look(self, prefix: ObjectLocation) -> None:
        """At everything under a prefix."""
        client = self._client
        store, threads = client._store, client.options.transfer.concurrency  # noqa: SLF001
        with client.counters.operation("key_users", prefix) as operation:
            found = list(self._versions(prefix, operation))
            locations, versions = [place for place, _ in found], [version for _, version in found]
            answers = heads(store, locations, operation, threads, versions)
            for (location, version), stored in zip(found, answers, strict=True):
                self.objects += 1
                if stored is not None:  # gone, or SSE-C, which has no KMS key
                    self._settle(location, version, stored, operation)

    def is_default(self, bucket: str) -> bool:
        """Whether what is written into a bucket is encrypted under the key by default. False where nobody tells."""
        try:
            told = self._services.ask(
                f"encryption of {bucket}", lambda: self._services.s3.get_bucket_encryption(Bucket=bucket)
            )
        except ServiceError:
            return False
        rules = told.get("ServerSideEncryptionConfiguration", {}).get("Rules", ())
        names = [rule.get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID", "") for rule in rules]
        return any(self._is_the_key(name) or self._is_its_alias(name) for name in names)

    def _versions(self, prefix: ObjectLocation, operation: Operation) -> Iterator[tuple[ObjectLocation, str | None]]:
        """Every object, what belongs to others included, and every old version that is none of its deletions."""
        store = self._client._store  # noqa: SLF001
        for listed in store.list(prefix.bucket, prefix.key, operation, delimiter=None):
            yield listed.location, None
        s3 = self._services.s3
        try:
            pages = self._services.ask(
                f"versions under {prefix}",
                lambda: list(
                    s3.get_paginator("list_object_versions").paginate(Bucket=prefix.bucket, Prefix=prefix.key)
                ),
            )
        except ServiceError as error:
            if not error.unknown_here:
                raise
            return  # a server without versions
        for page in pages:
            for row in page.get("Versions", ()):
                if not row.get("IsLatest", True):
                    yield ObjectLocation(prefix.bucket, row["Key"]), row["VersionId"]

    def _settle(
        self, location: ObjectLocation, version: str | None, stored: StoredObject, operation: Operation
    ) -> None:
        if stored.server_side_key and self._is_the_key(stored.server_side_key):
            self.rows.append(KeyUser(location, version, "SSE-KMS", "yes", "S3 names the key"))
        elif stored.server_side == "SSE-KMS" and not stored.server_side_key:
            self.rows.append(KeyUser(location, version, "SSE-KMS", "maybe", "S3 does not name the key"))
        suffix, marked = self._client.options.instruction_files, INSTRUCTION_FILE in stored.metadata
        named_so = is_instruction_file(location, suffix)
        if belongs_to_another(location, suffix) and not (named_so and version is not None):
            return  # its object tells
        try:
            if marked or named_so:
                # One of another suffix, for somebody else, or an old version: no object that is looked at reads it.
                entries = instruction_file.read(self._client._store, location, version, operation)  # noqa: SLF001
                encrypted: EncryptedMetadata | None = content_metadata.parse_file(entries)
            else:
                encrypted = self._client._reader.claimed(stored, operation)  # noqa: SLF001
        except ArrowSealError as error:
            if isinstance(error, MetadataError) and named_so and not marked:
                return  # that, and no more
            if isinstance(error, CredentialsError):
                raise
            self.rows.append(KeyUser(location, version, "CSE", "maybe", "its encryption metadata cannot be read"))
            return
        if encrypted is not None and encrypted.pending:
            self.rows.append(KeyUser(location, version, "CSE", "maybe", "its instruction file is not there"))
            return
        if encrypted is None or encrypted.wrap not in _KMS_WRAPS:
            return
        need, why = self._need_of(encrypted, location, operation)
        if need is not None:
            self.rows.append(KeyUser(location, version, f"CSE {encrypted.format}", need, why))

    def _need_of(
        self, encrypted: EncryptedMetadata, location: ObjectLocation, operation: Operation
    ) -> tuple[Need | None, str]:
        wrapped = encrypted.encrypted_data_key, frozenset(encrypted.context.items())
        if wrapped not in self.seen:
            self.seen[wrapped] = (None, "") if self._dry_run else self._tried(encrypted, location, operation)
        return self.seen[wrapped]

    def _tried(
        self, encrypted: EncryptedMetadata, location: ObjectLocation, operation: Operation
    ) -> tuple[Need | None, str]:
        """Whether KMS decrypts a wrapped data key under the key."""

        def call(kms: Any, key: str) -> tuple[str]:
            answer = kms.decrypt(
                KeyId=key, CiphertextBlob=encrypted.encrypted_data_key, EncryptionContext=dict(encrypted.context)
            )
            answer.pop("Plaintext", None)
            return (answer["KeyId"],)

        try:
            self._requests.ask("Decrypt", self._key.arn, location, operation, call)
        except KmsKeyMismatchError:
            return None, ""
        except KmsAccessDeniedError:
            if self._denied_is_another:
                return None, ""
            return "maybe", "KMS does not let the caller decrypt it under the key"
        except (CredentialsError, KmsUnavailableError):
            raise
        except ArrowSealError as error:
            return "maybe", f"KMS does not tell ({type(error).__name__})"
        return "yes", "KMS decrypts its data key under the key"

    def _is_its_alias(self, name: str) -> bool:
        """Whether a name, which may be the ARN of an alias, is one of the key. Those of AWS are of other keys."""
        if "alias/" not in name or "alias/aws/" in name:
            return False
        return alias_target(self._services, name) in (None, self._key.arn)  # it may be, where nobody tells

    def _is_the_key(self, name: str) -> bool:
        if name == self._key.arn or name == self._key.arn.rpartition("/")[2] or name in (self._key.aliases or ()):
            return True
        ours, theirs = _MULTI_REGION.fullmatch(self._key.arn), _MULTI_REGION.fullmatch(name)
        return ours is not None and theirs is not None and ours.groups() == theirs.groups()
