"""The command, as tests run it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

ARROWSEAL = (sys.executable, "-m", "arrowseal")


class Run(Protocol):
    def __call__(
        self, *arguments: str | Path, stdin: bytes = b"", code: int = 0, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]: ...
