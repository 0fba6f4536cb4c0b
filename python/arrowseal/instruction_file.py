"""The instruction file beside an object: the encrypted data key and what goes with it, kept out of the metadata.

It is an object of its own, named by the object's key and a suffix, that holds one flat JSON object of the names that
would otherwise be user metadata. V3 keeps algorithm, commitment and message id in the object: a file of another object,
or with another data key, then does not fit. V1 and V2 have nothing that tells, and no store writes two objects at once:
two writers of one key at the same moment may leave a file that fits neither. Such an object is refused, never wrong.
Source: metadata strategy, instruction file (S3 Encryption Client specification).
"""

from __future__ import annotations

import contextlib
import json
import warnings
from typing import TYPE_CHECKING, Any, Final, Protocol

from arrowseal.cancellation import shielded
from arrowseal.exceptions import (
    ArrowSealError,
    LocationError,
    MetadataError,
    ObjectExistsError,
    ObjectNotFoundError,
)
from arrowseal.flat_json import parse_flat
from arrowseal.location import MAX_KEY_BYTES, ObjectLocation, version_arguments
from arrowseal.metadata import (
    CONTEXT,
    INSTRUCTION_FILE,
    INSTRUCTION_NAMES,
    MATDESC,
    MATERIAL_DESCRIPTION,
    TAG_LEN,
    UNENCRYPTED_LENGTH,
)
from arrowseal.outgoing import shared_arguments
from arrowseal.store import Payload
from arrowseal.transfer import exactly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from arrowseal.counters import Operation
    from arrowseal.retrying import RetryingStore

MAX_BYTES: Final = 2**16
"""Larger ones are refused before they are read: RSA-4096 and 8 KB of encryption context take a seventh of it."""
_NUMBERS: Final = {TAG_LEN, UNENCRYPTED_LENGTH}  # which the Go client takes either way
_NULLABLE: Final = {MATDESC, CONTEXT, MATERIAL_DESCRIPTION, UNENCRYPTED_LENGTH}  # null for none, as .NET writes


def beside(location: ObjectLocation, suffix: str) -> ObjectLocation | None:
    """Where the instruction file of an object lies; None where it can have none: its key leaves no room, or is that of
    an instruction file itself.

    >>> str(beside(ObjectLocation("lake", "a.parquet"), ".instruction"))
    's3://lake/a.parquet.instruction'
    """
    file = ObjectLocation(location.bucket, location.key + suffix)
    too_long = len(file.key.encode()) > MAX_KEY_BYTES
    return None if too_long or is_instruction_file(location, suffix) else file


def is_instruction_file(location: ObjectLocation, suffix: str | None) -> bool:
    """Whether this is where the instruction file of another object lies."""
    return suffix is not None and location.key.endswith(suffix)


def check_key(location: ObjectLocation, suffix: str) -> None:
    """Raise `LocationError` for the key of a write that has no place for an instruction file, or would be taken for
    one.
    """
    if is_instruction_file(location, suffix):
        raise LocationError(
            f"{location}: keys that end in {suffix} are those of instruction files here. An object of that name is "
            "written by a client without instruction_files=, or with another suffix"
        )
    if beside(location, suffix) is None:
        raise LocationError(f"{location}: the key of its instruction file would be longer than {MAX_KEY_BYTES} bytes")


def render(entries: Mapping[str, str]) -> bytes:
    """The bytes of an instruction file: ASCII, and no name that a reader might not know."""
    return json.dumps(dict(entries)).encode("ascii")


