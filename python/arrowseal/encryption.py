"""How a write is protected: client-side (`CSE`), or one of the arms without it that comparisons need.

>>> from arrowseal import CSE, PLAIN, SSE_KMS
>>> CSE(encryption_context={"team": "weather"}).label
'CSE V3'
>>> PLAIN.label, SSE_KMS("alias/tables", bucket_key=True).label
('PLAIN', 'SSE-KMS')
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from arrowseal.exceptions import ConfigurationError
from arrowseal.suites import NOT_THE_USERS, AnyContext, Format

KMS_ARN: Final = re.compile(r"arn:[^:]+:kms:([^:]+):[^:]*:(key|alias)/.+")
"""The ARN of a KMS key, or of an alias of one; its first group is the Region."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class CSE:
    """Client-side encryption. What is None is taken from the client.

    `encryption_context` is bound to the object by KMS, stored with it in clear, and must be given again to read it.
    `instruction_file` puts the encrypted data key into an object of its own beside the object, by the client's suffix
    (`Client(instruction_files=)`) or `.instruction`; readers have to look there too.
    """

    kms_key_id: str | None = None
    format: Format | None = None
    encryption_context: Mapping[str, str] | None = field(default=None, repr=False)
    instruction_file: bool = False

    def __post_init__(self) -> None:
        if self.format is not None:
            object.__setattr__(self, "format", Format.of(self.format))
        if not isinstance(self.instruction_file, bool):
            raise ConfigurationError("CSE(instruction_file=) is True or False: the suffix is the client's to say")
        if self.kms_key_id is not None:
            check_key_id(self.kms_key_id)

    @property
    def label(self) -> str:
        """`"CSE V3"` or `"CSE V2"`."""
        return f"CSE {(self.format or Format.V3).value}"


@dataclass(frozen=True)
class Plain:
    """The type of `PLAIN`: stored as it is."""

    label: str = field(default="PLAIN", init=False)

    def arguments(self) -> dict[str, Any]:
        """What a PUT says to S3 about it."""
        return {}

    def read_arguments(self) -> dict[str, Any]:
        """What a GET or HEAD has to say to S3 to read such an object."""
        return {}

    def __repr__(self) -> str:
        return "PLAIN" if type(self) is Plain else f"{type(self).__name__}()"


PLAIN: Final = Plain()
"""No encryption by this client, and none asked of the server."""


@dataclass(frozen=True, repr=False)
class SSE_S3(Plain):  # noqa: N801 - the name that AWS gives it
    """Encrypted by S3 under a key of S3."""

    label: str = field(default="SSE-S3", init=False)

    def arguments(self) -> dict[str, Any]:
        return {"ServerSideEncryption": "AES256"}


@dataclass(frozen=True, repr=False)
class SSE_KMS(Plain):  # noqa: N801
    """Encrypted by S3 under a KMS key (the account's default one if None), with or without an S3 Bucket Key."""

    key: str | None = None
    bucket_key: bool = False
    label: str = field(default="SSE-KMS", init=False)

    def __post_init__(self) -> None:
        if self.key is not None:
            check_key_id(self.key)
        if not isinstance(self.bucket_key, bool):
            raise ConfigurationError(f"SSE_KMS(bucket_key=) is True or False, not {self.bucket_key!r}")

    def arguments(self) -> dict[str, Any]:
        key = {} if self.key is None else {"SSEKMSKeyId": self.key}
        return {"ServerSideEncryption": "aws:kms", "BucketKeyEnabled": self.bucket_key} | key

    def __repr__(self) -> str:
        return f"SSE_KMS({self.key!r}, bucket_key={self.bucket_key})"


@dataclass(frozen=True, repr=False)
class SSE_C(Plain):  # noqa: N801
    """Encrypted by S3 under a 32-byte key that the caller sends with each request; reads need it too.

    Raises `ConfigurationError` for a key of another length. The key is shown by no repr.
    """

    key: bytes = b""
    label: str = field(default="SSE-C", init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.key, bytes) or len(self.key) != 32:
            raise ConfigurationError("SSE_C takes a key of 32 bytes")

    def arguments(self) -> dict[str, Any]:
        digest = hashlib.md5(self.key, usedforsecurity=False).digest()  # a checksum that the protocol asks for
        return {
            "SSECustomerAlgorithm": "AES256",
            "SSECustomerKey": base64.b64encode(self.key).decode(),
            "SSECustomerKeyMD5": base64.b64encode(digest).decode(),
        }

    def read_arguments(self) -> dict[str, Any]:
        return self.arguments()

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("SSE_C holds a key and cannot be pickled")


Encryption: TypeAlias = CSE | Plain
"""How a write is protected."""


def check_encryption(encryption: Any) -> None:
    """Raise `ConfigurationError` unless it is an `Encryption`, or None: on reads too, where the name of an arm or its
    class would count as nothing said.
    """
    if encryption is not None and not isinstance(encryption, (CSE, Plain)):
        given = f"the class {encryption.__name__}" if isinstance(encryption, type) else type(encryption).__name__
        raise ConfigurationError(f"encryption= is CSE(...), PLAIN, SSE_S3(), SSE_KMS(...) or SSE_C(...), not {given}")


def read_arguments(encryption: Encryption | None) -> dict[str, Any]:
    """What a GET or HEAD of an object has to say to S3 of how it is protected. Raises `ConfigurationError`.

    >>> read_arguments(None), read_arguments(CSE()), read_arguments(PLAIN)
    ({}, {}, {})
    """
    check_encryption(encryption)
    return encryption.read_arguments() if isinstance(encryption, Plain) else {}


def check_key_id(key_id: Any) -> str:
    """The name of a KMS key, as it was given. Raises `ConfigurationError` for what can be none: an empty text, as an
    unset variable gives it, must not stand for another key.

    >>> check_key_id("alias/tables")
    'alias/tables'
    """
    if not isinstance(key_id, str) or not key_id.strip():
        given = "an empty one" if isinstance(key_id, str) else type(key_id).__name__  # no value: it may be a raw key
        raise ConfigurationError(
            f"KMS keys are given as strings, an id, an ARN or an alias such as 'alias/tables', not as {given}"
        )
    if key_id != key_id.strip():
        raise ConfigurationError(f"{key_id!r} is no KMS key: it has blanks or the end of a line around it")
    if key_id.startswith("arn:") and not KMS_ARN.fullmatch(key_id):
        raise ConfigurationError(
            f"{key_id!r} is no ARN of a KMS key, which is arn:aws:kms:REGION:ACCOUNT:key/ID, or alias/NAME at its end"
        )
    return key_id


def check_context(context: Mapping[str, str] | None) -> dict[str, str]:
    """A user's encryption context as a plain dict. Raises `ConfigurationError` unless it maps strings to strings and
    leaves the reserved names alone; values are not repeated in the message.
    """
    if context is None:
        return {}
    if isinstance(context, AnyContext):
        raise ConfigurationError("encryption_context=ANY is for reads: a write says which one, {} for none")
    if not isinstance(context, Mapping):
        raise ConfigurationError(f"an encryption context maps strings to strings, not {type(context).__name__}")
    for name, value in context.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigurationError(f"an encryption context maps strings to strings; the entry {name!r} does not")
        if name in NOT_THE_USERS:
            raise ConfigurationError(f"{name!r} is reserved in encryption contexts: encryption clients set it")
        if _SURROGATE.search(name + value):
            raise ConfigurationError(f"the entry {name!r} of an encryption context cannot be written as UTF-8")
    return dict(context)
