"""boto3 with pandas, polars or pyarrow over bytes in memory: what people write by hand."""

from __future__ import annotations

from typing import Any

import boto3
import plain_seed
import tables
from work import Work


class Arm:
    """`get_object` and `put_object`."""

    PACKAGES = ("boto3", "pandas", "polars", "pyarrow")

    def __init__(self, _name: str) -> None:
        self._s3: Any = boto3.client("s3")

    def prepare(self, workload: Any) -> Work:
        bucket = workload.bucket

        def read(key: str) -> Any:
            content = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            return tables.parse(workload.face, workload.format, content) if workload.face else content

        def write(key: str, value: Any) -> None:
            content = tables.encode(workload.face, workload.format, value) if workload.face else value
            self._s3.put_object(Bucket=bucket, Key=key, Body=content)

        def first_row(key: str) -> object:
            return self._s3.get_object(Bucket=bucket, Key=key)["Body"].read(1)

        return Work(
            workload,
            read=read,
            write=write,
            seed=lambda key, content: plain_seed.put(bucket, key, content),
            first_row=None if workload.face else first_row,
        )
