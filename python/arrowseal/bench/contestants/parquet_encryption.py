"""Parquet Modular Encryption: columns and footer encrypted inside the file, keys wrapped by KMS.

pyarrow calls a KMS client of ours for the footer's key; it keeps the wrapped key in the file.
"""

from __future__ import annotations

import base64
import inspect
import os
from datetime import timedelta
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet
import pyarrow.parquet.encryption as pe
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
    """pyarrow on its own S3FileSystem; all columns under the footer's key."""

    PACKAGES = ("pyarrow",)

    def __init__(self, _name: str) -> None:
        self._files = file_system()
        self._factory = pe.CryptoFactory(lambda _: AwsKms())
        self._connection = pe.KmsConnectionConfig()

    def prepare(self, workload: Any) -> Work:
        if workload.face == "polars":
            import polars as pl

            known = [name for name in inspect.signature(pl.scan_parquet).parameters if "crypt" in name]
            raise AbsentError(
                f"polars {pl.__version__} reads no encrypted Parquet: scan_parquet takes {known or 'no key'}"
            )
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
