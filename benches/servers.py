"""The servers that benchmarks run against, each in a process of its own, so that a client's CPU is its own.

versitygw sends files without touching them, so that the client is what is measured; it is there where its binary is
on the PATH. SeaweedFS comes with `arrowseal[local]`. The third, `discarding_server.py`, keeps nothing of what it gets.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arrowseal.client import Client
    from arrowseal.local import LocalServers

SERVERS = ["versitygw", "seaweedfs"]
REGION = "us-east-1"
BUCKET = "benchmark"


class Endpoint(NamedTuple):
    """Where an S3 server listens, and who may ask it."""

    url: str
    access_key: str
    secret_key: str

    def s3(self, **options: Any) -> Any:
        """A boto3 client, as its users make it."""
        import boto3

        session = boto3.Session(self.access_key, self.secret_key, region_name=REGION)
        return session.client("s3", endpoint_url=self.url, **options)

    def client(self, kms: LocalServers, **options: Any) -> Client:
        """An arrowseal client on this S3 and the KMS of `kms`."""
        import boto3

        session = boto3.Session(self.access_key, self.secret_key, region_name=REGION)
        return kms.client(session=session, endpoint_url=self.url, **options)

    def environ(self, kms: LocalServers) -> dict[str, str]:
        """The environment of a process that shall use this S3, and the KMS of `kms`."""
        return kms.environ | {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """A server process, from when it listens to the end of the block."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        else:
            raise RuntimeError(f"{command[0]} does not listen on port {port}")
        yield
    finally:
        process.kill()
        process.wait()


def available() -> list[str]:
    """Those of `SERVERS` that can be started here."""
    return [name for name in SERVERS if name != "versitygw" or shutil.which(name)]


@contextlib.contextmanager
def versitygw(root: Path) -> Iterator[Endpoint]:
    """A folder served by versitygw. Raises `LookupError` where it is not on the PATH."""
    binary = shutil.which("versitygw")
    if binary is None:
        raise LookupError("versitygw is not on the PATH: go install github.com/versity/versitygw/cmd/versitygw@latest")
    port = free_port()
    endpoint = Endpoint(f"http://127.0.0.1:{port}", "benchmark", "benchmark-secret")
    address = ["-p", f"127.0.0.1:{port}", "-a", endpoint.access_key, "-s", endpoint.secret_key]
    with running([binary, "-q", *address, "--keep-alive", "posix", str(root)], port):
        yield endpoint


@contextlib.contextmanager
def discarding() -> Iterator[Endpoint]:
    """A server that answers every write like S3, and forgets it."""
    port = free_port()
    script = str(Path(__file__).with_name("discarding_server.py"))
    with running([sys.executable, script, str(port)], port):
        yield Endpoint(f"http://127.0.0.1:{port}", "benchmark", "benchmark-secret")


@contextlib.contextmanager
def server(name: str, seaweedfs: LocalServers, root: Path) -> Iterator[Endpoint]:
    """One of `SERVERS`, with the bucket `BUCKET`."""
    with contextlib.ExitStack() as stack:
        if name == "versitygw":
            endpoint = stack.enter_context(versitygw(root))
        else:
            endpoint = Endpoint(seaweedfs.s3_endpoint, seaweedfs.access_key, seaweedfs.secret_key)
        s3 = endpoint.s3()
        with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            s3.create_bucket(Bucket=BUCKET)
        yield endpoint
