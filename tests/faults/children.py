"""Child processes with a client on the faults' servers."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from broken_servers import BrokenServers

    Run = Callable[..., subprocess.Popen[str]]

PREAMBLE = """
import os, sys
import arrowseal
from arrowseal import RetryOptions, TransferOptions
from arrowseal.exceptions import ArrowSealError
transfer = TransferOptions(part_bytes=2**20, concurrency=3, retries=RetryOptions(base_seconds=0.001))
client = arrowseal.Client(
    sys.argv[1], region_name="eu-west-1", endpoint_url=sys.argv[2], kms_endpoint_url=sys.argv[3], transfer=transfer
)
"""


class Children:
    """Starts child processes in which `client` is a client on the servers."""

    def __init__(self, servers: BrokenServers) -> None:
        self._servers = servers
        self._started: list[subprocess.Popen[str]] = []

    def run(self, code: str, **environ: str) -> subprocess.Popen[str]:
        """One that runs this code."""
        given = {"AWS_ACCESS_KEY_ID": "TESTS", "AWS_SECRET_ACCESS_KEY": "not checked", "PYTHONDONTWRITEBYTECODE": "1"}
        script, servers = PREAMBLE + textwrap.dedent(code), self._servers
        arguments = [sys.executable, "-c", script, servers.key.arn, servers.s3.endpoint, servers.kms_proxy.endpoint]
        pipe = subprocess.PIPE
        child = subprocess.Popen(arguments, env=os.environ | given | environ, stdout=pipe, stderr=pipe, text=True)
        self._started.append(child)
        return child

    def end(self) -> None:
        """End those that are left."""
        for child in self._started:
            if child.poll() is None:
                child.kill()
                child.wait()


def finished(child: subprocess.Popen[str]) -> str:
    """What a child printed that ended well."""
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    return out
