"""The official Python client of Amazon's S3 encryption formats: whole objects, V3, one KMS call each."""

from __future__ import annotations

import os
from typing import Any

import boto3
from s3_encryption import S3EncryptionClient, S3EncryptionClientConfig
from s3_encryption.materials.kms_keyring import KmsKeyring
from work import Work


class Arm:
    """`get_object` and `put_object`."""

    PACKAGES = ("amazon-s3-encryption-client-python", "boto3", "cryptography")

    def __init__(self, _name: str) -> None:
        keyring = KmsKeyring(boto3.client("kms"), os.environ["ARROWSEAL_KMS_KEY_ID"])
        self._client = S3EncryptionClient(boto3.client("s3"), S3EncryptionClientConfig(keyring))

    def prepare(self, workload: Any) -> Work:
        def write(key: str, content: bytes) -> None:
            self._client.put_object(Bucket=workload.bucket, Key=key, Body=content)

        return Work(
            workload,
            read=lambda key: self._client.get_object(Bucket=workload.bucket, Key=key)["Body"].read(),
            write=write,
            seed=write,
        )
