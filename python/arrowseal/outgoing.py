"""What goes into a write, checked before any request: the bytes, their size, and the caller's own arguments for S3."""

from __future__ import annotations

import io
import os
import re
import selectors
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from arrowseal import _core
from arrowseal.encryption import CSE, Encryption, Plain, check_encryption
from arrowseal.exceptions import ConfigurationError, SizeLimitError
from arrowseal.metadata import RESERVED_NAMES
from arrowseal.suites import MAX_CONTENT_BYTES

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from arrowseal.location import ObjectLocation

_PIECE_BYTES: Final = 2**20  # of a file, read at a time
# Given elsewhere in the call, or a function of the plaintext: a checksum of it would leak what it says.
_NOT_THE_CALLERS: Final = {"Bucket", "Key", "Body", "ContentLength", "ContentMD5", "WriteOffsetBytes"}

_SHARED: Final = frozenset(
    {"ACL", "ExpectedBucketOwner", "RequestPayer", "ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled"}
)

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def contiguous(data: Any) -> tuple[Buffer, int]:
    """`data` as a buffer that the core takes, and its size in bytes."""
    if data is None:
        raise ConfigurationError("no data given: put(url, data) takes a buffer of bytes, or a binary file")
    if isinstance(data, bytes | _core.PlaintextBuffer | _core.UnauthenticatedBuffer):
        return data, len(data)
    try:
        view = memoryview(data)
    except (TypeError, ValueError, BufferError):
        hint = ": encode it first" if isinstance(data, str) else ""
        raise ConfigurationError(
            f"data is a buffer of bytes or a binary file, not {type(data).__name__}{hint}"
        ) from None
    if "O" in view.format:
        raise ConfigurationError("data is an array of Python objects, which are addresses, not bytes: convert it first")
    if not view.c_contiguous:
        raise ConfigurationError("data is not contiguous in memory: copy it first, for example with bytes(...)")
    return (view.cast("B") if view.nbytes else b""), view.nbytes


def read_piece(file: Any) -> bytes:
    """The next piece of a binary file, waited for where it comes from a pipe that does not block; empty at its end.
    Raises `ConfigurationError` for a file in text mode, or one that has nothing now and cannot be waited for.
    """
    while (content := file.read(_PIECE_BYTES)) is None:
        _wait_for(file)
    if isinstance(content, str):
        raise ConfigurationError("the file is open in text mode: open it with 'rb'")
    return content or b""


def _wait_for(file: Any) -> None:
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(file, selectors.EVENT_READ)
            selector.select()
    except (OSError, ValueError):
        raise ConfigurationError(
            "the file has nothing to read at the moment, and is not at its end: give one that blocks"
        ) from None


def remaining_bytes(file: Any) -> int | None:
    """How long the rest of a file is at the moment. None for what is no file on a disk, or not as it lies there."""
    try:
        if not isinstance(getattr(file, "raw", file), io.FileIO) or not file.seekable():
            return None
        position: int = file.tell()
        return max(os.fstat(file.fileno()).st_size - position, 0)
    except (OSError, ValueError):
        return None


def check_size(location: ObjectLocation, size: int, encryption: Encryption) -> None:
    """Raise `SizeLimitError` for what the format cannot hold."""
    if isinstance(encryption, CSE) and size > MAX_CONTENT_BYTES:
        raise SizeLimitError(f"{location}: {size:,} bytes are more than the {MAX_CONTENT_BYTES:,} of the format")


def check_put_arguments(
    given: Mapping[str, Any] | None, if_match: str | None, if_none_match: str | None
) -> dict[str, Any]:
    """A caller's arguments for boto3's `put_object`, with the condition of the write. Raises `ConfigurationError` for
    those that are not its to give, and for conditions that cannot be.
    """
    if given is not None and not isinstance(given, Mapping):
        raise ConfigurationError(
            f"s3_additional_kwargs is a mapping of arguments of boto3's put_object, not {type(given).__name__}"
        )
    if not isinstance(if_match, str | None):
        raise ConfigurationError(f"if_match= is an ETag, a string, not {type(if_match).__name__}")
    arguments = dict(given or {})
    if if_match is not None:
        arguments["IfMatch"] = if_match if if_match.startswith('"') else f'"{if_match}"'
    if if_none_match is not None:
        arguments["IfNoneMatch"] = if_none_match
    if arguments.get("IfNoneMatch", "*") != "*" or {"IfMatch", "IfNoneMatch"} <= arguments.keys():
        raise ConfigurationError(
            "a write has one condition: if_none_match='*' writes only what is not there yet, if_match=ETAG replaces "
            "only the object that has this ETag"
        )
    for name in arguments:
        if not isinstance(name, str):
            raise ConfigurationError(f"s3_additional_kwargs has {name!r}, which is no name of an argument")
        if name in _NOT_THE_CALLERS or name.startswith("Checksum"):
            raise ConfigurationError(
                f"s3_additional_kwargs must not have {name!r}: it is set here; a checksum of plaintext is never sent"
            )
        if name.startswith(("ServerSideEncryption", "SSE", "BucketKey")):
            raise ConfigurationError(
                f"s3_additional_kwargs must not have {name!r}: say encryption=SSE_S3(), SSE_KMS(...) or SSE_C(...)"
            )
    return arguments


def shared_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those arguments of an object's write that what lies beside it is written with too: a bucket may demand them."""
    return {name: value for name, value in arguments.items() if name in _SHARED}


def copy_arguments(encryption: Encryption | None, *, reading: bool = False) -> dict[str, Any]:
    """What a copy inside S3 says of the server's encryption, of the copy or (`reading`) of its source. Raises
    `ConfigurationError` for client-side encryption.
    """
    check_encryption(encryption)
    if encryption is None:
        return {}
    if not isinstance(encryption, Plain):
        raise ConfigurationError(
            "a copy inside S3 can neither seal nor open: what is sealed stays so, what is not is sealed by "
            "client.put(target, client.get(source, allow_plaintext=True)) or by arrowseal.operations.migrate"
        )
    return encryption.read_arguments() if reading else encryption.arguments()


def split_metadata(arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The arguments without `Metadata`, and the user metadata. Raises `ConfigurationError` for reserved names, and for
    what no header can say.
    """
    metadata: Any = arguments.pop("Metadata", {})
    if not isinstance(metadata, Mapping):
        raise ConfigurationError(f"user metadata is a mapping of strings to strings, not {type(metadata).__name__}")
    reserved = sorted(name for name in metadata if str(name).lower() in RESERVED_NAMES)
    if reserved:
        raise ConfigurationError(f"user metadata must not use {', '.join(reserved)}: the encryption formats do")
    for name, value in metadata.items():
        if not isinstance(name, str) or not isinstance(value, str) or not (name + value).isascii():
            raise ConfigurationError(f"user metadata maps ASCII strings to ASCII strings; {name!r} does not")
        if not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"user metadata goes in headers, and {name!r} is no name of one")
    if len({name.lower() for name in metadata}) < len(metadata):
        raise ConfigurationError("two names of the user metadata differ in case only, and S3 keeps one of them")
    for name, value in {**arguments, **metadata}.items():
        if isinstance(value, str) and _CONTROL.search(value):
            raise ConfigurationError(f"{name!r} has a control character or the end of a line, and goes in a header")
    return arguments, dict(metadata)
