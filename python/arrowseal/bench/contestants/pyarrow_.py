"""pyarrow with its own S3FileSystem: files, tables, datasets."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

import plain_seed
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet
from pyarrow.fs import S3FileSystem
from work import Work


def file_system() -> S3FileSystem:
    """On the server that the environment names."""
    url = urlsplit(os.environ["AWS_ENDPOINT_URL_S3"])
    return S3FileSystem(
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region=os.environ["AWS_REGION"],
        scheme=url.scheme,
        endpoint_override=url.netloc,
    )


class Arm:
    """Reads and writes as its users do."""

    PACKAGES = ("pyarrow",)

    def __init__(self, _name: str) -> None:
        self._files = file_system()

    def prepare(self, workload: Any) -> Work:
        files, bucket = self._files, workload.bucket

        def read(key: str) -> Any:
            if workload.format == "parquet":
                return pyarrow.parquet.read_table(f"{bucket}/{key}", filesystem=files, partitioning=None)
            with files.open_input_file(f"{bucket}/{key}") as file:
                return pyarrow.csv.read_csv(file) if workload.format == "csv" else file.read_buffer()

        def write(key: str, value: Any) -> None:
            if workload.format == "parquet":
                pyarrow.parquet.write_table(value, f"{bucket}/{key}", filesystem=files)
                return
            with files.open_output_stream(f"{bucket}/{key}") as file:
                if workload.format == "csv":
                    pyarrow.csv.write_csv(value, file)
                else:
                    file.write(value)

        def first_row(key: str) -> object:
            with files.open_input_file(f"{bucket}/{key}") as file:
                if workload.format == "parquet":
                    return next(pyarrow.parquet.ParquetFile(file).iter_batches(1))
                if workload.format == "csv":
                    return pyarrow.csv.open_csv(file).read_next_batch()
                return file.read(1)

        def read_all(keys: list[str]) -> Any:
            paths = [f"{bucket}/{key}" for key in keys]
            return pyarrow.dataset.dataset(paths, filesystem=files, format=workload.format).to_table()

        return Work(
            workload,
            read=read,
            write=write,
            seed=lambda key, content: plain_seed.put(bucket, key, content),
            read_all=read_all,
            first_row=first_row,
        )
