"""`interop="analytics"`: what Athena, EMR, S3A and Presto read, and the refusal of what any of them would not.

They read format V2 under `kms+context` and one KMS key for a table, and expect no encryption context but the reserved
entry. The plaintext length is told in the metadata where it is known before the first byte goes (Presto, Athena and
S3A in its compatibility mode look there); the others take 16 bytes off the stored length. Sources: CSEUtils and
EncryptionS3ClientFactory of Hadoop 3.4, the S3 file system of Presto, Athena's "Create tables based on encrypted
datasets". None of them reads format V3: Hadoop brings version 3.1.1 of the Java client, and V3 came with 3.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from arrowseal.exceptions import ConfigurationError, PolicyConflictError
from arrowseal.suites import V2, AnyContext, CommitmentPolicy

if TYPE_CHECKING:
    from arrowseal.encryption import CSE
    from arrowseal.options import ClientOptions

ANALYTICS: Final = "analytics"


def for_analytics(options: ClientOptions, *, explicit_policy: bool) -> ClientOptions:
    """The options with format V2 and the policy that allows it. Raises `ConfigurationError` for options under which
    engines could not read what is written.
    """
    if options.interop != ANALYTICS:
        raise ConfigurationError(f"interop={options.interop!r} is not known: {ANALYTICS!r} is")
    policy = CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
    if explicit_policy and options.commitment_policy is not policy:
        raise PolicyConflictError(
            f"interop='analytics' writes format V2, which policy {options.commitment_policy.value} forbids: "
            f"leave commitment_policy= out, or give {policy.value}"
        )
    for name, given, instead in (
        (
            "kms_key_id",
            isinstance(options.kms_key_id, Mapping),
            "give one key, and each table that needs another one a client of its own",
        ),
        ("keyring", bool(options.keyring), "engines unwrap data keys with KMS: give kms_key_id="),
        ("instruction_files", bool(options.instruction_files), "engines take instruction files for data"),
        ("bind_location", options.bind_location is not None, "engines give no encryption context"),
        ("encryption_context", bool(_entries(options.encryption_context)), "engines give no encryption context"),
    ):
        if given:
            raise ConfigurationError(f"{name}= does not go with interop='analytics': {instead}")
    return replace(options, format=V2, commitment_policy=policy)


def check_write(encryption: CSE, options: ClientOptions) -> None:
    """Raise `ConfigurationError` for a write of an analytics client that engines could not read."""
    if options.interop != ANALYTICS:
        return
    if encryption.encryption_context:
        raise ConfigurationError(
            "engines give no encryption context, so a client with interop='analytics' writes none: leave "
            "encryption_context= out, or write with another client"
        )
    key, own = encryption.kms_key_id, options.kms_key_id
    if key is not None and own is not None and key != own:
        raise ConfigurationError(
            f"engines read a table under one KMS key, and a client with interop='analytics' writes under {own}. "
            f"Make another client for {key}"
        )
    if encryption.instruction_file:
        raise ConfigurationError(
            "engines take instruction files for data, so a client with interop='analytics' writes none: leave "
            "instruction_file= out, or write with another client"
        )


def _entries(context: Mapping[str, str] | AnyContext) -> Mapping[str, str]:
    return {} if isinstance(context, AnyContext) else context
