"""The process of one arm: `worker.py CONTESTANT.py ARM`, by path, in whichever environment the contestant needs.

It answers one JSON command a line, and measures itself: the clock of a run starts and ends around the contestant's own
call, in its own process. Standard library only, since arrowseal is not installed everywhere it runs.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Workload:
    """What a run moves. `source` is a local file with the encoded bytes of one object, or of each of several."""

    name: str
    operation: str
    kind: str
    format: str
    face: str
    plaintext_bytes: int
    files: int
    source: str
    bucket: str
    prefix: str
    """Of the keys, ending in a slash: the arm's own."""
    repeat: int = 1
    """How often one run does it, so that what is small can be timed; figures are divided by it."""

    def keys(self) -> list[str]:
        """Of the objects of one run."""
        if self.files == 1:
            return [f"{self.prefix}0.{self.format}"]
        return [f"{self.prefix}part={number % 100}/{number}.{self.format}" for number in range(self.files)]


class Worker:
    """Holds the contestant, and the workload it was prepared for."""

    def __init__(self, contestant: Path, arm: str) -> None:
        sys.path.insert(0, str(contestant.parent))
        spec = importlib.util.spec_from_file_location(contestant.stem, contestant)
        if spec is None or spec.loader is None:
            raise ImportError(f"{contestant} is no contestant")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._arm: Any = module.Arm(arm)
        self._work: Any = None

    def versions(self) -> dict[str, Any]:
        """Of the packages that matter."""
        from importlib.metadata import PackageNotFoundError, version

        found = {}
        for package in self._arm.PACKAGES:
            with contextlib.suppress(PackageNotFoundError):
                found[package] = version(package)
        return {"versions": found}

    def prepare(self, **told: Any) -> dict[str, Any]:
        """Take a workload: its data into memory, and what it reads into the bucket."""
        workload = Workload(**told)
        self._work = self._arm.prepare(workload)
        return {}

    def check(self) -> dict[str, Any]:
        """Run once, and tell what came of it, to be compared with what ought to."""
        self._work.run()
        return {"fingerprint": self._work.fingerprint()}

    def run(self, repeat: int = 1) -> dict[str, Any]:
        """One run on the clock."""
        gc.collect()
        before = _memory("VmRSS")
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        counted = self._counters()
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(repeat):
            self._work.run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        answer = {
            "wall_seconds": wall / repeat,
            "cpu_seconds": cpu / repeat,
            "peak_memory_bytes": max(0, _memory("VmHWM") - before),
        }
        sections = {name: (value - counted[name]) / repeat for name, value in self._counters().items()}
        self._work.forget()
        return answer | sections

    def first_row(self) -> dict[str, Any]:
        """How long until the first row is there, if the contestant has a way that does not take the whole; or null."""
        first_row = getattr(self._work, "first_row", None)
        if first_row is None:
            return {"first_row_seconds": None}
        start = time.perf_counter()
        first_row()
        seconds = time.perf_counter() - start
        self._work.forget()
        return {"first_row_seconds": seconds}

    def _counters(self) -> dict[str, float]:
        counters = getattr(self._arm, "counters", None)
        return dict(counters()) if counters is not None else {}


def _memory(name: str) -> int:
    """A line of /proc/self/status in bytes; 0 where there is no such file."""
    with contextlib.suppress(OSError):
        found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(found[1]) * 1024 if found else 0
    return 0


def main() -> None:
    """Answer commands until standard input ends. Whatever a library prints goes to standard error."""
    answers, sys.stdout = sys.stdout, sys.stderr
    worker: Worker | None = None
    for line in sys.stdin:
        command = json.loads(line)
        try:
            worker = worker or Worker(Path(sys.argv[1]), sys.argv[2])
            answer = getattr(worker, command.pop("do"))(**command)
        except ImportError as error:
            answer = {"absent": f"{error.name or 'a package'} is not installed ({error})"}
        except Exception as error:
            # Whatever it is, who asked shall see it. The contestants' own error is known by its name: this file has
            # nothing to import.
            absent = type(error).__name__ == "AbsentError"
            answer = {"absent": str(error)} if absent else {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
