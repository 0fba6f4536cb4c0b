"""An interpreter for every arm: this one where its packages are there, otherwise one in an environment made for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Final

from arrowseal.exceptions import MissingExtraError

if TYPE_CHECKING:
    from arrowseal.bench.arms import ArmOf

INSTALL_SECONDS: Final = 600


def interpreter(arm: ArmOf) -> Path:
    """The Python that an arm runs on. Environments are kept in the user's cache, one a set of packages.

    They are for packages that pin what others need newer: the official client pins cryptography, s3fs pins botocore.
    Raises `MissingExtraError` with pip's last words where it cannot be made.
    """
    if all(_is_here(package) for package in arm.packages):
        return Path(sys.executable)
    home = _cache() / f"{arm.script.strip('_')}-{sys.version_info.major}.{sys.version_info.minor}"
    python, done = home / "bin" / "python", home / "installed"
    if not done.exists():
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arm.packages]
        try:
            made = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)  # noqa: S603
        except subprocess.TimeoutExpired:
            raise MissingExtraError(f"{arm.name}: pip did not end within {INSTALL_SECONDS} seconds") from None
        if made.returncode:
            words = made.stderr.strip().splitlines()[-1:] or ["without a word"]
            raise MissingExtraError(f"{arm.name} cannot be installed: {words[0]}")
        done.touch()
    return python


def _is_here(package: str) -> bool:
    try:
        distribution(package.partition("[")[0])
    except PackageNotFoundError:
        return False
    return True


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arrowseal" / "bench"
