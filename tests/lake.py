"""A bucket in memory behind HTTP, a KMS that answers as AWS does, and a client on both; every request is seen."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from arrowseal import Client
from doubles import StrictKms
from memory_s3 import FaultyS3

if TYPE_CHECKING:
    from collections.abc import Mapping


class Lake:
    """The bucket `lake`, its server and its KMS."""

    def __init__(self) -> None:
        import boto3

        self.s3 = FaultyS3()
        self.kms = StrictKms()
        self.key_arn = self.kms.create_key()
        self._session = boto3.Session("TESTS", "not checked", region_name="eu-west-1")
        self.client = self.make_client()

    def make_client(self, **options: Any) -> Client:
        """Another client on the same servers."""
        named = {"session": self._session, "endpoint_url": self.s3.endpoint, "kms": self.kms}
        return Client(**({"kms_key_id": self.key_arn} | named | options))

    def empty(self) -> None:
        """Nothing is there, and nothing was asked."""
        self.s3.server.objects.clear()
        self.s3.server.open_uploads.clear()
        self.forget()

    def forget(self) -> None:
        """What was asked so far."""
        self.s3.reset()
        self.kms.engine.calls.clear()
        self.client.counters.clear()

    @property
    def keys(self) -> list[str]:
        """Of all objects."""
        return sorted(path.removeprefix("/lake/") for path in list(self.s3.server.objects))

    def asked(self, operation: str) -> list[str]:
        """The keys that requests of an operation named, in the order in which they came."""
        return [
            unquote(urlsplit(seen.path).path).removeprefix("/lake/")
            for seen in list(self.s3.log)
            if seen.operation == operation
        ]

    def kms_calls(self, action: str) -> int:
        """How often KMS was asked for it."""
        return sum(1 for called, _ in self.kms.calls if called == action)

    def seal(self, directory: Path | str, prefix: str, **arguments: Any) -> None:
        """Every file of a directory as an object below a prefix."""
        for parent, _, names in os.walk(directory):
            for name in names:
                path = Path(parent) / name
                key = f"{prefix}{path.relative_to(directory).as_posix()}"
                self.client.put(bucket="lake", key=key, data=path.read_bytes(), **arguments)

    def unseal(self, prefix: str, directory: Path) -> None:
        """Every object below a prefix as a file of a directory."""
        for key in self.keys:
            if key.startswith(prefix):
                path = directory / key.removeprefix(prefix)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(bytes(self.client.get(bucket="lake", key=key)))

    def put(self, files: Mapping[str, bytes], **arguments: Any) -> None:
        """Objects of these contents by their keys."""
        for key, content in files.items():
            self.client.put(bucket="lake", key=key, data=content, **arguments)

    def close(self) -> None:
        """Stop listening."""
        self.s3.close()


YEARS = [2012, 2013, 2014, None]
CITIES = ["Paris", "São Paulo", "a/b=c", None]


def trips(rows: int = 400) -> pa.Table:
    return pa.table(
        {
            "n": range(rows),
            "x": [None if at % 7 == 0 else at / 3 for at in range(rows)],
            "text": [f"row {at}" for at in range(rows)],
            "year": pa.array([YEARS[at % 4] for at in range(rows)], pa.int32()),
            "city": [CITIES[at // 7 % 4] for at in range(rows)],
        }
    )


def pq_bytes(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return bytes(sink.getvalue())


def named(value: object) -> str:
    """The name of a parameter, without addresses: workers of pytest-xdist have to agree on it."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))
