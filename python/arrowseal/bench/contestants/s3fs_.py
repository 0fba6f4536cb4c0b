"""s3fs, the fsspec file system behind pandas' `s3://` paths."""

from __future__ import annotations

import os
from typing import Any

import plain_seed
import s3fs
from work import Work


class Arm:
    """Objects through the file system; tables through pandas, which opens them through it."""

    PACKAGES = ("s3fs", "fsspec", "aiobotocore", "pandas")

    def __init__(self, _name: str) -> None:
        self._options: Any = {
            "key": os.environ["AWS_ACCESS_KEY_ID"],
            "secret": os.environ["AWS_SECRET_ACCESS_KEY"],
            "endpoint_url": os.environ["AWS_ENDPOINT_URL_S3"],
            "client_kwargs": {"region_name": os.environ["AWS_REGION"]},
        }
        self._files = s3fs.S3FileSystem(**self._options)

    def prepare(self, workload: Any) -> Work:
        def path(key: str) -> str:
            return f"{workload.bucket}/{key}"

        def read(key: str) -> Any:
            if not workload.face:
                return self._files.cat_file(path(key))
            import pandas as pd

            return getattr(pd, f"read_{workload.format}")(f"s3://{path(key)}", storage_options=self._options)

        def write(key: str, value: Any) -> None:
            if not workload.face:
                self._files.pipe_file(path(key), value)
            else:
                told = {"index": False, "storage_options": self._options}
                getattr(value, f"to_{workload.format}")(f"s3://{path(key)}", **told)

        return Work(
            workload, read=read, write=write, seed=lambda key, content: plain_seed.put(workload.bucket, key, content)
        )
