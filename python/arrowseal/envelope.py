"""Every reason to refuse to open an object, in order, in one function that makes no request.

It runs on metadata alone: before KMS is called, before memory is taken, before a byte of the body is looked at.
Order of steps: S3 Encryption Client specification (decryption), with its Java client as authority and three more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from arrowseal import metadata as content_metadata
from arrowseal.binding import LOCATION_NAME
from arrowseal.exceptions import (
    AuthenticationError,
    CommitmentPolicyError,
    EncryptionContextError,
    MetadataError,
    NotEncryptedError,
    SizeLimitError,
    UnsupportedFormatError,
)
from arrowseal.legacy import CBC_BLOCK_BYTES, LEGACY_WRAPS
from arrowseal.metadata import KMS_CONTEXT, KMS_WRAPS, EncryptedMetadata
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

_COMMITTING: Final = Format.V3.value
_ALLOWING: Final = "commitment_policy=arrowseal.CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT"


@dataclass(slots=True)  # not frozen, which takes four times as long, for each object that is read
class ReadRules:
    """What a read accepts; all of it the caller's own words."""

    commitment_policy: CommitmentPolicy
    allow_plaintext: bool
    encryption_context: Mapping[str, str] | AnyContext
    max_plaintext_bytes: int
    wraps: frozenset[str]
    """The wrapping algorithms that the keyrings at hand unwrap, legacy ones included."""
    legacy: frozenset[LegacyWord] = frozenset()
    """Which legacy is admitted: old wraps of data keys, AES-CBC content, both or none."""
    bound: Mapping[str, str] = field(default_factory=dict)
    """What the context must have besides: the place that `bind_location=` binds an object to."""
    instruction_files: str | None = None
    """The suffix of the instruction files that are looked at; None looks at none."""
    raw_keys_unbound: bool = False
    """Whether objects under raw keys, which bind no context, are admitted where one is expected."""


def admit(
    location: ObjectLocation,
    metadata: Mapping[str, str],
    stored_bytes: int,
    rules: ReadRules,
    instruction: Mapping[str, str] | None = None,
) -> EncryptedMetadata | None:
    """The encryption of an object that may be opened; None for a plain one that may be read. `instruction` is what its
    instruction file holds, where one was looked at and is there.

    Raises a `SecurityError` that names the object and, where there is one, the switch that would admit it.
    """
    encrypted = content_metadata.parse_at(location, metadata, instruction)
    if encrypted is None:
        _admit_plain(location, stored_bytes, rules)
        return None
    if encrypted.pending:
        raise UnsupportedFormatError(
            f"{location}: its encrypted data key lies in an instruction file. If objects with instruction files are "
            "expected here, read with instruction_files=True, or a suffix"
        )
    if encrypted.cbc or encrypted.wrap in LEGACY_WRAPS:
        _admit_legacy(location, encrypted, rules)
    if encrypted.format != _COMMITTING and rules.commitment_policy.requires_committed_reads:
        raise CommitmentPolicyError(
            f"{location}: format {encrypted.format} has no key commitment and commitment policy "
            f"{rules.commitment_policy.value} requires it. If objects of this format are expected here, read with "
            + _ALLOWING
        )
    if encrypted.wrap not in rules.wraps:
        raise UnsupportedFormatError(
            f"{location}: its data key is wrapped by {encrypted.wrap!r}, and the keyrings at hand unwrap "
            f"{', '.join(sorted(rules.wraps))}. Give {_keyring_of(encrypted.wrap)} as well"
        )
    _check_binding(location, encrypted)
    if encrypted.wrap in KMS_WRAPS or not rules.raw_keys_unbound:
        _compare_contexts(location, encrypted, rules.encryption_context, rules.bound)
    _limit(location, stored_bytes - TAG_BYTES, rules.max_plaintext_bytes)
    _check_length(location, encrypted, stored_bytes)
    return encrypted


def cbc_failure(location: ObjectLocation) -> AuthenticationError:
    """The one error of AES-CBC content that does not open. Padding, length or key: who can tell them apart by sending
    changed objects and looking at errors reads the content, byte by byte.
    """
    return AuthenticationError(
        f"{location}: its content (AES-CBC) does not open under its data key. It was changed or cut short, or its body "
        "and its metadata belong to different objects: restore it from a version or a copy that opens"
    )