def parse(content: bytes) -> dict[str, str]:
    """What the bytes of an instruction file say. Raises `MetadataError`."""
    if len(content) > MAX_BYTES:
        raise MetadataError(f"the instruction file is longer than {MAX_BYTES:,} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise MetadataError("the instruction file is not UTF-8") from None
    return parse_flat(text, "the instruction file", numbers=_NUMBERS, nullable=_NULLABLE)


def fetch(store: RetryingStore, location: ObjectLocation, suffix: str, operation: Operation) -> dict[str, str] | None:
    """What the instruction file of an object says; None if nothing is there. One request, for 64 KiB at most.

    Raises `MetadataError` for what is no instruction file; `StoreError`s, `CredentialsError`.
    """
    content = _read(store, location, suffix, operation)
    try:
        return None if content is None else parse(content)
    except MetadataError as error:
        message = f"{location}: {error} ({location.key}{suffix}). It may have been tampered with"
        raise MetadataError(message) from None


def read(store: RetryingStore, file: ObjectLocation, version: str | None, operation: Operation) -> dict[str, str]:
    """What an instruction file says, or an old version of one, wherever it lies. Raises `MetadataError`, `StoreError`s,
    `CredentialsError`.
    """
    return parse(_content(store, file, operation, version_arguments(version)))


def lies_beside(store: RetryingStore, location: ObjectLocation, suffix: str, operation: Operation) -> bool:
    """Whether an instruction file lies beside an object, and not something that is only named so. Raises
    `StoreError`s, `CredentialsError`.
    """
    content = _read(store, location, suffix, operation)
    return content is not None and _is_one(content)


def remove(store: RetryingStore, location: ObjectLocation, suffix: str, operation: Operation) -> None:
    """Delete the instruction file of an object, if there is one. What is no instruction file and only named so stays.

    Looked at first: a versioned bucket marks also what never was as deleted. Raises `StoreError`s, `CredentialsError`.
    """
    file, content = beside(location, suffix), _read(store, location, suffix, operation)
    if file is not None and content is not None and _is_one(content):
        store.delete(file, operation, arguments={})


class Beside(Protocol):
    """The instruction file that a write or a copy brings, or leaves behind."""

    def put(self) -> None:
        """Before the object is written. What it raises ends the write."""

    def take_back(self) -> None:
        """The object was not written."""

    def done(self) -> None:
        """The object was written."""


@contextlib.contextmanager
def in_step(beside: Beside | None, written: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Within the block the object is written: its instruction file comes before it, and is taken back if the block
    raises, unless the object is there all the same: what `written` asks, since answers get lost. Where it cannot tell,
    the file stays. Raises what `put` does; where cleaning up fails that is a warning.
    """
    if beside is None:
        yield
        return
    try:
        beside.put()
    except BaseException:
        _warned(beside, beside.take_back)
        raise
    try:
        yield
    except BaseException:
        _warned(beside, lambda: beside.done() if written() else beside.take_back())
        raise
    _warned(beside, beside.done)


def _warned(beside: Beside, call: Callable[[], None]) -> None:
    try:
        with shielded():
            call()
    except ArrowSealError as error:
        warnings.warn(
            f"{beside}: it may be left as it must not be ({error}): look at it before the object is read",
            RuntimeWarning,
            stacklevel=2,
        )


def of_copy(
    store: RetryingStore,
    source: ObjectLocation,
    target: ObjectLocation,
    suffix: str,
    operation: Operation,
    arguments: Mapping[str, Any],
) -> Beside:
    """What a copy of an object brings along: its instruction file, or where it has none, the end of the one that an
    object at the target left. Raises `StoreError`s, `CredentialsError`.
    """
    content = _read(store, source, suffix, operation)
    if content is not None and not _is_one(content):
        content = _read(store, source, suffix, operation)  # once more: bits may flip on their way
    if content is None or not _is_one(content):
        return Removal(store, target, suffix, operation)
    origin = beside(source, suffix) if source != target else None
    return Replacement(store, target, suffix, content, operation, arguments, origin)


class Replacement:
    """The instruction file of one write, `content`: put before its object, and taken back if the object is not written.

    What an earlier object had there is kept in memory and put back then, since that object stays. With an `origin` it
    is copied from there inside S3: a bit that flips on the way through here would be a data key that is lost when a
    move deletes the other one. Not shared between threads.
    """

    def __init__(
        self,
        store: RetryingStore,
        location: ObjectLocation,
        suffix: str,
        content: bytes,
        operation: Operation,
        arguments: Mapping[str, Any],
        origin: ObjectLocation | None = None,
    ) -> None:
        self._store = store
        self._origin = origin
        self._location = location
        self._suffix = suffix
        self._content = content
        self._operation = operation
        self._arguments = shared_arguments(arguments)
        self._before: bytes | None = None
        self._sent = False

    def __repr__(self) -> str:
        return f"the instruction file {self._location}{self._suffix}"

    def put(self) -> None:
        """Put the file. Raises `StoreError`s, and `ObjectExistsError` where an object lies that is none."""
        self._before = _read(self._store, self._location, self._suffix, self._operation)
        if self._before is not None and not _is_one(self._before):
            raise ObjectExistsError(
                f"{self._location}{self._suffix}: an object that is no instruction file lies where that of "
                f"{self._location} would: it is not overwritten. Write under another key, or with another suffix"
            )
        self._sent = True
        file = beside(self._location, self._suffix)
        if self._origin is None or file is None:
            self._put(self._content)
        else:
            self._store.copy(self._origin, file, self._operation, arguments=self._arguments)

    def take_back(self) -> None:
        """Put back what was there, unless somebody has written the file since. Raises `StoreError`s."""
        if not self._sent:
            return
        self._sent = False
        now = _read(self._store, self._location, self._suffix, self._operation)
        if now == self._content and self._before is None:
            remove(self._store, self._location, self._suffix, self._operation)
        elif now in (None, self._content) and self._before is not None:
            self._put(self._before)

    def done(self) -> None:
        """The object was written: the file stays."""

    def _put(self, content: bytes) -> None:
        file = beside(self._location, self._suffix)
        if file is None:
            check_key(self._location, self._suffix)
            return
        payload, marker = Payload(content), {INSTRUCTION_FILE: ""}
        self._store.repeat(
            self._operation,
            lambda: self._store.put(file, self._operation, payload, metadata=marker, arguments=self._arguments),
        )


class Removal:
    """What a write without an instruction file does about one that an earlier object left: removes it afterwards."""

    def __init__(self, store: RetryingStore, location: ObjectLocation, suffix: str, operation: Operation) -> None:
        self._of = store, location, suffix, operation

    def __repr__(self) -> str:
        return f"the instruction file {self._of[1]}{self._of[2]} of an earlier object"

    def put(self) -> None:
        """Nothing goes before the object."""

    def take_back(self) -> None:
        """The earlier object stays, and its file."""

    def done(self) -> None:
        """Remove the file. Raises `StoreError`s, `CredentialsError`."""
        remove(*self._of)


def _is_one(content: bytes) -> bool:
    """Whether this can be an instruction file: all of its names are those of the formats."""
    try:
        names = parse(content).keys()
    except MetadataError:
        return False
    return bool(names) and names <= INSTRUCTION_NAMES


def _read(store: RetryingStore, location: ObjectLocation, suffix: str, operation: Operation) -> bytes | None:
    """The bytes of the object that lies there, one more than an instruction file may have at most."""
    file = beside(location, suffix)
    if file is None:
        return None
    try:
        return _content(store, file, operation, {})
    except ObjectNotFoundError:
        return None


def _content(store: RetryingStore, file: ObjectLocation, operation: Operation, arguments: Mapping[str, Any]) -> bytes:
    def call() -> bytes:
        stored, body = store.get(file, operation, byte_range=(0, MAX_BYTES + 1), arguments=arguments)
        try:
            with operation.timed("s3"):
                return bytes(exactly(body, min(stored.stored_bytes, MAX_BYTES + 1), file))
        finally:
            body.close()

    return store.repeat(operation, call)
