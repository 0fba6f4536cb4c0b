"""Everything that arrowseal raises, in one tree under one root.

::

    ArrowSealError
    ├── ConfigurationError (ValueError)           what was asked for cannot be; found before any request
    │   ├── LocationError                         not an s3:// URL, or bucket and key are missing
    │   │   └── DirectoryKeyError (IsADirectoryError)
    │   ├── NoKeyError                            no key is configured, or none for this place
    │   ├── PolicyConflictError                   the format asked for is forbidden by the commitment policy
    │   ├── InsecureEndpointError                 data keys would cross the network in clear
    │   └── MissingExtraError (ImportError)       an optional dependency is not installed
    ├── SecurityError                             the object is refused: nothing of it was handed out
    │   ├── AuthenticationError                   tag or key commitment do not fit: changed, truncated or another key's
    │   ├── NotEncryptedError                     the object is not client-side encrypted
    │   ├── MetadataError                         encryption metadata missing, mixed, doubled or malformed
    │   ├── UnsupportedFormatError                a known format or wrapping algorithm that is not read here
    │   ├── CommitmentPolicyError                 the object has no key commitment and the policy requires one
    │   ├── EncryptionContextError                the object's encryption context is not the one expected
    │   ├── KeyMismatchError                      the data key was wrapped under another key, or its wrap was changed
    │   ├── ForeignKeyError                       the KMS key is outside of what `discovery=` accepts
    │   └── SizeLimitError                        larger than the format or `max_plaintext_bytes` allow
    ├── KmsError                                  KMS did not give the data key
    │   ├── KmsAccessDeniedError (PermissionError)
    │   ├── KmsKeyNotFoundError (FileNotFoundError)
    │   ├── KmsKeyStateError                      disabled, pending deletion or otherwise unusable
    │   ├── KmsKeyMismatchError (KeyMismatchError)
    │   └── KmsUnavailableError (UnavailableError)
    │       └── KmsThrottledError (ThrottledError)
    ├── StoreError (OSError)                      S3 did not do what was asked
    │   ├── ObjectNotFoundError (FileNotFoundError)
    │   ├── BucketNotFoundError (FileNotFoundError)
    │   ├── StoreAccessDeniedError (PermissionError)
    │   ├── PreconditionFailedError
    │   │   ├── ObjectChangedError                overwritten again and again while it was read
    │   │   └── ObjectExistsError (FileExistsError)
    │   ├── ChecksumMismatchError                 the bytes are not those of the checksum that is stored with them
    │   ├── NoChecksumError                       no checksum is stored that the bytes can be compared with
    │   ├── ConditionsIgnoredError                the server takes conditions on writes and ignores them
    │   ├── NoIndexError                          ranges of a large object were asked for that has no segment index
    │   ├── UncommittedWriteError                 a writer was closed before commit()
    │   ├── UploadNotFoundError                   the multipart upload was completed or aborted
    │   ├── StoreUnavailableError (UnavailableError)
    │   │   └── StoreUnansweredError              no answer came: what was asked may have been done
    │   └── TransferError (UnavailableError)      a body that broke off or has another length than announced
    ├── UnavailableError                          may pass by itself: throttled, down, out of reach, broken off
    │   └── ThrottledError                        too many requests at a time
    ├── CredentialsError (PermissionError)        no credentials, or wrong ones
    │   ├── ExpiredCredentialsError (UnavailableError)
    │   └── ClockSkewError (UnavailableError)     the clock of this machine is wrong, which signatures show
    ├── ServiceError                              AWS refused what is about no object: a bucket's settings, a KMS key
    │   └── ServiceDeniedError (PermissionError)
    ├── TableError (ValueError)                   the bytes are fine, the table is not
    │   ├── NotATableError
    │   ├── ColumnNotFoundError (KeyError)
    │   └── SchemaMismatchError                   a file of a dataset does not fit the others
    └── DatasetWriteError                         a dataset was not written to its end; names what was

Not-found and access-denied are also the builtin `FileNotFoundError` and `PermissionError`. Messages name the object,
the KMS key and the way out, and never contain plaintext, key bytes or values of an encryption context.
"""

from __future__ import annotations

from typing import Any


class ArrowSealError(Exception):
    """The root of everything that arrowseal raises on purpose."""

    def __str__(self) -> str:
        # OSError and KeyError print their arguments in their own ways; a message is a message.
        return str(self.args[0]) if self.args else ""


class ConfigurationError(ArrowSealError, ValueError):
    """What was asked for cannot be; raised before any request is sent."""


class LocationError(ConfigurationError):
    """Not an `s3://bucket/key` URL, or bucket and key are missing or doubled."""


class DirectoryKeyError(LocationError, IsADirectoryError):
    """A key that ends in `/` (or is empty) names no object."""


class NoKeyError(ConfigurationError):
    """No key is configured for an operation that needs one, or none for the place of the object."""


class PolicyConflictError(ConfigurationError):
    """A format was asked for that the commitment policy forbids."""


class InsecureEndpointError(ConfigurationError):
    """A plain-http KMS endpoint off loopback: data keys would cross the network in clear."""


