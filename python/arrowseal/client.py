"""The client: objects in and out of S3, sealed and opened on this machine."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from arrowseal import _core
from arrowseal import metadata as content_metadata
from arrowseal.connections import Connections
from arrowseal.counters import Counters, Operation
from arrowseal.data_keys import DataKeyCache, Reuse, UnwrappedKeys
from arrowseal.encryption import CSE, PLAIN, Encryption, Plain, check_context
from arrowseal.envelope import ReadRules, admit
from arrowseal.exceptions import (
    AuthenticationError,
    ConfigurationError,
    NotEncryptedError,
    ObjectChangedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreAccessDeniedError,
    UnsupportedFormatError,
)
from arrowseal.head import ObjectHead
from arrowseal.kms_keyring import KmsKeyring
from arrowseal.location import ObjectLocation, Url, locate, locate_prefix
from arrowseal.options import ClientOptions
from arrowseal.outgoing import check_put_arguments, check_size, contiguous, split_metadata
from arrowseal.store_boto3 import Boto3Store
from arrowseal.suites import MAX_CONTENT_BYTES, V3, AnyContext, CommitmentPolicy, Format
from arrowseal.transfer import Download, TransferOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import boto3
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_s3 import S3Client

    from arrowseal._core import PlaintextBuffer, UnauthenticatedBuffer
    from arrowseal.materials import DecryptionMaterials, EncryptionMaterials
    from arrowseal.metadata import EncryptedMetadata
    from arrowseal.store import ListedObject, StoredObject

_REMEMBERED_KEYS: Final = 10_000  # encrypted data keys whose KMS key is known, for `head`: some 2 MB
_INSTRUCTION_SUFFIX: Final = ".instruction"


@dataclass(frozen=True, slots=True)
class PutResult:
    """What a write left in the bucket."""

    location: ObjectLocation
    etag: str
    version_id: str | None
    encryption: str
    plaintext_bytes: int
    stored_bytes: int
    kms_key_arn: str | None


class Client:
    """Reads and writes objects in S3 that are encrypted before they leave this machine.

    Nothing is requested, and boto3 is not imported, before the first operation. One client serves many threads and
    goes on in a forked child. It pickles by reference (its options) unless it was given boto3 objects.

    Args:
        kms_key_id: the KMS key that wraps data keys: id, ARN or alias. An alias is resolved once, by KMS's own answer.
        session, s3, kms: a boto3 session, or boto3 clients, to use as they are; otherwise boto3's own defaults,
            environment and configuration files decide (`AWS_ENDPOINT_URL*` included).
        format: `arrowseal.V3`, or `arrowseal.V2` for readers that do not know V3 (needs a policy that allows it).
        commitment_policy: whether objects must commit to their key; REQUIRE_ENCRYPT_REQUIRE_DECRYPT unless given.
        allow_plaintext: also read objects that are not client-side encrypted.
        encryption_context: bound to every object written, and expected on every read; `arrowseal.ANY` accepts any.
        interop: `"analytics"` writes what Athena, EMR and Presto read: format V2, and the policy that allows it.
        profile_name, region_name: as in boto3.
        endpoint_url: another S3; also the KMS endpoint, unless `kms_endpoint_url` or AWS_ENDPOINT_URL_KMS names it.
        decrypt_key_ids: more KMS keys to try on reads, after `kms_key_id`.
        max_plaintext_bytes: larger objects are refused before any memory is taken.
        allow_insecure_kms_endpoint: accept a plain-http KMS endpoint that is not on this machine.
        cache: bounds of the unwrapped data keys that reads remember, so that objects which share one cost one KMS call;
            None asks KMS for every object. A revoked grant takes effect within five minutes.
        transfer: how large objects are moved: the size of ranges, and how many are in flight.

    Raises:
        ConfigurationError: the options contradict each other (`PolicyConflictError` where the policy forbids a format).

    Example:
        >>> client = Client("alias/tables")  # doctest: +SKIP
        >>> client.put("s3://lake/greeting", b"hello")  # doctest: +SKIP
        >>> bytes(client.get("s3://lake/greeting"))  # doctest: +SKIP
        b'hello'
    """

    def __init__(
        self,
        kms_key_id: str | None = None,
        *,
        session: boto3.Session | None = None,
        s3: S3Client | None = None,
        kms: KMSClient | None = None,
        format: Format | str = V3,  # noqa: A002 - the public word for it
        commitment_policy: CommitmentPolicy | str | None = None,
        allow_plaintext: bool = False,
        encryption_context: Mapping[str, str] | AnyContext | None = None,
        interop: str | None = None,
        profile_name: str | None = None,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        kms_endpoint_url: str | None = None,
        decrypt_key_ids: Sequence[str] = (),
        max_plaintext_bytes: int = MAX_CONTENT_BYTES,
        allow_insecure_kms_endpoint: bool = False,
        cache: DataKeyCache | None = DataKeyCache(),  # noqa: B008 - frozen
        transfer: TransferOptions = TransferOptions(),  # noqa: B008 - frozen
    ) -> None:
        self._options = ClientOptions.checked(
            kms_key_id=kms_key_id,
            format=format,
            commitment_policy=commitment_policy,
            allow_plaintext=allow_plaintext,
            encryption_context=encryption_context,
            interop=interop,
            profile_name=profile_name,
            region_name=region_name,
            endpoint_url=endpoint_url,
            kms_endpoint_url=kms_endpoint_url,
            decrypt_key_ids=decrypt_key_ids,
            max_plaintext_bytes=max_plaintext_bytes,
            allow_insecure_kms_endpoint=allow_insecure_kms_endpoint,
            cache=cache,
            transfer=transfer,
        )
        self._connections = Connections(self._options, session, s3, kms)
        self._store = Boto3Store(self._connections.s3)
        self._keyring = self._make_keyring(kms_key_id, self._options.decrypt_key_ids)
        self._keyrings: dict[str, KmsKeyring] = {}
        self._reuse = Reuse()
        self._kms_keys: OrderedDict[bytes, str] = OrderedDict()
        self.counters = Counters()
        """One row for each operation of this client."""

    @property
    def options(self) -> ClientOptions:
        """What this client was told; frozen."""
        return self._options

    def __repr__(self) -> str:
        told = self._options
        return (
            f"<arrowseal.Client kms_key_id={told.kms_key_id!r} format={told.format.value} "
            f"commitment_policy={told.commitment_policy.value}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        if not self._connections.by_reference:
            raise TypeError(
                "a client that was given session=, s3= or kms= cannot be pickled: those objects cannot. Give "
                "profile_name=, region_name= and endpoint_url= instead"
            )
        return _restore, (vars(self._options),)

    def put(
        self,
        url: Url | None = None,
        data: Any = None,
        *,
        bucket: str | None = None,
        key: str | None = None,
        encryption: Encryption | None = None,
        encryption_context: Mapping[str, str] | None = None,
        kms_key_id: str | None = None,
        s3_additional_kwargs: Mapping[str, Any] | None = None,
    ) -> PutResult:
        """Write an object: seal `data` under a new data key and store it in one request.

        `data` is any contiguous buffer, or a binary file, which is read to its end. Memory: one sealed copy. The object
        appears whole or not at all; a retry sends the same ciphertext.

        Args:
            encryption: `CSE(...)` or one of `PLAIN`, `SSE_S3()`, `SSE_KMS(...)`, `SSE_C(key)`; `CSE()` if not given.
            s3_additional_kwargs: more arguments of boto3's `put_object`: `Metadata`, `ContentType`, `Tagging`, ...

        Raises:
            ConfigurationError: before any request, for everything that cannot be.
            KmsError, StoreError, CredentialsError: a request failed; no object was written.
        """
        location = locate(url, bucket=bucket, key=key)
        arguments, user_metadata = split_metadata(check_put_arguments(s3_additional_kwargs))
        encryption = self._write_encryption(encryption, encryption_context, kms_key_id)
        content, size = contiguous(data)
        check_size(location, size, encryption)
        with self.counters.operation("put", location) as operation:
            operation.encryption = encryption.label
            if isinstance(encryption, Plain):
                arn, stored_bytes = None, size
                arguments |= encryption.arguments()
                etag, version = self._store.put(
                    location, operation, content, metadata=user_metadata, arguments=arguments
                )
            else:
                sealed, metadata, arn = self._seal(location, content, size, encryption, user_metadata, operation)
                stored_bytes = len(sealed)
                etag, version = self._store.put(location, operation, sealed, metadata=metadata, arguments=arguments)
            operation.plaintext_bytes += size
            operation.stored_bytes += stored_bytes
        return PutResult(location, etag, version, encryption.label, size, stored_bytes, arn)

    def get(
        self,
        url: Url | None = None,
        *,
        bucket: str | None = None,
        key: str | None = None,
        encryption: Encryption | None = None,
        encryption_context: Mapping[str, str] | AnyContext | None = None,
        kms_key_id: str | None = None,
        allow_plaintext: bool | None = None,
        version_id: str | None = None,
    ) -> PlaintextBuffer | UnauthenticatedBuffer:
        """Read an object whole: a read-only buffer of proven plaintext, in memory of the core.

        Wrap it without a copy (`memoryview`, `pyarrow.py_buffer`, `numpy.frombuffer`) or take `bytes(...)` of it. Its
        `encryption` says what was read. Memory: the object once. Each piece is opened, GIL released, as it arrives.

        Args:
            encryption: `SSE_C(key)` for an object that needs it. Any no-CSE arm also admits plain objects.
            encryption_context: what the object must have been written under; the client's if not given.
            kms_key_id: read under this key instead of the client's.
            allow_plaintext: also accept an object that is not client-side encrypted, as an `UnauthenticatedBuffer`.

        Raises:
            SecurityError: the object is refused, nothing of it was handed out (`AuthenticationError`,
                `NotEncryptedError`, `CommitmentPolicyError`, `EncryptionContextError`, ...).
            ConfigurationError, KmsError, StoreError, CredentialsError: it could not be read.
        """
        location = locate(url, bucket=bucket, key=key)
        no_cse = encryption if isinstance(encryption, Plain) else None
        arm = encryption if isinstance(encryption, CSE) else CSE()
        rules = self._read_rules(
            arm.encryption_context if encryption_context is None else encryption_context,
            no_cse is not None or (self._options.allow_plaintext if allow_plaintext is None else allow_plaintext),
        )
        keyring = self._keyring_for(kms_key_id or arm.kms_key_id)
        if not rules.allow_plaintext:
            keyring.check_read(location)
            self._connections.kms()
        arguments = (no_cse or PLAIN).read_arguments() | ({"VersionId": version_id} if version_id else {})
        with self.counters.operation("get", location) as operation:
            try:
                return self._read(location, arguments, rules, keyring, operation)
            except (AuthenticationError, PreconditionFailedError):
                # Once more from the wire: bytes may flip on their way, and an object may be overwritten under a read.
                operation.retries += 1
            try:
                return self._read(location, arguments, rules, keyring, operation)
            except PreconditionFailedError:
                raise ObjectChangedError(
                    f"{location}: it was overwritten twice while it was read: read later"
                ) from None

    def head(
        self,
        url: Url | None = None,
        *,
        bucket: str | None = None,
        key: str | None = None,
        encryption: Encryption | None = None,
        version_id: str | None = None,
    ) -> ObjectHead:
        """An object's size and encryption, as its metadata claims them. No KMS call.

        Raises `MetadataError` for encryption metadata that makes no sense, `StoreError`, `CredentialsError`.
        """
        location = locate(url, bucket=bucket, key=key)
        arm = encryption if isinstance(encryption, Plain) else PLAIN
        arguments = arm.read_arguments() | ({"VersionId": version_id} if version_id else {})
        with self.counters.operation("head", location) as operation:
            stored = self._store.head(location, operation, arguments=arguments)
            encrypted = content_metadata.parse_at(location, stored.metadata)
            known = self._kms_keys.get(encrypted.encrypted_data_key) if encrypted else None
            result = ObjectHead.of(stored, encrypted, known)
            operation.encryption = result.encryption
        return result

    def exists(self, url: Url | None = None, *, bucket: str | None = None, key: str | None = None) -> bool:
        """Whether there is such an object, encrypted or not."""
        location = locate(url, bucket=bucket, key=key)
        with self.counters.operation("exists", location) as operation:
            try:
                self._store.head(location, operation, arguments={})
            except ObjectNotFoundError:
                return False
        return True

    def is_encrypted(self, url: Url | None = None, *, bucket: str | None = None, key: str | None = None) -> bool:
        """Whether an object says that it is client-side encrypted, in whichever format; instruction files count."""
        location = locate(url, bucket=bucket, key=key)
        with self.counters.operation("is_encrypted", location) as operation:
            stored = self._store.head(location, operation, arguments={})
            if content_metadata.parse_at(location, stored.metadata) is not None:
                return True
            return self._has_instruction_file(location, operation)

    def list(self, url: Url, *, delimiter: str | None = None) -> list[ListedObject]:
        """Every object under `s3://bucket` or `s3://bucket/prefix`, in the server's order; sizes are the stored ones.

        `delimiter="/"` lists one level, with rows for the prefixes below it (`is_prefix`).
        """
        prefix = locate_prefix(url)
        with self.counters.operation("list", prefix) as operation:
            return list(self._store.list(prefix.bucket, prefix.key, operation, delimiter=delimiter))

    def copy(self, source: Url, target: Url) -> None:
        """Copy an object inside S3, metadata included: it stays sealed, and is not read here."""
        origin, goal = locate(source), locate(target)
        with self.counters.operation("copy", goal) as operation:
            self._store.copy(origin, goal, operation)

    def delete(
        self,
        url: Url | None = None,
        *,
        bucket: str | None = None,
        key: str | None = None,
        version_id: str | None = None,
    ) -> None:
        """Delete an object. One that does not exist is no error, as in S3."""
        location = locate(url, bucket=bucket, key=key)
        with self.counters.operation("delete", location) as operation:
            self._store.delete(location, operation, arguments={"VersionId": version_id} if version_id else {})

    def data_key_reuse(self) -> contextlib.AbstractContextManager[None]:
        """Inside this block, one data key serves many V3 objects of this client, on whichever threads.

        Each object still has a message id, and derived from it a content key, of its own; readers notice nothing. One
        data key serves at most 10,000 objects, 1 TiB and 15 minutes. The trade: KMS's audit trail then shows one call
        for all of these objects, and whoever gets that data key opens them all. Refused under V2, whose data key would
        encrypt every object itself.

        >>> with client.data_key_reuse():  # doctest: +SKIP
        ...     for part, table in enumerate(tables):
        ...         arrowseal.arrow.write_table(table, f"s3://lake/flights/{part}.parquet", client=client)
        """
        return self._reuse.block()

    def _write_encryption(
        self, encryption: Encryption | None, context: Mapping[str, str] | None, kms_key_id: str | None
    ) -> Encryption:
        """The encryption of a write with everything filled in and checked."""
        if isinstance(encryption, Plain):
            if context is not None or kms_key_id is not None:
                raise ConfigurationError(f"encryption_context= and kms_key_id= mean nothing to {encryption.label}")
            return encryption
        if encryption is not None and not isinstance(encryption, CSE):
            raise ConfigurationError(
                "encryption= is CSE(...), PLAIN, SSE_S3(), SSE_KMS(...) or SSE_C(...), not " + type(encryption).__name__
            )
        given = encryption or CSE()
        if context is not None and given.encryption_context is not None:
            raise ConfigurationError("give the encryption context once: in CSE(...) or as encryption_context=")
        if kms_key_id is not None and given.kms_key_id is not None:
            raise ConfigurationError("give the KMS key once: in CSE(...) or as kms_key_id=")
        chosen = Format.of(given.format or self._options.format)
        self._options.commitment_policy.check_write(chosen)
        own = context if context is not None else given.encryption_context
        if own is None and isinstance(self._options.encryption_context, AnyContext):
            own = {}  # ANY says what reads accept
        full = check_context(self._options.encryption_context if own is None else own)  # type: ignore[arg-type]
        return CSE(kms_key_id or given.kms_key_id, chosen, full)

    def _seal(
        self,
        location: ObjectLocation,
        content: Any,
        size: int,
        encryption: CSE,
        user_metadata: Mapping[str, str],
        operation: Operation,
    ) -> tuple[_core.SealedBuffer, dict[str, str], str]:
        sealed_format = encryption.format or V3
        context = encryption.encryption_context or {}
        keyring = self._keyring_for(encryption.kms_key_id)
        keyring.check_write(location)
        content_metadata.check_room(location, sealed_format, context, user_metadata)

        def generate() -> EncryptionMaterials:
            return keyring.generate(sealed_format, context, location, operation)

        shared = self._reuse.keys
        reused = (encryption.kms_key_id, frozenset(context.items()))
        materials = shared.materials(reused, sealed_format, size, generate) if shared else generate()
        self._remember(materials.encrypted_data_key, materials.kms_key_arn)
        with operation.timed("crypto"):
            sealer = _core.Sealer(materials.data_key, sealed_format.suite.id)
            sealed = sealer.seal(content)
        metadata = content_metadata.render(
            sealed_format,
            encrypted_data_key=materials.encrypted_data_key,
            message_id=sealer.message_id,
            commitment=sealer.commitment,
            context=materials.encryption_context,
            plaintext_bytes=size,
        )
        return sealed, {**user_metadata, **metadata}, materials.kms_key_arn

    def _read(
        self,
        location: ObjectLocation,
        arguments: Mapping[str, Any],
        rules: ReadRules,
        keyring: KmsKeyring,
        operation: Operation,
    ) -> PlaintextBuffer | UnauthenticatedBuffer:
        download = Download(self._store, location, arguments, operation, self._options.transfer)
        with contextlib.closing(download):
            stored = download.stored
            encrypted = self._admit(stored, rules, operation)
            operation.encryption = ObjectHead.of(stored, encrypted, None).encryption
            if encrypted is not None:
                buffer: Any = self._open(download, encrypted, keyring, operation)
            else:
                buffer = download.receive(_core.PlainReceiver(stored.stored_bytes))
        operation.plaintext_bytes += len(buffer)
        operation.stored_bytes += stored.stored_bytes
        return buffer  # type: ignore[no-any-return]

    def _open(
        self, download: Download, encrypted: EncryptedMetadata, keyring: KmsKeyring, operation: Operation
    ) -> PlaintextBuffer:
        stored, location = download.stored, download.stored.location
        materials = keyring.unwrap(encrypted, location, operation)
        self._remember(encrypted.encrypted_data_key, materials.kms_key_arn)
        suite = Format.of(encrypted.format).suite
        try:
            with operation.timed("crypto"):
                opener = _core.Opener(
                    materials.data_key, suite.id, encrypted.message_id, encrypted.commitment, stored.stored_bytes
                )
            return download.receive(opener)
        except AuthenticationError as error:
            raise AuthenticationError(
                f"{location} (data key from {materials.kms_key_arn}): {error}. It was changed or cut short, or its "
                "body and its metadata belong to different objects: restore it from a version or a copy that opens"
            ) from None

    def _admit(self, stored: StoredObject, rules: ReadRules, operation: Operation) -> EncryptedMetadata | None:
        try:
            return admit(stored.location, stored.metadata, stored.stored_bytes, rules)
        except NotEncryptedError:
            # Only a refusal pays for this request: it turns a wrong reason into the right one.
            if self._has_instruction_file(stored.location, operation):
                raise UnsupportedFormatError(
                    f"{stored.location}: its encryption metadata lies in the instruction file "
                    f"{stored.location.key}{_INSTRUCTION_SUFFIX}, which this version does not read. Read it with the "
                    "client that wrote it"
                ) from None
            raise

    def _has_instruction_file(self, location: ObjectLocation, operation: Operation) -> bool:
        beside = ObjectLocation(location.bucket, location.key + _INSTRUCTION_SUFFIX)
        try:
            self._store.head(beside, operation, arguments={})
        except (ObjectNotFoundError, StoreAccessDeniedError):
            return False
        return True

    def _read_rules(self, context: Mapping[str, str] | AnyContext | None, allow_plaintext: bool) -> ReadRules:
        expected = self._options.encryption_context if context is None else context
        return ReadRules(
            commitment_policy=self._options.commitment_policy,
            allow_plaintext=allow_plaintext,
            encryption_context=expected if isinstance(expected, AnyContext) else check_context(expected),
            max_plaintext_bytes=self._options.max_plaintext_bytes,
            wraps=KmsKeyring.wraps,
        )

    def _keyring_for(self, kms_key_id: str | None) -> KmsKeyring:
        """The client's keyring, or one for a key that a single call names: one each, so that aliases resolve once."""
        if kms_key_id is None:
            return self._keyring
        if kms_key_id not in self._keyrings:
            self._keyrings.setdefault(kms_key_id, self._make_keyring(kms_key_id, ()))
        return self._keyrings[kms_key_id]

    def _make_keyring(self, kms_key_id: str | None, decrypt_key_ids: Sequence[str]) -> KmsKeyring:
        bounds = self._options.cache
        cache: UnwrappedKeys[DecryptionMaterials] | None = None if bounds is None else UnwrappedKeys(bounds)
        policy = self._options.commitment_policy
        return KmsKeyring(self._connections.kms, kms_key_id, decrypt_key_ids, cache=cache, policy=policy)

    def _remember(self, encrypted_data_key: bytes, arn: str) -> None:
        self._kms_keys[encrypted_data_key] = arn
        while len(self._kms_keys) > _REMEMBERED_KEYS:
            self._kms_keys.popitem(last=False)


def _restore(options: Mapping[str, Any]) -> Client:
    return Client(**options)
