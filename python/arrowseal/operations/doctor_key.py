"""What the caller may do with a KMS key, under the encryption context that objects are written with."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from arrowseal.binding import bound_location
from arrowseal.exceptions import ArrowSealError
from arrowseal.location import ObjectLocation
from arrowseal.metadata import bound_context
from arrowseal.suites import AnyContext
from arrowseal.wirelog import withheld

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal.operations.diagnosis import Examination

_LOOKED_AT: Final = 20  # objects, for one that was sealed under the key
_ENABLE: Final = "enable it (`aws kms enable-key`, `aws kms cancel-key-deletion`)"
_WAYS_OUT: Final = {
    "NotFoundException": "check its name, its account and --region: an alias is alias/NAME, a key elsewhere its ARN",
    "DisabledException": _ENABLE,
    "KMSInvalidStateException": _ENABLE,
    "InvalidKeyUsageException": "give a symmetric key",
}
"""By what KMS says of the key itself, which no permission mends."""


def examine_key(examination: Examination, key: str, place: ObjectLocation | None) -> None:
    """Look at a key, and at what may be done with it."""
    try:
        kms: Any = examination.services.kms
    except ArrowSealError as error:
        examination.note("KMS endpoint", "missing", str(error))
        return
    endpoint = kms.meta.endpoint_url
    secure = urlsplit(endpoint).scheme == "https"
    examination.note("KMS endpoint", "ok", f"{endpoint}: {'TLS' if secure else 'without TLS, as allowed'}")
    _state(examination, kms, key)
    if examination.unanswered:  # whatever else is asked would wait as long
        return
    context = _context(examination, place)
    wrapped = _generate(examination, kms, key, context)
    if wrapped is None:
        _decrypt_some(examination, kms, key, place)
        return
    examination.ask(
        "kms:Decrypt",
        lambda: _decrypt(kms, key, wrapped, context),
        detail="reads under this key and context",
        ways_out=_WAYS_OUT,
        needed=examination.reads,
    )
    examination.ask(
        "kms:ReEncrypt",
        lambda: kms.re_encrypt(
            CiphertextBlob=wrapped,
            SourceKeyId=key,
            SourceEncryptionContext=context,
            DestinationKeyId=key,
            DestinationEncryptionContext=context,
        ),
        detail="rewraps (kms:ReEncryptFrom and kms:ReEncryptTo)",
        way_out="allow kms:ReEncryptFrom and kms:ReEncryptTo to who rewraps",
        needed=False,
    )


def _state(examination: Examination, kms: Any, key: str) -> None:
    """Optional: reads and writes go without kms:DescribeKey."""
    answer = examination.ask(
        "kms:DescribeKey",
        lambda: kms.describe_key(KeyId=key),
        detail="describes",
        way_out="allow kms:DescribeKey to have the state of the key told; reads and writes do without",
        ways_out=_WAYS_OUT,
        needed=False,
    )
    if answer is None:
        return
    told = answer["KeyMetadata"]
    state, usage = told.get("KeyState", "Enabled"), told.get("KeyUsage", "ENCRYPT_DECRYPT")
    symmetric = told.get("KeySpec", "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT" and usage == "ENCRYPT_DECRYPT"
    examination.note(
        "KMS key",
        "ok" if state == "Enabled" and symmetric else "missing",
        f"{told['Arn']}: {state}" + ("" if symmetric else ", not a symmetric encryption key"),
        _ENABLE if symmetric else "give a symmetric key",
    )


def _context(examination: Examination, place: ObjectLocation | None) -> dict[str, str]:
    """What an object that is written there would be bound to."""
    options = examination.client.options
    own = {} if isinstance(options.encryption_context, AnyContext) else dict(options.encryption_context)
    somewhere = ObjectLocation(place.bucket, f"{place.key}object") if place else None
    bound: Mapping[str, str] = bound_location(options.bind_location, somewhere) if somewhere else {}
    return bound_context({**own, **bound}, options.format)


def _generate(examination: Examination, kms: Any, key: str, context: dict[str, str]) -> bytes | None:
    """A wrapped data key. That of nothing: its plaintext is thrown away."""

    def call() -> bytes:
        with withheld("kms:GenerateDataKey"):
            answer = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=context)
        answer.pop("Plaintext", None)
        wrapped: bytes = answer["CiphertextBlob"]
        return wrapped

    wrapped: bytes | None = examination.ask(
        "kms:GenerateDataKey",
        call,
        detail="writes under this key and context",
        way_out="allow kms:GenerateDataKey in the key policy or by IAM; a condition on the encryption context may be "
        "what denies it (--encryption-context)",
        ways_out=_WAYS_OUT,
        needed=examination.writes,
    )
    return wrapped


def _decrypt(kms: Any, key: str, wrapped: bytes, context: Mapping[str, str]) -> None:
    with withheld("kms:Decrypt"):
        kms.decrypt(KeyId=key, CiphertextBlob=wrapped, EncryptionContext=dict(context)).pop("Plaintext", None)


def _decrypt_some(examination: Examination, kms: Any, key: str, place: ObjectLocation | None) -> None:
    """A caller who may only read: tried with what others wrote."""
    client, needed = examination.client, examination.reads
    try:
        listed = client.list(place)[:_LOOKED_AT] if place is not None else []
        with client.counters.operation("doctor", place or ObjectLocation("", "")) as operation:
            for row in listed:
                stored = client._store.head(row.location, operation, arguments={})  # noqa: SLF001
                encrypted = client._reader.claimed(stored, operation)  # noqa: SLF001
                if encrypted is not None and encrypted.wrap in ("kms+context", "kms"):
                    blob, context = encrypted.encrypted_data_key, encrypted.context
                    examination.ask(
                        "kms:Decrypt",
                        partial(_decrypt, kms, key, blob, context),
                        detail=f"reads {row.location}",
                        way_out="allow kms:Decrypt; or the object was written under another key",
                        ways_out=_WAYS_OUT,
                        needed=needed,
                    )
                    return
    except ArrowSealError:
        pass  # what S3 refuses is noted elsewhere
    examination.note("kms:Decrypt", "not checked", "there is nothing to decrypt", needed=needed)
