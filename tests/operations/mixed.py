"""Objects of every format, wrap and storage, as other clients made them, in a bucket in memory."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING, Any

import rows
import writers

from arrowseal import CommitmentPolicy, RawAesKeyring, RawRsaKeyring
from memory_s3 import Stored

if TYPE_CHECKING:
    from arrowseal import Client
    from lake import Lake

HEADERS = {"content-type": "text/plain", "cache-control": "no-store", "x-amz-tagging": "team=weather"}
MINE = {"x-amz-meta-mine": "yes"}


def keys_of(lake: Lake) -> writers.Keys:
    """Keys of every kind; the KMS key is one of the lake's."""
    return writers.Keys(kms=lake.kms)


def put(lake: Lake, key: str, made: writers.Made) -> None:
    """An object as another client left it, with headers, tags and user metadata of its own."""
    metadata = {f"x-amz-meta-{name}": value for name, value in made.metadata.items()}
    _store(lake, key, made.body, HEADERS | MINE | metadata)
    if made.file is not None:
        _store(lake, f"{key}.instruction", made.file, {"x-amz-meta-x-amz-crypto-instr-file": ""})


def _store(lake: Lake, key: str, body: bytes, headers: dict[str, str]) -> None:
    etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
    lake.s3.server.objects[f"/lake/{key}"] = Stored(body, etag, dict(headers))


def kinds(count: int) -> list[rows.Row | None]:
    """What so many objects are: every row of what is read, and None for a plain one, in turn."""
    return [[*rows.ROWS, None][number % (len(rows.ROWS) + 1)] for number in range(count)]


def fill(lake: Lake, keys: writers.Keys, count: int, prefix: str = "a/") -> dict[str, bytes]:
    """Objects of these kinds; their contents by their keys."""
    contents: dict[str, bytes] = {}
    for number, row in enumerate(kinds(count)):
        content = random.Random(number).randbytes(number % 97)
        made = writers.Made(content, {}) if row is None else writers.write(row, content, keys)
        put(lake, f"{prefix}{number:05}", made)
        contents[f"{prefix}{number:05}"] = content
    return contents


def reader_of_all(lake: Lake, keys: writers.Keys, **options: Any) -> Client:
    """A client that reads everything, and writes V3 under the KMS key."""
    return lake.make_client(
        kms_key_id=keys.arn,
        keyring=[RawAesKeyring(keys.aes), RawRsaKeyring(keys.pem)],
        legacy=True,
        commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT,
        instruction_files=True,
        allow_plaintext=True,
        **options,
    )
