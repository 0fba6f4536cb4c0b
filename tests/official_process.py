"""The official Python client in a process and an environment of its own, which the first run installs."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arrowseal.local import LocalServers

PACKAGE = "amazon-s3-encryption-client-python"
SCRIPT = Path(__file__).with_name("interop") / "official_client.py"


def official_environment(home: Path) -> Path:
    """The interpreter of an environment with the official client, made in `home` where it is not there yet, by one of
    the workers of pytest that need it.
    """
    python, done = home / "bin" / "python", home / "installed"
    with home.with_name(home.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", PACKAGE], check=True)
            done.touch()
    return python


class OfficialClient:
    """Speaks with `interop/official_client.py` in its own interpreter.

    `servers` have the KMS and its key, the bucket, and the S3 unless `environ` names another one.
    """

    def __init__(self, python: Path, servers: LocalServers, environ: dict[str, str] | None = None) -> None:
        self.servers = servers
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self._process = subprocess.Popen(
            [python, SCRIPT],
            env=inherited | servers.environ | (environ or {}) | {"PYTHONPATH": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        named = {"kms_key_id": self.servers.kms_key_arn, "bucket": self.servers.bucket, "format": "V3", "context": {}}
        self._process.stdin.write(json.dumps(named | command) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer

    def put(self, key: str, data: bytes, **how: Any) -> None:
        """Write an object; `action="upload"` in parts."""
        self._ask(**({"action": "put", "key": key} | how), data=base64.b64encode(data).decode())

    def get(self, key: str, **how: Any) -> bytes:
        """Read an object."""
        return base64.b64decode(self._ask(action="get", key=key, **how)["data"])

    def measured_get(self, key: str, **how: Any) -> dict[str, Any]:
        """Read an object and keep its bytes there: their SHA-256 with `digest=True`, and the seconds of CPU it took."""
        return self._ask(action="measured get", key=key, **how)

    def measured_put(self, key: str, size: int, **how: Any) -> dict[str, Any]:
        """Write `size` random bytes; the seconds of CPU it took."""
        return self._ask(action="measured put", key=key, size=size, **how)

    def close(self) -> None:
        """End the subprocess."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
