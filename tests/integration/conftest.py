"""An S3 and a KMS in this process, for tests that look at many ranges, and a client on them; and the command."""

from __future__ import annotations

import io
import os
import secrets
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from broken_servers import BrokenServers

from arrowseal.cli import main
from command_runs import ARROWSEAL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from arrowseal import Client
    from command_runs import Run


@pytest.fixture(scope="session")
def servers_here() -> Iterator[BrokenServers]:
    """One S3 and one KMS for all tests."""
    servers = BrokenServers()
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def resident(servers_here: BrokenServers) -> Client:
    """A client that all tests share: to make its boto3 clients takes longer than most of them. It writes in parts of
    1 MiB, so that longer objects have a segment index.
    """
    return servers_here.client()


@pytest.fixture
def lake(servers_here: BrokenServers) -> str:
    """A bucket that nothing is in."""
    servers_here.s3.reset()
    return f"lake-{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """The environment that `arrowseal local` prints, while it runs."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ARROWSEAL_"))}
    clean |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull}
    clean |= {"AWS_SHARED_CREDENTIALS_FILE": os.devnull, "TZ": "UTC"}
    with subprocess.Popen([*ARROWSEAL, "local"], stdout=subprocess.PIPE, text=True, env=clean) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").strip().partition("=")
                clean[name] = value
                if name == "ARROWSEAL_KMS_KEY_ID":
                    break
        yield clean
        process.terminate()


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs the command and checks its exit code, and that errors are lines and no tracebacks."""

    def run(
        *arguments: str | Path, stdin: bytes = b"", code: int = 0, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        words, (out, err) = [*map(str, arguments)], (io.BytesIO(), io.BytesIO())
        with monkeypatch.context() as patch:
            for name in os.environ.keys() - environment.keys():
                patch.delenv(name)
            for name, value in (environment | (env or {})).items():
                patch.setenv(name, value)
            time.tzset()
            patch.chdir(tmp_path)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            patch.setattr(sys, "stdout", io.TextIOWrapper(out, write_through=True))
            patch.setattr(sys, "stderr", io.TextIOWrapper(err, write_through=True))
            done = subprocess.CompletedProcess(words, main(words), out.getvalue(), err.getvalue())
        assert done.returncode == code, done.stderr.decode()
        assert b"Traceback" not in done.stderr
        if code == 0:
            assert done.stderr == b""
        elif b"usage:" not in done.stderr:
            assert all(line.startswith(b"arrowseal: ") for line in done.stderr.splitlines())
        return done

    yield run
    time.tzset()


@pytest.fixture
def folder() -> str:
    """A prefix of its own, without a slash at the end."""
    return f"s3://arrowseal/{uuid.uuid4().hex}"
