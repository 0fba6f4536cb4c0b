"""The official Java and Go clients, each a process that answers commands; skipped with a reason where they cannot be.

Both are built once into a folder beside pytest's cache, from the registries of Maven and Go. A command is a line of
fields in base64 between tabs, and so is its answer.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arrowseal.local import LocalServers

SOURCES = Path(__file__).with_name("interop")
BUILD_SECONDS = 500
WANTED = os.environ.get("ARROWSEAL_TEST_OFFICIAL_PEERS") == "1"


class Peer:
    """Speaks with one of them. Raises `AssertionError` with its words when it refuses."""

    def __init__(self, command: list[str], servers: LocalServers) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self._process = subprocess.Popen(
            command,
            env=inherited | servers.environ | {"AWS_EC2_METADATA_DISABLED": "true"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._bucket = servers.bucket

    def put(self, key: str, data: bytes, **how: str | bytes | Mapping[str, str]) -> None:
        """Write an object."""
        self._ask("put", key, data, **how)

    def get(self, key: str, **how: str | bytes | Mapping[str, str]) -> bytes:
        """Read an object."""
        return self._ask("get", key, b"", **how)

    def range(self, key: str, header: str, **how: str | bytes | Mapping[str, str]) -> bytes:
        """Read a range, without a look at the tag."""
        return self._ask("range", key, header.encode(), **how)

    def _ask(
        self,
        action: str,
        key: str,
        content: bytes,
        *,
        written: str,
        kind: str,
        wrapping: str | bytes,
        storage: str = "metadata",
        context: Mapping[str, str] | None = None,
    ) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        fields = [encoded(field) for field in (action, written, kind, wrapping, storage, self._bucket, key)]
        fields.append(",".join(f"{encoded(name)}:{encoded(value)}" for name, value in (context or {}).items()))
        self._process.stdin.write("\t".join([*fields, encoded(content)]) + "\n")
        self._process.stdin.flush()
        outcome, _, answer = self._process.stdout.readline().rstrip("\n").partition("\t")
        assert outcome == "ok", base64.b64decode(answer).decode() or f"exit code {self._process.poll()}"
        return base64.b64decode(answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def encoded(field: str | bytes) -> str:
    return base64.b64encode(field.encode() if isinstance(field, str) else field).decode()


def java_command(home: Path) -> list[str]:
    """The command of the Java client, whose jars are fetched into `home`."""
    needs("java", "mvn")
    jars = home / "jars"
    if not jars.exists():
        fetched = home / "fetched"
        pom = SOURCES / "java" / "pom.xml"
        build(["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={fetched}"])
        fetched.rename(jars)
    return ["java", "-cp", f"{jars}/*", str(SOURCES / "java" / "OfficialClient.java")]


def go_command(home: Path) -> list[str]:
    """The command of the Go client, which is built in `home`."""
    needs("go")
    binary, module = home / "official", home / "module"
    if not binary.exists():
        shutil.rmtree(module, ignore_errors=True)
        shutil.copytree(SOURCES / "go", module)
        build(["go", "mod", "tidy"], module)
        build(["go", "build", "-o", str(binary), "."], module)
    return [str(binary)]


def needs(*programs: str) -> None:
    """Skip unless it was asked for, and the programs are there."""
    if not WANTED:
        pytest.skip("slow: set ARROWSEAL_TEST_OFFICIAL_PEERS=1 for the official Java and Go clients")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def build(command: list[str], folder: Path | None = None) -> None:
    """Skip where a registry does not give what is needed, with its words."""
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=BUILD_SECONDS)
    if ended.returncode != 0:
        pytest.skip(f"{' '.join(command[:3])}: {(ended.stdout + ended.stderr).strip()[-400:]}")
