"""Object formats, algorithm suites and commitment policies. The values come from the core's table of suites.

Specification: algorithm suites, key commitment (S3 Encryption Client specification).
"""

from __future__ import annotations

import enum
import functools
from typing import Final

from arrowseal import _core
from arrowseal.exceptions import ConfigurationError, PolicyConflictError

MAX_CONTENT_BYTES: Final = 2**36 - 32
"""The largest plaintext of one object: the limit of one AES-GCM message."""

TAG_BYTES: Final = 16
"""Every sealed object ends in the tag of its one AES-GCM message."""

RESERVED_CONTEXT_NAME: Final = "aws:x-amz-cek-alg"
"""The entry of every `kms+context` encryption context that binds the content algorithm to the data key."""

NOT_THE_USERS: Final = (RESERVED_CONTEXT_NAME, "kms_cmk_id")
"""Entries of encryption contexts that clients set; the second one is of KMS clients of V1's time."""

SUITES: Final = {suite.id: suite for suite in _core.SUITES}
"""Every suite of the specification, by its two-byte id."""


class Format(enum.Enum):
    """The format of an encrypted object, as the S3 Encryption Client specification numbers them.

    `V3` commits to its key and is what arrowseal writes unless told otherwise; `V2` is what engines read that do not
    know V3 yet.
    """

    V2 = "V2"
    V3 = "V3"

    @functools.cached_property
    def suite(self) -> _core.AlgorithmSuite:
        """The algorithm suite that seals content in this format."""
        return SUITES[0x0073 if self is Format.V3 else 0x0072]

    @functools.cached_property
    def content_algorithm(self) -> str:
        """How metadata and encryption context spell the suite: `115` in V3, `AES/GCM/NoPadding` in V2."""
        name = self.suite.content_algorithm
        assert name is not None  # noqa: S101 - both suites have one
        return name

    @classmethod
    def of(cls, value: Format | str) -> Format:
        """The format named by `value`, a `Format` or `"v2"`, `"V3"`. Raises `ConfigurationError` for anything else."""
        if isinstance(value, Format):
            return value
        try:
            return cls[str(value).upper()]
        except KeyError:
            raise ConfigurationError(f"format {value!r} is not known: arrowseal writes 'V3' and 'V2'") from None


V2: Final = Format.V2
V3: Final = Format.V3


class CommitmentPolicy(enum.Enum):
    """Whether objects must commit to their key, when written and when read. V3 objects do, V2 objects do not.

    A committing object cannot be made to open to another plaintext under another data key (AWS-2025-032).
    """

    FORBID_ENCRYPT_ALLOW_DECRYPT = "FORBID_ENCRYPT_ALLOW_DECRYPT"
    """Write V2, read V2 and V3."""
    REQUIRE_ENCRYPT_ALLOW_DECRYPT = "REQUIRE_ENCRYPT_ALLOW_DECRYPT"
    """Write V3, read V2 and V3."""
    REQUIRE_ENCRYPT_REQUIRE_DECRYPT = "REQUIRE_ENCRYPT_REQUIRE_DECRYPT"
    """Write V3, read V3: the default."""

    @property
    def requires_committed_reads(self) -> bool:
        """Whether objects without key commitment are refused."""
        return self is CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT

    def check_write(self, format: Format) -> None:  # noqa: A002 - the public word for it
        """Raise `PolicyConflictError` if objects of this format may not be written under the policy."""
        forbids = self is CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
        if format.suite.committing and forbids:
            raise PolicyConflictError(
                f"commitment policy {self.value} forbids writing format {format.value}: choose format=arrowseal.V2, "
                "or a policy that requires commitment on write"
            )
        if not format.suite.committing and not forbids:
            raise PolicyConflictError(
                f"format {format.value} has no key commitment and commitment policy {self.value} requires it: choose "
                "commitment_policy=arrowseal.CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT (or "
                "interop='analytics', which sets both), or write format V3"
            )

    @classmethod
    def of(cls, value: CommitmentPolicy | str) -> CommitmentPolicy:
        """The policy named by `value`, in any case, with `-` or `_`. Raises `ConfigurationError` for anything else."""
        if isinstance(value, CommitmentPolicy):
            return value
        try:
            return cls[str(value).upper().replace("-", "_")]
        except KeyError:
            known = ", ".join(policy.name for policy in cls)
            raise ConfigurationError(f"commitment policy {value!r} is not known: one of {known}") from None


class AnyContext(enum.Enum):
    """The type of `ANY`, the encryption context that a read accepts whatever it says."""

    ANY = "ANY"

    def __repr__(self) -> str:
        return "arrowseal.ANY"


ANY: Final = AnyContext.ANY
"""On a read, as `encryption_context=`: accept the object's own encryption context, whatever it says."""
