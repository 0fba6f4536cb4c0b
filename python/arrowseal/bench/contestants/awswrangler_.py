"""awswrangler: pandas frames on S3."""

from __future__ import annotations

import os
from typing import Any

import awswrangler as wr
import plain_seed
from work import Work


class Arm:
    """`wr.s3.read_*` and `wr.s3.to_*`."""

    PACKAGES = ("awswrangler", "pandas", "pyarrow")

    def __init__(self, _name: str) -> None:
        wr.config.s3_endpoint_url = os.environ["AWS_ENDPOINT_URL_S3"]

    def prepare(self, workload: Any) -> Work:
        def url(key: str) -> str:
            return f"s3://{workload.bucket}/{key}"

        read_them, write_it = (getattr(wr.s3, f"{way}_{workload.format}") for way in ("read", "to"))
        return Work(
            workload,
            read=lambda key: read_them(url(key)),
            write=lambda key, frame: write_it(frame, url(key), index=False),
            seed=lambda key, content: plain_seed.put(workload.bucket, key, content),
            read_all=lambda keys: read_them([url(key) for key in keys], use_threads=True),
        )
