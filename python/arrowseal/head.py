"""What is known of an object without reading it, fit for a frame."""

from __future__ import annotations

import html
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from arrowseal.extras import require
from arrowseal.frames import Framed

if TYPE_CHECKING:
    import datetime as dt

    import pyarrow as pa

    from arrowseal.location import ObjectLocation
    from arrowseal.metadata import EncryptedMetadata
    from arrowseal.store import StoredObject


def encryption_label(stored: StoredObject, encrypted: EncryptedMetadata | None) -> str:
    """How an object is protected, in a word or two: `"CSE V3"`, `"SSE-KMS"`, `"PLAIN"`."""
    return f"CSE {encrypted.format}" if encrypted else stored.server_side or "PLAIN"


@dataclass(frozen=True, slots=True)
class ObjectHead(Framed):
    """An object and its encryption, as its metadata and the server claim them; only a read proves them.

    `plaintext_bytes` is None where the format does not tell: AES-CBC, and instruction files that are not looked at.
    `kms_key_arn` is None unless this client wrapped or unwrapped the data key, the server named the key of SSE-KMS, or
    an old writer put it into the encryption context (`kms_cmk_id`): otherwise an encrypted object names no key.
    """

    location: ObjectLocation
    encryption: str
    """`"CSE V3"`, `"CSE V2"`, `"CSE V1"`, `"SSE-KMS"`, `"SSE-S3"`, `"SSE-C"` or `"PLAIN"`."""
    format: str | None
    suite: str | None
    content_algorithm: str | None
    wrap: str | None
    """The wrapping algorithm, `"kms+context"` for example."""
    context_keys: tuple[str, ...]
    """The names of the encryption context, without the reserved one; values are not shown."""
    plaintext_bytes: int | None
    stored_bytes: int
    kms_key_arn: str | None
    etag: str
    version_id: str | None
    last_modified: dt.datetime | None
    content_type: str | None
    server_side: str | None = None
    """What the server does on its own, `"SSE-S3"` for example, also where `encryption` is client-side."""
    server_side_key: str | None = None
    """The KMS key of SSE-KMS, as the server names it."""
    bucket_key: bool | None = None
    """Whether SSE-KMS has its data key from an S3 Bucket Key; None for everything else."""

    @classmethod
    def of(cls, stored: StoredObject, encrypted: EncryptedMetadata | None, kms_key_arn: str | None) -> ObjectHead:
        """The head of a stored object whose metadata was parsed."""
        suite = encrypted.suite if encrypted else None
        tag_bytes = suite.tag_bytes if suite else 0
        known = encrypted is None or tag_bytes > 0
        return cls(
            location=stored.location,
            encryption=encryption_label(stored, encrypted),
            format=encrypted.format if encrypted else None,
            suite=suite.name if suite else None,
            content_algorithm=(encrypted.content_algorithm or None) if encrypted else None,
            wrap=(encrypted.wrap or None) if encrypted else None,
            context_keys=encrypted.user_context_names if encrypted else (),
            plaintext_bytes=max(0, stored.stored_bytes - tag_bytes) if known else None,
            stored_bytes=stored.stored_bytes,
            kms_key_arn=(kms_key_arn or encrypted.named_key) if encrypted else stored.server_side_key,
            etag=stored.etag,
            version_id=stored.version_id,
            last_modified=stored.last_modified,
            content_type=stored.content_type,
            server_side=stored.server_side,
            server_side_key=stored.server_side_key,
            bucket_key=stored.bucket_key,
        )

    def as_dict(self) -> dict[str, Any]:
        """One row: `bucket` and `key` in place of the location, everything else by its name."""
        rest = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "location"}
        rest["context_keys"] = list(self.context_keys)
        return {"bucket": self.location.bucket, "key": self.location.key} | rest

    def to_arrow(self) -> pa.Table:
        """A table of one row."""
        pa = require("pyarrow", "pandas")
        text, number = pa.string(), pa.int64()
        types = {
            "context_keys": pa.list_(text),
            "plaintext_bytes": number,
            "stored_bytes": number,
            "last_modified": pa.timestamp("us", tz="UTC"),
            "bucket_key": pa.bool_(),
        }
        row = self.as_dict()
        return pa.table({name: pa.array([value], types.get(name, text)) for name, value in row.items()})

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>"
            for name, value in self.as_dict().items()
        )
        return f"<table>{rows}</table>"
