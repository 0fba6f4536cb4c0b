"""arrowseal's own arms: the same client, the same pipeline, and one way to protect a write or another."""

from __future__ import annotations

import contextlib
import importlib
import os
from typing import Any

from work import Work
from worker_errors import AbsentError

import arrowseal
import arrowseal.arrow
import arrowseal.counters
from arrowseal.exceptions import ArrowSealError

REUSE = "CSE V3, data key reuse"


class Arm:
    """One of them, by its name in the report."""

    PACKAGES = ("arrowseal", "boto3", "pyarrow", "pandas", "polars")

    def __init__(self, name: str) -> None:
        self._name = name
        self._lack: str | None = None
        key = os.environ["ARROWSEAL_KMS_KEY_ID"]
        self._encryption: Any = {
            "PLAIN": arrowseal.PLAIN,
            "SSE-S3": arrowseal.SSE_S3(),
            "SSE-KMS": arrowseal.SSE_KMS(key, bucket_key=False),
            "SSE-KMS, bucket key": arrowseal.SSE_KMS(key, bucket_key=True),
            "SSE-C": arrowseal.SSE_C(bytes(range(32))),
            "CSE V2": arrowseal.CSE(format=arrowseal.V2),
        }.get(name, arrowseal.CSE())
        v2 = name == "CSE V2"
        self._client = arrowseal.Client(
            key,
            format="V2" if v2 else "V3",
            commitment_policy="FORBID_ENCRYPT_ALLOW_DECRYPT" if v2 else None,
            allow_plaintext=not name.startswith("CSE"),
        )

    def counters(self) -> dict[str, float]:
        """Seconds by section, of all that was done so far."""
        sections = ("kms", "s3", "crypto", "decode")
        records = list(self._client.counters)
        return {f"{each}_seconds": sum(getattr(record, f"{each}_seconds") for record in records) for each in sections}

    def prepare(self, workload: Any) -> Work:
        """Absent where the server does not do what the arm is named after."""
        self._client.counters.clear()
        url = f"s3://{workload.bucket}/{{}}".format
        told: dict[str, Any] = {"client": self._client, "encryption": self._encryption}
        read_table, write_table = self._face(workload.face, workload.format) if workload.face else (None, None)
        read_told = told if self._name == "SSE-C" else {"client": self._client}

        def read(key: str) -> Any:
            if read_table is None:
                return self._client.get(url(key), encryption=self._encryption if self._name == "SSE-C" else None)
            return read_table(url(key), **read_told)

        def write(key: str, value: Any) -> None:
            if write_table is None:
                self._client.put(url(key), value, encryption=self._encryption)
            else:
                write_table(value, url(key), **told)

        def seed(key: str, content: bytes) -> None:
            self._client.put(url(key), content, encryption=self._encryption)

        if self._name.startswith("SSE") and self._lack is None:
            self._lack = self._lacking(url(workload.prefix + "probe"))
        if self._lack:
            raise AbsentError(f"not supported by this server: {self._lack}")
        work = _InOneBlock(self._client, workload, read, write, seed) if self._name == REUSE else None
        return work or Work(workload, read=read, write=write, seed=seed)

    def _lacking(self, probe: str) -> str:
        """What a server-side arm is not: HEAD must report it, and SSE-C must refuse who has no key. Empty if it is."""
        expected = self._name.split(",")[0]
        try:
            self._client.put(probe, b"probe", encryption=self._encryption)
            reported = self._client.head(probe, encryption=self._encryption).encryption
        except ArrowSealError as error:
            return f"a write or its HEAD fails with {type(error).__name__}"
        if reported != expected:
            return f"HEAD reports {reported}"
        if self._name == "SSE-C":
            with contextlib.suppress(ArrowSealError):
                self._client.get(probe)
                return "a GET without the key succeeds"
        return ""

    @staticmethod
    def _face(face: str, file_format: str) -> tuple[Any, Any]:
        if face == "pyarrow":
            return arrowseal.arrow.read_table, arrowseal.arrow.write_table
        module = importlib.import_module(f"arrowseal.{face}")
        if face == "polars":
            return getattr(module, f"read_{file_format}"), getattr(module, f"write_{file_format}")
        read, write = (getattr(module, f"{way}_{file_format}") for way in ("read", "to"))
        return read, lambda table, *args, **told: write(table, *args, index=False, **told)


class _InOneBlock(Work):
    """Each run under one data key of its own; what is read was written so."""

    def __init__(self, client: Any, workload: Any, read: Any, write: Any, seed: Any) -> None:
        self._block = client.data_key_reuse
        with self._block():
            super().__init__(workload, read=read, write=write, seed=seed)

    def run(self) -> None:
        with self._block():
            super().run()