class MissingExtraError(ConfigurationError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


class SecurityError(ArrowSealError):
    """The object was refused. Nothing of it was handed out."""


class AuthenticationError(SecurityError):
    """Tag or key commitment do not fit. One message for every cause: the difference would help an attacker only."""


class NotEncryptedError(SecurityError):
    """The object carries no client-side encryption; `allow_plaintext=True` reads it all the same."""


class MetadataError(SecurityError):
    """Encryption metadata that is missing, mixed, doubled or malformed: possibly tampered with."""


class UnsupportedFormatError(SecurityError):
    """A format, wrapping or content algorithm that is known by name and not read here."""


class CommitmentPolicyError(SecurityError):
    """The object has no key commitment and the commitment policy requires one."""


class EncryptionContextError(SecurityError):
    """The object's encryption context is not the one that the caller expects."""


class KeyMismatchError(SecurityError):
    """The data key was wrapped under another key, or its wrapped form was changed. One message for every cause."""


class ForeignKeyError(SecurityError):
    """KMS used a key of an account, partition or Region that `discovery=` does not name: its data key is not used."""


class SizeLimitError(SecurityError):
    """Larger than the format allows, or than `max_plaintext_bytes`."""


class UnavailableError(ArrowSealError):
    """May pass by itself, and has been tried again: throttled, down, out of reach, or broken off."""


class ThrottledError(UnavailableError):
    """Too many requests at a time, by this client or others that share its quota."""


class KmsError(ArrowSealError):
    """KMS did not give the data key."""


class KmsAccessDeniedError(KmsError, PermissionError):
    """The caller may not use the KMS key, or not with this encryption context."""


class KmsKeyNotFoundError(KmsError, FileNotFoundError):
    """No such KMS key or alias."""


class KmsKeyStateError(KmsError):
    """The KMS key is disabled, pending deletion, or of a kind that cannot wrap data keys."""


class KmsKeyMismatchError(KmsError, KeyMismatchError):
    """The data key was wrapped under another KMS key, or its wrapped form or context was changed."""


class KmsUnavailableError(KmsError, UnavailableError):
    """KMS throttles, is down, or cannot be reached."""


class KmsThrottledError(KmsUnavailableError, ThrottledError):
    """KMS throttles: its quota of requests is shared by the account and Region."""


class StoreError(ArrowSealError, OSError):
    """S3 did not do what was asked."""


class ObjectNotFoundError(StoreError, FileNotFoundError):
    """No such object."""


class BucketNotFoundError(StoreError, FileNotFoundError):
    """No such bucket."""


class StoreAccessDeniedError(StoreError, PermissionError):
    """The caller may not do this with the object."""


class PreconditionFailedError(StoreError):
    """The object is not, or no longer, the one that the request named."""


class ObjectChangedError(PreconditionFailedError):
    """The object was overwritten while it was read, and again while it was read anew."""


class ObjectExistsError(PreconditionFailedError, FileExistsError):
    """There is an object where a file was to be created."""


class StoreUnavailableError(StoreError, UnavailableError):
    """S3 throttles, is down, or cannot be reached."""


class StoreUnansweredError(StoreUnavailableError):
    """The connection ended without an answer: what was asked for may have been done nonetheless."""


class ChecksumMismatchError(StoreError):
    """The bytes are not those of the checksum that is stored with the object, nor were they when read once more."""


class NoChecksumError(StoreError):
    """The comparison with the stored checksum was asked for, and S3 has none of the whole object that is known here."""


class UncommittedWriteError(StoreError):
    """A writer was closed before it was committed: what was written into it is given up."""


class UploadNotFoundError(StoreError):
    """The multipart upload was completed or aborted, here or by somebody else."""


class ConditionsIgnoredError(StoreError):
    """The server takes conditions on writes and does not look at them: what is to be replaced could be another object
    by then.
    """


class NoIndexError(StoreError):
    """Ranges of an object were asked for that has no segment index, and it is too large to be held as a whole."""


class TransferError(StoreError, UnavailableError):
    """A body that broke off, or has another length than was announced."""


class CredentialsError(ArrowSealError, PermissionError):
    """No AWS credentials were found, or S3 or KMS do not accept them."""


class ExpiredCredentialsError(CredentialsError, UnavailableError):
    """The AWS credentials have expired, and those that a second look found as well."""


class ClockSkewError(CredentialsError, UnavailableError):
    """The clock of this machine is further from the server's than signatures may be, also by a second look."""

    seconds: float = 0.0
    """How far the server's clock is ahead, if it said so."""


class ServiceError(ArrowSealError):
    """A service of AWS refused what is about no object and no data key: settings of a bucket, the making of a key."""

    code: str = ""
    """The service's own word for it; empty if no answer came."""
    unknown_here: bool = False
    """Whether the server says that it knows no such request: S3 and KMS of others have not all of AWS's."""


class ServiceDeniedError(ServiceError, PermissionError):
    """The caller may not do this."""


class TableError(ArrowSealError, ValueError):
    """The bytes of the object are proven, but they are not the table that was asked for."""


class NotATableError(TableError):
    """The content cannot be read in the table format that was asked for."""


class ColumnNotFoundError(TableError, KeyError):
    """A column that was asked for does not exist."""


class SchemaMismatchError(TableError):
    """A file of a dataset has a column that does not fit the schema of the dataset."""


class DatasetWriteError(ArrowSealError):
    """A dataset was not written to its end. Every file that is listed is whole; of the others there is nothing."""

    written: tuple[Any, ...] = ()
    """The files that were written, as `arrowseal.arrow.WrittenFile`."""
    left: tuple[Any, ...] = ()
    """The objects that were to be replaced and are still there, as `arrowseal.ObjectLocation`: none of them unless all
    new files were written."""
