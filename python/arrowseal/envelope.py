"""Every reason to refuse to open an object, in order, in one function that makes no request.

It runs on metadata alone: before KMS is called, before memory is taken, before a byte of the body is looked at.
Order of steps: S3 Encryption Client specification (decryption), with its Java client as authority and three more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from arrowseal import metadata as content_metadata
from arrowseal.exceptions import (
    AuthenticationError,
    CommitmentPolicyError,
    EncryptionContextError,
    MetadataError,
    NotEncryptedError,
    SecurityError,
    SizeLimitError,
    UnsupportedFormatError,
)
from arrowseal.metadata import KMS_CONTEXT, EncryptedMetadata
from arrowseal.suites import (
    MAX_CONTENT_BYTES,
    RESERVED_CONTEXT_NAME,
    TAG_BYTES,
    AnyContext,
    CommitmentPolicy,
    Format,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal.legacy import LegacyWord
    from arrowseal.location import ObjectLocation


@dataclass(frozen=True, slots=True)
class ReadRules:
    """What a read accepts; all of it the caller's own words."""

    commitment_policy: CommitmentPolicy
    allow_plaintext: bool
    encryption_context: Mapping[str, str] | AnyContext
    max_plaintext_bytes: int
    wraps: frozenset[str]
    """The wrapping algorithms that the keyrings at hand unwrap, legacy ones included."""
    legacy: frozenset[LegacyWord] = frozenset()
    """Which legacy is admitted: `"wrapping"`, `"content"`, both or none."""
    instruction_files: str | None = None
    """The suffix of the instruction files that are looked at; None looks at none."""


def admit(
    location: ObjectLocation, metadata: Mapping[str, str], stored_bytes: int, rules: ReadRules
) -> EncryptedMetadata | None:
    """The encryption of an object that may be opened; None for a plain one that may be read.

    Raises a `SecurityError` that names the object and, where there is one, the switch that would admit it.
    """
    encrypted = content_metadata.parse_at(location, metadata)
    if encrypted is None:
        _admit_plain(location, stored_bytes, rules)
        return None
    _refuse_formats_not_read(location, encrypted)
    if rules.commitment_policy.requires_committed_reads and encrypted.format != Format.V3.value:
        raise CommitmentPolicyError(
            f"{location}: format {encrypted.format} has no key commitment and commitment policy "
            f"{rules.commitment_policy.value} requires it. If objects of this format are expected here, read with "
            "commitment_policy=arrowseal.CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT"
        )
    if encrypted.wrap not in rules.wraps:
        raise UnsupportedFormatError(
            f"{location}: its data key is wrapped by {encrypted.wrap!r}, which the configured keyring does not unwrap; "
            f"it unwraps {', '.join(sorted(rules.wraps))}"
        )
    if encrypted.wrap == KMS_CONTEXT and encrypted.context.get(RESERVED_CONTEXT_NAME) != encrypted.content_algorithm:
        raise MetadataError(
            f"{location}: the encryption context does not bind the object's content algorithm. The metadata may have "
            "been tampered with"
        )
    _compare_contexts(location, encrypted, rules.encryption_context)
    _limit(location, stored_bytes - TAG_BYTES, rules.max_plaintext_bytes)
    if stored_bytes < TAG_BYTES:
        raise AuthenticationError(
            f"{location}: {stored_bytes} bytes are stored, fewer than the authentication tag alone: the object was "
            "truncated, or its body was replaced"
        )
    return encrypted


def _admit_plain(location: ObjectLocation, stored_bytes: int, rules: ReadRules) -> None:
    if not rules.allow_plaintext:
        raise NotEncryptedError(
            f"{location}: the object is not client-side encrypted (or its encryption metadata was lost). If plain "
            "objects are expected here, read with allow_plaintext=True"
        )
    _limit(location, stored_bytes, rules.max_plaintext_bytes)


def _refuse_formats_not_read(location: ObjectLocation, encrypted: EncryptedMetadata) -> None:
    def refused(what: str, way_out: str) -> SecurityError:
        return UnsupportedFormatError(f"{location}: {what}. {way_out}")

    if encrypted.instruction_file:
        raise refused(
            "its encryption metadata lies in an instruction file, which this version does not read",
            "Read it with the client that wrote it, and write it again with its metadata in the object",
        )
    if encrypted.format == "V1":
        raise refused(
            "format V1 (AES-CBC, not authenticated) is legacy, and this version has no legacy= switch to read it",
            "Rewrite the object in format V3 with a client that reads V1",
        )
    if encrypted.content_algorithm not in (Format.V2.content_algorithm, Format.V3.content_algorithm):
        raise refused(
            f"content algorithm {encrypted.content_algorithm!r} is legacy and not authenticated, and this version has "
            "no legacy= switch to read it",
            "Rewrite the object in format V3 with a client that reads it",
        )
    if encrypted.wrap in ("kms", "AESWrap", "RSA/ECB/OAEPWithSHA-256AndMGF1Padding"):
        raise refused(
            f"wrapping algorithm {encrypted.wrap!r} is legacy, and this version has no legacy= switch to read it",
            "Rewrite the object in format V3 with a client that reads it",
        )
    if encrypted.wrap in ("AES/GCM", "RSA-OAEP-SHA1"):
        raise refused(
            f"its data key is wrapped by a raw key ({encrypted.wrap}), and this version has the KMS keyring only",
            "Read it with a client that holds the raw key",
        )


def _compare_contexts(
    location: ObjectLocation, encrypted: EncryptedMetadata, expected: Mapping[str, str] | AnyContext
) -> None:
    if isinstance(expected, AnyContext):
        return
    if encrypted.user_context != dict(expected):
        raise EncryptionContextError(
            f"{location}: the object was written under an encryption context with the names "
            f"{list(encrypted.user_context_names)}, and this read expects {sorted(expected)} (or values differ). Give "
            "the same one as encryption_context=, or arrowseal.ANY to accept whatever the object says"
        )


def _limit(location: ObjectLocation, plaintext_bytes: int, max_plaintext_bytes: int) -> None:
    limit = min(max_plaintext_bytes, MAX_CONTENT_BYTES)
    if plaintext_bytes > limit:
        raise SizeLimitError(
            f"{location}: {plaintext_bytes:,} bytes of content are more than the {limit:,} that this client accepts"
            + (": raise max_plaintext_bytes=" if limit < MAX_CONTENT_BYTES else ", the limit of the format")
        )
