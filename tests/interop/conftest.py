"""The official Python client, installed once into an environment beside pytest's cache."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal.local import LocalServers

PACKAGE = "amazon-s3-encryption-client-python"
SCRIPT = Path(__file__).with_name("official_client.py")


class OfficialClient:
    """Speaks with `official_client.py` in its own interpreter, on one pair of embedded servers."""

    def __init__(self, python: Path, servers: LocalServers) -> None:
        self.servers = servers
        environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self._process = subprocess.Popen(
            [python, SCRIPT],
            env=environ | servers.environ | {"PYTHONPATH": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command | {"kms_key_id": self.servers.kms_key_arn}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer

    def put(self, key: str, data: bytes, **how: Any) -> None:
        """Write an object; `action="upload"` in parts."""
        command = {"action": "put", "bucket": self.servers.bucket, "key": key} | how
        self._ask(**command, data=base64.b64encode(data).decode())

    def get(self, key: str, **how: Any) -> bytes:
        """Read an object."""
        answer = self._ask(action="get", bucket=self.servers.bucket, key=key, **how)
        return base64.b64decode(answer["data"])

    def close(self) -> None:
        """End the subprocess."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


@pytest.fixture(scope="session")
def official_python(pytestconfig: pytest.Config) -> Path:
    """The interpreter of the official client's environment, made at first use and kept in pytest's cache."""
    assert pytestconfig.cache is not None
    home = pytestconfig.cache.mkdir("official-client-environment")
    python = home / "bin" / "python"
    done = home / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PACKAGE], check=True)
        done.touch()
    return python


@pytest.fixture(scope="session", params=["moto", "seaweedfs"])
def official(request: pytest.FixtureRequest, official_python: Path) -> Iterator[OfficialClient]:
    """The official client on each embedded S3."""
    servers = request.getfixturevalue("local_servers" if request.param == "moto" else "seaweedfs_servers")
    client = OfficialClient(official_python, servers)
    yield client
    client.close()
