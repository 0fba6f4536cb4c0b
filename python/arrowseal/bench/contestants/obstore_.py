"""obstore: the Rust object store under several engines, from Python."""

from __future__ import annotations

import os
from typing import Any

import obstore
import plain_seed
from obstore.store import S3Store
from work import Work


class Arm:
    """`get` and `put` of whole objects."""

    PACKAGES = ("obstore",)

    def __init__(self, _name: str) -> None:
        self._store: Any = None

    def prepare(self, workload: Any) -> Work:
        self._store = S3Store(
            workload.bucket,
            endpoint=os.environ["AWS_ENDPOINT_URL_S3"],
            region=os.environ["AWS_REGION"],
            access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
            secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
            client_options={"allow_http": True},
        )
        return Work(
            workload,
            read=lambda key: obstore.get(self._store, key).bytes(),
            write=lambda key, value: obstore.put(self._store, key, value),
            seed=lambda key, content: plain_seed.put(workload.bucket, key, content),
            first_row=lambda key: next(iter(obstore.get(self._store, key).stream(min_chunk_size=1))),
        )
