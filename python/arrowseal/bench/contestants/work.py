"""A workload made ready in a contestant's process: what runs on the clock, and what came of it."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tables

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = 8  # for many files, unless the library has a way of its own for them


class Work:
    """`run` does it once. `fingerprint` tells what it left: the bytes, or the table, read back where it was written."""

    def __init__(
        self,
        workload: Any,
        *,
        read: Callable[[str], Any],
        write: Callable[[str, Any], object],
        seed: Callable[[str, bytes], object],
        read_all: Callable[[list[str]], Any] | None = None,
        first_row: Callable[[str], object] | None = None,
    ) -> None:
        self._workload = workload
        self._read = read
        self._write = write
        self._read_all = read_all
        self._answer: Any = None
        self._keys = workload.keys()
        encoded = Path(workload.source).read_bytes()
        if workload.operation == "read":
            self._each(lambda key: seed(key, encoded))
            if first_row is not None and workload.files == 1:
                self.first_row = lambda: first_row(self._keys[0])
        else:
            parsed = workload.kind != "object"
            self._value = tables.parse(workload.face, workload.format, encoded) if parsed else encoded

    def run(self) -> None:
        """What is timed."""
        if self._workload.operation == "read":
            self._answer = self._read_them()
        else:
            self._each(lambda key: self._write(key, self._value))

    def fingerprint(self) -> list[Any]:
        """Of the last run: size and SHA-256, or those of tables."""
        answer = self._answer if self._workload.operation == "read" else self._read_them()
        self._answer = None
        if self._workload.kind == "object":
            return [len(answer), hashlib.sha256(answer).hexdigest()]
        return tables.fingerprint(answer)

    def forget(self) -> None:
        """Let the answer go, off the clock."""
        self._answer = None

    def _read_them(self) -> Any:
        if self._workload.files == 1:
            return self._read(self._keys[0])
        return self._read_all(self._keys) if self._read_all is not None else self._each(self._read)

    def _each(self, call: Callable[[str], Any]) -> list[Any]:
        if len(self._keys) == 1:
            return [call(self._keys[0])]
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(call, self._keys))
