"""The client: objects in and out of S3, sealed and opened on this machine."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, overload

from arrowseal import metadata as content_metadata
from arrowseal.cancellation import answered
from arrowseal.companions import belongs_to_another, copied_along, delete_along
from arrowseal.configured import Configured
from arrowseal.copying import copy_object
from arrowseal.encryption import Encryption, read_arguments
from arrowseal.exceptions import ConfigurationError, ObjectChangedError, ObjectNotFoundError
from arrowseal.head import ObjectHead
from arrowseal.listing import told
from arrowseal.location import Url, locate, locate_prefix, version_arguments
from arrowseal.object_reader import ObjectReader
from arrowseal.object_writer import ObjectWriter, fill
from arrowseal.opening import Opening, make_index, open_object
from arrowseal.options import check_switch
from arrowseal.outgoing import check_put_arguments, copy_arguments, remaining_bytes
from arrowseal.progress import ProgressOption, check_progress, object_progress, tracked
from arrowseal.store import OpenUpload
from arrowseal.suites import AnyContext
from arrowseal.writing import PutResult, Target

if TYPE_CHECKING:
    import builtins
    import contextlib
    from collections.abc import Mapping

    from arrowseal._core import PlaintextBuffer, UnauthenticatedBuffer
    from arrowseal.counters import Operation
    from arrowseal.legacy import Legacy
    from arrowseal.objects import EncryptedObject
    from arrowseal.store import ListedObject


class Client(Configured):
    """Reads and writes objects in S3 that are encrypted before they leave this machine.

    Nothing is requested, and boto3 is not imported, before the first operation. One client serves many threads and
    goes on in a forked child. It pickles by reference (its options) unless it was given boto3 objects or the bytes of a
    key. Its arguments, which are its options, are described in `Configured`.

    >>> client = Client("alias/tables")  # doctest: +SKIP
    >>> client.put("s3://lake/greeting", b"hello")  # doctest: +SKIP
    >>> bytes(client.get("s3://lake/greeting"))  # doctest: +SKIP
    b'hello'
    """

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
        if_match: str | None = None,
        if_none_match: str | None = None,
        progress: ProgressOption | None = None,
    ) -> PutResult:
        """Write an object: seal `data` under a new data key and store it.

        `data` is any contiguous buffer, or a binary file, which is read to its end in pieces. What is longer than
        `TransferOptions.part_bytes` goes in parts side by side. The object appears whole or not at all; a retry sends
        the same ciphertext. Memory: one sealed copy of a single part, otherwise of the parts that are in flight.

        Args:
            encryption: `CSE(...)` or one of `PLAIN`, `SSE_S3()`, `SSE_KMS(...)`, `SSE_C(key)`; `CSE()` if not given.
            s3_additional_kwargs: more arguments of boto3's `put_object`: `Metadata`, `ContentType`, `Tagging`, ...
            if_match: write only if the object there has this ETag: compare and swap.
            if_none_match: `"*"` writes only if there is no such object yet.
            progress: as for the client, for this call.

        Raises:
            ConfigurationError: before any request, for everything that cannot be.
            ObjectExistsError: `if_none_match`: there is such an object.
            PreconditionFailedError: `if_match`: it is another one.
            KmsError, StoreError, CredentialsError: a request failed; no object was written.
        """
        target = Target.of(
            locate(url, bucket=bucket, key=key),
            self._writer.encryption(encryption, encryption_context, kms_key_id),
            check_put_arguments(s3_additional_kwargs, if_match, if_none_match),
        )
        if hasattr(data, "read"):
            return fill(self._object_writer(target, progress, remaining_bytes(data)), data)
        shown, location = self._progress(progress), target.location
        with self.counters.operation("put", location) as operation, tracked(operation, shown, "writing", location):
            return self._writer.write(target, data, operation)

    @overload
    def open(self, url: Url | None, mode: Literal["wb", "xb"], **arguments: Any) -> ObjectWriter: ...

    @overload
    def open(self, url: Url | None = None, *, mode: Literal["wb", "xb"], **arguments: Any) -> ObjectWriter: ...

    @overload
    def open(self, url: Url | None = None, mode: Literal["rb"] = "rb", **arguments: Any) -> ObjectReader: ...

    def open(
        self,
        url: Url | None = None,
        mode: str = "rb",
        *,
        bucket: str | None = None,
        key: str | None = None,
        encryption: Encryption | None = None,
        encryption_context: Mapping[str, str] | AnyContext | None = None,
        kms_key_id: str | None = None,
        s3_additional_kwargs: Mapping[str, Any] | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
        progress: ProgressOption | None = None,
        **reading: Any,
    ) -> ObjectWriter | ObjectReader:
        """A file to read an object from, or to write one into.

        `"rb"` reads, with random access: arguments and errors are those of `object`. `"wb"` creates or replaces,
        `"xb"` only creates: the object appears when the file is committed, at the end of a `with` block that does not
        raise. Arguments and errors are those of `put`; the first request is sent when a part is full or at the commit.

        >>> with client.open("s3://lake/log.csv", "wb") as file:  # doctest: +SKIP
        ...     file.write(b"time,level")
        >>> with client.open("s3://lake/log.csv") as file:  # doctest: +SKIP
        ...     header = file.readline()
        """
        shared: dict[str, Any] = {"encryption": encryption, "kms_key_id": kms_key_id}
        if mode == "rb":
            writing: dict[str, Any] = {"s3_additional_kwargs": s3_additional_kwargs, "if_none_match": if_none_match}
            writing |= {"if_match": if_match, "progress": progress}
            wrong = next((name for name, value in writing.items() if value is not None), None)
            if wrong is not None:
                raise ConfigurationError(f"{wrong}= is for writing: mode 'rb' does not take it")
            shared |= {"encryption_context": encryption_context, "two_passes": True, **reading}
            return ObjectReader(self.object(url, bucket=bucket, key=key, **shared))
        if mode not in ("wb", "xb"):
            raise ConfigurationError(f"mode {mode!r} is not known: 'rb' reads, 'wb' writes, 'xb' only creates")
        if reading or isinstance(encryption_context, AnyContext):
            wrong = next(iter(reading), "encryption_context=ANY")
            message = f"open() takes no {wrong!r} in mode {mode!r}: it is for reads"
            raise TypeError(message)
        target = Target.of(
            locate(url, bucket=bucket, key=key),
            self._writer.encryption(context=encryption_context, **shared),
            check_put_arguments(s3_additional_kwargs, if_match, "*" if mode == "xb" else if_none_match),
        )
        return self._object_writer(target, progress)

    def _object_writer(
        self, target: Target, progress: ProgressOption | None, expected: int | None = None
    ) -> ObjectWriter:
        option = self._progress(progress)
        operation, succeeded = self.counters.begin("put", target.location)
        if option is not False:
            operation.progress = object_progress(option, "writing", target.location, expected)
        return ObjectWriter(self._writer, target, (operation, succeeded), expected)

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
        legacy: Legacy | None = None,
        version_id: str | None = None,
        verify_checksum: bool = False,
        progress: ProgressOption | None = None,
    ) -> PlaintextBuffer | UnauthenticatedBuffer:
        """Read an object whole: a read-only buffer of proven plaintext, in memory of the core.

        Wrap it without a copy (`memoryview`, `pyarrow.py_buffer`, `numpy.frombuffer`) or take `bytes(...)` of it. Its
        `encryption` says what was read. Memory: the object once. Each piece is opened, GIL released, as it arrives.

        Args:
            encryption: `SSE_C(key)` for an object that needs it. Any no-CSE arm also admits plain objects.
            encryption_context: what the object must have been written under; the client's if not given.
            kms_key_id: read under this key instead of the client's.
            allow_plaintext: also accept an object that is not client-side encrypted, as an `UnauthenticatedBuffer`.
            legacy: also accept old wraps of data keys (`"wrapping"`), AES-CBC content (`"content"`), as an
                `UnauthenticatedBuffer` since nothing proves it, or both (True); the client's if not given.
            verify_checksum: compare an object that is not client-side encrypted with the CRC32 that S3 has of it, which
                takes one more request. Others are proven by their tag in any case.
            progress: as for the client, for this call.

        Raises:
            SecurityError: the object is refused, nothing of it was handed out (`AuthenticationError`,
                `NotEncryptedError`, `CommitmentPolicyError`, `EncryptionContextError`, ...).
            ChecksumMismatchError, NoChecksumError: with `verify_checksum`: the bytes are not those that were stored, or
                nothing is there to tell.
            ConfigurationError, KmsError, StoreError, CredentialsError: it could not be read.
        """
        check_switch("verify_checksum", verify_checksum or False)  # faces leave it None
        location = locate(url, bucket=bucket, key=key)
        asked = encryption, encryption_context, kms_key_id, allow_plaintext, version_id, legacy
        request = self._reader.request(location, *asked)
        shown = self._progress(progress)
        with self.counters.operation("get", location) as operation, tracked(operation, shown, "reading", location):
            return self._reader.whole(request, operation, verify_checksum=verify_checksum).content

    def object(
        self,
        url: Url | None = None,
        *,
        bucket: str | None = None,
        key: str | None = None,
        encryption: Encryption | None = None,
        encryption_context: Mapping[str, str] | AnyContext | None = None,
        kms_key_id: str | None = None,
        allow_plaintext: bool | None = None,
        legacy: Legacy | None = None,
        version_id: str | None = None,
        unauthenticated_ranges: bool = False,
        two_passes: bool = False,
        size_hint: int | None = None,
        counted: Operation | None = None,
    ) -> EncryptedObject:
        """An object to read ranges of, pinned to the version that is there now. Arguments and errors as for `get`.

        Its first request brings the tail, and beside it the segment index is asked for. With an index each range is
        proven on its own. Without one the whole is fetched, proven by its tag and held in memory, up to
        `TransferOptions.max_unindexed_bytes`. `max_plaintext_bytes` bounds the object as it does for `get`.

        Args:
            unauthenticated_ranges: decrypt ranges and prove nothing: whoever can write to the bucket may have changed
                any bit of them. Buffers are `UnauthenticatedBuffer`s.
            two_passes: look at an object once as a whole if it has no index and is larger than what is held, to prove
                it and to keep what proves its ranges.
            size_hint: its stored size, from a listing: a small object then is one request.
            counted: the operation that its requests belong to, on whichever thread; otherwise one of its own, which
                leaves its row when the object is closed.

        Raises:
            NoIndexError: it has no index and is larger than what is held.
        """
        location = locate(url, bucket=bucket, key=key)
        asked = encryption, encryption_context, kms_key_id, allow_plaintext, version_id, legacy
        request = self._reader.request(location, *asked)
        check_switch("unauthenticated_ranges", unauthenticated_ranges)
        if not isinstance(size_hint, Integral | None):  # also that of numpy, out of a frame of a listing
            raise ConfigurationError(f"size_hint= is a number of bytes, not {type(size_hint).__name__}")
        opening = Opening(unauthenticated_ranges, two_passes, size_hint)
        operation, finished = (counted, lambda: None) if counted else self.counters.begin("object", location)
        return open_object(self._reader, request, operation, opening, self._options.transfer, finished)

    def index(
        self,
        url: Url | None = None,
        *,
        bucket: str | None = None,
        key: str | None = None,
        encryption_context: Mapping[str, str] | AnyContext | None = None,
        kms_key_id: str | None = None,
        legacy: Legacy | None = None,
    ) -> None:
        """Make the segment index of an object, whoever wrote it, and put it beside it: then its ranges are read and
        proven on their own. One read of the whole, which proves it, in the memory of a piece for each connection.

        Raises what `get` does; `NotEncryptedError` for a plain object; `ObjectChangedError` if it was overwritten
        meanwhile.
        """
        location = locate(url, bucket=bucket, key=key)
        request = self._reader.request(location, None, encryption_context, kms_key_id, None, None, legacy)
        with self.counters.operation("index", location) as operation:
            make_index(self._reader, request, operation, self._options.transfer)

    def head(
        self,
        url: Url | None = None,
        *,
        bucket: str | None = None,
        key: str | None = None,
        encryption: Encryption | None = None,
        version_id: str | None = None,
    ) -> ObjectHead:
        """An object's size and encryption, as its metadata claims them. No KMS call. `encryption=SSE_C(key)` is for an
        object that needs it; other arms change nothing.

        Raises `ObjectNotFoundError`, `MetadataError` for encryption metadata that makes no sense, `StoreError`,
        `CredentialsError`.
        """
        location = locate(url, bucket=bucket, key=key)
        arguments = read_arguments(encryption) | version_arguments(version_id)
        with self.counters.operation("head", location) as operation:
            stored = self._store.head(location, operation, arguments=arguments)
            try:
                encrypted = self._reader.claimed(stored, operation)
            except ObjectNotFoundError:  # its instruction file is: what is left is told
                encrypted = content_metadata.parse_at(location, stored.metadata)
            result = ObjectHead.of(stored, encrypted, self._keyrings.arn_of(encrypted))
            operation.encryption = result.encryption
        return result

    def exists(
        self,
        url: Url | None = None,
        *,
        bucket: str | None = None,
        key: str | None = None,
        encryption: Encryption | None = None,
        version_id: str | None = None,
    ) -> bool:
        """Whether there is such an object, encrypted or not; False too where there is no such bucket. One that is under
        an SSE-C key is asked for with it, as `head` does.

        Raises `StoreAccessDeniedError` where S3 does not tell missing from forbidden (`s3:ListBucket`), `StoreError`,
        `CredentialsError`.
        """
        location = locate(url, bucket=bucket, key=key)
        arguments = read_arguments(encryption) | version_arguments(version_id)
        with self.counters.operation("exists", location) as operation:
            try:
                self._store.head(location, operation, arguments=arguments)
            except ObjectNotFoundError:
                return False
        return True

    def is_encrypted(
        self,
        url: Url | None = None,
        *,
        bucket: str | None = None,
        key: str | None = None,
        encryption: Encryption | None = None,
        version_id: str | None = None,
    ) -> bool:
        """Whether an object says that it is client-side encrypted, in whichever format; instruction files count.
        No KMS call. One that is under an SSE-C key is asked for with it, as `head` does.

        Raises `ObjectNotFoundError`, `MetadataError` for encryption metadata that makes no sense, `StoreError`,
        `CredentialsError`.
        """
        location = locate(url, bucket=bucket, key=key)
        arguments = read_arguments(encryption) | version_arguments(version_id)
        with self.counters.operation("is_encrypted", location) as operation:
            stored = self._store.head(location, operation, arguments=arguments)
            if content_metadata.parse_at(location, stored.metadata) is not None:
                return True
            return self._reader.has_instruction_file(location, operation)

    def list(self, url: Url, *, delimiter: str | None = None, encryption: bool = False) -> list[ListedObject]:
        """Every object under `s3://bucket` or `s3://bucket/prefix`, in the server's order; sizes are the stored ones.
        Segment indexes are not shown, nor instruction files where the client looks at those.

        `delimiter="/"` lists one level, with rows for the prefixes below it (`is_prefix`). Listings do not tell how
        objects are encrypted: `encryption=True` asks for the HEAD of each, several at a time, and fills in
        `encryption`, `server_side`, `server_side_key` and `bucket_key`. They stay None where the server does not tell:
        of an object that is gone by then, and of SSE-C.

        Raises `BucketNotFoundError`, `StoreError`, `CredentialsError`. Of a prefix with nothing below it the list is
        empty.
        """
        prefix = locate_prefix(url)
        with self.counters.operation("list", prefix) as operation:
            listed = self._store.list(prefix.bucket, prefix.key, operation, delimiter=delimiter)
            suffix = self._options.instruction_files
            rows = [row for row in listed if row.is_prefix or not belongs_to_another(row.location, suffix)]
            if not encryption:
                return rows
            return told(self._store, rows, operation, self._options.transfer.concurrency, self._reader.claimed)

    @answered()
    def copy(
        self,
        source: Url,
        target: Url,
        *,
        encryption: Encryption | None = None,
        source_encryption: Encryption | None = None,
        version_id: str | None = None,
    ) -> None:
        """Copy an object inside S3, with its metadata, segment index and, where the client looks for those, instruction
        file: it stays sealed, and is not read here.

        Args:
            encryption: how the server encrypts the copy, sealed or not: `SSE_S3()`, `SSE_KMS(...)` or `SSE_C(key)`. By
                default as the bucket's settings say: what the server did with the source does not go along.
            source_encryption: `SSE_C(key)` for a source that needs it.
            version_id: the version of the source, the newest if not given. Only the newest has an index to take along;
                the instruction file is that of the newest in any case, and fits no version that had another one.

        Raises:
            ConfigurationError: `CSE(...)`: a copy inside S3 can neither seal nor open. Or the client has a
                `bind_location=`, and the copy would be bound to another place than its own, where nobody could read it:
                with `"prefix"` copies stay in their directory, with `"object"` there are none.
        """
        origin, goal = locate(source), locate(target)
        self._keyrings.check_moved(origin, goal)
        arguments, reading = copy_arguments(encryption), copy_arguments(source_encryption, reading=True)
        reading |= version_arguments(version_id)
        suffix = self._options.instruction_files
        with (
            self.counters.operation("copy", goal) as operation,
            copied_along(self._store, origin, goal, suffix, operation, arguments, version_id),
        ):
            at_once = self._options.transfer.concurrency
            copy_object(self._store, origin, goal, operation, at_once, arguments=arguments, source_arguments=reading)

    @answered()
    def move(
        self,
        source: Url,
        target: Url,
        *,
        encryption: Encryption | None = None,
        source_encryption: Encryption | None = None,
    ) -> None:
        """Copy an object inside S3, and delete it where it was; what belongs to it goes along. Arguments as for `copy`.

        Raises `ObjectChangedError` if it was overwritten meanwhile: then both are left.
        """
        origin, goal = locate(source), locate(target)
        self._keyrings.check_moved(origin, goal)
        copy_arguments(encryption)  # for its refusals, before there is a request
        reading = copy_arguments(source_encryption, reading=True)
        with self.counters.operation("move", goal) as operation:
            before = self._store.head(origin, operation, arguments=reading)
            if origin == goal:
                return
            self.copy(origin, goal, encryption=encryption, source_encryption=source_encryption)
            if self._store.head(origin, operation, arguments=reading).etag != before.etag:
                raise ObjectChangedError(f"{origin}: overwritten while it was moved to {goal}: it stays where it was")
            self.delete(origin)

    @answered()
    def delete(
        self,
        url: Url | None = None,
        *,
        bucket: str | None = None,
        key: str | None = None,
        version_id: str | None = None,
    ) -> None:
        """Delete an object, unless one version is named with its segment index and, where the client looks for those,
        instruction file. One that does not exist is no error, as in S3.

        Raises `BucketNotFoundError`, `StoreError`, `CredentialsError`.
        """
        location, arguments = locate(url, bucket=bucket, key=key), version_arguments(version_id)
        with self.counters.operation("delete", location) as operation:
            self._store.delete(location, operation, arguments=arguments)
            if version_id is None:
                delete_along(self._store, location, self._options.instruction_files, operation)

    def _progress(self, option: ProgressOption | None) -> ProgressOption:
        return self._options.progress if option is None else check_progress(option)

    def uploads(self, url: Url) -> builtins.list[OpenUpload]:
        """The multipart uploads under `s3://bucket` or `s3://bucket/prefix` that nobody completed or aborted.

        That is what a killed writer leaves, and also what a living one is at. Raises `StoreError`, `CredentialsError`.

        >>> for upload in client.uploads("s3://lake"):  # doctest: +SKIP
        ...     client.abort_upload(upload)
        """
        prefix = locate_prefix(url)
        with self.counters.operation("uploads", prefix) as operation:
            return [*self._store.list_uploads(prefix.bucket, prefix.key, operation)]

    def abort_upload(self, upload: OpenUpload) -> None:
        """Give up a multipart upload and the parts that it stored; its writer then fails. One that is gone is no error.

        Raises `ConfigurationError` for what `uploads` does not give, `StoreError`, `CredentialsError`.
        """
        if not isinstance(upload, OpenUpload):
            raise ConfigurationError(f"abort_upload() takes what uploads(url) lists, not {type(upload).__name__}")
        with self.counters.operation("abort_upload", upload.location) as operation:
            self._store.abort_upload(upload.location, operation, upload.upload_id)

    def data_key_reuse(self) -> contextlib.AbstractContextManager[None]:
        """Inside this block, one data key serves many V3 objects of this client, on whichever threads.

        Each object still has a message id, and derived from it a content key, of its own; readers notice nothing. One
        data key serves at most 10,000 objects, 1 TiB and 15 minutes. The trade: KMS's audit trail then shows one call
        for all of these objects, and whoever gets that data key opens them all. Places with a key or an encryption
        context of their own (`kms_key_id` by prefix, `bind_location`) have a data key of their own. Refused under V2,
        whose data key would encrypt every object itself.

        >>> with client.data_key_reuse():  # doctest: +SKIP
        ...     for part, table in enumerate(tables):
        ...         arrowseal.arrow.write_table(table, f"s3://lake/flights/{part}.parquet", client=client)
        """
        return self._reuse.block()
