"""A contestant of known delay and known bytes, to measure the harness of `arrowseal bench` by."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen


class Arm:
    """Sleeps as long as `DUMMY_SECONDS` says for its name, sends `DUMMY_BYTES` bytes to S3, and writes down how long
    that took, under its name in the folder `DUMMY_CLOCK`.

    One that is called `tired` gives up at its third run.
    """

    PACKAGES = ()

    def __init__(self, name: str) -> None:
        self._seconds = json.loads(os.environ["DUMMY_SECONDS"])[name]
        self._content = bytes(int(os.environ["DUMMY_BYTES"]))
        self._clock = Path(os.environ["DUMMY_CLOCK"], name)
        self._left = 2 if name == "tired" else 1_000

    def prepare(self, _workload: Any) -> Arm:
        return self

    def run(self) -> None:
        if self._left == 0:
            raise RuntimeError("no more")
        self._left -= 1
        begun = time.perf_counter()
        time.sleep(self._seconds)
        with urlopen(Request(os.environ["AWS_ENDPOINT_URL_S3"] + "/b/k", self._content, method="PUT")) as answer:
            answer.read()
        with self._clock.open("a") as clock:
            clock.write(f"{time.perf_counter() - begun}\n")

    def fingerprint(self) -> str:
        return "done"

    def forget(self) -> None:
        """Nothing is kept."""
