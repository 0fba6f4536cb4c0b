"""What goes into a write, checked before any request: the bytes, their size, and the caller's own arguments for S3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from arrowseal import _core
from arrowseal.encryption import CSE, Encryption
from arrowseal.exceptions import ConfigurationError, SizeLimitError
from arrowseal.metadata import RESERVED_NAMES
from arrowseal.suites import MAX_CONTENT_BYTES, TAG_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Buffer

    from arrowseal.location import ObjectLocation

_PUT_LIMIT: Final = 5 * 2**30  # the largest body of one PutObject
# Given elsewhere in the call, or a function of the plaintext: a checksum of it would leak what it says.
_NOT_THE_CALLERS: Final = {"Bucket", "Key", "Body", "ContentLength", "ContentMD5", "WriteOffsetBytes"}


def contiguous(data: Any) -> tuple[Buffer, int]:
    """`data` as a buffer that the core takes, and its size in bytes. A binary file is read to its end."""
    if data is None:
        raise ConfigurationError("no data given: put(url, data) takes a buffer of bytes, or a binary file")
    if isinstance(data, bytes | _core.PlaintextBuffer | _core.UnauthenticatedBuffer):
        return data, len(data)
    if hasattr(data, "read"):
        return contiguous(_read_file(data))
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


def _read_file(file: Any) -> Buffer:
    content = file.read()
    if isinstance(content, str):
        raise ConfigurationError("the file is open in text mode: open it with 'rb'")
    return content  # type: ignore[no-any-return]


def check_size(location: ObjectLocation, size: int, encryption: Encryption) -> None:
    """Raise `SizeLimitError` for what one object, or the one PUT that writes it, cannot hold."""
    if isinstance(encryption, CSE) and size > MAX_CONTENT_BYTES:
        raise SizeLimitError(f"{location}: {size:,} bytes are more than the {MAX_CONTENT_BYTES:,} of the format")
    if size > _PUT_LIMIT - TAG_BYTES:
        raise SizeLimitError(
            f"{location}: {size:,} bytes are more than the 5 GiB that one PUT takes: write several objects"
        )


def check_put_arguments(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """A caller's arguments for boto3's `put_object`. Raises `ConfigurationError` for those that are not its to give."""
    arguments = dict(given or {})
    for name in arguments:
        if name in _NOT_THE_CALLERS or name.startswith("Checksum"):
            raise ConfigurationError(
                f"s3_additional_kwargs must not have {name!r}: it is set here; a checksum of plaintext is never sent"
            )
        if name.startswith(("ServerSideEncryption", "SSE", "BucketKey")):
            raise ConfigurationError(
                f"s3_additional_kwargs must not have {name!r}: say encryption=SSE_S3(), SSE_KMS(...) or SSE_C(...)"
            )
    return arguments


def split_metadata(arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The arguments without `Metadata`, and the user metadata. Raises `ConfigurationError` for reserved names."""
    metadata: Any = arguments.pop("Metadata", {})
    reserved = sorted(name for name in metadata if str(name).lower() in RESERVED_NAMES)
    if reserved:
        raise ConfigurationError(f"user metadata must not use {', '.join(reserved)}: the encryption formats do")
    for name, value in metadata.items():
        if not isinstance(name, str) or not isinstance(value, str) or not (name + value).isascii():
            raise ConfigurationError(f"user metadata maps ASCII strings to ASCII strings; {name!r} does not")
    return arguments, dict(metadata)
