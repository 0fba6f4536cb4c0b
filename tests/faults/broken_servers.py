"""An S3 and a KMS whose requests break as a test wants it, and clients of both."""

from __future__ import annotations

from typing import Any

from broken_bodies import FaultProxy

from arrowseal import Client, RetryOptions, TransferOptions
from memory_s3 import FaultyS3
from strict_kms_server import StrictKmsServer


class BrokenServers:
    """S3 and KMS with a key, in this process; `s3.rule` and `kms_proxy.rule` break requests to them."""

    def __init__(self) -> None:
        self.s3 = FaultyS3()
        self.kms = StrictKmsServer()
        self.kms_proxy = FaultProxy(self.kms.endpoint)
        self.key = self.kms.engine.create_key()

    def close(self) -> None:
        """Stop listening."""
        self.s3.close()
        self.kms_proxy.close()
        self.kms.close()

    def client(self, *, read_timeout: float = 5, **options: Any) -> Client:
        """A client with the retries that it has by default, but for the length of the pauses. Its short reads are
        obstore's, also those that are alone.
        """
        import boto3
        import botocore.session
        from botocore.config import Config

        session = botocore.session.Session()
        session.set_default_client_config(Config(read_timeout=read_timeout))
        retries = RetryOptions(base_seconds=0.001, cap_seconds=0.02)
        lane = "auto" if "s3" in options else "obstore"
        return Client(
            self.key.arn,
            session=boto3.Session("TESTS", "not checked", region_name="eu-west-1", botocore_session=session),
            endpoint_url=self.s3.endpoint,
            kms_endpoint_url=self.kms_proxy.endpoint,
            **{"lane": lane, "transfer": TransferOptions(part_bytes=2**20, retries=retries), **options},
        )
