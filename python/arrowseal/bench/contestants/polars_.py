"""polars with its own S3 reader and writer."""

from __future__ import annotations

import os
from typing import Any

import plain_seed
import polars as pl
from work import Work


def storage_options() -> dict[str, str]:
    """Of the server that the environment names."""
    return {
        "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
        "aws_region": os.environ["AWS_REGION"],
        "aws_endpoint_url": os.environ["AWS_ENDPOINT_URL_S3"],
        "aws_allow_http": "true",
    }


class Arm:
    """Reads and writes as its users do."""

    PACKAGES = ("polars",)

    def __init__(self, _name: str) -> None:
        self._options = storage_options()

    def prepare(self, workload: Any) -> Work:
        scan = getattr(pl, f"scan_{workload.format}")
        told: Any = {"storage_options": self._options, "credential_provider": None}

        def url(key: str) -> str:
            return f"s3://{workload.bucket}/{key}"

        def write(key: str, frame: Any) -> None:
            getattr(frame, f"write_{workload.format}")(url(key), **told)

        return Work(
            workload,
            read=lambda key: scan(url(key), **told).collect(),
            write=write,
            seed=lambda key, content: plain_seed.put(workload.bucket, key, content),
            read_all=lambda keys: scan([url(key) for key in keys], **told).collect(),
            first_row=lambda key: scan(url(key), **told).head(1).collect(),
        )
