"""Parquet Modular Encryption: columns and footer encrypted inside the file, by pyarrow or polars.

pyarrow calls a KMS client of ours for the footer's key; it keeps the wrapped key in the file.
"""

from __future__ import annotations

import base64
import os
from datetime import timedelta
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet
import pyarrow.parquet.encryption as pe
from polars_ import storage_options
from pyarrow_ import file_system
from work import Work
from worker_errors import AbsentError


class AwsKms(pe.KmsClient):
    """Wraps and unwraps keys by KMS."""

    def __init__(self) -> None:
        pe.KmsClient.__init__(self)
        self._kms: Any = boto3.client("kms")

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        answer = self._kms.encrypt(KeyId=master_key_identifier, Plaintext=key_bytes)
        return base64.b64encode(answer["CiphertextBlob"])

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        blob = base64.b64decode(wrapped_key)
        plaintext: bytes = self._kms.decrypt(KeyId=master_key_identifier, CiphertextBlob=blob)["Plaintext"]
        return plaintext


class Arm:
    """All columns under the footer's key, on the library's own S3."""

    PACKAGES = ("pyarrow", "polars")

    def __init__(self, _name: str) -> None:
        self._files = file_system()
        self._factory = pe.CryptoFactory(lambda _: AwsKms())
        self._connection = pe.KmsConnectionConfig()

    def prepare(self, workload: Any) -> Work:
        return self._by_polars(workload) if workload.face == "polars" else self._by_pyarrow(workload)

    def _by_pyarrow(self, workload: Any) -> Work:
        bucket, key_id = workload.bucket, os.environ["ARROWSEAL_KMS_KEY_ID"]
        writing = pe.EncryptionConfiguration(footer_key=key_id, uniform_encryption=True, plaintext_footer=False)
        reading = pe.DecryptionConfiguration(cache_lifetime=timedelta(minutes=5))

        def write(key: str, table: Any) -> None:
            properties = self._factory.file_encryption_properties(self._connection, writing)
            with pyarrow.parquet.ParquetWriter(
                f"{bucket}/{key}", table.schema, filesystem=self._files, encryption_properties=properties
            ) as writer:
                writer.write_table(table)

        def read(key: str) -> Any:
            properties = self._factory.file_decryption_properties(self._connection, reading)
            with self._files.open_input_file(f"{bucket}/{key}") as file:
                return pyarrow.parquet.ParquetFile(file, decryption_properties=properties).read()

        def seed(key: str, content: bytes) -> None:
            write(key, pyarrow.parquet.read_table(pa.BufferReader(content)))

        return Work(workload, read=read, write=write, seed=seed)

    @staticmethod
    def _by_polars(workload: Any) -> Work:
        """Polars takes keys as bytes: one data key of KMS for all files, which lies wrapped in the bucket."""
        import polars as pl

        if not hasattr(pl, "ParquetDecryptionProperties"):
            raise AbsentError(f"polars {pl.__version__} has no Parquet encryption")
        told: Any = {"storage_options": storage_options(), "credential_provider": None}
        footer_key = _shared_key(workload.bucket)
        sealed = told | {"encryption": pl.ParquetEncryptionProperties(footer_key=footer_key)}
        opened = told | {"decryption": pl.ParquetDecryptionProperties(footer_key=footer_key)}

        def url(key: str) -> str:
            return f"s3://{workload.bucket}/{key}"

        return Work(
            workload,
            read=lambda key: pl.scan_parquet(url(key), **opened).collect(),
            write=lambda key, frame: frame.write_parquet(url(key), **sealed),
            seed=lambda key, content: pl.read_parquet(content).write_parquet(url(key), **sealed),
            read_all=lambda keys: pl.scan_parquet([url(key) for key in keys], **opened).collect(),
        )


def _shared_key(bucket: str) -> bytes:
    """The data key of the bucket: made by the process that comes first, unwrapped by the others."""
    s3, kms, name = boto3.client("s3"), boto3.client("kms"), "parquet-footer-key"
    try:
        wrapped = s3.get_object(Bucket=bucket, Key=name)["Body"].read()
    except s3.exceptions.NoSuchKey:
        answer = kms.generate_data_key(KeyId=os.environ["ARROWSEAL_KMS_KEY_ID"], KeySpec="AES_256")
        s3.put_object(Bucket=bucket, Key=name, Body=answer["CiphertextBlob"])
        wrapped = answer["CiphertextBlob"]
    key: bytes = kms.decrypt(CiphertextBlob=wrapped)["Plaintext"]
    return key