def _admit_plain(location: ObjectLocation, stored_bytes: int, rules: ReadRules) -> None:
    if not rules.allow_plaintext:
        raise NotEncryptedError(
            f"{location}: the object is not client-side encrypted (or its encryption metadata was lost). If plain "
            "objects are expected here, read with allow_plaintext=True"
        )
    _limit(location, stored_bytes, rules.max_plaintext_bytes)


def _admit_legacy(location: ObjectLocation, encrypted: EncryptedMetadata, rules: ReadRules) -> None:
    legacy: dict[LegacyWord, str] = {}
    if encrypted.cbc:
        legacy["content"] = "its content is AES-CBC, which proves nothing about what it opens to"
    if encrypted.wrap in LEGACY_WRAPS:
        legacy["wrapping"] = f"its data key is wrapped by {encrypted.wrap!r}, which does not bind the content algorithm"
    if legacy.keys() <= rules.legacy:
        return
    switches = "legacy=True" if len(legacy) > 1 else f"legacy={next(iter(legacy))!r}"
    if rules.commitment_policy.requires_committed_reads:
        switches += f" and {_ALLOWING}"
    raise UnsupportedFormatError(
        f"{location}: format {encrypted.format}, legacy: {', and '.join(legacy.values())}. If such objects are "
        f"expected here, read with {switches}"
    )


def _keyring_of(wrap: str) -> str:
    if wrap in KMS_WRAPS:
        return "kms_key_id= or decrypt_key_ids="
    return f"keyring=arrowseal.{'RawRsaKeyring' if wrap.startswith('RSA') else 'RawAesKeyring'}(...)"


def _check_binding(location: ObjectLocation, encrypted: EncryptedMetadata) -> None:
    bound = encrypted.context.get(RESERVED_CONTEXT_NAME)
    if encrypted.wrap == KMS_CONTEXT and bound != encrypted.content_algorithm:
        raise MetadataError(
            f"{location}: the encryption context does not bind the object's content algorithm. The metadata may have "
            "been tampered with"
        )
    if encrypted.wrap == "kms" and bound is not None:
        # A contradiction: the entry is what tells `kms+context` from `kms`. Other clients open such an object, and
        # compare no context then.
        raise MetadataError(
            f"{location}: its data key is said to be wrapped by 'kms', and its encryption context is that of "
            f"{KMS_CONTEXT!r}. The metadata may have been tampered with"
        )


def _compare_contexts(
    location: ObjectLocation,
    encrypted: EncryptedMetadata,
    expected: Mapping[str, str] | AnyContext,
    bound: Mapping[str, str],
) -> None:
    stored = encrypted.user_context
    if bound and any(stored.pop(name, None) != value for name, value in bound.items()):
        raise EncryptionContextError(
            f"{location}: the object is not bound to this place, and bind_location= expects it: it was moved or "
            "put here in place of another, or was written without bind_location= or with another value of it. Read it "
            "with a client that has the bind_location= and the encryption_context= it was written under"
        )
    if isinstance(expected, AnyContext):
        return
    if stored != dict(expected):
        hint = " It is bound to a place: read it with bind_location=." if LOCATION_NAME in stored else ""
        raise EncryptionContextError(
            f"{location}: the object was written under an encryption context with the names "
            f"{list(encrypted.user_context_names)}, and this read expects {sorted(expected)} (or values differ). Give "
            f"the same one as encryption_context=, or arrowseal.ANY to accept whatever the object says.{hint}"
        )


def _check_length(location: ObjectLocation, encrypted: EncryptedMetadata, stored_bytes: int) -> None:
    if encrypted.cbc:
        if stored_bytes <= 0 or stored_bytes % CBC_BLOCK_BYTES:
            raise cbc_failure(location)
    elif stored_bytes < TAG_BYTES:
        raise AuthenticationError(
            f"{location}: {stored_bytes} bytes are stored, fewer than the authentication tag alone: the object was "
            "truncated, or its body was replaced"
        )


def _limit(location: ObjectLocation, plaintext_bytes: int, max_plaintext_bytes: int) -> None:
    limit = min(max_plaintext_bytes, MAX_CONTENT_BYTES)
    if plaintext_bytes > limit:
        raise SizeLimitError(
            f"{location}: {plaintext_bytes:,} bytes of content are more than the {limit:,} that this client accepts"
            + (": raise max_plaintext_bytes=" if limit < MAX_CONTENT_BYTES else ", the limit of the format")
        )
