"""Readers of client-side encrypted objects as engines have them, on pyca/cryptography and plain boto3.

What each believes of an object's length is taken from the sources of Hadoop (`S3AUtils`, `CSEUtils`), of Presto
(`PrestoS3FileSystem.getObjectSize`) and of the AWS SDK for Java 1.x, on which EMRFS stands. Ranges are AES-CTR without
a look at the tag, as the Java client reads them (`RangedGetUtils`).
"""

from __future__ import annotations

import base64
import io
import json
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TAG_BYTES = 16
BLOCK = 16


class Engine:
    """Reads format V2 under one KMS key, without a context of its own; everything else is an assertion that fails."""

    def __init__(self, s3: Any, kms: Any, kms_key_id: str) -> None:
        self.s3, self.kms, self.kms_key_id = s3, kms, kms_key_id

    def listed_length(self, bucket: str, key: str) -> int:
        """The length of a file, as the planner of a query has it."""
        raise NotImplementedError

    def content_cipher(self, bucket: str, key: str) -> tuple[bytes, bytes]:
        """Content key and IV."""
        metadata = self.metadata(bucket, key)
        assert metadata["x-amz-cek-alg"] == "AES/GCM/NoPadding"
        assert metadata["x-amz-wrap-alg"] == "kms+context"
        assert metadata["x-amz-tag-len"] == "128"
        assert not {name for name in metadata if name in ("x-amz-c", "x-amz-3", "x-amz-d", "x-amz-i")}
        context = json.loads(metadata["x-amz-matdesc"])
        assert context == {"aws:x-amz-cek-alg": "AES/GCM/NoPadding"}, "an engine gives no context of its own"
        answer = self.kms.decrypt(
            KeyId=self.kms_key_id,
            CiphertextBlob=base64.b64decode(metadata["x-amz-key-v2"]),
            EncryptionContext=context,
        )
        iv = base64.b64decode(metadata["x-amz-iv"])
        assert len(iv) == 12
        return answer["Plaintext"], iv

    def metadata(self, bucket: str, key: str) -> dict[str, str]:
        found: dict[str, str] = self.s3.head_object(Bucket=bucket, Key=key)["Metadata"]
        return found

    def stored_length(self, bucket: str, key: str) -> int:
        (listed,) = self.s3.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]
        return int(listed["Size"])

    def whole(self, bucket: str, key: str) -> bytes:
        """All of it, proven."""
        data_key, iv = self.content_cipher(bucket, key)
        body = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return AESGCM(data_key).decrypt(iv, body, None)

    def read_at(self, bucket: str, key: str, begin: int, end: int) -> bytes:
        """A range of the content, from whole blocks of ciphertext."""
        data_key, iv = self.content_cipher(bucket, key)
        first = begin // BLOCK * BLOCK
        answer = self.s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={first}-{end - 1}")
        counter = iv + (first // BLOCK + 2).to_bytes(4, "big")
        decryptor = Cipher(algorithms.AES(data_key), modes.CTR(counter)).decryptor()
        return (decryptor.update(answer["Body"].read()) + decryptor.finalize())[begin - first :]

    def open(self, bucket: str, key: str) -> io.BytesIO:
        """A file to give to a reader of Parquet: footer first, from the end that the engine believes in."""
        length = self.listed_length(bucket, key)
        assert self.read_at(bucket, key, length - 4, length) == b"PAR1", "the end of the file is where it is thought"
        return io.BytesIO(self.read_at(bucket, key, 0, length))


class S3A(Engine):
    """Hadoop 3.4: whatever is listed is 16 bytes shorter."""

    def listed_length(self, bucket: str, key: str) -> int:
        stored = self.stored_length(bucket, key)
        return stored - TAG_BYTES if stored >= TAG_BYTES else stored


class CompatibleS3A(Engine):
    """The same with `fs.s3a.encryption.cse.v1.compatibility.enabled`: asks the object, and reads its end if need be."""

    def listed_length(self, bucket: str, key: str) -> int:
        metadata, stored = self.metadata(bucket, key), self.stored_length(bucket, key)
        if "x-amz-cek-alg" not in metadata:
            return stored
        told = metadata.get("x-amz-unencrypted-content-length")
        if told:
            return int(told)
        return stored - TAG_BYTES


class Presto(Engine):
    """Presto, and Athena's first way: the length that is told, otherwise the stored one."""

    def listed_length(self, bucket: str, key: str) -> int:
        told = self.metadata(bucket, key).get("x-amz-unencrypted-content-length")
        return int(told) if told is not None else self.stored_length(bucket, key)


class Emrfs(Engine):
    """The AWS SDK for Java 1.x: the length that is told, otherwise the stored one without the tag."""

    def listed_length(self, bucket: str, key: str) -> int:
        told = self.metadata(bucket, key).get("x-amz-unencrypted-content-length")
        return int(told) if told is not None else self.stored_length(bucket, key) - TAG_BYTES
